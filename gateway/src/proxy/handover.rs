//! Hand-over: how one sign-in becomes a cookie of each app host, once and bound to the browser.
//!
//! 1. A navigation without a session on an app host leaves with a nonce cookie of that host and
//!    an opaque return id; the target stays here.
//! 2. After sign-in the sign-in host sends the browser to `/.postern/open?code=...` there.
//! 3. The code works once, for 30 s, with that nonce, on that host, and is gone from the URL by
//!    the redirect that consumes it.
//!
//! Source: security.md R-CS-07, R-CS-12.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::ids::{SessionId, token};
use crate::justify::Asked;
use crate::limits::{Source, Tally};

const TARGET_LIFE: Duration = Duration::from_secs(15 * 60);
const CODE_LIFE: Duration = Duration::from_secs(30);
const MOST: usize = 10_000;
/// A family of tabs needs a few; a whole office behind one address some dozens.
const MOST_OF_ONE: usize = 256;

/// Where a browser wanted to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Return {
    /// Canonical host of the app.
    pub(crate) host: String,
    /// Authority as the browser wrote it: host and, where it differs from 443, port.
    pub(crate) authority: String,
    /// Path and query, canonical.
    pub(crate) path_and_query: String,
    nonce: [u8; 32],
    /// The area there that wants to know why its person comes.
    pub(crate) asked: Option<Asked>,
}

struct Code {
    session: SessionId,
    target: Return,
}

/// The pending hand-overs; bounded, oldest out first, and no source can push out the others'.
#[derive(Default)]
pub(crate) struct Handover {
    returns: Mutex<Pending<String, Return>>,
    codes: Mutex<Pending<[u8; 32], Code>>,
}

/// A bounded map in order of age, with a share for each source.
struct Pending<K, V> {
    map: HashMap<K, (V, Source, Instant)>,
    order: VecDeque<K>,
    sources: Tally<Source>,
}

impl<K, V> Default for Pending<K, V> {
    fn default() -> Self {
        Self {
            map: HashMap::new(),
            order: VecDeque::new(),
            sources: Tally::default(),
        }
    }
}

impl<K: Clone + Eq + Hash, V> Pending<K, V> {
    fn put(&mut self, key: K, value: V, source: IpAddr, now: Instant, life: Duration) {
        let source = Source::of(source);
        self.drop_old(now, life);
        if self.sources.of(&source) >= MOST_OF_ONE {
            let own = |k: &&K| self.map.get(*k).is_some_and(|(_, s, _)| *s == source);
            if let Some(oldest) = self.order.iter().find(own).cloned() {
                self.take(&oldest);
            }
        } else if self.map.len() >= MOST
            && let Some(oldest) = self.order.front().cloned()
        {
            self.take(&oldest);
        }
        self.order.push_back(key.clone());
        self.sources.add(source);
        self.map.insert(key, (value, source, now));
    }

    fn peek(&self, key: &K, now: Instant, life: Duration) -> Option<&V> {
        let (value, _, since) = self.map.get(key)?;
        fresh(*since, now, life).then_some(value)
    }

    fn redeem(&mut self, key: &K, now: Instant, life: Duration) -> Option<V> {
        let (value, since) = self.take(key)?;
        fresh(since, now, life).then_some(value)
    }

    fn take(&mut self, key: &K) -> Option<(V, Instant)> {
        let (value, source, since) = self.map.remove(key)?;
        self.order.retain(|k| k != key);
        self.sources.take(&source);
        Some((value, since))
    }

    fn drop_old(&mut self, now: Instant, life: Duration) {
        while let Some(oldest) = self.order.front().cloned() {
            let old = self
                .map
                .get(&oldest)
                .is_none_or(|(_, _, at)| !fresh(*at, now, life));
            if !old {
                return;
            }
            self.take(&oldest);
        }
    }
}

