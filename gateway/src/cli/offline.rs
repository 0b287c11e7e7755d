//! Finding the gateway to act on: the running one, or the state folder of one that does not run.

use std::sync::Arc;

use async_trait::async_trait;

use super::exit::{Exit, Failure};
use super::policies;
use crate::audit::{Audit, Durability, Event, Record, reason};
use crate::bans::{Bans, Trusted};
use crate::clock;
use crate::config::Config;
use crate::config::lock::{self, Lock};
use crate::control::acts::{Acts, settings};
use crate::control::import::{DevicesImported, Import};
use crate::control::{
    AppClock, Code, DeviceAdded, DeviceClass, DeviceLine, Ended, Imported, Invitation, NewDevice,
    Operator, Refusal, Reloaded, Remote, SessionLine, Status, TokenLine, TokensEnded, UserAct,
    Which, ban,
};
use crate::identity::{EndReason, Identity};
use crate::secrets::Keys;
use crate::store::{self, Store};

/// Finds the running gateway.
///
/// # Errors
/// [`Exit::Unavailable`] if none runs.
pub(crate) async fn running(config: &Config) -> Result<Remote, Failure> {
    let socket = config.control_socket();
    Remote::find(&socket).await?.ok_or_else(|| {
        let text = format!("no gateway runs (nothing listens at {})", socket.display());
        Failure::new(Exit::Unavailable, text)
    })
}

/// Finds the running gateway, else opens its state folder.
///
/// # Errors
/// What keeps the state folder closed.
pub(crate) async fn any(config: Config) -> Result<Box<dyn Operator>, Failure> {
    match Remote::find(&config.control_socket()).await? {
        Some(remote) => Ok(Box::new(remote)),
        None => Ok(Box::new(Stopped::open(config).await?)),
    }
}

/// A gateway that does not run: its state folder, held while this lives.
pub(crate) struct Stopped {
    config: Config,
    keys: Arc<Keys>,
    policy: policy::Policy,
    store: Arc<dyn Store>,
    audit: Arc<Audit>,
    /// People, sessions and devices.
    pub(crate) identity: Arc<Identity>,
    _lock: Lock,
}

impl Stopped {
    /// Opens the state folder.
    ///
    /// # Errors
    /// [`Exit::Unavailable`] while a gateway holds it, [`Exit::Permission`] for exposed files,
    /// [`Exit::Config`] for a missing key, a bad cost of passwords or a policy that does not load.
    pub(crate) async fn open(config: Config) -> Result<Self, Failure> {
        let lock = lock::acquire(&config.data)?;
        let keys = Arc::new(Keys::load(&config.master_key)?);
        let policy = policies::load(&config.policy_dir)?.policy;
        let audit = Audit::open(&config.data.join("audit"), &keys.derive_all("audit"))?;
        let audit = Arc::new(audit);
        let recorder = Arc::<Audit>::clone(&audit);
        let store = store::open(&config.data)?;
        let settings = settings(&config);
        let now = clock::unix();
        let kept = Arc::clone(&store);
        let identity = Identity::open(settings, kept, Arc::clone(&keys), recorder, now).await?;
        Ok(Self {
            config,
            keys,
            policy,
            store,
            audit,
            identity,
            _lock: lock,
        })
    }

    /// The acts on this folder.
    pub(crate) fn acts(&self) -> Acts<'_> {
        Acts {
            config: &self.config,
            policy: &self.policy,
            identity: &self.identity,
            keys: &self.keys,
        }
    }

    /// Writes out what is still queued; call it last.
    pub(crate) async fn close(self) {
        self.audit.close().await;
    }
}

fn not_running<T>() -> Result<T, Refusal> {
    Err(Refusal::new(Code::Unavailable, "no gateway runs"))
}

