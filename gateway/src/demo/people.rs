//! The people and the device of the trial: made at the first start, found again at the next.

use std::path::Path;

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::files;
use crate::cli::block_on;
use crate::cli::device::{KeyPair, client_config};
use crate::cli::exit::{Exit, Failure};
use crate::cli::offline::Stopped;
use crate::clock;
use crate::config::Config;
use crate::control::{DeviceAdded, NewDevice, Preshared};
use crate::ids;

/// What the trial tells and keeps in `demo.json`, mode 0600.
#[derive(Serialize, Deserialize)]
pub(super) struct People {
    /// In the group of administrators.
    pub(super) demo: Person,
    /// May open nothing.
    pub(super) guest: Person,
    /// The key of the device of demo.
    laptop: Laptop,
}

/// Somebody's factors.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Person {
    /// The user name.
    pub(super) user: String,
    /// The password.
    pub(super) password: String,
    /// The TOTP secret in base32.
    pub(super) totp_secret: String,
    /// The same for authenticator apps.
    pub(super) otpauth: String,
}

#[derive(Serialize, Deserialize)]
struct Laptop {
    private_key: String,
    public_key: String,
}

/// Makes or finds people and device, and writes the device's configuration as `laptop.conf`.
///
/// # Errors
/// What keeps the state folder closed.
pub(super) fn prepare(config: &Config, dir: &Path) -> Result<People, Failure> {
    let kept = dir.join("demo.json");
    let found = match std::fs::read(&kept) {
        Ok(text) => Some(
            serde_json::from_slice::<People>(&text)
                .map_err(|e| Failure::new(Exit::Config, format!("{}: {e}", kept.display())))?,
        ),
        Err(_) => None,
    };
    let config = config.clone();
    let (people, added) = block_on(async {
        let stopped = Stopped::open(config).await?;
        let made = settle(&stopped, found).await;
        stopped.close().await;
        made
    })?;
    let text = serde_json::to_string_pretty(&people);
    let text = Zeroizing::new(text.map_err(|e| Failure::of(Exit::Internal, &e))?);
    files::put(&kept, &text)?;
    let client = client_config(&added, Some(&people.laptop.private_key));
    files::put(&dir.join("laptop.conf"), &client)?;
    Ok(people)
}

async fn settle(
    stopped: &Stopped,
    found: Option<People>,
) -> Result<(People, DeviceAdded), Failure> {
    let people = match found {
        Some(people) => {
            for person in [&people.demo, &people.guest] {
                restore(stopped, person).await?;
            }
            people
        }
        None => People {
            demo: enrol(stopped, "demo").await?,
            guest: enrol(stopped, "guest").await?,
            laptop: draw_laptop(),
        },
    };
    let added = register(stopped, &people.laptop).await?;
    Ok((people, added))
}

/// Gives somebody fresh factors.
async fn enrol(stopped: &Stopped, user: &str) -> Result<Person, Failure> {
    let password = password();
    let secret = Some(ids::random());
    set(stopped, user, password, secret).await
}

/// Gives somebody the factors that were told, if the state folder has lost them.
async fn restore(stopped: &Stopped, person: &Person) -> Result<(), Failure> {
    let enrolled = stopped.identity.is_enrolled(&person.user).await;
    if enrolled.map_err(|e| Failure::of(Exit::Internal, &e))? {
        return Ok(());
    }
    let secret = BASE32_NOPAD.decode(person.totp_secret.as_bytes()).ok();
    let secret = secret.and_then(|s| <[u8; 20]>::try_from(s).ok());
    set(stopped, &person.user, person.password.clone(), secret).await?;
    Ok(())
}

async fn set(
    stopped: &Stopped,
    user: &str,
    password: String,
    secret: Option<[u8; 20]>,
) -> Result<Person, Failure> {
    let given = Zeroizing::new(password.clone());
    let identity = &stopped.identity;
    let set = identity.set_credentials(user, given, secret, clock::unix());
    let enrolled = set.await.map_err(|e| Failure::of(Exit::Internal, &e))?;
    Ok(Person {
        user: user.to_owned(),
        password,
        totp_secret: enrolled.totp_secret_base32.to_string(),
        otpauth: enrolled.otpauth.to_string(),
    })
}

async fn register(stopped: &Stopped, laptop: &Laptop) -> Result<DeviceAdded, Failure> {
    let devices = stopped.identity.devices().list();
    let line = stopped.acts().device_list();
    let ours = line.iter().zip(&devices);
    let mut ours = ours.filter(|(l, _)| l.public_key == laptop.public_key);
    if let Some((_, device)) = ours.next() {
        return Ok(stopped.acts().added(device)?);
    }
    let new = NewDevice {
        user: "demo".to_owned(),
        name: "laptop".to_owned(),
        public_key: laptop.public_key.clone(),
        preshared: Preshared::Draw,
    };
    Ok(stopped.acts().device_add(&new).await?)
}

fn draw_laptop() -> Laptop {
    let pair = KeyPair::draw();
    Laptop {
        private_key: pair.private.to_string(),
        public_key: pair.public,
    }
}

/// Draws a password of 100 bits in four groups.
fn password() -> String {
    let text = BASE32_NOPAD.encode(&ids::random::<13>()).to_lowercase();
    let letters: Vec<char> = text.chars().take(20).collect();
    let groups: Vec<String> = letters.chunks(5).map(|g| g.iter().collect()).collect();
    groups.join("-")
}

#[cfg(test)]
mod tests {
    use super::prepare;
    use crate::config::Config;
    use crate::config::tests::Folder;
    use crate::demo::files::{Ports, write};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_password_has_four_groups_of_five() {
        let password = super::password();
        assert_eq!(password.len(), 23);
        assert_eq!(password.split('-').filter(|g| g.len() == 5).count(), 4);
        assert_ne!(password, super::password());
    }

    #[test]
    fn people_and_device_are_the_same_at_the_next_start() {
        let folder = Folder::new();
        let ports = Ports::new(0, "127.0.0.1".parse().unwrap());
        write(folder.path(), &ports, "http://127.0.0.1:1").unwrap();
        let config = Config::load(&folder.path().join("postern.toml")).unwrap();
        let first = prepare(&config, folder.path()).unwrap();
        let conf = std::fs::read_to_string(folder.path().join("laptop.conf")).unwrap();
        let second = prepare(&config, folder.path()).unwrap();
        assert_eq!(first.demo.password, second.demo.password);
        assert_eq!(first.guest.totp_secret, second.guest.totp_secret);
        let again = std::fs::read_to_string(folder.path().join("laptop.conf")).unwrap();
        assert_eq!(conf, again);
        assert!(
            conf.contains("DNS = 10.200.200.1, fd")
                && conf.contains("Endpoint = 127.0.0.1:51820\n")
        );
        for name in ["demo.json", "laptop.conf", "keys/master.key"] {
            let meta = folder.path().join(name).metadata().unwrap();
            assert_eq!(meta.permissions().mode() & 0o777, 0o600, "{name}");
        }
    }
}
