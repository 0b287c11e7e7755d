//! People, factors, sessions, devices.

mod devices;
mod enrolment;
mod lockout;
mod login;
mod password;
mod record;
mod session;
mod steady;
#[cfg(test)]
pub(crate) mod tests;
mod totp;

use std::net::Ipv4Addr;
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use zeroize::Zeroizing;

pub(crate) use self::devices::{Class, Device, DeviceChange, DeviceError, Devices, NewDevice, Psk};
pub(crate) use self::enrolment::{EnrolStep, EnrolView, Enrolled, FactorError};
use self::lockout::{Limits, Lockout, Throttled, Try, Who};
use self::login::{AwaitingPassword, CodeProof, Halves, Refusal};
pub(crate) use self::login::{Directory, Standing, UserName};
pub(crate) use self::password::Weak;
use self::password::{BadCost, BadVerifier, Cost, Hasher, Passwords, Place, Rules, Verdict};
pub(crate) use self::record::{Context, Recorder};
pub(crate) use self::session::{EndReason, Session, SessionChange, Sessions};
use self::session::{Lifetimes, SessionError, token_hash};
use self::steady::Steady;
use self::totp::Code;
use crate::audit::{AuditError, Event, Record, reason};
use crate::clock;
use crate::ids::{self, SessionId};
use crate::secrets::Keys;
use crate::store::{Credentials, Hash, Store, StoreError};

/// The figures of identity, from postern.toml.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) idle: Duration,
    pub(crate) absolute: Duration,
    /// Characters; below 8 counts as 8.
    pub(crate) password_min: usize,
    /// Named by authenticator apps.
    pub(crate) issuer: String,
    pub(crate) argon2_memory_kib: u32,
    pub(crate) argon2_passes: u32,
    pub(crate) failures: u32,
    pub(crate) failure_wait: Duration,
    pub(crate) source_posts_per_minute: u32,
    /// Words of the site that make poor passwords: host and organisation names.
    pub(crate) site_words: Vec<String>,
    pub(crate) tunnel_network: Ipv4Net,
    pub(crate) tunnel_gateway4: Ipv4Addr,
}

/// Says why the login engine does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error(transparent)]
    Cost(#[from] BadCost),
    #[error(transparent)]
    Argon2(#[from] BadVerifier),
    #[error("cannot start the threads that check passwords: {0}")]
    Threads(#[from] std::io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Somebody's name and password.
pub(crate) struct PasswordAttempt<'a> {
    /// As typed.
    pub(crate) user: String,
    pub(crate) password: Zeroizing<String>,
    pub(crate) from: Context<'a>,
}

/// What a password gave.
#[derive(Debug)]
pub(crate) enum PasswordStep {
    /// Right: ask for the code; `half` is the value of the half-way cookie for 5 minutes.
    Code {
        half: String,
    },
    /// Wrong, or no such user, or may not sign in: one answer for all.
    Refused,
    Throttled {
        retry_after: Duration,
    },
    /// No place to compare it within a second.
    Overloaded,
    /// Store or journal gave no answer; nobody signs in.
    Unavailable,
}

/// What a code gave.
#[derive(Debug)]
pub(crate) enum CodeStep {
    /// Both factors were right; `cookie` is the session cookie of the host.
    SignedIn {
        cookie: String,
        session: Arc<Session>,
    },
    Refused,
    Throttled {
        retry_after: Duration,
    },
    /// The half-way sign-in is spent; begin anew.
    Expired,
    Unavailable,
}

/// What a code within a session gave.
#[derive(Debug)]
pub(crate) enum StepUp {
    /// Right; `cookie` replaces that of the host.
    Done {
        cookie: String,
    },
    Refused,
    Throttled {
        retry_after: Duration,
    },
    /// The session is over.
    Expired,
    Unavailable,
}

/// The login engine: the one way to a session.
pub(crate) struct Identity {
    settings: Settings,
    store: Arc<dyn Store>,
    keys: Arc<Keys>,
    recorder: Arc<dyn Recorder>,
    passwords: Passwords,
    rules: Rules,
    lockout: Lockout,
    /// One writer of counters at a time, so that an answer never overtakes its counter.
    counters: tokio::sync::Mutex<()>,
    halves: Halves,
    sessions: Arc<Sessions>,
    devices: Arc<Devices>,
    time: Arc<Steady>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// How a step that did not succeed is answered.
enum Failed {
    Refused(Refusal),
    Throttled(Duration),
    Overloaded,
    Unavailable,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "sign-in stopped: the store gives no answer");
        Self::Unavailable
    }
}

impl From<AuditError> for Failed {
    fn from(error: AuditError) -> Self {
        tracing::error!(%error, "sign-in stopped: the journal takes no record");
        Self::Unavailable
    }
}

impl From<SessionError> for Failed {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Ended => Self::Refused(Refusal::Revoked),
            SessionError::Store(error) => error.into(),
        }
    }
}

