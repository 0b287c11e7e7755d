//! Several upstreams of one area: which one a request goes to, and whether it may be tried again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pingora_core::protocols::ALPN;
use pingora_core::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use policy::At;
use policy::front::{Balance, Breaker, Check, Pool as Written};
use subtle::ConstantTimeEq;

use super::load::{Full, Load, Slot};
use super::member::{Address, Health, InUse, Member};
use super::tls::Towards;
use crate::limits::Key;

/// What a second try takes from the budget; a request gives one.
const TRY: i64 = 5;
/// The most the budget holds.
pub(super) const BUDGET: i64 = 200;
/// Most bytes of an HTTP/2 answer that wait here for a client who reads slowly.
const WINDOW: u32 = 1 << 20;
/// How long a connection waits for its next request.
const POOLED: Duration = Duration::from_secs(60);

/// One upstream's place in a pool.
pub(crate) struct Place {
    /// What a browser shows to come back to it.
    pub(crate) pin: String,
    /// Connections with different numbers are never shared.
    pub(super) group: u64,
    pub(super) weight: u32,
    /// Whether only browsers pinned to it come to it.
    pub(crate) drain: bool,
    pub(super) tls: Result<Towards, String>,
    /// Its state.
    pub(crate) member: Arc<Member>,
}

/// The upstreams of an area.
pub(crate) struct Pool {
    places: Vec<Place>,
    balance: Balance,
    /// Whether browsers are pinned.
    pub(crate) sticky: bool,
    /// How its upstreams are probed.
    pub(crate) check: Option<Check>,
    /// What is under way at all of them.
    pub(crate) load: Arc<Load>,
    /// The most that may be.
    pub(crate) most: Option<u32>,
    /// When requests are refused at once.
    pub(crate) breaker: Option<Breaker>,
    /// Places in the order of turns, each as often as its weight.
    turns: Vec<usize>,
}

/// The upstream a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Its place.
    pub(crate) at: usize,
    /// Whether the browser already holds its pin.
    pub(crate) pinned: bool,
}

/// How long a request may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// To connect.
    pub(crate) connect: Duration,
    /// Of silence while the answer is read; `None` for a WebSocket.
    pub(crate) read: Option<Duration>,
}

impl Pool {
    /// Puts it together.
    pub(super) fn new(places: Vec<Place>, written: &Written, load: Arc<Load>) -> Self {
        Self {
            turns: turns(&places.iter().map(|p| p.weight).collect::<Vec<u32>>()),
            places,
            balance: written.balance,
            sticky: written.sticky,
            check: written.check.clone(),
            load,
            most: written.concurrency,
            breaker: written.breaker,
        }
    }

    /// Takes a place for a request of a person or source, whichever upstream it goes to.
    ///
    /// # Errors
    /// [`Full`] where as many are under way as may be, or those before got no answer.
    pub(crate) fn admit(&self, of: impl FnOnce() -> Key, now: Instant) -> Result<Slot, Full> {
        match self.most {
            Some(most) => self.load.enter_as(of(), most, self.breaker, now),
            None => self.load.enter(None, self.breaker, now),
        }
    }

    /// Whether the policy limits what may be under way, or has a breaker.
    pub(crate) fn is_limited(&self) -> bool {
        self.most.is_some() || self.breaker.is_some()
    }

    /// Whether each of its upstreams fails its check.
    pub(crate) fn is_down(&self, now: Instant) -> bool {
        let mut places = self.places.iter();
        self.check.is_some() && places.all(|place| place.member.health(now) == Health::Down)
    }

    /// Notes an answer to an admitted request.
    pub(crate) fn worked(&self, slot: &mut Slot) {
        if self.breaker.is_some() {
            slot.worked();
        }
    }

    /// Notes that an admitted request got no answer; returns whether the breaker opens.
    pub(crate) fn broke(&self, slot: &mut Slot, now: Instant) -> bool {
        self.breaker.is_some_and(|rule| slot.broke(rule, now))
    }

    /// Whether its upstreams speak HTTP/2 and nothing else.
    pub(crate) fn http2(&self) -> bool {
        self.places.iter().any(|place| place.member.to.http2)
    }

