//! Why a device is not taken.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::Ipv4Net;

use super::{NAME_MAX, PER_DAY};
use crate::audit::AuditError;
use crate::ids::DeviceId;
use crate::store::StoreError;

/// Says why a device was not registered or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeviceError {
    /// The key cannot be one: zero, of low order, not canonical.
    #[error("not a usable WireGuard public key")]
    BadKey,
    /// Another device has the key.
    #[error("device {0} has this public key")]
    KeyTaken(DeviceId),
    /// The key belonged to a device that was revoked.
    #[error("the key of revoked device {0} cannot be used again")]
    KeyRevoked(DeviceId),
    /// The name is empty, long or has characters that are not seen.
    #[error("a device name has 1 to {NAME_MAX} characters, all of them visible")]
    BadName,
    /// The person has another device of that name.
    #[error("{0} has a device {1} already")]
    NameTaken(Arc<str>, Arc<str>),
    /// The person has as many devices as one may have.
    #[error("{0} has {1} devices, which is the most")]
    TooMany(Arc<str>, usize),
    /// The person has registered as many devices today as one may.
    #[error("{0} has registered {PER_DAY} devices within a day, which is the most")]
    TooFast(Arc<str>),
    /// No address is free.
    #[error("no address of {0} is free")]
    NoAddress(Ipv4Net),
    /// The wanted address is outside the network, reserved or taken.
    #[error("address {0} is outside the tunnel network, reserved or taken")]
    BadAddress(Ipv4Addr),
    /// The wanted IPv6 address is outside the network, reserved or taken.
    #[error("address {0} is outside the tunnel's IPv6 network, reserved or taken")]
    BadAddress6(Ipv6Addr),
    /// There is no such device.
    #[error("no device {0}")]
    Unknown(DeviceId),
    /// No master key opens its pre-shared key.
    #[error(
        "the preshared key of device {0} cannot be opened; give it another: postern device rotate-psk {0}"
    )]
    SealedPsk(DeviceId),
    /// It could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be recorded.
    #[error(transparent)]
    Audit(#[from] AuditError),
}
