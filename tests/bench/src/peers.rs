//! Other servers that guard an app: HAProxy by a map of sessions, Caddy by `forward_auth`, and
//! nginx by passwords as the guides do it.

use std::fs;

use certs::Leaf;
use postern_tests::nginx::Nginx;
use postern_tests::ports::free_tcp;
use postern_tests::process::{Program, after, find};
use postern_tests::temp::Temp;

use crate::cpus;
use crate::nginx::{self, Guard};
use crate::scene::HOST;

/// How many sessions the map holds beside ours.
const SESSIONS: u32 = 10_000;
/// "bench" and "correct horse", by bcrypt of cost 5, which is what `htpasswd -B` makes.
const PASSWORDS: &str = "bench:$2y$05$JlLMwOy6UezbK.1UKVEx.u8kwQWnIcc40TjBoU.GGL9KY7yQSXyHy\n";
/// The same pair as a browser sends it.
pub const BASIC: &str = "Authorization: Basic YmVuY2g6Y29ycmVjdCBob3JzZQ==";

/// A running server.
#[derive(Debug)]
pub struct Peer {
    pub port: u16,
    program: Program,
    _dir: Temp,
}

impl Peer {
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }

    fn start(name: &str, dir: Temp, port: u16, words: &[String]) -> Self {
        let mut command = after(&cpus::server(), find(&[name]));
        command.args(words);
        // Caddy keeps state in its home
        command.env("HOME", dir.path()).current_dir(dir.path());
        let mut program = Program::start(command, dir.path(), name);
        program.listens(port);
        Self {
            port,
            program,
            _dir: dir,
        }
    }
}

/// HAProxy: the session cookie looked up in a map, a stick table of sources, a line a request.
#[must_use]
pub fn haproxy(leaf: &Leaf, app: u16, session: &str) -> Peer {
    let (dir, port) = (Temp::new(), free_tcp());
    dir.write(
        "both.pem",
        format!("{}{}", leaf.chain_pem, leaf.key_pem.as_str()),
    );
    let others = (0..SESSIONS).map(|number| format!("session-{number:020} person-{number}\n"));
    let map: String = others.chain([format!("{session} demo\n")]).collect();
    dir.write("sessions.map", map);
    let at = dir.path().display();
    let text = format!(
        r#"global
    nbthread 1
    maxconn 4096
    log stdout len 1024 format raw local0

defaults
    mode http
    log global
    timeout connect 5s
    timeout client 60s
    timeout server 60s

frontend web
    bind 127.0.0.1:{port} ssl crt {at}/both.pem alpn h2,http/1.1 ssl-min-ver TLSv1.3
    log-format '{{"time":"%t","source":"%ci","host":"%[var(txn.host),json]","method":"%HM","path":"%[var(txn.path),json]","status":%ST,"bytes":%B,"request_id":"%ID"}}'
    unique-id-format %[uuid()]
    unique-id-header X-Request-Id
    stick-table type ip size 100k expire 60s store http_req_rate(1s)
    http-request set-var(txn.host) req.hdr(host)
    http-request set-var(txn.path) path
    http-request track-sc0 src
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt 100000000 }}
    http-request set-var(txn.user) req.cook(__Host-postern),map({at}/sessions.map)
    http-request deny deny_status 403 unless {{ var(txn.user) -m found }}
    http-request set-header X-Forwarded-User %[var(txn.user)]
    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https
    http-request set-header X-Forwarded-Host %[var(txn.host)]
    http-response set-header Strict-Transport-Security "max-age=300"
    http-response set-header X-Content-Type-Options nosniff
    http-response set-header Referrer-Policy strict-origin-when-cross-origin
    http-response set-header X-Frame-Options SAMEORIGIN
    default_backend app

backend app
    http-reuse always
    server app 127.0.0.1:{app}
"#
    );
    let file = dir.write("haproxy.cfg", text).display().to_string();
    Peer::start("haproxy", dir, port, &["-f".to_owned(), file])
}

/// Caddy: an authority asked before each request, a line a request.
#[must_use]
pub fn caddy(leaf: &Leaf, app: u16) -> Peer {
    let (dir, port) = (Temp::new(), free_tcp());
    nginx::write_pair(dir.path(), leaf);
    let at = dir.path().display();
    let text = format!(
        r#"{{
	admin off
	auto_https off
}}

https://{HOST}:{port} {{
	bind 127.0.0.1
	tls {at}/chain.pem {at}/key.pem {{
		protocols tls1.3
	}}
	header Strict-Transport-Security "max-age=300"
	header X-Content-Type-Options nosniff
	header Referrer-Policy strict-origin-when-cross-origin
	header X-Frame-Options SAMEORIGIN
	forward_auth 127.0.0.1:{app} {{
		uri /auth
	}}
	reverse_proxy 127.0.0.1:{app}
	log {{
		output file {at}/access.json
	}}
}}
"#
    );
    let file = dir.write("Caddyfile", text).display().to_string();
    let words = ["run", "--adapter", "caddyfile", "--config", &file].map(str::to_owned);
    Peer::start("caddy", dir, port, &words)
}

/// nginx with one file of passwords.
#[must_use]
pub fn passwords(leaf: &Leaf, app: u16) -> Nginx {
    Nginx::start(&cpus::server(), |dir, port| {
        nginx::write_pair(dir, leaf);
        fs::write(dir.join("passwords"), PASSWORDS).unwrap();
        nginx::proxy(dir, port, app, Guard::Passwords, HOST)
    })
}
