//! What was put in force, when, by whom, and the files of it: sealed in the state folder, bounded.
//!
//! Everything is sealed under the master key, so that somebody who can only write the state folder
//! can neither invent a policy nor bring back one under another name.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::folder::Folder;
use crate::clock;
use crate::disk::{make_folder, put};
use crate::secrets::Keys;

/// The most policies whose files are kept.
const KEPT_MAX: usize = 50;
/// The most refused changes that are listed.
const REFUSED_MAX: usize = 50;
/// The most bytes of all kept files together; the one in force is kept whatever its size.
const BYTES_MAX: u64 = 256 << 20;
/// Longest text of why a change was refused, in bytes.
const WHY_MAX: usize = 2_000;

const BOOK: &str = "history";
const KIND: &str = "policy-history";
const SOURCES: &str = "policy-sources";

/// How a policy came to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum How {
    /// The gateway was started.
    Start,
    /// Its files changed.
    Watch,
    /// SIGHUP.
    Signal,
    /// `postern reload`.
    Reload,
    /// `postern user`.
    User,
    /// The console.
    Console,
    /// `postern policy apply`.
    Apply,
    /// `postern policy rollback`.
    Rollback,
    /// Nobody confirmed the one before.
    Unconfirmed,
}

impl How {
    /// Names it as lists write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Watch => "watch",
            Self::Signal => "signal",
            Self::Reload => "reload",
            Self::User => "user",
            Self::Console => "console",
            Self::Apply => "apply",
            Self::Rollback => "rollback",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

/// Who asked: a local user or, at the console, a person; nobody for what the gateway does of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct By {
    /// The user id at the control socket.
    pub(crate) uid: Option<u32>,
    /// Their local name.
    pub(crate) name: Option<String>,
    /// The person at the console.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) person: Option<String>,
}

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.person, &self.name, self.uid) {
            (Some(name), _, _) | (None, Some(name), _) => f.write_str(name),
            (None, None, Some(uid)) => write!(f, "uid {uid}"),
            (None, None, None) => f.write_str("gateway"),
        }
    }
}

/// What became of a change; the shape is a contract with scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its generation; absent where it was refused.
    pub(crate) generation: Option<u64>,
    /// The digest of the policy; absent where the files gave none.
    pub(crate) digest: Option<String>,
    /// The digest of the files; absent where they could not be read.
    pub(crate) source: Option<String>,
    /// When, RFC 3339.
    pub(crate) time: String,
    /// How it was asked for.
    pub(crate) how: How,
    /// By whom.
    #[serde(flatten)]
    pub(crate) by: By,
    /// `applied`, `refused` or `held`.
    pub(crate) result: String,
    /// How many pairs of person and place are allowed more.
    pub(crate) widened: u64,
    /// How many are allowed less.
    pub(crate) narrowed: u64,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

/// A change that waits to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// The generation that waits.
    pub(crate) generation: u64,
    /// The digest of the files to go back to.
    pub(crate) back_to: String,
    /// When it is taken back, in seconds since the UNIX epoch.
    pub(crate) until: i64,
}

impl Pending {
    /// Says that other files wait with it, and what ends that.
    pub(super) fn others_wait(&self) -> String {
        format!(
            "generation {} waits to be confirmed, and other files wait with it; postern policy confirm keeps it, \
             postern policy rollback takes it back",
            self.generation
        )
    }
}

/// Files that lie in the folder and may not go in force by themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Held {
    /// The digest of the files.
    pub(crate) source: String,
    /// Whether they were in force and taken back.
    pub(crate) taken_back: bool,
    /// Why, with the command that accepts them.
    pub(crate) why: String,
}

/// A replacement of the folder's files that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Writing {
    /// The digest of the files that lay there before.
    pub(crate) before: String,
    /// The digest of those that come.
    pub(crate) after: String,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Book {
    /// Oldest first; the last is in force.
    applied: Vec<Entry>,
    refused: Vec<Entry>,
    pending: Option<Pending>,
    held: Option<Held>,
    writing: Option<Writing>,
}

/// The history of a gateway's policies.
pub(crate) struct History {
    dir: PathBuf,
    keys: Arc<Keys>,
    book: Mutex<Book>,
    /// Since when what waits to be confirmed is in force; at first, since the start.
    waits_since: Mutex<Instant>,
}