    /// Whether one of its upstreams is at a host and port, as an app may write them in a redirect.
    pub(crate) fn is_at(&self, host: &str, port: u16) -> bool {
        self.places
            .iter()
            .any(|place| place.member.is_at(host, port))
    }

    /// Its upstreams.
    pub(crate) fn places(&self) -> &[Place] {
        &self.places
    }

    /// Chooses an upstream that was not tried for this request: the one the browser is pinned to, else one that is
    /// well, else one whose check has not passed yet, else one that rests; never one whose check fails. `tried` has a bit
    /// for each place.
    pub(crate) fn choose(&self, pin: Option<&str>, tried: u64, now: Instant) -> Option<Choice> {
        if let (true, Some(pin)) = (self.sticky, pin)
            && let Some(at) = self.pinned(pin)
            && self.fits(at, tried, now, Want::Pinned)
        {
            return Some(Choice { at, pinned: true });
        }
        let first = self.load.next.fetch_add(1, Ordering::Relaxed);
        let by_turn = |want| self.by_turn(first, tried, now, want);
        // where a new one waits for its check, those it replaces go on
        let known = || by_turn(Want::Leaving).filter(|_| self.awaits_check(now));
        let at = by_turn(Want::Well)
            .or_else(known)
            .or_else(|| by_turn(Want::Untried))
            .or_else(|| by_turn(Want::Resting))
            .or_else(|| by_turn(Want::Draining));
        at.map(|at| Choice { at, pinned: false })
    }

    /// Whether an upstream that is to take requests has a check that has not passed yet.
    fn awaits_check(&self, now: Instant) -> bool {
        let untried = |place: &Place| place.member.health(now) == Health::Untried;
        self.places
            .iter()
            .any(|place| !place.drain && untried(place))
    }

    /// Tells whether an upstream is left that was not tried.
    pub(crate) fn has_other(&self, tried: u64, now: Instant) -> bool {
        let places = 0..self.places.len();
        places
            .into_iter()
            .any(|at| self.fits(at, tried, now, Want::Resting))
    }

    /// Finds the upstream of one of several pins.
    fn pinned(&self, pins: &str) -> Option<usize> {
        let shows = |place: &Place| {
            let mut pins = pins.split('.');
            pins.any(|pin| bool::from(place.pin.as_bytes().ct_eq(pin.as_bytes())))
        };
        self.places.iter().position(shows)
    }

    fn by_turn(&self, first: usize, tried: u64, now: Instant, want: Want) -> Option<usize> {
        let count = self.turns.len();
        let first = first.checked_rem(count)?;
        let turns = self.turns.iter().cycle().skip(first).take(count).copied();
        let mut fit = turns.filter(|at| self.fits(*at, tried, now, want));
        match self.balance {
            Balance::RoundRobin => fit.next(),
            Balance::LeastConnections => fit.min_by_key(|at| self.load(*at)),
        }
    }

    /// The requests under way for each unit of weight, in thousandths.
    fn load(&self, at: usize) -> u64 {
        let Some(place) = self.places.get(at) else {
            return u64::MAX;
        };
        let open = u64::try_from(place.member.open()).unwrap_or(u64::MAX);
        open.saturating_mul(1000) / u64::from(place.weight.max(1))
    }

    fn fits(&self, at: usize, tried: u64, now: Instant, want: Want) -> bool {
        let Some(place) = self.places.get(at) else {
            return false;
        };
        if tried & bit(at) != 0 {
            return false;
        }
        match (place.member.health(now), want) {
            (Health::Down, _)
            | (Health::Out, Want::Pinned | Want::Well | Want::Leaving | Want::Untried)
            | (Health::Untried, Want::Well | Want::Leaving) => false,
            (_, Want::Draining) | (Health::Up, Want::Leaving) | (_, Want::Pinned) => true,
            (_, Want::Well | Want::Untried | Want::Resting) => !place.drain,
        }
    }

