//! Bans: sources that guess are shut out before TLS, for longer each time.
//!
//! A ban comes only from what a source did over an established TCP connection; no header and no
//! datagram makes one. What is trusted ([`trust::Trusted`]) is never banned, nor,
//! unless configured otherwise, a source that somebody is signed in from. A ban holds at every
//! TCP door; connections of strangers that are open are cut within a second, those that carry a
//! session stay.

pub(crate) mod acts;
mod book;
pub(crate) mod export;
mod hits;
pub(crate) mod line;
mod round;
mod spray;
#[cfg(test)]
mod tests;
mod trust;
mod watch;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

pub(crate) use self::book::Offence;
use self::book::{Book, Candidate};
pub(crate) use self::round::run;
use self::spray::Spray;
pub(crate) use self::trust::{Trusted, interfaces};
pub(crate) use self::watch::Watched;
use crate::audit::{Event, Record, reason};
use crate::clock;
use crate::config;
use crate::gateway::Gateway;
use crate::identity::Steady;
use crate::ids::Door;
use crate::mail::Alarm;
use crate::proxy::Guests;
use crate::store::{Store, StoreError};

/// The bans of the running gateway.
pub(crate) struct Bans {
    book: RwLock<Book>,
    spray: Mutex<Spray>,
    /// Open connections, so that those of a banned source can be cut.
    pub(crate) guests: Guests,
    spare_signed_in: bool,
    store: Arc<dyn Store>,
    time: Steady,
    /// Tells the rounds that something waits to be written.
    wake: Notify,
    gateway: OnceLock<Weak<Gateway>>,
    /// As it was last gathered.
    trusted: ArcSwap<Trusted>,
    /// One writer at a time, so that an older row never overtakes a newer one.
    writing: tokio::sync::Mutex<()>,
    refused: AtomicU64,
    made: AtomicU64,
    alarms: AtomicU64,
}

/// The figures of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Bans in force.
    pub(crate) bans: usize,
    /// Bans made since the start.
    pub(crate) made: u64,
    /// Connections refused since the start.
    pub(crate) refused: u64,
    /// Accounts with failures in the last window.
    pub(crate) accounts: usize,
    /// Alarms of spraying since the start.
    pub(crate) alarms: u64,
}

impl std::fmt::Debug for Bans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bans").finish_non_exhaustive()
    }
}

impl Bans {
    /// Takes up the bans that were kept.
    ///
    /// # Errors
    /// [`StoreError`] if they cannot be read.
    pub(crate) async fn open(
        figures: &config::Bans,
        store: Arc<dyn Store>,
    ) -> Result<Arc<Self>, StoreError> {
        let time = Steady::new(clock::unix(), clock::now);
        let rows = store.bans().await?;
        let book = Book::new(figures.clone(), rows, time.at(i64::MIN));
        Ok(Arc::new(Self {
            book: RwLock::new(book),
            spray: Mutex::new(Spray::new(figures.spray_accounts, figures.spray_window)),
            guests: Guests::default(),
            spare_signed_in: figures.spare_signed_in,
            store,
            time,
            wake: Notify::new(),
            gateway: OnceLock::new(),
            trusted: ArcSwap::default(),
            writing: tokio::sync::Mutex::default(),
            refused: AtomicU64::new(0),
            made: AtomicU64::new(0),
            alarms: AtomicU64::new(0),
        }))
    }

    /// Names the gateway whose sources these are; before that nothing is banned by itself.
    pub(crate) fn guard(&self, gw: &Arc<Gateway>) {
        drop(self.gateway.set(Arc::downgrade(gw)));
        self.gather(gw);
    }

