//! One way in force for every policy: read, compile, test, ask the guards, record, swap one pointer.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;

use super::folder::Folder;
use super::guards::{self, Accept, Asked, Judged, Own, Pairs, Stop};
use super::history::{By, Entry, Held, History, How, Pending, Writing};
use super::{Finding, RETIRE_EVERY, Rejected, blocking, certificates, compile, outcome, retire};
use crate::audit::used::used_pairs;
use crate::clock;
use crate::gateway::Gateway;
use crate::proxy::tls::CertSet;
use crate::snapshot::Snapshot;
use crate::upstreams;

/// How far back use counts, in milliseconds.
const USED_MS: u64 = 7 * 86_400_000;

/// Which files are to go in force.
#[derive(Clone, Debug)]
pub(crate) enum Files {
    /// Those that lie in the policy folder.
    Disk,
    /// These, which the policy folder then holds.
    Given(Folder),
    /// These, whatever the policy folder holds.
    Aside(Folder),
}

/// A change that somebody wants.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The files.
    pub(crate) files: Files,
    /// How it is asked for.
    pub(crate) how: How,
    /// By whom.
    pub(crate) by: By,
    /// What they accept.
    pub(crate) accept: Accept,
    /// Whose access must last.
    pub(crate) own: Option<Own>,
    /// How long it stands unless it is confirmed.
    pub(crate) confirm: Option<Duration>,
    /// Whether only to tell what would happen.
    pub(crate) dry_run: bool,
    /// Whether it only takes a person out.
    pub(crate) revokes: bool,
    /// The digest of the files that must lie in the policy folder until these replace them.
    pub(crate) onto: Option<String>,
    /// The files to go back to once that person is out of them too, where a confirmation is awaited: it goes on.
    pub(crate) back: Option<Folder>,
}

impl Wanted {
    /// The files of the folder, nothing accepted.
    pub(crate) fn disk(how: How, by: By) -> Self {
        Self {
            files: Files::Disk,
            how,
            by,
            accept: Accept::default(),
            own: None,
            confirm: None,
            dry_run: false,
            revokes: false,
            onto: None,
            back: None,
        }
    }

    /// Nobody is at hand who could accept or confirm.
    pub(super) fn is_unattended(&self) -> bool {
        matches!(self.how, How::Watch | How::Signal)
    }
}

/// What became of a change.
pub(crate) struct Done {
    /// Whether it is in force.
    pub(crate) in_force: bool,
    /// The digest of the policy that was asked for.
    pub(crate) digest: Arc<str>,
    /// The generation in force.
    pub(crate) generation: u64,
    /// Whether other files than before are in force.
    pub(crate) changed: bool,
    /// What the guards found; absent where nothing changes.
    pub(crate) judged: Option<Judged>,
    /// What is worth a look.
    pub(crate) warnings: Vec<Finding>,
    /// When it is taken back, in seconds since the UNIX epoch.
    pub(crate) until: Option<i64>,
    /// Where the files are that lay in the folder before.
    pub(crate) kept: Option<PathBuf>,
    /// Why the folder does not hold what is in force.
    pub(crate) not_written: Option<String>,
}

/// A candidate that compiled, with what the guards say.
pub(super) struct Candidate {
    folder: Folder,
    /// The digest of the files.
    pub(super) source: String,
    /// What would go in force.
    pub(super) snapshot: Snapshot,
    warnings: Vec<Finding>,
    changed: bool,
    /// What the guards found.
    pub(super) judged: Option<Judged>,
}

/// Puts a change in force; when it returns, what no longer stands is closed.
///
/// # Errors
/// [`Rejected`]: the old set stays in force and the refusal is on record, unless it was a dry run.
pub(crate) async fn change(gw: &Arc<Gateway>, wanted: Wanted) -> Result<Done, Rejected> {
    let _one = gw.reloading.lock().await;
    locked(gw, wanted).await
}

