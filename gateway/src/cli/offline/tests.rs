mod devices;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::Stopped;
use crate::audit::Audit;
use crate::cli::check;
use crate::cli::exit::Exit;
use crate::config::Config;
use crate::control::{Imported, NewDevice, Operator, Preshared, UserAct};
use crate::secrets::Keys;
use crate::store::tests::Folder;

const PASSWORD: &str = "a zebra under the stairs";

/// The files of a gateway with one person, ann.
pub(crate) struct Site(Folder);

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self(Folder::new());
        std::fs::create_dir(site.path("policy")).unwrap();
        let policy =
            "postern = 1\n[group]\nit = [\"ann\"]\n[admin]\nallow.it = { who = \"@it\" }\n";
        std::fs::write(site.path("policy/policy.toml"), policy).unwrap();
        site.mode("policy", 0o755);
        site.mode("policy/policy.toml", 0o644);
        Keys::create(&site.path("keys")).unwrap();
        site
    }

    pub(crate) fn config(&self) -> Config {
        self.configured("memory-kib = 19456, passes = 2")
    }

    fn configured(&self, argon2: &str) -> Config {
        let text = format!("master-key = \"keys\"\n[identity]\nargon2 = {{ {argon2} }}\n");
        Config::parse(&self.path("postern.toml"), &text).unwrap()
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn mode(&self, name: &str, mode: u32) {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(name), mode).unwrap();
    }
}

async fn settled(site: &Site) -> (Stopped, String) {
    let stopped = Stopped::open(site.config()).await.unwrap();
    let password = Zeroizing::new(PASSWORD.to_owned());
    let identity = &stopped.identity;
    identity
        .set_credentials("ann", password, None, 1_800_000_000)
        .await
        .unwrap();
    let new = NewDevice {
        user: "ann".to_owned(),
        name: "laptop".to_owned(),
        public_key: data_encoding::BASE64.encode(&[9; 32]),
        preshared: Preshared::Draw,
    };
    let id = stopped.device_add(&new).await.unwrap().device.id;
    (stopped, id)
}

fn has_device(stopped: &Stopped, id: &str) -> bool {
    let devices = stopped.identity.devices();
    devices.is_of(id.parse().unwrap(), "ann")
}

#[tokio::test]
async fn a_name_given_again_brings_nothing_of_the_earlier_person() {
    let site = Site::new();
    let (stopped, device) = settled(&site).await;
    stopped.user_changed("ann", UserAct::Enable).await.unwrap();
    assert!(stopped.identity.is_enrolled("ann").await.unwrap());
    assert!(has_device(&stopped, &device));
    stopped.user_changed("ann", UserAct::Add).await.unwrap();
    assert!(!stopped.identity.is_enrolled("ann").await.unwrap());
    assert!(!has_device(&stopped, &device));
}

#[tokio::test]
async fn a_reset_takes_the_factors_and_leaves_the_devices() {
    let site = Site::new();
    let (stopped, device) = settled(&site).await;
    assert!(stopped.user_reset("nobody").await.is_err());
    stopped.user_reset("ann").await.unwrap();
    assert!(!stopped.identity.is_enrolled("ann").await.unwrap());
    assert!(has_device(&stopped, &device));
    stopped.user_forget("ann").await.unwrap();
    assert!(!has_device(&stopped, &device));
}

#[tokio::test]
async fn a_reset_of_the_second_factor_needs_a_reason_and_keeps_the_password() {
    let site = Site::new();
    let (stopped, device) = settled(&site).await;
    for (user, why) in [("ann", ""), ("ann", "  "), ("nobody", "lost phone")] {
        assert!(stopped.user_reset_totp(user, why).await.is_err(), "{user}");
    }
    assert!(stopped.identity.is_enrolled("ann").await.unwrap());
    let link = stopped.user_reset_totp("ann", "lost phone").await.unwrap();
    assert!(link.link.contains("/enrol/"));
    assert!(!stopped.identity.is_enrolled("ann").await.unwrap());
    assert!(has_device(&stopped, &device));
    stopped.user_forget("ann").await.unwrap();
    let nothing = stopped.user_reset_totp("ann", "lost phone").await;
    assert!(nothing.unwrap_err().message.contains("postern user invite"));
}

#[tokio::test]
async fn an_import_is_taken_whole_or_not_at_all() {
    let site = Site::new();
    let stopped = Stopped::open(site.config()).await.unwrap();
    let person = |user: &str, verifier: &str| Imported {
        user: user.to_owned(),
        verifier: verifier.to_owned(),
    };
    let good = person("ann", "{SHA}+GW1NiOxIf007lQmx5Llwzr4wic=");
    for bad in [person("nobody", &good.verifier), person("ann", "clear")] {
        let people = [good.clone(), bad];
        assert!(stopped.user_import(&people).await.is_err());
    }
    let people = [good];
    assert_eq!(stopped.user_import(&people).await.unwrap(), ["ann"]);
    assert!(stopped.user_import(&people).await.unwrap().is_empty());
}

async fn opened(config: Config) -> Result<(), Exit> {
    Stopped::open(config).await.map(drop).map_err(|f| f.exit)
}

#[tokio::test]
async fn a_fault_has_the_same_code_in_check_and_where_the_folder_is_opened() {
    let site = Site::new();
    let both = async |config: Config| (check::judge(&config), opened(config).await);
    assert_eq!(both(site.config()).await, (Ok(()), Ok(())));

    let costly = site.configured("memory-kib = 2097152, passes = 2");
    let refused = Err(Exit::Config);
    assert_eq!(both(costly).await, (refused, refused));

    let refused = Err(Exit::Permission);
    for (name, wrong, right) in [
        ("data/audit", 0o750, 0o700),
        ("policy/policy.toml", 0o646, 0o644),
        ("policy", 0o1777, 0o755),
    ] {
        site.mode(name, wrong);
        assert_eq!(both(site.config()).await, (refused, refused), "{name}");
        site.mode(name, right);
        assert_eq!(both(site.config()).await, (Ok(()), Ok(())), "{name}");
    }

    std::fs::remove_file(site.path("policy/policy.toml")).unwrap();
    let refused = Err(Exit::Config);
    assert_eq!(both(site.config()).await, (refused, refused));
}

#[tokio::test]
async fn a_journal_in_use_is_unavailable() {
    let site = Site::new();
    assert_eq!(opened(site.config()).await, Ok(()));
    let journal = journal(&site.config().data);
    assert_eq!(opened(site.config()).await, Err(Exit::Unavailable));
    drop(journal);
    assert_eq!(opened(site.config()).await, Ok(()));
}

fn journal(data: &Path) -> Audit {
    Audit::open(&data.join("audit"), &[Zeroizing::new([1; 32])]).unwrap()
}
