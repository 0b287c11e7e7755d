//! `postern policy replay`: the decisions on record, taken again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use policy::{Outcome, Policy, Replayer};
use serde::Serialize;

use super::Folder;
use super::past::unreadable;
use crate::audit::again::{self, Decided, Line, Lost, Said};
use crate::audit::query;
use crate::cli::exit::{Exit, Failure};
use crate::cli::{Global, out, reading};
use crate::clock;
use crate::explain::short;
use crate::reload::history::History;
use crate::secrets::Keys;

/// The help of `policy replay`.
pub(super) const HELP: &str = "Examples:
  postern policy replay --since 30d --against ./policy.new
  postern policy replay                       did the policy as it lies there decide all this?
  postern policy replay --json --against ./policy.new old/2026-11-0*.jsonl

Every decision on record is taken again: same person, address, door, device, ages
and instant. People and groups are those of the folder; of an answer that changes it is
told whether it would with the people and groups of then too, while the gateway keeps the
policy of then (the last 50). What the gateway refused for another reason (quarantine, a
device of somebody else) is compared by the policy's own answer. `postern audit verify`
tells whether the journal is whole.

Exit codes: 0 no answer changes, 3 at least one does. With --json each changed decision
is a line, and the last line is the summary, or says why there is none.";

/// How often a long replay says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);
/// Changes that the text form lists.
const LISTED: usize = 40;
/// Kinds of changes told apart; further ones are counted together.
const KINDS_MAX: usize = 10_000;

/// What is decided again, and by what.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The policy folder that decides [default: the configured one]
    #[arg(long, visible_alias = "against", value_name = "DIR")]
    policy: Option<PathBuf>,
    /// Records not older than: RFC 3339 time, day, or age such as 30m, 2h, 30d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Folders of a journal or single files of one [default: the configured one]
    journal: Vec<PathBuf>,
}

/// Replays.
///
/// # Errors
/// [`Exit::Widens`] if an answer changes, [`Exit::Config`] for a policy that does not load,
/// [`Exit::Unavailable`] for a journal that cannot be read.
pub(super) fn run(asked: &Replay, global: &Global) -> Result<(), Failure> {
    let since = match &asked.since {
        None => None,
        Some(text) => Some(query::since(text, clock::unix_ms()).ok_or_else(|| {
            let text =
                format!("no time or age {text:?}: 2026-01-31T08:00:00Z, 2026-01-31, 2h, 30d");
            Failure::new(Exit::Usage, text)
        })?),
    };
    let folder = Folder {
        policy: asked.policy.clone(),
    };
    let dir = folder.dir(global)?;
    let policy = super::load(&dir)?.policy;
    let journals = match asked.journal.as_slice() {
        [] => {
            let config = global.config()?;
            let since = asked
                .since
                .as_deref()
                .map(|since| format!(" --since {since}"));
            let words = format!("policy replay{}", since.unwrap_or_default());
            reading::note(&config, &words);
            vec![config.data.join("audit")]
        }
        named => named.to_vec(),
    };
    let mut tally = Tally::new(&policy, &dir, global);
    for journal in &journals {
        let read = tally.read(journal, since);
        read.map_err(|e| unreadable(journal, &e))
            .inspect_err(|failure| tally.broken_off(failure))?;
    }
    tally.end();
    let changed = tally.summary.changed;
    if changed > 0 {
        return Err(Failure::new(
            Exit::Widens,
            format!("{changed} decisions would change"),
        ));
    }
    Ok(())
}

/// What has been found so far.
struct Tally<'p> {
    policy: &'p Policy,
    replayer: Replayer<'p>,
    json: bool,
    /// Changes of what was allowed, for the text form.
    listed: Vec<String>,
    then: Kept,
    policies: BTreeSet<String>,
    by_rule: BTreeMap<Kind, u64>,
    by_user: BTreeMap<(Option<String>, Outcome, Outcome), u64>,
    lost: BTreeMap<Lost, u64>,
    lines: u64,
    told: Instant,
    summary: Summary,
}

