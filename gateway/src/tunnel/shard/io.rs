//! The two descriptors packets pass: the UDP socket, to read from and to send on, and the TUN device.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo, ReceiveTimestampns};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ip_recvtos,
    set_ipv6_mtu_discover, set_ipv6_recvtclass,
};
use socket2::{Domain, SockRef};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::reached::{Came, Reached};
use crate::tunnel::sys;

/// Bytes of one receive buffer: the most the kernel merges.
const DATAGRAM_MAX: usize = 64 * 1024;
/// Socket buffer asked of the kernel; it grants up to `net.core.rmem_max` and `wmem_max`.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
/// How long a full socket holds the packet loop before a batch is dropped.
const SEND_PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// Takes the UDP socket of the tunnel that was passed, or binds one, and asks for large buffers.
///
/// # Errors
/// What the system answers, for example that the port is taken.
pub(in crate::tunnel) fn outer(
    passed: Option<UdpSocket>,
    listen: SocketAddr,
) -> io::Result<UdpSocket> {
    let socket = passed.map_or_else(|| UdpSocket::bind(listen), Ok)?;
    let buffers = SockRef::from(&socket);
    let asked = buffers
        .set_recv_buffer_size(SOCKET_BUFFER)
        .and_then(|()| buffers.set_send_buffer_size(SOCKET_BUFFER));
    if let Err(why) = asked {
        tracing::debug!(error = %why, "socket buffers stay at the default");
    }
    tracing::info!(
        listen = %socket.local_addr()?,
        receive_buffer = buffers.recv_buffer_size().unwrap_or(0),
        send_buffer = buffers.send_buffer_size().unwrap_or(0),
        "tunnel socket is bound"
    );
    Ok(socket)
}

/// What the kernel merged of the datagrams of one source.
#[derive(Debug)]
pub(super) struct Filled<'a> {
    /// Who sent them.
    pub(super) from: SocketAddr,
    /// The address they were sent to, where the socket listens on every address.
    pub(super) here: Option<IpAddr>,
    /// The bytes of each but the last, which may have fewer.
    pub(super) stride: usize,
    /// All of them.
    pub(super) bytes: &'a mut [u8],
}

/// The UDP socket to read from, with its buffers.
#[derive(Debug)]
pub(super) struct Intake {
    socket: AsyncFd<OwnedFd>,
    state: UdpSocketState,
    buffer: Box<[u8]>,
    meta: [RecvMeta; BATCH_SIZE],
    /// The buffers of the last batch in the order in which they are handed out.
    order: Vec<usize>,
    is_everywhere: bool,
}

impl Intake {
    pub(super) fn new(socket: &UdpSocket) -> io::Result<Self> {
        let is_everywhere = socket.local_addr()?.ip().is_unspecified();
        let state = set_up(socket, is_everywhere)?;
        Ok(Self {
            socket: sys::watch(socket.try_clone()?.into())?,
            state,
            buffer: vec![0; BATCH_SIZE * DATAGRAM_MAX].into_boxed_slice(),
            meta: [RecvMeta::default(); BATCH_SIZE],
            order: Vec::with_capacity(BATCH_SIZE),
            is_everywhere,
        })
    }

    /// Waits for a datagram; an error of the descriptor counts as one.
    pub(super) async fn readable(&self) {
        // readiness is cleared by the read that finds nothing
        drop(self.socket.readable().await);
    }

    /// Receives one batch without waiting; returns how many buffers it filled.
    ///
    /// # Errors
    /// What the system answers; the caller pauses, since the descriptor stays readable.
    pub(super) fn receive(&mut self) -> io::Result<usize> {
        let Self {
            socket,
            state,
            buffer,
            meta,
            order,
            ..
        } = self;
        let mut chunks = buffer.chunks_mut(DATAGRAM_MAX);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        let received = socket.try_io(Interest::READABLE, |socket| {
            state.recv(UdpSockRef::from(socket), &mut slices, meta)
        });
        let received = unless_blocked(received, 0)?;
        let filled = meta.get(..received).unwrap_or_default();
        fair_order(filled, order);
        Ok(received)
    }

