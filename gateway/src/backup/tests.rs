use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::archive::{FileEntry, Manifest, Packer, Place};
use super::seal::Sealer;
use super::{BackupError, Fault, Passphrase, Target, With, create, key, restore, verify};
use crate::config::Config;
use crate::config::lock::{self, LockError};
use crate::ids::{Door, SessionId};
use crate::secrets::Keys;
use crate::store::tests::Folder;
use crate::store::{self, Credentials, SessionRow, UseRow};

const NOW: &str = "2026-01-31T12:00:00.000Z";
const POLICY: &str =
    "postern = 1\n[group]\nit = [\"ann\"]\n[admin]\nallow.it = { who = \"@it\" }\n";

/// A gateway that does not run, and a place for backups.
struct Office {
    folder: Folder,
    config: Config,
    keys: Keys,
}

impl Office {
    async fn new() -> Self {
        let folder = Folder::new();
        for name in ["policy", "keys", "data", "data/ca", "out"] {
            super::stage::make_folder(&folder.path().join(name)).unwrap();
        }
        let text = "data = \"data\"\n[[tls.certificates]]\nchain = \"a.pem\"\nkey = \"a.key\"\n";
        for (name, text) in [
            ("postern.toml", text),
            ("policy/policy.toml", POLICY),
            ("policy/users.toml", "postern = 1\n[user.ann]\n"),
            ("data/ca/root.key", "a secret"),
            ("data/LOCK", ""),
            ("a.pem", "a chain"),
            ("out/pass", "correct horse battery\n"),
            ("out/other", "correct horse battery staple\n"),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        }
        let keys = Keys::create(&folder.path().join("keys/master.key")).unwrap();
        fill(&folder.path().join("data")).await;
        let config = Config::load(&folder.path().join("postern.toml")).unwrap();
        Self {
            folder,
            config,
            keys,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn passphrase(&self) -> Passphrase {
        Passphrase::read(&self.at("out/pass")).unwrap()
    }

    fn backup(&self, with: With<'_>) -> PathBuf {
        let file = self.at("out/backup");
        let made = create(&self.config, &file, with, NOW).unwrap();
        assert_eq!(made.missing, [self.at("a.key")]);
        assert_eq!(made.bytes, fs::metadata(&file).unwrap().len());
        file
    }

    async fn restored(&self, file: &Path, with: With<'_>) -> Result<(), BackupError> {
        let to = self.at("new");
        restore(file, with, Target::Folder(&to), 1_790_000_000)
            .await
            .map(|_| ())
    }
}

async fn fill(data: &Path) {
    let store = store::open(data).unwrap();
    let credentials = Credentials {
        phc: "$argon2id$".to_owned(),
        totp: Some(vec![1]),
        last_step: 40,
        enrolled: 5,
        imported: false,
    };
    store.put_credentials("ann", credentials).await.unwrap();
    let session = SessionRow {
        id: SessionId(7),
        user: "ann".to_owned(),
        door: Door::Web,
        source: "192.0.2.1".parse().unwrap(),
        created: 1,
        login_at: 1,
        mfa_at: 1,
        used: UseRow::default(),
        expires: 1 << 40,
        agent: String::new(),
        devices: Vec::new(),
        cookies: Vec::new(),
    };
    store.put_session(session).await.unwrap();
}

#[tokio::test]
async fn under_a_passphrase_everything_comes_back_but_sessions() {
    let office = Office::new().await;
    let passphrase = office.passphrase();
    let with = With::Passphrase(&passphrase);
    let file = office.backup(with);
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let checked = verify(&file, with).unwrap();
    assert_eq!((checked.store.people, checked.store.sessions), (1, 1));
    assert!(
        checked.with_master_key && checked.warnings.is_empty(),
        "{checked:?}"
    );

    office.restored(&file, with).await.unwrap();
    for name in [
        "policy/policy.toml",
        "policy/users.toml",
        "keys/master.key",
        "a.pem",
        "data/ca/root.key",
    ] {
        let (old, new) = (office.at(name), office.at(&format!("new/{name}")));
        assert_eq!(fs::read(old).unwrap(), fs::read(&new).unwrap(), "{name}");
        assert_eq!(
            fs::metadata(&new).unwrap().permissions().mode() & 0o077,
            0,
            "{name}"
        );
    }
    let config = Config::load(&office.at("new/postern.toml")).unwrap();
    assert_eq!(config.data, office.at("new/data"));
    assert_eq!(config.tls.certificates[0].chain, office.at("new/a.pem"));
    let store = store::open(&config.data).unwrap();
    assert!(store.sessions().await.unwrap().is_empty());
    assert!(store.credentials("ann").await.unwrap().is_some());
    assert!(
        !store
            .accept_step("ann", 1_790_000_000 / 30 + 1)
            .await
            .unwrap()
    );
    assert!(
        store
            .accept_step("ann", 1_790_000_000 / 30 + 2)
            .await
            .unwrap()
    );
    let names = fs::read_dir(office.at("new")).unwrap();
    assert_eq!(names.count(), 5, "nothing is left lying about");
}

#[tokio::test]
async fn under_the_master_key_only_that_key_opens_it_and_it_is_not_inside() {
    let office = Office::new().await;
    let path = office.at("keys/master.key");
    let with = With::Master(&office.keys, &path);
    let file = office.backup(with);
    assert!(!verify(&file, with).unwrap().with_master_key);
    let other = office.at("other.key");
    let others = Keys::create(&other).unwrap();
    let refused = verify(&file, With::Master(&others, &other));
    assert!(
        matches!(refused, Err(BackupError::OtherKey { .. })),
        "{refused:?}"
    );
    let passphrase = office.passphrase();
    let refused = verify(&file, With::Passphrase(&passphrase));
    assert!(
        matches!(refused, Err(BackupError::WrongKind(_))),
        "{refused:?}"
    );
    // a key that was rotated since still opens it
    let rotated = Keys::rotate(&path).unwrap();
    let with = With::Master(&rotated, &path);
    office.restored(&file, with).await.unwrap();
    let text = fs::read(office.at("new/keys/master.key")).unwrap();
    assert_eq!(text, fs::read(&path).unwrap());
}

#[tokio::test]
async fn a_wrong_passphrase_opens_nothing() {
    let office = Office::new().await;
    let (right, wrong) = (
        office.passphrase(),
        Passphrase::read(&office.at("out/other")).unwrap(),
    );
    let file = office.backup(With::Passphrase(&right));
    let refused = office.restored(&file, With::Passphrase(&wrong)).await;
    assert!(
        matches!(refused, Err(BackupError::Sealed(Fault::Key))),
        "{refused:?}"
    );
    assert!(!office.at("new").exists());
    assert!(
        office
            .restored(&file, With::Passphrase(&right))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn what_was_cut_or_altered_is_refused_and_nothing_is_written() {
    let office = Office::new().await;
    let path = office.at("keys/master.key");
    let with = With::Master(&office.keys, &path);
    let whole = fs::read(office.backup(with)).unwrap();
    let bad = office.at("out/bad");
    let line = whole.iter().position(|b| *b == b'\n').unwrap();
    let mut tries: Vec<Vec<u8>> = [
        0,
        5,
        line,
        line + 1,
        line + 10,
        whole.len() / 2,
        whole.len() - 1,
    ]
    .map(|len| whole[..len].to_vec())
    .into();
    for at in [
        0,
        14,
        line - 4,
        line,
        line + 20,
        whole.len() / 2,
        whole.len() - 1,
    ] {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        tries.push(altered);
    }
    tries.push([whole.as_slice(), b"x"].concat());
    for (n, bytes) in tries.iter().enumerate() {
        fs::write(&bad, bytes).unwrap();
        let refused = office.restored(&bad, with).await;
        let exit = crate::cli::exit::Exit::from(&refused.expect_err("damaged"));
        assert_eq!(exit.number(), 65, "{n}");
        assert!(!office.at("new").exists(), "{n}");
    }
    fs::write(&bad, &whole).unwrap();
    assert!(office.restored(&bad, with).await.is_ok());
}

#[tokio::test]
async fn nothing_is_overwritten_and_a_running_gateway_is_left_alone() {
    let office = Office::new().await;
    let path = office.at("keys/master.key");
    let with = With::Master(&office.keys, &path);
    let file = office.backup(with);
    let again = create(&office.config, &file, with, NOW);
    assert!(matches!(again, Err(BackupError::File { .. })), "{again:?}");
    for name in [
        "new/postern.toml",
        "new/policy/x",
        "new/data/x",
        "new/keys/master.key",
    ] {
        let there = office.at(name);
        super::stage::make_folder(there.parent().unwrap()).unwrap();
        fs::write(&there, "mine").unwrap();
        fs::set_permissions(&there, Permissions::from_mode(0o600)).unwrap();
        assert!(office.restored(&file, with).await.is_err(), "{name}");
        assert_eq!(fs::read(&there).unwrap(), b"mine");
        fs::remove_file(&there).unwrap();
    }
    let held = lock::acquire(&office.at("new/data")).unwrap();
    let refused = office.restored(&file, with).await;
    assert!(
        matches!(refused, Err(BackupError::Lock(LockError::Held(_)))),
        "{refused:?}"
    );
    drop(held);
    assert!(
        office.restored(&file, with).await.is_ok(),
        "only the lock is there"
    );
}

#[tokio::test]
async fn a_name_that_leads_out_of_its_place_is_refused() {
    let office = Office::new().await;
    let passphrase = office.passphrase();
    let with = With::Passphrase(&passphrase);
    for name in ["../x", "/tmp/x", "a/../../x", ""] {
        let (line, key) = key::lock(with).unwrap();
        let sealer = Sealer::new(line, &key);
        let zipped = flate2::write::GzEncoder::new(sealer, flate2::Compression::fast());
        let mut packer = Packer::new(zipped, Manifest::default()).unwrap();
        let entry = FileEntry {
            place: Place::Data,
            path: name.to_owned(),
            mode: 0o600,
            size: 1,
        };
        packer.file(entry, &b"x"[..]).unwrap();
        let bytes = packer
            .finish()
            .unwrap()
            .0
            .finish()
            .unwrap()
            .finish()
            .unwrap();
        let file = office.at("out/evil");
        fs::write(&file, bytes).unwrap();
        let refused = office.restored(&file, with).await;
        assert!(
            matches!(refused, Err(BackupError::Name(_))),
            "{name}: {refused:?}"
        );
        assert!(!office.at("new").exists(), "{name}");
    }
}

#[test]
fn a_passphrase_that_others_can_read_or_guess_is_refused() {
    let folder = Folder::new();
    let path = folder.path().join("pass");
    fs::write(&path, "long enough for this\n").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(
        Passphrase::read(&path),
        Err(BackupError::Exposed { mode: 0o640, .. })
    ));
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert!(Passphrase::read(&path).is_ok());
    fs::write(&path, "short\n").unwrap();
    assert!(matches!(
        Passphrase::read(&path),
        Err(BackupError::Weak { .. })
    ));
}
