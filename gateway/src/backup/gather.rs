//! Making a backup: everything is read as it is at one instant, and the new file appears whole or not at all.

use std::fs::{self, DirEntry, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use zeroize::Zeroizing;

use super::archive::{FileEntry, Manifest, Packer, Place};
use super::seal::Sealer;
use super::{BackupError, With, key};
use crate::config::Config;
use crate::ids;
use crate::store::copy;

/// The largest file besides store and journal, in bytes.
const FILE_MAX: u64 = 64 << 20;
/// How often files are read until two readings agree.
const READINGS: usize = 5;
/// Folders below folders.
const DEPTH: usize = 8;

/// What was made.
#[derive(Debug, Serialize)]
pub(crate) struct Made {
    /// Where it is.
    pub(crate) file: PathBuf,
    /// Its length in bytes.
    pub(crate) bytes: u64,
    /// Files in it.
    pub(crate) files: u64,
    /// The number of the journal's last record in it; 0 if there is none.
    pub(crate) journal: u64,
    /// Whether the master key lies inside.
    pub(crate) with_master_key: bool,
    /// Files that the configuration names and that could not be read.
    pub(crate) missing: Vec<PathBuf>,
}

/// Makes a backup of a gateway, running or not, in a new file.
///
/// # Errors
/// [`BackupError`]; there is no new file then.
pub(crate) fn create(
    config: &Config,
    to: &Path,
    with: With<'_>,
    now: &str,
) -> Result<Made, BackupError> {
    if to.symlink_metadata().is_ok() {
        let source = io::ErrorKind::AlreadyExists.into();
        return Err(BackupError::file("write", to)(source));
    }
    let draft = to.with_file_name(format!(".{}.postern-backup", ids::token()));
    let made = write(config, &draft, with, now).and_then(|made| {
        publish(&draft, to).map_err(BackupError::file("write", to))?;
        Ok(Made {
            file: to.to_owned(),
            ..made
        })
    });
    fs::remove_file(&draft).ok();
    if made.is_ok() {
        sync_folder(to);
    }
    made
}

/// Gives a file its name and replaces none.
fn publish(draft: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, draft, CWD, to, RenameFlags::NOREPLACE) {
        // file systems of other makes and of networks may not know that
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            match to.symlink_metadata() {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => fs::rename(draft, to),
            }
        }
        done => Ok(done?),
    }
}

fn sync_folder(of: &Path) {
    let folder = of.parent().filter(|p| !p.as_os_str().is_empty());
    if let Ok(folder) = File::open(folder.unwrap_or_else(|| Path::new("."))) {
        folder.sync_all().ok();
    }
}

fn write(config: &Config, draft: &Path, with: With<'_>, now: &str) -> Result<Made, BackupError> {
    let failed = || BackupError::file("write", draft);
    let mut options = OpenOptions::new();
    let out = options.write(true).create_new(true).mode(0o600).open(draft);
    let mut out = out.map_err(failed())?;
    // the store comes first: whatever it holds is in the journal, which is read later
    let store = Copy::make(&config.data)?;
    let gathered = Gathered::read(config, with)?;
    let journal = Journal::look(&config.data.join("audit"))?;
    let manifest = manifest(config, now, journal.last);
    let (line, key) = key::lock(with)?;
    out.write_all(&line).map_err(failed())?;
    let sealer = Sealer::new(io::BufWriter::new(out), &key);
    let zipped = GzEncoder::new(sealer, Compression::fast());
    let mut packer = Packer::new(zipped, manifest).map_err(failed())?;
    for file in &gathered.files {
        let entry = file.entry();
        packer
            .file(entry, file.content.as_slice())
            .map_err(failed())?;
    }
    store.pack(&mut packer).map_err(failed())?;
    journal.pack(&mut packer).map_err(failed())?;
    let (zipped, files) = packer.finish().map_err(failed())?;
    let sealer = zipped.finish().map_err(failed())?;
    let out = sealer.finish().map_err(failed())?;
    let out = out.into_inner().map_err(|e| failed()(e.into_error()))?;
    out.sync_all().map_err(failed())?;
    Ok(Made {
        file: draft.to_owned(),
        bytes: out.metadata().map_err(failed())?.len(),
        files,
        journal: journal.last,
        with_master_key: matches!(with, With::Passphrase(_)),
        missing: gathered.missing,
    })
}