    /// Whether a batch of so many buffers was all that fits, and the kernel may have more.
    pub(super) const fn is_full(received: usize) -> bool {
        received >= BATCH_SIZE
    }

    /// Whether the last batch came from more than one source.
    pub(super) fn is_mixed(&self) -> bool {
        let first = self.order.first().and_then(|place| self.meta.get(*place));
        let mut others = self.order.iter().filter_map(|place| self.meta.get(*place));
        others.any(|meta| first.is_some_and(|first| first.addr != meta.addr))
    }

    /// Returns one buffer of the last batch, sources in turn.
    pub(super) fn buffer(&mut self, nth: usize) -> Option<Filled<'_>> {
        let index = *self.order.get(nth)?;
        let meta = self.meta.get(index)?;
        let buffer = self.buffer.chunks_mut(DATAGRAM_MAX).nth(index)?;
        Some(Filled {
            from: meta.addr,
            here: meta.dst_ip.filter(|_| self.is_everywhere),
            stride: meta.stride.max(1),
            bytes: buffer.get_mut(..meta.len)?,
        })
    }
}

/// The UDP socket to send on.
#[derive(Debug)]
pub(super) struct Outer {
    socket: UdpSocket,
    state: UdpSocketState,
    /// Where sources reached a socket that listens on every address.
    reached: Option<Reached>,
    /// Datagrams that one call sends at most, as the kernel said at first.
    segments: usize,
}

impl Outer {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let is_everywhere = socket.local_addr()?.ip().is_unspecified();
        let state = set_up(&socket, is_everywhere)?;
        let segments = state.max_gso_segments();
        Ok(Self {
            socket,
            state,
            reached: is_everywhere.then(Reached::new),
            segments,
        })
    }

    /// Hands the datagrams of a buffer to `each`. What it tells of one says whether answers leave
    /// from the address that it was sent to.
    pub(super) fn take_in(&mut self, filled: Filled<'_>, mut each: impl FnMut(&mut [u8]) -> Came) {
        let Filled {
            from,
            here,
            stride,
            bytes,
        } = filled;
        let mut noted = Came::Nothing;
        for datagram in bytes.chunks_mut(stride) {
            let came = each(datagram);
            if came != noted {
                self.note(from, here, came);
                noted = came;
            }
        }
    }

    /// Notes what came from a source, and where to.
    pub(super) fn note(&mut self, from: SocketAddr, here: Option<IpAddr>, came: Came) {
        if let (Some(reached), Some(here)) = (&mut self.reached, here) {
            reached.note(from, here, came);
        }
    }

    /// Sends one batch; what cannot be sent in time is dropped, as on any full link.
    pub(super) fn send(&mut self, transmit: wg::Transmit<'_>) {
        let to = transmit.to;
        let reached = self.reached.as_ref();
        let mut here = reached.and_then(|reached| reached.from(to, transmit.contents));
        let size = transmit.segment_size.unwrap_or(transmit.contents.len());
        let most = size.saturating_mul(self.state.max_gso_segments()).max(1);
        for contents in transmit.contents.chunks(most) {
            let mut part = quinn_udp::Transmit {
                destination: to,
                ecn: None,
                contents,
                segment_size: (contents.len() > size).then_some(size),
                src_ip: here,
            };
            let mut sent = self.send_part(&part);
            if matches!(&sent, Err(why) if is_no_address(why)) && here.take().is_some() {
                part.src_ip = None;
                self.left(to);
                sent = self.send_part(&part);
            }
            if let Err(why) = sent {
                tracing::debug!(error = %why, %to, "tunnel send failed");
            }
        }
    }

    fn send_part(&self, part: &quinn_udp::Transmit<'_>) -> io::Result<()> {
        let attempt = || self.state.try_send(UdpSockRef::from(&self.socket), part);
        let sent = attempt();
        if matches!(&sent, Err(why) if why.kind() == io::ErrorKind::WouldBlock) {
            // the loop has nothing else to do; to be told of each datagram that left would wake it
            let mut socket = [PollFd::new(&self.socket, PollFlags::OUT)];
            // whatever it says, the next attempt says it too
            let _ = poll(&mut socket, Some(&SEND_PATIENCE));
            // full still: dropped, and no error of an address
            return unless_blocked(attempt(), ());
        }
        sent
    }

    /// Notes that the address `to` was answered from has left the host. quinn-udp takes the error
    /// for one of segments and would send each alone from then on.
    fn left(&mut self, to: SocketAddr) {
        if let Some(reached) = &mut self.reached {
            reached.forget(to);
        }
        if self.state.max_gso_segments() >= self.segments {
            return;
        }
        match set_up(&self.socket, self.reached.is_some()) {
            Ok(state) => self.state = state,
            Err(why) => tracing::debug!(error = %why, "tunnel socket stays as it is"),
        }
    }
}

