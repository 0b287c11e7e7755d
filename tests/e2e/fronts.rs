//! What an area says of requests and answers besides who may come in.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use postern_tests::curl::{Client, origin};
use postern_tests::gateway::Gateway;
use postern_tests::journal;
use postern_tests::upstream::Recorder;
use postern_tests::websocket::read_head;

/// A policy whose app has these keys and areas.
fn policy(app: &str, areas: &str) -> String {
    format!(
        "postern = 1\n[group]\nadmins = [\"demo\"]\n[rate]\nslow = \"100/s\"\n[admin]\nallow.admins = {{ who = \"@admins\" }}\n\
         [app.app]\nhost = [\"app.gate.localhost\", \"app.gate.postern.internal\"]\n{app}\n\
         allow.people = {{ who = [\"demo\", \"guest\"] }}\n{areas}\n"
    )
}

struct Scene {
    recorder: Recorder,
    gateway: Gateway,
    client: Client,
}

impl Scene {
    /// A gateway before a recorder, and a browser that is signed in.
    fn new(app: &str, areas: &str) -> Self {
        let recorder = Recorder::new();
        let gateway = Gateway::demo();
        let app = format!("upstream = \"{}\"\n{app}", recorder.url());
        let areas = areas.replace("{upstream}", &recorder.url());
        fs::write(gateway.policy_file(), policy(&app, &areas)).unwrap();
        let opens = areas.contains("\"anyone\"");
        let wider = ["policy", "apply", "--accept-wider", "1"];
        gateway.must(if opens { &wider } else { &["reload"] });
        let client = Client::new(&gateway);
        let page = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
        assert_eq!(page.status, 200, "{page:?}");
        Self {
            recorder,
            gateway,
            client,
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", origin(&self.gateway.facts.app))
    }
}

fn file(dir: &Path, bytes: usize) -> String {
    let path = dir.join(format!("{bytes}.bin"));
    fs::write(&path, vec![b'x'; bytes]).unwrap();
    format!("@{}", path.display())
}

#[test]
fn a_body_over_the_limit_of_its_area_gets_a_page_and_one_within_it_arrives() {
    let area = "[app.app.\"/upload\"]\nbody-max = \"64KiB\"\nallow.people = { who = [\"demo\"] }\n";
    let scene = Scene::new("body-max = \"1KiB\"", area);
    let dir = scene.gateway.dir().to_owned();
    let (small, large) = (file(&dir, 60_000), file(&dir, 70_000));
    let versions = ["--http1.1", "--http2"];
    let framings: [&[&str]; 2] = [&[], &["-H", "Transfer-Encoding: chunked"]];
    let upload = scene.at("/upload");
    for version in versions {
        for framing in framings {
            let mut args = vec![version, "-H", "Accept: text/html", "-H", "Expect:"];
            args.extend(framing);
            let mut fits = args.clone();
            fits.extend(["--data-binary", &small]);
            let answer = scene.client.once(&upload, &fits).unwrap();
            assert_eq!(answer.status, 200, "{version} {framing:?}");
            assert_eq!(scene.recorder.last().body.len(), 60_000);
            let mut over = args.clone();
            over.extend(["--data-binary", &large]);
            let answer = scene.client.once(&upload, &over).unwrap();
            assert_eq!(answer.status, 413, "{version} {framing:?} {answer:?}");
            assert!(answer.body.contains("413"), "{}", answer.body);
        }
    }
    let all = scene.recorder.seen();
    assert!(all.iter().all(|seen| seen.body.len() <= 65_536));
    let outside = scene
        .client
        .once(&scene.at("/"), &["--data-binary", &small]);
    assert_eq!(outside.unwrap().status, 413, "the app's own limit is lower");
    let ended = journal::wait_for(&scene.gateway, "request-ended.1", |r| r["status"] == 413);
    assert_eq!(ended["reason"], "too-large", "{ended}");
}

#[test]
fn a_refused_upload_gets_its_answer_and_no_reset() {
    let area = "[app.app.\"/closed\"]\n";
    let scene = Scene::new("", area);
    let body = file(scene.gateway.dir(), 300_000);
    for version in ["--http2", "--http1.1"] {
        for _ in 0..10 {
            let args = [version, "-H", "Expect:", "--data-binary", &body];
            let refused = scene.client.once(&scene.at("/closed"), &args);
            assert_eq!(refused.unwrap().status, 403, "{version}");
        }
        let args = [version, "-H", "Expect:", "--data-binary", &body];
        let taken = scene.client.once(&scene.at("/"), &args);
        assert_eq!(taken.unwrap().status, 200, "{version}");
    }
}

#[test]
fn only_the_methods_of_an_area_are_taken_and_websockets_where_it_says_so() {
    let area = "[app.app.\"/read\"]\nmethods = \"read\"\nwebsocket = false\nallow.people = { who = [\"demo\"] }\n";
    let scene = Scene::new("", area);
    let (read, before) = (scene.at("/read"), scene.recorder.seen().len());
    assert_eq!(scene.client.fetch(&read).status, 200);
    assert_eq!(scene.client.send(&read, &["-I"]).status, 200);
    assert_eq!(scene.client.send(&read, &["-d", "a=1"]).status, 405);
    assert_eq!(
        scene.client.send(&scene.at("/"), &["-d", "a=1"]).status,
        200
    );
    let upgrade = [
        "--http1.1",
        "-H",
        "Connection: Upgrade",
        "-H",
        "Upgrade: websocket",
        "-H",
        "Sec-WebSocket-Version: 13",
        "-H",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "--max-time",
        "2",
    ];
    assert_eq!(scene.client.send(&read, &upgrade).status, 403);
    assert_eq!(scene.recorder.seen().len(), before + 3);
    let refused = journal::wait_for(&scene.gateway, "access-decided.1", |r| {
        r["detail"] == "method-not-allowed"
    });
    assert_eq!(refused["outcome"], "deny", "{refused}");
}

#[test]
fn requests_are_redirected_where_the_policy_says_so_and_only_for_whom_it_lets_in() {
    let areas = "[app.app.\"/old\"]\nredirect = { to = \"/new/*\", status = 301 }\nallow.people = { who = [\"demo\"] }\n\
         [app.www]\nhost = \"www.gate.localhost\"\nredirect = \"https://app.gate.localhost:1/*\"\n\
         public = \"the old name\"\nallow.all = { who = \"anyone\", rate = \"slow\" }\n";
    let scene = Scene::new("", areas);
    let before = scene.recorder.seen().len();
    let moved = scene.client.fetch(&scene.at("/old/a/b?c=d"));
    assert_eq!(moved.status, 301);
    assert_eq!(moved.location().unwrap(), scene.at("/new/a/b?c=d"));
    let stranger = Client::new(&scene.gateway);
    assert_eq!(stranger.fetch(&scene.at("/old/a")).status, 401);
    let www = scene.at("/x?y").replace("app.gate.", "www.gate.");
    let moved = stranger.fetch(&www);
    assert_eq!(moved.status, 308);
    assert_eq!(
        moved.location().unwrap(),
        "https://app.gate.localhost:1/x?y"
    );
    assert_eq!(scene.recorder.seen().len(), before);
    let ended = journal::wait_for(&scene.gateway, "request-ended.1", |r| r["status"] == 301);
    assert_eq!(ended["user"], "demo", "{ended}");
}

#[test]
fn a_prefix_is_taken_off_for_the_app_and_told_to_it() {
    let areas = "[app.app.\"/api\"]\nupstream = \"{upstream}\"\nstrip-prefix = \"/api\"\nadd-prefix = \"/v1\"\n\
         allow.people = { who = [\"demo\"] }\n[app.app.\"/api/admin\"]\nallow.people = { who = [\"guest\"] }\n";
    let scene = Scene::new("", areas);
    assert_eq!(
        scene.client.fetch(&scene.at("/api/orders?id=1")).status,
        200
    );
    let seen = scene.recorder.last();
    assert_eq!(seen.target(), "/v1/orders?id=1");
    assert_eq!(seen.values("x-forwarded-prefix"), ["/api"]);
    assert_eq!(scene.client.fetch(&scene.at("/apis")).status, 200);
    assert_eq!(scene.recorder.last().target(), "/apis");
    // the rules are those of the path as it was asked for
    let before = scene.recorder.seen().len();
    assert_eq!(scene.client.fetch(&scene.at("/api/admin/x")).status, 403);
    assert_eq!(scene.client.fetch(&scene.at("/api/x/../admin")).status, 403);
    assert_eq!(scene.recorder.seen().len(), before);
}

#[test]
fn files_of_a_folder_are_served_to_whom_the_area_lets_in() {
    let site = postern_tests::temp::Temp::new();
    fs::create_dir_all(site.path().join("www/assets")).unwrap();
    fs::write(site.path().join("secret.txt"), "secret").unwrap();
    let script = "console.log(1);\n".repeat(4000);
    for (name, text) in [("index.html", "<h1>home</h1>"), ("assets/app.js", &script)] {
        fs::write(site.path().join("www").join(name), text).unwrap();
    }
    std::os::unix::fs::symlink("../secret.txt", site.path().join("www/out.txt")).unwrap();
    let areas = format!(
        "[app.app.\"/site\"]\nstatic = {{ root = \"{}\", fallback = \"index.html\" }}\ncompress = true\n\
         set = {{ Cache-Control = \"public, max-age=31536000, immutable\" }}\nallow.people = {{ who = [\"demo\"] }}\n",
        site.path().join("www").display()
    );
    let scene = Scene::new("", &areas);
    let before = scene.recorder.seen().len();
    let get = |path: &str, args: &[&str]| scene.client.send(&scene.at(path), args);
    let home = get("/site/", &[]);
    assert_eq!((home.status, home.body.as_str()), (200, "<h1>home</h1>"));
    assert_eq!(
        home.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(
        home.header("cache-control"),
        Some("public, max-age=31536000, immutable")
    );
    assert_eq!(home.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(get("/site/orders/7", &[]).body, "<h1>home</h1>");
    let whole = get("/site/assets/app.js", &[]);
    assert_eq!(whole.body, script);
    let tag = whole.header("etag").unwrap();
    let known = get(
        "/site/assets/app.js",
        &["-H", &format!("If-None-Match: {tag}")],
    );
    assert_eq!((known.status, known.body.len()), (304, 0));
    let part = get("/site/assets/app.js", &["-H", "Range: bytes=8-10"]);
    assert_eq!((part.status, part.body.as_str()), (206, "log"));
    let packed = get(
        "/site/assets/app.js",
        &["--compressed", "-H", "Accept-Encoding: gzip"],
    );
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert_eq!(packed.body, script);
    assert_eq!(get("/site/assets", &[]).status, 308);
    assert_eq!(get("/site/", &["-d", "a=1"]).status, 405);
    for path in [
        "/site/out.txt",
        "/site/..%2fsecret.txt",
        "/site/%2e%2e/secret.txt",
    ] {
        let answer = get(path, &["--path-as-is"]);
        assert!(!answer.body.contains("secret"), "{path}: {answer:?}");
    }
    assert_eq!(
        Client::new(&scene.gateway)
            .fetch(&scene.at("/site/"))
            .status,
        401
    );
    assert!(
        scene.recorder.seen().len() <= before + 1,
        "only what left the area by dots"
    );
}

#[test]
fn answers_get_the_fields_their_area_names() {
    let keys = "set = { X-Set = \"1\", Content-Type = \"text/x-own\" }\nadd = { X-Add = \"2\" }\nremove = \"Content-Language\"";
    let scene = Scene::new(keys, "");
    let answer = scene.client.fetch(&scene.at("/x"));
    for (name, value) in [
        ("x-set", "1"),
        ("x-add", "2"),
        ("content-type", "text/x-own"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
}

/// Fields of security that some preset writes.
const SECURITY: [&str; 7] = [
    "x-content-type-options",
    "x-frame-options",
    "x-xss-protection",
    "referrer-policy",
    "permissions-policy",
    "content-security-policy",
    "strict-transport-security",
];

/// Source: seed checklist GO8, PY6 and KP25. Where a preset says nothing of HSTS, the configuration's stands.
#[test]
fn each_preset_writes_its_fields_to_the_letter_and_no_others() {
    let area = |name: &str| {
        format!(
            "[app.app.\"/{name}\"]\npreset = \"{name}\"\nallow.people = {{ who = [\"demo\"] }}\n"
        )
    };
    let all = ["owasp", "dashboard", "spa", "none"].map(area).concat();
    let mut scene = Scene::new("", &all);
    let of_configuration = ("strict-transport-security", "max-age=300");
    let rows: [(&str, &[(&str, &str)]); 4] = [
        (
            "owasp",
            &[
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("x-xss-protection", "0"),
                ("referrer-policy", "strict-origin-when-cross-origin"),
                (
                    "permissions-policy",
                    "camera=(), geolocation=(), microphone=()",
                ),
                (
                    "content-security-policy",
                    "default-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; \
                     frame-ancestors 'none'",
                ),
                of_configuration,
            ],
        ),
        (
            "dashboard",
            &[
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "SAMEORIGIN"),
                ("x-xss-protection", "1; mode=block"),
                (
                    "strict-transport-security",
                    "max-age=31536000; includeSubDomains",
                ),
            ],
        ),
        (
            "spa",
            &[
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "SAMEORIGIN"),
                ("x-xss-protection", "1; mode=block"),
                ("referrer-policy", "no-referrer-when-downgrade"),
                (
                    "content-security-policy",
                    "default-src 'self'; script-src 'self' 'unsafe-inline'; \
                     style-src 'self' 'unsafe-inline';",
                ),
                of_configuration,
            ],
        ),
        ("none", &[of_configuration]),
    ];
    for (preset, written) in rows {
        for version in ["--http1.1", "--http2"] {
            let url = scene.at(&format!("/{preset}"));
            let answer = scene.client.send(&url, &[version]);
            assert_eq!(answer.status, 200, "{answer:?}");
            for name in SECURITY {
                let value = written.iter().find(|(of, _)| *of == name);
                let value = value.map(|(_, value)| *value);
                assert_eq!(answer.header(name), value, "{name} of {preset} {version}");
            }
        }
    }
    // the demo's five minutes are a trial's; who writes nothing gets two years
    let trial = "hsts-seconds = 300\n";
    scene.gateway.edit_config(|text| {
        assert!(text.contains(trial), "{text}");
        *text = text.replace(trial, "");
    });
    scene.gateway.stop();
    scene.gateway.start_again();
    let answer = scene.client.fetch(&scene.at("/owasp"));
    assert_eq!(
        answer.header("strict-transport-security"),
        Some("max-age=63072000; includeSubDomains")
    );
}

#[test]
fn pages_of_listed_origins_may_read_answers_and_preflights_carry_no_data() {
    let keys = "cors = { origins = \"https://other.example\", methods = [\"GET\", \"PUT\"], headers = \"X-Token\", credentials = true }";
    let scene = Scene::new(keys, "");
    let before = scene.recorder.seen().len();
    let preflight = |origin: &str, method: &str| {
        let (origin, method) = (
            format!("Origin: {origin}"),
            format!("Access-Control-Request-Method: {method}"),
        );
        let args = ["-X", "OPTIONS", "-H", &origin, "-H", &method];
        Client::new(&scene.gateway).send(&scene.at("/x"), &args)
    };
    let fine = preflight("https://other.example", "PUT");
    assert_eq!((fine.status, fine.body.as_str()), (204, ""));
    let allowed = "access-control-allow-origin";
    assert_eq!(fine.header(allowed), Some("https://other.example"));
    assert_eq!(
        preflight("https://evil.example", "PUT").header(allowed),
        None
    );
    assert_eq!(
        preflight("https://other.example", "DELETE").header(allowed),
        None
    );
    assert_eq!(scene.recorder.seen().len(), before);
    let read = |origin: &str| {
        let origin = format!("Origin: {origin}");
        scene.client.send(&scene.at("/x"), &["-H", &origin])
    };
    let fine = read("https://other.example");
    assert_eq!(fine.header(allowed), Some("https://other.example"));
    assert_eq!(fine.header("vary"), Some("Origin"));
    assert_eq!(read("https://evil.example").header(allowed), None);
    let stranger =
        Client::new(&scene.gateway).send(&scene.at("/x"), &["-H", "Origin: https://other.example"]);
    assert_eq!(
        stranger.status, 401,
        "permission to read is none to come in"
    );
    // but that page may know why, and no other
    assert_eq!(stranger.header(allowed), Some("https://other.example"));
    let other =
        Client::new(&scene.gateway).send(&scene.at("/x"), &["-H", "Origin: https://evil.example"]);
    assert_eq!((other.status, other.header(allowed)), (401, None));
}

/// An app that sends one text in chunks of a kilobyte, a moment apart; its address, and the text.
fn many_parts() -> (String, String) {
    let text: String = (0..20_000_u32)
        .map(|n| format!("{:x} ", n.wrapping_mul(2_654_435_761)))
        .collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let parts: Vec<Vec<u8>> = text.as_bytes().chunks(1024).map(<[u8]>::to_vec).collect();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            drop(read_head(&mut stream));
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\
                        Connection: close\r\n\r\n";
            drop(stream.write_all(head.as_bytes()));
            for part in &parts {
                let size = format!("{:x}\r\n", part.len());
                drop(stream.write_all(&[size.as_bytes(), part, b"\r\n"].concat()));
                std::thread::sleep(Duration::from_millis(1));
            }
            drop(stream.write_all(b"0\r\n\r\n"));
        }
    });
    (url, text)
}

