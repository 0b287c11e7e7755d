//! A backup unpacked into a folder of its own, and checked there as a start would.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Serialize;
use zeroize::Zeroizing;

use super::archive::{FileEntry, Manifest, Place, unpack};
use super::seal::Opener;
use super::{BackupError, With, key};
use crate::audit::verify::verify as verify_journal;
use crate::config::Config;
use crate::ids;
use crate::reload;
use crate::secrets::Keys;
use crate::store::copy::{self, Counts};

/// What a backup holds.
#[derive(Debug, Serialize)]
pub(crate) struct Checked {
    /// The version of Postern that made it.
    pub(crate) version: String,
    /// When it was made, RFC 3339.
    pub(crate) made: String,
    /// Files in it.
    pub(crate) files: u64,
    /// What the store holds.
    pub(crate) store: Counts,
    /// Records of the journal.
    pub(crate) records: u64,
    /// The number of the journal's last record; 0 if there is none.
    pub(crate) journal: u64,
    /// Whether the master key lies inside.
    pub(crate) with_master_key: bool,
    /// What a start would say about it and go on.
    pub(crate) warnings: Vec<String>,
}

/// Opens a backup, unpacks it into a temporary folder and checks all of it there.
///
/// # Errors
/// [`BackupError`] that says what is wrong and where.
pub(crate) fn verify(file: &Path, with: With<'_>) -> Result<Checked, BackupError> {
    let stage = Stage::unpack(file, with, &std::env::temp_dir(), Take::Checked)?;
    stage.check(with)
}

/// What of a backup is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Take {
    /// All.
    All,
    /// What is checked; no private key is among it.
    Checked,
}

/// An unpacked backup; removed when it is dropped.
pub(super) struct Stage {
    dir: PathBuf,
    pub(super) manifest: Manifest,
    /// The text of the file of the master key, if it lies inside.
    pub(super) key: Option<Zeroizing<String>>,
    /// Files that the configuration names: the whole path of each, and its mode.
    pub(super) named: Vec<(PathBuf, u32)>,
    files: u64,
    what: Take,
}

impl Stage {
    /// Unpacks a backup into a new folder in `below`.
    ///
    /// # Errors
    /// [`BackupError`]; nothing is left then.
    pub(super) fn unpack(
        file: &Path,
        with: With<'_>,
        below: &Path,
        what: Take,
    ) -> Result<Self, BackupError> {
        let input = File::open(file).map_err(BackupError::file("read", file))?;
        let mut input = io::BufReader::new(input);
        let (key, at) = key::read(&mut input, with)?;
        let dir = below.join(format!(".postern-restore-{}", ids::token()));
        make_folder(&dir)?;
        let mut stage = Self {
            dir,
            manifest: Manifest::default(),
            key: None,
            named: Vec::new(),
            files: 0,
            what,
        };
        for place in ["policy", "data", "named"] {
            make_folder(&stage.dir.join(place))?;
        }
        let opened = GzDecoder::new(Opener::new(input, &key, at));
        let manifest = unpack(opened, |entry, content| stage.take(entry, content))?;
        stage.manifest = manifest;
        Ok(stage)
    }

