//! Summing up floods of anonymous denials, so that none is unrecorded and none drowns the rest.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use super::Durability;
use super::event::Event;
use super::reason;
use super::record::{PATH_MAX, Record, Stamped, Sum};
use crate::limits::Source;

/// Records a source may have in a second before further ones are summed.
const PER_SECOND: u32 = 10;
/// Length of a window, ms.
const WINDOW_MS: u64 = 1000;
/// Sources watched at once; further ones share one place.
const SOURCES_MAX: usize = 4096;
/// Sums held at once; what finds no place is summed under its event alone, without a source.
const SUMS_MAX: usize = 4096;

/// The aggregator. `admit` every record, and write what `due` returns each second.
#[derive(Debug, Default)]
pub(super) struct Flood {
    window: u64,
    sources: HashMap<Option<Source>, u32>,
    sums: HashMap<Like, Stamped>,
}

/// Records that may stand in one line.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Like {
    source: Option<Source>,
    event: Event,
    outcome: &'static str,
    reason: &'static str,
    rule: Option<Arc<str>>,
    host: Option<Arc<str>>,
}

impl Like {
    fn of(source: Source, stamped: &Stamped) -> Self {
        let record = &stamped.record;
        Self {
            source: Some(source),
            event: record.event,
            outcome: record.outcome,
            reason: record.reason,
            rule: record.rule.clone(),
            host: record.host.clone(),
        }
    }

    /// The sum of last resort; as many of them as there are events, outcomes and reasons.
    fn anywhere(stamped: &Stamped) -> Self {
        Self {
            source: None,
            event: stamped.record.event,
            outcome: stamped.record.outcome,
            reason: stamped.record.reason,
            rule: None,
            host: None,
        }
    }
}

impl Flood {
    /// Tells whether a record may be summed at all: a batched refusal of somebody unknown, or
    /// their look at a page of the gateway's own.
    pub(super) fn concerns(stamped: &Stamped, durability: Durability) -> bool {
        let record = &stamped.record;
        durability == Durability::Batched
            && record.user.is_none()
            && record.source.is_some()
            && (record.reason == reason::OWN_PAGE || !matches!(record.outcome, "allow" | "ok"))
    }

    /// Gives the record back if it is to be written as it is; keeps it in a sum otherwise.
    pub(super) fn admit(&mut self, stamped: Stamped) -> Option<Stamped> {
        let Some(address) = stamped.record.source else {
            return Some(stamped);
        };
        let window = stamped.at / WINDOW_MS;
        if window != self.window {
            self.window = window;
            self.sources.clear();
        }
        let source = Source::of(address);
        let watched = self.sources.contains_key(&Some(source)) || self.sources.len() < SOURCES_MAX;
        let seen = self.sources.entry(watched.then_some(source)).or_default();
        *seen = seen.saturating_add(1);
        if *seen <= PER_SECOND {
            return Some(stamped);
        }
        self.sum(source, stamped);
        None
    }

    fn sum(&mut self, source: Source, mut stamped: Stamped) {
        let mut like = Like::of(source, &stamped);
        if !self.sums.contains_key(&like) && self.sums.len() >= SUMS_MAX {
            like = Like::anywhere(&stamped);
            stamped.record.source = None;
            stamped.record.rule = None;
            stamped.record.host = None;
            stamped.record.inputs = None;
        }
        let at = stamped.at;
        match self.sums.entry(like) {
            Entry::Vacant(place) => {
                place.insert(begin(stamped));
            }
            Entry::Occupied(place) => {
                let held = place.into_mut();
                keep_common(&mut held.record, &stamped.record);
                if let Some(sum) = &mut held.sum {
                    sum.count += 1;
                    sum.last = sum.last.max(at);
                }
            }
        }
    }

    /// Takes the sums whose window is over; all of them if `all`.
    pub(super) fn due(&mut self, now: u64, all: bool) -> Vec<Stamped> {
        let window = now / WINDOW_MS;
        let over = |stamped: &Stamped| all || stamped.at / WINDOW_MS != window;
        let mut due: Vec<Stamped> = self
            .sums
            .extract_if(|_, stamped| over(stamped))
            .map(|(_, stamped)| stamped)
            .collect();
        due.sort_by_key(|stamped| stamped.at);
        for stamped in &mut due {
            stamped.at = stamped.sum.map_or(stamped.at, |sum| sum.last);
        }
        due
    }
}

/// Makes the first record of a sum out of a record; what is its alone is dropped.
fn begin(mut stamped: Stamped) -> Stamped {
    let record = &mut stamped.record;
    record.request_id = None;
    record.bytes = None;
    record.ms = None;
    record.detail = None;
    record.code = None;
    if record
        .path
        .as_ref()
        .is_some_and(|path| path.len() > PATH_MAX)
    {
        // sums are held in memory, and such a path would be cut anyway
        record.path = None;
        record.inputs = None;
    }
    stamped.sum = Some(Sum {
        count: 1,
        first: stamped.at,
        last: stamped.at,
    });
    stamped
}

/// Drops what another record of the sum does not share. A sum that keeps its path and inputs stands
/// for so many times the same decision, and can be decided again as one.
fn keep_common(held: &mut Record, other: &Record) {
    let same = held.path == other.path && held.method == other.method;
    let alike = match (&held.inputs, &other.inputs) {
        (Some(held), Some(other)) => held.is_like(other),
        (None, None) => true,
        _ => false,
    };
    if !same {
        held.path = None;
        held.method = None;
    }
    if held.source != other.source {
        // an IPv6 source is a /64: its lower half may differ from record to record
        held.source = held.source.map(|ip| match ip {
            IpAddr::V4(_) => ip,
            IpAddr::V6(_) => Source::of(ip).network(),
        });
    }
    if !same || !alike || held.source != other.source {
        held.inputs = None;
    }
}

