//! Hand-over: how one sign-in becomes a cookie of each app host, once and bound to the browser.
//!
//! 1. A navigation without a session on an app host leaves with a nonce cookie of that host and
//!    an opaque return id; the target stays here.
//! 2. After sign-in the sign-in host sends the browser to `/.postern/open?code=...` there.
//! 3. The code works once, for 30 s, with that nonce, on that host, and is gone from the URL by
//!    the redirect that consumes it.
//!
//! Source: security.md R-CS-07, R-CS-12.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::ids::{SessionId, token};

const TARGET_LIFE: Duration = Duration::from_secs(15 * 60);
const CODE_LIFE: Duration = Duration::from_secs(30);
const MOST: usize = 10_000;

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
    since: Instant,
}

struct Code {
    session: SessionId,
    target: Return,
    since: Instant,
}

/// The pending hand-overs; bounded, oldest out first.
#[derive(Default)]
pub(crate) struct Handover {
    returns: Mutex<HashMap<String, Return>>,
    codes: Mutex<HashMap<[u8; 32], Code>>,
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
        now: Instant,
    ) -> Departure {
        let nonce = nonce.map_or_else(token, str::to_owned);
        let rt = token();
        let target = Return {
            host: host.to_owned(),
            authority: authority.to_owned(),
            path_and_query: path_and_query.to_owned(),
            nonce: digest(&nonce),
            since: now,
        };
        let mut returns = self.returns.lock();
        make_room(&mut returns, now, TARGET_LIFE, |r| r.since);
        returns.insert(rt.clone(), target);
        Departure { rt, nonce }
    }

    /// Looks up where a return id leads.
    pub(crate) fn target(&self, rt: &str, now: Instant) -> Option<Return> {
        let returns = self.returns.lock();
        let target = returns.get(rt)?;
        fresh(target.since, now, TARGET_LIFE).then(|| target.clone())
    }

    /// Returns the exact origin a return id leads to.
    pub(crate) fn target_origin(&self, rt: &str, now: Instant) -> Option<String> {
        self.target(rt, now)
            .map(|t| format!("https://{}", t.authority))
    }

    /// Uses up a return id for a signed-in session and returns the URL that hands it over.
    pub(crate) fn arrive(&self, rt: &str, session: SessionId, now: Instant) -> Option<String> {
        let target = self.returns.lock().remove(rt)?;
        if !fresh(target.since, now, TARGET_LIFE) {
            return None;
        }
        let code = token();
        let url = format!("https://{}/.postern/open?code={code}", target.authority);
        let mut codes = self.codes.lock();
        make_room(&mut codes, now, CODE_LIFE, |c| c.since);
        codes.insert(
            digest(&code),
            Code {
                session,
                target,
                since: now,
            },
        );
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
        let code = self.codes.lock().remove(&digest(code))?;
        let bound = nonce.is_some_and(|n| digest(n) == code.target.nonce);
        (bound && code.target.host == host && fresh(code.since, now, CODE_LIFE))
            .then_some((code.session, code.target.path_and_query))
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

fn fresh(since: Instant, now: Instant, life: Duration) -> bool {
    now.saturating_duration_since(since) <= life
}

fn make_room<K: Clone + Eq + std::hash::Hash, V>(
    map: &mut HashMap<K, V>,
    now: Instant,
    life: Duration,
    since: impl Fn(&V) -> Instant,
) {
    if map.len() < MOST {
        return;
    }
    map.retain(|_, v| fresh(since(v), now, life));
    if map.len() >= MOST {
        let oldest = map.iter().min_by_key(|(_, v)| since(v));
        if let Some(key) = oldest.map(|(k, _)| k.clone()) {
            map.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CODE_LIFE, Handover, MOST, TARGET_LIFE};
    use crate::clock;
    use crate::ids::SessionId;
    use std::time::Instant;

    fn leave(h: &Handover, now: Instant) -> super::Departure {
        h.depart("app.example", "app.example:8443", "/a?b", None, now)
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
        let url = h.arrive(&d.rt, SessionId(1), now).unwrap();
        assert!(url.starts_with("https://app.example:8443/.postern/open?code="));
        let open = |code| h.open(code, Some(&d.nonce), "app.example", now);
        assert_eq!(open(code_of(&url)), Some((SessionId(1), "/a?b".to_owned())));
        assert_eq!(open(code_of(&url)), None);
        assert_eq!(h.arrive(&d.rt, SessionId(1), now), None);
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
            let url = h.arrive(&d.rt, SessionId(1), now).unwrap();
            let nonce = nonce.map(|n| if n == "right" { d.nonce.as_str() } else { n });
            assert_eq!(h.open(code_of(&url), nonce, host, at), None);
            assert_eq!(
                h.open(code_of(&url), Some(&d.nonce), "app.example", now),
                None
            );
        }
    }

    #[test]
    fn a_target_ages_out_and_the_map_is_bounded() {
        let (h, now) = (Handover::default(), clock::now());
        let first = leave(&h, now);
        assert!(h.target(&first.rt, now).is_some());
        assert!(h.target(&first.rt, now + TARGET_LIFE * 2).is_none());
        let later = now + TARGET_LIFE * 2;
        for _ in 0..MOST + 5 {
            leave(&h, later);
        }
        assert!(h.returns.lock().len() <= MOST);
    }
}
