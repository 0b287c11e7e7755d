//! The first line of a backup, which says what opens it, and the key that follows from it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::BackupError;
use crate::ids;
use crate::secrets::{self, Keys};

/// What every backup begins with.
const MAGIC: &[u8] = b"postern-backup ";
const FORMAT: u64 = 1;
/// The longest first line in bytes.
const LINE_MAX: usize = 512;
/// The fewest letters of a passphrase.
pub(super) const LETTERS: usize = 12;
/// What argon2id may cost when a backup is opened: a forged first line must not take all memory.
const MEMORY_KIB: u32 = 65_536;
const PASSES: u32 = 3;

/// What protects a backup.
#[derive(Clone, Copy, Debug)]
pub(crate) enum With<'a> {
    /// The newest master key, which stays outside.
    Master(&'a Keys, &'a Path),
    /// A passphrase; the master key lies inside.
    Passphrase(&'a Passphrase),
}

/// A passphrase from a file.
pub(crate) struct Passphrase(Zeroizing<String>);

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passphrase").finish_non_exhaustive()
    }
}

impl Passphrase {
    /// Reads a passphrase: the first line of a file that only its owner can read.
    ///
    /// # Errors
    /// [`BackupError::Exposed`], [`BackupError::Weak`], and what the system refuses.
    pub(crate) fn read(path: &Path) -> Result<Self, BackupError> {
        let failed = || BackupError::file("read", path);
        let file = File::open(path).map_err(failed())?;
        let mode = file.metadata().map_err(failed())?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            let path = path.to_owned();
            return Err(BackupError::Exposed { path, mode });
        }
        let mut text = Zeroizing::new(String::new());
        let mut file = file.take(4096);
        file.read_to_string(&mut text).map_err(failed())?;
        let line = Zeroizing::new(text.lines().next().unwrap_or_default().to_owned());
        if line.chars().count() < LETTERS {
            let path = path.to_owned();
            return Err(BackupError::Weak { path });
        }
        Ok(Self(line))
    }

    fn key(&self, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, BackupError> {
        let refused = |_| BackupError::Unusable("argon2id refuses its parameters".to_owned());
        let params = Params::new(MEMORY_KIB, PASSES, 1, Some(32)).map_err(refused)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut key = Zeroizing::new([0; 32]);
        let text = self.0.as_bytes();
        argon2
            .hash_password_into(text, salt, &mut *key)
            .map_err(refused)?;
        Ok(key)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "key", rename_all = "kebab-case", deny_unknown_fields)]
enum Lock {
    /// Under a master key.
    Master { fingerprint: String, salt: String },
    /// Under a passphrase, by argon2id with 64 MiB and 3 passes.
    Passphrase { salt: String },
}

/// Draws the first line of a new backup and its key.
///
/// # Errors
/// [`BackupError::Unusable`] if argon2id fails.
pub(super) fn lock(with: With<'_>) -> Result<(Vec<u8>, Zeroizing<[u8; 32]>), BackupError> {
    let salt = HEXLOWER.encode(&ids::random::<32>());
    let lock = match with {
        With::Master(keys, _) => {
            let fingerprint = keys.fingerprints().into_iter().next().unwrap_or_default();
            Lock::Master { fingerprint, salt }
        }
        With::Passphrase(_) => Lock::Passphrase { salt },
    };
    let mut line = MAGIC.to_vec();
    line.extend_from_slice(FORMAT.to_string().as_bytes());
    line.push(b' ');
    line.extend(serde_json::to_vec(&lock).unwrap_or_default());
    line.push(b'\n');
    let key = unlock(&lock, &line, with)?;
    Ok((line, key))
}

/// Reads the first line and gives the key that opens the rest, with the length of the line.
///
/// # Errors
/// [`BackupError`] for what is no backup, or asks for another key.
pub(super) fn read(
    input: &mut impl Read,
    with: With<'_>,
) -> Result<(Zeroizing<[u8; 32]>, u64), BackupError> {
    let line = first_line(input)?;
    let rest = line
        .strip_prefix(MAGIC)
        .ok_or(BackupError::NotOne("it begins otherwise"))?;
    let space = rest.iter().position(|b| *b == b' ');
    let (format, lock) = rest.split_at(space.unwrap_or(rest.len()));
    let format = std::str::from_utf8(format)
        .ok()
        .and_then(|f| f.parse().ok());
    match format.ok_or(BackupError::NotOne("it names no format"))? {
        FORMAT => {}
        other => return Err(BackupError::Newer(other)),
    }
    let lock: Lock = serde_json::from_slice(lock)
        .map_err(|_| BackupError::NotOne("its first line was altered"))?;
    let len = u64::try_from(line.len()).unwrap_or(u64::MAX);
    Ok((unlock(&lock, &line, with)?, len))
}

fn first_line(input: &mut impl Read) -> Result<Vec<u8>, BackupError> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') {
        let read = input.read(&mut byte);
        let read = read.map_err(BackupError::file("read", Path::new("the backup")))?;
        if read == 0 || line.len() >= LINE_MAX {
            return Err(BackupError::NotOne("its first line does not end"));
        }
        line.extend_from_slice(&byte);
    }
    Ok(line)
}

/// The key of one file: the whole first line goes into it.
fn unlock(lock: &Lock, line: &[u8], with: With<'_>) -> Result<Zeroizing<[u8; 32]>, BackupError> {
    let base = match (lock, with) {
        (Lock::Master { fingerprint, .. }, With::Master(keys, path)) => {
            master(keys, fingerprint).ok_or_else(|| BackupError::OtherKey {
                wanted: fingerprint.chars().take(16).collect(),
                path: PathBuf::from(path),
            })?
        }
        (Lock::Passphrase { salt }, With::Passphrase(passphrase)) => {
            let salt = HEXLOWER.decode(salt.as_bytes());
            let salt = salt.map_err(|_| BackupError::NotOne("its first line was altered"))?;
            if salt.len() != 32 {
                return Err(BackupError::NotOne("its first line was altered"));
            }
            passphrase.key(&salt)?
        }
        (Lock::Master { .. }, With::Passphrase(_)) => {
            return Err(BackupError::WrongKind(
                "a master key, not a passphrase: leave --passphrase-file out",
            ));
        }
        (Lock::Passphrase { .. }, With::Master(..)) => {
            return Err(BackupError::WrongKind(
                "a passphrase: name its file with --passphrase-file",
            ));
        }
    };
    Ok(Zeroizing::new(secrets::hmac(&base, &[b"backup", line])))
}

fn master(keys: &Keys, fingerprint: &str) -> Option<Zeroizing<[u8; 32]>> {
    let at = keys.fingerprints().iter().position(|f| f == fingerprint)?;
    keys.derive_all("backup").into_iter().nth(at)
}