#[test]
fn answers_of_an_app_are_compressed_where_the_area_says_so() {
    let areas = "[app.app.\"/plain\"]\ncompress = false\nallow.people = { who = [\"demo\"] }\n\
         [app.app.\"/set-cookie\"]\nallow.people = { who = [\"demo\"] }\n";
    let scene = Scene::new("compress = { types = \"text/plain\", min = \"1B\" }", areas);
    let coded = |path: &str, version: &str, coding: &str| {
        let accept = format!("Accept-Encoding: {coding}");
        let args = [version, "--compressed", "-H", &accept];
        scene.client.send(&scene.at(path), &args)
    };
    let get = |path: &str| coded(path, "--http2", "gzip");
    let long: String = (0..500).map(|n| format!("-{n:x}")).collect();
    for version in ["--http1.1", "--http2"] {
        for coding in ["gzip", "br", "zstd"] {
            for path in ["/short".to_owned(), format!("/{long}")] {
                // what comes is what curl has unpacked by the coding that is named
                let packed = coded(&path, version, coding);
                assert_eq!(packed.header("content-encoding"), Some(coding), "{version}");
                assert_eq!(packed.header("vary"), Some("Accept-Encoding"));
                assert_eq!(packed.body, format!("the recorder saw {path}\n"));
            }
        }
        let plain = coded("/short", version, "identity");
        assert_eq!(plain.header("content-encoding"), None);
        assert_eq!(plain.body, "the recorder saw /short\n");
    }
    // an answer in many parts
    let all = many_parts();
    let text = policy(
        &format!(
            "upstream = \"{}\"\ncompress = {{ types = \"text/plain\" }}",
            all.0
        ),
        "",
    );
    scene.gateway.set_policy(&text);
    for version in ["--http1.1", "--http2"] {
        for coding in ["gzip", "br", "zstd"] {
            let packed = coded("/parts", version, coding);
            assert_eq!(packed.header("content-encoding"), Some(coding), "{version}");
            assert!(
                packed.body == all.1,
                "{version} {coding}: {} bytes",
                packed.body.len()
            );
        }
    }
    scene.gateway.set_policy(&policy(
        &format!(
            "upstream = \"{}\"\ncompress = {{ types = \"text/plain\", min = \"1B\" }}",
            scene.recorder.url()
        ),
        areas,
    ));
    let plain = get("/plain/a-path-that-is-long-enough");
    assert_eq!(plain.header("content-encoding"), None);
    let cookie = get("/set-cookie");
    assert_eq!(
        cookie.header("content-encoding"),
        None,
        "beside a cookie nothing is packed"
    );
    assert!(cookie.header("set-cookie").is_some());
}

