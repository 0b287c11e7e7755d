//! Why people say they come: the reason given for an area that asks for one, while it holds.
//!
//! It stands in memory only: after a restart people are asked once more. What was said is in the
//! journal, in the record of each decision it was given for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::ids::SessionId;

/// Characters of a reason, least and most.
const LENGTH: std::ops::RangeInclusive<usize> = 3..=200;
/// Areas for which one session may have reasons at once; of more the oldest is forgotten.
const MOST: usize = 64;

/// Which area asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The id of the app, such as `app.crm`.
    pub(crate) app: Arc<str>,
    /// Its area, and for how long a reason holds.
    pub(crate) justify: Arc<policy::front::Justify>,
}

impl Asked {
    /// For how long a reason holds.
    pub(crate) fn hold(&self) -> Duration {
        Duration::from_secs(self.justify.hold.into())
    }

    fn is_of(&self, app: &str, area: &str) -> bool {
        *self.app == *app && self.justify.area == area
    }
}

/// What a person said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason(Arc<str>);

impl Reason {
    /// Reads what a person wrote: words in one line, of which a journal can be read aloud.
    ///
    /// `None` when it is shorter than 3 or longer than 200 characters.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let words = text.split(|c: char| c.is_whitespace() || is_unseen(c));
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let line = words.join(" ");
        LENGTH
            .contains(&line.chars().count())
            .then(|| Self(line.into()))
    }

    /// Its text.
    pub(crate) fn text(&self) -> &Arc<str> {
        &self.0
    }
}

/// Whether a character shows nothing itself, or turns what stands beside it around.
fn is_unseen(c: char) -> bool {
    let marks = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    c.is_control() || marks
}

struct Given {
    asked: Asked,
    reason: Reason,
    at: Instant,
}

impl Given {
    fn holds(&self, hold: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < hold
    }
}

/// The reasons that were given, by session.
#[derive(Default)]
pub(crate) struct Reasons(Mutex<HashMap<SessionId, Vec<Given>>>);

impl Reasons {
    /// Keeps the reason a session gave for an area, in place of an earlier one.
    pub(crate) fn give(&self, session: SessionId, asked: &Asked, reason: Reason, now: Instant) {
        let mut all = self.0.lock();
        all.retain(|_, given| {
            given.retain(|g| g.holds(g.asked.hold(), now));
            !given.is_empty()
        });
        let own = all.entry(session).or_default();
        own.retain(|g| !g.asked.is_of(&asked.app, &asked.justify.area));
        if own.len() >= MOST {
            own.remove(0);
        }
        own.push(Given {
            asked: asked.clone(),
            reason,
            at: now,
        });
    }

    /// Finds the reason a session gave for an area, if it holds by what the policy says now.
    pub(crate) fn find(&self, session: SessionId, asked: &Asked, now: Instant) -> Option<Reason> {
        let all = self.0.lock();
        let mut own = all.get(&session)?.iter();
        let given = own.find(|g| g.asked.is_of(&asked.app, &asked.justify.area))?;
        let hold = asked.hold().min(given.asked.hold());
        given.holds(hold, now).then(|| given.reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Asked, MOST, Reason, Reasons};
    use crate::clock;
    use crate::ids::SessionId;

    fn asked(area: &str, hold: u32) -> Asked {
        Asked {
            app: "app.crm".into(),
            justify: Arc::new(policy::front::Justify {
                hold,
                area: area.to_owned(),
            }),
        }
    }

    fn reason(text: &str) -> Reason {
        Reason::parse(text).unwrap()
    }

    #[test]
    fn a_reason_is_one_line_of_words() {
        for (text, read) in [
            ("  ticket\r\n 4711\t", "ticket 4711"),
            ("a\u{202e}b\u{0}c\u{200b}", "a b c"),
            ("été", "été"),
        ] {
            assert_eq!(&**reason(text).text(), read);
        }
        let long = "x".repeat(200);
        assert_eq!(&**reason(&long).text(), long);
        for bad in [
            "",
            "  \n ",
            "ab",
            "\u{200b}\u{200b}\u{200b}",
            &"x".repeat(201),
        ] {
            assert_eq!(Reason::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_reason_holds_for_its_session_its_area_and_its_time() {
        let (reasons, now) = (Reasons::default(), clock::now());
        let (own, other) = (SessionId::draw(), SessionId::draw());
        let files = asked("/files", 60);
        reasons.give(own, &files, reason("ticket 4711"), now);
        let later = |secs| now + Duration::from_secs(secs);
        assert_eq!(
            reasons.find(own, &files, later(59)),
            Some(reason("ticket 4711"))
        );
        assert_eq!(reasons.find(own, &files, later(60)), None);
        assert_eq!(reasons.find(other, &files, now), None);
        assert_eq!(reasons.find(own, &asked("/", 60), now), None);
        // a policy that asks more often counts at once, and one that asks less often for the next reason
        assert_eq!(reasons.find(own, &asked("/files", 30), later(30)), None);
        assert_eq!(reasons.find(own, &asked("/files", 600), later(60)), None);
        reasons.give(own, &files, reason("another"), later(10));
        assert_eq!(
            reasons.find(own, &files, later(69)),
            Some(reason("another"))
        );
    }

    #[test]
    fn what_is_kept_is_bounded_and_old_reasons_leave_nothing() {
        let (reasons, now) = (Reasons::default(), clock::now());
        let own = SessionId::draw();
        for n in 0..=MOST {
            reasons.give(own, &asked(&format!("/{n}"), 60), reason("why"), now);
        }
        assert_eq!(reasons.find(own, &asked("/0", 60), now), None);
        assert!(reasons.find(own, &asked("/1", 60), now).is_some());
        let later = now + Duration::from_secs(60);
        reasons.give(SessionId::draw(), &asked("/", 60), reason("why"), later);
        assert_eq!(reasons.0.lock().len(), 1);
    }
}
