//! Answers that are kept: one request for many, never one person's for another.

use std::process::Command;
use std::time::Duration;

use postern_tests::curl::{Client, host, origin};
use postern_tests::gateway::{Gateway, Person};
use postern_tests::replica::{Mode, Replica};
use postern_tests::{journal, wait};

struct Scene {
    app: Replica,
    gateway: Gateway,
    demo: Client,
    guest: Client,
}

impl Scene {
    /// A gateway whose app has these keys, and two people who are signed in.
    fn new(keys: &str, areas: &str) -> Self {
        let app = Replica::new("only");
        let gateway = Gateway::demo();
        gateway.set_policy(&policy(&app, keys, areas));
        let signed_in = |person: &Person| {
            let client = Client::new(&gateway);
            let page = client.sign_in(&gateway.facts.app, person);
            assert_eq!(page.status, 200, "{page:?}");
            client
        };
        let (demo, guest) = (
            signed_in(&gateway.facts.demo),
            signed_in(&gateway.facts.guest),
        );
        Self {
            app,
            gateway,
            demo,
            guest,
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", origin(&self.gateway.facts.app))
    }

    /// How many requests a path got.
    fn hits(&self, path: &str) -> usize {
        let seen = self.app.seen();
        seen.iter().filter(|seen| seen.target() == path).count()
    }
}

fn policy(app: &Replica, keys: &str, areas: &str) -> String {
    let people = "allow.people = { who = [\"demo\", \"guest\"] }";
    let areas = areas.replace("PEOPLE", people);
    format!(
        "postern = 1\n[group]\nadmins = [\"demo\"]\n[admin]\nallow.admins = {{ who = \"@admins\" }}\n\
         [app.app]\nhost = [\"app.gate.localhost\", \"app.gate.postern.internal\"]\nupstream = \"{}\"\n{keys}\n{people}\n{areas}\n",
        app.url()
    )
}

/// Asks for one address many times at once; returns the statuses.
fn at_once(scene: &Scene, client: &Client, url: &str, count: usize) -> Vec<String> {
    let name = host(url);
    let cookie = client.cookie(name, "__Host-postern").unwrap();
    let list = format!("url = \"{url}\"\noutput = \"/dev/null\"\n").repeat(count);
    let urls = scene.gateway.dir().join("urls");
    std::fs::write(&urls, list).unwrap();
    let list = urls.display().to_string();
    let mut curl = Command::new("curl");
    curl.args([
        "-q",
        "-sS",
        "-Z",
        "--parallel-immediate",
        "--http1.1",
        "--parallel-max",
        "100",
    ]);
    curl.args(["--max-time", "30", "-w", "%{http_code}\\n", "-K", &list]);
    curl.arg("--cacert").arg(&scene.gateway.facts.ca_root);
    curl.args([
        "--resolve",
        &format!("*:{}:127.0.0.1", scene.gateway.https_port()),
    ]);
    curl.args(["-H", &format!("Cookie: __Host-postern={cookie}")]);
    let output = curl.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_hundred_who_miss_the_same_make_one_request() {
    let scene = Scene::new(
        "cache = { ttl = \"5m\" }",
        "[app.app.\"/plain\"]\ncache = false\nPEOPLE\n",
    );
    scene.app.set(Mode::Late);
    let all = at_once(&scene, &scene.demo, &scene.at("/report"), 100);
    assert_eq!(all, vec!["200"; 100]);
    assert_eq!(scene.hits("/report"), 1);
    scene.app.set(Mode::Well);
    let some = at_once(&scene, &scene.demo, &scene.at("/plain"), 5);
    assert_eq!(some, vec!["200"; 5]);
    assert_eq!(
        scene.hits("/plain"),
        5,
        "where nothing is kept everybody asks"
    );
}

#[test]
fn nobody_gets_what_another_was_answered_unless_the_policy_says_that_it_is_the_same() {
    let areas = "[app.app.\"/prices\"]\ncache = { ttl = \"5m\", shared = \"prices are public in the house\" }\nPEOPLE\n";
    let scene = Scene::new("cache = { ttl = \"5m\" }", areas);
    for _ in 0..3 {
        assert_eq!(scene.demo.fetch(&scene.at("/mine")).status, 200);
        assert_eq!(scene.guest.fetch(&scene.at("/mine")).status, 200);
        assert_eq!(scene.demo.fetch(&scene.at("/prices")).status, 200);
        assert_eq!(scene.guest.fetch(&scene.at("/prices")).status, 200);
    }
    assert_eq!((scene.hits("/mine"), scene.hits("/prices")), (2, 1));
    let kept = scene.guest.fetch(&scene.at("/prices"));
    assert!(kept.header("age").is_some());
    assert_eq!(kept.body, "replica only saw /prices\n");
    assert_eq!(kept.header("x-content-type-options"), Some("nosniff"));
    // every request is decided all the same
    assert_eq!(
        Client::new(&scene.gateway)
            .fetch(&scene.at("/prices"))
            .status,
        401
    );
    let noted =
        |r: &serde_json::Value| r["detail"] == "answered from the cache" && r["user"] == "guest";
    journal::wait_for(&scene.gateway, "request-ended.1", noted);
    // another query, a token, or a wish for the new is another matter
    assert_eq!(scene.demo.fetch(&scene.at("/mine?page=2")).status, 200);
    assert_eq!(scene.hits("/mine?page=2"), 1);
    for field in ["Authorization: Bearer x", "Cache-Control: no-cache"] {
        assert_eq!(
            scene.demo.send(&scene.at("/mine"), &["-H", field]).status,
            200
        );
    }
    assert_eq!(
        scene.demo.send(&scene.at("/mine"), &["-d", "a=1"]).status,
        200
    );
    assert_eq!(scene.hits("/mine"), 5);
    // with another policy nothing is left
    let keys = "cache = { ttl = \"6m\" }";
    scene.gateway.set_policy(&policy(&scene.app, keys, areas));
    assert_eq!(scene.guest.fetch(&scene.at("/prices")).status, 200);
    assert_eq!(scene.hits("/prices"), 2);
}

#[test]
fn what_was_answered_before_stands_in_for_an_app_that_fails() {
    let areas = "[app.app.\"/strict\"]\ncache = { ttl = \"1s\" }\nPEOPLE\n";
    let mut scene = Scene::new("cache = { ttl = \"1s\", stale = \"1h\" }", areas);
    for path in ["/list", "/strict"] {
        assert_eq!(scene.demo.fetch(&scene.at(path)).status, 200);
    }
    scene.app.kill();
    wait::until_true(
        Duration::from_secs(10),
        "the strict answer is too old",
        || scene.demo.fetch(&scene.at("/strict")).status == 502,
    );
    let stale = scene.demo.fetch(&scene.at("/list"));
    assert_eq!(
        (stale.status, stale.body.as_str()),
        (200, "replica only saw /list\n")
    );
    assert!(stale.header("age").unwrap().parse::<u32>().unwrap() >= 1);
    let failed = |r: &serde_json::Value| r["path"] == "/list" && r["reason"] == "upstream-down";
    journal::wait_for(&scene.gateway, "request-ended.1", failed);
    assert_eq!(
        scene.guest.fetch(&scene.at("/list")).status,
        502,
        "nothing was kept for the guest"
    );
    scene.app.revive();
    wait::until_true(Duration::from_secs(60), "the app is asked again", || {
        scene.demo.fetch(&scene.at("/list")).status == 200 && scene.hits("/list") > 1
    });
}

#[test]
fn an_operator_forgets_what_is_kept_by_app_path_or_tag_and_that_is_on_record() {
    let areas = "[app.app.\"/prices\"]\ncache = { ttl = \"5m\" }\nset = { Cache-Tag = \"a, prices\" }\nPEOPLE\n";
    let scene = Scene::new("cache = { ttl = \"5m\" }", areas);
    let ask = |path: &str| {
        let answer = scene.demo.fetch(&scene.at(path));
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("cache-tag"), None, "{answer:?}");
        scene.hits(path)
    };
    let fill = || {
        for path in ["/prices", "/report", "/report/7"] {
            ask(path);
        }
    };
    let purge = |more: &[&str]| {
        let words = [&["cache", "purge", "app", "--json"], more].concat();
        let purged: serde_json::Value = serde_json::from_str(&scene.gateway.must(&words)).unwrap();
        assert_eq!(purged["app"], "app.app");
        purged["answers"].as_u64().unwrap()
    };
    // what the sign-ins opened
    purge(&[]);
    fill();
    fill();
    assert_eq!((scene.hits("/prices"), scene.hits("/report")), (1, 1));
    assert_eq!(purge(&["--tag", "prices"]), 1);
    fill();
    assert_eq!((scene.hits("/prices"), scene.hits("/report")), (2, 1));
    assert_eq!(purge(&["--path", "/report"]), 2);
    fill();
    let all = ["/prices", "/report", "/report/7"].map(|path| scene.hits(path));
    assert_eq!(all, [2, 2, 2]);
    assert_eq!(purge(&["--tag", "nobody"]), 0);
    assert_eq!(purge(&[]), 3);
    journal::wait_for(&scene.gateway, "cache-purged.1", |r| {
        let detail = r["detail"].as_str().unwrap_or_default();
        r["reason"] == "by-operator" && detail.ends_with("purge app.app tag prices")
    });
    let unknown = scene.gateway.run(&["cache", "purge", "nothing"]);
    assert_eq!(unknown.status.code(), Some(65));
    let odd = scene
        .gateway
        .run(&["cache", "purge", "app", "--path", "report"]);
    assert_eq!(odd.status.code(), Some(65));
    fill();
    fill();
    assert_eq!(scene.hits("/report"), 3);
}
