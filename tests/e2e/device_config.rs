//! What stands in a device's configuration, with Debian's WireGuard: preshared keys, both address
//! families, the grammar of the apps.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use postern_tests::apps;
use postern_tests::curl::Answer;
use postern_tests::gateway::Gateway;
use postern_tests::journal;
use postern_tests::office::{
    EDGE6, FORBIDDEN6, OFFICE_NETWORK6, Office, PERMITTED, PERMITTED6, echoes,
};
use postern_tests::temp::Temp;
use postern_tests::wait;
use postern_tests::wireguard::Config;
use serde_json::Value;

fn is_the_app(answer: &Answer) -> bool {
    answer.status == 200 && answer.body.contains("the recorder saw")
}

/// Draws a key pair as `wg` does: private, public.
fn key_pair() -> (String, String) {
    let private = wg(&["genkey"], "");
    let public = wg(&["pubkey"], &private);
    (private, public)
}

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

fn devices(gateway: &Gateway) -> Vec<Value> {
    journal::records(&gateway.must(&["device", "list", "--json"]))
}

#[test]
fn another_preshared_key_ends_the_session_and_opens_the_next_one() {
    let mut office = Office::new();
    let old = office.laptop.config.peer["PresharedKey"].clone();
    let browser = office.browser();
    browser.sign_in(
        &office.gateway.facts.tunnel_portal,
        &office.gateway.facts.demo,
    );
    let mut stream = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut stream, "with the first key").unwrap());

    let answer = office
        .gateway
        .must(&["device", "rotate-psk", "d1", "--json"]);
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let new = answer["preshared_key"].as_str().unwrap().to_owned();
    assert_ne!(old, new);
    assert_eq!(answer["id"], "d1");
    assert!(office.connect(PERMITTED).is_err(), "the session is over");
    office.laptop.use_preshared_key(&old);
    assert!(office.connect(PERMITTED).is_err(), "the old key opens none");
    assert!(!office.laptop.has_handshake());

    office.laptop.use_preshared_key(&new);
    wait::until_true(Duration::from_secs(20), "a handshake with the key", || {
        office.connect(PERMITTED).is_ok()
    });
    assert!(office.laptop.has_handshake());
    journal::wait_for(&office.gateway, "device-changed.1", |r| {
        r["reason"] == "device-psk-changed" && r["device"] == "d1"
    });
    let unknown = office.gateway.run(&["device", "rotate-psk", "d9"]);
    assert_eq!(unknown.status.code(), Some(65), "{unknown:?}");
}

#[test]
fn each_device_has_a_preshared_key_that_is_told_once_and_kept_nowhere_in_clear() {
    let gateway = Gateway::demo();
    let (_, public) = key_pair();
    let added = gateway.must(&["device", "add", "demo", "phone", "--public-key", &public]);
    let config = Config::parse(&added);
    let key = config.peer["PresharedKey"].clone();
    assert_eq!(key.len(), 44);
    assert!(config.interface["PrivateKey"].starts_with('<'));
    let (_, public) = key_pair();
    let without = ["--public-key", &public, "--no-preshared-key"];
    let mut args = vec!["device", "add", "demo", "printer"];
    args.extend(without);
    let config = Config::parse(&gateway.must(&args));
    assert!(!config.peer.contains_key("PresharedKey"));
    let listed: Vec<_> = devices(&gateway)
        .iter()
        .map(|d| d["preshared"].as_bool().unwrap())
        .collect();
    assert_eq!(listed, [true, true, false]);
    let line = gateway.must(&["device", "rotate-psk", "d3"]);
    let drawn = line
        .trim()
        .strip_prefix("PresharedKey = ")
        .unwrap()
        .to_owned();
    assert_eq!(drawn.len(), 44);
    assert_eq!(devices(&gateway)[2]["preshared"], true);

    for secret in [&key, &drawn] {
        let said = gateway.must(&["device", "list"]) + &gateway.must(&["status"]);
        assert!(!said.contains(secret.as_str()));
        assert!(!gateway.stderr().contains(secret.as_str()));
        let bytes = data_encoding::BASE64.decode(secret.as_bytes()).unwrap();
        for needle in [secret.as_bytes(), &bytes] {
            assert!(!holds(&gateway.facts.data, needle), "in clear at rest");
        }
    }
}

