//! Certificates in files of one's own: followed when they change, and what is wrong is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use certs::{DAY, Leaf, Root};
use postern_tests::clock::Clock;
use postern_tests::pebble::{Pebble, Setup, Site, acme};
use postern_tests::process::Program;
use postern_tests::smtp::Sink;
use postern_tests::temp::Temp;
use postern_tests::wait;

const GATE: &str = "gate.example.test";
const LIMIT: Duration = postern_tests::wait::PATIENCE;

struct Scene {
    site: Site,
    dir: Temp,
    ca: certs::Ca,
    root: PathBuf,
    program: Program,
}

impl Scene {
    fn new() -> Self {
        let (site, dir) = (Site::new(""), Temp::new());
        let ca = Root::create("Office root", now()).unwrap();
        let ca = ca.intermediate("Office", now()).unwrap();
        let root = dir.write("root.pem", ca.root_pem());
        let first = issue(&ca);
        put(&dir, "own/key.pem", &first.key_pem);
        put(&dir, "own/chain.pem", &first.chain_pem);
        let file = |name: &str| dir.path().join("own").join(name).display().to_string();
        let files = format!(
            "certificates = [{{ chain = \"{}\", key = \"{}\" }}]",
            file("chain.pem"),
            file("key.pem")
        );
        site.configure("127.0.0.1:53", true, &files);
        let program = site.start();
        Self {
            site,
            dir,
            ca,
            root,
            program,
        }
    }

    fn put(&self, chain: &str, key: &str) {
        put(&self.dir, "own/key.pem", key);
        put(&self.dir, "own/chain.pem", chain);
    }

    /// Puts files in the place of the good ones, and waits until something is said of them.
    fn is_told(&self, chain: &str, key: &str, said: &str) {
        let before = self.site.shown(GATE);
        self.put(chain, key);
        wait::until_true(LIMIT, said, || self.program.stderr().contains(said));
        assert_eq!(self.site.shown(GATE), before, "{said}: the old one stays");
        assert_eq!(
            self.site.get(&self.root, GATE, "/.postern/icon.svg"),
            Ok(200)
        );
    }

    fn takes(&self, leaf: &Leaf) {
        let before = self.site.shown(GATE);
        self.put(&leaf.chain_pem, &leaf.key_pem);
        wait::until_true(LIMIT, "the new one is shown", || {
            self.site.shown(GATE) != before
        });
        assert_eq!(
            self.site.get(&self.root, GATE, "/.postern/icon.svg"),
            Ok(200)
        );
    }
}

fn now() -> i64 {
    i64::try_from(postern_tests::totp::now()).unwrap()
}

fn issue(ca: &certs::Ca) -> Leaf {
    ca.issue(&[GATE], now(), 30 * DAY).unwrap()
}

/// Replaces a file in one step.
fn put(dir: &Temp, name: &str, text: &str) {
    let fresh = dir.write(&format!("{name}.fresh"), text);
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(fresh, dir.path().join(name)).unwrap();
}

#[test]
fn files_that_change_are_followed_without_a_restart() {
    let scene = Scene::new();
    assert_eq!(
        scene.site.get(&scene.root, GATE, "/.postern/icon.svg"),
        Ok(200)
    );
    assert_eq!(scene.site.certificate(GATE).unwrap()["source"], "file");
    for _ in 0..2 {
        scene.takes(&issue(&scene.ca));
    }
}

#[test]
fn files_that_do_not_fit_keep_the_old_certificate_and_are_told_precisely() {
    let scene = Scene::new();
    let (one, other) = (issue(&scene.ca), issue(&scene.ca));
    let key = "the private key does not belong to certificate 1";
    scene.is_told(&one.chain_pem, &other.key_pem, key);
    let at = one.chain_pem.rfind("-----BEGIN").unwrap();
    let (leaf, above) = one.chain_pem.split_at(at);
    let turned = format!("{above}{leaf}");
    scene.is_told(&turned, &one.key_pem, "put the leaf first");
    let ended = scene.ca.issue(&[GATE], now() - 1800, 900).unwrap();
    scene.is_told(&ended.chain_pem, &ended.key_pem, "expired at");
    scene.is_told("nothing", &one.key_pem, "no certificate in the chain");
    // and the way out of each of them
    scene.takes(&one);
}

