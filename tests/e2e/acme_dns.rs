//! Control of names shown by updates of a zone (RFC 2136), before Debian's name server.

use postern_tests::named::{KEY, Named, POWERLESS};
use postern_tests::pebble::{Pebble, Setup, Site};
use postern_tests::process::Program;
use postern_tests::upstream::Recorder;
use serde_json::json;

const GATE: &str = "gate.example.test";
const OPEN: &str = "open.example.test";
const WILD: &str = "*.example.test";
const RECORD: &str = "_acme-challenge.example.test";

struct Scene {
    site: Site,
    named: Named,
    pebble: Pebble,
    _recorder: Recorder,
}

impl Scene {
    fn new() -> Self {
        let recorder = Recorder::new();
        let site = Site::new(&format!(
            "[app.open]\nhost = \"{OPEN}\"\nupstream = \"{}\"\n\
             public = \"what a test looks at\"\nallow.all = {{ who = \"anyone\" }}\n",
            recorder.url()
        ));
        let named = Named::start();
        let setup = Setup {
            dns: Some(named.port),
            ..Setup::default()
        };
        Self {
            pebble: Pebble::start(&site, &setup),
            site,
            named,
            _recorder: recorder,
        }
    }

    fn start(&self, dns: &str) -> Program {
        let acme = format!(
            "[acme]\nagree-to-terms = true\nchallenge = \"dns-01\"\nwildcards = [\"{WILD}\"]\n\
             {}{dns}",
            self.pebble.entry()
        );
        self.site.configure(&self.pebble.resolver(), true, &acme);
        self.site.start()
    }
}

#[test]
fn a_wildcard_comes_by_signed_updates_and_leaves_no_record_behind() {
    let scene = Scene::new();
    let program = scene.start(&scene.named.entry(KEY, "acme.key"));
    scene.site.wait_for(WILD);
    let root = scene.pebble.root();
    for host in [GATE, OPEN] {
        assert_eq!(
            scene.site.get(&root, host, "/.postern/icon.svg"),
            Ok(200),
            "{host}"
        );
    }
    let line = scene.site.certificate(WILD).unwrap();
    assert_eq!(line["names"], json!([WILD]));
    let count = |act: &str| scene.named.changes(act, RECORD);
    assert!(count("adding an RR") > 0);
    assert_eq!(count("adding an RR"), count("deleting an RR"));
    drop(program);
}

#[test]
fn a_key_that_may_not_change_the_zone_keeps_the_old_certificate_and_is_named() {
    let scene = Scene::new();
    for (key, file, said) in [
        (KEY, "wrong.key", "does not take this key"),
        ("unknown-key", "acme.key", "does not take this key"),
        (POWERLESS, "acme.key", "refuses the update"),
    ] {
        let program = scene.start(&scene.named.entry(key, file));
        let line = scene.site.wait_for_failure(WILD);
        assert_eq!(line["cause"], "dns-not-set", "{line}");
        let detail = line["detail"].as_str().unwrap();
        assert!(detail.contains(said), "{key}, {file}: {detail}");
        program.stop();
        // the next key begins afresh
        std::fs::remove_file(scene.site.path("data/acme/orders.json")).unwrap();
    }
    let count = |act: &str| scene.named.changes(act, RECORD);
    assert_eq!((count("adding an RR"), count("deleting an RR")), (0, 0));
    let program = scene.start(&scene.named.entry(KEY, "acme.key"));
    scene.site.wait_for(WILD);
    drop(program);
}
