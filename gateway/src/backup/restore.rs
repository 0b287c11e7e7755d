//! Restoring: everything is unpacked and checked beside its place, what may have been used since is ended, and only
//! then it is put in place; the configuration comes last, so that nothing starts on a half.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml_edit::DocumentMut;
use zeroize::Zeroizing;

use super::stage::{Checked, Stage, Take, make_folder, put};
use super::{BackupError, With};
use crate::audit::{Audit, Durability, Event, Record, reason};
use crate::config::{Config, lock};
use crate::secrets::Keys;
use crate::store::copy::{self, Ended};

/// Seconds of a TOTP step.
const STEP: i64 = 30;

/// Where a backup goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// To where everything was.
    There,
    /// Into one folder.
    Folder(&'a Path),
}

/// What was restored.
#[derive(Debug, Serialize)]
pub(crate) struct Restored {
    /// The configuration.
    pub(crate) config: PathBuf,
    /// The policy folder.
    pub(crate) policy: PathBuf,
    /// The state folder.
    pub(crate) data: PathBuf,
    /// The file of the master key.
    pub(crate) master_key: PathBuf,
    /// What the backup holds.
    pub(crate) backup: Checked,
    /// What was ended.
    pub(crate) ended: Ended,
    /// Files that were there already and stayed as they are.
    pub(crate) kept: Vec<PathBuf>,
}

/// Restores a backup where nothing is yet; `now` is in UNIX seconds.
///
/// # Errors
/// [`BackupError`]; nothing was written then.
pub(crate) async fn restore(
    file: &Path,
    with: With<'_>,
    target: Target<'_>,
    now: i64,
) -> Result<Restored, BackupError> {
    let below = match target {
        Target::Folder(dir) => dir.to_owned(),
        Target::There => std::env::temp_dir(),
    };
    let mut undo = Undo::default();
    undo.folder(&below)?;
    let first = Stage::unpack(file, with, &below, Take::Checked)?;
    first.check(with)?;
    let places = Places::of(&first, target)?;
    places.are_free(&first, with)?;
    drop(first);
    // beside its place the state folder needs a rename to get there
    undo.parent(&places.data)?;
    let beside = places.data.parent().unwrap_or(&below);
    let stage = Stage::unpack(file, with, beside, Take::All)?;
    let backup = stage.check(with)?;
    let ended = settle(&stage, with, &backup, now).await?;
    let kept = places.fill(&stage, with, &mut undo)?;
    undo.keep();
    Ok(Restored {
        config: places.config,
        policy: places.policy,
        data: places.data,
        master_key: places.master_key,
        backup,
        ended,
        kept,
    })
}

/// Ends what must not come back, on record.
async fn settle(
    stage: &Stage,
    with: With<'_>,
    backup: &Checked,
    now: i64,
) -> Result<Ended, BackupError> {
    let data = stage.part("data");
    // a code may have been used a step ahead of the clock
    let ended = copy::settle(&data, now.div_euclid(STEP) + 2)?;
    let chain = stage.keyed(with, |keys: &Keys| keys.derive_all("audit"))?;
    let audit = Audit::open(&data.join("audit"), &chain)?;
    let mut record = Record::new(Event::Started, "ok", reason::RESTORED);
    record.detail = Some(format!(
        "from the backup of {} with record {} as its last; ended {} sessions, {} links, {} recovery codes",
        backup.made, backup.journal, ended.sessions, ended.links, ended.recovery_codes
    ));
    let written = audit.write(record, Durability::Durable).await;
    audit.close().await;
    written?;
    Ok(ended)
}

/// Where each part goes.
struct Places {
    config: PathBuf,
    text: String,
    policy: PathBuf,
    data: PathBuf,
    master_key: PathBuf,
    /// For each file that the configuration names, where it goes.
    named: Vec<(PathBuf, PathBuf)>,
}

impl Places {
    fn of(stage: &Stage, target: Target<'_>) -> Result<Self, BackupError> {
        let (was, text) = (Path::new(&stage.manifest.config), stage.config_text()?);
        let unusable = |e: &dyn std::error::Error| BackupError::Unusable(e.to_string());
        let before = Config::parse(was, &text).map_err(|e| unusable(&e))?;
        let (at, text) = match target {
            Target::There => (was.to_owned(), text),
            Target::Folder(dir) => {
                let mut document: DocumentMut = text
                    .parse()
                    .map_err(|e: toml_edit::TomlError| unusable(&e))?;
                for (name, value) in [
                    ("data", "data"),
                    ("policy", "policy"),
                    ("master-key", "keys/master.key"),
                ] {
                    document.insert(name, toml_edit::value(value));
                }
                (dir.join("postern.toml"), document.to_string())
            }
        };
        let config = Config::parse(&at, &text).map_err(|e| unusable(&e))?;
        let named = before.named_files().into_iter().zip(config.named_files());
        Ok(Self {
            named: named.map(|(a, b)| (a.to_owned(), b.to_owned())).collect(),
            config: config.file,
            text,
            policy: config.policy_dir,
            data: config.data,
            master_key: config.master_key,
        })
    }

