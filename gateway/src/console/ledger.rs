//! The journal as the console reads it: which records are asked for, and what is told of each.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::audit::Event;
use crate::audit::newest::{Judged, Place};
use crate::control::Refusal;
use crate::explain::end::End;
use crate::explain::{Past, Which};

/// Reads the journal for one permitted request; that it is read is on record.
#[async_trait]
pub(crate) trait Ledger: Send + Sync {
    /// Gives a page of records, the newest first.
    ///
    /// # Errors
    /// The journal cannot be read, or too many read it already.
    async fn page(&self, asked: &Asked) -> Result<Listing, Refusal>;

    /// Waits a while for records newer than a number, and gives those there are, the newest first.
    ///
    /// # Errors
    /// As [`Ledger::page`], and when the caller may no longer look.
    async fn wait(&self, asked: &Asked, after: u64) -> Result<Listing, Refusal>;

    /// Explains a decision on record by the policy of now; `None` if there is no such record within
    /// reach.
    ///
    /// # Errors
    /// As [`Ledger::page`].
    async fn explain(&self, which: &Which) -> Result<Option<Told>, Refusal>;
}

/// Which records are asked for; an absent part asks for nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The person, whole.
    pub(crate) user: Option<String>,
    /// A host, the id of an app, net or guard, `admin`, or what a flow's address begins with.
    pub(crate) place: Option<String>,
    /// allow, deny, login, step-up, ok, failed or limited.
    pub(crate) outcome: Option<String>,
    /// A code such as `D-7K3QXN2A`.
    pub(crate) code: Option<String>,
    /// Not older, ms since the UNIX epoch.
    pub(crate) since: Option<u64>,
    /// Not newer, ms since the UNIX epoch.
    pub(crate) until: Option<u64>,
    /// Which events.
    pub(crate) events: Events,
    /// Only what is before this place.
    pub(crate) before: Option<Place>,
}

/// Which events are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Events {
    /// Decisions on requests and flows.
    #[default]
    Decisions,
    /// All.
    All,
    /// One.
    One(Event),
}

impl Events {
    fn take(self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::One(event) => name == event.name(),
            Self::Decisions => {
                let decided = [Event::AccessDecided, Event::FlowDecided, Event::Limited];
                decided.iter().any(|event| event.name() == name)
            }
        }
    }
}

/// A page of records.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Listing {
    /// The newest first.
    pub(crate) records: Vec<Entry>,
    /// Where older ones begin; absent at the end.
    pub(crate) older: Option<String>,
    /// Whether the search ended before it found as many as fit: older ones may match.
    pub(crate) cut: bool,
    /// The number of the last record when this was read.
    pub(crate) seq: u64,
}

/// A record, as much as a list shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its number.
    pub(crate) seq: u64,
    /// When, RFC 3339.
    pub(crate) time: String,
    /// What it is about.
    pub(crate) event: String,
    /// What came of it.
    pub(crate) outcome: Option<String>,
    /// Why, a closed code.
    pub(crate) reason: Option<String>,
    /// The rule that decided.
    pub(crate) rule: Option<String>,
    /// The person.
    pub(crate) user: Option<String>,
    /// The tunnel device.
    pub(crate) device: Option<String>,
    /// Where it came from.
    pub(crate) source: Option<String>,
    /// The host.
    pub(crate) host: Option<String>,
    /// The method.
    pub(crate) method: Option<String>,
    /// The path; of a flow, `tcp://ip:port`.
    pub(crate) path: Option<String>,
    /// The status of the answer.
    pub(crate) status: Option<u16>,
    /// The request.
    pub(crate) request_id: Option<String>,
    /// What a denied page showed.
    pub(crate) code: Option<String>,
    /// In words.
    pub(crate) detail: Option<String>,
    /// Of how many like records it is the sum.
    pub(crate) count: Option<u64>,
}

/// A decision on record, explained.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Told {
    /// The record.
    pub(crate) record: Entry,
    /// The answer of then and of now; absent where it cannot be decided again.
    pub(crate) past: Option<Past>,
    /// How its request ended, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<End>,
    /// Why it cannot be decided again, or by this policy not be explained.
    pub(crate) why_not: Option<String>,
    /// What `postern policy explain` says of it.
    pub(crate) text: String,
}

/// A day in ms: by so much a clock may have been set back within the journal.
const SLACK_MS: u64 = 86_400_000;

