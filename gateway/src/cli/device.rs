//! `postern device`.

mod import;

use clap::{ArgGroup, Args, Subcommand};
use data_encoding::BASE64;
use serde::Serialize;
use zeroize::Zeroizing;

use super::exit::{Exit, Failure};
use super::{Global, block_on, offline, out};
use crate::config::Config;
use crate::control::{DeviceAdded, DeviceClass, DeviceLine, NewDevice, Preshared};
use crate::ids;

/// The commands about devices.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Register a device and print its configuration
    Add(Add),
    /// List devices, revoked ones too
    List,
    /// Take the clients of a WireGuard server over from its wg-quick file
    #[command(after_help = import::EXAMPLES)]
    Import(import::Options),
    /// Say whether a device is kept by the administrators
    Mark {
        /// The device, such as d7
        id: String,
        /// Its class
        class: DeviceClass,
    },
    /// Revoke a device; its tunnel ends at once
    Revoke {
        /// The device, such as d7
        id: String,
    },
    /// Forget that a device's key was seen in two places, and the time its handshakes claimed
    #[command(after_help = CLEAR)]
    Clear {
        /// The device, such as d7
        id: String,
    },
    /// Give a device another preshared key; its session ends, and it needs the new one to come back
    #[command(after_help = ROTATE)]
    RotatePsk {
        /// The device, such as d7
        id: String,
    },
}

const ROTATE: &str = "Examples:
  postern device rotate-psk d7          the line for [Peer] of the device's configuration, shown once
  postern device rotate-psk d7 --json";

const CLEAR: &str = "Examples:
  postern device clear d7

For a device that was closed because its key was used in two places, once only one of them has it, and for one whose
clock was ahead when it last came and is right again. Its session in the tunnel ends; its person signs in as ever.
If the key was copied, revoke the device and register another one instead.";

/// A device to register.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("key").required(true))]
pub(crate) struct Add {
    /// Its owner
    user: String,
    /// Its name
    name: String,
    /// Its public key, as `wg pubkey` prints it
    #[arg(long, group = "key", value_name = "K")]
    public_key: Option<String>,
    /// Make a key pair; the private key is printed once and kept nowhere
    #[arg(long, group = "key")]
    generate: bool,
    /// Draw the configuration as a QR code too
    #[arg(long, requires = "generate")]
    qr: bool,
    /// Do without the preshared key that each device gets of its own
    #[arg(long)]
    no_preshared_key: bool,
}

/// A private key of a device, made here.
pub(crate) struct KeyPair {
    /// In base64; a secret.
    pub(crate) private: Zeroizing<String>,
    /// In base64.
    pub(crate) public: String,
}

impl KeyPair {
    /// Draws a key pair.
    pub(crate) fn draw() -> Self {
        Self::from_private(ids::random())
    }

    fn from_private(bytes: [u8; 32]) -> Self {
        let key = wg::PrivateKey::from_bytes(bytes);
        Self {
            public: BASE64.encode(key.public_key().as_bytes()),
            private: key.to_base64(),
        }
    }
}

/// The answer of `device add --json`.
#[derive(Serialize)]
struct Added<'a> {
    #[serde(flatten)]
    device: &'a DeviceLine,
    config: &'a str,
}

/// Runs a command about devices.
///
/// # Errors
/// [`Exit::Data`] for a device, person or key that is not as needed.
pub(crate) fn run(command: &Command, global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    match command {
        Command::Add(add) => register(add, config, global.json),
        Command::List => list(config, global.json),
        Command::Import(options) => import::run(options, config, global.json),
        Command::Mark { id, class } => {
            let device = block_on(async {
                let gateway = offline::any(config).await?;
                Ok(gateway.device_mark(id, *class).await?)
            })?;
            tell(&device, global.json, &format!("is {}", device.class.name()));
            Ok(())
        }
        Command::Revoke { id } => {
            let device = block_on(async {
                let gateway = offline::any(config).await?;
                Ok(gateway.device_revoke(id).await?)
            })?;
            tell(&device, global.json, "is revoked");
            Ok(())
        }
        Command::Clear { id } => {
            let device = block_on(async {
                let gateway = offline::any(config).await?;
                Ok(gateway.device_clear(id).await?)
            })?;
            tell(&device, global.json, "is cleared");
            Ok(())
        }
        Command::RotatePsk { id } => rotate_psk(id, config, global.json),
    }
}

/// Stands for the private key in a configuration made without it.
pub(crate) const NO_PRIVATE_KEY: &str = "<the private key of this device>";

/// Writes the configuration of a device: keys of wg(8) plus Address, DNS and MTU only.
pub(crate) fn client_config(added: &DeviceAdded, private: Option<&str>) -> Zeroizing<String> {
    let private = private.unwrap_or(NO_PRIVATE_KEY);
    let psk = added.preshared_key.as_deref().map(preshared_line);
    let psk = psk.as_ref().map_or("", |line| line.as_str());
    let device = &added.device;
    let address6 = device.address6.as_ref().map(|a| format!(", {a}/128"));
    let dns6 = added.dns6.as_ref().filter(|_| address6.is_some());
    let dns6 = dns6.map(|a| format!(", {a}")).unwrap_or_default();
    Zeroizing::new(format!(
        "[Interface]\nPrivateKey = {private}\nAddress = {}/32{}\nDNS = {}{dns6}\nMTU = {}\n\n\
         [Peer]\nPublicKey = {}\n{psk}Endpoint = {}\nAllowedIPs = {}\nPersistentKeepalive = 25\n",
        device.address,
        address6.unwrap_or_default(),
        added.dns,
        added.mtu,
        added.server_public_key,
        added.endpoint,
        added.allowed_ips.join(", "),
    ))
}

