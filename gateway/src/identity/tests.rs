use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::{
    Answers, ChangeStep, CodeStep, Context, Directory, EndReason, EnrolStep, Identity, NoticeKind,
    Others, PasswordAttempt, PasswordStep, Recorder, RecoverStep, Settings, ShownCodes, Standing,
    Steady, StepUp, totp,
};
use crate::audit::{AuditError, Event, Record};
use crate::clock;
use crate::ids::{DeviceId, Door};
use crate::secrets::Keys;
use crate::store::{self, LinkKind, Store, tests::Folder};

mod account;
mod clocks;
mod enrol;
mod extend;
pub(crate) mod flow;
mod forgot;
mod guess;
mod imported;
mod known;
mod model;
mod notices;
mod own_devices;
mod races;
mod recovery;
mod timing;
mod tokens;

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const SECRET: [u8; 20] = *b"12345678901234567890";
pub(crate) const PASSWORD: &str = "a zebra under the stairs";
pub(crate) const HOST: &str = "gate.example.org";

/// A journal that keeps its records in memory and can break.
#[derive(Default)]
pub(crate) struct Journal {
    records: Mutex<Vec<Record>>,
    broken: AtomicBool,
}

impl Journal {
    pub(crate) fn break_down(&self) {
        self.broken.store(true, Ordering::SeqCst);
    }

    pub(crate) fn count(&self, event: Event, reason: &str) -> usize {
        let records = self.records.lock();
        let like = |r: &&Record| r.event == event && r.reason == reason;
        records.iter().filter(like).count()
    }

    pub(crate) fn last(&self) -> Record {
        self.records.lock().last().unwrap().clone()
    }

    pub(crate) fn text(&self) -> String {
        format!("{:?}", self.records.lock())
    }
}

#[async_trait]
impl Recorder for Journal {
    async fn durable(&self, record: Record) -> Result<(), AuditError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(AuditError::Full);
        }
        self.note(record);
        Ok(())
    }

    fn note(&self, record: Record) {
        self.records.lock().push(record);
    }
}

/// A directory whose users can be disabled.
#[derive(Default)]
pub(crate) struct People(Mutex<BTreeMap<String, Standing>>);

impl People {
    pub(crate) fn set(&self, user: &str, standing: Standing) {
        self.0.lock().insert(user.to_owned(), standing);
    }
}

impl Directory for People {
    fn standing(&self, user: &str) -> Standing {
        let people = self.0.lock();
        people.get(user).copied().unwrap_or(Standing::Unknown)
    }
}

/// An engine over a store in a folder of its own, with alice and bob enrolled, carol not,
/// mallory disabled.
pub(crate) struct Bench {
    pub(crate) identity: Arc<Identity>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) people: Arc<People>,
    keys: Arc<Keys>,
    folder: Arc<Folder>,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let folder = Arc::new(Folder::new());
        let keys = Keys::create(&folder.path().join("master.key")).unwrap();
        let people = People::default();
        for user in ["alice", "bob", "carol"] {
            people.set(user, Standing::Active);
        }
        people.set("mallory", Standing::Disabled);
        let bench = Self::open(folder, Arc::new(keys), Arc::new(people), NOW).await;
        for user in ["alice", "bob", "mallory"] {
            bench.enrol(user).await;
        }
        bench
    }

    async fn open(folder: Arc<Folder>, keys: Arc<Keys>, people: Arc<People>, now: i64) -> Self {
        let store = store::open(folder.path()).unwrap();
        let journal = Arc::new(Journal::default());
        let recorder: Arc<dyn Recorder> = Arc::<Journal>::clone(&journal);
        let identity = Identity::open_at(
            settings(),
            Arc::clone(&store),
            Arc::clone(&keys),
            recorder,
            Steady::new(now, stopped),
        );
        Self {
            identity: identity.await.unwrap(),
            store,
            journal,
            people,
            keys,
            folder,
        }
    }

    /// Stops the engine and starts another over the same store.
    pub(crate) async fn restart(self, now: i64) -> Self {
        let Self {
            identity,
            store,
            people,
            keys,
            folder,
            ..
        } = self;
        drop(identity);
        drop(store);
        Self::open(folder, keys, people, now).await
    }

    async fn enrol(&self, user: &str) {
        let password = Zeroizing::new(PASSWORD.to_owned());
        self.identity
            .set_credentials(user, password, Some(SECRET), NOW)
            .await
            .unwrap();
    }

    pub(crate) fn at(&self, now: i64) -> Context<'_> {
        self.from(now, "192.0.2.1")
    }

    pub(crate) fn from(&self, now: i64, source: &str) -> Context<'_> {
        Context {
            now,
            source: source.parse::<IpAddr>().unwrap(),
            door: Door::Web,
            device: None,
            browser: None,
            host: HOST,
            agent: "test",
            request_id: Some("r1"),
            directory: &*self.people,
        }
    }

    pub(crate) fn by_device(&self, now: i64, device: DeviceId) -> Context<'_> {
        Context {
            door: Door::Tunnel,
            device: Some(device),
            ..self.from(now, "10.200.200.2")
        }
    }

    pub(crate) async fn password(
        &self,
        user: &str,
        password: &str,
        from: Context<'_>,
    ) -> PasswordStep {
        let attempt = PasswordAttempt {
            user: user.to_owned(),
            password: Zeroizing::new(password.to_owned()),
            from,
        };
        self.identity.password(attempt).await
    }

    pub(crate) async fn half(&self, user: &str, from: Context<'_>) -> String {
        let step = self.password(user, PASSWORD, from).await;
        let PasswordStep::Code { half } = step else {
            panic!("{step:?}")
        };
        half
    }

    pub(crate) async fn sign_in(&self, user: &str, now: i64) -> (Arc<super::Session>, String) {
        let half = self.half(user, self.at(now)).await;
        let step = self.identity.code(&half, &code(now), &self.at(now)).await;
        let CodeStep::SignedIn { cookie, session } = step else {
            panic!("{step:?}")
        };
        (session, cookie)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn settings() -> Settings {
    Settings {
        idle: Duration::from_secs(3600),
        absolute: Duration::from_secs(12 * 3600),
        max_sessions: 20,
        max_devices: 10,
        password_min: 15,
        issuer: "Postern".to_owned(),
        argon2_memory_kib: 19 * 1024,
        argon2_passes: 2,
        failures: 5,
        failure_wait: Duration::from_secs(900),
        source_posts_per_minute: 60,
        source_posts_burst: 59,
        site_words: vec![HOST.to_owned()],
        tunnel_network: "10.200.200.0/24".parse().unwrap(),
        tunnel_gateway4: "10.200.200.1".parse().unwrap(),
        tunnel_network6: Some("fd12:3456:789a:1::/64".parse().unwrap()),
    }
}

/// A monotonic clock that stands still, so that time is what the tests say.
pub(crate) fn stopped() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(clock::now)
}

/// The code of everybody's authenticator at `now`.
pub(crate) fn code(now: i64) -> String {
    totp::code_at(&SECRET, now)
}

/// A code that is none of those near `now`.
pub(crate) fn wrong_code(now: i64) -> String {
    let right = [code(now - 30), code(now), code(now + 30)];
    let mut candidates = (0..4).map(|n| format!("00000{n}"));
    candidates.find(|c| !right.contains(c)).unwrap()
}
