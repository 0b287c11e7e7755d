//! The files of the trial. What is there already is kept, but for the addresses of this start.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use toml_edit::{Array, DocumentMut, Item, value};

use crate::cli::exit::{Exit, Failure};
use crate::config::lock;
use crate::disk;
use crate::secrets::Keys;
use crate::tunnel;

/// The sign-in hosts: outside, and inside the tunnel.
pub(super) const SIGN_IN: [&str; 2] = ["gate.localhost", "gate.postern.internal"];
/// The hosts of the app: outside, and inside the tunnel.
pub(super) const APP: [&str; 2] = ["app.gate.localhost", "app.gate.postern.internal"];

/// Where the trial listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    /// HTTPS.
    pub(super) https: SocketAddr,
    /// Plain HTTP.
    pub(super) http: SocketAddr,
    /// Metrics.
    pub(super) admin: SocketAddr,
    /// WireGuard.
    pub(super) tunnel: SocketAddr,
}

impl Ports {
    /// Adds `offset` to each of the usual ports.
    pub(super) fn new(offset: u16, tunnel: IpAddr) -> Self {
        let local = |port: u16| (Ipv4Addr::LOCALHOST, port.saturating_add(offset)).into();
        Self {
            https: local(8443),
            http: local(8080),
            admin: local(8444),
            tunnel: (tunnel, 51_820_u16.saturating_add(offset)).into(),
        }
    }

    /// Returns the address devices send to: that of the socket, or loopback if it is any address.
    pub(super) fn endpoint(&self) -> SocketAddr {
        let ip = match self.tunnel.ip() {
            ip if !ip.is_unspecified() => ip,
            _ => Ipv4Addr::LOCALHOST.into(),
        };
        (ip, self.tunnel.port()).into()
    }
}

/// Writes what is missing and sets the addresses of this start.
///
/// # Errors
/// [`Exit::Unavailable`] while another process uses the folder; files that cannot be written.
pub(super) fn write(dir: &Path, ports: &Ports, upstream: &str) -> Result<(), Failure> {
    for name in ["policy", "keys"] {
        make_folder(&dir.join(name))?;
    }
    let _alone = lock::acquire(&dir.join("data"))?;
    let key = dir.join("keys/master.key");
    if !key.exists() {
        Keys::create(&key)?;
    }
    let network6 = format!("network6 = \"{}\"\n\n[identity]", tunnel::ula::draw());
    let config = CONFIG.replacen("\n[identity]", &network6, 1);
    update(&dir.join("postern.toml"), &config, |d| set_ports(d, ports))?;
    update(&dir.join("policy/policy.toml"), POLICY, |d| {
        set_upstream(d, upstream)
    })?;
    update(&dir.join("policy/users.toml"), USERS, |_| {})
}

/// Makes a folder with mode 0700 unless it is there.
///
/// # Errors
/// [`Exit::CannotCreate`] if it cannot be made.
pub(super) fn make_folder(path: &Path) -> Result<(), Failure> {
    disk::make_folder(path).map_err(|e| Failure::folder(path, &e))
}

/// Replaces a file of the trial with mode 0600, at once.
///
/// # Errors
/// What the system refuses.
pub(super) fn put(path: &Path, text: &str) -> Result<(), Failure> {
    disk::put(path, text, None).map_err(|e| Failure::file("write", path, &e))
}

fn update(path: &Path, fresh: &str, edit: impl FnOnce(&mut DocumentMut)) -> Result<(), Failure> {
    let before = match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(Failure::file("read", path, &e)),
    };
    let text = before.as_deref().unwrap_or(fresh);
    let mut document: DocumentMut = text
        .parse()
        .map_err(|e| Failure::new(Exit::Config, format!("{}: {e}", path.display())))?;
    edit(&mut document);
    let after = document.to_string();
    if before.as_ref() == Some(&after) {
        return Ok(());
    }
    put(path, &after)
}

fn set_ports(document: &mut DocumentMut, ports: &Ports) {
    let list = |address: SocketAddr| value(Array::from_iter([address.to_string()]));
    set(document, &["http", "https"], list(ports.https));
    set(document, &["http", "http"], list(ports.http));
    set(
        document,
        &["admin", "listen"],
        value(ports.admin.to_string()),
    );
    set(
        document,
        &["tunnel", "listen"],
        value(ports.tunnel.to_string()),
    );
    set(
        document,
        &["tunnel", "endpoint"],
        value(ports.endpoint().to_string()),
    );
}

fn set_upstream(document: &mut DocumentMut, upstream: &str) {
    set(document, &["app", "app", "upstream"], value(upstream));
}

/// Sets a value that stands in tables; keeps its comment.
fn set(document: &mut DocumentMut, keys: &[&str], mut new: Item) {
    let Some((last, tables)) = keys.split_last() else {
        return;
    };
    let mut item = document.as_item_mut();
    for key in tables {
        let Some(table) = item.as_table_like_mut() else {
            return;
        };
        item = table.entry(key).or_insert(toml_edit::table());
    }
    let Some(table) = item.as_table_like_mut() else {
        return;
    };
    if let (Some(old), Some(new)) = (table.get(last).and_then(Item::as_value), new.as_value_mut()) {
        *new.decor_mut() = old.decor().clone();
    }
    table.insert(last, new);
}