/// Says whether a file in the folder has these bytes.
fn holds(folder: &Path, needle: &[u8]) -> bool {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries.map(|e| e.path()).any(|path| match path.is_dir() {
        true => holds(&path, needle),
        false => {
            let bytes = std::fs::read(&path).unwrap_or_default();
            bytes.windows(needle.len()).any(|w| w == needle)
        }
    })
}

#[test]
fn over_ipv6_inside_one_sign_in_opens_what_the_policy_permits() {
    let office = Office::new();
    let browser = office.browser6();
    let facts = &office.gateway.facts;
    assert_eq!(browser.open(&office.tunnel_app()).status, 303);
    assert!(office.connect(PERMITTED6).is_err());
    let gateway6: IpAddr = office.laptop.config.gateway6().unwrap().parse().unwrap();
    for server in [office.tunnel_address(), gateway6] {
        let found = look_up6(&office, server, "gate.postern.internal");
        assert_eq!(found, Some(gateway6), "{server}");
    }
    let portal = browser.sign_in(&facts.tunnel_portal, &facts.demo);
    assert_eq!(portal.status, 200, "{portal:?}");
    assert!(is_the_app(&browser.follow(&office.tunnel_app())));
    let mut stream = office.connect(PERMITTED6).unwrap();
    assert!(echoes(&mut stream, "through the tunnel").unwrap());
    assert!(office.connect(FORBIDDEN6).is_err());
    let mut both = office.connect(PERMITTED).unwrap();
    assert!(echoes(&mut both, "one sign-in is for both families").unwrap());
    let allowed = journal::wait_for(&office.gateway, "flow-decided.1", |r| {
        r["outcome"] == "allow" && r.to_string().contains("fd78::2")
    });
    assert_eq!(allowed["rule"], "net.echo#demo");
    journal::wait_for(&office.gateway, "flow-decided.1", |r| {
        r["outcome"] == "deny" && r.to_string().contains("[fd78::2]:7001")
    });
}

#[test]
fn an_ipv6_source_that_is_not_the_devices_own_is_dropped_and_recorded() {
    let office = Office::new();
    let facts = &office.gateway.facts;
    office.browser6().sign_in(&facts.tunnel_portal, &facts.demo);
    let mut own = office.connect(PERMITTED6).unwrap();
    assert!(echoes(&mut own, "own source").unwrap());
    let gateway6 = office.laptop.config.gateway6().unwrap();
    let spoofed = format!("{}f00d", gateway6.strip_suffix('1').unwrap());
    let link = office.laptop.link.clone();
    let address = format!("{spoofed}/128");
    let outside = &office.outside;
    outside.ip(&["addr", "add", &address, "dev", &link, "nodad"]);
    let route = ["route", "replace", OFFICE_NETWORK6, "dev", &link, "src"];
    outside.ip(&[&route[..], &[&spoofed]].concat());
    assert!(office.connect(PERMITTED6).is_err());
    journal::wait_for(&office.gateway, "flow-decided.1", |r| {
        r["outcome"] == "deny" && r.to_string().contains("source")
    });
    assert!(echoes(&mut own, "still own source").unwrap());
}

