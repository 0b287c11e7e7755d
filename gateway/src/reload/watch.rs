//! Reload on file change: after the last write and a moment of quiet, read twice the same.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use notify::{
    EventKind, RecursiveMode, Watcher, event::AccessKind, event::AccessMode, event::CreateKind,
};
use tokio::sync::mpsc;

use super::change::Wanted;
use super::folder::Folder;
use super::history::{By, How};
use crate::gateway::Gateway;
use crate::snapshot::folder::{self, PolicyFolder};

const QUIET: Duration = Duration::from_millis(200);
const AGAIN: Duration = Duration::from_millis(50);
/// How often a folder is looked into again because new folders came to it.
const ROUNDS: usize = 5;

/// Watches the policy folder, the folders of tenants and lists in it, and the folders of configured certificates until
/// the gateway ends.
/// Where the system cannot watch, reload works by signal and command only, and the log says so.
pub(crate) async fn run(gw: Arc<Gateway>) {
    let (tell, mut told) = mpsc::unbounded_channel::<()>();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|e| settles(&e.kind)) {
            let _ = tell.send(());
        }
    });
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => {
            tracing::warn!(%error, "files are not watched; use reload or SIGHUP");
            return;
        }
    };
    let mut watched = BTreeSet::new();
    watch(&mut watcher, &mut watched, folders(&gw));
    // what was saved between the reading at the start and the watching tells nobody
    if settled(&gw, &mut watcher, &mut watched).await && is_news(&gw) {
        drop(super::reload(&gw, Wanted::disk(How::Watch, By::default())).await);
    }
    while told.recv().await.is_some() {
        quiet(&mut told).await;
        if settled(&gw, &mut watcher, &mut watched).await {
            let wanted = Wanted::disk(How::Watch, By::default());
            drop(super::reload(&gw, wanted).await);
        }
    }
}

/// Tells whether the folder is not what the gateway started with. Where the last good policy stands in for a bad
/// folder, that is known already.
fn is_news(gw: &Gateway) -> bool {
    if gw.cached.load(Ordering::Relaxed) {
        return false;
    }
    let now = Folder::read(&gw.config.policy_dir);
    now.map_or(true, |folder| !gw.history.is_in_force(&folder.digest()))
}

/// Waits until the policy folder lies still and all of it is watched; says whether it does.
async fn settled(
    gw: &Gateway,
    watcher: &mut impl Watcher,
    watched: &mut BTreeSet<PathBuf>,
) -> bool {
    for _ in 0..ROUNDS {
        let Some(found) = steady(&gw.config.policy_dir).await else {
            return false;
        };
        let mut wanted = folders(gw);
        match found {
            Some(found) => wanted.extend(found.folders),
            // what cannot be read is watched as before, for it may be put right
            None => wanted.extend(watched.iter().cloned()),
        }
        let more = !wanted.is_subset(watched);
        watch(watcher, watched, wanted);
        // what was written to a new folder before it was watched is seen by reading once more
        if !more {
            break;
        }
    }
    true
}

/// Watches exactly these folders from now on. One that was removed and made again is another one to the system, so all
/// are set anew.
fn watch(watcher: &mut impl Watcher, watched: &mut BTreeSet<PathBuf>, wanted: BTreeSet<PathBuf>) {
    for gone in watched.difference(&wanted) {
        // it may be gone from the disk, and its watch with it
        drop(watcher.unwatch(gone));
    }
    for folder in &wanted {
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            tracing::warn!(%error, folder = %folder.display(), "folder is not watched");
        }
    }
    *watched = wanted;
}

/// A finished write, a rename into or out of the folder, a new folder, or a removal; reads are none of these.
fn settles(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Modify(notify::event::ModifyKind::Name(_))
        | EventKind::Remove(_)
        | EventKind::Create(CreateKind::Folder) => true,
        EventKind::Any
        | EventKind::Access(_)
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Other => false,
    }
}

async fn quiet(told: &mut mpsc::UnboundedReceiver<()>) {
    while let Ok(Some(())) = tokio::time::timeout(QUIET, told.recv()).await {}
}

/// Waits until two readings of the folder are the same; gives up after some. A folder that cannot be read is `None`
/// within: loading it says why.
async fn steady(dir: &Path) -> Option<Option<PolicyFolder>> {
    let mut last = folder::read(dir).ok();
    for _ in 0..20 {
        tokio::time::sleep(AGAIN).await;
        let next = folder::read(dir).ok();
        if next == last {
            return Some(next);
        }
        last = next;
    }
    None
}

/// The policy folder and the folders of configured certificates.
fn folders(gw: &Gateway) -> BTreeSet<PathBuf> {
    let mut folders: BTreeSet<PathBuf> = [gw.config.policy_dir.clone()].into();
    for pair in &gw.config.tls.certificates {
        for file in [&pair.chain, &pair.key] {
            folders.extend(file.parent().map(Path::to_owned));
        }
    }
    folders
}
