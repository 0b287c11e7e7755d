//! The master keys and what they seal.

mod ring;
pub(crate) mod sealed;

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use rustix::fs::{Mode, OFlags};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::ids;

/// First byte of everything sealed; part of the authenticated data.
const VERSION: u8 = 1;
const NONCE: usize = 24;
/// Most keys of a file.
const MOST: usize = 16;
/// A key is a line of 45 bytes; a file that is longer holds something else.
const FILE_MAX: u64 = 1024;

/// The master keys of a gateway: the newest seals secrets at rest and derives the other keys, older
/// ones open what they sealed.
///
/// They live outside the data folder, in a file that only the gateway's user can read: a line
/// each, the newest first.
pub(crate) struct Keys {
    newest: Key,
    /// From newer to older.
    older: Vec<Key>,
}

struct Key {
    master: Zeroizing<[u8; 32]>,
    seal: XChaCha20Poly1305,
}

impl Keys {
    /// Draws a master key and writes it to a new file with mode 0600.
    ///
    /// # Errors
    /// [`KeyError::Io`] if the file exists or cannot be written; nothing is overwritten.
    pub(crate) fn create(path: &Path) -> Result<Self, KeyError> {
        let io = |source: std::io::Error| KeyError::io(path, source);
        let master = Zeroizing::new(ids::random::<32>());
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|e| io(std::io::Error::from(e)))?;
        let mut file = File::from(fd);
        let text = Zeroizing::new(BASE64.encode(&*master));
        file.write_all(text.as_bytes()).map_err(io)?;
        file.write_all(b"\n").map_err(io)?;
        file.sync_all().map_err(io)?;
        sync_parent(path).map_err(io)?;
        Ok(Self::from_master(master))
    }

    /// Reads the master key from its file.
    ///
    /// # Errors
    /// [`KeyError::Exposed`] if group or others may read it, [`KeyError::Owner`] if it belongs to
    /// neither the running user nor root, [`KeyError::NotAFile`] for links, pipes and folders,
    /// [`KeyError::Malformed`] if it does not hold 32 bytes in base64.
    pub(crate) fn load(path: &Path) -> Result<Self, KeyError> {
        let io = |source: std::io::Error| KeyError::io(path, source);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| match e {
            rustix::io::Errno::LOOP => KeyError::NotAFile {
                path: path.to_owned(),
            },
            other => io(std::io::Error::from(other)),
        })?;
        let file = File::from(fd);
        check_file(path, &file)?;
        let mut text = Zeroizing::new(String::with_capacity(256));
        file.take(FILE_MAX).read_to_string(&mut text).map_err(io)?;
        Self::parse(&text).ok_or_else(|| KeyError::Malformed {
            path: path.to_owned(),
        })
    }

    /// Reads the text of a key file.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut keys = Vec::new();
        for line in text.trim().lines() {
            let bytes = BASE64.decode(line.trim().as_bytes()).map(Zeroizing::new);
            let master: [u8; 32] = bytes.ok()?.as_slice().try_into().ok()?;
            keys.push(Key::new(Zeroizing::new(master)));
        }
        let older = keys.split_off(keys.len().min(1));
        let newest = keys.pop()?;
        (older.len() < MOST).then_some(Self { newest, older })
    }

    /// Derives the key named `label`: HMAC-SHA-256 of the label under the newest master key.
    pub(crate) fn derive(&self, label: &'static str) -> Zeroizing<[u8; 32]> {
        derive(&self.newest.master, label)
    }

    /// Derives the key named `label` under each master key, the newest first: for what was made
    /// with an older one and cannot be made anew without its secret.
    pub(crate) fn derive_all(&self, label: &'static str) -> Vec<Zeroizing<[u8; 32]>> {
        let keys = self.all();
        keys.map(|key| derive(&key.master, label)).collect()
    }

    /// Derives the key named `label` under the first master key there was: for names that must
    /// stay what they are over rotations and guard no secret.
    pub(crate) fn derive_lasting(&self, label: &'static str) -> Zeroizing<[u8; 32]> {
        let first = self.older.last().unwrap_or(&self.newest);
        derive(&first.master, label)
    }

    /// Seals `plain` for records of `kind` that belong to `owner`.
    ///
    /// The result is a version byte, a random nonce of 24 bytes, the ciphertext and its tag.
    #[expect(
        clippy::expect_used,
        reason = "XChaCha20-Poly1305 fails only past 256 GiB of plain text"
    )]
    pub(crate) fn seal(&self, kind: &'static str, owner: &str, plain: &[u8]) -> Vec<u8> {
        let nonce = ids::random::<NONCE>();
        let aad = associated(kind, owner);
        let payload = Payload {
            msg: plain,
            aad: &aad,
        };
        let sealed = self
            .newest
            .seal
            .encrypt(&XNonce::from(nonce), payload)
            .expect("a secret is far below 256 GiB");
        let mut out = Vec::with_capacity(1 + NONCE + sealed.len());
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        out
    }

    /// Opens what [`Keys::seal`] made for the same `kind` and `owner`, under any of the keys;
    /// `None` for anything else.
    pub(crate) fn open(
        &self,
        kind: &'static str,
        owner: &str,
        sealed: &[u8],
    ) -> Option<Zeroizing<Vec<u8>>> {
        self.all().find_map(|key| key.open(kind, owner, sealed))
    }

    /// Seals under the newest key what an older one sealed; `None` if that is not so.
    pub(crate) fn reseal(&self, kind: &'static str, owner: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        if self.older.is_empty() || self.newest.open(kind, owner, sealed).is_some() {
            return None;
        }
        let plain = self.open(kind, owner, sealed)?;
        Some(self.seal(kind, owner, &plain))
    }

    /// Tells whether there is no older key that might have sealed something.
    pub(crate) fn is_single(&self) -> bool {
        self.older.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.newest).chain(&self.older)
    }

    fn from_master(master: Zeroizing<[u8; 32]>) -> Self {
        Self {
            newest: Key::new(master),
            older: Vec::new(),
        }
    }
}

