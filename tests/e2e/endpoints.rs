//! An application of the kind the guides deploy, each endpoint asked once directly and once through the gateway, over
//! HTTP/1.1 and HTTP/2, many at a time: status, fields and body are the same, and so is what reached the app.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use postern_tests::compare::{Got, matches};
use postern_tests::curl::{Client, host, origin};
use postern_tests::endpoints::{self, App, Endpoint};
use postern_tests::gateway::Gateway;
use postern_tests::policy;
use postern_tests::temp::Temp;

/// As many as the guide's own validation suite asks.
const ENDPOINTS: usize = 78;
/// How many are asked at a time, as a page with many figures does.
const AT_ONCE: usize = 8;

/// Where the two ways differ: `METHOD TARGET: DIFFERENCE`, the app's on the left of `|`, and why.
const KNOWN: [(&str, &str); 6] = [
    (
        "* answer x-request-id: - | *",
        "the id a person can name to the administrator",
    ),
    (
        "* answer strict-transport-security: - | max-age=300",
        "the browser comes back by HTTPS",
    ),
    (
        "* answer x-content-type-options: - | nosniff",
        "the app's preset, on every answer",
    ),
    ("* answer x-frame-options: - | SAMEORIGIN", "the same"),
    (
        "* answer referrer-policy: - | strict-origin-when-cross-origin",
        "the same",
    ),
    (
        "* answer cache-control: - | private",
        "an answer to one person is kept by no proxy, unless the app says more",
    ),
];

/// A way to the app.
struct Way {
    name: &'static str,
    /// Scheme and authority.
    to: String,
    args: Vec<String>,
}

struct Scene {
    dir: Temp,
    next: AtomicUsize,
    app: App,
    gateway: Gateway,
    cookie: String,
}

impl Scene {
    fn new() -> Self {
        let (app, gateway) = (App::new(), Gateway::demo());
        gateway.set_policy(&policy::one_app(&format!("upstream = \"{}\"\n", app.url())));
        let client = Client::new(&gateway);
        client.sign_in(&gateway.facts.app, &gateway.facts.demo);
        let cookie = client.cookie(host(&gateway.facts.app), "__Host-postern");
        Self {
            dir: Temp::new(),
            next: AtomicUsize::new(0),
            app,
            gateway,
            cookie: cookie.expect("a session"),
        }
    }

    fn directly(&self) -> Way {
        Way {
            name: "directly",
            to: self.app.url(),
            args: vec!["--http1.1".to_owned()],
        }
    }

    fn through(&self, name: &'static str) -> Way {
        let port = self.gateway.https_port();
        let args = [
            if name == "HTTP/2" {
                "--http2"
            } else {
                "--http1.1"
            },
            "--cacert",
            &self.gateway.facts.ca_root.display().to_string(),
            "--resolve",
            &format!("*:{port}:127.0.0.1"),
            "-H",
            &format!("Cookie: __Host-postern={}", self.cookie),
        ];
        Way {
            name,
            to: origin(&self.gateway.facts.app).to_owned(),
            args: args.map(str::to_owned).to_vec(),
        }
    }

