//! The three netlink requests that set a network device up.
//!
//! Source: netlink(7) and rtnetlink(7); integers are in the byte order of the machine.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const NLM_F_REQUEST: u16 = 0x001;
const NLM_F_ACK: u16 = 0x004;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const IFF_UP: u32 = 1;
const IFLA_MTU: u16 = 4;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 2;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const HEADER: usize = 16;

/// A routing netlink socket of the current network namespace.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Opens the socket.
    ///
    /// # Errors
    /// What the kernel answers, for example `EAFNOSUPPORT` under a filter of address families.
    pub(super) fn open() -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            None, // NETLINK_ROUTE is protocol 0
        )?;
        rustix::net::bind(&socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Brings the device up, with a new MTU if one is given.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(super) fn up(&mut self, index: u32, mtu: Option<u16>) -> io::Result<()> {
        let mut body = Vec::with_capacity(32);
        body.extend([0; 4]); // family, padding, type
        body.extend(index.to_ne_bytes());
        body.extend(IFF_UP.to_ne_bytes()); // flags
        body.extend(IFF_UP.to_ne_bytes()); // which flags change
        if let Some(mtu) = mtu {
            attribute(&mut body, IFLA_MTU, &u32::from(mtu).to_ne_bytes());
        }
        self.request(RTM_NEWLINK, 0, &body)
    }

    /// Adds an address without duplicate address detection.
    ///
    /// # Errors
    /// What the kernel answers.
    pub(super) fn add_address(
        &mut self,
        index: u32,
        address: IpAddr,
        prefix: u8,
    ) -> io::Result<()> {
        let mut body = Vec::with_capacity(48);
        let (family, octets) = match address {
            IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
            IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
        };
        body.extend([family, prefix, IFA_F_NODAD, 0]);
        body.extend(index.to_ne_bytes());
        attribute(&mut body, IFA_LOCAL, &octets);
        attribute(&mut body, IFA_ADDRESS, &octets);
        self.request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &body)
    }

    fn request(&mut self, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
        self.sequence += 1;
        let message = message(kind, flags | NLM_F_REQUEST | NLM_F_ACK, self.sequence, body)?;
        rustix::net::send(&self.socket, &message, SendFlags::empty())?;
        let mut answer = [0; 1024];
        let (length, _) = rustix::net::recv(&self.socket, &mut answer, RecvFlags::empty())?;
        outcome(answer.get(..length).unwrap_or_default())
    }
}

/// Puts the header before `body`.
fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(HEADER + body.len()).map_err(io::Error::other)?;
    let mut message = Vec::with_capacity(HEADER + body.len());
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]); // the kernel
    message.extend(body);
    Ok(message)
}

/// Appends one attribute, padded to 4 bytes; `value` is shorter than 64 KiB by construction.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    while !body.len().is_multiple_of(4) {
        body.push(0);
    }
}

/// Reads an acknowledgement: error number 0 is success.
fn outcome(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..6).and_then(|b| b.try_into().ok());
    let code = answer
        .get(HEADER..HEADER + 4)
        .and_then(|b| b.try_into().ok());
    match (kind.map(u16::from_ne_bytes), code.map(i32::from_ne_bytes)) {
        (Some(NLMSG_ERROR), Some(0)) => Ok(()),
        (Some(NLMSG_ERROR), Some(code)) => Err(io::Error::from_raw_os_error(code.saturating_neg())),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "netlink gave no acknowledgement",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{NLMSG_ERROR, attribute, message, outcome};

    #[test]
    fn attributes_are_padded_to_four_bytes_and_say_their_true_length() {
        let mut body = Vec::new();
        attribute(&mut body, 7, &[1, 2, 3, 4, 5]);
        assert_eq!(body.len(), 12);
        assert_eq!(u16::from_ne_bytes([body[0], body[1]]), 9);
    }

    #[test]
    fn an_acknowledgement_is_success_and_an_error_is_that_error() {
        let ok = message(NLMSG_ERROR, 0, 1, &0_i32.to_ne_bytes()).unwrap();
        let exists = message(NLMSG_ERROR, 0, 1, &(-17_i32).to_ne_bytes()).unwrap();
        assert!(outcome(&ok).is_ok());
        assert_eq!(outcome(&exists).unwrap_err().raw_os_error(), Some(17));
        assert!(outcome(&[]).is_err());
    }
}