impl Asked {
    /// Judges a line of the journal. `app_of` finds the id of the app that a host belongs to.
    pub(crate) fn judge(&self, line: &[u8], app_of: &dyn Fn(&str) -> Option<String>) -> Judged {
        let Ok(entry) = serde_json::from_slice::<Entry>(line) else {
            return Judged::Pass;
        };
        if let Some(since) = self.since {
            if entry.is_before(since.saturating_sub(SLACK_MS)) {
                return Judged::Stop;
            }
            if entry.is_before(since) {
                return Judged::Pass;
            }
        }
        let is = |wanted: &Option<String>, found: &Option<String>| {
            wanted.is_none() || wanted.as_deref() == found.as_deref()
        };
        let taken = self.events.take(&entry.event)
            && is(&self.user, &entry.user)
            && is(&self.outcome, &entry.outcome)
            && is(&self.code, &entry.code)
            && self.until.is_none_or(|until| !entry.is_after(until))
            && self.place.as_ref().map_or_else(
                || !entry.is_own_reading(),
                |place| entry.is_at(place, app_of),
            );
        if taken { Judged::Take } else { Judged::Pass }
    }

    /// What is asked for, as the record of the reading has it.
    pub(crate) fn words(&self) -> String {
        let time = |ms: Option<u64>| ms.map(crate::clock::rfc3339);
        let before = self.before.as_ref().map(ToString::to_string);
        let filters = [
            ("user", self.user.clone()),
            ("place", self.place.clone()),
            ("outcome", self.outcome.clone()),
            ("code", self.code.clone()),
            ("since", time(self.since)),
            ("until", time(self.until)),
            ("before", before),
        ];
        let mut words = match self.events {
            Events::Decisions => "decisions".to_owned(),
            Events::All => "all records".to_owned(),
            Events::One(event) => event.name().to_owned(),
        };
        for (name, value) in filters {
            words.extend(value.map(|value| format!(" {name}={value}")));
        }
        words
    }
}

impl Entry {
    fn is_before(&self, unix_ms: u64) -> bool {
        self.time < crate::clock::rfc3339(unix_ms)
    }

    fn is_after(&self, unix_ms: u64) -> bool {
        self.time > crate::clock::rfc3339(unix_ms)
    }

    /// Whether it is there because somebody looks at such a list.
    fn is_own_reading(&self) -> bool {
        let reading = self
            .path
            .as_deref()
            .is_some_and(|path| path.starts_with("/admin/decisions"));
        reading
            && self
                .rule
                .as_deref()
                .is_some_and(|rule| rule.starts_with("admin#"))
    }