    /// Asks for an endpoint by a way.
    fn ask(&self, way: &Way, endpoint: &Endpoint) -> Got {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| self.dir.path().join(format!("{number}.{kind}"));
        let (head, body, sent) = (file("head"), file("body"), file("sent"));
        let mut command = Command::new("curl");
        command.args([
            "-q",
            "-sS",
            "-g",
            "--path-as-is",
            "--max-time",
            "60",
            "-H",
            "Expect:",
        ]);
        command
            .args(&way.args)
            .arg("-D")
            .arg(&head)
            .arg("-o")
            .arg(&body);
        match endpoint.method {
            "HEAD" => command.arg("--head"),
            method => command.args(["-X", method]),
        };
        if let Some(bytes) = &endpoint.body {
            fs::write(&sent, bytes).unwrap();
            command
                .arg("--data-binary")
                .arg(format!("@{}", sent.display()));
        }
        for field in &endpoint.fields {
            command.args(["-H", field]);
        }
        let output = command
            .arg(format!("{}{}", way.to, endpoint.target))
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {endpoint}: {error}", way.name);
        let head = fs::read_to_string(&head).unwrap();
        // curl has undone the framing
        let lines = head.lines().filter(|line| {
            let name = line.split(':').next().unwrap_or_default();
            !name.eq_ignore_ascii_case("transfer-encoding") && !line.is_empty()
        });
        let head: Vec<String> = lines
            .map(|line| line.replacen("HTTP/2 ", "HTTP/1.1 ", 1))
            .collect();
        let head = head.join("\r\n") + "\r\n\r\n";
        let body = fs::read(&body).unwrap_or_default();
        let body = if endpoint.method == "HEAD" {
            Vec::new()
        } else {
            body
        };
        let got = Got::read(&[head.as_bytes(), &body].concat());
        got.unwrap_or_else(|| panic!("{} {endpoint}: no answer: {head}", way.name))
    }
}

#[test]
fn every_endpoint_answers_through_the_gateway_as_it_does_directly() {
    let scene = Scene::new();
    let endpoints = endpoints::all();
    let places: BTreeSet<String> = endpoints
        .iter()
        .map(|e| format!("{} {}", e.method, e.target.split('?').next().unwrap()))
        .collect();
    assert!(places.len() >= ENDPOINTS, "{} endpoints", places.len());
    let ways = [
        scene.directly(),
        scene.through("HTTP/1.1"),
        scene.through("HTTP/2"),
    ];
    let (next, unlisted) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    let met = Mutex::new([false; KNOWN.len()]);
    let judge = |way: &Way, endpoint: &Endpoint, difference: &str| {
        let text = format!("{} {}: {difference}", endpoint.method, endpoint.target);
        match KNOWN
            .iter()
            .position(|(pattern, _)| matches(pattern, &text))
        {
            Some(at) => met.lock().unwrap()[at] = true,
            None => {
                let text: String = format!("{}: {text}", way.name).chars().take(600).collect();
                unlisted.lock().unwrap().insert(text);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(endpoint) = endpoints.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let [plain, first, second] = &ways;
                    let own = scene.ask(plain, endpoint);
                    assert_ne!(own.status, 599, "{endpoint} is no endpoint");
                    for way in [first, second] {
                        for difference in own.differences(&scene.ask(way, endpoint)) {
                            judge(way, endpoint, &difference);
                        }
                    }
                }
            });
        }
    });
    let unlisted = unlisted.into_inner().unwrap();
    let list: Vec<String> = unlisted.into_iter().collect();
    assert!(
        list.is_empty(),
        "{} unlisted:\n{}",
        list.len(),
        list.join("\n")
    );
    let met = met.into_inner().unwrap();
    let listed = KNOWN.iter().zip(met);
    let unmet: Vec<&str> = listed
        .filter(|(_, met)| !met)
        .map(|((text, _), _)| *text)
        .collect();
    assert!(unmet.is_empty(), "listed, and no longer so: {unmet:?}");
}

#[test]
fn an_answer_that_the_gateway_would_change_is_noticed() {
    let scene = Scene::new();
    let text = policy::one_app(&format!(
        "upstream = \"{}\"\nset = {{ X-Own = \"changed\" }}\n",
        scene.app.url()
    ));
    scene.gateway.set_policy(&text);
    let endpoints = endpoints::all();
    let endpoint = endpoints
        .iter()
        .find(|e| e.target == "/api/echo/none")
        .unwrap();
    let own = scene.ask(&scene.directly(), endpoint);
    for way in [scene.through("HTTP/1.1"), scene.through("HTTP/2")] {
        let found = own.differences(&scene.ask(&way, endpoint));
        let changed = "answer x-own: kept | changed".to_owned();
        assert!(found.contains(&changed), "{}: {found:?}", way.name);
    }
}
