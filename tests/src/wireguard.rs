//! Debian's wireguard-go as a client, fed with the device config that the gateway prints.

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::netns::Namespace;
use crate::process::{Program, must};
use crate::temp::Temp;
use crate::wait;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A device config: the keys of its two sections.
#[derive(Clone, Debug)]
pub struct Config {
    pub interface: BTreeMap<String, String>,
    pub peer: BTreeMap<String, String>,
}

impl Config {
    /// Reads a config with one peer.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut config = Self {
            interface: BTreeMap::new(),
            peer: BTreeMap::new(),
        };
        let mut in_peer = false;
        for line in text.lines().map(str::trim) {
            match line {
                "" => {}
                comment if comment.starts_with('#') => {}
                "[Interface]" => in_peer = false,
                "[Peer]" => in_peer = true,
                _ => {
                    let (key, value) = line.split_once('=').unwrap();
                    let map = if in_peer {
                        &mut config.peer
                    } else {
                        &mut config.interface
                    };
                    map.insert(key.trim().to_owned(), value.trim().to_owned());
                }
            }
        }
        config
    }

    /// Returns the first DNS entry: the gateway's tunnel address.
    #[must_use]
    pub fn gateway(&self) -> String {
        let dns = &self.interface["DNS"];
        dns.split(',').next().unwrap().trim().to_owned()
    }

    /// Returns the device's IPv4 address with its prefix.
    #[must_use]
    pub fn address(&self) -> String {
        let addresses = self.interface["Address"].split(',').map(str::trim);
        let v4 = addresses.clone().find(|a| a.contains('.'));
        v4.unwrap().to_owned()
    }

    /// Returns the device's IPv6 address with its prefix.
    #[must_use]
    pub fn address6(&self) -> Option<String> {
        let mut addresses = self.interface["Address"].split(',').map(str::trim);
        addresses.find(|a| a.contains(':')).map(str::to_owned)
    }

    /// Returns the second DNS entry: the gateway's IPv6 address in the tunnel.
    #[must_use]
    pub fn gateway6(&self) -> Option<String> {
        let mut dns = self.interface["DNS"].split(',').map(str::trim);
        dns.find(|a| a.contains(':')).map(str::to_owned)
    }

    /// Returns the config as `wg setconf` takes it.
    #[must_use]
    pub fn for_wg(&self) -> String {
        let mut text = String::from("[Interface]\n");
        for (key, value) in &self.interface {
            if !["Address", "DNS", "MTU"].contains(&key.as_str()) {
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
        text.push_str("[Peer]\n");
        for (key, value) in &self.peer {
            text.push_str(&format!("{key} = {value}\n"));
        }
        text
    }
}

/// A running client in a namespace.
#[derive(Debug)]
pub struct Client {
    pub config: Config,
    pub link: String,
    _program: Program,
    dir: Temp,
}

impl Client {
    /// Starts a client; `also` are further networks that it sends through the tunnel.
    #[must_use]
    pub fn start(namespace: &Namespace, mut config: Config, also: &[&str]) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let link = format!("wg{}x{number}", std::process::id() % 1_000_000);
        let dir = Temp::new();
        let mut networks: Vec<String> = (config.peer["AllowedIPs"].split(','))
            .map(|n| n.trim().to_owned())
            .collect();
        networks.extend(also.iter().map(|n| (*n).to_owned()));
        networks.retain(|n| n.contains('.') || config.address6().is_some());
        networks.sort();
        networks.dedup();
        config
            .peer
            .insert("AllowedIPs".to_owned(), networks.join(", "));
        let mut command = namespace.command("wireguard-go");
        command.args(["-f", &link]).env("LOG_LEVEL", "error");
        let program = Program::start(command, dir.path(), "wireguard-go");
        let socket = PathBuf::from(format!("/var/run/wireguard/{link}.sock"));
        // a socket that is there and takes no connection yet is removed by `wg`
        wait::until_true(wait::PATIENCE, "wireguard-go listens", || {
            UnixStream::connect(&socket).is_ok()
        });
        let file = dir.write("wg.conf", config.for_wg());
        must("wg", &["setconf", &link, file.to_str().unwrap()]);
        namespace.ip(&["addr", "add", &config.address(), "dev", &link]);
        if let Some(address) = config.address6() {
            namespace.ip(&["addr", "add", &address, "dev", &link, "nodad"]);
        }
        let mtu = config.interface.get("MTU").map_or("1420", String::as_str);
        namespace.ip(&["link", "set", &link, "mtu", mtu, "up"]);
        for network in &networks {
            namespace.ip(&["route", "replace", network, "dev", &link]);
        }
        Self {
            config,
            link,
            _program: program,
            dir,
        }
    }

    /// Gives the client another preshared key, as a person does who edits the file: what was
    /// agreed on before is forgotten.
    pub fn use_preshared_key(&mut self, key: &str) {
        let peer = &mut self.config.peer;
        peer.insert("PresharedKey".to_owned(), key.to_owned());
        let file = self.dir.write("wg.conf", self.config.for_wg());
        must("wg", &["setconf", &self.link, file.to_str().unwrap()]);
    }

    /// Says whether a handshake has succeeded.
    #[must_use]
    pub fn has_handshake(&self) -> bool {
        let output = Command::new("wg")
            .args(["show", &self.link, "latest-handshakes"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let time = text.split_whitespace().nth(1).map(str::to_owned);
        time.is_some_and(|time| time != "0")
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    const TEXT: &str = "[Interface]\n# a laptop\nPrivateKey = aaa=\nAddress = 10.1.0.2/32, fd00::2/128\n\
        DNS = 10.1.0.1\nMTU = 1420\n\n[Peer]\nPublicKey = bbb=\nAllowedIPs = 10.1.0.0/24\n\
        Endpoint = 192.0.2.1:51820\n";

    #[test]
    fn wg_gets_its_own_keys_only() {
        let config = Config::parse(TEXT);
        assert_eq!(config.gateway(), "10.1.0.1");
        assert_eq!(config.address(), "10.1.0.2/32");
        assert_eq!(config.address6().as_deref(), Some("fd00::2/128"));
        assert_eq!(config.gateway6(), None);
        let text = config.for_wg();
        assert!(text.contains("PrivateKey = aaa=") && text.contains("PublicKey = bbb="));
        for other in ["Address", "DNS", "MTU"] {
            assert!(!text.contains(other), "{text}");
        }
    }
}
