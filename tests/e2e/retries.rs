//! An app that closes a kept connection just as the next request arrives: what may be made again is, and nothing else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use postern_tests::curl::{Client, origin};
use postern_tests::gateway::Gateway;
use postern_tests::policy::one_app;
use postern_tests::websocket::read_head;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An app that can be made to read the second request of each connection and close, as one that is reloaded does.
struct Hasty {
    url: String,
    hasty: Arc<AtomicBool>,
    /// The first lines of all requests.
    seen: Arc<Mutex<Vec<String>>>,
}

impl Hasty {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let app = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            hasty: Arc::default(),
            seen: Arc::default(),
        };
        let (hasty, seen) = (Arc::clone(&app.hasty), Arc::clone(&app.seen));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (hasty, seen) = (Arc::clone(&hasty), Arc::clone(&seen));
                thread::spawn(move || serve(stream, &hasty, &seen));
            }
        });
        app
    }

    /// How often a path was asked for.
    fn times(&self, path: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        let of_path = |line: &&String| line.split(' ').nth(1) == Some(path);
        seen.iter().filter(of_path).count()
    }
}

fn serve(mut stream: TcpStream, hasty: &AtomicBool, seen: &Mutex<Vec<String>>) {
    let mut first = true;
    while let Ok(head) = read_head(&mut stream) {
        let line = head.lines().next().unwrap_or_default().to_owned();
        seen.lock().unwrap().push(line);
        let length = head.to_ascii_lowercase();
        let length = length.split("content-length: ").nth(1);
        let length = length.and_then(|rest| rest.lines().next()?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        if !first && hasty.load(Ordering::SeqCst) {
            return;
        }
        first = false;
        if stream.write_all(OK).is_err() {
            return;
        }
    }
}

/// Source: RFC 9110 section 9.2.2; RFC 9112 section 9.3.1; seed GM9.
#[test]
fn of_requests_whose_kept_connection_closes_under_them_only_safe_ones_are_made_again() {
    let app = Hasty::new();
    let mut gateway = Gateway::demo();
    // one pool, so that the next request goes over the connection that is kept
    gateway.edit_config(|text| *text = text.replace("[http]\n", "[http]\nworkers = 1\n"));
    gateway.stop();
    gateway.start_again();
    gateway.set_policy(&one_app(&format!("upstream = \"{}\"", app.url)));
    let client = Client::new(&gateway);
    let page = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    let at = |path: &str| format!("{}{path}", origin(&gateway.facts.app));
    for (name, args, status, times) in [
        ("get", &["-X", "GET"][..], 200, 2),
        ("options", &["-X", "OPTIONS"], 200, 2),
        ("post", &["-d", "pay=1"], 502, 1),
        ("post-of-nothing", &["-X", "POST"], 502, 1),
        ("put", &["-X", "PUT", "-d", "a=1"], 502, 1),
        ("delete", &["-X", "DELETE"], 502, 1),
    ] {
        for version in ["--http1.1", "--http2"] {
            app.hasty.store(false, Ordering::SeqCst);
            assert_eq!(client.fetch(&at("/warm")).status, 200);
            app.hasty.store(true, Ordering::SeqCst);
            let path = format!("/{name}{version}");
            let got = client.send(&at(&path), &[args, &[version]].concat());
            assert_eq!(got.status, status, "{path}: {got:?}");
            assert_eq!(app.times(&path), times, "{path}");
            // the twin: over a new connection each is served
            app.hasty.store(false, Ordering::SeqCst);
            let got = client.send(&at(&path), &[args, &[version]].concat());
            assert_eq!(got.status, 200, "{path}: {got:?}");
        }
    }
}
