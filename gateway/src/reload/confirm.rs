//! A change that waits to be confirmed is taken back when its time is over.
//!
//! Each control connection carries one request, and the console takes a confirmation only over a connection that was
//! opened after the change: whoever was cut off by it cannot confirm it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Rejected;
use super::blocking;
use super::change::{Done, Files, Wanted, locked};
use super::history::{By, How, Pending};
use crate::audit::{Event, Record, reason};
use crate::clock;
use crate::gateway::Gateway;

const ROUND: Duration = Duration::from_millis(250);

/// Takes back what nobody confirmed, for as long as the gateway runs.
pub(crate) async fn watch(gw: Arc<Gateway>) {
    let mut round = tokio::time::interval(ROUND);
    let mut armed: Option<(Pending, Option<Instant>)> = None;
    loop {
        round.tick().await;
        let Some(pending) = gw.history.pending() else {
            armed = None;
            continue;
        };
        let now = clock::unix();
        if armed.as_ref().is_none_or(|(known, _)| *known != pending) {
            // monotonic as well: a clock that is set back must not prolong it
            let left = u64::try_from(pending.until.saturating_sub(now)).unwrap_or(0);
            let at = clock::now().checked_add(Duration::from_secs(left));
            armed = Some((pending.clone(), at));
        }
        let at = armed.as_ref().and_then(|(_, at)| *at);
        if now >= pending.until || at.is_some_and(|at| clock::now() >= at) {
            take_back(&gw, &pending).await;
        }
    }
}

async fn take_back(gw: &Arc<Gateway>, pending: &Pending) {
    let _one = gw.reloading.lock().await;
    if gw.history.pending().as_ref() != Some(pending) {
        // confirmed or replaced while this waited for its turn
        return;
    }
    let generation = pending.generation;
    tracing::error!(generation, "nobody confirmed the policy; it is taken back");
    let taken = match gw.history.files(&pending.back_to) {
        Some(folder) => {
            let wanted = Wanted {
                files: Files::Given(folder),
                ..Wanted::disk(How::Unconfirmed, By::default())
            };
            locked(gw, wanted).await.map(drop)
        }
        None => Err(Rejected::Failed(
            "the files of before are not kept".to_owned(),
        )),
    };
    if let Err(error) = taken {
        tracing::error!(%error, generation, "the policy cannot be taken back and stays");
        let worker = Arc::clone(gw);
        drop(blocking(move || worker.history.confirmed()).await);
    }
}

/// Why a change that waits is not kept.
#[derive(Debug)]
pub(crate) enum NotKept {
    /// Nothing waits.
    Nothing,
    /// The connection was there before the change, and shows nothing about new ones.
    OldConnection,
    /// The disk refused: the next start would take the change back.
    Disk(std::io::Error),
}

/// Ends the waiting: the change stays. `opened` is when the connection was that it is asked over, where one may carry
/// more than one request.
///
/// # Errors
/// See [`NotKept`].
pub(crate) async fn confirm(
    gw: &Arc<Gateway>,
    by: &By,
    opened: Option<Instant>,
) -> Result<Pending, NotKept> {
    let one = gw.reloading.lock().await;
    if opened.is_some_and(|opened| gw.history.waits_since(opened)) {
        return Err(NotKept::OldConnection);
    }
    let worker = Arc::clone(gw);
    let kept = blocking(move || worker.history.confirmed()).await;
    let Some(pending) = kept.map_err(NotKept::Disk)? else {
        return Err(NotKept::Nothing);
    };
    let mut record = Record::new(Event::PolicyApplied, "ok", reason::CONFIRMED);
    record.policy = Some(Arc::clone(&gw.snapshot.load().digest));
    record.detail = Some(format!("generation {} by {by}", pending.generation));
    gw.record_or_owe(record).await;
    drop(one);
    if gw.reload_error.lock().is_some() {
        // files that waited with it
        let gw = Arc::clone(gw);
        let wanted = Wanted::disk(How::Watch, By::default());
        tokio::spawn(async move { drop(super::reload(&gw, wanted).await) });
    }
    Ok(pending)
}

/// Returns to an earlier policy: a generation, a digest, or the one before; while one waits to be confirmed, the one
/// it would be taken back to.
///
/// # Errors
/// [`Rejected::Failed`] if there is none or its files are not kept, and those of [`change`].
pub(crate) async fn rollback(
    gw: &Arc<Gateway>,
    which: Option<&str>,
    wanted: Wanted,
) -> Result<Done, Rejected> {
    let failed = |text: &str| Rejected::Failed(text.to_owned());
    let pending = gw.history.pending().filter(|_| which.is_none());
    let found = || -> Result<String, Rejected> {
        let entry = gw.history.find(which).ok_or_else(|| match which {
            Some(which) => failed(&format!(
                "no policy {} in the history",
                which.escape_debug()
            )),
            None => failed("the history has no earlier policy"),
        })?;
        Ok(entry.source.unwrap_or_default())
    };
    // what waits to be confirmed goes back to where its time would take it
    let source = pending.map_or_else(found, |pending| Ok(pending.back_to))?;
    let worker = Arc::clone(gw);
    let folder = blocking(move || worker.history.files(&source)).await;
    let folder = folder.ok_or_else(|| failed("the files of that policy are not kept any more"))?;
    let files = Files::Given(folder);
    super::reload(gw, Wanted { files, ..wanted }).await
}
