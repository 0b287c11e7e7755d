//! Requests told to a collector of OpenTelemetry: joined to their client's trace and to what the app got, without
//! secrets, and never at a request's cost.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::{Duration, Instant};

use postern_tests::collector::Collector;
use postern_tests::curl::{Client, origin};
use postern_tests::gateway::Gateway;
use postern_tests::policy;
use postern_tests::raw;
use postern_tests::upstream::Recorder;
use postern_tests::wait::{self, PATIENCE};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

struct Scene {
    gateway: Gateway,
    client: Client,
    recorder: Recorder,
}

impl Scene {
    /// A gateway with a section `[traces]`, before a recorder, and a browser that is signed in.
    fn new(section: &str) -> Self {
        let recorder = Recorder::new();
        let mut gateway = Gateway::demo();
        gateway.stop();
        gateway.edit_config(|text| text.push_str(section));
        gateway.start_again();
        let keys = format!("upstream = \"{}\"\n", recorder.url());
        gateway.set_policy(&policy::one_app(&keys));
        let client = Client::new(&gateway);
        client.sign_in(&gateway.facts.app, &gateway.facts.demo);
        Self {
            gateway,
            client,
            recorder,
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", origin(&self.gateway.facts.app))
    }

    /// Asks with a place in a trace; returns the place that the app was told.
    fn ask(&self, path: &str, flags: &str, more: &[&str]) -> String {
        let place = format!("traceparent: 00-{TRACE}-{PARENT}-{flags}");
        let words: Vec<&str> = ["-H", &place].iter().chain(more).copied().collect();
        let answer = self.client.send(&self.at(path), &words);
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = self.recorder.last();
        let [place] = seen.values("traceparent")[..] else {
            panic!("not one place: {seen:?}");
        };
        place.to_owned()
    }

    /// Asks so often over one connection, in a trace that is recorded.
    fn ask_often(&self, cookie: &str, times: usize) {
        let addr = SocketAddr::from(([127, 0, 0, 1], self.gateway.https_port()));
        let root = &self.gateway.facts.ca_root;
        let mut stream = raw::tls(addr, "app.gate.localhost", root, PATIENCE);
        for _ in 0..times {
            let request = format!(
                "GET /many HTTP/1.1\r\nHost: app.gate.localhost:{}\r\nCookie: __Host-postern={cookie}\r\n\
                 traceparent: 00-{TRACE}-{PARENT}-01\r\n\r\n",
                addr.port()
            );
            stream.write_all(request.as_bytes()).unwrap();
            let (head, whole) = raw::one_answer(&mut stream);
            assert!(whole && head.starts_with("HTTP/1.1 200"), "{head}");
        }
    }

    fn figure(&self, name: &str) -> Option<u64> {
        let url = format!("http://127.0.0.1:{}/metrics", self.gateway.admin_port());
        // with a jar of its own: many ask at a time
        let text = Client::new(&self.gateway).fetch(&url).body;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    }
}

const SENT: &str = "postern_trace_spans_sent";
const LOST: &str = "postern_trace_spans_dropped{reason=\"collector\"}";
const DROPPED: &str = "postern_trace_spans_dropped{reason=\"queue\"}";
const WAITING: &str = "postern_trace_requests_waiting";

#[test]
fn a_recorded_trace_goes_through_the_gateway_to_the_app_and_an_unrecorded_one_is_left_alone() {
    let collector = Collector::new();
    let scene = Scene::new(&collector.section("sample = 0"));
    let left = scene.ask("/not-recorded", "00", &[]);
    assert_eq!(left, format!("00-{TRACE}-{PARENT}-00"));
    let place = scene.ask(
        "/recorded?token=s3cret-in-query",
        "01",
        &[
            "-H",
            "Authorization: Bearer s3cret-key",
            "-b",
            "own=s3cret-cookie",
        ],
    );
    let (server, behind) = collector.of("/recorded");
    assert_eq!(
        (server.trace.as_str(), server.parent.as_str()),
        (TRACE, PARENT)
    );
    let [client] = &behind[..] else {
        panic!("not one attempt: {behind:?}");
    };
    assert_eq!(place, format!("00-{TRACE}-{}-01", client.id));
    assert_eq!((client.kind, client.trace.as_str()), (3, TRACE));
    assert!(server.start <= client.start && client.start <= client.end && client.end <= server.end);
    let told = scene.recorder.last();
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.scheme", "https"),
        ("server.address", "app.gate.localhost"),
        ("postern.area", "app.app/"),
        ("postern.outcome", "allow"),
        ("postern.rule", told.values("x-postern-rule")[0]),
        ("postern.request_id", told.values("x-request-id")[0]),
        ("user.name", ""),
    ] {
        assert_eq!(server.get(name), value, "{name} of {server:?}");
    }
    assert_eq!(
        (server.name.as_str(), server.error),
        ("GET app.app/", false)
    );
    assert_eq!(client.get("http.response.status_code"), "200");
    // what was not recorded came first, and would be here
    let all = collector.spans();
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(!format!("{all:?}").contains("s3cret"), "{all:?}");
    assert!(!format!("{:?}", collector.requests()).contains("s3cret"));
}

