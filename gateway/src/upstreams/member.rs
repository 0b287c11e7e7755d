//! One upstream: where it is, how it does, what it has to do.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use ipnet::IpNet;
use parking_lot::Mutex;
use policy::front::may_be_upstream;
use policy::{At, Upstream};
use tokio::time::timeout;

use super::own::Own;
use crate::clock;

/// Failures in a row after which it gets no requests for a while...
const STREAK: u32 = 3;
/// ...at first this long, twice as long each time it fails again...
const OUT: Duration = Duration::from_secs(10);
/// ...and at most this long.
const OUT_MOST: Duration = Duration::from_secs(300);
/// How long a name's addresses are used before it is looked up again.
const REFRESH: Duration = Duration::from_secs(30);
/// How soon it is looked up again where there is none to use, or none could be connected to.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a request waits for a lookup where there is an address, and where there is none.
const HASTE: Duration = Duration::from_millis(50);
const LOOKUP: Duration = Duration::from_secs(5);
/// The most addresses of one name that are tried.
const ADDRESSES: usize = 16;

/// How an upstream does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It gets requests.
    Up,
    /// It has a check that has not passed yet.
    Untried,
    /// It failed requests and rests.
    Out,
    /// Its check fails.
    Down,
}

impl Health {
    /// The word of status and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Untried => "untried",
            Self::Out => "out",
            Self::Down => "down",
        }
    }
}

/// One upstream of one app.
pub(crate) struct Member {
    /// Its address as the policy has it.
    pub(crate) to: Upstream,
    fixed: Option<Address>,
    /// An app of a tenant: its name may not lead to the gateway's own machine.
    foreign: bool,
    /// Where it may be.
    networks: Vec<IpNet>,
    own: Arc<Own>,
    found: Mutex<Found>,
    /// How often it led where it may not be.
    outside: AtomicU64,
    base: Instant,
    open: AtomicUsize,
    served: AtomicU64,
    failed: AtomicU64,
    streak: AtomicU32,
    rests: AtomicU32,
    /// Until when it rests, in milliseconds after `base`; 0 for not.
    rests_until: AtomicU64,
    checked: AtomicBool,
    /// Whether a probe has passed, or a policy named it without any.
    tried: AtomicBool,
    down: AtomicBool,
    good: AtomicU32,
    bad: AtomicU32,
    /// Since when it is in its state, in seconds since the UNIX epoch.
    since: AtomicI64,
    why: Mutex<String>,
}

/// Where an upstream may be.
pub(super) struct Limits {
    /// An app of a tenant: its name may not lead to the gateway's own machine.
    pub(super) foreign: bool,
    /// The networks of the policy.
    pub(super) networks: Vec<IpNet>,
    /// Where the gateway itself listens.
    pub(super) own: Arc<Own>,
}

/// What the last look at a name found.
#[derive(Default)]
struct Found {
    addresses: Vec<SocketAddr>,
    /// Those that could not be connected to; they come last until all of them could not.
    failed: Vec<SocketAddr>,
    /// One where it may not be.
    outside: Option<IpAddr>,
    /// When it was looked up last, and for how long that counts.
    at: Option<(Instant, Duration)>,
    /// The lookup under way, which all wait for.
    looking: Option<Looking>,
}

/// A lookup, of which there is one at a time: what it found, and when; `None` where it failed.
type Looking = Shared<BoxFuture<'static, Option<(Vec<SocketAddr>, Instant)>>>;

/// Begins to look a name up; whoever waits for that may stop doing so.
fn look(host: &str, port: u16) -> Looking {
    let host = host.to_owned();
    let looked = tokio::spawn(async move {
        let found = tokio::net::lookup_host((host, port)).await;
        found.map(|found| (found.collect(), clock::now()))
    });
    let looked = async move { looked.await.ok()?.ok() };
    looked.boxed().shared()
}

/// Why there is nowhere to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nowhere {
    /// Its name has no address.
    Unknown,
    /// Its name leads where it may not be.
    Outside(IpAddr),
}

