//! What operators do to people, sessions and devices; the same for a running gateway and a stopped one.

mod import;
mod token;

use data_encoding::BASE64;
use policy::Policy;

use super::{
    AppClock, Code, DeviceAdded, DeviceClass, DeviceLine, Ended, Imported, Invitation, NewDevice,
    Preshared, Refusal, SessionLine, Which,
};
use crate::clock;
use crate::config::Config;
use crate::edits::EditError;
use crate::identity::{
    Class, Device, DeviceError, EndReason, FactorError, Foreign, Identity,
    NewDevice as Registration, NoticeKind, Psk, Session, Settings,
};
use crate::ids::{DeviceId, SessionId};
use crate::secrets::Keys;
use crate::store::StoreError;
use crate::tunnel;

/// Characters of a reason for a reset.
const WHY_MAX: usize = 200;

/// The parts of a gateway that operators act on; made for one act.
pub(crate) struct Acts<'a> {
    /// The configuration.
    pub(crate) config: &'a Config,
    /// The policy in force.
    pub(crate) policy: &'a Policy,
    /// People, sessions and devices.
    pub(crate) identity: &'a Identity,
    /// The master key, for the tunnel's key.
    pub(crate) keys: &'a Keys,
}

/// Takes the figures of identity from the configuration.
pub(crate) fn settings(config: &Config) -> Settings {
    let identity = &config.identity;
    let labels = config.http.sign_in.iter().flat_map(|host| host.split('.'));
    let words = labels.chain([identity.issuer.as_str()]);
    Settings {
        idle: identity.idle,
        absolute: identity.absolute,
        max_sessions: identity.max_sessions,
        max_devices: identity.max_devices,
        password_min: identity.password_min,
        issuer: identity.issuer.clone(),
        argon2_memory_kib: identity.argon2_memory_kib,
        argon2_passes: identity.argon2_passes,
        failures: identity.failures,
        failure_wait: identity.failure_wait,
        source_posts_per_minute: identity.source_posts_per_minute,
        source_posts_burst: identity.source_posts_burst,
        site_words: words.map(str::to_owned).collect(),
        tunnel_network: config.tunnel.network,
        tunnel_gateway4: config.tunnel.gateway4(),
        tunnel_network6: config.tunnel.network6,
    }
}

