//! What the journal hears of sign-ins, the bans hear too: no door can forget to tell.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Bans, Offence};
use crate::audit::{AuditError, Event, Record, reason};
use crate::identity::Recorder;
use crate::ids::Door;

/// Failures that say nothing about guessing.
const HARMLESS: [&str; 7] = [
    reason::HALF_EXPIRED,
    reason::LINK_AWAITS,
    reason::REVOKED,
    reason::OVERLOADED,
    reason::INTERNAL,
    reason::THROTTLED,
    reason::SPRAYING,
];

/// A recorder that tells the bans of failures and throttled tries, whichever door they came by.
pub(crate) struct Watched {
    inner: Arc<dyn Recorder>,
    bans: Arc<Bans>,
}

impl Watched {
    /// Puts the bans before a recorder.
    pub(crate) fn new(inner: Arc<dyn Recorder>, bans: Arc<Bans>) -> Arc<Self> {
        Arc::new(Self { inner, bans })
    }

    fn hear(&self, record: &Record) {
        let Some(what) = offence(record) else {
            return;
        };
        match what {
            Offence::SignIn => self.bans.failed(record),
            Offence::Limited => self.bans.series(record),
            Offence::Probe | Offence::Scan => {}
        }
        if let Some(source) = record.source {
            let door = match record.device {
                Some(_) => Door::Tunnel,
                None => Door::Web,
            };
            self.bans.offence(door, source, what);
        }
    }
}

#[async_trait]
impl Recorder for Watched {
    async fn durable(&self, record: Record) -> Result<(), AuditError> {
        self.hear(&record);
        self.inner.durable(record).await
    }

    fn note(&self, record: Record) {
        self.hear(&record);
        self.inner.note(record);
    }
}

/// Tells what a record of the login engine says about its source.
fn offence(record: &Record) -> Option<Offence> {
    let guessed = record.outcome == "failed" && !HARMLESS.contains(&record.reason);
    match (record.event, record.reason) {
        (Event::Limited, reason::THROTTLED) => Some(Offence::Limited),
        (Event::SignInFailed | Event::FactorChanged, _) if guessed => Some(Offence::SignIn),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_passwords_codes_and_links_are_offences_and_delays_are_not() {
        for (event, why, what) in [
            (
                Event::SignInFailed,
                reason::BAD_PASSWORD,
                Some(Offence::SignIn),
            ),
            (
                Event::SignInFailed,
                reason::USER_UNKNOWN,
                Some(Offence::SignIn),
            ),
            (Event::SignInFailed, reason::BAD_CODE, Some(Offence::SignIn)),
            (
                Event::SignInFailed,
                reason::CODE_REPLAYED,
                Some(Offence::SignIn),
            ),
            (
                Event::FactorChanged,
                reason::ENROL_LINK_BAD,
                Some(Offence::SignIn),
            ),
            (
                Event::FactorChanged,
                reason::BAD_CODE,
                Some(Offence::SignIn),
            ),
            (Event::SignInFailed, reason::HALF_EXPIRED, None),
            (Event::SignInFailed, reason::REVOKED, None),
            (Event::SignInFailed, reason::OVERLOADED, None),
            (Event::SignInFailed, reason::INTERNAL, None),
            (Event::SessionEnded, reason::REVOKED, None),
        ] {
            assert_eq!(offence(&Record::new(event, "failed", why)), what, "{why}");
        }
        let limited = Record::new(Event::Limited, "limited", reason::THROTTLED);
        assert_eq!(offence(&limited), Some(Offence::Limited));
        for why in [
            reason::ENROLLED,
            reason::PASSWORD_SET,
            reason::ENROL_LINK_MADE,
        ] {
            let fine = Record::new(Event::FactorChanged, "ok", why);
            assert_eq!(offence(&fine), None, "{why}");
        }
        let entered = Record::new(Event::SignedIn, "ok", reason::SIGNED_IN);
        assert_eq!(offence(&entered), None);
    }
}
