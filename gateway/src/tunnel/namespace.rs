//! The private network namespace in which the kernel terminates the TCP of the devices.
//!
//! A helper process (this binary executed again) makes the namespace, a TUN device and two
//! listeners in it, passes their descriptors back and ends. The namespace lives as long as the
//! descriptors do.

mod helper;
mod netlink;

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags,
    SocketType,
};
use serde::{Deserialize, Serialize};

pub(crate) use helper::helper_main;

/// The hidden first argument that makes the binary the namespace helper.
pub(crate) const ENTRY: &str = "ns-helper";
/// The inside IPv4 network: shared address space, which no office routes (RFC 6598).
pub(crate) const POOL4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10);
/// The inside IPv6 network: a unique local prefix drawn once for this purpose (RFC 4193).
pub(crate) const POOL6: Ipv6Net = Ipv6Net::new_assert(
    Ipv6Addr::new(0xfd0b, 0x3c6e, 0x91d2, 0x7a40, 0, 0, 0, 0),
    64,
);

/// Longest message between the helper and its parent in bytes.
const MESSAGE_MAX: usize = 8 * 1024;
/// How long the helper may take; it needs a few milliseconds.
const HELPER_TIMEOUT: Duration = Duration::from_secs(10);

/// What the helper is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// Address and prefix of the TUN device.
    pub(crate) address4: (Ipv4Addr, u8),
    /// IPv6 address and prefix of the TUN device.
    pub(crate) address6: Option<(Ipv6Addr, u8)>,
    /// MTU of the TUN device in bytes.
    pub(crate) mtu: u16,
    /// Names below `/proc/sys` with the values to write; failures are reported, not fatal.
    pub(crate) sysctls: Vec<(String, String)>,
}

impl Plan {
    /// Lays the namespace out for a tunnel of `mtu` bytes.
    pub(crate) fn new(mtu: u16) -> Self {
        let sysctl = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Self {
            address4: (Ipv4Addr::new(100, 64, 0, 1), POOL4.prefix_len()),
            address6: Some((
                Ipv6Addr::new(0xfd0b, 0x3c6e, 0x91d2, 0x7a40, 0, 0, 0, 1),
                POOL6.prefix_len(),
            )),
            mtu,
            sysctls: vec![
                sysctl("net/ipv6/conf/all/disable_ipv6", "0"),
                sysctl("net/ipv6/conf/default/disable_ipv6", "0"),
                sysctl("net/ipv6/conf/default/router_solicitations", "0"),
                sysctl("net/ipv6/conf/default/accept_ra", "0"),
                sysctl("net/core/somaxconn", "4096"),
                sysctl("net/ipv4/tcp_max_syn_backlog", "4096"),
                sysctl("net/ipv4/tcp_slow_start_after_idle", "0"),
                // a way to a device that swallows full packets tells nobody (RFC 4821)
                sysctl("net/ipv4/tcp_mtu_probing", "1"),
                // an address belongs to another device tomorrow
                sysctl("net/ipv4/tcp_no_metrics_save", "1"),
                sysctl("net/ipv4/tcp_rmem", "4096 131072 16777216"),
                sysctl("net/ipv4/tcp_wmem", "4096 65536 16777216"),
            ],
        }
    }
}

/// What the helper answers; the descriptors travel beside [`Report::Ready`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Report {
    Ready {
        congestion: String,
        notes: Vec<String>,
    },
    Failed {
        step: Step,
        why: String,
    },
}

/// The open namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    /// The TUN device, non-blocking, `virtio_net_hdr` before each packet.
    pub(crate) tun: OwnedFd,
    /// The private IPv4 listener.
    pub(crate) listen4: TcpListener,
    /// The private IPv6 listener, absent where the kernel has no IPv6.
    pub(crate) listen6: Option<TcpListener>,
    /// The congestion controller of the listeners.
    pub(crate) congestion: String,
    /// What did not work but is not needed.
    pub(crate) notes: Vec<String>,
}

