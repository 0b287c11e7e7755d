//! The protected side: which upstreams there are, how each of them does, and which one a request goes to.
//!
//! What is known of an upstream outlives a reload: it is kept by its address. A request holds the pool of the policy
//! that decided it.

mod load;
mod member;
mod own;
mod pool;
mod probe;
pub(crate) mod roots;
mod tls;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hmac::{Hmac, KeyInit, Mac};
use ipnet::IpNet;
use parking_lot::Mutex;
use policy::front::{Pool as Written, Source};
use policy::{Policy, Upstream};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::clock;
use crate::secrets::Keys;

pub(crate) use load::{Full, Load, Slot};
pub(crate) use member::{Address, Health, InUse, Member, Nowhere};
pub(crate) use own::Own;
pub(crate) use pool::{Choice, Limits, Pool, bit};
pub(crate) use probe::run as watch;
pub(crate) use tls::readable;

/// One upstream of an app, as `status` and the metrics show it.
pub(crate) struct Row {
    /// The app, such as `app.paie`.
    pub(crate) app: Arc<str>,
    /// The area that names it, such as `/`.
    pub(crate) area: String,
    /// Its state.
    pub(crate) member: Arc<Member>,
    /// Whether it gets no new browsers.
    pub(crate) drain: bool,
}

/// Everything known of upstreams, whatever policy is in force.
pub(crate) struct Upstreams {
    members: Mutex<HashMap<Key, Arc<Member>>>,
    /// By app and area.
    loads: Mutex<HashMap<Place, Arc<Load>>>,
    hasher: RandomState,
    key: Zeroizing<[u8; 32]>,
    /// Where the times of members begin.
    base: Instant,
    own: Arc<Own>,
}

/// A member belongs to one app: what one app's check says of an address is nothing another's needs. It is known anew
/// where the policy says otherwise where it may be.
type Key = (Arc<str>, Upstream, Vec<IpNet>);

/// An app and one of its areas.
type Place = (Arc<str>, String);

impl Upstreams {
    /// Knows nothing yet.
    pub(crate) fn new(keys: &Keys, own: Own) -> Self {
        Self {
            members: Mutex::default(),
            loads: Mutex::default(),
            hasher: RandomState::new(),
            key: keys.derive("upstream-pin"),
            base: clock::now(),
            own: Arc::new(own),
        }
    }

    /// Makes the pool of an area. `digest` is that of its policy: connections of different policies are never shared.
    pub(crate) fn pool(
        &self,
        app: &policy::App,
        area: &str,
        written: &Written,
        digest: &str,
    ) -> Pool {
        let mut known = self.members.lock();
        let members = written.members.iter().map(|m| {
            let key = (Arc::clone(&app.id), m.to.clone(), written.networks.clone());
            let make = || {
                let limits = member::Limits {
                    foreign: app.tenant().is_some(),
                    networks: written.networks.clone(),
                    own: Arc::clone(&self.own),
                };
                Arc::new(Member::new(&m.to, limits, self.base))
            };
            let member = Arc::clone(known.entry(key).or_insert_with(make));
            member.checked_by(written.check.is_some());
            pool::Place {
                pin: self.pin(&app.id, area, &m.to),
                group: self
                    .hasher
                    .hash_one((&app.id, area, digest, &m.tls, m.to.http2)),
                weight: m.weight,
                drain: m.drain,
                tls: tls::Towards::load(&m.to, &m.tls),
                member,
            }
        });
        Pool::new(members.collect(), written, self.load(app, area, written))
    }

    fn load(&self, app: &policy::App, area: &str, written: &Written) -> Arc<Load> {
        let mut loads = self.loads.lock();
        let key = (Arc::clone(&app.id), area.to_owned());
        let load = Arc::clone(loads.entry(key).or_default());
        if written.breaker.is_none() {
            load.unruled();
        }
        load
    }

    /// Forgets upstreams that no app of a policy names, and what no pool holds.
    pub(crate) fn keep_only(&self, policy: &Policy) {
        let named: HashSet<(&str, &Upstream)> = policy
            .apps()
            .flat_map(|(_, app)| app.upstreams().map(|to| (&*app.id, to)))
            .collect();
        // a pool of a policy holds its own
        self.members.lock().retain(|(app, to, _), member| {
            named.contains(&(&**app, to)) && Arc::strong_count(member) > 1
        });
        let mut loads = self.loads.lock();
        loads.retain(|_, load| Arc::strong_count(load) > 1);
    }

    /// Returns the addresses that the names of upstreams lead to, as far as they were looked up.
    pub(crate) fn named(&self) -> Vec<IpAddr> {
        let members = self.members.lock();
        members.values().flat_map(|member| member.named()).collect()
    }

    /// Looks the names of upstreams up that were not looked up just now.
    pub(crate) async fn look_up(&self) {
        let members: Vec<_> = self.members.lock().values().cloned().collect();
        for member in members {
            drop(member.address(clock::now()).await);
        }
    }

    /// What a browser shows to come back to an upstream; nobody can make one up.
    fn pin(&self, app: &str, area: &str, to: &Upstream) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&*self.key) else {
            return String::new();
        };
        for part in [app, area, &to.to_string()] {
            mac.update(part.as_bytes());
            mac.update(&[0]);
        }
        let tag = mac.finalize().into_bytes();
        data_encoding::BASE64URL_NOPAD.encode(tag.get(..15).unwrap_or_default())
    }
}

/// Lists the upstreams of a policy's apps.
pub(crate) fn rows(fronts: &crate::proxy::front::Fronts, policy: &Policy) -> Vec<Row> {
    let mut rows = Vec::new();
    for (at, app) in policy.apps() {
        let mut seen: Vec<&str> = Vec::new();
        for (front, written) in fronts.of_app(at).iter().zip(&app.fronts) {
            let (Source::Pool(_), Some(pool)) = (&written.source, front.pool()) else {
                continue;
            };
            if seen.contains(&written.source_at.as_str()) {
                continue;
            }
            seen.push(&written.source_at);
            rows.extend(pool.places().iter().map(|place| Row {
                app: Arc::clone(&app.id),
                area: written.source_at.clone(),
                member: Arc::clone(&place.member),
                drain: place.drain,
            }));
        }
    }
    rows
}

/// What is under way at an area's upstreams, as `status` and the metrics show it.
pub(crate) struct LoadRow {
    /// The app, such as `app.paie`.
    pub(crate) app: Arc<str>,
    /// The area that names the upstreams, such as `/`.
    pub(crate) area: String,
    /// The pool.
    pub(crate) pool: Arc<Pool>,
}

/// Lists the areas of a policy whose upstreams have a limit or a breaker.
pub(crate) fn loads(fronts: &crate::proxy::front::Fronts, policy: &Policy) -> Vec<LoadRow> {
    let mut rows: Vec<LoadRow> = Vec::new();
    for (at, app) in policy.apps() {
        for (front, written) in fronts.of_app(at).iter().zip(&app.fronts) {
            let Some(pool) = front.pool().filter(|pool| pool.is_limited()) else {
                continue;
            };
            if rows.iter().any(|row| Arc::ptr_eq(&row.pool, pool)) {
                continue;
            }
            rows.push(LoadRow {
                app: Arc::clone(&app.id),
                area: written.source_at.clone(),
                pool: Arc::clone(pool),
            });
        }
    }
    rows
}

#[cfg(test)]
mod tests;
