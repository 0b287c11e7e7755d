//! Clients that speak older or odder than browsers do, and what an app says of itself: each has its answer, and no more
//! than that.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use postern_tests::curl::{Client, host, signed_in};
use postern_tests::gateway::Gateway;
use postern_tests::policy::one_app as policy;
use postern_tests::raw::{self, RawAnswer, Tls};
use postern_tests::replica::{Mode, Replica};
use postern_tests::temp::Temp;
use postern_tests::wait;
use postern_tests::websocket::read_head;

const SOON: Duration = wait::PATIENCE;

/// An app that answers every request with the same bytes and then closes.
fn scripted() -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let says = Arc::new(Mutex::new(String::new()));
    let shared = Arc::clone(&says);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            drop(read_head(&mut stream));
            let answer = shared.lock().unwrap().clone();
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    (url, says)
}

/// Opens a connection of HTTP/1 to the app's host; with it come the fields that say who and where.
fn connect(gateway: &Gateway, client: &Client) -> (Tls, String) {
    let (name, port) = (host(&gateway.facts.app), gateway.https_port());
    let tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let tls = raw::tls_over(tcp, name, &gateway.facts.ca_root, SOON);
    let cookie = client.cookie(name, "__Host-postern").unwrap();
    let fields = format!("Host: {name}:{port}\r\nCookie: __Host-postern={cookie}\r\n");
    (tls, fields)
}

fn text(answer: &RawAnswer) -> String {
    String::from_utf8_lossy(&answer.bytes).into_owned()
}

/// Source: RFC 9112 section 6.1: such a client knows no chunks, and the end of its connection ends a body.
#[test]
fn a_client_of_http_1_0_gets_no_chunks_and_one_of_http_1_1_does() {
    let (url, says) = scripted();
    let keys = format!("upstream = \"{url}\"\ncompress = true");
    let (gateway, client) = signed_in(&policy(&keys));
    let long = "a word and another ".repeat(100);
    let ways: [(&str, &[&str]); 2] = [("short", &[]), ("long", &["Connection: X-Inner\r\n"])];
    for (body, answer) in [
        (
            "hello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
                .to_owned(),
        ),
        ("hello", "HTTP/1.1 200 OK\r\n\r\nhello".to_owned()),
        (
            &long,
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{long}"),
        ),
    ] {
        *says.lock().unwrap() = answer;
        for (way, more) in ways {
            let ask = |version: &str, fields: &str| {
                let (mut tls, who) = connect(&gateway, &client);
                let more = more.concat();
                let head = format!("GET /old {version}\r\n{who}{more}{fields}\r\n");
                let asked = Instant::now();
                let answer = raw::exchange(&mut tls, head.as_bytes());
                // a connection that is idle ends after a minute
                let soon = asked.elapsed() < Duration::from_secs(30);
                assert!(answer.closed && soon, "{}", text(&answer));
                text(&answer)
            };
            let old = ask("HTTP/1.0", "");
            let (head, came) = old.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(" 200 "), "{way}: {old}");
            let head = head.to_ascii_lowercase();
            assert!(!head.contains("transfer-encoding"), "{way}: {old}");
            assert_eq!(came, body, "{way}");
            let new = ask("HTTP/1.1", "Connection: close\r\n");
            assert!(
                new.to_ascii_lowercase()
                    .contains("transfer-encoding: chunked"),
                "{way}: {new}"
            );
        }
        // what is compressed ends so too
        let (mut tls, who) = connect(&gateway, &client);
        let head = format!("GET /old HTTP/1.0\r\n{who}Accept-Encoding: gzip\r\n\r\n");
        let answer = text(&raw::exchange(&mut tls, head.as_bytes()));
        assert!(
            !answer.to_ascii_lowercase().contains("transfer-encoding"),
            "{answer}"
        );
    }
}

/// What is kept, or read from a folder, is compressed by the gateway itself.
#[test]
fn a_client_of_http_1_0_gets_no_chunks_of_what_the_gateway_compresses() {
    let (url, says) = scripted();
    let dir = Temp::new();
    let long = "a word and another ".repeat(1000);
    dir.write("long.txt", &long);
    let keys = format!(
        "upstream = \"{url}\"\ncompress = true\ncache = {{ ttl = \"5m\" }}\n\
         allow.all = {{ who = [\"demo\", \"guest\"] }}\n\
         [app.app.\"/files\"]\nstatic = {{ root = \"{}\" }}\ncompress = true",
        dir.path().display()
    );
    let (gateway, client) = signed_in(&policy(&keys));
    *says.lock().unwrap() = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n{long}");
    for path in ["/", "/files/long.txt"] {
        let ask = |version: &str| {
            let (mut tls, who) = connect(&gateway, &client);
            let gzip = "Accept-Encoding: gzip\r\nConnection: close\r\n";
            let head = format!("GET {path} {version}\r\n{who}{gzip}\r\n");
            text(&raw::exchange(&mut tls, head.as_bytes())).to_ascii_lowercase()
        };
        let (new, old) = (ask("HTTP/1.1"), ask("HTTP/1.0"));
        assert_eq!(old.contains("\r\nage: "), path == "/", "{path}: {old}");
        for answer in [&old, &new] {
            assert!(
                answer.contains("content-encoding: gzip"),
                "{path}: {answer}"
            );
        }
        assert!(!old.contains("transfer-encoding"), "{path}: {old}");
        assert!(new.contains("transfer-encoding: chunked"), "{path}: {new}");
    }
}

