//! What is open is decided again when the answer may change, and two policies never mix.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use postern_tests::curl::{Client, host};
use postern_tests::gateway::Gateway;
use postern_tests::office::{Office, PERMITTED, PERMITTED6, echoes};
use postern_tests::raw::{self, Tls};
use postern_tests::upstream::Recorder;
use postern_tests::websocket::Socket;

const LIMIT: Duration = postern_tests::wait::PATIENCE;

/// Opens streams to apps of a gateway as one signed-in person.
struct Visitor<'a> {
    gateway: &'a Gateway,
    client: &'a Client,
}

impl Visitor<'_> {
    fn url(&self, app: &str) -> String {
        self.gateway
            .facts
            .app
            .replace("app.gate.", &format!("{app}.gate."))
    }

    fn authority(&self, app: &str) -> String {
        format!("{}:{}", host(&self.url(app)), self.gateway.https_port())
    }

    fn cookie(&self, app: &str) -> String {
        let value = self.client.cookie(host(&self.url(app)), "__Host-postern");
        format!("__Host-postern={}", value.unwrap())
    }

    fn tls(&self, app: &str) -> Tls {
        let tcp = TcpStream::connect(("127.0.0.1", self.gateway.https_port())).unwrap();
        raw::tls_over(
            tcp,
            host(&self.url(app)),
            &self.gateway.facts.ca_root,
            LIMIT,
        )
    }

    fn websocket(&self, app: &str) -> Socket<Tls> {
        let cookie = self.cookie(app);
        let mut socket =
            Socket::open(self.tls(app), &self.authority(app), "/ws", Some(&cookie)).unwrap();
        assert_eq!(socket.echo("hello").unwrap(), "hello");
        socket
    }

    fn get(&self, app: &str, path: &str) -> Tls {
        let mut tls = self.tls(app);
        let (authority, cookie) = (self.authority(app), self.cookie(app));
        let text = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nCookie: {cookie}\r\n\r\n");
        tls.write_all(text.as_bytes()).unwrap();
        tls
    }
}

fn unix() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