impl History {
    /// Opens the history in the state folder. One that does not open with the master key is set
    /// aside and said loudly: nothing in it can be trusted.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn open(data: &Path, keys: Arc<Keys>) -> io::Result<Self> {
        let dir = data.join("policy");
        make_folder(&dir)?;
        let history = Self {
            book: Mutex::default(),
            dir,
            keys,
            waits_since: Mutex::new(clock::now()),
        };
        let path = history.dir.join(BOOK);
        match std::fs::read(&path) {
            Ok(sealed) => match history.unseal(&sealed) {
                Some(book) => *history.book.lock() = book,
                None => {
                    tracing::error!(path = %path.display(), "the policy history does not open with this master key; set aside");
                    std::fs::rename(&path, history.dir.join("history.damaged"))?;
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(history)
    }

    /// Reads the files of the policy with a digest, for a look from outside of the gateway: nothing is written or set
    /// aside. `None` if they are not kept any more or do not open.
    pub(crate) fn peek(data: &Path, keys: Arc<Keys>, digest: &str) -> Option<Folder> {
        let dir = data.join("policy");
        let sealed = std::fs::read(dir.join(BOOK)).ok()?;
        let history = Self {
            book: Mutex::default(),
            dir,
            keys,
            waits_since: Mutex::new(clock::now()),
        };
        let book = history.unseal(&sealed)?;
        *history.book.lock() = book;
        history.of_digest(digest)
    }

    /// Reads the files of the policy with a digest; `None` if they are not kept any more.
    pub(crate) fn of_digest(&self, digest: &str) -> Option<Folder> {
        let source = {
            let book = self.book.lock();
            let mut newest = book.applied.iter().rev();
            let entry = newest.find(|entry| entry.digest.as_deref() == Some(digest))?;
            entry.source.clone()?
        };
        self.files(&source)
    }

    fn unseal(&self, sealed: &[u8]) -> Option<Book> {
        let plain = self.keys.open(KIND, BOOK, sealed)?;
        serde_json::from_slice(&plain).ok()
    }

    /// Lists what was put in force and what was refused, oldest first.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let book = self.book.lock();
        let mut all: Vec<Entry> = book.applied.iter().chain(&book.refused).cloned().collect();
        all.sort_by(|a, b| a.time.cmp(&b.time));
        all
    }

    /// Returns the entry of the policy in force.
    pub(crate) fn in_force(&self) -> Option<Entry> {
        self.book.lock().applied.last().cloned()
    }

    /// Tells whether these files are in force.
    pub(crate) fn is_in_force(&self, source: &str) -> bool {
        let book = self.book.lock();
        book.applied
            .last()
            .is_some_and(|e| e.source.as_deref() == Some(source))
    }

    /// Returns the change that waits to be confirmed.
    pub(crate) fn pending(&self) -> Option<Pending> {
        self.book.lock().pending.clone()
    }

    /// Tells whether something waits to be confirmed that went in force after a connection was opened.
    pub(crate) fn waits_since(&self, opened: Instant) -> bool {
        self.pending().is_some() && *self.waits_since.lock() >= opened
    }

    /// Says that what waits to be confirmed is in force from now on.
    pub(super) fn waits_from_now(&self) {
        *self.waits_since.lock() = clock::now();
    }

    /// Returns what is held.
    pub(crate) fn held(&self) -> Option<Held> {
        self.book.lock().held.clone()
    }

    /// Returns the replacement that was begun and not ended.
    pub(crate) fn writing(&self) -> Option<Writing> {
        self.book.lock().writing.clone()
    }

    /// Finds what to go back to: a generation, the beginning of a digest of at least six digits,
    /// or without either the last policy before the one in force that had other files.
    pub(crate) fn find(&self, which: Option<&str>) -> Option<Entry> {
        let book = self.book.lock();
        let mut newest = book.applied.iter().rev();
        let Some(which) = which else {
            let now = newest.next()?;
            // what nobody confirmed stands right before what took it back
            let taken_back: Vec<_> = book
                .applied
                .windows(2)
                .filter_map(|pair| match pair {
                    [back, by] if by.how == How::Unconfirmed => Some(back.generation),
                    _ => None,
                })
                .collect();
            return newest
                .find(|e| e.source != now.source && !taken_back.contains(&e.generation))
                .cloned();
        };
        let generation = which.parse().ok();
        let by_number = book
            .applied
            .iter()
            .find(|e| generation.is_some() && e.generation == generation);
        let begins = |e: &&Entry| {
            let digests = [&e.digest, &e.source].into_iter().flatten();
            which.len() >= 6 && digests.into_iter().any(|d| d.starts_with(which))
        };
        by_number.or_else(|| newest.find(begins)).cloned()
    }

    /// Reads the files of a digest; `None` if they are not kept or were changed by others.
    pub(crate) fn files(&self, source: &str) -> Option<Folder> {
        let sealed = std::fs::read(self.path_of(source)?).ok()?;
        let plain = self.keys.open(SOURCES, source, &sealed)?;
        let folder: Folder = serde_json::from_slice(&plain).ok()?;
        (folder.digest() == source).then_some(folder)
    }

    /// Seals under the newest master key what an older one sealed; counts the files.
    ///
    /// # Errors
    /// What the system refuses; what is not done yet opens as before.
    pub(crate) fn reseal(&self) -> io::Result<usize> {
        if self.keys.is_single() {
            return Ok(0);
        }
        let mut done = 0;
        for file in std::fs::read_dir(&self.dir)? {
            let path = file?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let (kind, owner) = match path.file_name().and_then(|name| name.to_str()) {
                Some(BOOK) => (KIND, BOOK),
                _ if self.path_of(&name).as_ref() == Some(&path) => (SOURCES, &*name),
                _ => continue,
            };
            if let Some(anew) = self.keys.reseal(kind, owner, &std::fs::read(&path)?) {
                put(&path, anew, None)?;
                done += 1;
            }
        }
        Ok(done)
    }

    /// Keeps files under their digest.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn keep(&self, folder: &Folder) -> io::Result<String> {
        let source = folder.digest();
        let path = self.path_of(&source).ok_or(io::ErrorKind::InvalidInput)?;
        if self.files(&source).is_none() {
            let plain = serde_json::to_vec(folder)?;
            put(&path, self.keys.seal(SOURCES, &source, &plain), None)?;
        }
        Ok(source)
    }

