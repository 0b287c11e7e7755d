use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Config;

/// A folder of one test, removed at its end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let name = format!("postern-test-{}", crate::ids::token());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("/etc/postern/p.toml"), text).map_err(|e| e.to_string())
}

#[test]
fn an_empty_file_is_a_valid_configuration() {
    let config = parse("").unwrap();
    assert_eq!(config.data, Path::new("/etc/postern/data"));
    assert_eq!(config.master_key, Path::new("/etc/postern/keys/master.key"));
    assert_eq!(config.http.public_url(), "https://gate.localhost");
    assert_eq!(config.endpoint(), "gate.localhost:51820");
    assert_eq!(config.tunnel.gateway4().to_string(), "10.200.200.1");
    assert_eq!(config.identity.argon2_memory_kib, 65_536);
}

#[test]
fn every_key_is_read() {
    let config = parse(EVERYTHING).unwrap();
    assert_eq!(config.policy_dir, Path::new("/srv/rules"));
    assert_eq!(config.http.public_url(), "https://gate.example.org:8443");
    assert_eq!(config.http.body_max, 100 << 20);
    assert_eq!(config.identity.idle, Duration::from_secs(900));
    assert_eq!(config.identity.max_devices, 3);
    assert_eq!(config.identity.absolute, Duration::from_secs(2 * 86_400));
    assert_eq!(config.identity.argon2_passes, 2);
    assert_eq!(config.identity.source_posts_burst, 5);
    assert_eq!((config.bans.maxretry, config.bans.growth), (3, 3));
    assert_eq!(config.bans.limited.bantime, Duration::from_secs(7200));
    assert_eq!(config.bans.probes.findtime, Duration::from_secs(600));
    assert_eq!(config.bans.allow.len(), 2);
    assert_eq!(
        config.tunnel.dns,
        [
            "192.168.1.1:53".parse().unwrap(),
            "192.168.1.2:5353".parse().unwrap()
        ]
    );
    assert_eq!(
        config.tunnel.zones["corp.example"],
        ["192.168.1.10:53".parse().unwrap()]
    );
    assert_eq!(
        config.tls.certificates[0].chain,
        Path::new("/etc/postern/x.pem")
    );
    assert_eq!(config.admin.listen, Some("127.0.0.1:8444".parse().unwrap()));
    let gateway6 = config.tunnel.gateway6().unwrap().to_string();
    assert_eq!(gateway6, "fd12:3456:789a:1::1");
    let socket = config.tunnel.wg_socket.as_deref();
    assert_eq!(socket, Some(Path::new("/etc/postern/data/wg.sock")));
    assert_eq!(config.tunnel.shards(), 3);
    assert_eq!(config.tunnel.routes.unwrap().len(), 1);
    let traces = config.traces;
    assert_eq!((traces.sample, traces.person), (0.25, true));
    assert_eq!(traces.ca.unwrap(), Path::new("/etc/postern/collector.pem"));
}

const EVERYTHING: &str = r#"
data = "state"
policy = "/srv/rules"
master-key = "m.key"
contact = "it@example.org"
[http]
https = ["0.0.0.0:8443", "[::]:8443"]
http = ["0.0.0.0:8080"]
sign-in = ["gate.example.org", "gate.localhost"]
public-url = "https://gate.example.org:8443/"
hsts-seconds = 300
body-max = "100MiB"
cache-max = "128MiB"
workers = 2
max-connections = 1000
max-connections-per-source = 10
[admin]
listen = "127.0.0.1:8444"
[tls]
certificates = [{ chain = "x.pem", key = "x.key" }]
internal-ca = false
[tunnel]
enabled = true
listen = "0.0.0.0:51820"
endpoint = "gate.example.org:51820"
network = "10.9.0.0/16"
mtu = 1380
dns = ["192.168.1.1", "192.168.1.2:5353"]
routes = ["192.168.1.0/24"]
network6 = "fd12:3456:789a:1::/64"
wg-socket = "data/wg.sock"
workers = 3
[tunnel.zones]
"corp.example" = ["192.168.1.10"]
[identity]
idle = "15m"
absolute = "2d"
max-devices = 3
password-min = 12
issuer = "Office"
argon2 = { memory-kib = 19456, passes = 2 }
failures = 3
failure-wait = "1h"
source-posts-per-minute = 5
source-posts-burst = 5
[bans]
enabled = true
maxretry = 3
findtime = "10m"
bantime = "1h"
growth = 3
cap = "7d"
allow = ["203.0.113.0/24", "2001:db8::/48"]
spare-signed-in = false
limited = { maxretry = 5, findtime = "10m", bantime = "2h" }
probes = { maxretry = 50 }
scans = { maxretry = 9 }
spray-accounts = 30
spray-window = "1h"
[traces]
endpoint = "https://collector.example.org/v1/traces"
headers-file = "collector.headers"
ca = "collector.pem"
sample = 0.25
person = true
[log]
level = "debug"
format = "json"
"#;