#[test]
fn over_ipv6_outside_the_tunnel_is_the_same() {
    let office = Office::at(EDGE6);
    let browser = office.browser();
    let facts = &office.gateway.facts;
    assert_eq!(browser.open(&office.tunnel_app()).status, 303);
    browser.sign_in(&facts.tunnel_portal, &facts.demo);
    assert!(is_the_app(&browser.follow(&office.tunnel_app())));
    for service in [PERMITTED, PERMITTED6] {
        let mut stream = office.connect(service).unwrap();
        assert!(echoes(&mut stream, "over IPv6 outside").unwrap());
    }
    let status = office.gateway.must(&["status", "--json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    let endpoint = status["devices"][0]["endpoint"].as_str().unwrap();
    assert!(endpoint.starts_with("[fd77::2]:"), "{endpoint}");
}

/// Asks a name server for the AAAA record of a name, as the laptop would.
fn look_up6(office: &Office, server: IpAddr, name: &str) -> Option<IpAddr> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap());
        query.extend_from_slice(label.as_bytes());
    }
    query.extend([0, 0, 28, 0, 1]);
    let any: IpAddr = match server {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = office.outside.enter(|| UdpSocket::bind((any, 0)).unwrap());
    let patience = Some(Duration::from_millis(500));
    socket.set_read_timeout(patience).unwrap();
    wait::until(Duration::from_secs(5), "an answer of the DNS", || {
        socket.send_to(&query, (server, 53)).ok()?;
        let mut answer = [0; 512];
        let count = socket.recv(&mut answer).ok()?;
        let answer = &answer[..count];
        let records = u16::from_be_bytes([answer[6], answer[7]]);
        let last: [u8; 16] = answer[count - 16..].try_into().unwrap();
        Some((records == 1).then(|| IpAddr::from(last)))
    })
}

#[test]
fn wg_quick_and_the_apps_take_every_configuration_that_is_printed() {
    let gateway = Gateway::demo();
    let generated = gateway.must(&["device", "add", "demo", "desk", "--generate"]);
    let (private, public) = key_pair();
    let own_key = gateway.must(&["device", "add", "demo", "phone", "--public-key", &public]);
    let own_key = own_key.replace("<the private key of this device>", &private);
    let demo = gateway.facts.wg_config.clone().unwrap();
    for config in [generated, own_key, demo] {
        apps::accept(&config).unwrap();
        let dir = Temp::new();
        let file = dir.write("wg0.conf", &config);
        let stripped = Command::new("wg-quick").arg("strip").arg(&file).output();
        let stripped = stripped.unwrap();
        assert!(stripped.status.success(), "{stripped:?}");
        let stripped = String::from_utf8(stripped.stdout).unwrap();
        for key in [
            "PrivateKey",
            "PublicKey",
            "PresharedKey",
            "Endpoint",
            "AllowedIPs",
        ] {
            assert_eq!(stripped.matches(key).count(), 1, "{key}: {stripped}");
        }
        for key in ["Address", "DNS", "MTU"] {
            assert!(!stripped.contains(key), "{stripped}");
            assert!(config.contains(key), "{config}");
        }
    }
}

#[test]
fn an_installation_without_ipv6_goes_on_as_before() {
    let mut gateway = Gateway::demo();
    let both = Config::parse(gateway.facts.wg_config.as_ref().unwrap());
    assert!(both.address6().is_some() && both.gateway6().is_some());
    let file = gateway.facts.config.clone();
    let text = std::fs::read_to_string(&file).unwrap();
    let lines = text.lines().filter(|l| !l.starts_with("network6"));
    let older: Vec<&str> = lines.collect();
    assert_eq!(older.len() + 1, text.lines().count());
    gateway.stop();
    std::fs::write(&file, older.join("\n")).unwrap();
    gateway.start_again();
    let config = Config::parse(gateway.facts.wg_config.as_ref().unwrap());
    assert_eq!((config.address6(), config.gateway6()), (None, None));
    assert_eq!(config.address(), both.address());
    assert_eq!(config.peer["PresharedKey"], both.peer["PresharedKey"]);
    assert!(devices(&gateway)[0]["address6"].is_null());
    gateway.stop();
    std::fs::write(&file, &text).unwrap();
    gateway.start_again();
    let config = Config::parse(gateway.facts.wg_config.as_ref().unwrap());
    assert_eq!(config.interface, both.interface, "as it was");
}
