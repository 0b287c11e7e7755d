//! The journal of the running gateway, as the console reads it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use policy::{Policy, Sources};
use tokio::sync::Semaphore;

use super::office::{Inner, Office};
use super::upstreams;
use crate::audit::again::{self, Line};
use crate::audit::newest::{Bounds, Found, Judged, newest};
use crate::audit::{Event, Record, reason};
use crate::cli::exit::chain;
use crate::clock;
use crate::console::{Asked, Entry, Ledger, Listing, Told};
use crate::control::{Code, Refusal};
use crate::explain::end::{End, Trail};
use crate::explain::{self, Then, Which};

/// Records on a page.
const PAGE: usize = 50;
/// The most records a waiting page is told of at once.
const NEW_MAX: usize = 100;
const LIST: Bounds = Bounds {
    bytes: 32 << 20,
    time: Duration::from_secs(2),
};
/// One record is looked for further back.
const FIND: Bounds = Bounds {
    bytes: 256 << 20,
    time: Duration::from_secs(5),
};
/// How long a page waits for new records, and how often it looks.
const WAIT: Duration = Duration::from_secs(20);
const ROUND: Duration = Duration::from_millis(250);
/// How long a reading waits for its turn.
const TURN: Duration = Duration::from_secs(3);

/// Readings at a time, so that those who look leave the disk to those who write.
static READERS: Semaphore = Semaphore::const_new(2);

#[async_trait]
impl Ledger for Office {
    async fn page(&self, asked: &Asked) -> Result<Listing, Refusal> {
        self.0.note_reading(&asked.words()).await?;
        self.0.read(asked, PAGE, None).await
    }

    async fn wait(&self, asked: &Asked, after: u64) -> Result<Listing, Refusal> {
        let end = clock::now().checked_add(WAIT);
        let mut after = after;
        loop {
            if !self.0.still_stands() {
                return Err(Refusal::new(Code::Permission, "no longer allowed"));
            }
            if self.0.gw.audit.seq() > after {
                let listing = self.0.read(asked, NEW_MAX, Some(after)).await?;
                if !listing.records.is_empty() {
                    return Ok(listing);
                }
                after = listing.seq;
            }
            if end.is_none_or(|end| clock::now() >= end) {
                let seq = after;
                return Ok(Listing {
                    seq,
                    ..Listing::default()
                });
            }
            tokio::time::sleep(ROUND).await;
        }
    }

    async fn explain(&self, which: &Which) -> Result<Option<Told>, Refusal> {
        self.0.note_reading(&format!("explain {which}")).await?;
        let dir = self.0.gw.config.data.join("audit");
        let (wanted, policy) = (which.clone(), Arc::clone(&self.0.snap.policy));
        let sources = self.0.sources_in_force();
        let (gw, snap) = (Arc::clone(&self.0.gw), Arc::clone(&self.0.snap));
        reading(move || {
            let kept = |digest: &str| {
                let folder = gw.history.of_digest(digest)?;
                Some(folder.sources(&gw.config.policy_dir))
            };
            let tell = |line: &[u8]| told(line, &policy, sources.as_ref(), &kept);
            if let Which::Request(id) = &wanted {
                let trail = Trail::read(&dir, id, FIND)?;
                let Some(mut told) = trail.main().and_then(tell) else {
                    return Ok(None);
                };
                let app_of = |host: &str| explain::app_of(&policy, host);
                let end = trail.ended.as_deref();
                let end = end.and_then(|line| End::read(line, upstreams(&gw, &snap), &app_of));
                told.text.extend(end.as_ref().map(End::to_text));
                told.end = end;
                return Ok(Some(told));
            }
            let mut judge = |line: &[u8]| is_wanted(&wanted, line);
            let found = newest(&dir, None, 1, FIND, &mut judge)?;
            let line = found.lines.into_iter().next();
            Ok(line.as_deref().and_then(tell))
        })
        .await
    }
}

impl Inner {
    /// Puts on record that the journal is read; nothing is read without.
    async fn note_reading(&self, what: &str) -> Result<(), Refusal> {
        let mut record = Record::new(Event::AuditRead, "ok", reason::JOURNAL_READ);
        record.user = Some(Arc::clone(&self.actor.session.user));
        record.rule = Some(Arc::clone(self.permit.rule()));
        record = self.stamp(record);
        record.detail = Some(format!("console: {what}"));
        let durability = record.durability();
        let written = self.gw.audit.write(record, durability).await;
        let closed = |error| Refusal::new(Code::Unavailable, chain(&error));
        written.map(drop).map_err(closed)
    }

    async fn read(
        &self,
        asked: &Asked,
        most: usize,
        after: Option<u64>,
    ) -> Result<Listing, Refusal> {
        let dir = self.gw.config.data.join("audit");
        let (asked, policy) = (asked.clone(), Arc::clone(&self.snap.policy));
        let seq = self.gw.audit.seq();
        let found = reading(move || {
            let app_of = |host: &str| explain::app_of(&policy, host);
            let mut judge = |line: &[u8]| match after {
                Some(after) if number(line).is_some_and(|seq| seq <= after) => Judged::Stop,
                _ => asked.judge(line, &app_of),
            };
            newest(&dir, asked.before.as_ref(), most, LIST, &mut judge)
        });
        Ok(listing(&found.await?, seq))
    }
}

fn listing(found: &Found, seq: u64) -> Listing {
    let entries = found.lines.iter();
    Listing {
        records: entries
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect(),
        older: found.older.as_ref().map(ToString::to_string),
        cut: found.cut,
        seq,
    }
}