impl std::fmt::Display for Nowhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => write!(f, "its name has no address"),
            Self::Outside(ip) => write!(f, "its name leads to {ip}, where it may not be"),
        }
    }
}

/// Where a connection is made to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// An address and port.
    Net(SocketAddr),
    /// The path of a socket.
    Unix(String),
}

impl Member {
    /// Takes it for well until it is known better, once [`Member::checked_by`] says that nothing probes it.
    pub(super) fn new(to: &Upstream, limits: Limits, base: Instant) -> Self {
        let Limits {
            foreign,
            networks,
            own,
        } = limits;
        let fixed = match &to.at {
            At::Unix(path) => Some(Address::Unix(path.clone())),
            At::Net(host, port) => host
                .parse::<IpAddr>()
                .ok()
                .map(|ip| Address::Net(SocketAddr::new(ip, *port))),
        };
        Self {
            to: to.clone(),
            fixed,
            foreign,
            networks,
            own,
            found: Mutex::default(),
            outside: AtomicU64::new(0),
            base,
            open: AtomicUsize::new(0),
            served: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            streak: AtomicU32::new(0),
            rests: AtomicU32::new(0),
            rests_until: AtomicU64::new(0),
            checked: AtomicBool::new(false),
            tried: AtomicBool::new(false),
            down: AtomicBool::new(false),
            good: AtomicU32::new(0),
            bad: AtomicU32::new(0),
            since: AtomicI64::new(0),
            why: Mutex::default(),
        }
    }

    /// Says whether the policy in force probes it; without probes none can have failed.
    pub(super) fn checked_by(&self, check: bool) {
        self.checked.store(check, Ordering::Relaxed);
        if !check {
            self.tried.store(true, Ordering::Relaxed);
            self.down.store(false, Ordering::Relaxed);
            self.bad.store(0, Ordering::Relaxed);
        }
    }

    /// Returns how it does.
    pub(crate) fn health(&self, now: Instant) -> Health {
        if self.down.load(Ordering::Relaxed) {
            Health::Down
        } else if !self.tried.load(Ordering::Relaxed) {
            Health::Untried
        } else if self.rests_until.load(Ordering::Relaxed) > self.millis(now) {
            Health::Out
        } else {
            Health::Up
        }
    }

