//! Around the devices, with Debian's WireGuard: a server's file taken over with its clients, what
//! `wg show` prints, and why a device does not get through.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use postern_tests::gateway::Gateway;
use postern_tests::journal;
use postern_tests::office::{EDGE, OFFICE_NETWORK, Office, PERMITTED, echoes};
use postern_tests::temp::Temp;
use postern_tests::wait;
use postern_tests::wireguard::{Client, Config};
use serde_json::Value;

fn wg(args: &[&str], input: &str) -> String {
    use std::io::Write;
    let mut child = Command::new("wg")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Draws a key pair as `wg` does: private, public.
fn key_pair() -> (String, String) {
    let private = wg(&["genkey"], "");
    let public = wg(&["pubkey"], &private);
    (private, public)
}

fn devices(gateway: &Gateway) -> Vec<Value> {
    journal::records(&gateway.must(&["device", "list", "--json"]))
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A server's file and one client of it, as its person has it.
struct Before {
    dir: Temp,
    server: String,
    client: Config,
}

impl Before {
    fn new() -> Self {
        let (private, server_public) = key_pair();
        let (client_private, client_public) = key_pair();
        let (_, other_public) = key_pair();
        let psk = wg(&["genpsk"], "");
        let server = format!(
            "[Interface]\nAddress = 10.200.200.1/24\nListenPort = PORT\nPrivateKey = {private}\n\
             PostUp = iptables -A FORWARD -i wg0 -j ACCEPT\n\n# demo's old laptop\n[Peer]\n\
             PublicKey = {client_public}\nPresharedKey = {psk}\nAllowedIPs = 10.200.200.7/32\n\n\
             [Peer]\nPublicKey = {other_public}\nAllowedIPs = 10.200.200.9/32\n"
        );
        let client = format!(
            "[Interface]\nPrivateKey = {client_private}\nAddress = 10.200.200.7/32\n\
             DNS = 10.200.200.1\n[Peer]\nPublicKey = {server_public}\nPresharedKey = {psk}\n\
             AllowedIPs = 10.200.200.0/24\nPersistentKeepalive = 25\nEndpoint = {EDGE}:PORT\n"
        );
        Self {
            dir: Temp::new(),
            server,
            client: Config::parse(&client),
        }
    }

    /// Writes the server's file for a gateway's port.
    fn file(&self, gateway: &Gateway) -> PathBuf {
        let text = self
            .server
            .replace("PORT", &gateway.tunnel_port().to_string());
        self.dir.write("wg0.conf", text)
    }

    fn map(&self, text: &str) -> PathBuf {
        self.dir.write("owners.txt", text)
    }
}

fn import(gateway: &Gateway, file: &Path, more: &[&str]) -> Output {
    let mut args = vec!["device", "import", file.to_str().unwrap()];
    args.extend(more);
    gateway.run(&args)
}

#[test]
fn the_clients_of_a_server_go_on_as_they_are() {
    let office = Office::new();
    let gateway = &office.gateway;
    let before = Before::new();
    let file = before.file(gateway);
    let map = before.map("10.200.200.9 = guest desk\n");
    let with_map = ["--map", map.to_str().unwrap()];

    // somebody relies on the gateway's key: nothing happens without a word
    let held = import(gateway, &file, &with_map);
    assert_eq!(held.status.code(), Some(65), "{held:?}");
    assert!(stderr(&held).contains("--replace-key"), "{held:?}");
    let replace = [&with_map[..], &["--replace-key", "--json"]].concat();
    let shown = import(gateway, &file, &[&replace[..], &["--dry-run"]].concat());
    assert!(shown.status.success(), "{shown:?}");
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["devices"].as_array().unwrap().len(), 2);
    assert_eq!(devices(gateway).len(), 1, "only shown");

    let done = import(gateway, &file, &replace);
    assert!(done.status.success(), "{done:?}");
    let done: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(done["server_key"], "replaced");
    assert!(
        done["notes"][0]
            .as_str()
            .unwrap()
            .contains(":5:1: PostUp: not needed")
    );
    assert_eq!(done["undo"][0], "systemctl disable --now wg-quick@wg0");
    let listed = devices(gateway);
    assert_eq!(listed.len(), 3);
    let line = |n: usize| {
        let text = |key: &str| listed[n][key].as_str().unwrap().to_owned();
        (text("user"), text("name"), text("address"))
    };
    let names = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
    assert_eq!(line(1), names("demo", "old laptop", "10.200.200.7"));
    assert_eq!(line(2), names("guest", "desk", "10.200.200.9"));
    let preshared: Vec<_> = listed.iter().map(|d| d["preshared"] == true).collect();
    assert_eq!(preshared, [true, true, false]);

    let mut config = before.client.clone();
    let endpoint = format!("{EDGE}:{}", gateway.tunnel_port());
    config.peer.insert("Endpoint".to_owned(), endpoint);
    let client = Client::start(&office.outside, config, &[OFFICE_NETWORK]);
    let browser = office.browser();
    let portal = browser.sign_in(&gateway.facts.tunnel_portal, &gateway.facts.demo);
    assert_eq!(portal.status, 200, "{portal:?}");
    assert!(client.has_handshake());
    let mut stream = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut stream, "through the same tunnel").unwrap());
    let record = journal::wait_for(gateway, "device-changed.1", |r| {
        r["reason"] == "device-imported" && r["user"] == "guest"
    });
    assert_eq!(record["device"], "d3");
}