/// Bad inputs: the text, where the problem stands, and a part of what is said.
const BAD: &[(&str, &str, &str)] = &[
    ("[tunnel]\nworkers = 0", "2:11", "0 is not between 1 and 16"),
    (
        "[tunnel]\nworkers = 17",
        "2:11",
        "17 is not between 1 and 16",
    ),
    (
        "[bans]\nmaxretry = 0",
        "2:12",
        "0 is not between 1 and 1000",
    ),
    (
        "[bans]\nbantime = \"2d\"",
        "2:11",
        "a first ban cannot be longer than `cap`",
    ),
    (
        "[bans]\nprobes = { bantime = \"1h\" }",
        "2:10",
        "missing field `maxretry`",
    ),
    (
        "[bans]\nallow = [\"192.0.2.7/24\"]",
        "2:10",
        "192.0.2.7/24 has host bits",
    ),
    (
        "[mail]\nhost = \"smtp.example.org\"",
        "1:1",
        "mails need a sender in `from`",
    ),
    (
        "[mail]\nfrom = \"g@example.org\"",
        "1:1",
        "the name of an SMTP server in `host`",
    ),
    (
        "[mail]\nhost = \"smtp.example.org\"\nfrom = \"g@example.org\"\ntls = \"none\"",
        "4:7",
        "only a loopback address",
    ),
    (
        "[mail]\nhost = \"192.0.2.7\"",
        "2:8",
        "is not the name of a server",
    ),
    (
        "[mail]\nhost = \"127.0.0.1\"\nfrom = \"g@example.org\"",
        "2:8",
        "needs the name of the server",
    ),
    (
        "[mail]\nhost = \"smtp.example.org\"\nfrom = \"g@example.org\"\nuser = \"gate\"",
        "4:8",
        "needs a `password-file`",
    ),
    (
        "[mail]\nfrom = \"a\\r\\nBcc: eve@example.org\"",
        "2:8",
        "is not a sender",
    ),
    (
        "[mail]\nadmins = [\"ops\"]",
        "2:11",
        "is not a mail address",
    ),
    (
        "[bans]\nmaxretries = 3",
        "2:1",
        "unknown key `maxretries`; did you mean `maxretry`?",
    ),
    (
        "dta = \"x\"",
        "1:1",
        "unknown key `dta`; did you mean `data`?",
    ),
    (
        "[http]\nhtps = []",
        "2:1",
        "unknown key `htps`; did you mean `https`?",
    ),
    (
        "[http]\nzzzzzz = 1",
        "2:1",
        "known here: https, http, sign-in",
    ),
    ("[htp]", "1:2", "did you mean `http`?"),
    ("data = \"a\"\ndata = \"b\"", "2:1", "duplicate key"),
    ("[http]\n[http]", "2:2", "duplicate key"),
    ("data = ", "1:", ""),
    ("data = \"a", "1:", ""),
    ("data = 1", "1:8", "expected a path"),
    ("data = \"\"", "1:8", "a path is not empty"),
    (
        "data = \"${HOME}/x\"\npolicy = \"${HOME}/x\"",
        "2:10",
        "folders of their own",
    ),
    (
        "master-key = \"data/k\"",
        "1:14",
        "may not lie in the state folder",
    ),
    ("[http]\nhttps = []", "2:9", "needs an address"),
    (
        "[http]\nhttps = \"0.0.0.0:1\"",
        "2:9",
        "expected a sequence",
    ),
    (
        "[http]\nhttps = [\"0.0.0.0:1\", \"localhost:443\"]",
        "2:23",
        "`localhost:443` is not an address and port",
    ),
    (
        "[http]\nhttps = [\"0.0.0.0:70000\"]",
        "2:10",
        "not an address and port",
    ),
    (
        "[http]\nhttps = [\"0.0.0.0:80\"]",
        "1:1",
        "0.0.0.0:80 is listened on twice",
    ),
    ("[http]\nsign-in = []", "2:11", "need a host name"),
    (
        "[http]\nsign-in = [\"Gate.Example.org.\"]",
        "2:12",
        "write `gate.example.org`",
    ),
    (
        "[http]\nsign-in = [\"10.0.0.1\"]",
        "2:12",
        "is not a host name",
    ),
    ("[http]\nsign-in = [\"a b\"]", "2:12", "is not a host name"),
    (
        "[http]\nsign-in = [\"a.example\", \"a.example\"]",
        "2:11",
        "stands twice",
    ),
    (
        "[http]\npublic-url = \"http://gate.localhost\"",
        "2:14",
        "is not an origin",
    ),
    (
        "[http]\npublic-url = \"https://other.example\"",
        "2:14",
        "is not a sign-in host; name it",
    ),
    ("[http]\nhsts-seconds = -1", "2:16", "not between 0 and"),
    ("[http]\nworkers = 1000", "2:11", "not between 0 and 256"),
    (
        "[http]\nbody-max = \"5 bananas\"",
        "2:12",
        "a number of bytes",
    ),
    ("[http]\nbody-max = -5", "2:12", "a number of bytes"),
    ("[http]\ncache-max = \"much\"", "2:13", "a number of bytes"),
    (
        "[admin]\nlisten = \"0.0.0.0:8444\"",
        "2:10",
        "may not stand on 0.0.0.0:8444",
    ),
    (
        "[tls]\ninternal-ca = false",
        "2:15",
        "needs a certificate; add one",
    ),
    (
        "[tls]\ncertificates = [{ chain = \"a\" }]",
        "2:17",
        "missing field `key`",
    ),
    (
        "[tls]\ncertificates = [{ chain = \"a\", key = \"b\", ky = \"c\" }]",
        "2:43",
        "unknown key `ky`",
    ),
    ("[tunnel]\nenabled = \"yes\"", "2:11", "expected a boolean"),
    (
        "[tunnel]\nlisten = \"51820\"",
        "2:10",
        "not an address and port",
    ),
    ("[tunnel]\nlisten = \"0.0.0.0:0\"", "2:10", "cannot be 0"),
    (
        "[tunnel]\nendpoint = \"gate\"",
        "2:12",
        "not a host and port",
    ),
    (
        "[tunnel]\nnetwork = \"10.200.200.1/24\"",
        "2:11",
        "the network is 10.200.200.0/24",
    ),
    (
        "[tunnel]\nnetwork = \"10.200.200.0/31\"",
        "2:11",
        "not between /8 and /30",
    ),
    (
        "[tunnel]\nnetwork = \"fd00::/64\"",
        "2:11",
        "is not an IPv4 network",
    ),
    (
        "[tunnel]\nnetwork6 = \"10.9.0.0/24\"",
        "2:12",
        "is not an IPv6 network",
    ),
    (
        "[tunnel]\nnetwork6 = \"fd12::/80\"",
        "2:12",
        "not between /16 and /64; such as fd",
    ),
    (
        "[tunnel]\nnetwork6 = \"fe80::/64\"",
        "2:12",
        "is not one for hosts; such as fd",
    ),
    (
        "[tunnel]\nnetwork6 = \"fd0b:3c6e:91d2:7a40::/64\"",
        "2:12",
        "is not one for hosts",
    ),
    ("[tunnel]\nmtu = 100", "2:7", "not between 1280 and 1500"),
    (
        "[tunnel]\ndns = [\"dns.example\"]",
        "2:8",
        "is not the address of a resolver",
    ),
    (
        "[tunnel]\nroutes = [\"192.168.1.7/24\"]",
        "2:11",
        "the network is 192.168.1.0/24",
    ),
    (
        "[tunnel.zones]\n\"Corp.example\" = []",
        "2:1",
        "write `corp.example`",
    ),
    (
        "[tunnel.zones]\n\"corp.example\" = []",
        "2:18",
        "has no resolver",
    ),
    (
        "[identity]\nidle = \"1 hour\"",
        "2:8",
        "`1 hour` is not a duration",
    ),
    ("[identity]\nidle = 60", "2:8", "expected a duration"),
    ("[identity]\nidle = \"0m\"", "2:8", "longer than nothing"),
    (
        "[identity]\nidle = \"99999999999999d\"",
        "2:8",
        "longer than ten years",
    ),
    (
        "[identity]\nidle = \"13h\"",
        "2:8",
        "cannot be idle for longer",
    ),
    ("[identity]\nissuer = \"a:b\"", "2:10", "has no colon"),
    (
        "[identity]\nargon2 = { memory-kib = 1024 }",
        "2:25",
        "not between 19456 and",
    ),
    (
        "[identity]\nmax-devices = 0",
        "2:15",
        "0 is not between 1 and 1000",
    ),
    (
        "[identity]\npassword-min = 4",
        "2:16",
        "not between 8 and 128",
    ),
    (
        "[log]\nlevel = \"inof\"",
        "2:9",
        "unknown value `inof`; did you mean `info`?",
    ),
    (
        "[traces]\nendpiont = \"x\"",
        "2:1",
        "did you mean `endpoint`?",
    ),
    (
        "[traces]\nendpoint = \"localhost:4318\"",
        "2:12",
        "write http:// or https://",
    ),
    (
        "[traces]\nendpoint = \"https://collector.example.org\"",
        "2:12",
        "usually https://collector.example.org/v1/traces",
    ),
    (
        "[traces]\nendpoint = \"https://c.example.org/v1/traces?key=x\"",
        "2:12",
        "stands in `headers-file`",
    ),
    (
        "[traces]\nendpoint = \"https://me:x@c.example.org/v1/traces\"",
        "2:12",
        "stands in `headers-file`",
    ),
    (
        "[traces]\nendpoint = \"http://collector.example.org/v1/traces\"",
        "2:12",
        "write https://",
    ),
    (
        "[traces]\nendpoint = \"http://10.0.0.7:4318/v1/traces\"\nheaders-file = \"k\"",
        "3:16",
        "in the clear; write https://",
    ),
    (
        "[traces]\nendpoint = \"http://10.0.0.7:4318/v1/traces\"\nca = \"k\"",
        "3:6",
        "no certificate to vouch for",
    ),
    (
        "[traces]\nheaders-file = \"k\"",
        "1:1",
        "the URL of a collector in `endpoint`",
    ),
    ("[traces]\nsample = 1.5", "2:10", "a share from 0 to 1"),
    ("[traces]\nsample = 10", "2:10", "a share from 0 to 1"),
    ("[traces]\nsample = nan", "2:10", "a share from 0 to 1"),
    ("[log]\nformat = \"xml\"", "2:10", "known here: json, text"),
];

