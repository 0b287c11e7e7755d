//! Reads a policy folder: the files directly in it, then what those name: folders of tenants and lists of networks.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::DirEntry;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use policy::{Sources, Wanted};

use super::files::{FileError, Links, check, io_error, read_text, refused};

/// The largest policy file or list in bytes.
const FILE_MAX: u64 = 8 << 20;

/// The largest number of policy files and lists in one folder.
const FILES_MAX: usize = 10_000;

/// One policy file or list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PolicyFile {
    /// Its path in messages.
    pub(crate) path: String,
    /// Its path below the policy folder.
    pub(crate) relative: String,
    /// What it says.
    pub(crate) text: String,
    /// Whether it is a list of networks.
    pub(crate) list: bool,
}

impl PolicyFile {
    /// The folder below the policy folder; empty for a file directly in it.
    pub(crate) fn folder(&self) -> &str {
        self.relative
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder)
    }
}

/// A policy folder as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PolicyFolder {
    /// The files directly in it sorted by name, then those of tenants, then lists.
    pub(crate) files: Vec<PolicyFile>,
    /// It and every folder below it that was read: what there is to watch.
    pub(crate) folders: Vec<PathBuf>,
}

impl PolicyFolder {
    /// Returns the files as the language's sources.
    pub(crate) fn sources(self) -> Sources {
        let mut sources = Sources::new();
        for file in self.files {
            let PolicyFile {
                path,
                relative,
                text,
                list,
            } = file;
            match list {
                true => sources.add_list(&path, &relative, text),
                false => sources.add_at(&path, &relative, text),
            };
        }
        sources
    }
}

/// Reads every `*.toml` that lies directly in a policy folder or in the folder of a tenant, and the lists that zones
/// are read from. What is named but not there is left for the policy to report, with the place that names it.
///
/// # Errors
/// For a folder or file that others can change, a sub-folder or file there that nothing names, a link, a file that
/// is too large or no UTF-8, and what the system refuses.
pub(crate) fn read(dir: &Path) -> Result<PolicyFolder, FileError> {
    let mut reading = Reading {
        dir,
        out: PolicyFolder::default(),
    };
    let root = reading.enter("")?;
    reading.policy_files("", &root)?;
    let mut sources = Sources::new();
    for file in &reading.out.files {
        sources.add(&file.path, file.text.clone());
    }
    // root files that are not sound do not tell; loading says why
    let Some(wanted) = policy::wanted(&sources) else {
        return Ok(reading.out);
    };
    let claims = Claims::new(&wanted);
    reading.below("", &root, &claims)?;
    for list in &wanted.lists {
        reading.list(list)?;
    }
    Ok(reading.out)
}

/// Which folders below the policy folder are read.
struct Claims {
    tenants: BTreeSet<String>,
    /// Folders that lead to those of tenants or hold lists.
    between: BTreeSet<String>,
}

impl Claims {
    fn new(wanted: &Wanted) -> Self {
        let mut between = BTreeSet::new();
        for path in wanted.tenants.iter().chain(&wanted.lists) {
            let mut path = path.as_str();
            while let Some((above, _)) = path.rsplit_once('/') {
                between.insert(above.to_owned());
                path = above;
            }
        }
        Self {
            tenants: wanted.tenants.iter().cloned().collect(),
            between,
        }
    }

    fn hold(&self, relative: &str) -> bool {
        self.tenants.contains(relative) || self.between.contains(relative)
    }
}

struct Reading<'a> {
    dir: &'a Path,
    out: PolicyFolder,
}

impl Reading<'_> {
    fn path(&self, relative: &str) -> PathBuf {
        match relative {
            "" => self.dir.to_owned(),
            relative => self.dir.join(relative),
        }
    }

    /// Checks a folder and lists what is not hidden in it. The policy folder itself may be a link.
    fn enter(&mut self, relative: &str) -> Result<Vec<DirEntry>, FileError> {
        let path = self.path(relative);
        let failed = |source| io_error(&path, source);
        let meta = match relative {
            "" => path.metadata(),
            _ => path.symlink_metadata(),
        };
        let meta = meta.map_err(failed)?;
        check(&path, meta.mode(), meta.uid())?;
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") {
                entries.push(entry);
            }
        }
        entries.sort_by_key(DirEntry::file_name);
        self.out.folders.push(path);
        Ok(entries)
    }

    fn policy_files(&mut self, relative: &str, entries: &[DirEntry]) -> Result<(), FileError> {
        for entry in entries.iter().filter(|entry| is_policy(entry)) {
            let path = entry.path();
            let is_dir = entry
                .file_type()
                .map_err(|source| io_error(&path, source))?
                .is_dir();
            if !is_dir {
                let name = join(relative, &entry.file_name());
                let Some(name) = name else {
                    return Err(refused(&path, "the name is not UTF-8"));
                };
                self.file(name, false)?;
            }
        }
        Ok(())
    }

    /// Reads the folders in a folder; each must be one that the policy names, or lead to one.
    fn below(
        &mut self,
        relative: &str,
        entries: &[DirEntry],
        claims: &Claims,
    ) -> Result<(), FileError> {
        for entry in entries {
            let path = entry.path();
            let kind = entry
                .file_type()
                .map_err(|source| io_error(&path, source))?;
            let name = join(relative, &entry.file_name());
            let named = name.as_ref().is_some_and(|name| claims.hold(name));
            if kind.is_symlink() && named {
                return Err(refused(
                    &path,
                    "a link, and folders of a policy are not reached by links",
                ));
            }
            if !kind.is_dir() {
                continue;
            }
            let Some(name) = name.filter(|_| named) else {
                let what =
                    "no [tenant.…] and no [zone-file] of the policy folder names this sub-folder";
                return Err(refused(&path, what));
            };
            let inside = self.enter(&name)?;
            if claims.tenants.contains(&name) {
                self.policy_files(&name, &inside)?;
            } else if let Some(stray) = inside.iter().find(|entry| is_policy(entry)) {
                let what = "no tenant has this policy file; it belongs directly into the policy folder or that of a tenant";
                return Err(refused(&stray.path(), what));
            }
            self.below(&name, &inside, claims)?;
        }
        Ok(())
    }

    fn list(&mut self, relative: &str) -> Result<(), FileError> {
        match self.file(relative.to_owned(), true) {
            Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    fn file(&mut self, relative: String, list: bool) -> Result<(), FileError> {
        let path = self.path(&relative);
        if self.out.files.len() >= FILES_MAX {
            return Err(refused(self.dir, "too many policy files"));
        }
        let text = read_text(&path, FILE_MAX, Links::Refuse)?;
        self.out.files.push(PolicyFile {
            path: path.display().to_string(),
            relative,
            text,
            list,
        });
        Ok(())
    }
}

fn is_policy(entry: &DirEntry) -> bool {
    Path::new(&entry.file_name())
        .extension()
        .is_some_and(|e| e == "toml")
}

/// The path of an entry below the policy folder; `None` for a name that is not UTF-8.
fn join(folder: &str, name: &OsStr) -> Option<String> {
    let name = name.to_str()?;
    Some(match folder {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    })
}

#[cfg(test)]
mod tests;