/// Reads in its turn, away from the threads that serve.
async fn reading<T: Send + 'static>(
    read: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, Refusal> {
    let turn = tokio::time::timeout(TURN, READERS.acquire()).await;
    let Ok(Ok(_turn)) = turn else {
        let text = "the journal is being read by others; try again in a moment";
        return Err(Refusal::new(Code::Unavailable, text));
    };
    let read = tokio::task::spawn_blocking(read).await;
    let unreadable = |error| Refusal::new(Code::Unavailable, format!("the journal: {error}"));
    read.map_err(super::internal)?.map_err(unreadable)
}

/// The number that a line of the journal begins with.
fn number(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(b"{\"seq\":")?;
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
}

fn is_wanted(which: &Which, line: &[u8]) -> Judged {
    match which {
        Which::Seq(wanted) => match number(line) {
            Some(seq) if seq == *wanted => Judged::Take,
            Some(seq) if seq < *wanted => Judged::Stop,
            Some(_) | None => Judged::Pass,
        },
        Which::Code(code) => {
            let entry = serde_json::from_slice::<Entry>(line);
            match entry.is_ok_and(|entry| entry.code.as_ref() == Some(code)) {
                true => Judged::Take,
                false => Judged::Pass,
            }
        }
        // its records are read together
        Which::Request(_) => Judged::Pass,
    }
}

fn told(
    line: &[u8],
    policy: &Policy,
    sources: Option<&Sources>,
    kept: &dyn Fn(&str) -> Option<Sources>,
) -> Option<Told> {
    let record = serde_json::from_slice(line).ok()?;
    let unexplained = |why: &str| Told {
        why_not: Some(why.to_owned()),
        past: None,
        end: None,
        text: format!("{}\n", crate::audit::query::show(line)),
        record: Entry::clone(&record),
    };
    let decided = match again::read(line) {
        Line::Decided(decided) => decided,
        Line::Lost(lost, _) => return Some(unexplained(lost.why())),
        Line::Other => return Some(unexplained("not a decision")),
    };
    let (mut past, error) = explain::again(policy, &decided);
    let before = decided.policy.as_deref().filter(|_| past.policy_changed);
    let then = before.and_then(|digest| Then::ask(kept(digest)?, &decided));
    past.note(then.as_ref());
    let text = past.whole_text(then.as_ref(), policy, sources);
    Some(Told {
        why_not: error.map(|error| error.title),
        past: Some(past),
        end: None,
        text,
        record,
    })
}

#[cfg(test)]
mod tests {
    use super::{is_wanted, number, told};
    use crate::audit::newest::Judged;
    use crate::explain::Which;

    const DENIED: &str = r#"{"seq":7,"time":"2026-10-12T10:00:00.000Z","event":"access-decided.1","outcome":"deny","reason":"no-rule","rule":"builtin.default","user":"ines","device":null,"source":"192.0.2.7","host":"pay.example","method":"GET","path":"/x","status":null,"request_id":"r","policy":"p","session":null,"bytes":null,"ms":null,"detail":null,"code":"D-7K3QXN2A","inputs":{"at":1791799200,"tunnel":false,"zones":"internet","class":"any","mfa_age":5,"login_age":60,"shadow":null,"own":null},"chain":"x"}"#;
    const POLICY: &str = "postern = 1\n[group]\nit = [\"ann\", \"bob\"]\nhr = [\"ines\"]\n[app.pay]\nhost = \"pay.example\"\nupstream = \"http://h\"\nallow.it = { who = \"@it\" }\n[admin]\nallow.it = { who = \"@it\" }\n";

    fn sources() -> policy::Sources {
        let mut sources = policy::Sources::new();
        sources.add("policy.toml", POLICY.to_owned());
        sources
    }

    #[test]
    fn a_record_is_found_by_number_or_code_and_what_is_older_ends_the_search() {
        assert_eq!(number(DENIED.as_bytes()), Some(7));
        assert_eq!(number(b"{\"seq\":x"), None);
        let wanted = |which: &Which| is_wanted(which, DENIED.as_bytes());
        assert_eq!(wanted(&Which::Seq(7)), Judged::Take);
        assert_eq!(wanted(&Which::Seq(6)), Judged::Pass);
        assert_eq!(wanted(&Which::Seq(8)), Judged::Stop);
        assert_eq!(wanted(&Which::Code("D-7K3QXN2A".into())), Judged::Take);
        assert_eq!(wanted(&Which::Code("D-7K3QXN2B".into())), Judged::Pass);
    }

    #[test]
    fn a_refusal_is_told_with_its_rules_and_what_would_have_to_change() {
        let (sources, loaded) = (sources(), policy::load(&sources()).unwrap());
        let told = told(DENIED.as_bytes(), &loaded.policy, Some(&sources), &|_| None).unwrap();
        let past = told.past.unwrap();
        assert_eq!(past.explanation.unwrap().would_allow, ["being in @it"]);
        assert_eq!(told.why_not, None);
        for part in [
            "record 7",
            "who: ines is not in @it (ann, bob)",
            "would be allowed by",
            "policy.toml:8",
        ] {
            assert!(told.text.contains(part), "{part} not in\n{}", told.text);
        }
    }

    #[test]
    fn what_cannot_be_decided_again_says_why() {
        let loaded = policy::load(&sources()).unwrap();
        let tell = |line: &str| told(line.as_bytes(), &loaded.policy, None, &|_| None).unwrap();
        let gone = tell(&DENIED.replace("\"ines\"", "\"gone\""));
        assert!(gone.past.unwrap().explanation.is_none());
        assert_eq!(gone.why_not.as_deref(), Some("unknown user `gone`"));
        let other = tell(&DENIED.replace("access-decided.1", "signed-in.1"));
        assert_eq!(other.why_not.as_deref(), Some("not a decision"));
        assert!(other.text.contains("signed-in.1"));
    }
}
