//! People, factors, sessions, devices.

mod account;
mod agent;
mod browsers;
mod clocks;
mod devices;
mod engine;
mod enrolment;
mod extend;
mod factors;
mod forgot;
mod lockout;
mod login;
mod notices;
mod own_devices;
mod own_tokens;
mod password;
mod post;
mod record;
mod recovery;
mod reseal;
mod session;
mod steady;
#[cfg(test)]
pub(crate) mod tests;
mod totp;

use std::net::Ipv4Addr;
use std::num::NonZero;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use zeroize::Zeroizing;

pub(crate) use self::account::{ChangeStep, Others};
pub(crate) use self::agent::browser;
pub(crate) use self::browsers::BROWSER_SECS;
pub(crate) use self::devices::{Class, Device, DeviceChange, DeviceError, Devices, NewDevice, Psk};
use self::engine::Failed;
pub(crate) use self::enrolment::{Answers, EnrolStep, EnrolView, FactorError};
pub(crate) use self::factors::Kept;
pub(crate) use self::forgot::{RESET_SECS, ResetStep};
use self::lockout::{Limits, Lockout, Throttled};
pub(crate) use self::login::{Directory, Standing, UserName};
use self::login::{Halves, Refusal};
pub(crate) use self::notices::{Notice, NoticeKind};
pub(crate) use self::own_devices::OwnDeviceError;
use self::password::{BadCost, BadVerifier, Cost, Dues, Hasher, Passwords, Rules};
pub(crate) use self::password::{BadForeign, Foreign, Weak};
pub(crate) use self::post::Post;
pub(crate) use self::record::{Context, Recorder};
pub(crate) use self::recovery::{RecoverStep, ShownCodes};
pub(crate) use self::reseal::reseal;
pub(crate) use self::session::{
    Binding, Due, EndReason, NewToken, Session, SessionChange, Sessions, TOKEN_PREFIX, Token,
    TokenError,
};
use self::session::{Lifetimes, token_hash};
pub(crate) use self::steady::Steady;
use crate::audit::{Event, Record};
use crate::clock;
use crate::secrets::Keys;
use crate::store::{Store, StoreError};

/// The figures of identity, from postern.toml.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) idle: Duration,
    pub(crate) absolute: Duration,
    /// Sessions of one person at a time.
    pub(crate) max_sessions: usize,
    /// Devices of one person that are not revoked.
    pub(crate) max_devices: usize,
    /// Characters; below 8 counts as 8.
    pub(crate) password_min: usize,
    /// Named by authenticator apps.
    pub(crate) issuer: String,
    pub(crate) argon2_memory_kib: u32,
    pub(crate) argon2_passes: u32,
    pub(crate) failures: u32,
    pub(crate) failure_wait: Duration,
    pub(crate) source_posts_per_minute: u32,
    /// Posts beyond the first that a source may make at once.
    pub(crate) source_posts_burst: u32,
    /// Words of the site that make poor passwords: host and organisation names.
    pub(crate) site_words: Vec<String>,
    pub(crate) tunnel_network: Ipv4Net,
    pub(crate) tunnel_gateway4: Ipv4Addr,
    pub(crate) tunnel_network6: Option<Ipv6Net>,
}

impl Settings {
    /// Checks the figures as a start would.
    ///
    /// # Errors
    /// [`IdentityError::Cost`] if a password hash would cost too little or too much.
    pub(crate) fn check(&self) -> Result<(), IdentityError> {
        Cost::new(self.argon2_memory_kib, self.argon2_passes)?;
        Ok(())
    }
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
    /// Right, and it was brought from elsewhere: `token` opens the enrolment of a second factor.
    Enrol {
        token: String,
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
    /// One enrolment at a time is recorded and written.
    enrolling: tokio::sync::Mutex<()>,
    /// Secrets that wait for their first code, in place of one in use.
    replacing: account::Replacing,
    halves: Halves,
    clocks: clocks::Clocks,
    sessions: Arc<Sessions>,
    devices: Arc<Devices>,
    /// Brings news to people besides our pages.
    post: OnceLock<Arc<dyn Post>>,
    time: Arc<Steady>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
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
        let hasher = Hasher::new(cost, keys.derive_all("pepper"))?;
        let threads = std::thread::available_parallelism().map_or(2, NonZero::get);
        let limits = Limits {
            failures: settings.failures,
            failure_wait: settings.failure_wait,
            source_posts_per_minute: settings.source_posts_per_minute,
            source_posts_burst: settings.source_posts_burst,
        };
        store.prune_counters(Lockout::stale_before(now)).await?;
        let kept = store.counters().await?;
        let lifetimes = Lifetimes::new(settings.idle, settings.absolute, settings.max_sessions);
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
            settings.tunnel_network6,
            settings.max_devices,
        );
        let passwords = Passwords::new(hasher, threads)?;
        passwords.set_dues(dues(&*store).await?);
        Ok(Arc::new(Self {
            passwords,
            rules: Rules::new(settings.password_min, &settings.site_words),
            lockout: Lockout::new(limits, keys.derive_lasting("lockout"), &kept, now),
            counters: tokio::sync::Mutex::default(),
            enrolling: tokio::sync::Mutex::default(),
            replacing: account::Replacing::default(),
            halves: Halves::default(),
            clocks: clocks::Clocks::load(&*store).await?,
            post: OnceLock::new(),
            sessions: Arc::new(sessions.await?),
            devices: Arc::new(devices.await?),
            settings,
            store,
            keys,
            recorder,
            time,
        }))
    }

    /// Looks which verifiers of other products are left.
    async fn count_dues(&self) -> Result<(), StoreError> {
        let _one = self.enrolling.lock().await;
        self.passwords.set_dues(dues(&*self.store).await?);
        Ok(())
    }

    /// Names who brings news to people; the first one stays.
    pub(crate) fn post_by(&self, post: Arc<dyn Post>) {
        drop(self.post.set(post));
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
            Ok(step) => return step,
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
        if matches!(failed, Failed::Refused(Refusal::CodeReplayed)) {
            // Within a session it is the person who types a code again before the next has come.
            self.tell(user.as_str(), NoticeKind::CodeReplayed, from, "")
                .await;
        }
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
}

async fn dues(store: &dyn Store) -> Result<Dues, StoreError> {
    let verifiers = store.foreign_verifiers().await?;
    Ok(Dues::of(&verifiers))
}