/// The step at which the door stayed shut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// Executing the helper and talking to it.
    StartHelper,
    /// `unshare(2)`.
    Unshare,
    /// Writing the user and group maps.
    MapIds,
    /// Opening `/dev/net/tun`.
    OpenTun,
    /// Making the TUN device.
    CreateTun,
    /// Giving addresses and bringing the devices up.
    Address,
    /// Listening inside the namespace.
    Listen,
    /// Binding the UDP socket.
    BindUdp,
    /// Reading the server's key.
    Key,
    /// Building the node from its settings.
    Node,
}

impl Step {
    /// Names the step as messages write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::StartHelper => "start the namespace helper",
            Self::Unshare => "make a network namespace",
            Self::MapIds => "map user and group ids",
            Self::OpenTun => "open /dev/net/tun",
            Self::CreateTun => "create the TUN device",
            Self::Address => "set addresses by netlink",
            Self::Listen => "listen in the namespace",
            Self::BindUdp => "bind the UDP socket",
            Self::Key => "read the server key",
            Self::Node => "set up the tunnel",
        }
    }

    /// Says what to grant so that the step works.
    pub(crate) fn help(self) -> &'static str {
        match self {
            Self::Unshare => {
                "allow user namespaces: sysctl user.max_user_namespaces above 0; \
                 systemd: no RestrictNamespaces=, or RestrictNamespaces=user net; \
                 Docker: --security-opt seccomp=unconfined, or --cap-add SYS_ADMIN; \
                 AppArmor: a profile with `userns,`, or sysctl kernel.apparmor_restrict_unprivileged_userns=0"
            }
            Self::MapIds => {
                "install the binary readable for its user (mode 0755); \
                 systemd: ProtectProc= must not hide /proc/self; \
                 AppArmor: a profile with `userns,` and `capability setgid,`"
            }
            Self::OpenTun => {
                "load the driver (modprobe tun) and make the device usable: chmod 0666 /dev/net/tun \
                 or udev rule KERNEL==\"tun\", MODE=\"0666\"; \
                 systemd: PrivateDevices=no, DeviceAllow=/dev/net/tun rw; \
                 Docker: --device /dev/net/tun"
            }
            Self::CreateTun => {
                "the namespace was made without rights in it; \
                 AppArmor: a profile with `userns,` and `capability net_admin,`, or sysctl \
                 kernel.apparmor_restrict_unprivileged_userns=0; Docker: --cap-add NET_ADMIN"
            }
            Self::Address => {
                "systemd: RestrictAddressFamilies= must contain AF_NETLINK AF_UNIX AF_INET AF_INET6; \
                 AppArmor: `network netlink raw,`"
            }
            Self::Listen => "systemd: RestrictAddressFamilies= must contain AF_INET AF_INET6",
            Self::StartHelper => {
                "install the binary readable and executable for its user (mode 0755); \
                 systemd: RestrictAddressFamilies= must contain AF_UNIX"
            }
            Self::BindUdp => "choose a free address and port in [tunnel] listen",
            Self::Key => "restore DATA/wg.key, or remove it and hand out new device configs",
            Self::Node => "correct [tunnel] in postern.toml",
        }
    }
}

/// Says why the tunnel door stays shut and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tunnel cannot {}: {why}; {help}", step.name())]
pub(crate) struct TunnelError {
    /// Where it failed.
    pub(crate) step: Step,
    /// What the system said.
    pub(crate) why: String,
    /// What to grant or correct.
    pub(crate) help: &'static str,
}

impl TunnelError {
    /// Wraps what the system said at `step`.
    pub(crate) fn new(step: Step, why: impl std::fmt::Display) -> Self {
        Self {
            step,
            why: why.to_string(),
            help: step.help(),
        }
    }
}

/// Says which program is the helper.
#[derive(Clone, Debug)]
pub(crate) struct Helper {
    /// The program; `/proc/self/exe` but in tests.
    pub(crate) program: String,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
}

