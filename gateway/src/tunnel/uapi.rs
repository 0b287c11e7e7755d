//! The cross-platform protocol of WireGuard's tools, so that `wg show` works: what is asked and
//! what is answered; no IO.
//!
//! Only looking is answered. Private and preshared keys are left out, which the tools show as a
//! device without them.
//!
//! Source: <https://www.wireguard.com/xplatform/>

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::Duration;

use data_encoding::HEXLOWER;
use ipnet::IpNet;

/// The longest message in bytes; a `get` has seven.
pub(crate) const MESSAGE_MAX: usize = 4 * 1024;

/// What a message asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// The state of the interface.
    Get,
}

/// Why a message is refused; a number of `errno.h`, which the tools expect negative as
/// wireguard-go sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errno {
    /// Devices are changed by `postern device`, which asks and records.
    NotPermitted,
    /// The message is none.
    Invalid,
}

impl Errno {
    fn number(self) -> i32 {
        match self {
            Self::NotPermitted => -1,
            Self::Invalid => -22,
        }
    }
}

/// A peer as the tools show it.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    /// Its key.
    pub(crate) public_key: [u8; 32],
    /// Where it was last heard.
    pub(crate) endpoint: Option<SocketAddr>,
    /// When its last handshake was, since the UNIX epoch.
    pub(crate) handshake: Option<Duration>,
    /// Bytes received from it.
    pub(crate) rx: u64,
    /// Bytes sent to it.
    pub(crate) tx: u64,
    /// Its addresses.
    pub(crate) allowed_ips: Vec<IpNet>,
}

/// Says whether an empty line ended the message.
pub(crate) fn is_whole(message: &[u8]) -> bool {
    message.ends_with(b"\n\n") || message == b"\n"
}

/// Reads a whole message.
///
/// # Errors
/// [`Errno`] to answer with.
pub(crate) fn operation(message: &[u8]) -> Result<Operation, Errno> {
    match message {
        b"get=1\n\n" => Ok(Operation::Get),
        set if set.starts_with(b"set=1\n") => Err(Errno::NotPermitted),
        _ => Err(Errno::Invalid),
    }
}

/// Writes a refusal.
pub(crate) fn refusal(why: Errno) -> String {
    format!("errno={}\n\n", why.number())
}

/// Writes the state of the interface.
pub(crate) fn state(port: u16, peers: &[Shown]) -> String {
    let mut text = format!("listen_port={port}\n");
    for peer in peers {
        // writing into a string does not fail
        let _ = write_peer(&mut text, peer);
    }
    text.push_str("errno=0\n\n");
    text
}

fn write_peer(text: &mut String, peer: &Shown) -> std::fmt::Result {
    writeln!(text, "public_key={}", HEXLOWER.encode(&peer.public_key))?;
    text.push_str("protocol_version=1\n");
    if let Some(endpoint) = peer.endpoint {
        writeln!(text, "endpoint={endpoint}")?;
    }
    let heard = peer.handshake.unwrap_or_default();
    writeln!(text, "last_handshake_time_sec={}", heard.as_secs())?;
    writeln!(text, "last_handshake_time_nsec={}", heard.subsec_nanos())?;
    writeln!(text, "tx_bytes={}\nrx_bytes={}", peer.tx, peer.rx)?;
    text.push_str("persistent_keepalive_interval=0\n");
    for net in &peer.allowed_ips {
        writeln!(text, "allowed_ip={net}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Errno, Operation, Shown, is_whole, operation, refusal, state};
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn looking_is_answered_and_changing_is_refused() {
        assert_eq!(operation(b"get=1\n\n"), Ok(Operation::Get));
        let set = b"set=1\nprivate_key=00\n\n";
        assert_eq!(operation(set), Err(Errno::NotPermitted));
        assert_eq!(refusal(Errno::NotPermitted), "errno=-1\n\n");
        for bad in [&b"get=2\n\n"[..], b"get=1\nfoo=1\n\n", b"\n", b""] {
            assert_eq!(operation(bad), Err(Errno::Invalid));
        }
        assert!(is_whole(b"get=1\n\n") && !is_whole(b"get=1\n"));
    }

    #[test]
    fn a_peer_is_shown_without_its_secrets() {
        let peer = Shown {
            public_key: [0xab; 32],
            endpoint: "[fd77::2]:5000".parse().ok(),
            handshake: Some(Duration::new(1_800_000_000, 5)),
            rx: 7,
            tx: 9,
            allowed_ips: vec!["10.0.0.2/32".parse().unwrap()],
        };
        let text = state(51820, &[peer]);
        let key = "ab".repeat(32);
        assert_eq!(
            text,
            format!(
                "listen_port=51820\npublic_key={key}\nprotocol_version=1\nendpoint=[fd77::2]:5000\n\
                 last_handshake_time_sec=1800000000\nlast_handshake_time_nsec=5\ntx_bytes=9\n\
                 rx_bytes=7\npersistent_keepalive_interval=0\nallowed_ip=10.0.0.2/32\nerrno=0\n\n"
            )
        );
        assert_eq!(state(1, &[]), "listen_port=1\nerrno=0\n\n");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_change_anything(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
            start in prop_oneof![Just(&b""[..]), Just(&b"get=1\n"[..]), Just(&b"set=1\n"[..])],
        ) {
            let message = [start, &bytes].concat();
            let _ = is_whole(&message);
            let is_get = message == b"get=1\n\n";
            prop_assert_eq!(operation(&message).is_ok(), is_get);
        }
    }
}