const WIKI: &str = "wiki.example.test";

fn app(name: &str, host: &str) -> String {
    format!(
        "[app.{name}]\nhost = \"{host}\"\nupstream = \"http://127.0.0.1:1\"\n\
         public = \"a test\"\nallow.all = {{ who = \"anyone\" }}\n"
    )
}

/// A site whose clock is set, with files for its sign-in host that end after thirty days.
struct Aging {
    site: Site,
    dir: Temp,
    ca: certs::Ca,
    clock: Clock,
    /// The root of the internal authority.
    internal: PathBuf,
}

impl Aging {
    fn new(internal: bool, more: &str) -> Self {
        let (site, dir) = (Site::new(&app("wiki", WIKI)), Temp::new());
        let ca = Root::create("Office root", now()).unwrap();
        let ca = ca.intermediate("Office", now()).unwrap();
        dir.write("office.pem", ca.root_pem());
        let aging = Self {
            internal: site.path("data/ca/root.pem"),
            site,
            dir,
            ca,
            clock: Clock::new(),
        };
        aging.put("own", &[GATE], now(), 30);
        aging.put("wiki", &[WIKI], now(), 90);
        let pair = |name: &str| {
            let path = aging.dir.path().join(name).display().to_string();
            format!("{{ chain = \"{path}/chain.pem\", key = \"{path}/key.pem\" }}")
        };
        let files = match internal {
            true => pair("own"),
            false => [pair("own"), pair("wiki")].join(", "),
        };
        let text = format!("certificates = [{files}]\n{more}");
        aging.site.configure("127.0.0.1:53", internal, &text);
        aging
    }

    fn put(&self, folder: &str, hosts: &[&str], at: i64, days: i64) {
        let leaf = self.ca.issue(hosts, at, days * DAY).unwrap();
        put(&self.dir, &format!("{folder}/key.pem"), &leaf.key_pem);
        put(&self.dir, &format!("{folder}/chain.pem"), &leaf.chain_pem);
    }

    fn start(&self) -> Program {
        self.site.start_after(&self.clock.wrap())
    }

    fn get(&self, root: &std::path::Path, host: &str) -> Result<u16, String> {
        self.site
            .get_at(&self.clock, root, host, "/.postern/icon.svg")
    }

    /// The line of `cert list` for a host and where its certificate is from.
    fn line(&self, host: &str, source: &str) -> Option<serde_json::Value> {
        let lines = self.site.json(&["cert", "list"]).into_iter();
        let named = |line: &serde_json::Value| {
            let names = line["names"].as_array().unwrap();
            names.iter().any(|name| name == host) && line["source"] == source
        };
        lines.into_iter().find(named)
    }
}