/// Changes that are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Kind {
    before: Outcome,
    before_rule: String,
    after: Outcome,
    after_rule: String,
}

/// The last line of `--json`; the shape is a contract with scripts.
#[derive(Default, Serialize)]
struct Summary {
    /// The folder that decided, and its digest.
    policy: String,
    digest: String,
    /// Decisions taken again, and the records they stand in.
    decisions: u64,
    records: u64,
    /// Decisions whose record names another policy.
    by_other_policies: u64,
    /// Digests on record.
    policies: Vec<String>,
    /// Decisions with another outcome.
    changed: u64,
    /// Of these, those that were allowed.
    changed_allowed: u64,
    /// Of these, those that people and groups change, not rules: with those of then the answer is as on record.
    changed_by_people: u64,
    /// Changed decisions of policies that are not kept any more, whose people are not known.
    people_unknown: u64,
    /// Decisions with the same outcome by another rule.
    other_rule: u64,
    by_rule: Vec<Counted<Kind>>,
    by_user: Vec<Counted<UserKind>>,
    /// Decisions that could not be taken again, and why.
    lost: BTreeMap<Lost, u64>,
    first: Option<String>,
    last: Option<String>,
}

#[derive(Serialize)]
struct Counted<T> {
    count: u64,
    #[serde(flatten)]
    kind: T,
}

#[derive(Serialize)]
struct UserKind {
    user: Option<String>,
    before: Outcome,
    after: Outcome,
}

/// One changed decision; the shape is a contract with scripts.
#[derive(Serialize)]
struct Change<'a> {
    seq: u64,
    time: &'a str,
    count: u64,
    user: Option<&'a str>,
    source: std::net::IpAddr,
    target: String,
    before: Said,
    after: Said,
    /// Whether it is people or groups that change it, not rules; `null` where those of then are not known, and of
    /// nobody signed in.
    by_people: Option<bool>,
    /// Why the gateway refused it all the same; nobody gained or lost anything then.
    refused: Option<&'a str>,
}

impl<'p> Tally<'p> {
    fn new(policy: &'p Policy, dir: &Path, global: &Global) -> Self {
        Self {
            policy,
            replayer: Replayer::new(policy),
            json: global.json,
            then: Kept::of(global),
            listed: Vec::new(),
            policies: BTreeSet::new(),
            by_rule: BTreeMap::new(),
            by_user: BTreeMap::new(),
            lost: BTreeMap::new(),
            lines: 0,
            told: clock::now(),
            summary: Summary {
                policy: dir.display().to_string(),
                digest: policy.digest().to_owned(),
                ..Summary::default()
            },
        }
    }

    fn read(&mut self, journal: &Path, since: Option<u64>) -> std::io::Result<()> {
        let mut take = |line: &[u8]| {
            self.line(line);
            Ok(())
        };
        if journal.is_dir() {
            query::each_line(journal, since, &mut take)
        } else {
            query::each_line_of(journal, since, &mut take)
        }
    }

    fn line(&mut self, line: &[u8]) {
        self.lines += 1;
        if self.lines.is_multiple_of(65_536)
            && clock::now().saturating_duration_since(self.told) > PROGRESS
        {
            self.told = clock::now();
            out::note(&format!(
                "{} records read, {} decisions change",
                self.lines, self.summary.changed
            ));
        }
        match again::read(line) {
            Line::Decided(decided) => self.decided(&decided),
            Line::Lost(lost, count) => *self.lost.entry(lost).or_default() += count,
            Line::Other => {}
        }
    }

