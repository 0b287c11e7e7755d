//! The policy a gateway starts with: that of its folder, else the last good one.

use std::sync::Arc;

use policy::guard;

use super::folder::Folder;
use super::history::{By, Entry, Held, History, How};
use super::{Finding, Rejected, Want, certificates, compile, guards, outcome};
use crate::audit::{Event, Record, reason};
use crate::cli::exit::chain;
use crate::clock;
use crate::config::Config;
use crate::proxy::tls::{Checks, InternalCa};
use crate::snapshot::Snapshot;
use crate::upstreams;

/// Whether the last good policy may stand in for a folder that gives none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// It may.
    #[default]
    LastGood,
    /// The start fails instead.
    Strict,
}

/// What a gateway starts with.
pub(crate) struct Started {
    /// The set to serve by.
    pub(crate) snapshot: Snapshot,
    /// What is worth a look.
    pub(crate) warnings: Vec<Finding>,
    /// Why the policy is not that of the folder.
    pub(crate) cached: Option<String>,
    /// What the journal must hear, once it is open.
    pub(crate) records: Vec<Record>,
}

/// Finds the policy to start with. Guards that compare are not asked; what they held stays held.
///
/// # Errors
/// [`Rejected`] of the folder, if there is no last good policy or it may not be used.
pub(crate) fn start(
    config: &Config,
    checks: &Checks,
    authority: Option<&InternalCa>,
    history: &History,
    fallback: Fallback,
) -> Result<Started, Rejected> {
    let mut records = Vec::new();
    finish_writing(config, history);
    take_back_overdue(config, history, &mut records);
    let error = match from_folder(config, checks, authority, history) {
        Ok(started) => return Ok(Started { records, ..started }),
        Err(error @ Rejected::Certificates(_)) => return Err(error),
        Err(error) => error,
    };
    let last = history
        .in_force()
        .filter(|_| fallback == Fallback::LastGood);
    let source = last.as_ref().and_then(|e| e.source.clone());
    let Some((last, folder)) = last.zip(source.and_then(|s| history.files(&s))) else {
        return Err(error);
    };
    let why = chain(&error);
    let sources = folder.sources(&config.policy_dir);
    let Ok((loaded, warnings)) = compile(&sources) else {
        return Err(error);
    };
    let want = Want::beside(None);
    let certs = certificates(config, checks, authority, &loaded.policy, want)?;
    let generation = last.generation.unwrap_or(1);
    let snapshot = Snapshot::new(loaded.policy, Arc::new(certs), generation, clock::unix_ms());
    let mut record = Record::new(Event::PolicyRejected, "failed", reason::CACHED);
    record.policy = Some(Arc::clone(&snapshot.digest));
    let first = why.lines().next().unwrap_or_default();
    record.detail = Some(format!("generation {generation} stands in: {first}"));
    records.push(record);
    Ok(Started {
        snapshot,
        warnings,
        cached: Some(why),
        records,
    })
}

/// Loads the folder and enters it in the history if it is not what was last in force.
fn from_folder(
    config: &Config,
    checks: &Checks,
    authority: Option<&InternalCa>,
    history: &History,
) -> Result<Started, Rejected> {
    let folder = Folder::read(&config.policy_dir)?;
    let source = folder.digest();
    if let Some(held) = history.held().filter(|held| held.source == source) {
        return Err(Rejected::Failed(held.why));
    }
    let same = history.is_in_force(&source);
    if let Some(pending) = history.pending().filter(|_| !same) {
        return Err(Rejected::Failed(pending.others_wait()));
    }
    let (loaded, warnings) = compile(&folder.sources(&config.policy_dir))?;
    upstreams::readable(&loaded.policy).map_err(Rejected::Failed)?;
    let want = Want::beside(None);
    let certs = certificates(config, checks, authority, &loaded.policy, want)?;
    let last = history.in_force();
    let before = last.as_ref().and_then(|e| e.generation).unwrap_or(0);
    let generation = before.saturating_add(u64::from(!same));
    if !same {
        let mut entry = outcome::entry(How::Start, &By::default(), "applied");
        entry.generation = Some(generation);
        entry.digest = Some(loaded.policy.digest().to_owned());
        entry.source = Some(source);
        compare(config, history, last.as_ref(), &loaded.policy, &mut entry);
        remember(history, &folder, entry);
    } else if history.held().is_some() {
        report(history.hold(None));
    }
    let snapshot = Snapshot::new(loaded.policy, Arc::new(certs), generation, clock::unix_ms());
    Ok(Started {
        snapshot,
        warnings,
        cached: None,
        records: Vec::new(),
    })
}

