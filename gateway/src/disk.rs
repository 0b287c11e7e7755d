//! Writes files whole or not at all.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use crate::ids;

/// Makes a folder of ours with mode 0700, and those above it, unless it is there.
///
/// # Errors
/// What the system refuses.
pub(crate) fn make_folder(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

/// Writes a file at once: a new one beside it, on disk, then in its place. Mode and owner are
/// those of `like`, else 0600 and ours.
///
/// # Errors
/// What the system refuses; an old file is whole then.
pub(crate) fn put(path: &Path, text: impl AsRef<[u8]>, like: Option<&Metadata>) -> io::Result<()> {
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    make_folder(dir)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = dir.join(format!(".{name}.{}", ids::token()));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(text.as_ref())?;
        if let Some(like) = like {
            file.set_permissions(like.permissions())?;
            // root keeps the owner; others own what they may write
            fchown(&file, Some(like.uid()), Some(like.gid())).ok();
        }
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    };
    write().inspect_err(|_| drop(std::fs::remove_file(&fresh)))?;
    sync(dir)
}

/// Puts the names of a folder on disk.
///
/// # Errors
/// What the system refuses.
pub(crate) fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::put;
    use crate::config::tests::Folder as Temp;

    #[test]
    fn a_replaced_file_keeps_its_mode_and_leaves_nothing_beside_it() {
        let temp = Temp::new();
        temp.write("f", "old");
        let path = temp.path().join("f");
        let mode = || path.metadata().unwrap().permissions().mode() & 0o777;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        put(&path, "new", Some(&path.metadata().unwrap())).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(mode(), 0o640);
        put(&path, "newer", None).unwrap();
        assert_eq!(mode(), 0o600);
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_replaced_stays_and_leaves_no_draft() {
        let temp = Temp::new();
        let path = temp.path().join("folder");
        std::fs::create_dir(&path).unwrap();
        temp.write("folder/f", "old");
        put(&path, "new", None).unwrap_err();
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
        assert_eq!(std::fs::read_to_string(path.join("f")).unwrap(), "old");
    }
}