/// What a browser that must sign in leaves with.
pub(crate) struct Departure {
    /// The opaque return id for the sign-in URL.
    pub(crate) rt: String,
    /// The nonce for the app host's cookie.
    pub(crate) nonce: String,
}

impl Handover {
    /// Keeps where the browser wanted to go. `nonce` is the one its cookie already holds, so
    /// that several tabs can sign in side by side.
    pub(crate) fn depart(
        &self,
        host: &str,
        authority: &str,
        path_and_query: &str,
        nonce: Option<&str>,
        source: IpAddr,
        now: Instant,
    ) -> Departure {
        let nonce = nonce.map_or_else(token, str::to_owned);
        let rt = token();
        let target = Return {
            host: host.to_owned(),
            authority: authority.to_owned(),
            path_and_query: path_and_query.to_owned(),
            nonce: digest(&nonce),
            asked: None,
        };
        let mut returns = self.returns.lock();
        returns.put(rt.clone(), target, source, now, TARGET_LIFE);
        Departure { rt, nonce }
    }

    /// Notes that a return id leads to where people are asked why they come.
    pub(crate) fn ask(&self, rt: &str, asked: Asked) {
        let mut returns = self.returns.lock();
        if let Some((target, ..)) = returns.map.get_mut(rt) {
            target.asked = Some(asked);
        }
    }

    /// Looks up where a return id leads.
    pub(crate) fn target(&self, rt: &str, now: Instant) -> Option<Return> {
        let returns = self.returns.lock();
        returns.peek(&rt.to_owned(), now, TARGET_LIFE).cloned()
    }

    /// Returns the exact origin a return id leads to.
    pub(crate) fn target_origin(&self, rt: &str, now: Instant) -> Option<String> {
        self.target(rt, now)
            .map(|t| format!("https://{}", t.authority))
    }

    /// Uses up a return id that leads to a page of the sign-in host itself: no code is needed there.
    pub(crate) fn home(&self, rt: &str, host: &str, now: Instant) -> Option<String> {
        let target = self.target(rt, now).filter(|target| target.host == host)?;
        self.returns.lock().take(&rt.to_owned());
        Some(target.path_and_query)
    }

    /// Uses up a return id for a signed-in session and returns the URL that hands it over.
    pub(crate) fn arrive(
        &self,
        rt: &str,
        session: SessionId,
        source: IpAddr,
        now: Instant,
    ) -> Option<String> {
        let mut returns = self.returns.lock();
        let target = returns.redeem(&rt.to_owned(), now, TARGET_LIFE)?;
        drop(returns);
        let code = token();
        let url = format!("https://{}/.postern/open?code={code}", target.authority);
        let code = (digest(&code), Code { session, target });
        let mut codes = self.codes.lock();
        codes.put(code.0, code.1, source, now, CODE_LIFE);
        Some(url)
    }