#[cfg(test)]
mod tests {
    use super::{Flood, SOURCES_MAX, SUMS_MAX};
    use crate::audit::record::{Record, Stamped};
    use crate::audit::{Durability, Event, Inputs, reason};

    const T: u64 = 1_700_000_000_000;

    fn denial(at: u64, source: &str) -> Stamped {
        let record = Record {
            source: Some(source.parse().unwrap()),
            ..Record::new(Event::AccessDecided, "login", reason::NOT_SIGNED_IN)
        };
        Stamped::new(at, record)
    }

    #[test]
    fn ten_a_second_are_written_and_the_rest_is_summed() {
        let mut flood = Flood::default();
        let written = (0..25).filter(|n| flood.admit(denial(T + n, "192.0.2.1")).is_some());
        assert_eq!(written.count(), 10);
        assert!(flood.due(T + 999, false).is_empty());
        let due = flood.due(T + 1000, false);
        assert_eq!(due.len(), 1);
        let sum = due[0].sum.unwrap();
        assert_eq!((sum.count, sum.first, sum.last), (15, T + 10, T + 24));
        assert!(flood.due(T + 2000, true).is_empty());
    }

    fn asked(n: u64, source: &str, path: &str) -> Stamped {
        let mut stamped = denial(T + n, source);
        stamped.record.path = Some(path.to_owned());
        stamped.record.inputs = Some(Box::new(Inputs {
            at: (T + n).cast_signed() / 1000,
            tunnel: false,
            zones: String::new(),
            class: policy::Device::Any,
            by: policy::Proof::SignIn,
            mfa_age: None,
            login_age: None,
            shadow: None,
            own: None,
            rate: None,
            headers: None,
            nearest: None,
            console: false,
        }));
        stamped
    }

    fn sum_of(records: impl Iterator<Item = Stamped>) -> Stamped {
        let mut flood = Flood::default();
        for record in records {
            flood.admit(record);
        }
        let mut due = flood.due(T, true);
        assert_eq!(due.len(), 1);
        due.remove(0)
    }

    #[test]
    fn a_sum_of_one_question_can_be_asked_again_and_one_of_several_cannot() {
        let one = sum_of((0..25).map(|n| asked(n, "192.0.2.1", "/a")));
        assert_eq!(one.record.path.as_deref(), Some("/a"));
        assert!(one.record.inputs.is_some());
        let paths = ["/a", "/b"];
        let several = sum_of(
            paths
                .iter()
                .cycle()
                .zip(0..25)
                .map(|(path, n)| asked(n, "192.0.2.1", path)),
        );
        assert_eq!(several.record.path, None);
        assert!(several.record.inputs.is_none());
    }

    #[test]
    fn a_sum_over_a_network_names_the_network_and_cannot_be_asked_again() {
        let at = |n: u64| format!("2001:db8::{n}");
        let one = sum_of((0..25).map(|n| asked(n, &at(1), "/a")));
        assert_eq!(one.record.source, Some("2001:db8::1".parse().unwrap()));
        assert!(one.record.inputs.is_some());
        let several = sum_of((0..25).map(|n| asked(n, &at(n + 1), "/a")));
        assert_eq!(several.record.source, Some("2001:db8::".parse().unwrap()));
        assert!(several.record.inputs.is_none());
    }

    #[test]
    fn a_sum_holds_no_path_that_its_line_would_cut() {
        let long = format!("/{}", "p".repeat(1024));
        let sum = sum_of((0..25).map(|n| asked(n, "192.0.2.1", &long)));
        assert_eq!(sum.record.path, None);
        assert!(sum.record.inputs.is_none());
    }

    #[test]
    fn ten_a_second_for_ever_are_never_summed() {
        let mut flood = Flood::default();
        for n in 0..100 {
            assert!(flood.admit(denial(T + n * 100, "192.0.2.1")).is_some());
        }
    }

    #[test]
    fn another_source_is_not_hit() {
        let mut flood = Flood::default();
        for n in 0..50 {
            flood.admit(denial(T + n, "192.0.2.1"));
        }
        assert!(flood.admit(denial(T + 60, "192.0.2.2")).is_some());
    }

    #[test]
    fn people_grants_and_durable_records_are_never_summed() {
        let denied = denial(T, "192.0.2.1");
        assert!(Flood::concerns(&denied, Durability::Batched));
        assert!(!Flood::concerns(&denied, Durability::Durable));
        let mut named = denied.clone();
        named.record.user = Some("demo".into());
        assert!(!Flood::concerns(&named, Durability::Batched));
        let mut granted = denied;
        granted.record.outcome = "allow";
        assert!(!Flood::concerns(&granted, Durability::Batched));
    }

    #[test]
    fn a_flood_of_sources_is_bounded_and_complete() {
        let mut flood = Flood::default();
        let sources = 3 * SOURCES_MAX;
        let mut written = 0;
        for n in 0..sources {
            let source = format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255);
            for _ in 0..12 {
                written += u64::from(flood.admit(denial(T, &source)).is_some());
            }
        }
        assert!(flood.sources.len() <= SOURCES_MAX + 1);
        assert!(flood.sums.len() <= SUMS_MAX + 1);
        let summed: u64 = flood
            .due(T, true)
            .iter()
            .map(|s| s.sum.unwrap().count)
            .sum();
        assert_eq!(written + summed, 12 * sources as u64);
    }
}