#[test]
fn a_file_that_ran_out_stops_neither_other_certificates_nor_a_reload_nor_a_restart() {
    let aging = Aging::new(true, "");
    let (site, office) = (&aging.site, aging.dir.path().join("office.pem"));
    let program = aging.start();
    assert_eq!(aging.get(&office, GATE), Ok(200));
    let wiki = site.shown(WIKI);
    aging.clock.set(31 * DAY);
    wait::until_true(LIMIT, "the authority stands in", || {
        aging.get(&aging.internal, GATE) == Ok(200)
    });
    wait::until_true(LIMIT, "another leaf is renewed", || {
        site.shown(WIKI) != wiki
    });
    assert_eq!(aging.get(&aging.internal, WIKI), Ok(200));
    let left = aging.line(GATE, "file").unwrap();
    assert_eq!(left["cause"], "ended", "{left}");
    assert!(left["advice"].is_string(), "{left}");
    assert!(aging.line(GATE, "internal").is_some());
    let said = site.code(&["cert", "list"]).1;
    assert!(said.contains("left out since it ended"), "{said}");
    let told = || {
        let records = site.json(&["audit", "search", "--reason", "ends-soon"]);
        let detail = |r: &serde_json::Value| r["detail"].as_str().map(str::to_owned);
        let mut details = records.iter().filter_map(detail);
        details.any(|d| d.starts_with(&format!("{GATE}: 0 days left: ended")))
    };
    wait::until_true(LIMIT, "its end is in the journal", told);

    let file = site.path("policy/policy.toml");
    let before = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{before}\n# a change\n")).unwrap();
    let (exit, said) = site.code(&["reload"]);
    assert_eq!(exit, Some(0), "{said}");

    program.stop();
    let program = aging.start();
    for host in [GATE, WIKI] {
        assert_eq!(aging.get(&aging.internal, host), Ok(200), "{host}");
    }
    let log = program.stderr();
    assert!(log.contains("LEFT OUT") && log.contains(GATE), "{log}");

    // another that ran out is refused, as ever, and a good one is taken
    let shown = site.shown(GATE);
    aging.put("own", &[GATE], now(), 29);
    wait::until_true(LIMIT, "it is told", || {
        program.stderr().contains("expired at")
    });
    let (exit, said) = site.code(&["reload"]);
    assert!(exit != Some(0) && said.contains("expired at"), "{said}");
    assert_eq!(site.shown(GATE), shown);
    aging.put("own", &[GATE], now() + 31 * DAY, 30);
    wait::until_true(LIMIT, "a good one is shown", || {
        aging.get(&office, GATE) == Ok(200)
    });
    let line = aging.line(GATE, "file").unwrap();
    assert!(line["cause"].is_null(), "{line}");
    program.stop();
}

#[test]
fn without_another_certificate_the_name_is_nobodys_and_the_others_are_served_on() {
    let aging = Aging::new(false, "");
    let office = aging.dir.path().join("office.pem");
    let program = aging.start();
    for host in [GATE, WIKI] {
        assert_eq!(aging.get(&office, host), Ok(200), "{host}");
    }
    aging.clock.set(31 * DAY);
    let nobody = || {
        let refused = aging.get(&office, GATE);
        refused.is_err_and(|said| !said.contains("expired"))
    };
    wait::until_true(LIMIT, "nobody is named", nobody);
    program.stop();
    let program = aging.start();
    assert!(nobody());
    assert_eq!(aging.get(&office, WIKI), Ok(200));
    aging.put("own", &[GATE], now() + 31 * DAY, 30);
    wait::until_true(LIMIT, "a good one is shown", || {
        aging.get(&office, GATE) == Ok(200)
    });
    program.stop();
}

#[test]
fn a_certificate_that_was_imported_gives_way_at_its_end_while_the_gateway_runs() {
    let aging = Aging::new(true, "");
    let file = |name: &str| aging.dir.path().join(name).display().to_string();
    aging.put("taken", &[WIKI], now(), 20);
    let program = aging.start();
    let (chain, key) = (file("taken/chain.pem"), file("taken/key.pem"));
    let (exit, said) = aging.site.code(&["cert", "import", &chain, &key]);
    assert_eq!(exit, Some(0), "{said}");
    let office = aging.dir.path().join("office.pem");
    assert_eq!(aging.get(&office, WIKI), Ok(200));
    aging.clock.set(21 * DAY);
    wait::until_true(LIMIT, "the authority stands in", || {
        aging.get(&aging.internal, WIKI) == Ok(200)
    });
    let left = aging.line(WIKI, "file").unwrap();
    assert_eq!(left["cause"], "ended", "{left}");
    // the twin: whose time is not over stays
    assert_eq!(aging.get(&office, GATE), Ok(200));
    program.stop();
}