impl Acts<'_> {
    /// See [`super::Operator::user_enrolled`].
    pub(crate) async fn user_enrolled(&self) -> Result<Vec<String>, Refusal> {
        let mut enrolled = Vec::new();
        for user in self.policy.users() {
            if self.identity.is_enrolled(&user.name).await? {
                enrolled.push(user.name.to_string());
            }
        }
        Ok(enrolled)
    }

    /// See [`super::Operator::user_clocks`].
    pub(crate) fn user_clocks(&self) -> Vec<AppClock> {
        let rows = self.identity.app_clocks().into_iter();
        rows.filter(|row| self.policy.user(&row.user).is_some())
            .map(|row| AppClock {
                user: row.user,
                off_s: row.off,
                at: clock::rfc3339(u64::try_from(row.at).unwrap_or(0).saturating_mul(1000)),
            })
            .collect()
    }

    /// See [`super::Operator::user_invite`].
    pub(crate) async fn user_invite(&self, user: &str) -> Result<Invitation, Refusal> {
        self.known(user)?;
        let token = self.identity.enrol_link(user, clock::unix()).await?;
        Ok(Invitation {
            user: user.to_owned(),
            link: format!("{}/enrol/{token}", self.config.http.public_url()),
        })
    }

    /// See [`super::Operator::user_forget`].
    pub(crate) async fn user_forget(&self, user: &str) -> Result<Ended, Refusal> {
        let open = self.identity.sessions().of_user(user);
        self.identity.forget(user, clock::unix()).await?;
        let sessions = open.iter().map(|s| s.id.to_string()).collect();
        Ok(Ended { sessions })
    }

    /// See [`super::Operator::user_reset`].
    pub(crate) async fn user_reset(&self, user: &str) -> Result<Ended, Refusal> {
        self.known(user)?;
        let open = self.identity.sessions().of_user(user);
        self.identity.forget_factors(user).await?;
        let sessions = open.iter().map(|s| s.id.to_string()).collect();
        Ok(Ended { sessions })
    }

    /// See [`super::Operator::user_reset_totp`].
    pub(crate) async fn user_reset_totp(
        &self,
        user: &str,
        why: &str,
    ) -> Result<Invitation, Refusal> {
        self.known(user)?;
        if why.trim().is_empty() || why.chars().count() > WHY_MAX {
            let text = format!("a reason has 1 to {WHY_MAX} characters; the person reads it");
            return Err(Refusal::new(Code::Data, text));
        }
        if !self.identity.reset_totp(user, why, clock::unix()).await? {
            let text = format!(
                "{user} has no password yet; make a link with `postern user invite {user}`"
            );
            return Err(Refusal::new(Code::Data, text));
        }
        self.user_invite(user).await
    }

    /// See [`super::Operator::user_import`]; all are checked before the first is kept.
    pub(crate) async fn user_import(&self, people: &[Imported]) -> Result<Vec<String>, Refusal> {
        for Imported { user, verifier } in people {
            self.known(user)?;
            let bad = |e| Refusal::new(Code::Data, format!("{user}: {e}"));
            Foreign::parse(verifier).map_err(bad)?;
        }
        let mut done = Vec::new();
        for Imported { user, verifier } in people {
            if self.identity.import(user, verifier, clock::unix()).await? {
                done.push(user.clone());
            }
        }
        Ok(done)
    }

    /// See [`super::Operator::session_list`].
    pub(crate) fn session_list(&self) -> Vec<SessionLine> {
        let sessions = self.identity.sessions();
        let now = sessions.time();
        let mut live = sessions.list();
        live.retain(|s| s.is_live(now));
        live.sort_by_key(|s| (s.created, s.id));
        live.iter().map(|s| session_line(s)).collect()
    }

    /// See [`super::Operator::session_revoke`]; streams end as the sessions' end is announced.
    pub(crate) async fn session_revoke(&self, which: &Which) -> Result<Ended, Refusal> {
        let sessions = self.identity.sessions();
        let ended = match which {
            Which::All => sessions.end_all(EndReason::Revoked).await?,
            Which::User(user) => sessions.end_user(user, EndReason::Revoked).await?,
            Which::Id(text) => {
                let none = || Refusal::new(Code::Data, format!("no session {text}"));
                let id: SessionId = text.parse().map_err(|_| none())?;
                if !sessions.end(id, EndReason::Revoked).await? {
                    return Err(none());
                }
                vec![id]
            }
        };
        let sessions = ended.iter().map(SessionId::to_string).collect();
        Ok(Ended { sessions })
    }

    /// See [`super::Operator::device_list`].
    pub(crate) fn device_list(&self) -> Vec<DeviceLine> {
        let devices = self.identity.devices().list();
        devices.iter().map(|d| device_line(d)).collect()
    }

    /// See [`super::Operator::device_add`].
    pub(crate) async fn device_add(&self, new: &NewDevice) -> Result<DeviceAdded, Refusal> {
        self.known(&new.user)?;
        let bad = |_| Refusal::new(Code::Data, "a public key is 32 bytes in base64");
        let key = BASE64.decode(new.public_key.as_bytes()).map_err(bad)?;
        let key = <[u8; 32]>::try_from(key)
            .map_err(|_| Refusal::new(Code::Data, "a public key is 32 bytes in base64"))?;
        let devices = self.identity.devices();
        let device = devices
            .add(Registration {
                user: &new.user,
                name: &new.name,
                public_key: key,
                psk: match new.preshared {
                    Preshared::Draw => Psk::Generate,
                    Preshared::Omit => Psk::Absent,
                },
                address4: None,
                address6: None,
                now: clock::unix(),
            })
            .await?;
        let kind = NoticeKind::DeviceAdded;
        self.identity
            .tell_of_device(kind, &device, clock::unix())
            .await;
        self.added(&device)
    }

    /// Puts together what the configuration of a device needs.
    ///
    /// # Errors
    /// When the tunnel's key cannot be read.
    pub(crate) fn added(&self, device: &Device) -> Result<DeviceAdded, Refusal> {
        let tunnel = &self.config.tunnel;
        let key = tunnel::server_key(self.config, self.keys);
        let key = key.map_err(|e| Refusal::new(Code::Internal, e.to_string()))?;
        let allowed = tunnel::client::routes(self.config, self.policy, &device.user);
        let psk = self.identity.devices().psk(device.id);
        let psk = psk.map_err(|e| Refusal::new(Code::Internal, e.to_string()))?;
        Ok(DeviceAdded {
            device: device_line(device),
            server_public_key: key.public_key().to_string(),
            endpoint: self.config.endpoint(),
            dns: tunnel.gateway4().to_string(),
            dns6: tunnel.gateway6().map(|a| a.to_string()),
            mtu: tunnel.mtu,
            allowed_ips: allowed.iter().map(ToString::to_string).collect(),
            preshared_key: psk.map(|key| BASE64.encode(&*key)),
        })
    }

    /// See [`super::Operator::device_rotate_psk`]; the session ends as the tunnel is brought in line.
    pub(crate) async fn device_rotate_psk(&self, id: &str) -> Result<DeviceAdded, Refusal> {
        let device = self.identity.devices().rotate_psk(device_id(id)?).await?;
        self.added(&device)
    }

    /// See [`super::Operator::device_revoke`]; the tunnel ends as the change is announced.
    pub(crate) async fn device_revoke(&self, id: &str) -> Result<DeviceLine, Refusal> {
        let id = device_id(id)?;
        let devices = self.identity.devices();
        let revoked = devices.revoke(id, clock::unix()).await?;
        if let Some(device) = devices.get(id).filter(|_| revoked) {
            let kind = NoticeKind::DeviceRevoked;
            self.identity
                .tell_of_device(kind, &device, clock::unix())
                .await;
        }
        self.line_of(id)
    }

    /// See [`super::Operator::device_clear`]; the tunnel is told by who runs it.
    pub(crate) async fn device_clear(&self, id: &str) -> Result<DeviceLine, Refusal> {
        let id = device_id(id)?;
        self.identity.devices().clear(id).await?;
        self.identity.sessions().settle_device(id);
        self.line_of(id)
    }

    /// See [`super::Operator::device_mark`].
    pub(crate) async fn device_mark(
        &self,
        id: &str,
        class: DeviceClass,
    ) -> Result<DeviceLine, Refusal> {
        let id = device_id(id)?;
        let class = match class {
            DeviceClass::Known => Class::Known,
            DeviceClass::Managed => Class::Managed,
        };
        self.identity.devices().mark(id, class).await?;
        self.line_of(id)
    }

    fn line_of(&self, id: DeviceId) -> Result<DeviceLine, Refusal> {
        let device = self.identity.devices().get(id);
        let device = device.ok_or(DeviceError::Unknown(id))?;
        Ok(device_line(&device))
    }

    fn known(&self, user: &str) -> Result<(), Refusal> {
        match self.policy.user(user) {
            Some(_) => Ok(()),
            None => {
                let text = format!("no user {} in the policy folder", user.escape_debug());
                Err(Refusal::new(Code::Data, text))
            }
        }
    }
}