#[test]
fn a_file_with_anything_wrong_changes_nothing() {
    let gateway = Gateway::demo();
    let before = Before::new();
    let file = before.file(&gateway);
    let unowned = import(&gateway, &file, &["--keep-key"]);
    assert_eq!(unowned.status.code(), Some(65), "{unowned:?}");
    let told = stderr(&unowned);
    assert!(
        told.contains("wg0.conf:13:1: nobody owns this peer"),
        "{told}"
    );
    assert!(told.contains("10.200.200.9 = USER"), "{told}");
    // the second peer asks for the address of the gateway's own device
    let text = fs::read_to_string(&file).unwrap();
    let taken = text.replace("10.200.200.9/32", "10.200.200.2/32");
    let taken = before.dir.write("taken.conf", taken);
    let map = before.map("10.200.200.2 = guest desk\n");
    let with_map = ["--keep-key", "--map", map.to_str().unwrap()];
    let refused = import(&gateway, &taken, &with_map);
    assert_eq!(refused.status.code(), Some(65), "{refused:?}");
    assert!(stderr(&refused).contains("taken.conf:13:1: address 10.200.200.2"));
    assert_eq!(devices(&gateway).len(), 1);
    let key = fs::read(gateway.facts.data.join("wg.key")).unwrap();

    let map = before.map("10.200.200.9 = -\n");
    let with_map = ["--keep-key", "--map", map.to_str().unwrap()];
    let done = import(&gateway, &file, &with_map);
    assert!(done.status.success(), "{done:?}");
    assert!(stderr(&done).contains("left out by the map"));
    assert_eq!(devices(&gateway).len(), 2);
    assert_eq!(fs::read(gateway.facts.data.join("wg.key")).unwrap(), key);
    let again = import(&gateway, &file, &with_map);
    assert_eq!(again.status.code(), Some(65), "{again:?}");
    assert!(stderr(&again).contains("device d2 has this public key"));
}

/// A name under which `wg` finds a socket.
struct Interface {
    name: String,
    link: PathBuf,
}

impl Interface {
    fn new(socket: &Path) -> Self {
        let name = format!("pst{}", std::process::id() % 1_000_000);
        let link = PathBuf::from(format!("/var/run/wireguard/{name}.sock"));
        fs::create_dir_all("/var/run/wireguard").unwrap();
        symlink(socket, &link).unwrap();
        Self { name, link }
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.link));
    }
}