    /// Counts a request at an upstream.
    pub(crate) fn enter(&self, choice: Choice) -> Option<InUse> {
        let place = self.places.get(choice.at)?;
        self.load
            .budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |b| {
                (b < BUDGET).then_some(b + 1)
            })
            .ok();
        Some(InUse::of(&place.member))
    }

    /// Takes a second try from the budget; `false` when too many requests were tried again of late.
    pub(crate) fn may_retry(&self) -> bool {
        let take = |b: i64| (b >= TRY).then_some(b - TRY);
        self.load
            .budget
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }

    /// Describes the connection to an upstream.
    ///
    /// # Errors
    /// Why there can be none.
    pub(crate) fn peer(
        &self,
        choice: Choice,
        address: Address,
        limits: Limits,
        upgrade: bool,
    ) -> Result<HttpPeer, String> {
        let place = self.places.get(choice.at).ok_or("no such upstream")?;
        place.peer(address, limits, upgrade)
    }
}

impl Place {
    /// Describes the connection to the upstream.
    ///
    /// # Errors
    /// Why there can be none.
    pub(super) fn peer(
        &self,
        address: Address,
        limits: Limits,
        upgrade: bool,
    ) -> Result<HttpPeer, String> {
        let tls = self.tls.as_ref().map_err(Clone::clone)?;
        let encrypted = self.member.to.tls;
        let name = match (&tls.name, &self.member.to.at) {
            _ if !encrypted => String::new(),
            (Some(name), _) => name.clone(),
            (None, At::Net(host, _)) => host.clone(),
            (None, At::Unix(_)) => return Err("no name to verify".to_owned()),
        };
        let mut peer = match address {
            Address::Net(address) => HttpPeer::new(address, encrypted, name),
            Address::Unix(path) => {
                HttpPeer::new_uds(&path, false, String::new()).map_err(|e| e.to_string())?
            }
        };
        peer.group_key = self.group;
        peer.client_cert_key.clone_from(&tls.identity);
        peer.options.ca.clone_from(&tls.ca);
        peer.options.connection_timeout = Some(limits.connect);
        peer.options.total_connection_timeout = Some(limits.connect.saturating_mul(2));
        peer.options.read_timeout = limits.read;
        peer.options.write_timeout = Some(POOLED);
        peer.options.idle_timeout = Some(POOLED);
        if self.member.to.http2 {
            // one stream a connection: what cuts, stalls or delays one request touches no other
            peer.options.alpn = ALPN::H2;
            peer.options.max_h2_streams = 1;
            peer.options.h2_stream_window_size = Some(WINDOW);
            peer.options.h2_connection_window_size = Some(WINDOW);
        }
        peer.options.http_upstream_request_policy = if upgrade {
            HttpUpstreamRequestPolicy::default()
        } else {
            HttpUpstreamRequestPolicy::deny_upgrades()
        };
        Ok(peer)
    }
}

/// Which upstreams a choice is made from.
#[derive(Clone, Copy, Debug)]
enum Want {
    /// The one a browser is pinned to, draining or not.
    Pinned,
    /// Those that are well and take new browsers.
    Well,
    /// Those that are well, draining or not.
    Leaving,
    /// Those whose check has not passed yet as well.
    Untried,
    /// Those that rest as well.
    Resting,
    /// All but those whose check fails.
    Draining,
}

/// The bit of a place among those that were tried.
pub(crate) fn bit(at: usize) -> u64 {
    1_u64
        .checked_shl(u32::try_from(at).unwrap_or(u32::MAX))
        .unwrap_or(0)
}

/// Deals turns by weight, so that a heavy one is not asked many times in a row.
fn turns(weights: &[u32]) -> Vec<usize> {
    let total: i64 = weights.iter().map(|w| i64::from(*w)).sum();
    let mut credit: Vec<i64> = vec![0; weights.len()];
    let mut turns = Vec::new();
    for _ in 0..total {
        for (credit, weight) in credit.iter_mut().zip(weights) {
            *credit += i64::from(*weight);
        }
        // the first of the greatest
        let best = (0..credit.len())
            .rev()
            .max_by_key(|at| credit.get(*at).copied());
        let Some(best) = best else { break };
        if let Some(credit) = credit.get_mut(best) {
            *credit -= total;
        }
        turns.push(best);
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::turns;

    #[test]
    fn turns_follow_the_weights_and_are_mixed() {
        assert_eq!(turns(&[1, 1]), [0, 1]);
        assert_eq!(turns(&[3, 1]), [0, 0, 1, 0]);
        assert_eq!(turns(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(turns(&[]), Vec::<usize>::new());
    }
}
