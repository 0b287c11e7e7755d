//! Mail: kept sealed until it is sent, tried again with patience, given up after a day.
//!
//! Without `[mail]` nothing is kept and nothing is sent.

mod alarms;
mod letters;
mod relay;
mod round;
#[cfg(test)]
mod tests;
mod words;

use std::net::IpAddr;
use std::sync::{Arc, OnceLock, Weak};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

pub(crate) use self::alarms::Alarm;
use self::alarms::Alarms;
use self::letters::{Reader, Sender};
pub(crate) use self::relay::{Relay, RelayError};
pub(crate) use self::round::run;
use crate::audit::{Event, Record, reason};
use crate::clock;
use crate::gateway::Gateway;
use crate::identity::{Notice, Post, RESET_SECS};
use crate::ids;
use crate::pages::Lang;
use crate::secrets::Keys;
use crate::store::{MailRow, Store, StoreError};

/// What mails are sealed as.
const KIND: &str = "mail";
/// How long a mail is tried.
const DAY: i64 = 24 * 3600;

/// One plain text mail.
#[derive(Clone, Serialize, Deserialize)]
struct Letter {
    to: String,
    subject: String,
    text: String,
}

/// The gateway's mail.
pub(crate) struct Mail {
    relay: Option<Relay>,
    store: Arc<dyn Store>,
    keys: Arc<Keys>,
    /// Tells the round that a mail was kept.
    wake: Notify,
    alarms: Mutex<Alarms>,
    gateway: OnceLock<Weak<Gateway>>,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").finish_non_exhaustive()
    }
}

impl Mail {
    pub(crate) fn new(relay: Option<Relay>, store: Arc<dyn Store>, keys: Arc<Keys>) -> Arc<Self> {
        Arc::new(Self {
            relay,
            store,
            keys,
            wake: Notify::new(),
            alarms: Mutex::default(),
            gateway: OnceLock::new(),
        })
    }

    /// Names the gateway whose mail it is; before that nobody is written to.
    pub(crate) fn serve(self: &Arc<Self>, gw: &Arc<Gateway>) {
        drop(self.gateway.set(Arc::downgrade(gw)));
        gw.identity.post_by(Arc::clone(self) as Arc<dyn Post>);
    }

    /// Tells whether mails can be sent.
    pub(crate) fn is_on(&self) -> bool {
        self.relay.is_some()
    }

    /// Sends a test mail at once; returns the server that took it.
    ///
    /// # Errors
    /// What the server said, or that there is none.
    pub(crate) async fn test(&self, to: &str) -> Result<String, TestError> {
        let (Some(relay), Some(gw)) = (&self.relay, self.gateway()) else {
            return Err(TestError::Off);
        };
        let reader = Reader {
            to: to.to_owned(),
            lang: Lang::default(),
            name: String::new(),
        };
        let letter = with_sender(&gw, |from| letters::test(&reader, from));
        match relay.send(&letter, clock::unix()).await {
            Ok(()) => Ok(relay.name.clone()),
            Err(error) => Err(TestError::Refused(relay.name.clone(), error.to_string())),
        }
    }

    fn gateway(&self) -> Option<Arc<Gateway>> {
        self.gateway.get().and_then(Weak::upgrade)
    }

    /// Keeps a mail to a person, if they have an address.
    async fn write_to(
        &self,
        user: &str,
        life: i64,
        compose: impl Fn(&Reader, &Sender<'_>) -> Letter,
    ) {
        let Some(gw) = self.gateway().filter(|_| self.is_on()) else {
            return;
        };
        let snap = gw.snapshot.load_full();
        let Some((to, person)) = snap
            .policy
            .user(user)
            .and_then(|person| Some((person.mail.clone()?, person)))
        else {
            return;
        };
        let lang = person.language.as_deref().and_then(Lang::parse);
        let reader = Reader {
            to,
            lang: lang.unwrap_or_default(),
            name: person
                .display
                .clone()
                .unwrap_or_else(|| person.name.to_string()),
        };
        let letter = with_sender(&gw, |from| compose(&reader, from));
        self.keep(&gw, user, &letter, life).await;
    }

    /// Keeps a mail; what finds no room is on record and gone.
    async fn keep(&self, gw: &Gateway, user: &str, letter: &Letter, life: i64) {
        let now = clock::unix();
        match self.put(user, letter, now, life).await {
            Ok(true) => self.wake.notify_one(),
            Ok(false) => {
                tracing::error!("too many mails wait; one is not kept");
                gw.audit.note(failed(user, reason::MAIL_QUEUE_FULL, ""));
            }
            Err(error) => {
                tracing::error!(%error, "a mail could not be kept");
                gw.audit.note(failed(user, reason::INTERNAL, ""));
            }
        }
    }

    async fn put(
        &self,
        user: &str,
        letter: &Letter,
        now: i64,
        life: i64,
    ) -> Result<bool, StoreError> {
        let id = i64::from_le_bytes(ids::random::<8>());
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(letter).unwrap_or_default());
        let row = MailRow {
            id,
            user: user.to_owned(),
            made: now,
            due: now,
            until: now.saturating_add(life),
            tries: 0,
            sealed: self.keys.seal(KIND, &id.to_string(), &plain),
        };
        self.store.put_mail(row).await
    }

    fn open(&self, row: &MailRow) -> Option<Letter> {
        let plain = self.keys.open(KIND, &row.id.to_string(), &row.sealed)?;
        serde_json::from_slice(&plain).ok()
    }
}

#[async_trait]
impl Post for Mail {
    async fn notice(&self, user: &str, notice: &Notice) {
        self.write_to(user, DAY, |reader, from| {
            letters::news(reader, from, notice)
        })
        .await;
    }

    async fn reset(&self, user: &str, token: &str, at: i64, source: IpAddr) {
        self.write_to(user, RESET_SECS, |reader, from| {
            letters::reset(reader, from, token, at, source)
        })
        .await;
    }
}

/// Says why a test mail was not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TestError {
    /// There is no `[mail]`.
    #[error("no mail is sent: `[mail] host` names no server")]
    Off,
    /// The server did not take it.
    #[error("{0} did not take the mail: {1}")]
    Refused(String, String),
}

fn with_sender<T>(gw: &Gateway, write: impl FnOnce(&Sender<'_>) -> T) -> T {
    let http = &gw.config.http;
    let url = http.public_url();
    write(&Sender {
        host: http.sign_in.first().map_or("localhost", String::as_str),
        url: &url,
    })
}

/// The record of a mail that will not arrive.
fn failed(user: &str, why: &'static str, said: &str) -> Record {
    let mut record = Record::new(Event::MailFailed, "failed", why);
    record.user = Some(user).filter(|user| !user.is_empty()).map(Arc::from);
    record.detail = Some(said.to_owned()).filter(|said| !said.is_empty());
    record
}