#[test]
fn every_bad_input_is_refused_at_its_place() {
    let mut wrong = Vec::new();
    for (text, place, part) in BAD {
        let said = parse(text).map_or_else(|e| e, |_| "accepted".to_owned());
        let begins = format!("/etc/postern/p.toml:{place}");
        let first = said.lines().next().unwrap();
        if !first.starts_with(&begins) || !first.contains(part) {
            wrong.push(format!("{text:?}\n  want {place} {part:?}\n  got  {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_collector_nearby_needs_no_tls_and_one_here_may_have_a_key_without() {
    let good = [
        "http://127.0.0.1:4318/v1/traces",
        "http://[::1]:4318/v1/traces",
        "http://localhost:4318/v1/traces",
        "https://collector.example.org/api/7/otlp/v1/traces",
    ];
    for url in good {
        let with_key = format!("[traces]\nendpoint = \"{url}\"\nheaders-file = \"k\"");
        assert!(parse(&with_key).is_ok(), "{url}");
    }
    let near = parse("[traces]\nendpoint = \"http://10.0.0.7:4318/v1/traces\"\nsample = 0");
    assert_eq!(near.unwrap().traces.sample, 0.0);
}

#[test]
fn all_problems_between_values_are_told_at_once() {
    let said = parse("[http]\nhttps = []\nsign-in = []\n[identity]\nidle = \"13h\"").unwrap_err();
    assert_eq!(said.lines().count(), 3, "{said}");
}

#[test]
fn the_named_file_comes_first() {
    let named = Path::new("/x/y.toml");
    assert_eq!(Config::default_path(Some(named)), named);
}

#[test]
fn a_file_that_is_missing_is_told_by_name() {
    let folder = Folder::new();
    let path = folder.path().join("none.toml");
    let said = Config::load(&path).unwrap_err().to_string();
    assert!(said.contains("none.toml"), "{said}");
    folder.write("none.toml", "");
    assert!(Config::load(&path).is_ok());
}

#[test]
fn the_example_in_deploy_is_a_configuration() {
    let text = include_str!("../../../deploy/postern.toml");
    let config = Config::parse(Path::new("/etc/postern/postern.toml"), text).unwrap();
    assert_eq!(config.http.sign_in, ["gate.cabinet.example"]);
    assert_eq!(config.tunnel.gateway4().to_string(), "10.200.200.1");
}

#[test]
fn the_sections_of_the_guide_are_read_as_they_stand() {
    let guide = include_str!("../../../deploy/guide.md");
    let blocks = guide.split("```toml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split("```").next());
    let sections: Vec<&str> = blocks.filter(|b| !b.contains("allow.")).collect();
    assert_eq!(sections.len(), 5);
    for text in sections {
        let read = Config::parse("/etc/postern/postern.toml".as_ref(), text);
        assert!(read.is_ok(), "{text}\n{:?}", read.err());
    }
}
