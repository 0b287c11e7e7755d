//! Reading and writing of certificate files with their permissions.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Far above any real chain.
const MAX_BYTES: u64 = 1 << 20;

/// Says why a certificate or key file is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} cannot be written: {source}", path.display())]
    Unwritable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} is not a plain file of at most 1 MiB", path.display())]
    NotPlain { path: PathBuf },
    #[error(
        "{} is a private key with mode {mode:04o}: others can read it (chmod 600 it)",
        path.display()
    )]
    Exposed { path: PathBuf, mode: u32 },
    #[error(
        "{} is a private key of user {owner}: it must belong to root or to the user of this process",
        path.display()
    )]
    Owner { path: PathBuf, owner: u32 },
}

impl FileError {
    /// Says whether the fault is one of permissions.
    pub(crate) fn is_permission(&self) -> bool {
        match self {
            Self::Exposed { .. } | Self::Owner { .. } => true,
            Self::Unreadable { source, .. } | Self::Unwritable { source, .. } => {
                source.kind() == io::ErrorKind::PermissionDenied
            }
            Self::NotPlain { .. } => false,
        }
    }
}

/// Who besides root may read a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Only the owner: files of our own.
    Owner,
    /// The group too, as Debian's `ssl-cert` keeps keys.
    OwnerAndGroup,
}

/// Reads a file that holds nothing secret; links are followed.
pub(crate) fn read_public(path: &Path) -> Result<Vec<u8>, FileError> {
    let (mut file, _) = open(path)?;
    let mut bytes = Vec::new();
    read(&mut file, &mut bytes, path)?;
    Ok(bytes)
}

/// Reads a private key after a look at who else can; links are followed, the look is at the file
/// that was opened.
pub(crate) fn read_secret(path: &Path, readers: Readers) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let (mut file, meta) = open(path)?;
    let mode = meta.mode() & 0o7777;
    let forbidden = match readers {
        Readers::Owner => 0o077,
        Readers::OwnerAndGroup => 0o037,
    };
    let path_buf = || path.to_owned();
    if mode & forbidden != 0 {
        return Err(FileError::Exposed {
            path: path_buf(),
            mode,
        });
    }
    let owner = meta.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(FileError::Owner {
            path: path_buf(),
            owner,
        });
    }
    // room for the whole file: growing would leave copies of the key behind
    let room = usize::try_from(meta.len()).unwrap_or(0).saturating_add(1);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    read(&mut file, &mut bytes, path)?;
    Ok(bytes)
}

/// Writes a file under a temporary name, syncs it and moves it to `path`.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    write_and_move(path, bytes, mode).map_err(|source| FileError::Unwritable {
        path: path.to_owned(),
        source,
    })
}

fn open(path: &Path) -> Result<(File, fs::Metadata), FileError> {
    let unreadable = |source| FileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    let mut options = OpenOptions::new();
    // a FIFO in the place of a file must not block the start
    let options = options.read(true).custom_flags(nonblock);
    let file = options.open(path).map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() || meta.len() > MAX_BYTES {
        return Err(FileError::NotPlain {
            path: path.to_owned(),
        });
    }
    Ok((file, meta))
}

fn read(file: &mut File, bytes: &mut Vec<u8>, path: &Path) -> Result<(), FileError> {
    let taken = file.take(MAX_BYTES).read_to_end(bytes);
    taken.map(drop).map_err(|source| FileError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn write_and_move(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let fresh = PathBuf::from(name);
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}