impl Identity {
    /// Starts the engine with what was kept. `now` is the wall clock in UNIX seconds. Runs argon2
    /// once and starts the threads that check passwords.
    ///
    /// # Errors
    /// [`IdentityError`]; nobody can sign in then.
    pub(crate) async fn open(
        settings: Settings,
        store: Arc<dyn Store>,
        keys: Arc<Keys>,
        recorder: Arc<dyn Recorder>,
        now: i64,
    ) -> Result<Arc<Self>, IdentityError> {
        let time = Steady::new(now, clock::now);
        Self::open_at(settings, store, keys, recorder, time).await
    }

    async fn open_at(
        settings: Settings,
        store: Arc<dyn Store>,
        keys: Arc<Keys>,
        recorder: Arc<dyn Recorder>,
        time: Steady,
    ) -> Result<Arc<Self>, IdentityError> {
        let time = Arc::new(time);
        let now = time.at(i64::MIN);
        let cost = Cost::new(settings.argon2_memory_kib, settings.argon2_passes)?;
        let hasher = Hasher::new(cost, keys.derive("pepper"))?;
        let threads = std::thread::available_parallelism().map_or(2, NonZero::get);
        let limits = Limits {
            failures: settings.failures,
            failure_wait: settings.failure_wait,
            source_posts_per_minute: settings.source_posts_per_minute,
        };
        store.prune_counters(Lockout::stale_before(now)).await?;
        let kept = store.counters().await?;
        let lifetimes = Lifetimes {
            idle: settings.idle,
            absolute: settings.absolute,
        };
        let sessions = Sessions::load(
            Arc::clone(&store),
            &keys,
            Arc::clone(&recorder),
            lifetimes,
            Arc::clone(&time),
        );
        let devices = Devices::load(
            Arc::clone(&store),
            Arc::clone(&keys),
            Arc::clone(&recorder),
            settings.tunnel_network,
            settings.tunnel_gateway4,
        );
        Ok(Arc::new(Self {
            passwords: Passwords::new(hasher, threads)?,
            rules: Rules::new(settings.password_min, &settings.site_words),
            lockout: Lockout::new(limits, keys.derive("lockout"), &kept, now),
            counters: tokio::sync::Mutex::default(),
            halves: Halves::default(),
            sessions: Arc::new(sessions.await?),
            devices: Arc::new(devices.await?),
            settings,
            store,
            keys,
            recorder,
            time,
        }))
    }

    /// The sessions this engine makes.
    pub(crate) fn sessions(&self) -> &Arc<Sessions> {
        &self.sessions
    }

    /// The tunnel devices.
    pub(crate) fn devices(&self) -> &Arc<Devices> {
        &self.devices
    }

    /// Takes a name and a password.
    pub(crate) async fn password(&self, attempt: PasswordAttempt<'_>) -> PasswordStep {
        let from = attempt.from;
        let name = UserName::parse(&attempt.user);
        let typed = attempt.user.as_str();
        let result = self
            .try_password(name.as_ref(), typed, attempt.password, &from)
            .await;
        let failed = match result {
            Ok(half) => return PasswordStep::Code { half },
            Err(failed) => failed,
        };
        match self.conclude(failed, name.as_ref(), &from).await {
            Failed::Refused(_) => PasswordStep::Refused,
            Failed::Throttled(retry_after) => PasswordStep::Throttled { retry_after },
            Failed::Overloaded => PasswordStep::Overloaded,
            Failed::Unavailable => PasswordStep::Unavailable,
        }
    }