    /// Returns the requests under way.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Returns how many requests it was given, and how many of them it failed.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let served = self.served.load(Ordering::Relaxed);
        (served, self.failed.load(Ordering::Relaxed))
    }

    /// Returns since when it is not well, in seconds since the UNIX epoch, and why; `None` while it is.
    pub(crate) fn trouble(&self, now: Instant) -> Option<(i64, String)> {
        let (since, why) = (self.since.load(Ordering::Relaxed), self.why.lock().clone());
        match self.health(now) {
            Health::Up => None,
            Health::Untried => Some((since, "its check has not passed yet".to_owned())),
            Health::Out | Health::Down => Some((since, why)),
        }
    }

    /// Notes an answer; what failed before is forgotten.
    pub(crate) fn worked(&self) {
        if self.streak.load(Ordering::Relaxed) != 0 {
            self.streak.store(0, Ordering::Relaxed);
            self.rests.store(0, Ordering::Relaxed);
            self.rests_until.store(0, Ordering::Relaxed);
        }
    }

    /// Notes a request that got no answer; returns whether the upstream rests from here on.
    pub(crate) fn broke(&self, why: &str, now: Instant, unix: i64) -> bool {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let streak = self
            .streak
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        if streak < STREAK {
            return false;
        }
        let rests = self.rests.fetch_add(1, Ordering::Relaxed);
        let rest = OUT.saturating_mul(1 << rests.min(5)).min(OUT_MOST);
        let rest = u64::try_from(rest.as_millis()).unwrap_or(0);
        let until = self.millis(now).saturating_add(rest);
        if self.rests_until.swap(until, Ordering::Relaxed) == 0 {
            self.note(why, unix);
        }
        // one more failure after the rest is enough
        self.streak.store(STREAK - 1, Ordering::Relaxed);
        true
    }

    /// Notes a probe that was fine; returns whether that brings the upstream back.
    pub(super) fn probe_passed(&self, up: u32, unix: i64) -> bool {
        self.bad.store(0, Ordering::Relaxed);
        self.tried.store(true, Ordering::Relaxed);
        let good = self.good.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if !self.down.load(Ordering::Relaxed) || good < up {
            return false;
        }
        self.down.store(false, Ordering::Relaxed);
        self.worked();
        self.note("", unix);
        true
    }

    /// Notes a probe that failed; returns whether that takes the upstream out.
    pub(super) fn probe_failed(&self, why: &str, down: u32, unix: i64) -> bool {
        self.good.store(0, Ordering::Relaxed);
        let bad = self.bad.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if self.down.load(Ordering::Relaxed) || bad < down || !self.checked.load(Ordering::Relaxed)
        {
            return false;
        }
        self.down.store(true, Ordering::Relaxed);
        self.note(why, unix);
        true
    }

    fn note(&self, why: &str, unix: i64) {
        why.clone_into(&mut self.why.lock());
        self.since.store(unix, Ordering::Relaxed);
    }

    fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.base);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns where to connect to, looking a name up at most every 30 s; a lookup that fails, or takes long, leaves the
    /// last answer in use.
    ///
    /// # Errors
    /// [`Nowhere`] where there is no address, or none that it may have.
    pub(crate) async fn address(&self, now: Instant) -> Result<Address, Nowhere> {
        let (host, port) = match (&self.fixed, &self.to.at) {
            (Some(fixed), _) => return self.of_policy(fixed),
            (None, At::Net(host, port)) => (host, port),
            (None, At::Unix(_)) => return Err(Nowhere::Unknown),
        };
        let (looking, limit) = {
            let mut found = self.found.lock();
            if found.is_fresh(now) {
                return found.first();
            }
            let limit = if found.addresses.is_empty() {
                LOOKUP
            } else {
                // others go on with what there is while one looks
                found.at = Some((now, AGAIN));
                HASTE
            };
            let looking = found.looking.get_or_insert_with(|| look(host, *port));
            (looking.clone(), limit)
        };
        let begun = clock::now();
        let looked = timeout(limit, looking.clone()).await;
        let ended = clock::now();
        let now = now + ended.saturating_duration_since(begun);
        // what a lookup that took long found while nobody waited is as old as that
        let since = |then| now.checked_sub(ended.saturating_duration_since(then));
        let sorted = looked.map(|found| {
            let (all, then) = found?;
            Some((self.sorted(all.into_iter()), since(then).unwrap_or(now)))
        });
        let mut found = self.found.lock();
        let own = |current: &mut Looking| current.ptr_eq(&looking);
        match sorted {
            // somebody who waited for it too was here first
            Ok(_) if found.looking.take_if(own).is_none() => {}
            Ok(Some(((inside, outside), then))) => found.learn(inside, outside, then),
            Ok(None) | Err(_) => found.at = Some((now, AGAIN)),
        }
        found.first()
    }

    /// Takes what the policy names by address; a tenant may not name the gateway itself.
    fn of_policy(&self, fixed: &Address) -> Result<Address, Nowhere> {
        match fixed {
            Address::Net(address) if self.foreign && self.own.is_at(*address) => {
                Err(Nowhere::Outside(address.ip()))
            }
            Address::Net(_) | Address::Unix(_) => Ok(fixed.clone()),
        }
    }

    /// Takes addresses as a lookup does.
    #[cfg(test)]
    pub(super) fn learn(&self, addresses: impl Iterator<Item = SocketAddr>, now: Instant) {
        let (inside, outside) = self.sorted(addresses);
        self.found.lock().learn(inside, outside, now);
    }

    /// Sorts out the addresses of its name that it may have; one that it may not have is noted.
    fn sorted(
        &self,
        addresses: impl Iterator<Item = SocketAddr>,
    ) -> (Vec<SocketAddr>, Option<IpAddr>) {
        let (inside, outside): (Vec<_>, Vec<_>) = addresses
            .take(ADDRESSES)
            .partition(|address| self.may_be_at(*address));
        let outside = outside.first().map(SocketAddr::ip);
        if let Some(ip) = outside {
            self.outside.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(upstream = %self.to, %ip, "a name leads where its upstream may not be");
        }
        (inside, outside)
    }

    fn may_be_at(&self, address: SocketAddr) -> bool {
        let ip = address.ip();
        may_be_upstream(ip, &self.networks)
            && !self.own.is_at(address)
            && !(self.foreign && near(ip))
    }

    /// Tells whether a host and port are its own: as the policy names it, or as its name was looked up last.
    pub(super) fn is_at(&self, host: &str, port: u16) -> bool {
        let At::Net(own, own_port) = &self.to.at else {
            return false;
        };
        if port != *own_port {
            return false;
        }
        let Ok(ip) = host.parse::<IpAddr>() else {
            return own.eq_ignore_ascii_case(host);
        };
        let found = self.found.lock();
        own.parse() == Ok(ip) || found.addresses.iter().any(|address| address.ip() == ip)
    }

    /// Returns how often a look at its name found an address that it may not have.
    pub(crate) fn outside(&self) -> u64 {
        self.outside.load(Ordering::Relaxed)
    }

    /// Returns the addresses its name had at the last look; none of a tenant's, who may name whatever they like.
    pub(super) fn named(&self) -> Vec<IpAddr> {
        let found = self.found.lock();
        let addresses = found.addresses.iter().filter(|_| !self.foreign);
        addresses.map(SocketAddr::ip).collect()
    }

    /// Puts the address that failed behind the others of its name, and has the name looked up again soon.
    pub(crate) fn next_address(&self, now: Instant) {
        let mut found = self.found.lock();
        if found.addresses.len() > 1 {
            let first = found.addresses.first().copied();
            let new = first.filter(|address| !found.failed.contains(address));
            found.failed.extend(new);
            found.addresses.rotate_left(1);
        }
        found.at = found
            .at
            .map(|(at, _)| (at, AGAIN))
            .filter(|_| found.is_recent(now));
    }
}

