//! Answers that are kept: one request for many, never one person's for another.

use std::time::{Duration, Instant};

use postern_tests::curl::{Client, origin};
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
    // a head alone ends its stream, too
    for version in ["--http1.1", "--http2"] {
        let head = |path| scene.demo.try_send(&scene.at(path), &["-I", version]);
        let status = |path| head(path).map(|answer| answer.status);
        assert_eq!(status("/list"), Ok(200), "{version}");
        assert_eq!(status("/strict"), Ok(502), "{version}");
    }
    let failed = |r: &serde_json::Value| r["path"] == "/list" && r["reason"] == "upstream-down";
    journal::wait_for(&scene.gateway, "request-ended.1", failed);
    // what was given out says that it was old
    let marked = |mark: &str| {
        journal::wait_for(&scene.gateway, "request-ended.1", |r| {
            r["path"] == "/list" && r["status"] == 200 && journal::is(r, "detail", mark)
        })
    };
    marked("answered from the cache, stale, while the app is asked");
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

/// Silence and a reset are failures like a status; a HEAD waits for the app, so what stands in is told as such.
/// Source: nginx, `proxy_cache_use_stale error timeout`.
#[test]
fn what_was_answered_before_stands_in_for_an_app_that_is_silent_or_resets() {
    let areas = "[app.app.\"/strict\"]\ncache = { ttl = \"1s\" }\nPEOPLE\n";
    let keys = "cache = { ttl = \"1s\", stale = \"1h\" }\ntimeout = { head = \"1s\" }";
    let scene = Scene::new(keys, areas);
    for (mode, status, reason, version) in [
        (Mode::Silent, 504, "timeout", "--http1.1"),
        (Mode::Silent, 504, "timeout", "--http2"),
        (Mode::Reset, 502, "reset", "--http1.1"),
        (Mode::Reset, 502, "reset", "--http2"),
    ] {
        let name = format!("{mode:?} {version}");
        let tail = format!("{reason}{version}");
        let (list, strict) = (format!("/{tail}"), format!("/strict/{tail}"));
        for path in [&list, &strict] {
            let whole = scene.demo.send(&scene.at(path), &[version]);
            assert_eq!(whole.status, 200, "{name}: {whole:?}");
        }
        scene.app.set(mode);
        let head = |path: &str| scene.demo.try_send(&scene.at(path), &["-I", version]);
        wait::until_true(wait::PATIENCE, "the strict answer is too old", || {
            head(&strict).unwrap().status == status
        });
        let stale = head(&list).unwrap();
        assert_eq!(stale.status, 200, "{name}: {stale:?}");
        let age = stale.header("age").unwrap().parse::<u32>().unwrap();
        assert!(age >= 1, "{name}: {stale:?}");
        journal::wait_for(&scene.gateway, "request-ended.1", |r| {
            let stood_in = "answered from the cache, stale, for the app failed";
            let told = journal::is(r, "path", &list) && journal::is(r, "reason", reason);
            told && r["status"] == 200 && journal::is(r, "detail", stood_in)
        });
        // who asks for the whole gets it at once, whatever comes of asking the app behind
        let whole = scene.demo.send(&scene.at(&list), &[version]);
        let body = format!("replica only saw {list}\n");
        assert_eq!((whole.status, whole.body), (200, body), "{name}");
        scene.app.set(Mode::Well);
        let again = || scene.demo.fetch(&scene.at(&strict)).status == 200;
        wait::until_true(Duration::from_secs(60), "the app is asked again", again);
    }
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

#[test]
fn a_part_is_cut_out_of_the_whole_that_is_kept() {
    let keys = "cache = { ttl = \"5m\" }\nset = { ETag = \"\\\"v1\\\"\" }";
    let scene = Scene::new(keys, "");
    let body = "replica only saw /film\n";
    let ask = |fields: &[&str]| {
        let words: Vec<&str> = fields.iter().flat_map(|field| ["-H", *field]).collect();
        scene.demo.send(&scene.at("/film"), &words)
    };
    assert_eq!(ask(&[]).body, body);
    let whole = body.len();
    for (range, first, last) in [
        ("bytes=0-6", 0, 6),
        ("bytes=8-", 8, whole - 1),
        ("bytes=-5", whole - 5, whole - 1),
        ("bytes=20-900", 20, whole - 1),
    ] {
        for more in [&[][..], &["If-Range: \"v1\""]] {
            let range = format!("Range: {range}");
            let part = ask(&[&[range.as_str()][..], more].concat());
            assert_eq!(
                (part.status, part.body.as_str()),
                (206, &body[first..=last])
            );
            let told = format!("bytes {first}-{last}/{whole}");
            assert_eq!(part.header("content-range"), Some(told.as_str()));
        }
    }
    for fields in [
        &["Range: bytes=0-6", "If-Range: \"v2\""][..],
        &["Range: bytes=0-6", "If-Range: W/\"v1\""],
        &["Range: bytes=0-1,3-4"],
        &["Range: lines=0-1"],
    ] {
        let all = ask(fields);
        assert_eq!((all.status, all.body.as_str()), (200, body), "{fields:?}");
        assert_eq!(all.header("content-range"), None);
    }
    let outside = ask(&["Range: bytes=900-"]);
    let told = format!("bytes */{whole}");
    assert_eq!((outside.status, outside.body.as_str()), (416, ""));
    assert_eq!(outside.header("content-range"), Some(told.as_str()));
    let known = ask(&["Range: bytes=0-6", "If-None-Match: \"v0\", \"v1\""]);
    assert_eq!(known.status, 304);
    assert_eq!(scene.hits("/film"), 1);
    // who wants a part of what is not kept asks for it, and nothing is kept of that
    for hits in 1..3 {
        let part = scene
            .demo
            .send(&scene.at("/new"), &["-H", "Range: bytes=0-6"]);
        assert_eq!(part.status, 200, "the app knows no ranges");
        assert_eq!(scene.hits("/new"), hits);
        assert_eq!(
            scene.app.seen().last().unwrap().values("range"),
            ["bytes=0-6"]
        );
    }
}

#[test]
fn who_comes_first_after_the_time_gets_the_old_answer_at_once_and_the_app_is_asked_behind() {
    let scene = Scene::new("cache = { ttl = \"2s\", stale = \"1h\" }", "");
    let ask = || scene.demo.fetch(&scene.at("/list"));
    assert_eq!(ask().status, 200);
    scene.app.set(Mode::Late);
    let mut slowest = Duration::ZERO;
    wait::until_true(wait::PATIENCE, "the app is asked again", || {
        let begin = Instant::now();
        assert_eq!(ask().status, 200);
        slowest = slowest.max(begin.elapsed());
        scene.hits("/list") == 2
    });
    // while it is asked nobody waits and nobody asks besides
    for _ in 0..3 {
        let answer = ask();
        assert_eq!((answer.status, scene.hits("/list")), (200, 2));
        assert!(answer.header("age").unwrap().parse::<u32>().unwrap() >= 2);
    }
    wait::until_true(wait::PATIENCE, "the new answer is given", || {
        ask().header("age").unwrap().parse::<u32>().unwrap() < 2
    });
    let asked = journal::search(&scene.gateway, &["--event", "request-ended"]);
    let behind: Vec<_> = asked
        .iter()
        .filter(|r| r["detail"] == "asked again for the cache")
        .collect();
    assert!(!behind.is_empty());
    // what was given out says which of both it was
    let marked = |mark: &str| {
        asked
            .iter()
            .filter(|r| journal::is(r, "detail", mark))
            .count()
    };
    assert!(marked("answered from the cache, stale, while the app is asked") >= 4);
    assert!(marked("answered from the cache") >= 1);
    for record in behind {
        assert_eq!(
            (&record["user"], &record["path"]),
            (&"demo".into(), &"/list".into())
        );
    }
    assert!(
        slowest < Duration::from_secs(1),
        "{slowest:?}: nobody waits for the app"
    );
}

#[test]
fn asking_behind_an_answer_that_was_given_out_is_charged_to_nobody() {
    let areas = "[app.app.\"/few\"]\nallow.few = { who = [\"demo\"], rate = \"few\" }\n[rate]\nfew = \"3/h\"";
    let scene = Scene::new("cache = { ttl = \"1s\", stale = \"1h\" }", areas);
    let left = || {
        let answer = scene.demo.fetch(&scene.at("/few"));
        let left = answer.header("ratelimit-remaining").map(str::to_owned);
        (answer.status, left)
    };
    let told = |left: &str| (200, Some(left.to_owned()));
    assert_eq!(left(), told("2"));
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(left(), told("1"), "the old answer");
    wait::until_true(wait::PATIENCE, "the app is asked behind it", || {
        scene.hits("/few") == 2
    });
    assert_eq!(left(), told("0"));
    assert_eq!(left().0, 429, "who asks is charged");
}

#[test]
fn for_each_status_of_a_failing_app_the_old_answer_stands_in_and_for_others_not() {
    let scene = Scene::new("cache = { ttl = \"1s\", stale = \"1h\" }", "");
    let ask = |path: &str| scene.demo.fetch(&scene.at(path)).status;
    for (status, path) in [(500, "/a"), (502, "/b"), (503, "/c"), (504, "/d")] {
        scene.app.set(Mode::Well);
        assert_eq!(ask(path), 200);
        scene.app.set(Mode::Status(status));
        wait::until_true(wait::PATIENCE, "the app failed twice", || {
            assert_eq!(ask(path), 200, "{status}");
            scene.hits(path) > 2
        });
    }
    for (status, path) in [(404, "/e"), (403, "/f"), (501, "/g")] {
        scene.app.set(Mode::Well);
        assert_eq!(ask(path), 200);
        scene.app.set(Mode::Status(status));
        wait::until_true(wait::PATIENCE, "what the app says now is given", || {
            ask(path) == status
        });
    }
}

#[test]
fn what_is_kept_for_everybody_at_one_host_is_given_at_no_other() {
    let scene = Scene::new("", "");
    let other = Replica::new("other");
    let text = scene.gateway.policy_text();
    let cache = "cache = { ttl = \"5m\", shared = \"the same for all\" }";
    let (url, mine) = (other.url(), scene.app.url());
    let text = text.replace(
        &format!("upstream = \"{mine}\""),
        &format!("upstream = \"{mine}\"\n{cache}"),
    );
    let second = format!(
        "[app.second]\nhost = \"second.gate.localhost\"\nupstream = \"{url}\"\n{cache}\n\
         allow.people = {{ who = [\"demo\", \"guest\"] }}\n"
    );
    scene.gateway.open_policy(&format!("{text}{second}"));
    let there = scene.at("/prices").replace("app.gate.", "second.gate.");
    for client in [&scene.demo, &scene.guest, &scene.demo] {
        assert_eq!(client.follow(&there).body, "replica other saw /prices\n");
        let here = client.fetch(&scene.at("/prices"));
        assert_eq!(here.body, "replica only saw /prices\n");
    }
    let at_other = other.seen();
    let at_other = at_other.iter().filter(|seen| seen.target() == "/prices");
    assert_eq!((at_other.count(), scene.hits("/prices")), (1, 1));
}