#[test]
fn two_apps_on_one_host_are_told_apart_by_path() {
    let (front, api) = (Recorder::new(), Recorder::new());
    let gateway = Gateway::demo();
    let app = format!("upstream = \"{}\"", front.url());
    let area = format!(
        "[app.app.\"/api\"]\nupstream = \"{}\"\nallow.people = {{ who = [\"demo\"] }}\n[app.app.\"/api/docs\"]\n",
        api.url()
    );
    gateway.set_policy(&policy(&app, &area));
    let client = Client::new(&gateway);
    client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    let at = |path: &str| format!("{}{path}", origin(&gateway.facts.app));
    assert_eq!(client.fetch(&at("/api/x")).status, 200);
    assert_eq!(api.last().target(), "/api/x");
    assert_eq!(client.fetch(&at("/apix")).status, 200);
    assert_eq!(front.last().target(), "/apix");
    assert_eq!(client.fetch(&at("/api/docs")).status, 403);
    assert_eq!(api.seen().len(), 1);
}

#[test]
fn a_request_keeps_its_id_and_its_place_in_a_trace_if_they_are_sound_and_else_gets_new_ones() {
    let scene = Scene::new("", "");
    let url = scene.at("/traced");
    let ask = |fields: &[&str]| {
        let mut words = Vec::new();
        for field in fields {
            words.extend(["-H", field]);
        }
        let answer = scene.client.send(&url, &words);
        assert_eq!(answer.status, 200, "{answer:?}");
        let seen = scene.recorder.last();
        let one = |name: &str| {
            let all = seen.values(name);
            assert!(all.len() < 2, "{name}: {all:?}");
            all.first().map(|value| (*value).to_owned())
        };
        let id = one("x-request-id").expect("an id");
        assert_eq!(
            answer.header("x-request-id"),
            Some(id.as_str()),
            "both sides know it"
        );
        (
            id,
            one("traceparent").expect("a place in a trace"),
            one("tracestate"),
        )
    };
    let sound = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let (id, place, state) = ask(&[
        "X-Request-ID: client-7f3a",
        &format!("Traceparent: {sound}"),
        "Tracestate: a=b",
    ]);
    assert_eq!(
        (id.as_str(), place.as_str(), state.as_deref()),
        ("client-7f3a", sound, Some("a=b"))
    );
    let is_new =
        |place: &str| place.len() == 55 && place.starts_with("00-") && place.ends_with("-00");
    for fields in [
        &[][..],
        &[
            "X-Request-ID: no",
            "Traceparent: 00-nothing-01",
            "Tracestate: a=b",
        ],
        &[
            "X-Request-ID: with<script>",
            "Traceparent: ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ],
        &["X-Request-ID: client-7f3a", "X-Request-ID: client-7f3b"],
    ] {
        let (id, place, state) = ask(fields);
        assert!(id.len() == 22 && !id.contains("client"), "{fields:?}: {id}");
        assert!(is_new(&place), "{fields:?}: {place}");
        assert_eq!(state, None, "{fields:?}");
    }
    // it decides nothing: the same id twice is two requests of two records
    let same = ask(&["X-Request-ID: client-7f3a"]);
    assert_eq!(same.0, "client-7f3a");
    journal::wait_for(&scene.gateway, "request-ended.1", |r| {
        r["request_id"] == "client-7f3a"
    });
}

#[test]
fn a_security_policy_is_only_told_of_where_the_policy_says_so_and_reports_are_counted() {
    let keys = "preset = \"owasp\"\ncsp-report-only = true\ncsp-reports = true";
    let scene = Scene::new(keys, "");
    let answer = scene.client.fetch(&scene.at("/p"));
    assert_eq!(answer.header("content-security-policy"), None);
    let told = answer
        .header("content-security-policy-report-only")
        .unwrap();
    assert!(told.starts_with("default-src 'self'"), "{told}");
    assert!(
        told.ends_with("; report-uri /.postern/csp-report"),
        "{told}"
    );
    let tell = |kind: &str, body: &str| {
        let path = scene.gateway.dir().join("report");
        fs::write(&path, body).unwrap();
        let (kind, body) = (
            format!("Content-Type: {kind}"),
            format!("@{}", path.display()),
        );
        let words = ["-H", &kind, "--data-binary", &body];
        scene
            .client
            .send(&scene.at("/.postern/csp-report"), &words)
            .status
    };
    let report = "{\"csp-report\":{\"document-uri\":\"https://app/?k=s3cret\",\"effective-directive\":\"script-src\",\
         \"blocked-uri\":\"https://evil.example/x?k=s3cret\",\"disposition\":\"report\"}}";
    let figure = |name: &str| -> u64 {
        let url = format!("http://127.0.0.1:{}/metrics", scene.gateway.admin_port());
        let text = Client::new(&scene.gateway).fetch(&url).body;
        let line = text.lines().find(|line| line.starts_with(name));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    };
    let told = "postern_csp_reports{app=\"app.app\",directive=\"script-src\"}";
    assert_eq!(tell("application/csp-report", report), 204);
    assert_eq!(figure(told), 1);
    let log = scene.gateway.stderr();
    assert!(
        log.contains("a breach of the content security policy"),
        "{log}"
    );
    assert!(
        log.contains("https://evil.example") && !log.contains("s3cret"),
        "{log}"
    );
    assert_eq!(tell("text/plain", report), 415);
    assert_eq!(tell("application/csp-report", &"x".repeat(20_000)), 413);
    assert_eq!(tell("application/csp-report", "no report"), 204);
    let asked = scene.client.fetch(&scene.at("/.postern/csp-report"));
    assert_eq!(asked.status, 405, "{asked:?}");
    assert_eq!(
        (figure(told), figure("postern_csp_reports_dropped ")),
        (1, 3)
    );
    for _ in 0..70 {
        assert_eq!(tell("application/csp-report", report), 204);
    }
    assert_eq!(figure(told), 60, "so many a minute");
    let seen = scene.recorder.seen();
    assert!(
        seen.iter()
            .all(|seen| !seen.target().contains("csp-report"))
    );
    // an app that does not ask for them has no such place, and obeys
    let app = format!(
        "upstream = \"{}\"\npreset = \"owasp\"",
        scene.recorder.url()
    );
    scene.gateway.set_policy(&policy(&app, ""));
    assert_eq!(tell("application/csp-report", report), 404);
    let answer = scene.client.fetch(&scene.at("/p"));
    assert_eq!(answer.header("content-security-policy-report-only"), None);
    let obeyed = answer.header("content-security-policy").unwrap();
    assert!(!obeyed.contains("report-uri"), "{obeyed}");
}

#[test]
fn a_field_of_the_policy_yields_to_the_apps_own_where_it_says_so() {
    let keys = "set = { Content-Type = \"text/x-own\", X-Mine = \"1\" }\nkeep-app = [\"Content-Type\", \"X-Mine\"]";
    let area = "[app.app.\"/set\"]\nkeep-app = []\nallow.people = { who = [\"demo\"] }\n";
    let scene = Scene::new(keys, area);
    let own = scene.client.fetch(&scene.at("/p"));
    assert_eq!(own.header("content-type"), Some("text/plain"));
    assert_eq!(own.header("x-mine"), Some("1"));
    let set = scene.client.fetch(&scene.at("/set"));
    assert_eq!(set.header("content-type"), Some("text/x-own"));
}