    /// Takes the code that follows a right password; `half` is the half-way cookie.
    pub(crate) async fn code(&self, half: &str, code: &str, from: &Context<'_>) -> CodeStep {
        let now = self.steady(from.now);
        if let Err(Throttled { retry_after }) = self.lockout.post(from.source, now) {
            self.note_limited(None, from);
            return CodeStep::Throttled { retry_after };
        }
        let token = token_hash(half);
        let user = token.and_then(|token| self.halves.count_try(&token, now));
        let (Some(token), Some(user)) = (token, user) else {
            let failed = Failed::Refused(Refusal::HalfExpired);
            return match self.conclude(failed, None, from).await {
                Failed::Unavailable => CodeStep::Unavailable,
                Failed::Refused(_) | Failed::Throttled(_) | Failed::Overloaded => CodeStep::Expired,
            };
        };
        let failed = match self.try_code(&token, &user, code, from).await {
            Ok((session, cookie)) => return CodeStep::SignedIn { cookie, session },
            Err(failed) => failed,
        };
        match self.conclude(failed, Some(&user), from).await {
            Failed::Refused(Refusal::HalfExpired | Refusal::Revoked) => CodeStep::Expired,
            Failed::Refused(_) => CodeStep::Refused,
            Failed::Throttled(retry_after) => CodeStep::Throttled { retry_after },
            Failed::Overloaded | Failed::Unavailable => CodeStep::Unavailable,
        }
    }

    /// Takes a fresh code within a session; its cookie of this host changes.
    pub(crate) async fn step_up(
        &self,
        session: &Arc<Session>,
        code: &str,
        from: &Context<'_>,
    ) -> StepUp {
        let user = UserName::parse(&session.user);
        let Some(user) = user.filter(|_| session.is_live(from.now)) else {
            return StepUp::Expired;
        };
        let failed = match self.try_step_up(session, &user, code, from).await {
            Ok(cookie) => return StepUp::Done { cookie },
            Err(failed) => failed,
        };
        match self.conclude(failed, Some(&user), from).await {
            Failed::Refused(Refusal::Revoked) => StepUp::Expired,
            Failed::Refused(_) => StepUp::Refused,
            Failed::Throttled(retry_after) => StepUp::Throttled { retry_after },
            Failed::Overloaded | Failed::Unavailable => StepUp::Unavailable,
        }
    }

    /// Forgets the failures of an account, so that it can sign in from unknown places again.
    ///
    /// # Errors
    /// [`StoreError`]: forgotten, but a restart brings them back.
    pub(crate) async fn unlock(&self, user: &str, now: i64) -> Result<(), StoreError> {
        let nowhere = Ipv4Addr::UNSPECIFIED.into();
        let who = self.lockout.who(user, nowhere, None);
        self.lockout.clear(&who, self.steady(now));
        self.keep_counters().await
    }

    /// Ends what is over and writes what may lag; call it each second. Returns the sessions that
    /// ended.
    pub(crate) async fn sweep(&self, now: i64) -> Vec<Arc<Session>> {
        for user in self.halves.expired(self.steady(now)) {
            let reason = Refusal::HalfExpired.reason();
            let mut record = Record::new(Event::SignInFailed, "failed", reason);
            record.user = Some(user.shared());
            record.detail = Some("the password was right, no right code followed".to_owned());
            self.recorder.note(record);
        }
        if let Err(error) = self.devices.flush().await {
            tracing::error!(%error, "what was heard of devices could not be written");
        }
        self.sessions.expired(now).await
    }

    async fn try_password(
        &self,
        name: Option<&UserName>,
        typed: &str,
        password: Zeroizing<String>,
        from: &Context<'_>,
    ) -> Result<String, Failed> {
        let now = self.steady(from.now);
        let throttled = |Throttled { retry_after }| Failed::Throttled(retry_after);
        self.lockout.post(from.source, now).map_err(throttled)?;
        // A text that is no name is counted too, and apart from every name.
        let account = name.map_or_else(|| format!("?{typed}"), |n| n.as_str().to_owned());
        let who = self.who(&account, from);
        let tried = self.lockout.begin_password(&who, now).map_err(throttled)?;
        let waiting = match self.look_up(name, from).await {
            Ok(waiting) => waiting,
            Err(error) => return Err(self.not_tried(tried, now, error.into())),
        };
        let place = self.place(&who);
        let phc = waiting.phc().map(str::to_owned);
        let checked = self.passwords.verify(place, password, phc.clone()).await;
        let Ok(checked) = checked else {
            return Err(self.not_tried(tried, now, Failed::Overloaded));
        };
        let (verdict, renewed) = checked.unwrap_or_else(|error| {
            tracing::error!(%error, "a stored password verifier is unusable");
            (Verdict::Mismatch, None)
        });
        let half = waiting
            .verified(verdict, standing(name, from), now)
            .map_err(Failed::Refused)?;
        self.lockout.undo(tried, now);
        self.keep_counters().await?;
        if let (Some(new), Some(old)) = (renewed, phc) {
            self.renew_verifier(half.user(), &old, &new).await?;
        }
        let token = ids::token();
        let hash = token_hash(&token).ok_or(Failed::Unavailable)?;
        self.halves.put(hash, half);
        Ok(token)
    }

