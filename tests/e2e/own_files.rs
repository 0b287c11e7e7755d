//! Certificates in files of one's own: followed when they change, and what is wrong is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use certs::{DAY, Leaf, Root};
use postern_tests::pebble::Site;
use postern_tests::process::Program;
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
        assert_eq!(self.site.get(&self.root, GATE, "/healthz"), Ok(200));
    }

    fn takes(&self, leaf: &Leaf) {
        let before = self.site.shown(GATE);
        self.put(&leaf.chain_pem, &leaf.key_pem);
        wait::until_true(LIMIT, "the new one is shown", || {
            self.site.shown(GATE) != before
        });
        assert_eq!(self.site.get(&self.root, GATE, "/healthz"), Ok(200));
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
    assert_eq!(scene.site.get(&scene.root, GATE, "/healthz"), Ok(200));
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