/// Like [`change`], for who holds the lock of changes.
pub(super) async fn locked(gw: &Arc<Gateway>, wanted: Wanted) -> Result<Done, Rejected> {
    let wanted = Arc::new(wanted);
    let (worker, ask) = (Arc::clone(gw), Arc::clone(&wanted));
    let found = blocking(move || candidate(&worker, &ask)).await;
    let candidate = match found {
        Ok(candidate) => candidate,
        Err((source, rejected)) => {
            if !wanted.dry_run {
                outcome::reject(gw, &wanted, source.as_deref(), &rejected, None).await;
            }
            return Err(rejected);
        }
    };
    if wanted.dry_run {
        return Ok(candidate.split().1);
    }
    let stops = candidate.judged.as_ref().map(|j| j.stops.as_slice());
    if let Some(stops @ [_, ..]) = stops {
        let rejected = Rejected::Guard(stops.to_vec());
        outcome::reject(
            gw,
            &wanted,
            Some(&candidate.source),
            &rejected,
            Some(&candidate),
        )
        .await;
        let asked = matches!(wanted.how, How::Console | How::Apply | How::Rollback);
        return match asked {
            true => Ok(candidate.split().1),
            false => Err(rejected),
        };
    }
    put_in_force(gw, &wanted, candidate).await
}

type Refused = (Option<String>, Rejected);

/// Reads, compiles and judges; blocks.
fn candidate(gw: &Gateway, wanted: &Wanted) -> Result<Candidate, Refused> {
    let folder = match &wanted.files {
        Files::Disk => Folder::read(&gw.config.policy_dir).map_err(|e| (None, e.into()))?,
        Files::Given(folder) | Files::Aside(folder) => folder.clone(),
    };
    let source = folder.digest();
    let refused = |rejected: Rejected| (Some(source.clone()), rejected);
    let before = gw.snapshot.load_full();
    let changed = !gw.history.is_in_force(&source);
    if changed && let Some(stop) = waits(&gw.history, wanted, &source) {
        return Err(refused(Rejected::Guard(vec![stop])));
    }
    let sources = folder.sources(&gw.config.policy_dir);
    let (loaded, warnings) = compile(&sources).map_err(refused)?;
    let readable = upstreams::readable(&loaded.policy);
    readable.map_err(|why| refused(Rejected::Failed(why)))?;
    let judged = changed.then(|| judge(gw, wanted, &before, &loaded.policy));
    let judged = judged
        .transpose()
        .map_err(|why| refused(Rejected::Failed(why)))?;
    let certs = certificates(
        &gw.config,
        &gw.checks,
        gw.authority.as_ref(),
        &loaded.policy,
        super::Want::beside(Some(&*before.certs)),
    );
    let certs: CertSet = certs.map_err(refused)?;
    let generation = before.generation.saturating_add(u64::from(changed));
    let loaded_at = if changed {
        clock::unix_ms()
    } else {
        before.loaded
    };
    let snapshot = Snapshot::new(loaded.policy, Arc::new(certs), generation, loaded_at);
    Ok(Candidate {
        folder,
        source,
        snapshot,
        warnings,
        changed,
        judged,
    })
}

/// Files that were taken back, and any while a confirmation is awaited, do not go in force by
/// being there.
fn waits(history: &History, wanted: &Wanted, source: &str) -> Option<Stop> {
    let by_themselves = wanted.is_unattended() || wanted.how == How::Reload;
    let back = history
        .held()
        .filter(|h| h.taken_back && h.source == source);
    if by_themselves && back.is_some() {
        return Some(Stop {
            guard: "taken-back".to_owned(),
            text: "these files were in force and were taken back".to_owned(),
            accept: Some(String::new()),
        });
    }
    // who applies or rolls back sees what they replace; nobody else ends the waiting by another act
    let is_meant = matches!(
        wanted.how,
        How::Apply | How::Rollback | How::Unconfirmed | How::Start
    );
    let pending = history.pending().filter(|_| !is_meant && !wanted.revokes);
    pending.map(|pending| Stop {
        guard: "unconfirmed".to_owned(),
        text: pending.others_wait(),
        accept: Some(String::new()),
    })
}

fn judge(
    gw: &Gateway,
    wanted: &Wanted,
    before: &Snapshot,
    after: &policy::Policy,
) -> Result<Judged, String> {
    let runtime = Handle::current();
    let enrolled = |user: &str| {
        let found = runtime.block_on(gw.identity.is_enrolled(user));
        // a store that does not answer must not lock anybody in or out
        found.unwrap_or(true)
    };
    let pairs = if matches!(wanted.how, How::Apply | How::Rollback) {
        used(gw)?
    } else {
        Pairs::new()
    };
    let mut judged = guards::judge(&Asked {
        before: &before.policy,
        after,
        enrolled: &enrolled,
        used: &pairs,
        accept: &wanted.accept,
        own: wanted.own.as_ref(),
        how: wanted.how,
        revokes: wanted.revokes,
        now: clock::unix(),
    });
    if wanted.how == How::Unconfirmed {
        // it was in force until somebody could no longer confirm
        judged.stops.clear();
    }
    Ok(judged)
}

