//! Caps on open client connections: per source, in total, and by what is left of the table of descriptors.
//!
//! Where it gets narrow, what is left is for tunnel devices and for places that somebody is signed in from.

use std::collections::HashSet;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::conn::ConnOrigin;
use crate::clock;
use crate::descriptors::{self, Claim};
use crate::ids::Door;
use crate::limits::{BySource, Limits, Source};

/// How long what is known of places is used.
const FRESH: Duration = Duration::from_secs(1);

/// Lists where people are signed in from.
type Ask = Box<dyn Fn() -> Vec<IpAddr> + Send + Sync>;

/// The caps.
pub(super) struct Caps {
    total: AtomicUsize,
    /// The most there may be.
    pub(super) most: usize,
    per_source: usize,
    sources: Mutex<BySource>,
    refused: AtomicU64,
    ask: Ask,
    homes: Mutex<(HashSet<Source>, Option<Instant>)>,
}

impl Caps {
    /// Counts nobody yet.
    pub(super) fn new(most: usize, per_source: usize, ask: Ask) -> Self {
        Self {
            total: AtomicUsize::new(0),
            most,
            per_source,
            sources: Mutex::default(),
            refused: AtomicU64::new(0),
            ask,
            homes: Mutex::default(),
        }
    }

    /// Counts the open connections.
    pub(super) fn open(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Counts the connections that were closed for want of room since the start.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Takes a place for a connection with this descriptor; `None` where it must be closed.
    pub(super) fn admit(self: &Arc<Self>, fd: RawFd, origin: &ConnOrigin) -> Option<Place> {
        // whose place it is stands in the header of a proxy
        let source = (!origin.proxied).then(|| origin.peer.ip());
        let crowded = self.is_crowded() || !descriptors::fits(fd, Claim::Stranger);
        let known = || match source {
            Some(source) => origin.door == Door::Tunnel || self.is_home(source),
            None => true,
        };
        let fits = (!crowded || known()) && descriptors::fits(fd, Claim::Known);
        let place = fits.then(|| Place::take(self, source)).flatten();
        if place.is_none() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        place
    }

    /// Tells whether what is left is not for strangers.
    fn is_crowded(&self) -> bool {
        self.open() >= self.most - self.most / 8
    }

    fn is_home(&self, source: IpAddr) -> bool {
        let now = clock::now();
        let mut homes = self.homes.lock();
        let fresh = |at: Instant| now.saturating_duration_since(at) < FRESH;
        if !homes.1.is_some_and(fresh) {
            let all = (self.ask)().into_iter().map(Source::of);
            *homes = (all.collect(), Some(now));
        }
        homes.0.contains(&Source::of(source))
    }

    fn enter(&self, source: Option<IpAddr>) -> bool {
        let mut sources = self.sources.lock();
        if self.open() >= self.most {
            return false;
        }
        if let Some(source) = source
            && !self.count(&mut sources, source)
        {
            return false;
        }
        self.total.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Counts a connection that is in already for its source.
    fn settle(&self, source: IpAddr) -> bool {
        if self.is_crowded() && !self.is_home(source) {
            return false;
        }
        self.count(&mut self.sources.lock(), source)
    }

    /// Counts one more for a source; where somebody is signed in, a whole office may be, and it may have half of all.
    fn count(&self, sources: &mut BySource, source: IpAddr) -> bool {
        let of_home = self.per_source.max(self.most / 2);
        let own = Source::of(source);
        sources.add_below(own, self.per_source)
            || (self.is_home(source) && sources.add_below(own, of_home))
    }

    fn leave(&self, source: Option<IpAddr>) {
        let mut sources = self.sources.lock();
        self.total.fetch_sub(1, Ordering::Relaxed);
        if let Some(source) = source {
            sources.take(Source::of(source));
        }
    }
}

/// One connection's place under the caps; it is free again when this is dropped.
pub(super) struct Place {
    caps: Arc<Caps>,
    /// Whose it is, once that is known.
    source: Option<IpAddr>,
}

impl Place {
    fn take(caps: &Arc<Caps>, source: Option<IpAddr>) -> Option<Self> {
        caps.enter(source).then(|| Self {
            caps: Arc::clone(caps),
            source,
        })
    }

    /// Says whose it is; `false` where that source may have none.
    pub(super) fn settle(&mut self, source: IpAddr) -> bool {
        let fits = self.source.is_none() && self.caps.settle(source);
        if fits {
            self.source = Some(source);
        } else {
            self.caps.refused.fetch_add(1, Ordering::Relaxed);
        }
        fits
    }

    /// Tells whether a source may begin a handshake now; `false` where the connection must be closed.
    pub(super) fn may_shake(&self, limits: &Limits, source: IpAddr) -> bool {
        let fits = source.is_loopback()
            || limits.handshake(source, clock::now()).is_ok()
            || self.caps.is_home(source);
        if !fits {
            self.caps.refused.fetch_add(1, Ordering::Relaxed);
        }
        fits
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.caps.leave(self.source);
    }
}

#[cfg(test)]
mod tests {
    use super::{Caps, Place};
    use crate::clock;
    use crate::ids::Door;
    use crate::limits::{Limits, Rate};
    use crate::proxy::ConnOrigin;
    use std::net::SocketAddr;
    use std::sync::Arc;

    fn caps(most: usize, per_source: usize) -> Caps {
        Caps::new(most, per_source, Box::new(Vec::new))
    }

    fn origin(peer: &str, door: Door) -> ConnOrigin {
        ConnOrigin {
            door,
            peer: SocketAddr::new(peer.parse().unwrap(), 9),
            device: None,
            tls: true,
            proxied: false,
        }
    }

    #[test]
    fn one_source_cannot_take_every_place() {
        let caps = caps(3, 2);
        let (a, b) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert!(caps.enter(Some(a)));
        assert!(caps.enter(Some(a)));
        assert!(!caps.enter(Some(a)));
        assert!(caps.enter(Some(b)));
        assert!(!caps.enter("192.0.2.3".parse().ok()));
        caps.leave(Some(a));
        assert!(caps.enter(Some(a)));
    }

    #[test]
    fn the_last_places_are_for_devices_and_for_where_somebody_is_signed_in() {
        let home = "192.0.2.9".parse().unwrap();
        let caps = Caps::new(8, 8, Box::new(move || vec![home]));
        let caps = Arc::new(caps);
        let take = |peer, door| caps.admit(3, &origin(peer, door));
        let mut open: Vec<_> = (0..7)
            .filter_map(|_| take("192.0.2.1", Door::Web))
            .collect();
        assert_eq!((open.len(), caps.refused()), (7, 0));
        assert!(take("192.0.2.2", Door::Web).is_none());
        assert!(take("10.200.200.2", Door::Tunnel).is_some());
        open.extend(take("192.0.2.9", Door::Web));
        assert_eq!((caps.open(), caps.refused()), (8, 1));
        assert!(take("192.0.2.9", Door::Web).is_none(), "none is left");
        open.clear();
        assert!(take("192.0.2.2", Door::Web).is_some());
    }

    #[test]
    fn a_place_is_free_again_even_after_a_panic() {
        let caps = Arc::new(caps(1, 1));
        let a = "192.0.2.1".parse().ok();
        let place = Place::take(&caps, a);
        assert!(place.is_some() && Place::take(&caps, a).is_none());
        let broke = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _held = place;
            panic!("a connection broke");
        }));
        assert!(broke.is_err());
        assert!(Place::take(&caps, a).is_some());
    }

    #[test]
    fn those_behind_a_proxy_are_counted_one_by_one_and_in_all() {
        let (a, b) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let caps = Arc::new(Caps::new(3, 1, Box::new(move || vec![a, b])));
        let mut first = Place::take(&caps, None).unwrap();
        let mut second = Place::take(&caps, None).unwrap();
        let mut third = Place::take(&caps, None).unwrap();
        assert!(Place::take(&caps, None).is_none(), "in all");
        assert!(first.settle(a) && !first.settle(b), "once");
        assert!(!second.settle(a) && third.settle(b));
        drop(first);
        assert!(second.settle(a));
        drop((second, third));
        assert!(caps.sources.lock().is_empty());
        assert!(Place::take(&caps, Some(a)).is_some());
    }

    #[test]
    fn addresses_of_one_ipv6_site_share_a_place() {
        let caps = caps(10, 1);
        assert!(caps.enter("2001:db8::1".parse().ok()));
        assert!(!caps.enter("2001:db8::2".parse().ok()));
        assert!(caps.enter("2001:db8:0:1::1".parse().ok()));
    }

    #[test]
    fn an_office_may_have_half_of_all_once_somebody_is_signed_in() {
        let (office, other) = ("192.0.2.9".parse().unwrap(), "192.0.2.8".parse().unwrap());
        let caps = Caps::new(16, 2, Box::new(move || vec![office]));
        let count = |source| (0..16).filter(|_| caps.enter(Some(source))).count();
        assert_eq!((count(other), count(office)), (2, 8));
    }

    #[test]
    fn handshakes_of_strangers_have_a_budget_and_those_of_an_office_have_none() {
        let office = "192.0.2.9".parse().unwrap();
        let caps = Arc::new(Caps::new(16, 16, Box::new(move || vec![office])));
        let limits = Limits::new(&Rate::of_source(), clock::now());
        let place = Place::take(&caps, None).unwrap();
        let count = |source: &str| {
            let source = source.parse().unwrap();
            (0..1500)
                .filter(|_| place.may_shake(&limits, source))
                .count()
        };
        let strangers = count("192.0.2.8");
        assert!((401..1500).contains(&strangers), "{strangers}");
        assert_eq!((count("192.0.2.9"), count("127.0.0.1")), (1500, 1500));
        assert_eq!(caps.refused(), u64::try_from(1500 - strangers).unwrap());
    }
}
