//! What an app may answer, how late, and what its people are told when it does not.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use postern_tests::curl::{Answer, Client, host, signed_in};
use postern_tests::gateway::Gateway;
use postern_tests::policy::one_app as policy;
use postern_tests::replica::{Mode, Replica};
use postern_tests::websocket::{Socket, read_head};
use postern_tests::{raw, wait};

const SOON: Duration = postern_tests::wait::PATIENCE;

/// An app that answers every request with the same bytes and then closes.
struct Scripted {
    url: String,
    says: Arc<Mutex<Vec<u8>>>,
}

impl Scripted {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let says = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&says);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                drop(read_head(&mut stream));
                let answer = shared.lock().unwrap().clone();
                drop(stream.write_all(&answer));
            }
        });
        Self { url, says }
    }
}

/// Two readers of such an answer would part it from the next in two places; each has a twin that is read in one way.
/// Source: RFC 9112 section 6.3; security.md R-PX-23 to R-PX-25.
#[test]
fn an_answer_that_can_be_read_in_two_ways_is_none() {
    let app = Scripted::new();
    let (gateway, client) = signed_in(&policy(&format!("upstream = \"{}\"", app.url)));
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n";
    let plain = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let with = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
    let chunks = "2\r\nok\r\n0\r\n\r\n";
    for (name, answer, status) in [
        ("one length", plain.to_owned(), 200),
        (
            "chunks",
            with("Transfer-Encoding: chunked\r\n", chunks),
            200,
        ),
        ("until it closes", with("", "ok"), 200),
        ("eight hints", hint.repeat(8) + plain, 200),
        ("nine hints", hint.repeat(9) + plain, 502),
        (
            "two equal lengths",
            with("Content-Length: 2\r\nContent-Length: 2\r\n", "ok"),
            502,
        ),
        (
            "two lengths",
            with("Content-Length: 2\r\nContent-Length: 1\r\n", "ok"),
            502,
        ),
        (
            "a list of lengths",
            with("Content-Length: 2, 2\r\n", "ok"),
            502,
        ),
        ("a signed length", with("Content-Length: +2\r\n", "ok"), 502),
        (
            "another coding",
            with("Transfer-Encoding: xchunked\r\n", chunks),
            502,
        ),
        (
            "a list of codings",
            with("Transfer-Encoding: gzip, chunked\r\n", chunks),
            502,
        ),
        (
            "two codings",
            with(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                chunks,
            ),
            502,
        ),
        (
            "a tunnel nobody asked for",
            "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\r\n".to_owned(),
            502,
        ),
        ("no version", "HTTP 200 OK\r\n\r\n".to_owned(), 502),
    ] {
        *app.says.lock().unwrap() = answer.into_bytes();
        for method in ["GET", "POST"] {
            let got = client.send(
                &gateway.facts.app,
                &["-X", method, "-H", "Accept: text/html"],
            );
            assert_eq!(got.status, status, "{name} to {method}: {got:?}");
            if status == 200 {
                assert_eq!(got.body, "ok", "{name} to {method}");
            }
        }
    }
    *app.says.lock().unwrap() = b"HTTP/1.1 101 Switching\r\nUpgrade: shell\r\n\r\n$ ".to_vec();
    let wrong = Socket::to_app(&gateway, &client, "/ws").unwrap_err();
    assert!(wrong.contains("502"), "{wrong}");
}

const PLAIN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An app that answers every request of a connection with the same bytes, and counts connections.
struct Kept {
    url: String,
    says: Arc<Mutex<Vec<u8>>>,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
}