#[test]
fn what_is_refused_or_fails_is_told_too_and_the_person_and_the_key_as_the_configuration_says() {
    let collector = Collector::new();
    let file = "headers-file = \"collector.headers\"\nperson = true";
    let recorder = Recorder::new();
    let mut gateway = Gateway::demo();
    let areas = "[app.app.\"/closed\"]\nallow.nobody = { who = \"guest\" }\n\
        [app.app.\"/down\"]\nupstream = \"http://127.0.0.1:9\"\nallow.people = { who = \"demo\" }\n";
    let upstream = format!("upstream = \"{}\"\n", recorder.url());
    gateway.stop();
    gateway.edit_config(|text| text.push_str(&collector.section(file)));
    let fields = gateway.facts.config.with_file_name("collector.headers");
    fs::write(&fields, "# theirs\nX-Collector-Key: k3y-of-the-collector\n").unwrap();
    fs::set_permissions(&fields, fs::Permissions::from_mode(0o640)).unwrap();
    let check = gateway.run(&["check"]);
    assert_eq!(check.status.code(), Some(77), "others may read it");
    fs::set_permissions(&fields, fs::Permissions::from_mode(0o600)).unwrap();
    gateway.must(&["check"]);
    gateway.start_again();
    gateway.set_policy(&(policy::one_app(&upstream) + areas));
    // refused, and sent again
    collector.answer(&[503, 503]);
    let client = Client::new(&gateway);
    let at = |path: &str| format!("{}{path}", origin(&gateway.facts.app));
    assert_eq!(client.fetch(&at("/stranger")).status, 401);
    client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert_eq!(client.fetch(&at("/closed/x")).status, 403);
    assert_eq!(client.fetch(&at("/down/x")).status, 502);
    let (stranger, _) = collector.of("/stranger");
    let (closed, none) = collector.of("/closed/x");
    let (down, tried) = collector.of("/down/x");
    let of = |span: &postern_tests::collector::Span| {
        ["postern.outcome", "http.response.status_code", "user.name"]
            .map(|name| span.get(name).to_owned())
    };
    assert_eq!(of(&stranger), ["login", "401", ""]);
    assert_eq!(of(&closed), ["deny", "403", "demo"]);
    assert_eq!(of(&down), ["allow", "502", "demo"]);
    assert!(none.is_empty() && !closed.error && down.error);
    assert_eq!(closed.name, "GET app.app/closed");
    assert_eq!(closed.parent, "", "it begins a trace");
    let [tried] = &tried[..] else {
        panic!("not one attempt: {tried:?}");
    };
    assert_eq!(tried.get("error.type"), "upstream-down");
    assert_eq!(tried.get("server.port"), "9");
    for request in collector.requests() {
        let kind = request.values("content-type");
        assert_eq!(request.values("x-collector-key"), ["k3y-of-the-collector"]);
        assert_eq!(kind, ["application/x-protobuf"]);
    }
    assert!(!gateway.stderr().contains("k3y-of"), "{}", gateway.stderr());
    // what nobody decides about is nobody's trace
    let health = format!("{}/healthz", origin(&gateway.facts.portal));
    assert_eq!(client.fetch(&health).status, 200);
    assert_eq!(client.fetch(&at("/last")).status, 200);
    let (last, _) = collector.of("/last");
    assert_eq!(last.get("postern.outcome"), "allow");
    let looked = collector.spans().into_iter();
    let looked = looked.filter(|span| span.get("url.path") == "/healthz");
    assert_eq!(looked.count(), 0);
}

#[test]
fn a_collector_that_is_down_costs_requests_nothing_and_is_counted() {
    let scene = Scene::new("\n[traces]\nendpoint = \"http://127.0.0.1:9/v1/traces\"\n");
    let before = scene.figure(LOST);
    assert_eq!(before, Some(0));
    scene.ask("/one", "01", &[]);
    wait::until_true(PATIENCE, "lost spans are counted", || {
        scene.figure(LOST).unwrap() >= 2
    });
    scene.ask("/another", "01", &[]);
    assert_eq!(scene.figure(SENT), Some(0));
    let log = scene.gateway.stderr();
    assert_eq!(log.matches("traces are not taken").count(), 1, "{log}");
}

#[test]
fn a_collector_that_is_silent_fills_a_queue_that_has_an_end_and_a_stop_does_not_wait_for_it() {
    let collector = Collector::new();
    let mut scene = Scene::new(&collector.section("sample = 0"));
    collector.be_silent();
    let cookie = scene.client.cookie("app.gate.localhost", "__Host-postern");
    let cookie = cookie.expect("a session");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while scene.figure(DROPPED) == Some(0) {
                    scene.ask_often(&cookie, 200);
                    assert!(scene.figure(WAITING).unwrap() <= 2048);
                }
            });
        }
    });
    assert!(scene.figure(DROPPED).unwrap() > 0);
    scene.ask("/still", "01", &[]);
    let took = scene.gateway.stop();
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn what_is_held_when_the_gateway_stops_is_sent() {
    let collector = Collector::new();
    let mut scene = Scene::new(&collector.section("sample = 0"));
    scene.ask("/at-the-end", "01", &[]);
    let begun = Instant::now();
    scene.gateway.stop();
    let names: Vec<String> = collector.spans().into_iter().map(|s| s.name).collect();
    assert_eq!(
        names,
        ["GET", "GET app.app/"],
        "after {:?}",
        begun.elapsed()
    );
}

#[test]
fn without_the_section_nobody_connects_and_the_place_in_a_trace_is_the_clients() {
    let collector = Collector::new();
    let scene = Scene::new("");
    let place = scene.ask("/plain", "01", &[]);
    assert_eq!(place, format!("00-{TRACE}-{PARENT}-01"));
    assert_eq!(scene.figure(SENT), None);
    drop(scene);
    assert_eq!(collector.connections(), 0);
    // the twin: with it, somebody does
    let scene = Scene::new(&collector.section(""));
    scene.ask("/plain", "01", &[]);
    let (server, _) = collector.of("/plain");
    assert_eq!(server.trace, TRACE);
    wait::until_true(PATIENCE, "what was sent is counted", || {
        scene.figure(SENT).unwrap() >= 2
    });
}
