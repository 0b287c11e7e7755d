//! The pre-shared keys of devices, sealed.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{Device, DeviceChange, DeviceError, Devices};
use crate::audit::reason;
use crate::ids::{self, DeviceId};

/// The kind of sealed pre-shared keys.
pub(in crate::identity) const PSK: &str = "psk";

/// The pre-shared key of a new device.
pub(crate) enum Psk {
    /// Draw one.
    Generate,
    /// Take over one that the client has.
    Given(Zeroizing<[u8; 32]>),
    /// The client has none.
    Absent,
}

impl Devices {
    /// Opens the pre-shared key of a device; `None` for one that has none.
    ///
    /// # Errors
    /// [`DeviceError::SealedPsk`] if no master key opens it: the device must not be let in without.
    pub(crate) fn psk(&self, id: DeviceId) -> Result<Option<Zeroizing<[u8; 32]>>, DeviceError> {
        let Some(sealed) = self.get(id).and_then(|device| device.psk.clone()) else {
            return Ok(None);
        };
        let plain = self.keys.open(PSK, &id.to_string(), &sealed);
        let key = plain.and_then(|plain| plain.as_slice().try_into().ok());
        key.map(|key| Some(Zeroizing::new(key)))
            .ok_or(DeviceError::SealedPsk(id))
    }

    /// Gives a device that is not revoked another pre-shared key, or its first.
    ///
    /// # Errors
    /// [`DeviceError`]; nothing changed then.
    pub(crate) async fn rotate_psk(&self, id: DeviceId) -> Result<Arc<Device>, DeviceError> {
        let _change = self.change.lock().await;
        let before = self.get(id).filter(|d| d.revoked.is_none());
        let mut device = Device::clone(&*before.ok_or(DeviceError::Unknown(id))?);
        device.psk = self.seal(id, &Psk::Generate);
        self.record(&device, reason::DEVICE_PSK_CHANGED, None)
            .await?;
        self.store.put_device(device.row()).await?;
        self.alter(id, |kept| kept.psk.clone_from(&device.psk));
        self.tell(DeviceChange::Rekeyed(id));
        self.get(id).ok_or(DeviceError::Unknown(id))
    }

    pub(super) fn seal(&self, id: DeviceId, psk: &Psk) -> Option<Vec<u8>> {
        let owner = id.to_string();
        match psk {
            Psk::Generate => {
                let drawn = Zeroizing::new(ids::random::<32>());
                Some(self.keys.seal(PSK, &owner, &*drawn))
            }
            Psk::Given(given) => Some(self.keys.seal(PSK, &owner, &**given)),
            Psk::Absent => None,
        }
    }
}