impl Kept {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = Self {
            url,
            says: Arc::new(Mutex::new(PLAIN.as_bytes().to_vec())),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let (says, connections, requests) = (
            Arc::clone(&kept.says),
            Arc::clone(&kept.connections),
            Arc::clone(&kept.requests),
        );
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (says, requests) = (Arc::clone(&says), Arc::clone(&requests));
                std::thread::spawn(move || {
                    while let Ok(head) = read_head(&mut stream) {
                        requests.fetch_add(1, Ordering::SeqCst);
                        let length = head.to_ascii_lowercase();
                        let length = length.split("content-length: ").nth(1);
                        let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
                        let mut body = vec![0; length.unwrap_or(0)];
                        if stream.read_exact(&mut body).is_err() {
                            return;
                        }
                        let answer = says.lock().unwrap().clone();
                        if stream.write_all(&answer).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        kept
    }

    /// Says how many connections and requests there were.
    fn count(&self) -> (usize, usize) {
        let (all, requests) = (&self.connections, &self.requests);
        (all.load(Ordering::SeqCst), requests.load(Ordering::SeqCst))
    }
}

/// A demo whose connections to its app are all of one pool, and a browser that is signed in.
fn on_one_edge(policy: &str) -> (Gateway, Client) {
    let mut gateway = Gateway::demo();
    gateway.edit_config(|text| *text = text.replace("[http]\n", "[http]\nworkers = 1\n"));
    gateway.stop();
    gateway.start_again();
    gateway.set_policy(policy);
    let client = Client::new(&gateway);
    let page = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert!(page.status < 600, "{page:?}");
    (gateway, client)
}

/// What comes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comes {
    /// It passes, and its connection takes the next request.
    Pass,
    /// It passes; its connection is closed.
    PassOnce,
    /// 502, and its connection is closed.
    Bad,
}

/// The bytes of an answer are judged before anything reads them, by the same grammar as those of a request.
/// Source: RFC 9112 sections 2.2, 5, 6.3 and 7.1; RFC 9110 section 8.6; security.md R-PX-22 and R-PX-23.
#[test]
fn an_answer_is_judged_by_its_bytes_and_a_connection_with_a_bad_one_is_not_used_again() {
    use Comes::{Bad, Pass, PassOnce};
    let app = Kept::new();
    let (gateway, client) = on_one_edge(&policy(&format!("upstream = \"{}\"", app.url)));
    let plain = PLAIN.to_owned();
    let with = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
    let sized = |fields: &str| with(&format!("Content-Length: 2\r\n{fields}"), "ok");
    let chunked = |body: &str| with("Transfer-Encoding: chunked\r\n", body);
    let chunks = "2\r\nok\r\n0\r\n\r\n";
    let many = |count: usize| sized(&"X-A: a\r\n".repeat(count - 1));
    let large = |bytes: usize| sized(&format!("X-A: {}\r\n", "a".repeat(bytes)));
    let twin = |fields: &str| with(fields, chunks);
    let rows = [
        ("one length", plain.clone(), Pass),
        ("chunks", chunked(chunks), Pass),
        (
            "blanks around values",
            sized("X-A: \t a \t\r\nX-B:\r\n"),
            Pass,
        ),
        ("a blank before a colon", sized("X-A : a\r\n"), Bad),
        (
            "a blank before the colon of a coding",
            twin("Transfer-Encoding : chunked\r\n"),
            Bad,
        ),
        ("a folded field", sized("X-A: a\r\n b\r\n"), Bad),
        ("a field that begins with a tab", sized("\tX-A: a\r\n"), Bad),
        ("a bare LF", sized("X-A: a\nX-B: b\r\n"), Bad),
        ("bare LFs alone", plain.replace("\r\n", "\n"), Bad),
        ("a bare CR", sized("X-A: a\rX-B: b\r\n"), Bad),
        ("a NUL", sized("X-A: \0\r\n"), Bad),
        ("a name that is none", sized("X(A: a\r\n"), Bad),
        ("a blank line first", format!("\r\n{plain}"), Bad),
        (
            "a length beside chunks",
            twin("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
            Bad,
        ),
        (
            "chunks beside a length",
            twin("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n"),
            Bad,
        ),
        (
            "chunks in HTTP/1.0",
            twin("Transfer-Encoding: chunked\r\n").replace("HTTP/1.1", "HTTP/1.0"),
            Bad,
        ),
        ("a hundred fields", many(100), Pass),
        ("a field more", many(101), Bad),
        ("31 KiB", large(31 * 1024), Pass),
        ("33 KiB", large(33 * 1024), Bad),
        (
            "a chunk with an extension",
            chunked("2;a=b\r\nok\r\n0\r\n\r\n"),
            Pass,
        ),
        (
            "a chunk without a size",
            chunked("\r\nok\r\n0\r\n\r\n"),
            Bad,
        ),
        (
            "a blank before a size",
            chunked(" 2\r\nok\r\n0\r\n\r\n"),
            Bad,
        ),
        (
            "a blank behind a size",
            chunked("2 \r\nok\r\n0\r\n\r\n"),
            Bad,
        ),
        ("a signed size", chunked("+2\r\nok\r\n0\r\n\r\n"), Bad),
        (
            "a bare LF behind a size",
            chunked("2\nok\r\n0\r\n\r\n"),
            Bad,
        ),
        (
            "a control in an extension",
            chunked("2;\x01\r\nok\r\n0\r\n\r\n"),
            Bad,
        ),
        (
            "more data than its size",
            chunked("2\r\nokX\r\n0\r\n\r\n"),
            Bad,
        ),
        (
            "nothing, of length none",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n".to_owned(),
            Pass,
        ),
        (
            "nothing, of a length",
            "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            Bad,
        ),
        (
            "bytes behind an answer",
            format!("{plain}HTTP/1.1 200 OK"),
            PassOnce,
        ),
        (
            "an answer behind an answer",
            format!("{plain}{}", plain.replace("ok", "no")),
            PassOnce,
        ),
    ];
    // by the short way, by the long way, and by that with a body
    let ways: [&[&str]; 3] = [
        &["-X", "GET"],
        &["--http1.1", "-H", "Connection: X-Inner"],
        &["-X", "POST", "--data-raw", "hello"],
    ];
    for (name, answer, comes) in rows {
        for way in ways {
            *app.says.lock().unwrap() = plain.clone().into_bytes();
            let twin = client.send(&gateway.facts.app, way);
            assert_eq!((twin.status, twin.body.as_str()), (200, "ok"), "{name}");
            let (before, asked) = app.count();
            *app.says.lock().unwrap() = answer.clone().into_bytes();
            let got = client.send(&gateway.facts.app, way);
            let shown = format!("{name} by {way:?}: {got:?}");
            match comes {
                Bad => assert_eq!(got.status, 502, "{shown}"),
                Pass | PassOnce if answer.contains(" 204 ") => {
                    assert_eq!(got.status, 204, "{shown}");
                    assert_eq!(got.header("content-length"), None, "{shown}");
                }
                Pass | PassOnce => {
                    assert_eq!((got.status, got.body.as_str()), (200, "ok"), "{shown}");
                }
            }
            // what is bad is bad of every connection: nothing is asked twice
            assert_eq!(app.count(), (before, asked + 1), "{shown}");
            *app.says.lock().unwrap() = plain.clone().into_bytes();
            let next = client.send(&gateway.facts.app, way);
            assert_eq!((next.status, next.body.as_str()), (200, "ok"), "{name}");
            let anew = usize::from(comes != Pass);
            assert_eq!(app.count(), (before + anew, asked + 2), "{shown}");
        }
    }
}

/// How long an app may take is counted from when it has the whole of the request.
#[test]
fn an_upload_may_take_longer_than_the_answer() {
    let app = Replica::new("only");
    let keys = format!(
        "upstream = \"{}\"\ntimeout = {{ head = \"1s\", idle = \"1s\" }}",
        app.url()
    );
    let (gateway, client) = signed_in(&policy(&keys));
    let name = host(&gateway.facts.app);
    let tcp = TcpStream::connect(("127.0.0.1", gateway.https_port())).unwrap();
    let mut tls = raw::tls_over(tcp, name, &gateway.facts.ca_root, SOON);
    let cookie = client.cookie(name, "__Host-postern").unwrap();
    let head = format!(
        "POST /files HTTP/1.1\r\nHost: {name}:{}\r\nCookie: __Host-postern={cookie}\r\n\
         Content-Length: 12\r\nConnection: close\r\n\r\n",
        gateway.https_port()
    );
    tls.write_all(head.as_bytes()).unwrap();
    for _ in 0..12 {
        std::thread::sleep(Duration::from_millis(500));
        tls.write_all(b"x").unwrap();
    }
    let answer = raw::read_all(&mut tls);
    let shown = String::from_utf8_lossy(&answer.bytes);
    assert_eq!(answer.status(), Some(200), "{shown}");
    assert_eq!(app.seen().last().unwrap().body, b"xxxxxxxxxxxx");
    // its twin: the app is late once it has everything
    app.set(Mode::Silent);
    let late = client.send(&gateway.facts.app, &["-X", "POST", "--data-raw", "all"]);
    assert_eq!(late.status, 504, "{late:?}");
}

/// However fast a body comes, an area says how long it may take in all. Source: security.md R-DO-02.
#[test]
fn an_upload_that_takes_longer_than_its_area_permits_is_refused_and_one_within_it_arrives() {
    let app = Replica::new("only");
    let with = |body: &str| {
        policy(&format!(
            "upstream = \"{}\"\ntimeout = {{ body = \"{body}\" }}",
            app.url()
        ))
    };
    let (gateway, client) = signed_in(&with("3s"));
    let name = host(&gateway.facts.app);
    let cookie = client.cookie(name, "__Host-postern").unwrap();
    let (port, root) = (gateway.https_port(), gateway.facts.ca_root.clone());
    let upload = |framing: &str, part: &[u8], parts: usize, end: &[u8]| {
        let tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut tls = raw::tls_over(tcp, name, &root, SOON);
        let head = format!(
            "POST /files HTTP/1.1\r\nHost: {name}:{port}\r\nCookie: __Host-postern={cookie}\r\n\
             {framing}\r\nConnection: close\r\n\r\n"
        );
        tls.write_all(head.as_bytes()).unwrap();
        let pause = Duration::from_millis(500);
        tls.sock.set_read_timeout(Some(pause)).unwrap();
        for _ in 0..parts {
            // what is written behind an answer may take it away
            let early = raw::exchange(&mut tls, part);
            if early.closed || !early.bytes.is_empty() {
                return early.status();
            }
        }
        tls.sock.set_read_timeout(Some(SOON)).unwrap();
        drop(tls.write_all(end));
        raw::read_all(&mut tls).status()
    };
    let chunk = [&b"1000\r\n"[..], &[b'x'; 4096], b"\r\n"].concat();
    let length = "Content-Length: 49152";
    let coding = "Transfer-Encoding: chunked";
    let before = app.hits();
    let all = std::thread::scope(|scope| {
        let ways = [
            scope.spawn(|| upload(length, &[b'x'; 4096], 12, b"")),
            scope.spawn(|| upload(coding, &chunk, 12, b"0\r\n\r\n")),
            // nothing more comes
            scope.spawn(|| upload(length, &[b'x'; 4096], 2, b"")),
        ];
        ways.map(|way| way.join().unwrap())
    });
    assert_eq!(all, [Some(408); 3]);
    assert_eq!(app.hits(), before, "none came whole");
    // its twin
    gateway.set_policy(&with("30s"));
    assert_eq!(upload(length, &[b'x'; 4096], 12, b""), Some(200));
    assert_eq!(app.seen().last().unwrap().body.len(), 49152);
}

/// Who looks at the page learns whose fault it is: the network's, the app's, or the app's load.
#[test]
fn the_page_tells_an_app_out_of_reach_from_one_that_fails() {
    let mut app = Replica::new("only");
    let text = policy(&format!("upstream = \"{}\"", app.url()));
    let (gateway, client) = signed_in(&text);
    let told = || {
        let twin = client.send(&gateway.facts.app, &["-H", "Accept: application/json"]);
        (
            twin.status,
            twin.json()["error"].as_str().map(str::to_owned),
        )
    };
    let named = |status: u16, name: &str| (status, Some(name.to_owned()));
    app.set(Mode::Garbage);
    assert_eq!(told(), named(502, "bad-upstream"));
    app.kill();
    assert_eq!(told(), named(502, "app-unreachable"));
    let page = client.open(&gateway.facts.app);
    assert!(page.body.contains("cannot be reached"), "{page:?}");
    app.revive();
    app.set(Mode::Well);
    gateway.set_policy(&text.replace("upstream", "concurrency = 1\nupstream"));
    let held = Socket::to_app(&gateway, &client, "/ws").unwrap();
    assert_eq!(told(), named(503, "app-busy"));
    drop(held);
}

/// Names that an app may not say, each with the answer's own value of it where it has one; any other name passes.
#[test]
fn what_only_the_gateway_may_say_is_taken_off_answers_and_the_rest_passes() {
    let app = Scripted::new();
    let (gateway, client) = signed_in(&policy(&format!("upstream = \"{}\"", app.url)));
    // HTTP/2 has no fields of a connection anyway
    let get = |version: &str, field: &str| {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{field}\r\n\r\nok");
        *app.says.lock().unwrap() = answer.into_bytes();
        let got = client.send(&gateway.facts.app, &[version]);
        assert_eq!((got.status, got.body.as_str()), (200, "ok"), "{field}");
        got
    };
    for version in ["--http1.1", "--http2"] {
        only_the_gateways(|field| get(version, field));
    }
}

fn only_the_gateways(get: impl Fn(&str) -> Answer) {
    for name in [
        "Alt-Svc",
        "Clear-Site-Data",
        "Public-Key-Pins",
        "Public-Key-Pins-Report-Only",
        "Strict-Transport-Security",
        "X-Accel-Redirect",
        "X-Accel-Buffering",
        "X-Accel-Charset",
        "X-Accel-Expires",
        "X-Accel-Limit-Rate",
        "X-Sendfile",
        "X-Powered-By",
        "Server",
        "Proxy-Authenticate",
        "X-Postern-User",
        "X-Postern-Anything",
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authentication-Info",
        "TE",
        "Upgrade",
    ] {
        let got = get(&format!("{name}: theirs"));
        let lower = name.to_ascii_lowercase();
        let theirs = got
            .headers
            .iter()
            .filter(|(n, v)| *n == lower && v == "theirs");
        assert_eq!(theirs.count(), 0, "{name}: {got:?}");
    }
    let named = get("Connection: X-Inner\r\nX-Inner: theirs");
    assert_eq!(named.header("x-inner"), None);
    for name in [
        "X-Inner",
        "ETag",
        "Link",
        "Server-Timing",
        "X-Frame-Options",
    ] {
        let got = get(&format!("{name}: theirs"));
        let lower = name.to_ascii_lowercase();
        assert_eq!(got.header(&lower), Some("theirs"), "{name}");
    }
}

#[test]
fn a_websocket_that_is_silent_both_ways_for_longer_than_its_area_permits_ends_and_one_that_speaks_either_way_lives()
 {
    let app = Replica::new("only");
    let keys = format!(
        "upstream = \"{}\"\ntimeout = {{ stream = \"1s\" }}",
        app.url()
    );
    let (gateway, client) = signed_in(&policy(&keys));
    let mut silent = Socket::to_app(&gateway, &client, "/ws").unwrap();
    let mut speaks = Socket::to_app(&gateway, &client, "/ws").unwrap();
    // one way is enough: an app that only tells, a client that only listens
    let mut listens = Socket::to_app(&gateway, &client, "/push").unwrap();
    for at in 0..15 {
        let text = at.to_string();
        assert_eq!(speaks.echo(&text).unwrap(), text);
        assert_eq!(listens.read_until("tick").unwrap(), "tick");
        std::thread::sleep(Duration::from_millis(300));
    }
    silent.wait_closed();
    assert_eq!(speaks.echo("still here").unwrap(), "still here");
    for _ in 0..30 {
        assert_eq!(listens.read_until("tick").unwrap(), "tick");
    }
}

/// The limit of an area is that of its streams alone: beside it the default, an hour, goes on.
#[test]
fn a_silent_websocket_ends_at_the_limit_of_its_area_and_one_of_the_default_outlives_it() {
    let app = Replica::new("only");
    let area = "[app.app.\"/short\"]\nstrip-prefix = \"/short\"\ntimeout = { stream = \"2s\" }\n\
                allow.people = { who = [\"demo\", \"guest\"] }\n";
    let usual = policy(&format!("upstream = \"{}\"", app.url()));
    let (gateway, client) = signed_in(&format!("{usual}{area}"));
    let open = |path| Socket::to_app(&gateway, &client, path).unwrap();
    let mut usual = open("/ws");
    assert_eq!(usual.echo("first").unwrap(), "first");
    let (mut short, mut busy) = (open("/short/ws"), open("/short/ws"));
    assert_eq!(short.echo("first").unwrap(), "first");
    let begin = Instant::now();
    let watch = std::thread::spawn(move || {
        short.wait_closed();
        begin.elapsed()
    });
    while !watch.is_finished() {
        assert_eq!(busy.echo("second").unwrap(), "second");
        std::thread::sleep(Duration::from_millis(100));
    }
    let took = watch.join().unwrap();
    assert!(took >= Duration::from_millis(1_900), "{took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert_eq!(usual.echo("second").unwrap(), "second");
}

/// No address of the inside reaches a browser: neither that of the replica that was asked nor that of another one.
/// Source: security.md R-PX-29.
#[test]
fn a_redirect_to_any_replica_leads_back_through_the_gateway_and_one_elsewhere_passes() {
    let (one, other) = (Scripted::new(), Scripted::new());
    let text = policy(&format!("upstream = [\"{}\", \"{}\"]", one.url, other.url));
    let (gateway, client) = signed_in(&text);
    let (public, elsewhere) = (&gateway.facts.app, "http://127.0.0.1:9/else");
    let bare = |app: &Scripted| app.url.trim_start_matches("http:").to_owned();
    for (written, arrives) in [
        (
            format!("{}/there?a=b", one.url),
            format!("{public}there?a=b"),
        ),
        (format!("{}/there", other.url), format!("{public}there")),
        (format!("{}/there", bare(&other)), format!("{public}there")),
        (elsewhere.to_owned(), elsewhere.to_owned()),
        ("/there".to_owned(), "/there".to_owned()),
    ] {
        let answer =
            format!("HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {written}\r\n\r\n");
        for app in [&one, &other] {
            *app.says.lock().unwrap() = answer.clone().into_bytes();
        }
        // turns go round, so that both answer
        for _ in 0..4 {
            let got = client.fetch(public);
            assert_eq!(
                got.header("location"),
                Some(arrives.as_str()),
                "{written}: {got:?}"
            );
        }
    }
}

#[test]
fn an_answer_under_way_when_the_gateway_stops_comes_whole() {
    let app = Replica::new("only");
    let (mut gateway, client) = signed_in(&policy(&format!("upstream = \"{}\"", app.url())));
    app.set(Mode::Late);
    let url = gateway.facts.app.clone();
    let hits = app.hits();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| client.fetch(&url));
        wait::until_true(SOON, "the app is asked", || app.hits() > hits);
        let took = gateway.stop();
        let answer = asked.join().unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains("replica only saw"), "{answer:?}");
        assert!(took < Duration::from_secs(10), "{took:?}");
    });
    let refused = TcpStream::connect(("127.0.0.1", gateway.https_port()));
    assert!(refused.is_err(), "nobody listens any more");
}