fn preshared_line(key: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("PresharedKey = {key}\n"))
}

fn register(add: &Add, config: Config, json: bool) -> Result<(), Failure> {
    let pair = add.generate.then(KeyPair::draw);
    let public_key = match (&pair, &add.public_key) {
        (Some(pair), _) => pair.public.clone(),
        (None, Some(key)) => key.clone(),
        (None, None) => return Err(Failure::new(Exit::Usage, "no key")),
    };
    let new = NewDevice {
        user: add.user.clone(),
        name: add.name.clone(),
        public_key,
        preshared: if add.no_preshared_key {
            Preshared::Omit
        } else {
            Preshared::Draw
        },
    };
    let added = block_on(async {
        let gateway = offline::any(config).await?;
        Ok(gateway.device_add(&new).await?)
    })?;
    let private = pair.as_ref().map(|p| p.private.as_str());
    let text = client_config(&added, private);
    if json {
        let (device, config) = (&added.device, text.as_str());
        out::json(&Added { device, config });
        return Ok(());
    }
    out::raw(&text);
    if add.qr {
        match out::qr(&text) {
            Some(drawn) => out::line(&drawn),
            None => out::note("the configuration is too long for a QR code"),
        }
    }
    let (id, user) = (&added.device.id, &added.device.user);
    out::note(&format!("device {id} of {user}; this is shown once"));
    Ok(())
}

/// The answer of `device rotate-psk --json`.
#[derive(Serialize)]
struct Rekeyed<'a> {
    #[serde(flatten)]
    device: &'a DeviceLine,
    preshared_key: &'a str,
}

fn rotate_psk(id: &str, config: Config, json: bool) -> Result<(), Failure> {
    let added = block_on(async {
        let gateway = offline::any(config).await?;
        Ok(gateway.device_rotate_psk(id).await?)
    })?;
    let preshared_key = added.preshared_key.as_deref().unwrap_or_default();
    let device = &added.device;
    if json {
        out::json(&Rekeyed {
            device,
            preshared_key,
        });
        return Ok(());
    }
    out::raw(&preshared_line(preshared_key));
    out::note(&format!(
        "{} of {} needs this line in [Peer] of its configuration; it is shown once",
        device.id, device.user
    ));
    Ok(())
}

fn list(config: Config, json: bool) -> Result<(), Failure> {
    let devices = block_on(async {
        let gateway = offline::any(config).await?;
        Ok(gateway.device_list().await?)
    })?;
    if json {
        for device in &devices {
            out::json(device);
        }
        return Ok(());
    }
    let rows: Vec<Vec<String>> = devices
        .into_iter()
        .map(|d| {
            let state = if d.revoked.is_some() {
                "revoked"
            } else {
                d.class.name()
            };
            let endpoint = d.endpoint.unwrap_or_else(|| "-".to_owned());
            vec![
                d.id,
                d.user,
                d.name,
                d.address,
                state.to_owned(),
                endpoint,
                d.created,
            ]
        })
        .collect();
    let head = [
        "ID", "USER", "NAME", "ADDRESS", "STATE", "ENDPOINT", "CREATED",
    ];
    out::table(&head, &rows);
    Ok(())
}

fn tell(device: &DeviceLine, json: bool, what: &str) {
    if json {
        out::json(device);
    } else {
        out::line(&format!(
            "{} ({} of {}) {what}",
            device.id, device.name, device.user
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::{KeyPair, client_config};
    use crate::control::{DeviceAdded, DeviceClass, DeviceLine};

    /// Alice's keys of RFC 7748 section 6.1.
    #[test]
    fn a_public_key_is_the_one_of_its_private_key() {
        let hex = data_encoding::HEXLOWER;
        let private = hex
            .decode(b"77076d0a7318a57d3c16c17251b26645c6c2c1bbd1e5d5e2b9f15b8d0b6d1f2a")
            .unwrap_or_default();
        let drawn = KeyPair::draw();
        assert_ne!(drawn.public, *drawn.private);
        let again = KeyPair::from_private(private.clone().try_into().unwrap());
        let twice = KeyPair::from_private(private.try_into().unwrap());
        assert_eq!(again.public, twice.public);
    }

    #[test]
    fn a_configuration_has_only_keys_of_wg_and_address_dns_mtu() {
        let added = DeviceAdded {
            device: DeviceLine {
                id: "d1".to_owned(),
                user: "ann".to_owned(),
                name: "laptop".to_owned(),
                address: "10.200.200.2".to_owned(),
                address6: None,
                public_key: "K".to_owned(),
                preshared: true,
                class: DeviceClass::Known,
                endpoint: None,
                created: String::new(),
                revoked: None,
            },
            server_public_key: "S=".to_owned(),
            endpoint: "gate.example.org:51820".to_owned(),
            dns: "10.200.200.1".to_owned(),
            dns6: None,
            mtu: 1420,
            allowed_ips: vec!["10.200.200.0/24".to_owned(), "192.168.1.0/24".to_owned()],
            preshared_key: Some("Q=".to_owned()),
        };
        assert!(!format!("{added:?}").contains("Q="));
        assert_eq!(
            *client_config(&added, Some("P=")),
            "[Interface]\nPrivateKey = P=\nAddress = 10.200.200.2/32\nDNS = 10.200.200.1\nMTU = 1420\n\n\
             [Peer]\nPublicKey = S=\nPresharedKey = Q=\nEndpoint = gate.example.org:51820\n\
             AllowedIPs = 10.200.200.0/24, 192.168.1.0/24\nPersistentKeepalive = 25\n"
        );
    }
}