fn device_id(text: &str) -> Result<DeviceId, Refusal> {
    let bad = |_| Refusal::new(Code::Data, format!("no device {}", text.escape_debug()));
    text.parse().map_err(bad)
}

fn session_line(session: &Session) -> SessionLine {
    SessionLine {
        id: session.id.to_string(),
        user: session.user.to_string(),
        door: session.door.name().to_owned(),
        source: session.source.to_string(),
        created: time(session.created),
        last_used: time(session.last_used()),
        expires: time(session.expires()),
        devices: session.devices().iter().map(DeviceId::to_string).collect(),
    }
}

/// Writes a device as lists show it.
pub(crate) fn device_line(device: &Device) -> DeviceLine {
    DeviceLine {
        id: device.id.to_string(),
        user: device.user.to_string(),
        name: device.name.to_string(),
        address: device.address4.to_string(),
        address6: device.address6.map(|a| a.to_string()),
        public_key: BASE64.encode(&device.public_key),
        preshared: device.psk.is_some(),
        class: match device.class {
            Class::Known => DeviceClass::Known,
            Class::Managed => DeviceClass::Managed,
        },
        endpoint: device.endpoint.map(|e| e.to_string()),
        created: time(device.created),
        revoked: device.revoked.map(time),
    }
}

fn time(unix: i64) -> String {
    clock::rfc3339(u64::try_from(unix).unwrap_or(0).saturating_mul(1000))
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::new(Code::Internal, error.to_string())
    }
}

impl From<DeviceError> for Refusal {
    fn from(error: DeviceError) -> Self {
        let code = match &error {
            DeviceError::Store(_) | DeviceError::Audit(_) | DeviceError::SealedPsk(_) => {
                Code::Internal
            }
            DeviceError::BadKey
            | DeviceError::KeyTaken(_)
            | DeviceError::KeyRevoked(_)
            | DeviceError::BadName
            | DeviceError::NameTaken(..)
            | DeviceError::TooMany(..)
            | DeviceError::TooFast(_)
            | DeviceError::NoAddress(_)
            | DeviceError::BadAddress(_)
            | DeviceError::BadAddress6(_)
            | DeviceError::Unknown(_) => Code::Data,
        };
        Self::new(code, error.to_string())
    }
}

impl From<FactorError> for Refusal {
    fn from(error: FactorError) -> Self {
        let code = match &error {
            FactorError::BadName | FactorError::Weak(_) | FactorError::Foreign(_) => Code::Data,
            FactorError::Overloaded => Code::Unavailable,
            FactorError::Argon2
            | FactorError::Device(_)
            | FactorError::Store(_)
            | FactorError::Audit(_) => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}

impl From<EditError> for Refusal {
    fn from(error: EditError) -> Self {
        let code = match error {
            EditError::NotToml { .. } => Code::Config,
            EditError::NoUser(_)
            | EditError::Exists(_)
            | EditError::BadName(_)
            | EditError::NoGroup { .. }
            | EditError::NotNamed { .. }
            | EditError::NoUsersFile
            | EditError::NotDeclared(_) => Code::Data,
        };
        Self::new(code, error.to_string())
    }
}