/// The pairs of person and app in use in the last days.
fn used(gw: &Gateway) -> Result<Pairs, String> {
    let since = clock::unix_ms().saturating_sub(USED_MS);
    match used_pairs(&gw.config.data.join("audit"), since) {
        Ok(used) => Ok(used.pairs),
        Err(error) => Err(format!("cannot read the journal: {error}")),
    }
}

/// Says what a change took away that was in use, where nobody was asked before.
fn look_back(gw: &Arc<Gateway>, wanted: &Wanted, before: Arc<Snapshot>, done: &Done) {
    let narrows = done.judged.as_ref().is_some_and(|j| j.narrowed > 0);
    if !narrows || matches!(wanted.how, How::Apply | How::Rollback | How::Unconfirmed) {
        return;
    }
    let (gw, after) = (Arc::clone(gw), gw.snapshot.load_full());
    tokio::task::spawn_blocking(move || match used(&gw) {
        Ok(used) => {
            let losses = guards::losses(&before.policy, &after.policy, &used);
            if losses.are_many() {
                tracing::warn!(%losses, "a new policy takes much away; postern policy rollback takes it back");
            }
        }
        Err(error) => tracing::warn!(error, "what a new policy takes away is not known"),
    });
}

async fn put_in_force(
    gw: &Arc<Gateway>,
    wanted: &Arc<Wanted>,
    candidate: Candidate,
) -> Result<Done, Rejected> {
    let pending = pending(gw, wanted, &candidate)?;
    let (worker, ask, files) = (Arc::clone(gw), Arc::clone(wanted), candidate.folder.clone());
    let written = blocking(move || write(&worker, &ask, &files)).await;
    let (kept, not_written) = match written {
        Ok(kept) => (kept, None),
        Err(why) if matches!(wanted.how, How::Console | How::Apply) => {
            let rejected = Rejected::Failed(why);
            outcome::reject(
                gw,
                wanted,
                Some(&candidate.source),
                &rejected,
                Some(&candidate),
            )
            .await;
            return Err(rejected);
        }
        Err(why) => (None, Some(why)),
    };
    let entry = outcome::applied(wanted, &candidate);
    if candidate.changed {
        let record = outcome::applied_record(&candidate, &entry, pending.as_ref());
        gw.record_or_owe(record).await;
    }
    let until = pending.as_ref().map(|p| p.until);
    let files = candidate.changed.then(|| candidate.folder.clone());
    let (snapshot, mut done) = candidate.split();
    done.in_force = true;
    (done.until, done.kept, done.not_written) = (until, kept, not_written);
    // who relies on being taken back must find it after a power cut; who is cut off must not wait
    let waits = pending.is_some() && !wanted.revokes;
    let mut history = Some((files, entry, pending));
    if waits && let Some((files, entry, pending)) = history.take() {
        remember(gw, files, entry, pending).await;
    }
    let before = gw.snapshot.swap(super::ready(gw, snapshot).await);
    retire(Arc::clone(&before), RETIRE_EVERY);
    gw.settle().await;
    if waits {
        gw.history.waits_from_now();
    }
    if let Some((files, entry, pending)) = history.take() {
        remember(gw, files, entry, pending).await;
    }
    *gw.reload_error.lock() = None;
    gw.cached.store(false, Ordering::Relaxed);
    if let Some(why) = &done.not_written {
        hold_back(gw, why).await;
    }
    look_back(gw, wanted, before, &done);
    tracing::info!(policy.version = %done.digest, changed = done.changed, "policy in force");
    Ok(done)
}