#[test]
fn wg_shows_the_devices_and_changes_none() {
    let mut office = Office::new();
    let file = office.gateway.facts.config.clone();
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace("[tunnel]\n", "[tunnel]\nwg-socket = \"data/wg.sock\"\n");
    fs::write(&file, text).unwrap();
    office.gateway.stop();
    office.gateway.start_again();
    let interface = Interface::new(&office.gateway.facts.data.join("wg.sock"));
    let browser = office.browser();
    wait::until_true(Duration::from_secs(40), "the portal again", || {
        let portal = &office.gateway.facts.tunnel_portal;
        browser.try_send(portal, &["--max-time", "2"]).is_ok()
    });
    let own = office.laptop.config.peer["PresharedKey"].clone();
    let private = office.laptop.config.interface["PrivateKey"].clone();
    let public = wg(&["pubkey"], &private);
    let dump = wg(&["show", &interface.name, "dump"], "");
    assert!(!dump.contains(&own), "{dump}");
    let lines: Vec<Vec<&str>> = dump.lines().map(|l| l.split('\t').collect()).collect();
    assert_eq!(lines[0][2], office.gateway.tunnel_port().to_string());
    let peer = &lines[1];
    assert_eq!(peer[0], public);
    assert_eq!(peer[1], "(none)");
    assert!(peer[2].starts_with("10.77.0.2:"), "{dump}");
    assert!(
        peer[3].contains("10.200.200.2/32") && peer[3].contains("/128"),
        "{dump}"
    );
    for number in &peer[4..7] {
        assert!(number.parse::<u64>().unwrap() > 0, "{dump}");
    }
    let set = Command::new("wg")
        .args(["set", &interface.name, "peer", &public, "remove"])
        .output()
        .unwrap();
    assert!(!set.status.success());
    assert!(stderr(&set).contains("not permitted"), "{set:?}");
    assert_eq!(wg(&["show", &interface.name, "peers"], ""), public);
    assert!(wg(&["show", &interface.name], "").contains("latest handshake"));
}

/// Asks the doctor; the exit code and the troubles as `check`, `found`.
fn doctor(gateway: &Gateway, peer: &str) -> (Option<i32>, Vec<(String, String)>) {
    let output = gateway.run(&["doctor", "--peer", peer, "--json"]);
    let diagnosis: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = diagnosis["findings"].as_array().unwrap().clone();
    let troubles = findings.iter().filter(|f| f["verdict"] == "fault");
    let text = |f: &Value, key: &str| f[key].as_str().unwrap().to_owned();
    let troubles = troubles.map(|f| {
        assert!(f["next"].is_string(), "{f}");
        (text(f, "check"), text(f, "found"))
    });
    (output.status.code(), troubles.collect())
}

#[test]
fn the_doctor_names_what_keeps_a_device_out() {
    let mut office = Office::new();
    let facts = &office.gateway.facts;
    let browser = office.browser();
    assert!(browser.follow(&facts.tunnel_portal).status < 400);
    let (code, troubles) = doctor(&office.gateway, "laptop");
    assert_eq!(code, Some(69));
    let [(check, found)] = troubles.as_slice() else {
        panic!("{troubles:?}")
    };
    assert_eq!(check, "sign-in");
    assert!(
        found.contains("quarantine: demo is not signed in"),
        "{found}"
    );

    browser.sign_in(&facts.tunnel_portal, &facts.demo);
    for name in ["laptop", "d1", "demo/laptop", "10.200.200.2"] {
        assert_eq!(
            doctor(&office.gateway, name),
            (Some(0), Vec::new()),
            "{name}"
        );
    }
    let said = office.gateway.must(&["doctor", "--peer", "laptop"]);
    assert!(said.contains("net.echo"), "{said}");

    let policy = office.gateway.policy_text();
    let far =
        "[net.far]\nto = [\"10.99.0.0/24\"]\nport = \"22/tcp\"\nallow.demo = { who = \"demo\" }\n";
    office.gateway.open_policy(&format!("{policy}\n{far}"));
    let (_, troubles) = doctor(&office.gateway, "laptop");
    let [(check, found)] = troubles.as_slice() else {
        panic!("{troubles:?}")
    };
    assert_eq!(check, "policy");
    assert!(found.contains("no route to 10.99.0.0/24"), "{found}");
    office.gateway.set_policy(&policy);

    let old = office.laptop.config.peer["PresharedKey"].clone();
    office.gateway.must(&["device", "rotate-psk", "d1"]);
    office.laptop.use_preshared_key(&old);
    wait::until_true(Duration::from_secs(30), "the wrong key is noticed", || {
        drop(office.connect(PERMITTED));
        let (_, troubles) = doctor(&office.gateway, "laptop");
        let mut told = troubles.iter().filter(|(check, _)| check == "handshake");
        told.any(|(_, found)| found.contains("the device did not go on"))
    });

    let nobody = office.gateway.run(&["doctor", "--peer", "phone"]);
    assert_eq!(nobody.status.code(), Some(65), "{nobody:?}");
    office.gateway.must(&["device", "revoke", "d1"]);
    let (code, troubles) = doctor(&office.gateway, "d1");
    assert_eq!((code, troubles.len()), (Some(69), 1));
    assert_eq!(troubles[0].0, "registered");
}
