//! What is on record of a change, in journal, history, log and status.

use std::sync::Arc;

use super::Rejected;
use super::blocking;
use super::change::{Candidate, Wanted};
use super::history::{By, Entry, Held, How, Pending};
use crate::audit::{Event, Record, reason};
use crate::clock;
use crate::gateway::Gateway;
use crate::mail::Alarm;

/// Makes the history's entry of a change that goes in force.
pub(super) fn applied(wanted: &Wanted, candidate: &Candidate) -> Entry {
    let mut entry = entry(wanted.how, &wanted.by, "applied");
    entry.generation = Some(candidate.snapshot.generation);
    entry.source = Some(candidate.source.clone());
    fill(&mut entry, candidate);
    entry
}

/// Makes an entry that names nothing but who asked for what.
pub(super) fn entry(how: How, by: &By, result: &str) -> Entry {
    Entry {
        generation: None,
        digest: None,
        source: None,
        time: clock::rfc3339(clock::unix_ms()),
        how,
        by: by.clone(),
        result: result.to_owned(),
        widened: 0,
        narrowed: 0,
        why: None,
    }
}

fn fill(entry: &mut Entry, candidate: &Candidate) {
    entry.digest = Some(candidate.snapshot.digest.to_string());
    if let Some(judged) = &candidate.judged {
        (entry.widened, entry.narrowed) = (judged.widened, judged.narrowed);
    }
}

/// Makes the journal's record of a change that goes in force.
pub(super) fn applied_record(
    candidate: &Candidate,
    entry: &Entry,
    pending: Option<&Pending>,
) -> Record {
    let why = match entry.how {
        How::Rollback => reason::ROLLED_BACK,
        How::Unconfirmed => reason::UNCONFIRMED,
        How::Start
        | How::Watch
        | How::Signal
        | How::Reload
        | How::User
        | How::Console
        | How::Apply => reason::APPLIED,
    };
    let mut record = Record::new(Event::PolicyApplied, "ok", why);
    record.policy = Some(Arc::clone(&candidate.snapshot.digest));
    record.user = entry.by.person.as_deref().map(Arc::from);
    record.detail = Some(detail(entry, pending));
    record
}

/// Names who asked where names may stand; a person's has a field of its own.
fn by(by: &By) -> String {
    match by.person {
        Some(_) => "a person".to_owned(),
        None => by.to_string(),
    }
}

fn detail(entry: &Entry, pending: Option<&Pending>) -> String {
    let Entry {
        how,
        widened,
        narrowed,
        ..
    } = entry;
    let by = by(&entry.by);
    let generation = entry.generation.unwrap_or_default();
    let mut text = format!(
        "generation {generation}, {} by {by}, {widened} wider, {narrowed} narrower",
        how.name()
    );
    if let Some(pending) = pending {
        let until = u64::try_from(pending.until).unwrap_or_default();
        let until = clock::rfc3339(until.saturating_mul(1000));
        text.push_str(&format!(", to be confirmed until {until}"));
    }
    text
}

/// Puts a refusal on record; what a guard stopped is held, so that no restart lets it through.
pub(super) async fn reject(
    gw: &Arc<Gateway>,
    wanted: &Wanted,
    source: Option<&str>,
    rejected: &Rejected,
    candidate: Option<&Candidate>,
) {
    let text = rejected.to_string();
    let by_guard = matches!(rejected, Rejected::Guard(_));
    let why = if by_guard {
        reason::HELD
    } else {
        reason::REJECTED
    };
    if wanted.is_unattended() {
        gw.mail.alarm(Alarm::Policy { why: text.clone() });
    }
    if by_guard && wanted.is_unattended() {
        tracing::error!(error = %text, "policy held; the old set stays in force");
    } else {
        tracing::warn!(error = %text, "policy refused; the old set stays in force");
    }
    let mut record = Record::new(Event::PolicyRejected, "failed", why);
    record.policy = Some(Arc::clone(&gw.snapshot.load().digest));
    let first = text.lines().next().unwrap_or_default();
    record.user = wanted.by.person.as_deref().map(Arc::from);
    record.detail = Some(format!(
        "{} by {}: {first}",
        wanted.how.name(),
        by(&wanted.by)
    ));
    let mut entry = entry(
        wanted.how,
        &wanted.by,
        if by_guard { "held" } else { "refused" },
    );
    entry.source = source.map(str::to_owned);
    entry.why = Some(text.clone());
    if let Some(candidate) = candidate {
        fill(&mut entry, candidate);
    }
    // what lies in the folder is held; what was only offered is gone with its refusal
    let on_disk = matches!(wanted.files, super::change::Files::Disk);
    let held = source.filter(|_| by_guard && on_disk).map(|source| Held {
        source: source.to_owned(),
        taken_back: gw
            .history
            .held()
            .is_some_and(|h| h.taken_back && h.source == source),
        why: text.clone(),
    });
    if on_disk {
        *gw.reload_error.lock() = Some(text);
    }
    gw.record_or_owe(record).await;
    let worker = Arc::clone(gw);
    let written = blocking(move || {
        let held = held.map_or(Ok(()), |held| worker.history.hold(Some(held)));
        worker.history.refused(entry).and(held)
    });
    if let Err(error) = written.await {
        tracing::error!(%error, "the policy history cannot be written");
    }
}