#[async_trait]
impl Operator for Stopped {
    async fn status(&self) -> Result<Status, Refusal> {
        not_running()
    }
    async fn reload(&self) -> Result<Reloaded, Refusal> {
        not_running()
    }
    async fn user_changed(&self, user: &str, act: UserAct) -> Result<Reloaded, Refusal> {
        if act == UserAct::Add {
            self.identity.forget_namesake(user, clock::unix()).await?;
        }
        let record = user_record(user, act);
        let written = self.audit.write(record, Durability::Durable).await;
        if act == UserAct::Disable {
            // No reload does it later: sessions that are kept would come back with the person.
            let sessions = self.identity.sessions();
            sessions.end_user(user, EndReason::UserDisabled).await?;
        }
        written.map_err(|e| Refusal::new(Code::Internal, e.to_string()))?;
        Ok(Reloaded {
            digest: self.policy.digest().to_owned(),
            generation: 0,
            warnings: Vec::new(),
        })
    }
    async fn user_enrolled(&self) -> Result<Vec<String>, Refusal> {
        self.acts().user_enrolled().await
    }
    async fn user_clocks(&self) -> Result<Vec<AppClock>, Refusal> {
        Ok(self.acts().user_clocks())
    }
    async fn user_invite(&self, user: &str) -> Result<Invitation, Refusal> {
        self.acts().user_invite(user).await
    }
    async fn user_forget(&self, user: &str) -> Result<Ended, Refusal> {
        self.acts().user_forget(user).await
    }
    async fn user_reset(&self, user: &str) -> Result<Ended, Refusal> {
        self.acts().user_reset(user).await
    }
    async fn ban(&self, ask: &ban::Ask) -> Result<Vec<ban::Line>, Refusal> {
        let bans = Bans::open(&self.config.bans, Arc::clone(&self.store)).await?;
        let trusted = Trusted::gather(&self.config, &self.policy, &[]);
        let tell = async |record| {
            if let Err(error) = self.audit.write(record, Durability::Durable).await {
                tracing::error!(%error, "the journal takes no record of the ban");
            }
        };
        bans.act(ask, &trusted, tell).await
    }
    async fn user_reset_totp(&self, user: &str, why: &str) -> Result<Invitation, Refusal> {
        self.acts().user_reset_totp(user, why).await
    }
    async fn user_import(&self, people: &[Imported]) -> Result<Vec<String>, Refusal> {
        self.acts().user_import(people).await
    }
    async fn session_list(&self) -> Result<Vec<SessionLine>, Refusal> {
        Ok(self.acts().session_list())
    }
    async fn session_revoke(&self, which: &Which) -> Result<Ended, Refusal> {
        self.acts().session_revoke(which).await
    }
    async fn token_list(&self) -> Result<Vec<TokenLine>, Refusal> {
        Ok(self.acts().token_list())
    }
    async fn token_revoke(&self, which: &Which) -> Result<TokensEnded, Refusal> {
        self.acts().token_revoke(which).await
    }
    async fn device_list(&self) -> Result<Vec<DeviceLine>, Refusal> {
        Ok(self.acts().device_list())
    }
    async fn device_add(&self, new: &NewDevice) -> Result<DeviceAdded, Refusal> {
        self.acts().device_add(new).await
    }
    async fn device_revoke(&self, id: &str) -> Result<DeviceLine, Refusal> {
        self.acts().device_revoke(id).await
    }
    async fn device_import(&self, import: &Import) -> Result<DevicesImported, Refusal> {
        self.acts().device_import(import).await
    }
    async fn device_rotate_psk(&self, id: &str) -> Result<DeviceAdded, Refusal> {
        self.acts().device_rotate_psk(id).await
    }
    async fn device_clear(&self, id: &str) -> Result<DeviceLine, Refusal> {
        self.acts().device_clear(id).await
    }
    async fn device_mark(&self, id: &str, class: DeviceClass) -> Result<DeviceLine, Refusal> {
        self.acts().device_mark(id, class).await
    }
}

/// Makes the record of a change to a person's entry.
pub(crate) fn user_record(user: &str, act: UserAct) -> Record {
    let why = match act {
        UserAct::Add => reason::CREATED,
        UserAct::Disable => reason::DISABLED,
        UserAct::Enable => reason::ENABLED,
        UserAct::Remove => reason::REMOVED,
    };
    let mut record = Record::new(Event::UserChanged, "ok", why);
    record.user = Some(user.into());
    record
}

#[cfg(test)]
pub(crate) mod tests;