    /// Consumes a code on the app host; the session and where to go on success. A wrong host or
    /// nonce uses the code up as well.
    pub(crate) fn open(
        &self,
        code: &str,
        nonce: Option<&str>,
        host: &str,
        now: Instant,
    ) -> Option<(SessionId, String)> {
        let mut codes = self.codes.lock();
        let code = codes.redeem(&digest(code), now, CODE_LIFE)?;
        let bound = nonce.is_some_and(|n| digest(n) == code.target.nonce);
        (bound && code.target.host == host).then_some((code.session, code.target.path_and_query))
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn fresh(since: Instant, now: Instant, life: Duration) -> bool {
    now.saturating_duration_since(since) <= life
}

#[cfg(test)]
mod tests {
    use super::{CODE_LIFE, Handover, MOST, MOST_OF_ONE, TARGET_LIFE};
    use crate::clock;
    use crate::ids::SessionId;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Instant;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn leave(h: &Handover, now: Instant) -> super::Departure {
        h.depart("app.example", "app.example:8443", "/a?b", None, HERE, now)
    }

    fn code_of(url: &str) -> &str {
        url.split_once("code=").unwrap().1
    }

    #[test]
    fn a_code_opens_the_page_asked_for_once() {
        let (h, now) = (Handover::default(), clock::now());
        let d = leave(&h, now);
        assert_eq!(
            h.target_origin(&d.rt, now).unwrap(),
            "https://app.example:8443"
        );
        let url = h.arrive(&d.rt, SessionId(1), HERE, now).unwrap();
        assert!(url.starts_with("https://app.example:8443/.postern/open?code="));
        let open = |code| h.open(code, Some(&d.nonce), "app.example", now);
        assert_eq!(open(code_of(&url)), Some((SessionId(1), "/a?b".to_owned())));
        assert_eq!(open(code_of(&url)), None);
        assert_eq!(h.arrive(&d.rt, SessionId(1), HERE, now), None);
    }

    #[test]
    fn the_way_back_to_the_sign_in_host_needs_no_code_and_is_used_once() {
        let (h, now) = (Handover::default(), clock::now());
        let d = h.depart("gate.example", "gate.example", "/admin?a", None, HERE, now);
        assert_eq!(h.home(&d.rt, "app.example", now), None);
        assert_eq!(
            h.home(&d.rt, "gate.example", now),
            Some("/admin?a".to_owned())
        );
        assert_eq!(h.home(&d.rt, "gate.example", now), None);
    }

    #[test]
    fn a_code_is_nothing_to_another_browser_host_or_time() {
        let (h, now) = (Handover::default(), clock::now());
        let late = now + CODE_LIFE * 2;
        for (nonce, host, at) in [
            (None, "app.example", now),
            (Some("other"), "app.example", now),
            (Some("right"), "evil.example", now),
            (Some("right"), "app.example", late),
        ] {
            let d = leave(&h, now);
            let url = h.arrive(&d.rt, SessionId(1), HERE, now).unwrap();
            let nonce = nonce.map(|n| if n == "right" { d.nonce.as_str() } else { n });
            assert_eq!(h.open(code_of(&url), nonce, host, at), None);
            assert_eq!(
                h.open(code_of(&url), Some(&d.nonce), "app.example", now),
                None
            );
        }
    }

    #[test]
    fn a_target_ages_out() {
        let (h, now) = (Handover::default(), clock::now());
        let first = leave(&h, now);
        assert!(h.target(&first.rt, now).is_some());
        assert!(h.target(&first.rt, now + TARGET_LIFE * 2).is_none());
    }

    #[test]
    fn one_source_pushes_out_only_its_own() {
        let (h, now) = (Handover::default(), clock::now());
        let there = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
        let kept = h.depart("a.example", "a.example", "/", None, there, now);
        let first = leave(&h, now);
        for _ in 0..MOST_OF_ONE {
            leave(&h, now);
        }
        assert!(h.target(&kept.rt, now).is_some());
        assert!(h.target(&first.rt, now).is_none());
    }

    #[test]
    fn the_addresses_of_one_ipv6_site_share_its_places() {
        let (h, now) = (Handover::default(), clock::now());
        let of = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
        let first = h.depart("a.example", "a.example", "/", None, of(0), now);
        for n in 1..=u16::try_from(MOST_OF_ONE).unwrap() {
            h.depart("a.example", "a.example", "/", None, of(n), now);
        }
        assert!(h.target(&first.rt, now).is_none());
    }

    #[test]
    fn the_whole_is_bounded() {
        let (h, now) = (Handover::default(), clock::now());
        for n in 0..u32::try_from(MOST).unwrap() + 5 {
            let source = IpAddr::V4(Ipv4Addr::from(n));
            h.depart("a.example", "a.example", "/", None, source, now);
        }
        assert_eq!(h.returns.lock().map.len(), MOST);
        assert_eq!(h.returns.lock().order.len(), MOST);
    }
}