impl Key {
    fn new(master: Zeroizing<[u8; 32]>) -> Self {
        let key = derive(&master, "seal");
        let seal = XChaCha20Poly1305::new((&*key).into());
        Self { master, seal }
    }

    fn open(&self, kind: &str, owner: &str, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (version, rest) = sealed.split_first()?;
        let (nonce, msg) = rest.split_first_chunk::<NONCE>()?;
        if *version != VERSION {
            return None;
        }
        let aad = associated(kind, owner);
        let payload = Payload { msg, aad: &aad };
        let plain = self.seal.decrypt(&XNonce::from(*nonce), payload).ok()?;
        Some(Zeroizing::new(plain))
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// Says why a master key could not be made or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The file cannot be opened, read or written.
    #[error("master key {}: {source}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// Others than the owner may read or write the file.
    #[error("master key {} has mode {mode:04o}; only its owner may read it: chmod 600", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    /// The file belongs to somebody else.
    #[error("master key {} belongs to user {uid}, not to the gateway's user or root", path.display())]
    Owner { path: PathBuf, uid: u32 },
    /// The path names a link, a folder, a pipe or a device.
    #[error("master key {} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    /// The content is not lines of 32 bytes in base64.
    #[error("master key {} does not hold 32 bytes in base64, or up to 16 such lines", path.display())]
    Malformed { path: PathBuf },
    /// There is no place for another key.
    #[error("{} holds {MOST} keys already, the most there can be", path.display())]
    Full { path: PathBuf },
}

impl KeyError {
    /// Tells whether the fault is who may read the file, not what is in it.
    pub(crate) fn is_permission(&self) -> bool {
        match self {
            Self::Exposed { .. } | Self::Owner { .. } => true,
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::PermissionDenied,
            Self::NotAFile { .. } | Self::Malformed { .. } | Self::Full { .. } => false,
        }
    }

    fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

/// HMAC-SHA-256 of `message` under `key`.
#[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
pub(crate) fn hmac(key: &[u8; 32], message: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    for part in message {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn derive(master: &[u8; 32], label: &'static str) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(hmac(master, &[label.as_bytes()]))
}

/// Kind and owner, each with its length before it, so that no two pairs look alike.
fn associated(kind: &str, owner: &str) -> Vec<u8> {
    let mut aad = vec![VERSION];
    for part in [kind, owner] {
        let len = u64::try_from(part.len()).unwrap_or(u64::MAX);
        aad.extend_from_slice(&len.to_le_bytes());
        aad.extend_from_slice(part.as_bytes());
    }
    aad
}

fn check_file(path: &Path, file: &File) -> Result<(), KeyError> {
    let path = || path.to_owned();
    let meta = file.metadata().map_err(|source| KeyError::Io {
        path: path(),
        source,
    })?;
    if !meta.is_file() {
        return Err(KeyError::NotAFile { path: path() });
    }
    let uid = meta.uid();
    if !crate::snapshot::files::may_own(uid, rustix::process::geteuid().as_raw()) {
        return Err(KeyError::Owner { path: path(), uid });
    }
    let mode = meta.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed { path: path(), mode });
    }
    Ok(())
}

fn sync_parent(path: &Path) -> std::io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

#[cfg(test)]
mod tests;