    /// Where a part of the backup was unpacked.
    pub(super) fn part(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn take(&mut self, entry: &FileEntry, content: &mut dyn Read) -> Result<(), BackupError> {
        self.files += 1;
        let to = match entry.place {
            Place::Key => {
                let mut text = Zeroizing::new(String::new());
                let read = content.read_to_string(&mut text);
                read.map_err(BackupError::told)?;
                self.key = Some(text);
                return Ok(());
            }
            Place::Config => self.dir.join("postern.toml"),
            Place::Policy => self.below("policy", &entry.path)?,
            Place::Data => self.below("data", &entry.path)?,
            Place::Named => {
                let place = format!("named/{}", self.named.len());
                self.named.push((PathBuf::from(&entry.path), entry.mode));
                self.dir.join(place)
            }
        };
        match self.what == Take::All || is_checked(entry) {
            true => put(&to, entry.mode, content),
            false => Ok(()),
        }
    }

    fn below(&self, place: &str, path: &str) -> Result<PathBuf, BackupError> {
        let relative = Path::new(path);
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        if path.is_empty() || !relative.components().all(plain) {
            return Err(BackupError::Name(path.to_owned()));
        }
        let to = self.dir.join(place).join(relative);
        if let Some(parent) = to.parent().filter(|p| !p.exists()) {
            make_folder(parent)?;
        }
        Ok(to)
    }

    /// The text of the configuration.
    ///
    /// # Errors
    /// [`BackupError::Malformed`] if there is none.
    pub(super) fn config_text(&self) -> Result<String, BackupError> {
        fs::read_to_string(self.dir.join("postern.toml"))
            .map_err(|_| BackupError::Malformed("it holds no configuration"))
    }

    /// The master keys that open what is in it.
    ///
    /// # Errors
    /// [`BackupError::Malformed`] if they are neither inside nor given.
    pub(super) fn fingerprints(&self, with: With<'_>) -> Result<Vec<String>, BackupError> {
        self.keyed(with, |keys| keys.fingerprints())
    }

    pub(super) fn keyed<T>(
        &self,
        with: With<'_>,
        work: impl FnOnce(&Keys) -> T,
    ) -> Result<T, BackupError> {
        match (with, &self.key) {
            (With::Master(keys, _), _) => Ok(work(keys)),
            (With::Passphrase(_), Some(text)) => {
                let keys = Keys::parse(text);
                let keys = keys.ok_or(BackupError::Malformed("its master key is none"))?;
                Ok(work(&keys))
            }
            (With::Passphrase(_), None) => Err(BackupError::Malformed("it holds no master key")),
        }
    }

    /// Checks store, journal, configuration and policy.
    ///
    /// # Errors
    /// [`BackupError`] for what no start would get over.
    pub(super) fn check(&self, with: With<'_>) -> Result<Checked, BackupError> {
        let data = self.part("data");
        let store = copy::look(&data.join(copy::FILE));
        let store = store.map_err(|e| BackupError::Unusable(e.to_string()))?;
        let chain = self.keyed(with, |keys| keys.derive_all("audit"))?;
        let mut warnings: Vec<String> = self.policy_warning().into_iter().collect();
        let (records, journal) = journal(&data, &chain, &mut warnings)?;
        let config = Config::parse(Path::new(&self.manifest.config), &self.config_text()?);
        config.map_err(|e| BackupError::Unusable(e.to_string()))?;
        Ok(Checked {
            version: self.manifest.version.clone(),
            made: self.manifest.made.clone(),
            files: self.files,
            store,
            records,
            journal,
            with_master_key: self.key.is_some(),
            warnings,
        })
    }

    /// A start goes on with the last good policy where this one does not load.
    fn policy_warning(&self) -> Option<String> {
        let dir = self.part("policy");
        let sources = match reload::read_policy(&dir) {
            Ok(sources) => sources,
            Err(error) => return Some(format!("the policy folder cannot be read: {error}")),
        };
        let loads = policy::load(&sources).is_ok();
        (!loads).then(|| "the policy does not load; see `postern policy check`".to_owned())
    }
}

fn is_checked(entry: &FileEntry) -> bool {
    match entry.place {
        Place::Config | Place::Policy => true,
        Place::Data => entry.path == copy::FILE || entry.path.starts_with("audit/"),
        Place::Key | Place::Named => false,
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.dir).ok();
    }
}

/// Checks the journal; counts its records and names the last. What was wrong with it before is told,
/// and is no fault of the backup.
fn journal(
    data: &Path,
    keys: &[Zeroizing<[u8; 32]>],
    warnings: &mut Vec<String>,
) -> Result<(u64, u64), BackupError> {
    let dir = data.join("audit");
    if !dir.exists() {
        return Ok((0, 0));
    }
    let report = verify_journal(&dir, keys).map_err(BackupError::file("read", &dir))?;
    let faults = report.faults.first();
    warnings.extend(faults.map(|fault| format!("the journal has a fault: {fault}")));
    Ok((report.records, report.last))
}

/// Writes a file of a backup with its own mode, none of it for others.
pub(super) fn put(to: &Path, mode: u32, mut content: impl Read) -> Result<(), BackupError> {
    let failed = || BackupError::file("write", to);
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(to);
    let mut file = file.map_err(failed())?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = content.read(&mut buffer).map_err(BackupError::told)?;
        let part = buffer.get(..read).unwrap_or_default();
        if part.is_empty() {
            break;
        }
        io::Write::write_all(&mut file, part).map_err(failed())?;
    }
    let mode = Permissions::from_mode(mode & 0o755);
    file.set_permissions(mode).map_err(failed())?;
    file.sync_all().map_err(failed())
}

/// Makes a folder with mode 0700, and those above it.
pub(super) fn make_folder(path: &Path) -> Result<(), BackupError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(BackupError::file("make", path))
}