    fn is_at(&self, place: &str, app_of: &dyn Fn(&str) -> Option<String>) -> bool {
        let host = self.host.as_deref().unwrap_or_default();
        let path = self.path.as_deref().unwrap_or_default();
        if host == place || app_of(host).is_some_and(|app| app == place) {
            return true;
        }
        let rest = self
            .rule
            .as_deref()
            .and_then(|rule| rule.strip_prefix(place));
        let is_rule = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['#', '/', '=']));
        is_rule || (place.contains("://") && path.starts_with(place))
    }

    /// Writes what was asked for in one line.
    pub(crate) fn target(&self) -> String {
        let (host, path) = (self.host.as_deref(), self.path.as_deref());
        match (self.method.as_deref(), host, path) {
            (Some(method), host, path) => {
                let host = host.unwrap_or_default();
                format!("{method} {host}{}", path.unwrap_or_default())
            }
            (None, _, Some(path)) => path.to_owned(),
            (None, Some(host), None) => host.to_owned(),
            (None, None, None) => self.detail.clone().unwrap_or_default(),
        }
    }

    /// Whether it is a decision that can be explained.
    pub(crate) fn is_decision(&self) -> bool {
        let decided = [Event::AccessDecided, Event::FlowDecided];
        decided.iter().any(|event| event.name() == self.event)
    }

    /// The address of its own page.
    pub(crate) fn href(&self) -> String {
        match &self.code {
            Some(code) => format!("/admin/decisions/{code}"),
            None => format!("/admin/decisions/{}", self.seq),
        }
    }

    /// To the second, as lists show it.
    pub(crate) fn when(&self) -> String {
        let mut text: String = self.time.chars().take(19).collect();
        text = text.replace('T', " ");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Asked, Events, Judged};
    use crate::audit::Event;

    const DENIED: &str = r#"{"seq":7,"time":"2026-10-12T10:00:00.000Z","event":"access-decided.1","outcome":"deny","reason":"no-rule","rule":"builtin.default","user":"ines","device":null,"source":"192.0.2.7","host":"pay.example","method":"GET","path":"/admin","status":null,"request_id":"r","policy":"p","session":null,"bytes":null,"ms":null,"detail":null,"code":"D-7K3QXN2A","inputs":null,"chain":"x"}"#;
    const FLOW: &str = r#"{"seq":8,"time":"2026-10-12T10:00:01.000Z","event":"flow-decided.1","outcome":"allow","reason":"rule","rule":"net.ssh#it","user":"nadia","path":"tcp://10.0.0.1:22"}"#;
    const SIGNED: &str = r#"{"seq":9,"time":"2026-10-12T10:00:02.000Z","event":"signed-in.1","outcome":"ok","reason":"ok","user":"nadia"}"#;
    const READING: &str = r#"{"seq":10,"time":"2026-10-12T10:00:03.000Z","event":"access-decided.1","outcome":"allow","reason":"rule","rule":"admin#it","user":"nadia","host":"gate.example","method":"GET","path":"/admin/decisions"}"#;

    fn taken(asked: &Asked) -> Vec<u64> {
        let app_of = |host: &str| (host == "pay.example").then(|| "app.pay".to_owned());
        let lines = [DENIED, FLOW, SIGNED, READING, "{}", "no record"];
        let taken = |line: &&str| asked.judge(line.as_bytes(), &app_of) == Judged::Take;
        let seq = |line: &str| serde_json::from_str::<super::Entry>(line).unwrap().seq;
        lines.into_iter().filter(taken).map(seq).collect()
    }

    #[test]
    fn decisions_are_listed_and_looking_at_the_list_is_not() {
        assert_eq!(taken(&Asked::default()), [7, 8]);
        let all = Asked {
            events: Events::All,
            ..Asked::default()
        };
        assert_eq!(taken(&all), [7, 8, 9]);
        let one = Asked {
            events: Events::One(Event::SignedIn),
            ..Asked::default()
        };
        assert_eq!(taken(&one), [9]);
        let admin = Asked {
            place: Some("admin".to_owned()),
            ..Asked::default()
        };
        assert_eq!(taken(&admin), [10]);
    }

    #[test]
    fn each_filter_takes_its_own_and_nothing_else() {
        let asked = Asked::default;
        for (asked, want) in [
            (
                Asked {
                    user: Some("ines".to_owned()),
                    ..asked()
                },
                vec![7],
            ),
            (
                Asked {
                    user: Some("ine".to_owned()),
                    ..asked()
                },
                vec![],
            ),
            (
                Asked {
                    outcome: Some("allow".to_owned()),
                    ..asked()
                },
                vec![8],
            ),
            (
                Asked {
                    code: Some("D-7K3QXN2A".to_owned()),
                    ..asked()
                },
                vec![7],
            ),
            (
                Asked {
                    place: Some("pay.example".to_owned()),
                    ..asked()
                },
                vec![7],
            ),
            (
                Asked {
                    place: Some("app.pay".to_owned()),
                    ..asked()
                },
                vec![7],
            ),
            (
                Asked {
                    place: Some("app.pa".to_owned()),
                    ..asked()
                },
                vec![],
            ),
            (
                Asked {
                    place: Some("net.ssh".to_owned()),
                    ..asked()
                },
                vec![8],
            ),
            (
                Asked {
                    place: Some("net.ss".to_owned()),
                    ..asked()
                },
                vec![],
            ),
            (
                Asked {
                    place: Some("tcp://10.0.0.1".to_owned()),
                    ..asked()
                },
                vec![8],
            ),
            (
                Asked {
                    since: Some(1_791_799_201_000),
                    ..asked()
                },
                vec![8],
            ),
            (
                Asked {
                    until: Some(1_791_799_200_000),
                    ..asked()
                },
                vec![7],
            ),
        ] {
            assert_eq!(taken(&asked), want, "{asked:?}");
        }
    }

    #[test]
    fn what_is_much_older_ends_the_search() {
        let asked = Asked {
            since: Some(1_791_799_200_000 + 2 * super::SLACK_MS),
            ..Asked::default()
        };
        assert_eq!(asked.judge(DENIED.as_bytes(), &|_| None), Judged::Stop);
        let near = Asked {
            since: Some(1_791_799_200_000 + super::SLACK_MS / 2),
            ..Asked::default()
        };
        assert_eq!(near.judge(DENIED.as_bytes(), &|_| None), Judged::Pass);
    }

    #[test]
    fn a_line_names_what_was_asked_for() {
        let entry = |line: &str| serde_json::from_str::<super::Entry>(line).unwrap();
        assert_eq!(entry(DENIED).target(), "GET pay.example/admin");
        assert_eq!(entry(FLOW).target(), "tcp://10.0.0.1:22");
        assert_eq!(entry(DENIED).href(), "/admin/decisions/D-7K3QXN2A");
        assert_eq!(entry(FLOW).href(), "/admin/decisions/8");
        assert_eq!(entry(FLOW).when(), "2026-10-12 10:00:01");
    }
}