fn manifest(config: &Config, now: &str, journal: u64) -> Manifest {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    Manifest {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made: now.to_owned(),
        config: text(&config.file),
        policy: text(&config.policy_dir),
        data: text(&config.data),
        master_key: text(&config.master_key),
        journal,
    }
}

/// A copy of the store, removed when it is dropped.
struct Copy(PathBuf);

impl Copy {
    fn make(data: &Path) -> Result<Self, BackupError> {
        let copy = Self(data.join(format!("{DRAFT}{}", ids::token())));
        copy::copy(data, &copy.0)?;
        Ok(copy)
    }

    fn pack<W: Write>(&self, packer: &mut Packer<W>) -> io::Result<()> {
        let file = File::open(&self.0)?;
        let entry = FileEntry {
            place: Place::Data,
            path: copy::FILE.to_owned(),
            mode: 0o600,
            size: file.metadata()?.len(),
        };
        packer.file(entry, file)
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

/// How copies of the store are named while a backup is made.
const DRAFT: &str = "state.db.backup-";

/// The small files, each whole.
#[derive(Default, PartialEq, Eq)]
struct Gathered {
    files: Vec<Held>,
    missing: Vec<PathBuf>,
}

#[derive(PartialEq, Eq)]
struct Held {
    place: Place,
    path: String,
    mode: u32,
    content: Zeroizing<Vec<u8>>,
}

impl Held {
    fn entry(&self) -> FileEntry {
        FileEntry {
            place: self.place,
            path: self.path.clone(),
            mode: self.mode,
            size: u64::try_from(self.content.len()).unwrap_or(u64::MAX),
        }
    }
}

impl Gathered {
    /// Reads until two readings agree, so that no change is caught half done.
    fn read(config: &Config, with: With<'_>) -> Result<Self, BackupError> {
        let mut before = Self::once(config, with)?;
        for _ in 0..READINGS {
            let now = Self::once(config, with)?;
            if now == before {
                return Ok(now);
            }
            before = now;
        }
        Err(BackupError::Restless(config.data.clone()))
    }

    fn once(config: &Config, with: With<'_>) -> Result<Self, BackupError> {
        let mut all = Self::default();
        all.add(Place::Config, "", &config.file)?;
        if matches!(with, With::Passphrase(_)) {
            all.add(Place::Key, "", &config.master_key)?;
        }
        all.folder(Place::Policy, &config.policy_dir, "", 0)?;
        all.folder(Place::Data, &config.data, "", 0)?;
        for path in config.named_files() {
            let name = path.to_string_lossy().into_owned();
            let beneath = path.starts_with(&config.policy_dir) || path.starts_with(&config.data);
            if !beneath && all.add(Place::Named, &name, path).is_err() {
                all.missing.push(path.to_owned());
            }
        }
        Ok(all)
    }

    fn folder(
        &mut self,
        place: Place,
        dir: &Path,
        below: &str,
        depth: usize,
    ) -> Result<(), BackupError> {
        let failed = || BackupError::file("read", dir);
        let entries = fs::read_dir(dir).map_err(failed())?;
        let mut entries: Vec<DirEntry> = entries.collect::<Result<_, _>>().map_err(failed())?;
        entries.sort_by_key(DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| is_kept(place, below, name)) else {
                continue;
            };
            let path = match below {
                "" => name.to_owned(),
                below => format!("{below}/{name}"),
            };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < DEPTH => {
                    self.folder(place, &entry.path(), &path, depth + 1)?;
                }
                Ok(kind) if kind.is_file() => match self.add(place, &path, &entry.path()) {
                    // drafts come and go
                    Err(BackupError::File { source, .. })
                        if source.kind() == io::ErrorKind::NotFound => {}
                    other => other?,
                },
                _ => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, place: Place, path: &str, at: &Path) -> Result<(), BackupError> {
        let failed = || BackupError::file("read", at);
        let file = File::open(at).map_err(failed())?;
        let meta = file.metadata().map_err(failed())?;
        if !meta.is_file() || meta.size() > FILE_MAX {
            let text = "not a file of at most 64 MiB";
            return Err(failed()(io::Error::other(text)));
        }
        let mut content = Zeroizing::new(Vec::new());
        let mut file = file.take(FILE_MAX);
        file.read_to_end(&mut content).map_err(failed())?;
        self.files.push(Held {
            place,
            path: path.to_owned(),
            mode: meta.permissions().mode() & 0o777,
            content,
        });
        Ok(())
    }
}

/// Store and journal are read in ways of their own; locks and sockets are of a running gateway.
fn is_kept(place: Place, below: &str, name: &str) -> bool {
    match (place, below) {
        (Place::Data, "") => {
            !name.starts_with(copy::FILE) && !matches!(name, "LOCK" | "audit" | "control.sock")
        }
        _ => !name.starts_with('.'),
    }
}

/// The journal: each segment up to its last whole record.
struct Journal {
    dir: PathBuf,
    head: Option<Vec<u8>>,
    /// Names and lengths in the order of the records.
    segments: Vec<(String, u64)>,
    last: u64,
}

impl Journal {
    fn look(dir: &Path) -> Result<Self, BackupError> {
        let failed = || BackupError::file("read", dir);
        // the head names a record that is there already, so it is read first
        let head = match fs::read(dir.join("head")) {
            Ok(head) => Some(head),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(failed()(e)),
        };
        let mut names: Vec<String> = match fs::read_dir(dir) {
            Ok(entries) => entries
                .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                .filter(|name| name.ends_with(".jsonl"))
                .collect(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(failed()(e)),
        };
        names.sort();
        let (mut segments, mut last) = (Vec::new(), 0);
        for name in names {
            let (size, seq) = whole(&dir.join(&name)).map_err(failed())?;
            last = seq.unwrap_or(last);
            segments.push((name, size));
        }
        Ok(Self {
            dir: dir.to_owned(),
            head,
            segments,
            last,
        })
    }

    fn pack<W: Write>(&self, packer: &mut Packer<W>) -> io::Result<()> {
        let entry = |name: &str, size: u64| FileEntry {
            place: Place::Data,
            path: format!("audit/{name}"),
            mode: 0o600,
            size,
        };
        for (name, size) in &self.segments {
            packer.file(entry(name, *size), File::open(self.dir.join(name))?)?;
        }
        match &self.head {
            Some(head) => {
                let size = u64::try_from(head.len()).unwrap_or(u64::MAX);
                packer.file(entry("head", size), head.as_slice())
            }
            None => Ok(()),
        }
    }
}

/// The length of a segment up to its last line break, and the number of the record before it.
fn whole(path: &Path) -> io::Result<(u64, Option<u64>)> {
    const BLOCK: u64 = 64 * 1024;
    let mut file = File::open(path)?;
    let mut end = file.metadata()?.len();
    let mut tail: Vec<u8> = Vec::new();
    let mut start = end;
    // backwards until the last whole line is in sight
    loop {
        let breaks = tail.iter().filter(|b| **b == b'\n').count();
        if breaks >= 2 || start == 0 {
            break;
        }
        let from = start.saturating_sub(BLOCK);
        let mut block = vec![0; usize::try_from(start - from).unwrap_or_default()];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut block)?;
        block.append(&mut tail);
        (tail, start) = (block, from);
    }
    let cut = tail
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    end -= u64::try_from(tail.len() - cut).unwrap_or_default();
    let lines = tail.get(..cut.saturating_sub(1)).unwrap_or_default();
    let line = lines.rsplit(|b| *b == b'\n').next().unwrap_or_default();
    let record: Option<serde_json::Value> = serde_json::from_slice(line).ok();
    Ok((end, record.and_then(|r| r.get("seq")?.as_u64())))
}

#[cfg(test)]
mod tests {
    use super::whole;
    use crate::config::tests::Folder;

    #[test]
    fn a_segment_is_whole_up_to_its_last_line_break() {
        let folder = Folder::new();
        let path = folder.path().join("x");
        let long = "x".repeat(200_000);
        for (text, want) in [
            (String::new(), (0, None)),
            ("{\"seq\":1}\n".to_owned(), (10, Some(1))),
            ("{\"seq\":1}\n{\"seq\":2}\n".to_owned(), (20, Some(2))),
            ("{\"seq\":1}\n{\"seq\":2}\n{\"se".to_owned(), (20, Some(2))),
            ("{\"se".to_owned(), (0, None)),
            (
                format!("{{\"seq\":1}}\n{{\"seq\":2,\"x\":\"{long}\"}}\n"),
                (200_027, Some(2)),
            ),
        ] {
            std::fs::write(&path, &text).unwrap();
            assert_eq!(whole(&path).unwrap(), want, "{} bytes", text.len());
        }
    }
}
