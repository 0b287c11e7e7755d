//! Devices as operators add and see them.

use serde::{Deserialize, Serialize};

/// One device in a list. Times are RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceLine {
    /// Such as `d7`.
    pub(crate) id: String,
    /// Its owner.
    pub(crate) user: String,
    /// Its name.
    pub(crate) name: String,
    /// Its address in the tunnel.
    pub(crate) address: String,
    /// Its IPv6 address in the tunnel, where that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address6: Option<String>,
    /// Its public key in base64.
    pub(crate) public_key: String,
    /// Whether a preshared key is part of its handshakes.
    #[serde(default)]
    pub(crate) preshared: bool,
    /// Known or managed.
    pub(crate) class: DeviceClass,
    /// Where it was last heard.
    pub(crate) endpoint: Option<String>,
    /// When it was registered.
    pub(crate) created: String,
    /// When it was revoked.
    pub(crate) revoked: Option<String>,
}

/// What is known of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DeviceClass {
    /// Enrolled by its owner.
    Known,
    /// Kept by the administrators.
    Managed,
}

impl DeviceClass {
    /// Names the class as lists write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Managed => "managed",
        }
    }
}

/// A device to register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NewDevice {
    /// Its owner.
    pub(crate) user: String,
    /// Its name, unique for its owner.
    pub(crate) name: String,
    /// Its public key in base64.
    pub(crate) public_key: String,
    /// Whether it gets a preshared key.
    #[serde(default)]
    pub(crate) preshared: Preshared,
}

/// Whether a new device gets a preshared key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Preshared {
    /// A random one of its own.
    #[default]
    Draw,
    /// None.
    Omit,
}

/// A device that was registered, with what its configuration needs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceAdded {
    /// The device.
    pub(crate) device: DeviceLine,
    /// The gateway's public key in base64.
    pub(crate) server_public_key: String,
    /// Where the gateway is reached, `host:port`.
    pub(crate) endpoint: String,
    /// The gateway's address in the tunnel, also its resolver.
    pub(crate) dns: String,
    /// The gateway's IPv6 address in the tunnel, where that has one.
    #[serde(default)]
    pub(crate) dns6: Option<String>,
    /// The largest inner packet in bytes.
    pub(crate) mtu: u16,
    /// The networks to route through the tunnel.
    pub(crate) allowed_ips: Vec<String>,
    /// The preshared key in base64, if the device has one; a secret.
    #[serde(default)]
    pub(crate) preshared_key: Option<String>,
}

impl std::fmt::Debug for DeviceAdded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeviceAdded")
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}