/// Sets what the tunnel wants of its socket, where a socket that `is_everywhere` also tells of each
/// datagram which address it was sent to.
fn set_up<S: AsFd>(socket: &S, is_everywhere: bool) -> io::Result<UdpSocketState> {
    let state = UdpSocketState::new(UdpSockRef::from(socket))?;
    allow_fragments(socket)?;
    leave_out(socket, is_everywhere);
    Ok(state)
}

/// Whether an error may be the kernel's for a source address that the host does not have: the first for IPv4, the others
/// for IPv6.
fn is_no_address(why: &io::Error) -> bool {
    let errno = Errno::from_io_error(why);
    errno.is_some_and(|errno| {
        matches!(
            errno,
            Errno::NETUNREACH | Errno::INVAL | Errno::ADDRNOTAVAIL
        )
    })
}

/// Lets routers fragment outer datagrams, as every WireGuard implementation does: quinn-udp
/// forbids it for the sake of QUIC, and a path below 1500 bytes would lose every full packet.
fn allow_fragments(socket: &impl AsFd) -> io::Result<()> {
    if SockRef::from(socket).domain()? == Domain::IPV6 {
        set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::OMIT)?;
    }
    // a dual-stack socket has both settings; an IPv6-only socket may refuse the first
    if let Err(why) = set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::OMIT) {
        tracing::debug!(error = %why, "path MTU setting refused");
    }
    Ok(())
}

/// Has the kernel leave out what quinn-udp asks to be told of each datagram for the sake of QUIC:
/// its time, its traffic class and, unless the socket `is_everywhere`, its local address. With all of
/// them quinn-udp would have no room for the last, the address of an IPv4 datagram on an IPv6 socket.
fn leave_out(socket: &impl AsFd, is_everywhere: bool) {
    let left_out = [
        setsockopt(socket, ReceiveTimestampns, &false).map_err(io::Error::from),
        setsockopt(socket, Ipv4PacketInfo, &is_everywhere).map_err(io::Error::from),
        setsockopt(socket, Ipv6RecvPacketInfo, &is_everywhere).map_err(io::Error::from),
        set_ip_recvtos(socket, false).map_err(io::Error::from),
        set_ipv6_recvtclass(socket, false).map_err(io::Error::from),
    ];
    // a socket of one family refuses the settings of the other
    for why in left_out.into_iter().filter_map(Result::err) {
        tracing::debug!(error = %why, "setting of the tunnel socket stays");
    }
}