    fn decided(&mut self, decided: &Decided) {
        let (input, count) = (&decided.input, decided.count);
        let decision = self.replayer.decide(input);
        let rule = &self.policy.rule(decision.rule).id;
        let summary = &mut self.summary;
        summary.decisions += count;
        summary.records += 1;
        if summary.first.is_none() {
            summary.first = Some(decided.time.clone());
        }
        decided
            .time
            .clone_into(summary.last.get_or_insert_default());
        if let Some(digest) = &decided.policy {
            if *digest != summary.digest {
                summary.by_other_policies += count;
            }
            if !self.policies.contains(digest) && self.policies.len() < KINDS_MAX {
                self.policies.insert(digest.clone());
            }
        }
        if decision.outcome == input.outcome {
            if !input.rule.is_empty() && **rule != *input.rule {
                summary.other_rule += count;
            }
            return;
        }
        summary.changed += count;
        if input.outcome == Outcome::Allow {
            summary.changed_allowed += count;
        }
        let after = Said {
            outcome: decision.outcome,
            rule: rule.to_string(),
        };
        self.changed(decided, after);
    }

    fn changed(&mut self, decided: &Decided, after: Said) {
        let (input, count) = (&decided.input, decided.count);
        let before = Said {
            outcome: input.outcome,
            rule: input.rule.clone(),
        };
        let kind = Kind {
            before: before.outcome,
            before_rule: before.rule.clone(),
            after: after.outcome,
            after_rule: after.rule.clone(),
        };
        let person = (decided.user.clone(), before.outcome, after.outcome);
        add(&mut self.by_rule, kind, count);
        add(&mut self.by_user, person, count);
        let allowed = before.outcome == Outcome::Allow;
        let of_person = decided.policy.as_deref().filter(|_| input.user.is_some());
        let then = of_person.and_then(|at| self.then.get(at));
        let as_of = then.map(|then| self.replayer.decide_as_of(then, input).outcome);
        let by_people = as_of.map(|outcome| outcome == before.outcome);
        match by_people {
            Some(true) => self.summary.changed_by_people += count,
            None if input.user.is_some() => self.summary.people_unknown += count,
            Some(false) | None => {}
        }
        let change = Change {
            seq: input.seq,
            time: &decided.time,
            count,
            user: decided.user.as_deref(),
            source: input.source,
            target: input.target.to_string(),
            before,
            after,
            by_people,
            refused: decided.refused.as_deref(),
        };
        if self.json {
            out::json(&change);
        } else if allowed && self.listed.len() < LISTED {
            self.listed.push(change.to_text());
        }
    }

    /// Says in place of the summary that there is none.
    fn broken_off(&self, failure: &Failure) {
        if self.json {
            failure.json();
        }
    }

    fn end(&mut self) {
        self.summary.policies = std::mem::take(&mut self.policies).into_iter().collect();
        self.summary.lost = std::mem::take(&mut self.lost);
        let by_rule = std::mem::take(&mut self.by_rule).into_iter();
        self.summary.by_rule = by_rule
            .map(|(kind, count)| Counted { count, kind })
            .collect();
        let by_user = std::mem::take(&mut self.by_user).into_iter();
        let by_user = by_user.map(|((user, before, after), count)| Counted {
            count,
            kind: UserKind {
                user,
                before,
                after,
            },
        });
        self.summary.by_user = by_user.collect();
        if self.json {
            out::json(&self.summary);
        } else {
            out::raw(&self.summary.to_text(&self.listed));
        }
    }
}

/// The policies of then, as far as the gateway keeps them.
struct Kept {
    /// The state folder with what opens it, and the policy folder.
    place: Option<(PathBuf, Arc<Keys>, PathBuf)>,
    known: HashMap<String, Option<Policy>>,
}

impl Kept {
    fn of(global: &Global) -> Self {
        let place = || {
            let config = global.config().ok()?;
            let keys = Keys::load(&config.master_key).ok()?;
            Some((config.data, Arc::new(keys), config.policy_dir))
        };
        Self {
            place: place(),
            known: HashMap::new(),
        }
    }

