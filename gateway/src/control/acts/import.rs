//! Taking devices over from a WireGuard server.

use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::super::import::{DevicesImported, Import, KeyChoice, Mode, Planned, ServerKey};
use super::{Acts, Code, Refusal, device_line};
use crate::clock;
use crate::identity::{Device, NewDevice, NoticeKind, Psk};
use crate::tunnel;

impl Acts<'_> {
    /// See [`super::super::Operator::device_import`]: all devices and the key, or nothing.
    pub(crate) async fn device_import(&self, import: &Import) -> Result<DevicesImported, Refusal> {
        let server_key = self.server_key_after(import)?;
        let mut wanted = Vec::new();
        for planned in &import.devices {
            self.known(&planned.user).map_err(|e| at(planned, e))?;
            wanted.push(registration(planned).map_err(|e| at(planned, e))?);
        }
        let devices = self.identity.devices();
        let admitted = devices.admit_all(&wanted).await.map_err(|(index, error)| {
            let refusal = Refusal::from(error);
            match import.devices.get(index) {
                Some(planned) => at(planned, refusal),
                None => refusal,
            }
        })?;
        if import.mode == Mode::Preview {
            let devices = admitted.devices().iter().map(|d| device_line(d)).collect();
            return Ok(DevicesImported {
                server_key,
                devices,
            });
        }
        let replaced = match (server_key, given_key(import)?) {
            (ServerKey::Replaced, Some(key)) => {
                let done = tunnel::key::replace(self.config, self.keys, &key);
                Some(done.map_err(internal)?)
            }
            _ => None,
        };
        let kept = match admitted.commit().await {
            Ok(kept) => kept,
            Err(error) => {
                if let Some(before) = replaced {
                    let back = tunnel::key::replace(self.config, self.keys, &before);
                    back.map_err(internal)?;
                }
                return Err(error.into());
            }
        };
        self.tell_owners(&kept).await;
        let devices = kept.iter().map(|d| device_line(d)).collect();
        Ok(DevicesImported {
            server_key,
            devices,
        })
    }

    /// Decides which key the gateway has afterwards.
    fn server_key_after(&self, import: &Import) -> Result<ServerKey, Refusal> {
        let Some(key) = given_key(import)? else {
            return Ok(ServerKey::Kept);
        };
        let ours = tunnel::server_key(self.config, self.keys).map_err(internal)?;
        let theirs = wg::PrivateKey::from_bytes(*key);
        if theirs.public_key() == ours.public_key() {
            return Ok(ServerKey::Same);
        }
        let devices = self.identity.devices().list();
        let relying = devices.iter().filter(|d| d.revoked.is_none()).count();
        match import.choice {
            KeyChoice::Keep => Ok(ServerKey::Kept),
            KeyChoice::Replace => Ok(ServerKey::Replaced),
            KeyChoice::Safe if relying == 0 => Ok(ServerKey::Replaced),
            KeyChoice::Safe => {
                let text = format!(
                    "the server's key is not the gateway's, and {relying} devices rely on the \
                     gateway's; with --replace-key these need a new configuration, with \
                     --keep-key the imported ones do"
                );
                Err(Refusal::new(Code::Data, text))
            }
        }
    }

    async fn tell_owners(&self, devices: &[std::sync::Arc<Device>]) {
        for device in devices {
            let kind = NoticeKind::DeviceAdded;
            self.identity
                .tell_of_device(kind, device, clock::unix())
                .await;
        }
    }
}

fn given_key(import: &Import) -> Result<Option<Zeroizing<[u8; 32]>>, Refusal> {
    let Some(text) = import.server_key.as_deref() else {
        return Ok(None);
    };
    bytes(text).map(Some)
}

fn registration(planned: &Planned) -> Result<NewDevice<'_>, Refusal> {
    Ok(NewDevice {
        user: &planned.user,
        name: &planned.name,
        public_key: *bytes(&planned.public_key)?,
        psk: match planned.preshared_key.as_deref() {
            Some(key) => Psk::Given(bytes(key)?),
            None => Psk::Absent,
        },
        address4: Some(planned.address),
        address6: planned.address6,
        now: clock::unix(),
    })
}

fn bytes(base64: &str) -> Result<Zeroizing<[u8; 32]>, Refusal> {
    let bad = || Refusal::new(Code::Data, "a key is 32 bytes in base64");
    let decoded = BASE64.decode(base64.as_bytes()).map_err(|_| bad())?;
    let decoded = Zeroizing::new(decoded);
    let key = <[u8; 32]>::try_from(decoded.as_slice()).map_err(|_| bad())?;
    Ok(Zeroizing::new(key))
}

fn at(planned: &Planned, mut refusal: Refusal) -> Refusal {
    refusal.message = format!("{}: {}", planned.place, refusal.message);
    refusal
}

fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::Internal, error.to_string())
}