fn set_mode(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn leaves_that_cannot_be_renewed_are_told_of_and_renewed_when_they_can_be() {
    let sink = Sink::new();
    let mail = format!("{}admins = [\"ops@example.org\"]\n", sink.section());
    let aging = Aging::new(true, &mail);
    let site = &aging.site;
    let program = aging.start();
    let before = site.shown(WIKI);
    assert!(aging.line(WIKI, "internal").unwrap()["cause"].is_null());
    let key = site.path("data/ca/intermediate.key");
    set_mode(&key, 0o644);
    aging.clock.set(12 * DAY);
    let line = wait::until(LIMIT, "it is in the list", || {
        let line = aging.line(WIKI, "internal")?;
        line["cause"].is_string().then_some(line)
    });
    assert_eq!(line["cause"], "file-unusable", "{line}");
    let detail = line["detail"].as_str().unwrap();
    assert!(detail.contains("intermediate.key"), "{line}");
    let status = site.json(&["status"]);
    let failing = status[0]["certificates"].as_array().unwrap();
    assert!(failing.iter().any(|f| f["name"] == WIKI), "{status:?}");
    let mail = sink.wait_for("a word about it", |mail| mail.text.contains(WIKI));
    for part in ["file-unusable", "intermediate.key"] {
        assert!(mail.text.contains(part), "{part}: {}", mail.text);
    }
    let (exit, said) = site.code(&["cert", "renew", WIKI]);
    assert_eq!(exit, Some(69), "{said}");
    assert!(said.contains("file-unusable"), "{said}");
    assert_eq!(site.shown(WIKI), before, "the old one stays");
    // once, however often it is tried
    let records = site.json(&["audit", "search", "--reason", "not-renewed"]);
    assert_eq!(records.len(), 1, "{records:?}");

    set_mode(&key, 0o600);
    let done = site.json(&["cert", "renew", WIKI]);
    assert_ne!(site.shown(WIKI), before, "{done:?}");
    let line = aging.line(WIKI, "internal").unwrap();
    assert!(line["cause"].is_null(), "{line}");
    program.stop();
}

#[test]
fn what_a_directory_signed_and_cannot_be_put_in_force_is_told_so_and_not_ordered_again() {
    let site = Site::new("");
    let pebble = Pebble::start(&site, &Setup::default());
    site.configure(&pebble.resolver(), true, &acme("", &[&pebble.entry()]));
    let program = site.start();
    site.wait_for(GATE);
    let before = site.shown(GATE);
    let key = site.path("data/ca/intermediate.key");
    set_mode(&key, 0o644);
    let done = site.renew(GATE);
    assert_eq!(done["outcome"], "not-in-force", "{done}");
    assert_eq!(done["cause"], "file-unusable", "{done}");
    assert_eq!(site.shown(GATE), before);
    let line = site.certificate(GATE).unwrap();
    assert_eq!(line["cause"], "file-unusable", "{line}");
    let orders = || {
        let text = fs::read(site.path("data/acme/orders.json")).unwrap();
        let kept: serde_json::Value = serde_json::from_slice(&text).unwrap();
        kept["names"][GATE]["places"][0]["issued"]
            .as_array()
            .unwrap()
            .len()
    };
    wait::until_true(LIMIT, "it is counted", || orders() == 2);
    // when it can be, it is there already
    set_mode(&key, 0o600);
    let done = site.json(&["cert", "renew", GATE]);
    assert_eq!(done[0]["outcome"], "not-due", "{done:?}");
    assert_ne!(site.shown(GATE), before);
    assert_eq!(
        site.get(&pebble.root(), GATE, "/.postern/icon.svg"),
        Ok(200)
    );
    assert_eq!(orders(), 2);
    assert!(site.certificate(GATE).unwrap()["cause"].is_null());
    program.stop();
}