/// Writes to `order` the places of a batch, who sent least in it first: a buffer comes after those
/// of other sources that end at fewer bytes of their own. Each source's stay in order.
fn fair_order(batch: &[RecvMeta], order: &mut Vec<usize>) {
    order.clear();
    order.extend(0..batch.len());
    let first = batch.first().map(|meta| meta.addr);
    if batch.iter().all(|meta| Some(meta.addr) == first) {
        return;
    }
    order.sort_by_cached_key(|place| {
        let from = batch.get(*place).map(|meta| meta.addr);
        let own = batch.iter().take(place + 1);
        let own = own.filter(|meta| Some(meta.addr) == from);
        own.map(|meta| meta.len).sum::<usize>()
    });
}

/// The TUN device.
#[derive(Debug)]
pub(super) struct Tun {
    device: AsyncFd<OwnedFd>,
}

impl Tun {
    pub(super) fn new(device: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            device: sys::watch(device)?,
        })
    }

    /// Waits for a packet.
    pub(super) async fn readable(&self) {
        // readiness is cleared by the read that finds nothing
        drop(self.device.readable().await);
    }

    /// Reads one packet into `room` without waiting and returns its length; 0 means that there is
    /// none.
    ///
    /// # Errors
    /// What the driver answers; the caller pauses, since the descriptor stays readable.
    pub(super) fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.device.try_io(Interest::READABLE, |fd| {
            Ok(rustix::io::read(fd, &mut *room)?)
        });
        unless_blocked(read, 0)
    }

    /// Writes one packet; the driver takes it whole or drops it.
    pub(super) fn write(&self, packet: &[u8]) {
        if let Err(why) = rustix::io::write(self.device.get_ref(), packet) {
            tracing::debug!(error = %why, "TUN write failed");
        }
    }
}