    /// Reads the verifier. A name that cannot exist costs a read too.
    async fn look_up(
        &self,
        name: Option<&UserName>,
        from: &Context<'_>,
    ) -> Result<AwaitingPassword, StoreError> {
        let key = name.map_or("", UserName::as_str);
        let epoch = self.sessions.epoch(key);
        let kept = self.store.credentials(key).await?;
        let phc = kept.map(|kept| kept.phc);
        Ok(AwaitingPassword::new(
            name.cloned(),
            standing(name, from),
            phc,
            epoch,
        ))
    }

    async fn renew_verifier(&self, user: &UserName, old: &str, new: &str) -> Result<(), Failed> {
        if self.store.rehash(user.as_str(), old, new).await? {
            let mut record = Record::new(Event::FactorChanged, "ok", reason::CHANGED);
            record.user = Some(user.shared());
            record.detail = Some("password verifier made with the present parameters".to_owned());
            self.recorder.durable(record).await?;
        }
        Ok(())
    }

    async fn try_code(
        &self,
        token: &Hash,
        user: &UserName,
        code: &str,
        from: &Context<'_>,
    ) -> Result<(Arc<Session>, String), Failed> {
        let now = self.steady(from.now);
        let who = self.who(user.as_str(), from);
        let proof = self.prove_code(&who, user, code, from).await?;
        let half = self
            .halves
            .take(token, now)
            .ok_or(Failed::Refused(Refusal::HalfExpired))?;
        let both = half
            .accepted(proof, standing(Some(user), from))
            .map_err(Failed::Refused)?;
        let id = SessionId::draw();
        let mut record = Record::new(Event::SignedIn, "ok", reason::SIGNED_IN);
        record.user = Some(user.shared());
        record.session = Some(id);
        let mut record = from.stamp(record);
        record.detail = Some(format!("password, totp; {}", from.agent));
        self.recorder.durable(record).await?;
        let opened = self.sessions.open(id, both, from).await?;
        self.lockout.clear(&who, now);
        self.keep_counters().await?;
        Ok(opened)
    }

    async fn try_step_up(
        &self,
        session: &Arc<Session>,
        user: &UserName,
        code: &str,
        from: &Context<'_>,
    ) -> Result<String, Failed> {
        let now = self.steady(from.now);
        let throttled = |Throttled { retry_after }| Failed::Throttled(retry_after);
        self.lockout.post(from.source, now).map_err(throttled)?;
        let who = self.who(user.as_str(), from);
        let proof = self.prove_code(&who, user, code, from).await?;
        let mut record = Record::new(Event::SignedIn, "ok", reason::STEP_UP);
        record.user = Some(user.shared());
        record.session = Some(session.id);
        self.recorder.durable(from.stamp(record)).await?;
        let cookie = self.sessions.stepped_up(session, from.host, &proof).await?;
        self.lockout.clear(&who, now);
        self.keep_counters().await?;
        Ok(cookie)
    }

