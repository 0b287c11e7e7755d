//! Devices taken over from a WireGuard server, all or none.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::DeviceLine;

/// Devices to take over.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Import {
    /// Whether anything is kept.
    pub(crate) mode: Mode,
    /// The server's private key in base64; a secret.
    pub(crate) server_key: Option<String>,
    /// What becomes of it.
    pub(crate) choice: KeyChoice,
    /// The devices in the order of the file.
    pub(crate) devices: Vec<Planned>,
}

/// Whether an import is done or only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Everything is checked, nothing is kept.
    Preview,
    /// All is kept, or nothing.
    Commit,
}

/// Which key the gateway has in the tunnel afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum KeyChoice {
    /// The server's, if no device relies on the gateway's; else nothing is imported.
    Safe,
    /// The server's; devices of before need a new configuration.
    Replace,
    /// Its own; the imported devices need a new configuration.
    Keep,
}

/// One device to take over.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Planned {
    /// Where it stands, `file:line:column`, for messages.
    pub(crate) place: String,
    /// Its owner.
    pub(crate) user: String,
    /// Its name.
    pub(crate) name: String,
    /// Its public key in base64.
    pub(crate) public_key: String,
    /// Its preshared key in base64; a secret.
    pub(crate) preshared_key: Option<String>,
    /// The address it has.
    pub(crate) address: Ipv4Addr,
    /// The IPv6 address it has.
    pub(crate) address6: Option<Ipv6Addr>,
}

/// What became of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DevicesImported {
    /// Which key the gateway has in the tunnel.
    pub(crate) server_key: ServerKey,
    /// The devices.
    pub(crate) devices: Vec<DeviceLine>,
}

/// Which key the gateway has in the tunnel after an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ServerKey {
    /// Both were one.
    Same,
    /// The server's.
    Replaced,
    /// Its own.
    Kept,
}

impl std::fmt::Debug for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Import")
            .field("mode", &self.mode)
            .field("devices", &self.devices)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planned")
            .field("user", &self.user)
            .field("name", &self.name)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
