//! The only unsafe code of the gateway: two ioctls of the TUN driver and its registration, and two options of sockets.
#![expect(
    unsafe_code,
    reason = "TUNSETIFF, TUNSETOFFLOAD, tokio's AsyncFd, TCP_INFO and SO_MAX_PACING_RATE have no safe wrapper"
)]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use nix::libc;
use rustix::ioctl::{IntegerSetter, Opcode, Setter, ioctl, opcode};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// `TUNSETIFF` and `TUNSETOFFLOAD` of `linux/if_tun.h`.
const TUNSETIFF: Opcode = opcode::write::<i32>(b'T', 202);
const TUNSETOFFLOAD: Opcode = opcode::write::<u32>(b'T', 208);

/// `IFF_TUN | IFF_NO_PI | IFF_VNET_HDR`: IP packets, each behind a 10-byte `virtio_net_hdr`.
const FLAGS: u16 = 0x0001 | 0x1000 | 0x4000;
/// `TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6`: the kernel may hand over partial checksums and
/// TCP packets of up to 64 KiB.
const OFFLOADS: usize = 0x01 | 0x02 | 0x04;

/// `struct ifreq` of `linux/if.h` as `TUNSETIFF` reads it: a name, flags, and the rest of the union.
#[repr(C)]
struct IfReq {
    name: [u8; 16],
    flags: u16,
    rest: [u8; 22],
}

/// Makes `tun`, an open `/dev/net/tun`, the TUN device `name` of the current network namespace.
///
/// `name` is cut to 15 bytes.
///
/// # Errors
/// What the kernel answers; `EPERM` without `CAP_NET_ADMIN` in the namespace.
pub(super) fn attach_tun(tun: impl AsFd, name: &str) -> io::Result<()> {
    let mut request = IfReq {
        name: [0; 16],
        flags: FLAGS,
        rest: [0; 22],
    };
    for (to, from) in request.name.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    // SAFETY: TUNSETIFF reads one `struct ifreq` of 40 bytes, which `IfReq` lays out in full; the
    // kernel writes the same 40 bytes back, into the copy that the setter owns.
    unsafe { ioctl(tun, Setter::<TUNSETIFF, IfReq>::new(request)) }?;
    Ok(())
}

/// Tells the driver that partial checksums and large TCP packets are understood.
///
/// # Errors
/// What the kernel answers; `EINVAL` for a driver without these offloads.
pub(super) fn enable_offloads(tun: impl AsFd) -> io::Result<()> {
    // SAFETY: TUNSETOFFLOAD takes a bit set by value and touches no memory of the process.
    unsafe { ioctl(tun, IntegerSetter::<TUNSETOFFLOAD>::new_usize(OFFLOADS)) }?;
    Ok(())
}

/// Registers `device` with the runtime of the current thread, for reading.
///
/// # Errors
/// What epoll(7) answers.
pub(super) fn watch(device: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped, and the `AsyncFd`
    // that takes it over deregisters before it drops it.
    let watched = unsafe { AsyncFd::register_with_interest(device, Interest::READABLE) };
    Ok(watched?)
}

/// What the kernel sent of a TCP connection since it began, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// All of it.
    pub(super) bytes: u64,
    /// What of it was sent again.
    pub(super) again: u64,
    /// What the other side has said to have.
    pub(super) arrived: u64,
    /// For how long there was something to send, in microseconds.
    pub(super) busy_micros: u64,
}

/// Words of `struct tcp_info` of `linux/tcp.h`, of 64 bits: `tcpi_bytes_acked`, `tcpi_busy_time`,
/// `tcpi_bytes_sent`, `tcpi_bytes_retrans`. Fields are only ever added behind it.
const ACKED: usize = 120 / 8;
const BUSY: usize = 168 / 8;
const SENT: usize = 200 / 8;
const RETRANS: usize = 208 / 8;

/// Asks what was sent of a TCP connection.
///
/// # Errors
/// What the kernel answers; `Unsupported` where it does not tell that (before Linux 4.19).
pub(super) fn sent(socket: &impl AsFd) -> io::Result<Sent> {
    let mut words = [0_u64; RETRANS + 1];
    let length = option(socket, libc::IPPROTO_TCP, libc::TCP_INFO, &mut words)?;
    if length < size_of_val(&words) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(Sent {
        bytes: words[SENT],
        again: words[RETRANS],
        arrived: words[ACKED],
        busy_micros: words[BUSY],
    })
}

/// Has the kernel send no more than `rate` bytes a second of a TCP connection, or as fast as it likes.
///
/// # Errors
/// What the kernel answers.
pub(super) fn hold_to(socket: &impl AsFd, rate: Option<u64>) -> io::Result<()> {
    let rate = rate.map_or(u32::MAX, |rate| u32::try_from(rate).unwrap_or(u32::MAX));
    // SAFETY: SO_MAX_PACING_RATE reads as many bytes as it is told, and `rate` has them.
    let set = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MAX_PACING_RATE,
            (&raw const rate).cast(),
            libc::socklen_t::try_from(size_of_val(&rate)).unwrap_or(0),
        )
    };
    answered(set)
}

/// Returns what a connection is held to.
#[cfg(test)]
pub(super) fn held_to(socket: &impl AsFd) -> io::Result<Option<u64>> {
    let mut rate = [0_u32];
    option(
        socket,
        libc::SOL_SOCKET,
        libc::SO_MAX_PACING_RATE,
        &mut rate,
    )?;
    Ok((rate[0] < u32::MAX).then_some(rate[0].into()))
}

/// Reads an option of a socket into plain numbers; returns how many bytes of it there are, as many as these at most.
fn option<T: Number, const N: usize>(
    socket: &impl AsFd,
    level: libc::c_int,
    name: libc::c_int,
    value: &mut [T; N],
) -> io::Result<usize> {
    let mut length = libc::socklen_t::try_from(size_of_val(value)).unwrap_or(0);
    // SAFETY: the kernel writes no more than `length` bytes, which `value` has, and any bytes are numbers.
    let got = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            value.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    answered(got)?;
    Ok(usize::try_from(length).unwrap_or(0))
}

fn answered(code: libc::c_int) -> io::Result<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// What may have any bytes.
///
/// # Safety
/// Every pattern of bits must be a value.
unsafe trait Number {}
// SAFETY: every pattern of bits is a number.
unsafe impl Number for u32 {}
// SAFETY: as above.
unsafe impl Number for u64 {}

#[cfg(test)]
mod tests {
    use super::{IfReq, TUNSETIFF, TUNSETOFFLOAD};

    #[test]
    fn the_request_has_the_size_and_the_numbers_of_the_kernel() {
        assert_eq!(size_of::<IfReq>(), 40);
        assert_eq!(TUNSETIFF, 0x4004_54ca);
        assert_eq!(TUNSETOFFLOAD, 0x4004_54d0);
    }
}