    /// Compares a code and uses its step up; durable before it returns.
    async fn prove_code(
        &self,
        who: &Who,
        user: &UserName,
        code: &str,
        from: &Context<'_>,
    ) -> Result<CodeProof, Failed> {
        let now = self.steady(from.now);
        let throttled = |Throttled { retry_after }| Failed::Throttled(retry_after);
        let tried = self.lockout.begin_code(who, now).map_err(throttled)?;
        let secret = match self.totp_secret(user, from).await {
            Ok(secret) => secret,
            Err(failed) => return Err(self.not_tried(tried, now, failed)),
        };
        let matched = Code::parse(code).and_then(|code| totp::check(&secret, &code, from.now));
        let matched = matched.ok_or(Failed::Refused(Refusal::BadCode))?;
        let accepted = self
            .store
            .accept_step(user.as_str(), matched.step())
            .await?;
        let proof = CodeProof::new(user, matched, accepted, now).map_err(Failed::Refused)?;
        self.lockout.undo(tried, now);
        Ok(proof)
    }

    async fn totp_secret(
        &self,
        user: &UserName,
        from: &Context<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, Failed> {
        match standing(Some(user), from) {
            Standing::Unknown => return Err(Failed::Refused(Refusal::UserUnknown)),
            Standing::Disabled => return Err(Failed::Refused(Refusal::UserDisabled)),
            Standing::Active => {}
        }
        let kept = self.store.credentials(user.as_str()).await?;
        let kept: Credentials = kept.ok_or(Failed::Refused(Refusal::NoCredentials))?;
        let secret = self.keys.open(enrolment::TOTP, user.as_str(), &kept.totp);
        secret.ok_or_else(|| {
            tracing::error!(user = user.as_str(), "a sealed TOTP secret does not open");
            Failed::Unavailable
        })
    }

    /// Takes back the count of a try that came to no comparison.
    fn not_tried(&self, tried: Try, now: i64, failed: Failed) -> Failed {
        self.lockout.undo(tried, now);
        failed
    }

    /// Records a step that did not succeed and keeps its counters, before it is answered.
    async fn conclude(
        &self,
        failed: Failed,
        name: Option<&UserName>,
        from: &Context<'_>,
    ) -> Failed {
        let reason = match &failed {
            Failed::Refused(refusal) => refusal.reason(),
            Failed::Overloaded => reason::OVERLOADED,
            Failed::Throttled(_) => {
                self.note_limited(name.map(UserName::as_str), from);
                return failed;
            }
            Failed::Unavailable => return failed,
        };
        let mut record = Record::new(Event::SignInFailed, "failed", reason);
        record.user = known_name(name, from);
        let mut record = from.stamp(record);
        record.detail = Some(from.agent.to_owned());
        match self.keep_failure(record).await {
            Ok(()) => failed,
            Err(unavailable) => unavailable,
        }
    }

    async fn keep_failure(&self, record: Record) -> Result<(), Failed> {
        self.recorder.durable(record).await?;
        self.keep_counters().await?;
        Ok(())
    }

    async fn keep_counters(&self) -> Result<(), StoreError> {
        let _one = self.counters.lock().await;
        let rows = self.lockout.take_changed();
        if rows.is_empty() {
            return Ok(());
        }
        let written = self.store.put_counters(rows.clone()).await;
        if written.is_err() {
            self.lockout.put_back(&rows);
        }
        written
    }

    fn note_limited(&self, user: Option<&str>, from: &Context<'_>) {
        let mut record = Record::new(Event::Limited, "limited", reason::THROTTLED);
        let exists = |user: &&str| from.directory.standing(user) != Standing::Unknown;
        record.user = user.filter(exists).map(Arc::from);
        self.recorder.note(from.stamp(record));
    }

    /// Names who tries; a device counts only if it is one of that very account.
    fn who(&self, account: &str, from: &Context<'_>) -> Who {
        let known = from
            .device
            .filter(|device| self.devices.is_of(*device, account));
        self.lockout.who(account, from.source, known)
    }

    fn place(&self, who: &Who) -> Place {
        if who.is_known() {
            Place::Kept
        } else {
            Place::Common
        }
    }

    fn steady(&self, now: i64) -> i64 {
        self.time.at(now)
    }
}

fn standing(name: Option<&UserName>, from: &Context<'_>) -> Standing {
    name.map_or(Standing::Unknown, |name| {
        from.directory.standing(name.as_str())
    })
}

/// The name for the record: only of a user who exists, so that passwords typed into the wrong
/// field stay out of the journal.
fn known_name(name: Option<&UserName>, from: &Context<'_>) -> Option<Arc<str>> {
    let exists = standing(name, from) != Standing::Unknown;
    name.filter(|_| exists).map(UserName::shared)
}
