//! The helper process: makes the namespace, passes its descriptors on, ends.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;
use std::time::Duration;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::netlink::Netlink;
use super::{MESSAGE_MAX, Plan, Report, Step};
use crate::tunnel::sys;

/// Name of the TUN device inside the namespace.
const DEVICE: &str = "postern0";
/// Congestion controllers in order of preference; bbr moved 529 Mbit/s where cubic moved 6-7 at
/// 1 % loss and 20 ms.
const CONGESTION: [&str; 2] = ["bbr", "cubic"];
/// Connections the kernel completes before the gateway accepts them.
const BACKLOG: i32 = 4096;
/// When a silent device is asked whether it still lives, how often, and when its flow is given up.
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
pub(crate) const USER_TIMEOUT: Duration = Duration::from_secs(120);

type Failure = (Step, String);

/// Runs the namespace helper on the socket at standard input; call before anything else in main.
pub(crate) fn helper_main() -> ExitCode {
    let stdin = io::stdin();
    let socket = stdin.as_fd();
    let built = read_plan(socket).and_then(|plan| build(&plan));
    let sent = match &built {
        Ok(built) => {
            let report = Report::Ready {
                congestion: built.congestion.clone(),
                notes: built.notes.clone(),
            };
            let mut descriptors = vec![built.tun.as_fd(), built.listen4.as_fd()];
            descriptors.extend(built.listen6.as_ref().map(AsFd::as_fd));
            send(socket, &report, &descriptors)
        }
        Err((step, why)) => {
            let report = Report::Failed {
                step: *step,
                why: why.clone(),
            };
            send(socket, &report, &[])
        }
    };
    match (built, sent) {
        (Ok(_), Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

struct Built {
    tun: OwnedFd,
    listen4: Socket,
    listen6: Option<Socket>,
    congestion: String,
    notes: Vec<String>,
}

fn read_plan(socket: BorrowedFd<'_>) -> Result<Plan, Failure> {
    let failed = |why: String| (Step::StartHelper, why);
    let mut bytes = vec![0; MESSAGE_MAX];
    let (length, _) = rustix::net::recv(socket, bytes.as_mut_slice(), RecvFlags::empty())
        .map_err(|why| failed(why.to_string()))?;
    serde_json::from_slice(bytes.get(..length).unwrap_or_default())
        .map_err(|why| failed(format!("plan: {why}")))
}

fn build(plan: &Plan) -> Result<Built, Failure> {
    enter_namespace()?;
    let mut notes = write_sysctls(&plan.sysctls);
    let tun = open_tun()?;
    let v6 = set_addresses(plan, &mut notes).map_err(|why| (Step::Address, why.to_string()))?;
    let listening = |why: io::Error| (Step::Listen, why.to_string());
    let (listen4, congestion) = listen(IpAddr::V4(plan.address4.0)).map_err(listening)?;
    let listen6 = match v6 {
        Some(address) => Some(listen(address).map_err(listening)?.0),
        None => None,
    };
    Ok(Built {
        tun,
        listen4,
        listen6,
        congestion,
        notes,
    })
}

/// Enters a new network namespace: by a user namespace, else by the rights the process has.
fn enter_namespace() -> Result<(), Failure> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let user = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET);
    let Err(refused) = user else {
        let map = |path: &str, text: String| {
            fs::write(path, text).map_err(|why| (Step::MapIds, format!("{path}: {why}")))
        };
        map("/proc/self/setgroups", "deny".to_owned())?;
        map("/proc/self/uid_map", format!("0 {uid} 1"))?;
        return map("/proc/self/gid_map", format!("0 {gid} 1"));
    };
    unshare(CloneFlags::CLONE_NEWNET).map_err(|plain| {
        let why = format!("user namespace: {refused}; network namespace: {plain}");
        (Step::Unshare, why)
    })
}

fn write_sysctls(sysctls: &[(String, String)]) -> Vec<String> {
    let failure = |(name, value): &(String, String)| {
        let why = fs::write(format!("/proc/sys/{name}"), value).err()?;
        Some(format!("{name}: {why}"))
    };
    sysctls.iter().filter_map(failure).collect()
}

fn open_tun() -> Result<OwnedFd, Failure> {
    let nonblocking = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let file: File = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nonblocking)
        .open("/dev/net/tun")
        .map_err(|why| (Step::OpenTun, why.to_string()))?;
    sys::attach_tun(&file, DEVICE)
        .and_then(|()| sys::enable_offloads(&file))
        .map_err(|why| (Step::CreateTun, why.to_string()))?;
    Ok(file.into())
}

/// Brings the devices up; returns the IPv6 address if the kernel took it.
fn set_addresses(plan: &Plan, notes: &mut Vec<String>) -> io::Result<Option<IpAddr>> {
    let index = |name: &str| nix::net::if_::if_nametoindex(name).map_err(io::Error::from);
    let mut netlink = Netlink::open()?;
    netlink.up(index("lo")?, None)?;
    let tun = index(DEVICE)?;
    let (address4, prefix4) = plan.address4;
    netlink.add_address(tun, IpAddr::V4(address4), prefix4)?;
    let mut v6 = None;
    if let Some((address, prefix)) = plan.address6 {
        let address = IpAddr::V6(address);
        match netlink.add_address(tun, address, prefix) {
            Ok(()) => v6 = Some(address),
            Err(why) => notes.push(format!("no IPv6 inside the tunnel: {why}")),
        }
    }
    netlink.up(tun, Some(plan.mtu))?;
    Ok(v6)
}

/// Listens on a free port of `address`; accepted sockets inherit every option set here.
fn listen(address: IpAddr) -> io::Result<(Socket, String)> {
    let socket = Socket::new(
        Domain::for_address(SocketAddr::new(address, 0)),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    let congestion = CONGESTION
        .into_iter()
        .find(|name| socket.set_tcp_congestion(name.as_bytes()).is_ok())
        .unwrap_or("default");
    socket.bind(&SocketAddr::new(address, 0).into())?;
    socket.listen(BACKLOG)?;
    Ok((socket, congestion.to_owned()))
}

fn send(socket: BorrowedFd<'_>, report: &Report, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(report)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::EMSGSIZE.into());
    }
    rustix::net::sendmsg(
        socket,
        &[IoSlice::new(&text)],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}
