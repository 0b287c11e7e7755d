//! What nginx does in the benchmarks: the app of all targets, and the peer.

use std::fs::{self, File};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use certs::Leaf;

use crate::scene::HOST;

/// The files of the app and their lengths.
pub const FILES: [(&str, u64); 2] = [("/file-1mb", 1_000_000), ("/file-100mb", 100_000_000)];

/// Where the app takes bodies.
pub const TAKE: &str = "/take";

/// The app behind every target, and an authority that allows everything.
#[must_use]
pub fn upstream(dir: &Path, port: u16) -> String {
    for (path, bytes) in FILES {
        let file = File::create(dir.join(path.trim_start_matches('/'))).unwrap();
        file.set_len(bytes).unwrap();
    }
    let dir = dir.display();
    format!(
        r#"
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        client_max_body_size 0;
        default_type text/plain;
        location / {{ return 200 "hello from the app behind the gate\n"; }}
        location = /auth {{ return 204; }}
        location = /status {{ stub_status; }}
        location /file- {{ root {dir}; sendfile on; }}
        # takes a whole body before it answers, as apps do; `return` answers at once
        location = {TAKE} {{
            client_body_buffer_size 128m;
            proxy_pass http://unix:{dir}/sink.sock:/;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }}
    }}
    server {{
        listen unix:{dir}/sink.sock;
        location / {{ return 200 "taken\n"; }}
    }}
"#
    )
}

/// Makes a certificate of the app's host as the gateway has one; returns its root too, as PEM.
#[must_use]
pub fn certificate() -> (Leaf, String) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let root = certs::Root::create("bench root", now).unwrap();
    let issuer = root.intermediate("bench intermediate", now).unwrap();
    let leaf = issuer.issue(&[HOST], now, certs::DAY).unwrap();
    (leaf, root.pem().to_owned())
}

/// Puts a certificate where [`proxy`] looks for it.
pub fn write_pair(dir: &Path, leaf: &Leaf) {
    fs::write(dir.join("chain.pem"), &leaf.chain_pem).unwrap();
    fs::write(dir.join("key.pem"), leaf.key_pem.as_bytes()).unwrap();
}

/// How much a peer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// TLS, headers, a JSON line a request.
    Plain,
    /// The same with a rate limit and a question to an authority before each request.
    AuthRequest,
    /// A file of passwords, looked at in each request.
    Passwords,
}

/// The peer: TLS 1.3, HTTP/1.1 and HTTP/2, kept connections to the app.
#[must_use]
pub fn proxy(dir: &Path, port: u16, app: u16, guard: Guard, host: &str) -> String {
    let dir = dir.display();
    let (limits, asks, authority) = match guard {
        Guard::Plain => ("", "", ""),
        Guard::AuthRequest => (LIMITS, ASKS, AUTHORITY),
        Guard::Passwords => ("", PASSWORDS, ""),
    };
    format!(
        r#"
    log_format line escape=json '{{"time":"$time_iso8601","source":"$remote_addr","host":"$host",'
        '"method":"$request_method","path":"$uri","status":$status,"bytes":$bytes_sent,'
        '"seconds":$request_time,"request_id":"$request_id"}}';
    upstream app {{
        server 127.0.0.1:{app};
        keepalive 128;
        keepalive_requests 1000000000;
        keepalive_time 24h;
    }}
    {limits}
    server {{
        listen 127.0.0.1:{port} ssl http2 backlog=4096;
        server_name {host};
        ssl_certificate {dir}/chain.pem;
        ssl_certificate_key {dir}/key.pem;
        ssl_protocols TLSv1.3;
        access_log {dir}/access.json line buffer=64k flush=100ms;
        proxy_http_version 1.1;
        proxy_max_temp_file_size 0;
        proxy_request_buffering off;
        client_max_body_size 0;
        add_header Strict-Transport-Security "max-age=300" always;
        add_header X-Content-Type-Options nosniff always;
        add_header Referrer-Policy strict-origin-when-cross-origin always;
        add_header X-Frame-Options SAMEORIGIN always;
        location / {{
            {asks}
            proxy_pass http://app;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto https;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Request-Id $request_id;
        }}
        location = /ws {{
            proxy_pass http://app;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }}
        {authority}
    }}
"#
    )
}

const LIMITS: &str = "limit_req_zone $binary_remote_addr zone=source:10m rate=1000000r/s;";
const PASSWORDS: &str = "auth_basic office; auth_basic_user_file passwords;";
const ASKS: &str = "limit_req zone=source burst=1000000 nodelay;
            auth_request /authority;";
const AUTHORITY: &str = r#"location = /authority {
            internal;
            proxy_pass http://app/auth;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
            proxy_set_header Connection "";
            proxy_set_header X-Original-URI $request_uri;
        }"#;