impl Found {
    /// Whether the last look still counts.
    fn is_fresh(&self, now: Instant) -> bool {
        let counts = |(at, lasts)| now.saturating_duration_since(at) < lasts;
        self.at.is_some_and(counts)
    }

    /// Whether it was looked up a moment ago.
    fn is_recent(&self, now: Instant) -> bool {
        let recent = |(at, _)| now.saturating_duration_since(at) < AGAIN;
        self.at.is_some_and(recent)
    }

    /// Takes what a lookup found.
    fn learn(&mut self, mut inside: Vec<SocketAddr>, outside: Option<IpAddr>, now: Instant) {
        self.failed.retain(|address| inside.contains(address));
        if self.failed.len() == inside.len() {
            self.failed.clear();
        }
        inside.sort_by_key(|address| self.failed.contains(address));
        let lasts = if inside.is_empty() { AGAIN } else { REFRESH };
        self.at = Some((now, lasts));
        (self.addresses, self.outside) = (inside, outside);
    }

    fn first(&self) -> Result<Address, Nowhere> {
        let first = self.addresses.first().copied().map(Address::Net);
        first.ok_or_else(|| self.outside.map_or(Nowhere::Unknown, Nowhere::Outside))
    }
}

fn near(ip: IpAddr) -> bool {
    policy::front::is_near(ip)
}

/// One request under way; the upstream has one less when this is dropped.
pub(crate) struct InUse(pub(crate) Arc<Member>);

impl InUse {
    /// Counts a request.
    pub(super) fn of(member: &Arc<Member>) -> Self {
        member.open.fetch_add(1, Ordering::Relaxed);
        member.served.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(member))
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