const CONFIG: &str = r#"# The trial's configuration. The next start sets the addresses anew and keeps the rest.
data = "data"
policy = "policy"
master-key = "keys/master.key"

[http]
https = ["127.0.0.1:8443"]
http = ["127.0.0.1:8080"]
sign-in = ["gate.localhost", "gate.postern.internal"]   # the second one inside the tunnel
hsts-seconds = 300

[admin]
listen = "127.0.0.1:8444"

[tunnel]
listen = "127.0.0.1:51820"
endpoint = "127.0.0.1:51820"
network = "10.200.200.0/24"

[identity]
issuer = "Postern demo"

[log]
level = "warn"
"#;

const USERS: &str = r#"postern = 1

[user.demo]
name = "Demo"

[user.guest]
name = "Guest"
"#;

const POLICY: &str = r#"postern = 1

[group]
admins = ["demo"]                 # guest is in no group: may sign in, may open nothing

[default]
mfa   = "session"                 # a code with every sign-in
login = "12h"

[admin]                           # the gateway's own console
allow.admins = { who = "@admins", mfa = "30m" }

[app.app]
host     = ["app.gate.localhost", "app.gate.postern.internal"]
upstream = "http://127.0.0.1:9"   # set by each start
allow.admins = { who = "@admins" }

[app.app."/vault"]                # asks for a code of the last five minutes
allow.admins = { who = "@admins", mfa = "5m" }

[[test]]
name   = "demo opens the app"
as     = { user = "demo", from = "internet" }
to     = "https://app.gate.localhost/"
expect = { allow = "app.app#admins" }

[[test]]
name   = "guest does not"
as     = { user = "guest", from = "internet" }
to     = "https://app.gate.localhost/"
expect = "deny"

[[test]]
name   = "a stranger is asked to sign in"
as     = { from = "internet" }
to     = "https://app.gate.localhost/"
expect = "login"

[[test]]
name   = "the vault wants a fresh code"
as     = { user = "demo", from = "internet", mfa = "10m" }
to     = "https://app.gate.localhost/vault"
expect = "step-up"
"#;

#[cfg(test)]
mod tests {
    use super::{APP, Ports, SIGN_IN, write};
    use crate::config::Config;
    use crate::config::tests::Folder;

    #[test]
    fn what_the_trial_writes_is_a_valid_gateway() {
        let folder = Folder::new();
        let ports = Ports::new(100, "127.0.0.2".parse().unwrap());
        write(folder.path(), &ports, "http://127.0.0.1:4711").unwrap();
        let config = Config::load(&folder.path().join("postern.toml")).unwrap();
        assert_eq!(config.http.https, [ports.https]);
        assert_eq!(config.http.sign_in, SIGN_IN);
        assert_eq!(config.http.public_url(), "https://gate.localhost:8543");
        assert_eq!(config.endpoint(), "127.0.0.2:51920");
        assert_eq!(config.http.hsts_seconds, 300);
        let sources = crate::reload::read_policy(&config.policy_dir).unwrap();
        let loaded = policy::load(&sources).unwrap();
        assert_eq!(loaded.tests_passed, 4);
        let (_, app) = loaded.policy.apps().next().unwrap();
        assert!(app.exact_hosts().eq(APP));
    }

    #[test]
    fn a_second_start_keeps_edits_and_sets_the_addresses() {
        let folder = Folder::new();
        let local = "127.0.0.1".parse().unwrap();
        write(folder.path(), &Ports::new(0, local), "http://127.0.0.1:1").unwrap();
        let path = folder.path().join("policy/policy.toml");
        let edited = std::fs::read_to_string(&path).unwrap().replace("12h", "9h");
        std::fs::write(&path, &edited).unwrap();
        let key = std::fs::read(folder.path().join("keys/master.key")).unwrap();
        write(folder.path(), &Ports::new(7, local), "http://127.0.0.1:2").unwrap();
        let after = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            after,
            edited.replace("http://127.0.0.1:1\"", "http://127.0.0.1:2\"")
        );
        let config = Config::load(&folder.path().join("postern.toml")).unwrap();
        assert_eq!(config.http.http[0].port(), 8087);
        assert_eq!(
            key,
            std::fs::read(folder.path().join("keys/master.key")).unwrap()
        );
    }

    #[test]
    fn devices_send_to_loopback_when_the_socket_has_any_address() {
        let any = Ports::new(0, "0.0.0.0".parse().unwrap());
        assert_eq!(any.endpoint().to_string(), "127.0.0.1:51820");
        let one = Ports::new(13_715, "192.0.2.1".parse().unwrap());
        assert_eq!(one.endpoint().to_string(), "192.0.2.1:65535");
    }
}