    /// Tells whether a connection from an address must be refused, and counts it if so.
    pub(crate) fn refuses(&self, source: IpAddr) -> bool {
        let banned = self.holds(source);
        if banned {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        banned
    }

    fn holds(&self, source: IpAddr) -> bool {
        let book = self.book.read();
        if book.count() == 0 {
            return false;
        }
        let banned = book.find(source, self.now()).is_some();
        drop(book);
        let network = IpNet::from(source.to_canonical());
        banned && self.trusted.load().why(&network).is_none()
    }

    /// Notes what a stranger did over a connection; those of tunnel devices have no address of
    /// their own.
    pub(crate) fn offence(&self, door: Door, source: IpAddr, what: Offence) {
        if door == Door::Tunnel {
            return;
        }
        let now = self.now();
        let candidate = self.book.write().hit(source, what, now);
        if let Some(candidate) = candidate {
            self.judge(candidate, source, now);
        }
    }

    /// Counts what the metrics tell.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            bans: self.book.read().count(),
            made: self.made.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            accounts: self.spray.lock().accounts(self.now()),
            alarms: self.alarms.load(Ordering::Relaxed),
        }
    }

    fn judge(&self, who: Candidate, source: IpAddr, now: i64) {
        let Some(gw) = self.gateway.get().and_then(Weak::upgrade) else {
            return self.book.write().spare(who);
        };
        let trusted = self.gather(&gw);
        let homes = if self.spare_signed_in {
            homes(&gw)
        } else {
            Vec::new()
        };
        let spared = self.book.write().judge(who, source, now, |network| {
            spares(network, &trusted, &homes)
        });
        match spared {
            None => {
                self.made.fetch_add(1, Ordering::Relaxed);
                self.wake.notify_one();
            }
            Some(why) => {
                tracing::warn!(network = %who.network, why, "a source that would be banned is spared");
                let mut record = Record::new(Event::Limited, "limited", reason::BAN_SPARED);
                record.source = Some(source);
                record.detail = Some(format!("{} is not banned: {why}", who.network));
                gw.audit.note(record);
            }
        }
    }

    /// Tells the administrators of an account that has to wait for its failures.
    fn series(&self, record: &Record) {
        let gw = self.gateway.get().and_then(Weak::upgrade);
        if let (Some(gw), Some(user)) = (gw, &record.user) {
            gw.mail.alarm(Alarm::Series {
                user: Arc::clone(user),
                source: record.source,
            });
        }
    }

    fn failed(&self, record: &Record) {
        let now = self.now();
        let alarm = self
            .spray
            .lock()
            .failed(record.user.as_ref(), record.source, now);
        if let Some(accounts) = alarm {
            self.alarms.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(accounts, "sign-ins fail at many accounts: spraying");
            let mut record = Record::new(Event::SignInFailed, "failed", reason::SPRAYING);
            record.detail = Some(format!("failures at {accounts} accounts"));
            if let Some(gw) = self.gateway.get().and_then(Weak::upgrade) {
                gw.audit.note(record);
                gw.mail.alarm(Alarm::Spraying { accounts });
            }
        }
    }

    /// Gathers what is trusted by now.
    pub(crate) fn gather(&self, gw: &Gateway) -> Arc<Trusted> {
        let policy = &gw.snapshot.load().policy;
        let trusted = Arc::new(Trusted::gather(&gw.config, policy, &gw.upstreams.named()));
        self.trusted.store(Arc::clone(&trusted));
        trusted
    }

    fn now(&self) -> i64 {
        self.time.at(i64::MIN)
    }
}

/// Lists where people are signed in from.
pub(crate) fn homes(gw: &Gateway) -> Vec<IpAddr> {
    let now = clock::unix();
    let sessions = gw.sessions.list();
    let here = sessions
        .iter()
        .filter(|session| session.door == Door::Web && session.is_live(now));
    here.map(|session| session.source.to_canonical()).collect()
}

/// Says why a network may not be banned. A home stands for its whole source.
fn spares(network: &IpNet, trusted: &Trusted, homes: &[IpAddr]) -> Option<&'static str> {
    let trust = trusted.why(network).map(|(_, why)| why);
    let home = || homes.iter().any(|home| network.contains(home));
    trust.or_else(|| home().then_some("somebody is signed in from there"))
}
