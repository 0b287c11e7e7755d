//! What the pages ask about a person's own tunnel devices.

use async_trait::async_trait;

use super::DeviceState;
use crate::ids::DeviceId;
use crate::pages::texts::Texts;

/// The person's own devices, as one request to the pages sees them.
#[async_trait]
pub(crate) trait DeviceDesk {
    /// Lists the person's devices, revoked ones too, in the order they came.
    async fn own_devices(&self) -> Vec<DeviceView>;
    /// Registers a device by its public key in base64, if the session is confirmed.
    async fn add_device(&self, name: &str, public_key: &str) -> Result<NewConfig, DeviceFault>;
    /// Renames a device of the person, if the session is confirmed.
    async fn rename_device(&self, device: DeviceId, name: &str) -> Result<(), DeviceFault>;
    /// Revokes a device of the person for ever, if the session is confirmed; its tunnel is shut
    /// when this returns.
    async fn revoke_device(&self, device: DeviceId) -> Result<(), DeviceFault>;
}

/// A device with what its owner may know of it. Times are UNIX seconds.
#[derive(Clone, Debug)]
pub(crate) struct DeviceView {
    /// Such as `d7`.
    pub(crate) id: DeviceId,
    /// The name it was given.
    pub(crate) name: String,
    /// Its tunnel address.
    pub(crate) address: String,
    /// Whether an administrator manages it.
    pub(crate) managed: bool,
    /// Whether it may pass.
    pub(crate) state: DeviceState,
    /// Whether this request came through it.
    pub(crate) here: bool,
    /// When it was registered.
    pub(crate) created: i64,
    /// When it was revoked.
    pub(crate) revoked: Option<i64>,
    /// When it last made a handshake, as far as the gateway remembers.
    pub(crate) heard: Option<i64>,
    /// The zones and the address it was last heard from.
    pub(crate) place: Option<String>,
    /// Bytes received from it and sent to it since the gateway started.
    pub(crate) traffic: Option<(u64, u64)>,
}

impl DeviceView {
    pub(crate) fn class_text(&self, t: &'static Texts) -> &'static str {
        if self.managed {
            t.class_managed
        } else {
            t.class_known
        }
    }
}

/// The configuration of a device that was registered.
#[derive(Clone, Debug)]
pub(crate) struct NewConfig {
    /// The name it was given.
    pub(crate) name: String,
    /// The text for wg-quick, with a placeholder for the private key.
    pub(crate) config: String,
    /// The placeholder, once in the text.
    pub(crate) placeholder: &'static str,
}

/// Why an act on a device was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceFault {
    /// Password and code are wanted first.
    NotConfirmed,
    /// The name is empty, too long, or has control characters.
    BadName,
    /// The person has another device of that name.
    NameTaken,
    /// The key cannot be one.
    BadKey,
    /// The key is or was in use.
    KeyTaken,
    /// The person has this many devices, and may not have more.
    TooMany(usize),
    /// The person has added too many today.
    TooFast,
    /// The tunnel has no address left.
    NoAddress,
    /// The person has no such device that is not revoked.
    Unknown,
    /// It could not be stored or recorded now.
    Unavailable,
}

impl DeviceFault {
    /// Names the fault as JSON answers write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NotConfirmed => "not-confirmed",
            Self::BadName => "bad-name",
            Self::NameTaken => "name-taken",
            Self::BadKey => "bad-key",
            Self::KeyTaken => "key-taken",
            Self::TooMany(_) => "too-many-devices",
            Self::TooFast => "too-many-today",
            Self::NoAddress => "no-address",
            Self::Unknown => "unknown-device",
            Self::Unavailable => "unavailable",
        }
    }
}