impl Default for Helper {
    fn default() -> Self {
        Self {
            program: "/proc/self/exe".to_owned(),
            arguments: vec![ENTRY.to_owned()],
        }
    }
}

impl Namespace {
    /// Runs the helper and takes over the descriptors it made; blocks for a few milliseconds.
    ///
    /// # Errors
    /// The step that failed, with what to grant.
    pub(crate) fn open(plan: &Plan, helper: &Helper) -> Result<Self, TunnelError> {
        let start = |why: io::Error| TunnelError::new(Step::StartHelper, why);
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|why| start(why.into()))?;
        let timeout = rustix::net::sockopt::Timeout::Recv;
        rustix::net::sockopt::set_socket_timeout(&ours, timeout, Some(HELPER_TIMEOUT))
            .map_err(|why| start(why.into()))?;
        let config = serde_json::to_vec(plan).map_err(|why| start(why.into()))?;
        let mut child = Command::new(&helper.program)
            .args(&helper.arguments)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .map_err(start)?;
        let received = rustix::net::send(&ours, &config, SendFlags::NOSIGNAL)
            .map_err(io::Error::from)
            .and_then(|_| receive(&ours));
        // a helper that hangs is ended, one that is done is collected
        if received.is_err() {
            drop(child.kill());
        }
        let status = child.wait().map_err(start)?;
        let (report, descriptors) = received
            .map_err(|why| TunnelError::new(Step::StartHelper, format!("{why} ({status})")))?;
        match report {
            Report::Failed { step, why } => Err(TunnelError::new(step, why)),
            Report::Ready { congestion, notes } => {
                let mut descriptors = descriptors.into_iter();
                let (Some(tun), Some(listen4)) = (descriptors.next(), descriptors.next()) else {
                    return Err(TunnelError::new(
                        Step::StartHelper,
                        "descriptors are missing",
                    ));
                };
                Ok(Self {
                    tun,
                    listen4: TcpListener::from(listen4),
                    listen6: descriptors.next().map(TcpListener::from),
                    congestion,
                    notes,
                })
            }
        }
    }
}

/// Takes one report and its descriptors from the helper.
fn receive(socket: &OwnedFd) -> io::Result<(Report, Vec<OwnedFd>)> {
    let mut bytes = vec![0; MESSAGE_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut descriptors = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = part {
            descriptors.extend(passed);
        }
    }
    let text = bytes.get(..message.bytes).unwrap_or_default();
    if text.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the helper ended without a report",
        ));
    }
    Ok((serde_json::from_slice(text)?, descriptors))
}

#[cfg(test)]
mod tests {
    use super::{Plan, Report, Step, TunnelError};

    #[test]
    fn a_plan_survives_the_way_to_the_helper() {
        let plan = Plan::new(1420);
        let text = serde_json::to_vec(&plan).unwrap();
        assert_eq!(serde_json::from_slice::<Plan>(&text).unwrap(), plan);
    }

    #[test]
    fn a_plan_with_an_unknown_field_is_refused() {
        let good = r#"{"address4":["100.64.0.1",10],"address6":null,"mtu":1420,"sysctls":[]}"#;
        let bad = r#"{"address4":["100.64.0.1",10],"address6":null,"mtu":1420,"sysctls":[],"x":1}"#;
        assert!(serde_json::from_str::<Plan>(good).is_ok());
        assert!(serde_json::from_str::<Plan>(bad).is_err());
    }

    #[test]
    fn a_failure_names_the_step_and_what_to_grant() {
        let report = Report::Failed {
            step: Step::OpenTun,
            why: "Permission denied (os error 13)".to_owned(),
        };
        let text = serde_json::to_string(&report).unwrap();
        let Report::Failed { step, why } = serde_json::from_str(&text).unwrap() else {
            panic!("a failure stays a failure");
        };
        let message = TunnelError::new(step, why).to_string();
        assert!(message.contains("open /dev/net/tun: Permission denied"));
        assert!(message.contains("--device /dev/net/tun"));
        assert!(message.contains("DeviceAllow=/dev/net/tun rw"));
    }
}