/// Builds the confirmation a change waits for.
fn pending(
    gw: &Gateway,
    wanted: &Wanted,
    candidate: &Candidate,
) -> Result<Option<Pending>, Rejected> {
    if wanted.confirm.is_some() && !candidate.changed {
        let now = candidate.snapshot.generation;
        let why = format!(
            "these files are in force already, as generation {now}; nothing new waits to be confirmed"
        );
        return Err(Rejected::Failed(why));
    }
    if let (Some(back), Some(pending)) = (&wanted.back, gw.history.pending()) {
        if let Err(error) = gw.history.keep(back) {
            // no reason to let the person stay; what is not kept is not gone back to
            tracing::error!(%error, "the files to go back to cannot be kept");
        }
        return Ok(Some(Pending {
            generation: candidate.snapshot.generation,
            back_to: back.digest(),
            ..pending
        }));
    }
    let Some(wait) = wanted.confirm else {
        return Ok(None);
    };
    let now = gw.history.in_force().and_then(|e| e.source);
    let back_to = now.filter(|source| gw.history.files(source).is_some());
    let back_to = back_to.ok_or_else(|| {
        let why = "the files in force are not kept, so there is nothing to go back to";
        Rejected::Failed(why.to_owned())
    })?;
    let wait = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
    Ok(Some(Pending {
        generation: candidate.snapshot.generation,
        back_to,
        until: clock::unix().saturating_add(wait),
    }))
}

/// Makes the policy folder hold given files; blocks. A begun replacement is noted first, so that
/// the next start undoes what a power cut left half done.
fn write(gw: &Gateway, wanted: &Wanted, files: &Folder) -> Result<Option<PathBuf>, String> {
    if !matches!(wanted.files, Files::Given(_)) {
        return Ok(None);
    }
    let dir = &gw.config.policy_dir;
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", dir.display());
    let before = Folder::read(dir).map_err(|e| crate::cli::exit::chain(&e))?;
    if wanted
        .onto
        .as_ref()
        .is_some_and(|onto| before.digest() != *onto)
    {
        return Err("the policy folder was changed meanwhile; nothing was written".to_owned());
    }
    if before == *files {
        return Ok(None);
    }
    let writing = Writing {
        before: gw.history.keep(&before).map_err(failed)?,
        after: files.digest(),
    };
    gw.history.write(Some(writing)).map_err(failed)?;
    let replaced = files.replace(dir, &before, &gw.history.aside());
    if replaced.is_err() {
        gw.history.write(None).map_err(failed)?;
    }
    replaced.map(Some).map_err(failed)
}

/// Enters the change in the history. That is for ways back: a disk that cannot take it does not
/// keep a policy from going in force.
async fn remember(
    gw: &Arc<Gateway>,
    files: Option<Folder>,
    entry: Entry,
    pending: Option<Pending>,
) {
    let worker = Arc::clone(gw);
    let written = blocking(move || {
        let history = &worker.history;
        match files {
            Some(files) => {
                let kept = history.keep(&files).map(drop);
                // entered in any case: what is in force is never taken for a new change
                history.applied(entry, pending).and(kept)
            }
            None if history.held().is_some() || history.writing().is_some() => {
                history.hold(None).and_then(|()| history.write(None))
            }
            None => Ok(()),
        }
    });
    if let Err(error) = written.await {
        tracing::error!(%error, "the policy history cannot be written; a restart may not know this change");
    }
}

/// The folder still holds files that were taken back: they must not go in force by being there.
async fn hold_back(gw: &Arc<Gateway>, why: &str) {
    let dir = &gw.config.policy_dir;
    tracing::error!(folder = %dir.display(), why, "the policy folder does not hold what is in force; put it right by hand");
    *gw.reload_error.lock() = Some(format!("the folder does not hold what is in force: {why}"));
    let worker = Arc::clone(gw);
    let held = blocking(move || {
        let Ok(folder) = Folder::read(&worker.config.policy_dir) else {
            return Ok(());
        };
        worker.history.hold(Some(Held {
            source: folder.digest(),
            taken_back: true,
            why: "these files were in force and were taken back".to_owned(),
        }))
    });
    if let Err(error) = held.await {
        tracing::error!(%error, "the policy history cannot be written");
    }
}

impl Candidate {
    /// Parts what goes in force from what is told about it.
    fn split(self) -> (Snapshot, Done) {
        let done = Done {
            in_force: false,
            digest: Arc::clone(&self.snapshot.digest),
            generation: self.snapshot.generation,
            changed: self.changed,
            judged: self.judged,
            warnings: self.warnings,
            until: None,
            kept: None,
            not_written: None,
        };
        (self.snapshot, done)
    }
}

#[cfg(test)]
mod tests;