/// Counts what a folder that was changed while no gateway ran opens and closes.
fn compare(
    config: &Config,
    history: &History,
    last: Option<&Entry>,
    after: &policy::Policy,
    entry: &mut Entry,
) {
    let folder = last.and_then(|e| history.files(e.source.as_deref()?));
    let Some(Ok((before, _))) = folder.map(|f| compile(&f.sources(&config.policy_dir))) else {
        return;
    };
    let diff = policy::diff(&before.policy, after);
    (entry.widened, entry.narrowed) = guards::counts(&diff);
    let open = guard::world_open(&diff, &before.policy, after).len();
    if open > 0 {
        tracing::error!(
            open,
            "the policy was changed while no gateway ran and opens doors to the world"
        );
    }
    let open = guard::tunnel_open(&diff, &before.policy, after).len();
    if open > 0 {
        tracing::error!(
            open,
            "the policy was changed while no gateway ran and opens more in the tunnel"
        );
    }
}

/// Undoes a replacement of the folder's files that was begun and not ended.
fn finish_writing(config: &Config, history: &History) {
    let Some(writing) = history.writing() else {
        return;
    };
    let dir = &config.policy_dir;
    let now = Folder::read(dir).unwrap_or_default();
    tracing::error!(folder = %dir.display(), "the policy folder was being replaced when the gateway ended; put back");
    let put_back = match history.files(&writing.before) {
        Some(before) if before == now => Ok(()),
        Some(before) => before.replace(dir, &now, &history.aside()).map(drop),
        None => Err(std::io::ErrorKind::NotFound.into()),
    };
    if let Err(error) = put_back {
        tracing::error!(%error, "the policy folder cannot be put back");
        hold(
            history,
            &now,
            "half of these files were written when the gateway ended",
        );
    }
    report(history.write(None));
}

/// Takes back a change whose time to be confirmed ran out while no gateway ran.
fn take_back_overdue(config: &Config, history: &History, records: &mut Vec<Record>) {
    let Some(pending) = history.pending().filter(|p| clock::unix() >= p.until) else {
        return;
    };
    let generation = pending.generation;
    tracing::error!(generation, "nobody confirmed the policy; it is taken back");
    let Some(back) = history.files(&pending.back_to) else {
        tracing::error!(generation, "the files of before are not kept; it stays");
        report(history.confirmed().map(drop));
        return;
    };
    let dir = &config.policy_dir;
    let now = Folder::read(dir);
    let next = history
        .in_force()
        .and_then(|e| e.generation)
        .unwrap_or(0)
        .saturating_add(1);
    let mut entry = outcome::entry(How::Unconfirmed, &By::default(), "applied");
    entry.generation = Some(next);
    entry.source = Some(pending.back_to);
    if let Ok((loaded, _)) = compile(&back.sources(dir)) {
        entry.digest = Some(loaded.policy.digest().to_owned());
    }
    let mut record = Record::new(Event::PolicyApplied, "ok", reason::UNCONFIRMED);
    record.policy = entry.digest.as_deref().map(Arc::from);
    record.detail = Some(format!(
        "generation {next}, nobody confirmed generation {generation}"
    ));
    records.push(record);
    remember(history, &back, entry);
    let Ok(now) = now else { return };
    if let Err(error) = back.replace(dir, &now, &history.aside()) {
        tracing::error!(%error, "the policy folder cannot be put back");
        hold(
            history,
            &now,
            "these files were in force and were taken back",
        );
    }
}

fn hold(history: &History, folder: &Folder, why: &str) {
    report(history.hold(Some(Held {
        source: folder.digest(),
        taken_back: true,
        why: format!("{why}\nto accept it: postern policy apply"),
    })));
}

fn remember(history: &History, folder: &Folder, entry: Entry) {
    let kept = history.keep(folder).map(drop);
    report(history.applied(entry, None).and(kept));
}

fn report(written: std::io::Result<()>) {
    if let Err(error) = written {
        tracing::error!(%error, "the policy history cannot be written");
    }
}

#[cfg(test)]
mod tests;