    /// Enters a policy that goes in force, with the confirmation it waits for; whatever was held,
    /// pending or begun is over.
    ///
    /// # Errors
    /// What the system refuses; the history in memory holds the entry all the same.
    pub(crate) fn applied(&self, entry: Entry, pending: Option<Pending>) -> io::Result<()> {
        self.edit(|book| {
            let same = book
                .applied
                .last()
                .is_some_and(|e| e.generation == entry.generation);
            if !same {
                book.applied.push(entry);
            }
            book.pending = pending;
            book.held = None;
            book.writing = None;
        })
    }

    /// Enters a change that was refused; one that repeats the last is entered once.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn refused(&self, entry: Entry) -> io::Result<()> {
        self.edit(|book| {
            let again = |e: &Entry| {
                (&e.source, &e.result, &e.why) == (&entry.source, &entry.result, &entry.why)
            };
            if !book.refused.last().is_some_and(again) {
                book.refused.push(entry);
            }
        })
    }

    /// Sets what is held.
    ///
    /// # Errors
    /// What the system refuses; it is held until the gateway ends all the same.
    pub(crate) fn hold(&self, held: Option<Held>) -> io::Result<()> {
        self.edit(|book| book.held = held)
    }

    /// Ends the waiting.
    ///
    /// # Errors
    /// What the system refuses: the change would be taken back by the next start.
    pub(crate) fn confirmed(&self) -> io::Result<Option<Pending>> {
        let mut pending = None;
        self.edit(|book| pending = book.pending.take())?;
        Ok(pending)
    }

    /// Notes that a replacement of the folder's files begins, or that none is under way.
    ///
    /// # Errors
    /// What the system refuses: the replacement must not begin then.
    pub(crate) fn write(&self, writing: Option<Writing>) -> io::Result<()> {
        self.edit(|book| book.writing = writing)
    }

    fn edit(&self, edit: impl FnOnce(&mut Book)) -> io::Result<()> {
        let mut book = self.book.lock();
        edit(&mut book);
        bound(&mut book.applied, KEPT_MAX);
        bound(&mut book.refused, REFUSED_MAX);
        for entry in &mut book.refused {
            let why = entry.why.take();
            entry.why = why.map(|text| text.chars().take(WHY_MAX).collect());
        }
        let plain = serde_json::to_vec(&*book)?;
        put(
            &self.dir.join(BOOK),
            self.keys.seal(KIND, BOOK, &plain),
            None,
        )?;
        self.forget(&mut book)
    }

    /// Removes files that no entry names, then the oldest beyond the bound in bytes.
    fn forget(&self, book: &mut Book) -> io::Result<()> {
        let mut needed: Vec<String> = Vec::new();
        let writing = book.writing.iter().flat_map(|w| [&w.before, &w.after]);
        let first = book.pending.iter().map(|p| &p.back_to).chain(writing);
        let newest = book.applied.iter().rev().filter_map(|e| e.source.as_ref());
        let always = first.clone().count().saturating_add(1);
        let mut bytes = 0_u64;
        for (at, source) in first.chain(newest).enumerate() {
            if needed.contains(source) {
                continue;
            }
            let path = self.path_of(source);
            let size = path.and_then(|p| p.metadata().ok()).map_or(0, |m| m.len());
            bytes = bytes.saturating_add(size);
            if at < always || bytes <= BYTES_MAX {
                needed.push(source.clone());
            }
        }
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let Some(source) = path
                .file_name()
                .and_then(|n| n.to_str()?.strip_suffix(".sealed"))
            else {
                continue;
            };
            if !needed.iter().any(|n| n == source) {
                std::fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Where copies of replaced folders are.
    pub(crate) fn aside(&self) -> PathBuf {
        self.dir.join("replaced")
    }

    fn path_of(&self, source: &str) -> Option<PathBuf> {
        let hex = source.len() == 64 && source.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then(|| self.dir.join(format!("{source}.sealed")))
    }
}

fn bound(entries: &mut Vec<Entry>, most: usize) {
    let excess = entries.len().saturating_sub(most);
    entries.drain(..excess);
}

#[cfg(test)]
mod tests;
