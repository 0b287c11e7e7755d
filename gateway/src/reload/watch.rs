//! Reload on file change: after the last write and a moment of quiet, read twice the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecursiveMode, Watcher, event::AccessKind, event::AccessMode};
use tokio::sync::mpsc;

use super::change::Wanted;
use super::history::{By, How};
use crate::gateway::Gateway;
use crate::snapshot::files;

const QUIET: Duration = Duration::from_millis(200);
const AGAIN: Duration = Duration::from_millis(50);

/// Watches the policy folder and the folders of configured certificates until the gateway ends.
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
    for folder in folders(&gw) {
        if let Err(error) = watcher.watch(&folder, RecursiveMode::NonRecursive) {
            tracing::warn!(%error, folder = %folder.display(), "folder is not watched");
        }
    }
    while told.recv().await.is_some() {
        quiet(&mut told).await;
        if steady(&gw.config.policy_dir).await {
            let wanted = Wanted::disk(How::Watch, By::default());
            drop(super::reload(&gw, wanted).await);
        }
    }
}

/// A finished write, a rename into or out of the folder, or a removal; reads are none of these.
fn settles(kind: &EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Modify(notify::event::ModifyKind::Name(_)) | EventKind::Remove(_) => true,
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

/// Waits until two readings of the folder are the same; gives up after some.
async fn steady(dir: &Path) -> bool {
    let mut last = files::read_folder(dir).ok();
    for _ in 0..20 {
        tokio::time::sleep(AGAIN).await;
        let next = files::read_folder(dir).ok();
        if next == last {
            return true;
        }
        last = next;
    }
    false
}

fn folders(gw: &Gateway) -> Vec<PathBuf> {
    let mut folders = vec![gw.config.policy_dir.clone()];
    for pair in &gw.config.tls.certificates {
        for file in [&pair.chain, &pair.key] {
            folders.extend(file.parent().map(Path::to_owned));
        }
    }
    folders.sort();
    folders.dedup();
    folders
}
