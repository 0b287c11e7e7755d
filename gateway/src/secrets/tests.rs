use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::{KeyError, Keys};
use crate::store::tests::Folder;

fn key_file(mode: u32) -> (Folder, PathBuf) {
    let folder = Folder::new();
    let path = folder.path().join("master.key");
    Keys::create(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    (folder, path)
}

#[test]
fn a_new_key_file_is_born_with_mode_0600() {
    let folder = Folder::new();
    let path = folder.path().join("master.key");
    Keys::create(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o600
    );
}

#[test]
fn an_existing_key_file_is_never_overwritten() {
    let (_folder, path) = key_file(0o600);
    let before = fs::read(&path).unwrap();
    assert!(matches!(Keys::create(&path), Err(KeyError::Io { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_key_file_that_others_may_read_is_refused() {
    for exposed in [0o644, 0o640, 0o604, 0o620, 0o601] {
        let (_folder, path) = key_file(exposed);
        assert!(
            matches!(Keys::load(&path), Err(KeyError::Exposed { mode, .. }) if mode == exposed)
        );
    }
}

#[test]
fn a_key_file_of_the_owner_alone_is_accepted() {
    for private in [0o600, 0o400] {
        let (_folder, path) = key_file(private);
        assert!(Keys::load(&path).is_ok());
    }
}

#[test]
fn a_link_and_a_folder_are_no_key_files() {
    let (folder, path) = key_file(0o600);
    let link = folder.path().join("link.key");
    symlink(&path, &link).unwrap();
    assert!(matches!(Keys::load(&link), Err(KeyError::NotAFile { .. })));
    assert!(matches!(
        Keys::load(folder.path()),
        Err(KeyError::NotAFile { .. })
    ));
}

#[test]
fn a_short_or_foreign_text_is_no_key() {
    let (_folder, path) = key_file(0o600);
    for text in ["", "AAAA", "not base64 at all", "AAAAAAAAAAAAAAAAAAAAAA=="] {
        fs::write(&path, text).unwrap();
        assert!(matches!(Keys::load(&path), Err(KeyError::Malformed { .. })));
    }
}

#[test]
fn what_is_sealed_opens_with_the_key_that_was_loaded_again() {
    let (folder, _) = key_file(0o600);
    let path = folder.path().join("second.key");
    let made = Keys::create(&path).unwrap();
    let loaded = Keys::load(&path).unwrap();
    let sealed = made.seal("totp", "alice", b"secret");
    assert_eq!(
        loaded.open("totp", "alice", &sealed).unwrap().as_slice(),
        b"secret"
    );
    assert_eq!(*made.derive("pepper"), *loaded.derive("pepper"));
    assert_ne!(*made.derive("pepper"), *made.derive("audit"));
}

#[test]
fn what_is_sealed_for_one_record_does_not_open_as_another() {
    let folder = Folder::new();
    let keys = Keys::create(&folder.path().join("k")).unwrap();
    let sealed = keys.seal("totp", "alice", b"secret");
    assert!(keys.open("totp", "alice", &sealed).is_some());
    assert!(keys.open("totp", "bob", &sealed).is_none());
    assert!(keys.open("psk", "alice", &sealed).is_none());
    assert!(keys.open("tot", "palice", &sealed).is_none());
    let other = Keys::create(&folder.path().join("other")).unwrap();
    assert!(other.open("totp", "alice", &sealed).is_none());
}

#[test]
fn every_changed_bit_of_a_sealed_value_is_noticed() {
    let folder = Folder::new();
    let keys = Keys::create(&folder.path().join("k")).unwrap();
    let sealed = keys.seal("totp", "alice", b"secret");
    for at in 0..sealed.len() {
        let mut bad = sealed.clone();
        bad[at] ^= 1;
        assert!(keys.open("totp", "alice", &bad).is_none(), "byte {at}");
        assert!(keys.open("totp", "alice", &sealed[..at]).is_none());
    }
}

#[test]
fn debug_of_the_keys_shows_nothing() {
    let folder = Folder::new();
    let keys = Keys::create(&folder.path().join("k")).unwrap();
    assert_eq!(format!("{keys:?}"), "Keys { .. }");
}

#[test]
fn a_new_key_seals_and_the_older_ones_open() {
    let (_folder, path) = key_file(0o600);
    let before = Keys::load(&path).unwrap();
    let sealed = before.seal("totp", "ann", b"secret");
    assert_eq!(before.reseal("totp", "ann", &sealed), None);

    let rotated = Keys::rotate(&path).unwrap();
    let loaded = Keys::load(&path).unwrap();
    assert_eq!(loaded.fingerprints(), rotated.fingerprints());
    assert_eq!(loaded.fingerprints()[1..], before.fingerprints());
    assert_eq!(**loaded.open("totp", "ann", &sealed).unwrap(), *b"secret");

    let anew = loaded.reseal("totp", "ann", &sealed).unwrap();
    assert_eq!(**loaded.open("totp", "ann", &anew).unwrap(), *b"secret");
    assert_eq!(loaded.reseal("totp", "ann", &anew), None);
    assert!(before.open("totp", "ann", &anew).is_none());
    assert_eq!(loaded.reseal("totp", "bob", &sealed), None);

    assert_ne!(*loaded.derive("pepper"), *before.derive("pepper"));
    assert_eq!(*loaded.derive_all("pepper")[1], *before.derive("pepper"));
    assert_eq!(
        *loaded.derive_lasting("places"),
        *before.derive_lasting("places")
    );
}

#[test]
fn a_rotated_file_is_the_owners_alone_and_leaves_no_draft() {
    let (folder, path) = key_file(0o400);
    Keys::rotate(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn there_are_sixteen_keys_at_most_and_the_file_stays_as_it_was() {
    let (_folder, path) = key_file(0o600);
    for _ in 0..15 {
        Keys::rotate(&path).unwrap();
    }
    let before = fs::read(&path).unwrap();
    assert!(matches!(Keys::rotate(&path), Err(KeyError::Full { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(Keys::load(&path).unwrap().fingerprints().len(), 16);
    fs::write(&path, [before.as_slice(), b"short\n"].concat()).unwrap();
    assert!(matches!(Keys::load(&path), Err(KeyError::Malformed { .. })));
}