/// What an app of HTTP/2 answers has no length that such a client knows.
#[test]
fn a_client_of_http_1_0_is_refused_where_its_app_speaks_http_2() {
    let (gateway, client) = signed_in(&policy("upstream = \"h2c://127.0.0.1:9\""));
    let ask = |version: &str| {
        let (mut tls, who) = connect(&gateway, &client);
        let head = format!("GET /old {version}\r\n{who}Connection: close\r\n\r\n");
        raw::exchange(&mut tls, head.as_bytes()).status()
    };
    assert_eq!(ask("HTTP/1.0"), Some(400));
    assert_eq!(
        ask("HTTP/1.1"),
        Some(502),
        "nobody is there, but it is asked"
    );
}

/// What a client sends before it has its answer is no reason to leave it without. Source: RFC 9112 section 9.3.2.
#[test]
fn a_request_sent_ahead_waits_for_the_answer_before_it() {
    let app = Replica::new("only");
    let (gateway, client) = signed_in(&policy(&format!("upstream = \"{}\"", app.url())));
    app.set(Mode::Late);
    let posted = "POST /first HTTP/1.1\r\nWHOContent-Length: 5\r\n\r\nhello";
    for first in ["GET /first HTTP/1.1\r\nWHO\r\n", posted] {
        let (mut tls, who) = connect(&gateway, &client);
        let before = app.hits();
        tls.write_all(first.replace("WHO", &who).as_bytes())
            .unwrap();
        wait::until_true(SOON, "the app is asked", || app.hits() > before);
        // half of it now, the rest when the first is answered
        let second = format!("GET /second HTTP/1.1\r\n{who}Connection: close\r\n\r\n");
        let (one, other) = second.split_at(20);
        tls.write_all(one.as_bytes()).unwrap();
        tls.sock
            .set_read_timeout(Some(Duration::from_millis(1500)))
            .unwrap();
        let answer = text(&raw::read_all(&mut tls));
        assert!(answer.contains("replica only saw /first"), "{answer}");
        tls.sock.set_read_timeout(Some(SOON)).unwrap();
        let answer = text(&raw::exchange(&mut tls, other.as_bytes()));
        assert!(answer.contains("replica only saw /second"), "{answer}");
        assert_eq!(app.hits(), before + 2);
    }
}

/// A page's script may set any bytes; neither its reader's session nor the app's other cookies suffer.
#[test]
fn a_cookie_that_is_no_ascii_signs_nobody_out() {
    let app = Replica::new("only");
    let (gateway, client) = signed_in(&policy(&format!("upstream = \"{}\"", app.url())));
    let name = host(&gateway.facts.app);
    let session = client.cookie(name, "__Host-postern").unwrap();
    for version in ["--http1.1", "--http2"] {
        let cookies = format!("Cookie: name=Zoé; __Host-postern={session}; a=b");
        let got = Client::new(&gateway).send(&gateway.facts.app, &[version, "-H", &cookies]);
        assert_eq!(got.status, 200, "{version}: {got:?}");
        let seen = app.seen().pop().unwrap();
        assert_eq!(seen.values("cookie"), ["name=Zoé; a=b"], "{version}");
    }
    let none = Client::new(&gateway).send(&gateway.facts.app, &["-H", "Cookie: name=Zoé"]);
    assert_eq!(none.status, 401, "{none:?}");
}

/// Source: security.md R-PX-29.
#[test]
fn no_field_that_names_a_place_shows_one_of_the_inside() {
    let (url, says) = scripted();
    let (gateway, client) = signed_in(&policy(&format!("upstream = \"{url}\"")));
    let public = gateway.facts.app.trim_end_matches('/').to_owned();
    for (written, arrives) in [
        (
            format!("Content-Location: {url}/there"),
            format!("content-location: {public}/there"),
        ),
        (
            format!("Refresh: 5; url={url}/there"),
            format!("refresh: 5;url={public}/there"),
        ),
        (
            format!("Refresh: 0;URL='{url}/there'"),
            format!("refresh: 0;url={public}/there"),
        ),
        (
            format!("Refresh: 0, {url}/there"),
            format!("refresh: 0;url={public}/there"),
        ),
        ("Refresh: 5".to_owned(), "refresh: 5".to_owned()),
        (
            "Refresh: 5; url=/there".to_owned(),
            "refresh: 5; url=/there".to_owned(),
        ),
        (
            "Refresh: 5; url=https://elsewhere.example/".to_owned(),
            "refresh: 5; url=https://elsewhere.example/".to_owned(),
        ),
        (
            "Content-Location: /there".to_owned(),
            "content-location: /there".to_owned(),
        ),
    ] {
        *says.lock().unwrap() =
            format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{written}\r\n\r\nok");
        let got = client.fetch(&gateway.facts.app);
        let (name, value) = arrives.split_once(": ").unwrap();
        assert_eq!(got.header(name), Some(value), "{written}: {got:?}");
    }
}

/// Of four replicas three die at once: nobody sees it.
#[test]
fn a_request_goes_on_to_the_last_replica_that_lives() {
    let mut replicas: Vec<_> = ["one", "two", "three", "four"]
        .into_iter()
        .map(Replica::new)
        .collect();
    let urls: Vec<_> = replicas.iter().map(Replica::url).collect();
    let (gateway, client) = signed_in(&policy(&format!("upstream = {urls:?}")));
    for replica in &mut replicas[..3] {
        replica.kill();
    }
    let ways: [&[&str]; 2] = [&["-X", "GET"], &["-X", "POST", "--data-raw", "hello"]];
    for way in ways.into_iter().cycle().take(8) {
        let got = client.send(&gateway.facts.app, way);
        assert_eq!(got.status, 200, "{way:?}: {got:?}");
        assert!(got.body.contains("replica four saw"), "{got:?}");
    }
    replicas[3].kill();
    assert_eq!(client.fetch(&gateway.facts.app).status, 502);
}
