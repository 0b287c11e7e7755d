//! Reads a policy folder: the files directly in it, then what those name: folders of tenants and lists of networks.

use std::collections::BTreeSet;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt;
use std::fs::DirEntry;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use policy::{Diagnostic, Sources, Wanted};

use super::files::{FileError, Links, check, io_error, lines_of_unix, read_text, refused};
use crate::cli::exit::chain;
use crate::reload::findings;

/// The largest policy file or list in bytes.
const FILE_MAX: u64 = 8 << 20;

/// The largest number of policy files and lists in one folder.
const FILES_MAX: usize = 10_000;

/// How many files and folders that are not read are told one by one.
const FAULTS_MAX: usize = 100;

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

/// Why a policy folder cannot be used: all that is not as it must be in it, and what is wrong in the rest.
#[derive(Debug)]
pub(crate) struct FolderError {
    /// The file or folder met first that is not read.
    pub(crate) first: FileError,
    /// The others.
    pub(crate) more: Box<[FileError]>,
    /// The files that were read.
    pub(crate) sources: Box<Sources>,
    /// What is wrong in them, as far as that does not depend on what is not read.
    pub(crate) found: Box<[Diagnostic]>,
}

impl FolderError {
    /// Everything that is not read, in the order in which it was met.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &FileError> {
        std::iter::once(&self.first).chain(&self.more)
    }
}

impl From<FileError> for FolderError {
    fn from(first: FileError) -> Self {
        Self {
            first,
            more: Box::default(),
            sources: Box::default(),
            found: Box::default(),
        }
    }
}

impl Error for FolderError {}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(&self.first))?;
        for fault in &self.more {
            write!(f, "\n{}", chain(fault))?;
        }
        for finding in findings(&self.sources, &self.found) {
            write!(f, "\n{finding}")?;
        }
        Ok(())
    }
}

/// Reads every `*.toml` that lies directly in a policy folder or in the folder of a tenant, and the lists that zones
/// are read from. What is named but not there is left for the policy to report, with the place that names it.
///
/// # Errors
/// For a folder or file that others can change, a sub-folder or file there that nothing names, a link, a file that
/// is too large or no UTF-8, and what the system refuses: all of them, and what is wrong in the files beside them.
pub(crate) fn read(dir: &Path) -> Result<PolicyFolder, FolderError> {
    let mut reading = Reading {
        dir,
        out: PolicyFolder::default(),
        faults: Vec::new(),
    };
    let done = reading.all();
    let Reading { out, faults, .. } = reading;
    let to_its_end = done.is_ok();
    let mut faults = faults.into_iter().chain(done.err());
    let Some(first) = faults.next() else {
        return Ok(out);
    };
    let sources = match to_its_end {
        true => out.sources(),
        false => Sources::new(),
    };
    Err(FolderError {
        first,
        more: faults.collect(),
        found: policy::misspelt(&sources).into(),
        sources: Box::new(sources),
    })
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
    /// What is not read; the rest is read all the same.
    faults: Vec<FileError>,
}

impl Reading<'_> {
    /// Reads until something stands against all that is left.
    fn all(&mut self) -> Result<(), FileError> {
        let root = self.enter("")?;
        self.policy_files("", &root)?;
        let sources = self.out.clone().sources();
        // root files that are not sound do not tell; loading says why
        let wanted = policy::wanted(&sources).filter(|_| self.faults.is_empty());
        let Some(wanted) = wanted else {
            return Ok(());
        };
        self.below("", &root, &Claims::new(&wanted))?;
        for list in &wanted.lists {
            self.file(list.clone(), true)?;
        }
        Ok(())
    }

    /// Notes what is not read; too much of that ends the reading.
    fn note(&mut self, fault: FileError) -> Result<(), FileError> {
        if self.faults.len() >= FAULTS_MAX {
            return Err(refused(self.dir, "there is more that is not read"));
        }
        self.faults.push(fault);
        Ok(())
    }

    fn refuse(&mut self, path: &Path, what: &'static str) -> Result<(), FileError> {
        self.note(refused(path, what))
    }

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
                match name {
                    Some(name) => self.file(name, false)?,
                    None => self.refuse(&path, "the name is not UTF-8")?,
                }
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
                self.refuse(
                    &path,
                    "a link, and folders of a policy are not reached by links",
                )?;
            }
            if !kind.is_dir() {
                continue;
            }
            let Some(name) = name.filter(|_| named) else {
                let what =
                    "no [tenant.…] and no [zone-file] of the policy folder names this sub-folder";
                self.refuse(&path, what)?;
                continue;
            };
            let inside = match self.enter(&name) {
                Ok(inside) => inside,
                Err(fault) => {
                    self.note(fault)?;
                    continue;
                }
            };
            if claims.tenants.contains(&name) {
                self.policy_files(&name, &inside)?;
            } else if let Some(stray) = inside.iter().find(|entry| is_policy(entry)) {
                let what = "no tenant has this policy file; it belongs directly into the policy folder or that of a tenant";
                self.refuse(&stray.path(), what)?;
            }
            self.below(&name, &inside, claims)?;
        }
        Ok(())
    }

    /// Reads one file; a list that is not there is left for the policy to report.
    fn file(&mut self, relative: String, list: bool) -> Result<(), FileError> {
        let path = self.path(&relative);
        if self.out.files.len() >= FILES_MAX {
            return Err(refused(self.dir, "too many policy files"));
        }
        let text = read_text(&path, FILE_MAX, Links::Refuse);
        let text = text.and_then(|text| match list {
            true => Ok(text),
            false => lines_of_unix(&path, text),
        });
        match text {
            Ok(text) => self.out.files.push(PolicyFile {
                path: path.display().to_string(),
                relative,
                text,
                list,
            }),
            Err(FileError::Io { source, .. })
                if list && source.kind() == io::ErrorKind::NotFound => {}
            Err(fault) => self.note(fault)?,
        }
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
