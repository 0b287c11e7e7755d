//! Notices a key that is used in two places at once.
//!
//! An initiator sends on its newest session from the moment it has the response and never returns
//! to an earlier one of its own (read in Linux's noise.c, wireguard-go's noise-protocol.go and
//! boringtun). Authentic data on an earlier session of the device's own
//! making, after data on a later one, therefore comes from a second holder of the key, wherever
//! either of them is: roaming, also to and fro and with a handshake at each place, cannot look
//! like that. Two things can, and are left out:
//!
//! - Packets that were under way when the later session began, perhaps in the queue of a network
//!   the device has left: for [`SETTLED`] after the first data on it nothing is concluded.
//! - Sessions that the gateway initiated: both ends may start a handshake at once, and then it is
//!   the device's choice on which of the two it sends.
//!
//! A session lives 180 s, so twins are noticed when both use the tunnel within that time. Who can
//! hold packets back on the way can feign a twin, which costs the device one sign-in; dropping
//! them costs it more.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// REKEY-TIMEOUT of the paper, section 6.1: what was sent before a handshake that long ago has
/// arrived or is lost.
pub(crate) const SETTLED: Duration = Duration::from_secs(5);
/// The least time between two alarms.
const AGAIN: Duration = Duration::from_secs(10);
/// boringtun keeps as many sessions.
const KEPT: usize = 8;

/// The sessions a device made, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    made: VecDeque<Made>,
    alarmed: Option<Instant>,
}

#[derive(Debug)]
struct Made {
    /// The receiver index of its data messages.
    index: u32,
    used: Option<Use>,
}

#[derive(Debug, Clone, Copy)]
struct Use {
    since: Instant,
    from: SocketAddr,
}

impl Sessions {
    /// Notes that an initiation of the device was answered with `index`.
    pub(crate) fn made(&mut self, index: u32) {
        self.made.retain(|made| made.index != index);
        if self.made.len() >= KEPT {
            self.made.pop_front();
        }
        self.made.push_back(Made { index, used: None });
    }

    /// Notes authentic data; returns where the other holder of the key is, once for each alarm.
    pub(crate) fn used(
        &mut self,
        index: u32,
        from: SocketAddr,
        now: Instant,
    ) -> Option<SocketAddr> {
        if self.made.back().is_some_and(|newest| {
            newest.index == index && newest.used.is_some_and(|used| used.from == from)
        }) {
            return None;
        }
        let place = self.made.iter().position(|made| made.index == index)?;
        let since = |made: &Made| made.used.map_or(now, |used| used.since);
        if let Some(made) = self.made.get_mut(place) {
            let since = since(made);
            made.used = Some(Use { since, from });
        }
        let later = self
            .made
            .iter()
            .skip(place + 1)
            .filter_map(|made| made.used);
        let mut settled = later.filter(|later| {
            later.from != from && now.saturating_duration_since(later.since) >= SETTLED
        });
        let other = settled.next_back()?.from;
        let lately = |then| now.saturating_duration_since(then) < AGAIN;
        if self.alarmed.is_some_and(lately) {
            return None;
        }
        self.alarmed = Some(now);
        Some(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::tests::epoch;

    fn at(last: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, last], 51820))
    }

    #[test]
    fn an_earlier_session_used_after_a_later_one_is_a_twin_once_it_has_settled() {
        let (mut sessions, start) = (Sessions::default(), epoch());
        sessions.made(1);
        assert_eq!(sessions.used(1, at(1), start), None);
        sessions.made(2);
        assert_eq!(sessions.used(2, at(2), start), None);
        let early = start + SETTLED - Duration::from_millis(1);
        assert_eq!(sessions.used(1, at(1), early), None);
        assert_eq!(sessions.used(1, at(1), start + SETTLED), Some(at(2)));
    }

    #[test]
    fn an_alarm_is_repeated_after_ten_seconds_and_not_before() {
        let (mut sessions, start) = (Sessions::default(), epoch());
        sessions.made(1);
        sessions.made(2);
        sessions.used(2, at(2), start);
        let mut now = start + SETTLED;
        assert!(sessions.used(1, at(1), now).is_some());
        now += AGAIN - Duration::from_millis(1);
        assert!(sessions.used(1, at(1), now).is_none());
        now += Duration::from_millis(1);
        assert!(sessions.used(1, at(1), now).is_some());
    }

    #[test]
    fn roaming_to_and_fro_is_no_twin_with_or_without_a_handshake_at_each_place() {
        let (mut sessions, start) = (Sessions::default(), epoch());
        for round in 0..40_u32 {
            let now = start + Duration::from_secs(6) * round;
            let here = at(1 + u8::try_from(round % 2).unwrap());
            if round.is_multiple_of(3) {
                sessions.made(round);
            }
            let newest = round - round % 3;
            assert_eq!(sessions.used(newest, here, now), None, "{round}");
        }
    }

    #[test]
    fn a_later_session_that_was_never_used_and_one_of_the_gateway_prove_nothing() {
        let (mut sessions, start) = (Sessions::default(), epoch());
        sessions.made(1);
        sessions.used(1, at(1), start);
        sessions.made(2);
        let now = start + SETTLED * 4;
        assert_eq!(sessions.used(1, at(3), now), None);
        assert_eq!(sessions.used(99, at(2), now), None);
        assert_eq!(sessions.used(1, at(1), now + SETTLED), None);
    }

    #[test]
    fn no_more_than_eight_sessions_are_remembered() {
        let mut sessions = Sessions::default();
        for index in 0..1000 {
            sessions.made(index);
        }
        assert_eq!(sessions.made.len(), KEPT);
    }
}
