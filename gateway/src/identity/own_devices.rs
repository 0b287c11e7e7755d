//! What a signed-in person does to their own tunnel devices, each behind password and code.

use std::sync::Arc;

use super::Identity;
use super::devices::{Device, DeviceError, NewDevice, Psk};
use super::notices::NoticeKind;
use super::record::Context;
use super::session::Session;
use crate::ids::DeviceId;

/// Says why a person's act on a device of theirs was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnDeviceError {
    /// Password and code were not given within five minutes in this session.
    #[error("password and code were not given in this session")]
    NotConfirmed,
    /// What the registry has against it; devices of others are unknown.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl Identity {
    /// Registers a device for the person of a confirmed session, with a preshared key as
    /// `postern device add` does.
    ///
    /// # Errors
    /// [`OwnDeviceError`]; nothing was kept then.
    pub(crate) async fn add_own_device(
        &self,
        session: &Session,
        name: &str,
        public_key: [u8; 32],
        from: &Context<'_>,
    ) -> Result<Arc<Device>, OwnDeviceError> {
        confirmed(session, from)?;
        let new = NewDevice {
            user: &session.user,
            name,
            public_key,
            psk: Psk::Generate,
            address4: None,
            address6: None,
            now: from.now,
        };
        let device = self.devices.add_own(new, from).await?;
        let kind = NoticeKind::DeviceAdded;
        self.tell(&session.user, kind, from, &device.name).await;
        Ok(device)
    }

    /// Gives a device of the person of a confirmed session another name.
    ///
    /// # Errors
    /// [`OwnDeviceError`]; nothing changed then.
    pub(crate) async fn rename_own_device(
        &self,
        session: &Session,
        id: DeviceId,
        name: &str,
        from: &Context<'_>,
    ) -> Result<(), OwnDeviceError> {
        confirmed(session, from)?;
        self.own(session, id)?;
        Ok(self.devices.rename(id, name, from).await?)
    }

    /// Revokes a device of the person of a confirmed session for ever. The caller cuts what the
    /// device has open, also after an error of store or journal: the device is revoked then too.
    ///
    /// # Errors
    /// [`OwnDeviceError`]; after [`OwnDeviceError::NotConfirmed`] and [`DeviceError::Unknown`]
    /// nothing changed.
    pub(crate) async fn revoke_own_device(
        &self,
        session: &Session,
        id: DeviceId,
        from: &Context<'_>,
    ) -> Result<(), OwnDeviceError> {
        confirmed(session, from)?;
        let device = self.own(session, id)?;
        let done = self.devices.revoke_by(id, from.now, Some(from)).await;
        if !matches!(done, Ok(false)) {
            let kind = NoticeKind::DeviceRevoked;
            self.tell(&session.user, kind, from, &device.name).await;
        }
        done.map(drop).map_err(Into::into)
    }

    /// Tells the owner of a device what an administrator did with it.
    pub(crate) async fn tell_of_device(&self, kind: NoticeKind, device: &Device, now: i64) {
        self.tell_by_admin(&device.user, kind, now, &device.name)
            .await;
    }

    /// Returns a device of the session's person that is not revoked.
    fn own(&self, session: &Session, id: DeviceId) -> Result<Arc<Device>, DeviceError> {
        let found = self.devices.get(id);
        found
            .filter(|d| d.user == session.user && d.revoked.is_none())
            .ok_or(DeviceError::Unknown(id))
    }
}

fn confirmed(session: &Session, from: &Context<'_>) -> Result<(), OwnDeviceError> {
    if session.is_confirmed(from.now) {
        Ok(())
    } else {
        Err(OwnDeviceError::NotConfirmed)
    }
}