/// Turns "not now" into `nothing`.
fn unless_blocked<T>(result: io::Result<T>, nothing: T) -> io::Result<T> {
    match result {
        Err(why) if why.kind() == io::ErrorKind::WouldBlock => Ok(nothing),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

    use nix::sys::socket::getsockopt;
    use quinn_udp::RecvMeta;

    use super::{
        Came, Intake, Ipv4PacketInfo, Ipv6RecvPacketInfo, Outer, ReceiveTimestampns, fair_order,
    };

    fn order(batch: &[(u16, usize)]) -> Vec<usize> {
        let meta = |(port, len): &(u16, usize)| {
            let mut meta = RecvMeta::default();
            meta.addr = SocketAddr::from(([192, 0, 2, 1], *port));
            meta.len = *len;
            meta
        };
        let batch: Vec<RecvMeta> = batch.iter().map(meta).collect();
        let mut order = vec![9];
        fair_order(&batch, &mut order);
        order
    }

    #[tokio::test]
    async fn what_nobody_reads_is_not_asked_of_the_kernel() {
        for (at, is_ipv6) in [("127.0.0.1:0", false), ("[::1]:0", true)] {
            let socket = UdpSocket::bind(at).unwrap();
            let to = socket.local_addr().unwrap();
            let mut intake = Intake::new(&socket).unwrap();
            assert!(!getsockopt(&socket, ReceiveTimestampns).unwrap());
            assert!(!getsockopt(&socket, Ipv4PacketInfo).unwrap());
            assert!(!is_ipv6 || !getsockopt(&socket, Ipv6RecvPacketInfo).unwrap());
            let sender = UdpSocket::bind((to.ip(), 0)).unwrap();
            sender.send_to(b"datagram", to).unwrap();
            intake.readable().await;
            assert_eq!(intake.receive().unwrap(), 1);
            assert!(!intake.is_mixed());
            let filled = intake.buffer(0).unwrap();
            assert_eq!(filled.from, sender.local_addr().unwrap());
            assert_eq!((&*filled.bytes, filled.here), (&b"datagram"[..], None));
            assert!(intake.buffer(1).is_none());
        }
    }

    fn both(socket: UdpSocket) -> (Intake, Outer) {
        (Intake::new(&socket).unwrap(), Outer::new(socket).unwrap())
    }

    /// A laptop that sends one datagram to `to` and hears from nowhere else, and its answer through the socket.
    async fn answered(ends: &mut (Intake, Outer), to: SocketAddr, came: Came) -> bool {
        let (intake, outer) = ends;
        let laptop = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        laptop.connect(to).unwrap();
        laptop.send(b"question").unwrap();
        intake.readable().await;
        assert_eq!(intake.receive().unwrap(), 1);
        let filled = intake.buffer(0).unwrap();
        let heard = filled.from;
        outer.take_in(filled, |datagram| {
            assert_eq!(datagram, b"question");
            came
        });
        let answer = wg::Transmit {
            to: heard,
            segment_size: None,
            contents: b"answer",
        };
        outer.send(answer);
        laptop.set_nonblocking(true).unwrap();
        laptop.recv(&mut [0; 10]).is_ok()
    }

    #[tokio::test]
    async fn an_answer_leaves_from_the_address_that_was_asked() {
        for everywhere in ["0.0.0.0:0", "[::]:0"] {
            let socket = UdpSocket::bind(everywhere).unwrap();
            let port = socket.local_addr().unwrap().port();
            let mut ends = both(socket);
            for here in [[127, 0, 0, 1], [127, 0, 0, 2], [127, 9, 9, 9]] {
                for came in [Came::Believed, Came::Asking] {
                    assert!(answered(&mut ends, (here, port).into(), came).await);
                }
            }
            // its twin: what nobody answers says nothing of where to answer from
            let other = SocketAddr::from(([127, 0, 0, 2], port));
            assert!(!answered(&mut ends, other, Came::Nothing).await);
        }
        let socket = UdpSocket::bind("127.0.0.2:0").unwrap();
        let to = socket.local_addr().unwrap();
        let mut ends = both(socket);
        assert!(answered(&mut ends, to, Came::Believed).await);
    }

    #[tokio::test]
    async fn an_address_that_left_the_host_is_not_answered_from() {
        let gone6 = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        for (everywhere, near, gone) in [
            ("0.0.0.0:0", "127.0.0.1:0", IpAddr::from([192, 0, 2, 1])),
            ("[::]:0", "[::1]:0", gone6),
        ] {
            let socket = UdpSocket::bind(everywhere).unwrap();
            let mut outer = Outer::new(socket).unwrap();
            let segments = outer.state.max_gso_segments();
            let laptop = UdpSocket::bind(near).unwrap();
            let to = laptop.local_addr().unwrap();
            let reached = outer.reached.as_mut().unwrap();
            reached.note(to, gone, Came::Believed);
            let contents = &[7; 20];
            let transmit = wg::Transmit {
                to,
                segment_size: Some(10),
                contents,
            };
            outer.send(transmit);
            laptop.set_nonblocking(true).unwrap();
            for _ in 0..2 {
                assert_eq!(laptop.recv(&mut [0; 30]).unwrap(), 10);
            }
            assert_eq!(outer.reached.as_mut().unwrap().from(to, contents), None);
            assert_eq!(outer.state.max_gso_segments(), segments);
        }
    }

    #[test]
    fn who_sent_little_goes_first_and_each_source_stays_in_order() {
        assert_eq!(
            order(&[(1, 900), (1, 900), (1, 900), (2, 80)]),
            [3, 0, 1, 2]
        );
        assert_eq!(order(&[(1, 50), (2, 90), (1, 50), (2, 90)]), [0, 1, 2, 3]);
        let hog = order(&[(1, 900), (1, 10), (1, 10), (2, 800), (2, 50), (2, 70)]);
        assert_eq!(hog, [3, 4, 0, 1, 2, 5]);
    }

    #[test]
    fn one_source_alone_is_taken_as_it_came() {
        assert_eq!(order(&[(1, 9), (1, 900), (1, 8)]), [0, 1, 2]);
        assert!(order(&[]).is_empty());
    }
}
