//! An imported authority in the place of the one there was: both folders whole, swapped at once.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certs::{Ca, Imported, Root};
use rustix::fs::{CWD, RenameFlags};

use super::super::CertError;
use super::super::files::{self, FileError};
use super::{Files, first_domains, sealed};
use crate::ids;
use crate::secrets::Keys;

/// Puts an authority in place of the one in `dir` and returns where that is kept, if there was one.
/// A root's own intermediate is made for `name`; it grows with the hosts it is for.
///
/// # Errors
/// [`CertError`]; the authority there was stays then.
pub(crate) fn install(
    dir: &Path,
    keys: &Arc<Keys>,
    imported: &Imported,
    key_pem: &str,
    name: &str,
    now: i64,
) -> Result<Option<PathBuf>, CertError> {
    let fresh = beside(dir, &format!("new-{}", ids::token()));
    let fresh_files = Files::new(&fresh, keys);
    let written = write(&fresh_files, imported, key_pem, name, now).and_then(|()| {
        let kept = beside(dir, &format!("before-{now}"));
        Ok(
            swap(&fresh, dir, &kept).map_err(|source| FileError::Unwritable {
                path: dir.to_owned(),
                source,
            })?,
        )
    });
    fs::remove_dir_all(&fresh).ok();
    written
}

fn write(
    to: &Files,
    imported: &Imported,
    key_pem: &str,
    name: &str,
    now: i64,
) -> Result<(), CertError> {
    files::make_dir(&to.dir)?;
    let root_pem = &imported.root_pem;
    if let Some(cert) = &imported.intermediate_pem {
        Ca::from_pem(root_pem, cert, key_pem, now).map_err(|e| to.bad(e))?;
        sealed::write(&to.keys, &to.key, key_pem)?;
        files::replace(&to.cert, cert.as_bytes(), 0o644)?;
    } else {
        let root = Root::from_pem(root_pem, key_pem, now).map_err(|e| to.bad(e))?;
        to.renew(&root, name, &first_domains(name), now)?;
        sealed::write(&to.keys, &to.root_key, key_pem)?;
    }
    files::replace(&to.root_cert, root_pem.as_bytes(), 0o644)?;
    Ok(())
}

/// A folder next to another, named after it.
fn beside(dir: &Path, end: &str) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!("{name}.{end}"))
}

/// At every instant there is a whole authority in place.
fn swap(fresh: &Path, dir: &Path, kept: &Path) -> io::Result<Option<PathBuf>> {
    if !dir.exists() {
        return fs::rename(fresh, dir).map(|()| None);
    }
    if kept.exists() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    rustix::fs::renameat_with(CWD, fresh, CWD, dir, RenameFlags::EXCHANGE)?;
    fs::rename(fresh, kept)?;
    if let Some(parent) = dir.parent() {
        fs::File::open(parent)?.sync_all()?;
    }
    Ok(Some(kept.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use certs::{Imported, Root};

    use super::super::InternalCa;
    use super::install;
    use crate::config::tests::Folder;
    use crate::secrets::Keys;

    const NOW: i64 = 1_790_000_000;

    fn keys() -> Arc<Keys> {
        let place = Folder::new();
        Arc::new(Keys::create(&place.path().join("key")).unwrap())
    }

    #[test]
    fn an_imported_root_is_followed_by_a_running_authority_and_the_old_one_is_kept() {
        let (folder, keys) = (Folder::new(), keys());
        let dir = folder.path().join("ca");
        let ours = InternalCa::open(&dir, "gate.example.org", &keys, NOW).unwrap();
        let before = ours.root_pem();
        let root = Root::create("Office root", NOW).unwrap();
        let imported = Imported::read(root.pem(), root.key_pem(), NOW).unwrap();
        let kept = install(
            &dir,
            &keys,
            &imported,
            root.key_pem(),
            "gate.example.org",
            NOW,
        );
        let kept = kept.unwrap().unwrap();
        assert_eq!(fs::read_to_string(kept.join("root.pem")).unwrap(), before);
        ours.follow(NOW).unwrap();
        assert_eq!(ours.root_pem(), root.pem());
        ours.cover(&[&"app.example.org".to_owned()], NOW).unwrap();
        let leaf = ours.ca().issue(&["app.example.org"], NOW, 86_400);
        assert!(leaf.is_ok(), "{leaf:?}");
        let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode();
        assert_eq!(mode("root.key") & 0o777, 0o600);
        assert_eq!(mode("") & 0o777, 0o700);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn an_imported_intermediate_signs_without_a_root_key() {
        let (folder, keys) = (Folder::new(), keys());
        let dir = folder.path().join("ca");
        let root = Root::create("Office root", NOW).unwrap();
        let branch = root.intermediate("Branch", NOW).unwrap();
        let pem = format!("{}{}", branch.pem(), root.pem());
        let imported = Imported::read(&pem, branch.key_pem(), NOW).unwrap();
        let kept = install(&dir, &keys, &imported, branch.key_pem(), "gate", NOW).unwrap();
        assert_eq!(kept, None);
        assert!(!dir.join("root.key").exists());
        let ours = InternalCa::open(&dir, "gate", &keys, NOW).unwrap();
        assert_eq!(
            (ours.root_pem().as_str(), ours.ca().pem()),
            (root.pem(), branch.pem())
        );
        assert!(ours.ca().issue(&["a.example"], NOW, 86_400).is_ok());
    }

    #[test]
    fn what_cannot_be_installed_leaves_the_old_one_in_place() {
        let (folder, keys) = (Folder::new(), keys());
        let dir = folder.path().join("ca");
        let ours = InternalCa::open(&dir, "gate", &keys, NOW).unwrap();
        let (root, other) = (
            Root::create("a", NOW).unwrap(),
            Root::create("b", NOW).unwrap(),
        );
        let imported = Imported::read(root.pem(), root.key_pem(), NOW).unwrap();
        assert!(install(&dir, &keys, &imported, other.key_pem(), "gate", NOW).is_err());
        let again = InternalCa::open(&dir, "gate", &keys, NOW).unwrap();
        assert_eq!(again.root_pem(), ours.root_pem());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