    /// Refuses to write over anything, and beside a gateway that runs.
    fn are_free(&self, stage: &Stage, with: With<'_>) -> Result<(), BackupError> {
        if self.data.exists() {
            // a gateway that runs holds it
            let held = lock::acquire(&self.data)?;
            drop(held);
        }
        for folder in [&self.data, &self.policy] {
            if !is_empty(folder) {
                return Err(BackupError::Occupied(folder.clone()));
            }
        }
        if self.config.symlink_metadata().is_ok() {
            return Err(BackupError::Occupied(self.config.clone()));
        }
        if self.master_key.symlink_metadata().is_ok() {
            let there = Keys::load(&self.master_key)?.fingerprints();
            if there != stage.fingerprints(with)? {
                return Err(BackupError::Occupied(self.master_key.clone()));
            }
        }
        Ok(())
    }

    fn fill(
        &self,
        stage: &Stage,
        with: With<'_>,
        undo: &mut Undo,
    ) -> Result<Vec<PathBuf>, BackupError> {
        let mut kept = Vec::new();
        if self.master_key.exists() {
            kept.push(self.master_key.clone());
        } else {
            let text = key_text(stage, with)?;
            undo.file(&self.master_key, 0o600, text.as_bytes())?;
        }
        for (index, (was, mode)) in stage.named.iter().enumerate() {
            let place = self.named.iter().find(|(before, _)| before == was);
            let Some((_, to)) = place else { continue };
            if to.symlink_metadata().is_ok() {
                kept.push(to.clone());
                continue;
            }
            let from = stage.part("named").join(index.to_string());
            let file = fs::File::open(&from).map_err(BackupError::file("read", &from))?;
            undo.file(to, *mode, file)?;
        }
        undo.folder(&self.policy)?;
        undo.tree(&stage.part("policy"), &self.policy)?;
        undo.parent(&self.data)?;
        fs::remove_file(self.data.join("LOCK")).ok();
        let from = stage.part("data");
        fs::rename(from, &self.data).map_err(BackupError::file("write", &self.data))?;
        undo.moved = Some(self.data.clone());
        undo.file(&self.config, 0o600, self.text.as_bytes())?;
        Ok(kept)
    }
}

fn key_text(stage: &Stage, with: With<'_>) -> Result<Zeroizing<String>, BackupError> {
    match (with, &stage.key) {
        (_, Some(text)) => Ok(text.clone()),
        (With::Master(_, path), None) => {
            let text = fs::read_to_string(path).map(Zeroizing::new);
            text.map_err(BackupError::file("read", path))
        }
        (With::Passphrase(_), None) => Err(BackupError::Malformed("it holds no master key")),
    }
}

/// Whether there is no such folder, or nothing in it but the lock of a gateway that ended.
fn is_empty(folder: &Path) -> bool {
    match fs::read_dir(folder) {
        Ok(mut entries) => entries.all(|e| e.is_ok_and(|e| e.file_name() == "LOCK")),
        Err(e) => e.kind() == io::ErrorKind::NotFound,
    }
}

/// What was made; taken away again when it is dropped before the end.
#[derive(Default)]
struct Undo {
    made: Vec<PathBuf>,
    /// The state folder, which is put in place whole.
    moved: Option<PathBuf>,
}

impl Undo {
    /// Makes a folder and those above it.
    fn folder(&mut self, path: &Path) -> Result<(), BackupError> {
        let above = path.ancestors().filter(|p| !p.as_os_str().is_empty());
        let missing: Vec<_> = above.take_while(|p| !p.exists()).collect();
        self.made
            .extend(missing.into_iter().rev().map(Path::to_owned));
        make_folder(path)
    }

    fn parent(&mut self, path: &Path) -> Result<(), BackupError> {
        match path.parent().filter(|p| !p.as_os_str().is_empty()) {
            Some(parent) => self.folder(parent),
            None => Ok(()),
        }
    }

    fn file(&mut self, to: &Path, mode: u32, content: impl io::Read) -> Result<(), BackupError> {
        self.parent(to)?;
        put(to, mode, content)?;
        self.made.push(to.to_owned());
        Ok(())
    }

    /// Copies what a folder holds.
    fn tree(&mut self, from: &Path, to: &Path) -> Result<(), BackupError> {
        use std::os::unix::fs::PermissionsExt;
        let failed = || BackupError::file("read", from);
        for entry in fs::read_dir(from).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let (path, to) = (entry.path(), to.join(entry.file_name()));
            let meta = entry.metadata().map_err(failed())?;
            if meta.is_dir() {
                self.folder(&to)?;
                self.tree(&path, &to)?;
            } else {
                let file = fs::File::open(&path).map_err(failed())?;
                self.file(&to, meta.permissions().mode(), file)?;
            }
        }
        Ok(())
    }

    fn keep(mut self) {
        self.made.clear();
        self.moved = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(data) = &self.moved {
            fs::remove_dir_all(data).ok();
        }
        for path in self.made.iter().rev() {
            if fs::remove_file(path).is_err() {
                fs::remove_dir(path).ok();
            }
        }
    }
}