/// The wall time, `hours:minutes` in UTC, of an instant.
fn clock(unix: u64) -> String {
    let minutes = unix / 60 % 1440;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

#[test]
fn streams_end_with_their_schedule_their_code_and_their_sign_in_and_others_stay() {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    let app = |name: &str, more: &str| {
        format!(
            "[app.{name}]\nhost = \"{name}.gate.localhost\"\nupstream = \"{}\"\nallow.d = {{ who = \"demo\"{more} }}\n",
            recorder.url()
        )
    };
    let base =
        "postern = 1\n[group]\nadmins = [\"demo\"]\n[admin]\nallow.a = { who = \"@admins\" }\n";
    let all = |code: &str, sign_in: &str, hours: &str| {
        [
            base.to_owned(),
            app("app", ""),
            app("code", code),
            app("signin", sign_in),
            app("hours", hours),
        ]
        .concat()
    };
    gateway.set_policy(&all("", "", ""));
    let client = Client::new(&gateway);
    let visitor = Visitor {
        gateway: &gateway,
        client: &client,
    };
    assert_eq!(
        client
            .sign_in(&gateway.facts.app, &gateway.facts.demo)
            .status,
        200
    );
    let signed_in = unix();
    for name in ["code", "signin", "hours"] {
        assert_eq!(client.follow(&visitor.url(name)).status, 200, "{name}");
    }
    // the first full minute that leaves the other two time to end
    let (edge, schedule) = ending(20);
    let spent = unix() - signed_in;
    let (code, sign_in) = ((spent + 8.0).ceil(), (spent + 12.0).ceil());
    let limited = all(
        &format!(", mfa = \"{code}s\""),
        &format!(", login = \"{sign_in}s\""),
        ", when = \"now\"",
    );
    gateway.set_policy(&(limited + &schedule));
    let mut kept = visitor.websocket("app");
    let mut download = visitor.get("hours", "/counted");
    let watched: Vec<_> = [
        ("code", signed_in + code),
        ("signin", signed_in + sign_in),
        ("hours", edge as f64),
    ]
    .into_iter()
    .map(|(name, due)| {
        let mut socket = visitor.websocket(name);
        let ended = thread::spawn(move || {
            socket.wait_closed();
            unix()
        });
        (name, due, ended)
    })
    .collect();
    let ended = thread::spawn(move || {
        drop(raw::read_all(&mut download));
        unix()
    });
    for (name, due, ended) in watched
        .into_iter()
        .chain([("a download", edge as f64, ended)])
    {
        let late = ended.join().unwrap() - due;
        writeln!(std::io::stderr(), "{name} ended {late:.2} s after its time").unwrap();
        // ages are in whole seconds, and the sign-in was a moment before it was measured
        assert!(
            (-5.0..2.5).contains(&late),
            "{name} ended {late} s after its time"
        );
    }
    assert_eq!(kept.echo("still here").unwrap(), "still here");
    assert_eq!(client.fetch(&gateway.facts.app).status, 200);
    assert_eq!(client.fetch(&visitor.url("hours")).status, 403);
}

/// The first full minute that is at least so many seconds away, and a schedule `now` that ends with it.
fn ending(seconds: u64) -> (u64, String) {
    let edge = (unix() as u64 + seconds) / 60 * 60 + 60;
    let schedule = format!(
        "[schedule.now]\ntime = \"{}-{}\"\ntz = \"UTC\"\n",
        clock(edge - 180),
        clock(edge)
    );
    (edge, schedule)
}

#[test]
fn a_flow_in_the_tunnel_ends_with_its_schedule_and_a_neighbour_stays() {
    let office = Office::new();
    let (gateway, facts) = (&office.gateway, &office.gateway.facts);
    let page = office.browser().sign_in(&facts.tunnel_portal, &facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    let whole = gateway.policy_text();
    let (front, service) = whole.split_at(whole.find("[net.echo]").unwrap());
    let (both, rule) = ("[\"10.78.0.2\", \"fd78::2\"]", "{ who = \"demo\" }");
    assert!(
        service.contains(both) && service.contains(rule),
        "{service}"
    );
    let timed = service
        .replace(both, "\"10.78.0.2\"")
        .replace(rule, "{ who = \"demo\", when = \"now\" }");
    let always = service
        .replace(both, "\"fd78::2\"")
        .replace("[net.echo]", "[net.always]");
    let (edge, schedule) = ending(10);
    gateway.set_policy(&format!("{front}{timed}\n{always}\n{schedule}"));
    let mut lost = office.connect(PERMITTED).unwrap();
    let mut kept = office.connect(PERMITTED6).unwrap();
    assert!(echoes(&mut lost, "open").unwrap());
    assert!(echoes(&mut kept, "open").unwrap());
    lost.set_read_timeout(Some(Duration::from_secs(100)))
        .unwrap();
    drop(raw::read_all(&mut lost));
    let late = unix() - edge as f64;
    writeln!(std::io::stderr(), "a flow ended {late:.2} s after its time").unwrap();
    assert!((-0.1..2.5).contains(&late), "{late} s after its time");
    assert!(echoes(&mut kept, "still").unwrap());
    assert!(office.connect(PERMITTED).is_err());
    assert!(office.connect(PERMITTED6).is_ok());
}

/// Has the gateway load its files by its control socket and returns whether it did.
fn reload(gateway: &Gateway) {
    let mut socket = UnixStream::connect(gateway.facts.data.join("control.sock")).unwrap();
    socket.write_all(b"{\"request\":\"reload\"}\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("{\"done\":"), "{answer}");
}

/// One of two policies that share nothing but the app `kept`: its own upstream and its own path.
fn side(own: &Recorder, kept: &Recorder, mine: &str, theirs: &str) -> String {
    format!(
        r#"postern = 1
[group]
admins = ["demo"]
[admin]
allow.a = {{ who = "@admins" }}
[app.kept]
host = "kept.gate.localhost"
upstream = "{}"
allow.d = {{ who = "demo" }}
[app.app]
host = "app.gate.localhost"
upstream = "{}"
allow.d = {{ who = "demo" }}
[app.app."{mine}"]
allow.d = {{ who = "demo" }}
[app.app."{theirs}"]
allow.g = {{ who = "guest" }}
"#,
        kept.url(),
        own.url(),
    )
}

/// Sends one request on a connection and returns the status; `None` when it was cut.
fn ask(stream: &mut BufReader<Tls>, text: &str) -> Option<u16> {
    stream.get_mut().write_all(text.as_bytes()).ok()?;
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut length = 0;
    loop {
        let mut field = String::new();
        stream.read_line(&mut field).ok().filter(|n| *n > 0)?;
        let field = field.trim_end().to_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
    }
    stream.read_exact(&mut vec![0; length]).ok()?;
    Some(status)
}

#[test]
fn policies_that_flip_under_load_never_mix_and_drop_no_stream_that_both_permit() {
    let flips = if std::env::var_os("POSTERN_LONG").is_some() {
        1000
    } else {
        100
    };
    let (one, two, kept) = (Recorder::new(), Recorder::new(), Recorder::new());
    let gateway = Gateway::demo_before(&one.url());
    let sides = [
        side(&one, &kept, "/only-one", "/only-two"),
        side(&two, &kept, "/only-two", "/only-one"),
    ];
    gateway.set_policy(&sides[0]);
    let client = Client::new(&gateway);
    let visitor = Visitor {
        gateway: &gateway,
        client: &client,
    };
    assert_eq!(
        client
            .sign_in(&gateway.facts.app, &gateway.facts.demo)
            .status,
        200
    );
    assert_eq!(client.follow(&visitor.url("kept")).status, 200);
    let mut socket = visitor.websocket("kept");
    let mut counted = BufReader::new(visitor.get("kept", "/counted"));
    let (done, allowed, denied, cut) = (
        AtomicBool::new(false),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let mut echoes = 0_u64;
    let took = thread::scope(|scope| {
        for number in 0..4 {
            let path = ["/only-one", "/only-two"][number % 2];
            let text = format!(
                "GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n\r\n",
                visitor.authority("app"),
                visitor.cookie("app")
            );
            let (visitor, done, allowed, denied, cut) = (&visitor, &done, &allowed, &denied, &cut);
            scope.spawn(move || {
                let mut stream = BufReader::new(visitor.tls("app"));
                while !done.load(Ordering::Relaxed) {
                    match ask(&mut stream, &text) {
                        Some(200) => allowed.fetch_add(1, Ordering::Relaxed),
                        Some(403) => denied.fetch_add(1, Ordering::Relaxed),
                        Some(other) => panic!("status {other}"),
                        None => {
                            stream = BufReader::new(visitor.tls("app"));
                            cut.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            });
        }
        let reader = scope.spawn(|| {
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                counted.read_line(&mut line).unwrap();
            }
            let (mut next, mut eight) = (0_u64, [0; 8]);
            while !done.load(Ordering::Relaxed) {
                counted.read_exact(&mut eight).unwrap();
                assert_eq!(
                    u64::from_be_bytes(eight),
                    next,
                    "the download lost or doubled a byte"
                );
                next += 1;
            }
            next * 8
        });
        let start = Instant::now();
        for flip in 1..=flips {
            std::fs::write(gateway.policy_file(), &sides[flip % 2]).unwrap();
            reload(&gateway);
            let text = format!("echo {flip}");
            assert_eq!(socket.echo(&text).unwrap(), text, "the WebSocket is gone");
            echoes += 1;
        }
        let took = start.elapsed();
        done.store(true, Ordering::Relaxed);
        let bytes = reader.join().unwrap();
        writeln!(
            std::io::stderr(),
            "{bytes} bytes of the download in order, {echoes} echoes"
        )
        .unwrap();
        took
    });
    let (allowed, denied, cut) = (allowed.into_inner(), denied.into_inner(), cut.into_inner());
    let each = took.as_secs_f64() * 1000.0 / flips as f64;
    writeln!(
        std::io::stderr(),
        "{flips} flips, {each:.1} ms each; {allowed} allowed, {denied} denied, {cut} cut"
    )
    .unwrap();
    assert!(
        allowed > flips / 2 && denied > flips / 2,
        "{allowed} allowed, {denied} denied"
    );
    for (recorder, foreign) in [(&one, "/only-two"), (&two, "/only-one")] {
        let seen = recorder.seen();
        assert!(seen.iter().any(|s| s.target().starts_with("/only-")));
        assert!(
            seen.iter().all(|s| s.target() != foreign),
            "allowed by one policy and sent by the other"
        );
    }
}