    fn get(&mut self, digest: &str) -> Option<&Policy> {
        let (data, keys, dir) = self.place.as_ref()?;
        if !self.known.contains_key(digest) && self.known.len() < KINDS_MAX {
            let folder = History::peek(data, Arc::clone(keys), digest);
            let policy = folder.and_then(|folder| policy::load(&folder.sources(dir)).ok());
            self.known
                .insert(digest.to_owned(), policy.map(|loaded| loaded.policy));
        }
        self.known.get(digest)?.as_ref()
    }
}

/// Counts; what would be one kind too many is left to the total.
fn add<K: Ord>(counts: &mut BTreeMap<K, u64>, key: K, count: u64) {
    if counts.len() < KINDS_MAX || counts.contains_key(&key) {
        *counts.entry(key).or_default() += count;
    }
}

impl Change<'_> {
    fn to_text(&self) -> String {
        let times = if self.count > 1 {
            format!("  {} times", self.count)
        } else {
            String::new()
        };
        let refused = self
            .refused
            .map(|why| format!("  (refused all the same: {why})"));
        let people = match self.by_people {
            Some(true) => "  (by people or groups, not by a rule)",
            Some(false) | None => "",
        };
        format!(
            "  {}  {}  {}{times}\n      from {}: {} -> {}{people}{}    record {}\n",
            self.time,
            self.user.unwrap_or("nobody signed in"),
            self.target,
            self.source,
            self.before,
            self.after,
            refused.unwrap_or_default(),
            self.seq
        )
    }
}

impl Summary {
    fn to_text(&self, listed: &[String]) -> String {
        let mut text = format!(
            "policy  {}, {}; people and groups are those of this folder\n",
            self.policy,
            short(&self.digest)
        );
        if let (Some(first), Some(last)) = (&self.first, &self.last) {
            text.push_str(&format!("from    {first} to {last}\n"));
        }
        text.push_str(&format!(
            "again   {} decisions in {} records; {} of them were decided by another policy ({} on record)\n",
            self.decisions,
            self.records,
            self.by_other_policies,
            self.policies.len()
        ));
        for (lost, count) in &self.lost {
            text.push_str(&format!(
                "not     {count} could not be decided again: {}\n",
                lost.why()
            ));
        }
        if self.other_rule > 0 {
            text.push_str(&format!(
                "same    {} keep their answer, by another rule\n",
                self.other_rule
            ));
        }
        text.push_str(&format!(
            "change  {} decisions, {} of them were allowed\n",
            self.changed, self.changed_allowed
        ));
        if self.changed_by_people > 0 {
            text.push_str(&format!(
                "people  {} of them by people or groups: with those of then the answer stays\n",
                self.changed_by_people
            ));
        }
        if self.people_unknown > 0 {
            text.push_str(&format!(
                "people  of {} it is not known who was in which group: the policy of then is not kept\n",
                self.people_unknown
            ));
        }
        self.counts(&mut text);
        if !listed.is_empty() {
            text.push_str("\nallowed on record, not the same by this policy:\n");
            text.extend(listed.iter().map(String::as_str));
        }
        let shown = u64::try_from(listed.len()).unwrap_or(u64::MAX);
        if self.changed_allowed > shown && listed.len() == LISTED {
            text.push_str(&format!("  the first {LISTED} records; --json lists all\n"));
        }
        text
    }

    fn counts(&self, text: &mut String) {
        if !self.by_rule.is_empty() {
            text.push_str("\nby rule:\n");
        }
        for Counted { count, kind } in &self.by_rule {
            text.push_str(&format!(
                "  {count:>8}  {} by {} -> {} by {}\n",
                kind.before, kind.before_rule, kind.after, kind.after_rule
            ));
        }
        if !self.by_user.is_empty() {
            text.push_str("\nby person:\n");
        }
        for Counted { count, kind } in &self.by_user {
            let user = kind.user.as_deref().unwrap_or("nobody signed in");
            text.push_str(&format!(
                "  {count:>8}  {user}: {} -> {}\n",
                kind.before, kind.after
            ));
        }
    }
}
