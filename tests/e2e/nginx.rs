//! The three nginx blocks of common deployment guides beside a policy that says the same: one list of requests to
//! both, and every difference is listed with its reason.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use postern_tests::compare::{Got, matches};
use postern_tests::curl::{Client, host};
use postern_tests::gateway::Gateway;
use postern_tests::guides::{Block, ERP, KPI, PAYROLL, onward, server};
use postern_tests::nginx::{self, Nginx};
use postern_tests::origin::Origin;
use postern_tests::ports::free_tcp;
use postern_tests::raw;
use postern_tests::temp::Temp;
use postern_tests::wait::PATIENCE;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

const PATHS: [&str; 12] = [
    "/",
    "/echo",
    "/echo/deep/er/?a=1&b=%20c&b=2",
    "/status/201",
    "/status/204",
    "/status/404",
    "/status/500",
    "/page",
    "/own",
    "/moved",
    "/chunked",
    "/data",
];

/// Asked for by GET alone.
const GETS: [&str; 14] = [
    "/status/400",
    "/status/401",
    "/status/403",
    "/status/409",
    "/status/418",
    "/status/502",
    "/status/503",
    "/moved/absolute",
    "/until-close",
    "/style",
    "/short",
    "/picture",
    "/echo/%7Euser/a%20b",
    "/echo/a%3Fb",
];

/// Fields of single requests, to `/echo` unless a path stands before them.
const FIELDS: [&str; 18] = [
    "X-Own: 1",
    "Cookie: app=1; b=2",
    "Authorization: Basic YTpi",
    "X-Forwarded-For: 198.51.100.7",
    "X-Forwarded-Proto: http",
    "X-Real-IP: 198.51.100.7",
    "X-Request-ID: 0123456789abcdef",
    "Referer: https://elsewhere.example/",
    "Accept-Language: fr, en;q=0.5",
    "X_Under: 1",
    "TE: trailers",
    "/page If-None-Match: \"v1\"",
    "/page If-None-Match: \"v2\"",
    "/part Range: bytes=10-19",
    "/data Accept-Encoding: gzip",
    "/style Accept-Encoding: gzip",
    "/short Accept-Encoding: gzip",
    "/picture Accept-Encoding: gzip",
];

const BODIES: [usize; 5] = [0, 1, 70_000, 1 << 20, (1 << 20) + 1];

/// Asked for without TLS, by every method.
const PLAIN: [&str; 6] = [
    "/",
    "/login",
    "/echo/deep/er/?a=1&b=%20c&b=2",
    "/echo/a%20b",
    "/static/style?v=1",
    "/echo/%7Euser",
];

/// Where nginx and the gateway differ: `BLOCK METHOD TARGET: DIFFERENCE`, nginx's on the left of `|`, and why.
const KNOWN: &[(&str, &str)] = &[
    // what the app is told
    (
        "* asked x-postern-*: - | *",
        "who asks and by which rule, proved by a signed token",
    ),
    (
        "* asked x-request-id: - | *",
        "one id in the app's log and in the journal",
    ),
    ("* asked traceparent: - | *", "the same for traces"),
    (
        "* asked x-forwarded-host: - | app.gate.localhost",
        "the host as it was asked for",
    ),
    ("* asked x-forwarded-port: - | *", "and its port"),
    (
        "* asked x-forwarded-for: 198.51.100.7, 127.0.0.1 | 127.0.0.1",
        "what a client says of its address is not passed on",
    ),
    (
        "* asked line: * HTTP/1.0 | * HTTP/1.1",
        "nginx speaks HTTP/1.0 to apps unless told",
    ),
    (
        "* asked connection: * | -",
        "a connection to an app is kept; nginx says upgrade or close to each request",
    ),
    (
        "* asked line: GET /echo/%7Euser/a%20b * | GET /echo/~user/a%20b *",
        "one spelling is judged, logged and sent",
    ),
    (
        "* in chunks: asked content-length: * | -",
        "nginx holds the whole body back to count it",
    ),
    (
        "* in chunks: asked transfer-encoding: - | chunked",
        "a body is passed on as it comes",
    ),
    // what the browser is told
    (
        "* answer x-request-id: - | *",
        "the id a person can name to the administrator",
    ),
    (
        "* answer cache-control: - | private",
        "an answer to one person is kept by no proxy, unless the app says more",
    ),
    (
        "erp * answer strict-transport-security: - | max-age=300",
        "the browser comes back by HTTPS; the block says nothing",
    ),
    (
        "kpi * answer strict-transport-security: - | max-age=300",
        "the same",
    ),
    (
        "* /own*answer x-powered-by: origin | -",
        "what an app is made of is nobody's business",
    ),
    (
        "* /own*answer x-frame-options: DENY, SAMEORIGIN | DENY",
        "nginx adds a second field that contradicts the app's",
    ),
    (
        "* /own*answer content-security-policy: default-src 'none', * | default-src 'none'",
        "the app's own policy is the stricter one",
    ),
    (
        "* /own*answer strict-transport-security: max-age=1* | *",
        "that is for the gateway to say, once",
    ),
    // the guide for pay: `location /login` has a limit and no proxy_pass
    (
        "payroll * /login*: status 404 | 200",
        "nginx looks for a file; the guide's sign-in page cannot be reached",
    ),
    (
        "payroll * /login*: answer content-type: text/html | text/plain",
        "so its own page comes",
    ),
    ("payroll * /login*: body", "in place of the app's"),
    // bodies over the limit
    (
        "* POST /echo 1048577 bytes*: body",
        "413 from both; ours says the limit and whom to ask",
    ),
    (
        "* POST /echo 1048577 bytes*: answer *",
        "with the fields of the gateway's own pages",
    ),
    // the guide for figures: one add_header in a location drops all of the server's
    (
        "kpi * /static/*: answer x-content-type-options: - | nosniff",
        "security fields stand on every answer",
    ),
    (
        "kpi * /static/*: answer x-frame-options: - | SAMEORIGIN",
        "the same",
    ),
    (
        "kpi * /static/*: answer x-xss-protection: - | 1; mode=block",
        "the same",
    ),
    ("kpi * /static/*: answer referrer-policy: - | *", "the same"),
    (
        "kpi * /static/*: answer content-security-policy: - | *",
        "the same",
    ),
    ("kpi * /static/*: answer expires: * | -", "max-age says it"),
    (
        "kpi * /static/*: answer cache-control: max-age=31536000, public, immutable | public, max-age=31536000, immutable",
        "one field in place of two",
    ),
    (
        "kpi * /api/*: answer age: - | *",
        "an answer from the store says how old it is",
    ),
    // without TLS
    (
        "* http *: status 301 | 405",
        "GET and HEAD are sent on; what else comes has sent its body in the clear already",
    ),
    (
        "* http *: answer location: * | -",
        "so it is told, and sent nowhere",
    ),
    (
        "* http *: answer location: */echo/%7Euser | */echo/~user",
        "one spelling is judged, logged and sent",
    ),
    (
        "* http *: body",
        "nobody reads the page of a redirect; a refusal says what it is",
    ),
    ("* http *: answer content-type: text/html | *", "the same"),
    (
        "* http *: answer cache-control: - | no-store",
        "a redirect is to be asked for again where hosts or ports change",
    ),
    (
        "* http *: answer x-content-type-options: - | nosniff",
        "security fields stand on every answer",
    ),
    ("* http *: answer x-frame-options: - | *", "the same"),
    ("* http *: answer referrer-policy: - | *", "the same"),
    (
        "* http *: answer content-security-policy: - | *",
        "the same",
    ),
    (
        "* http *: answer cross-origin-*: - | same-origin",
        "the same",
    ),
    ("* http *: answer permissions-policy: - | *", "the same"),
];

struct Request {
    method: String,
    target: String,
    /// With `NAME: VALUE`.
    field: Option<String>,
    body: Option<usize>,
    chunked: bool,
}

impl Request {
    fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            field: None,
            body: None,
            chunked: false,
        }
    }

    /// Reads `METHOD /target NAME: VALUE`, of which each part may be missing.
    fn parse(text: &str) -> Self {
        let (method, rest) = match text.split_once(' ') {
            Some((method, rest)) if METHODS.contains(&method) => (method, rest),
            _ => ("GET", text),
        };
        let (target, field) = match rest.split_once(' ') {
            _ if !rest.starts_with('/') => ("/echo", Some(rest)),
            Some((target, field)) => (target, Some(field)),
            None => (rest, None),
        };
        Self {
            field: field.map(str::to_owned),
            ..Self::new(method, target)
        }
    }

    fn bytes(&self, authority: &str, cookie: Option<&str>) -> Vec<u8> {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n",
            self.method, self.target
        );
        let own = self.field.as_deref().unwrap_or_default();
        match (own.strip_prefix("Cookie: "), cookie) {
            (Some(own), Some(cookie)) => head += &format!("Cookie: {own}; {cookie}\r\n"),
            (None, Some(cookie)) => head += &format!("Cookie: {cookie}\r\n"),
            (Some(own), None) => head += &format!("Cookie: {own}\r\n"),
            (None, None) => {}
        }
        if !own.is_empty() && !own.starts_with("Cookie: ") {
            head += &format!("{own}\r\n");
        }
        let body = vec![b'x'; self.body.unwrap_or(0)];
        if self.chunked {
            head += "Transfer-Encoding: chunked\r\n\r\n";
            let mut bytes = head.into_bytes();
            for part in body.chunks(1000) {
                bytes.extend(format!("{:x}\r\n", part.len()).bytes());
                bytes.extend(part);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            return bytes;
        }
        if self.body.is_some() {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        [head.as_bytes(), b"\r\n", &body].concat()
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, self.target)?;
        if let Some(field) = &self.field {
            write!(f, " [{field}]")?;
        }
        match (self.body, self.chunked) {
            (Some(bytes), true) => write!(f, " {bytes} bytes in chunks"),
            (Some(bytes), false) => write!(f, " {bytes} bytes"),
            (None, _) => Ok(()),
        }
    }
}

fn requests(block: &Block) -> Vec<Request> {
    let mut all: Vec<Request> = PATHS
        .iter()
        .flat_map(|path| METHODS.iter().map(|method| Request::new(method, path)))
        .collect();
    all.extend(GETS.iter().map(|path| Request::new("GET", path)));
    all.extend(
        FIELDS
            .iter()
            .chain(block.more)
            .map(|text| Request::parse(text)),
    );
    for bytes in BODIES {
        for chunked in [false, true] {
            all.push(Request {
                body: Some(bytes),
                chunked,
                ..Request::new("POST", "/echo")
            });
        }
    }
    all
}

/// Both ways to one app.
struct Scene {
    name: &'static str,
    origin: Origin,
    nginx: Nginx,
    /// The port of nginx without TLS.
    plain: u16,
    nginx_root: Temp,
    gateway: Gateway,
    cookie: String,
}

impl Scene {
    fn new(block: &Block) -> Self {
        let origin = Origin::new();
        let gateway = Gateway::demo();
        gateway.set_policy(&format!(
            "postern = 1\n[group]\nadmins = [\"demo\"]\n[admin]\nallow.admins = {{ who = \"@admins\" }}\n\
             [app.app]\nhost = [\"app.gate.localhost\", \"app.gate.postern.internal\"]\n\
             upstream = \"http://127.0.0.1:{}\"\n{}\nallow.people = {{ who = [\"demo\"] }}\n{}",
            origin.port(),
            block.app,
            block.areas
        ));
        let name = host(&gateway.facts.app).to_owned();
        let client = Client::new(&gateway);
        assert_eq!(
            client
                .sign_in(&gateway.facts.app, &gateway.facts.demo)
                .status,
            200
        );
        let cookie = client.cookie(&name, "__Host-postern").unwrap();
        origin.forget();
        let (nginx_root, plain) = (Temp::new(), free_tcp());
        let nginx = Nginx::start(&[], |dir, port| {
            certificate(dir, &nginx_root, &name);
            onward(block, plain, &name) + &server(block, dir, port, origin.port(), &name)
        });
        Self {
            name: block.name,
            origin,
            nginx,
            plain,
            nginx_root,
            gateway,
            cookie: format!("__Host-postern={cookie}"),
        }
    }

    fn by_nginx(&self, request: &Request) -> Got {
        let root = self.nginx_root.path().join("root.pem");
        self.ask(self.nginx.port, &root, request, None)
    }

    fn by_gateway(&self, request: &Request) -> Got {
        let root = &self.gateway.facts.ca_root;
        let cookie = Some(self.cookie.as_str());
        self.ask(self.gateway.https_port(), root, request, cookie)
    }

    fn ask(&self, port: u16, root: &Path, request: &Request, cookie: Option<&str>) -> Got {
        let name = host(&self.gateway.facts.app);
        let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        let mut tls = raw::tls_over(tcp, name, root, PATIENCE);
        let bytes = request.bytes(&format!("{name}:{port}"), cookie);
        let answer = raw::exchange(&mut tls, &bytes);
        let mut got = Got::read(&answer.bytes)
            .unwrap_or_else(|| panic!("no answer to {request} at {port}: {answer:?}"));
        self.without_ports(&mut got);
        got
    }

    /// Asks nginx and the gateway without TLS.
    fn without_tls(&self, request: &Request) -> [Got; 2] {
        [self.plain, self.gateway.http_port()].map(|port| {
            let mut tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            tcp.set_read_timeout(Some(PATIENCE)).unwrap();
            let name = host(&self.gateway.facts.app);
            let answer = raw::exchange(&mut tcp, &request.bytes(&format!("{name}:{port}"), None));
            let mut got = Got::read(&answer.bytes)
                .unwrap_or_else(|| panic!("no answer to {request} at {port}: {answer:?}"));
            self.without_ports(&mut got);
            got
        })
    }

    /// Only the ports of this run differ in what names an address.
    fn without_ports(&self, got: &mut Got) {
        let ports = [self.nginx.port, self.gateway.https_port()].map(|port| format!(":{port}"));
        let plain = |text: &str| {
            ports
                .iter()
                .fold(text.to_owned(), |text, port| text.replace(port, ""))
        };
        for value in got.fields.values_mut().flatten() {
            *value = plain(value);
        }
        if let Ok(text) = std::str::from_utf8(&got.body) {
            got.body = plain(text).into_bytes();
        }
    }
}

fn certificate(dir: &Path, root: &Temp, name: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let ca = certs::Root::create("Guide", now).unwrap();
    let below = ca.intermediate("Guide too", now).unwrap();
    let leaf = below.issue(&[name], now, 86_400).unwrap();
    root.write("root.pem", ca.pem());
    std::fs::write(dir.join("chain.pem"), &leaf.chain_pem).unwrap();
    std::fs::write(dir.join("key.pem"), &*leaf.key_pem).unwrap();
}

#[test]
fn what_nginx_and_the_gateway_answer_differs_only_as_listed() {
    let (mut count, mut unlisted) = (0, BTreeSet::new());
    let mut met = vec![false; KNOWN.len()];
    let mut judge = |text: String| {
        let known = KNOWN
            .iter()
            .position(|(pattern, _)| matches(pattern, &text));
        match known {
            Some(at) => met[at] = true,
            None => drop(unlisted.insert(text)),
        }
    };
    for block in [PAYROLL, ERP, KPI] {
        let scene = Scene::new(&block);
        for request in requests(&block) {
            count += 1;
            let ours = scene.by_gateway(&request);
            scene.origin.forget();
            let theirs = scene.by_nginx(&request);
            scene.origin.forget();
            for difference in theirs.differences(&ours) {
                judge(format!("{} {request}: {difference}", scene.name));
            }
        }
        let plain = PLAIN.iter().filter(|_| block.plain.is_some());
        for request in plain.flat_map(|path| METHODS.map(|method| Request::new(method, path))) {
            count += 1;
            let [theirs, ours] = scene.without_tls(&request);
            for difference in theirs.differences(&ours) {
                judge(format!("{} http {request}: {difference}", scene.name));
            }
        }
    }
    assert!(count >= 300, "{count} requests");
    assert!(
        unlisted.is_empty(),
        "{} differences that are not listed: {unlisted:#?}",
        unlisted.len()
    );
    let idle = KNOWN.iter().zip(met).filter(|(_, met)| !met);
    let idle: Vec<_> = idle.map(|((pattern, _), _)| pattern).collect();
    assert!(idle.is_empty(), "listed and not met: {idle:#?}");
}

#[test]
fn the_payroll_block_as_printed_does_not_start() {
    let Block {
        nginx: [zone, inside],
        ..
    } = PAYROLL;
    let as_printed = |dir: &Path| {
        let name = "payroll.example";
        certificate(dir, &Temp::new(), name);
        let block = Block {
            nginx: ["", Box::leak(format!("{zone}{inside}").into_boxed_str())],
            ..PAYROLL
        };
        server(&block, dir, 8443, 8501, name)
    };
    let refused = nginx::refusal(as_printed).unwrap();
    assert!(
        refused.contains("\"limit_req_zone\" directive is not allowed here"),
        "{refused}"
    );
    let outside = |dir: &Path| {
        certificate(dir, &Temp::new(), "payroll.example");
        server(&PAYROLL, dir, 8443, 8501, "payroll.example")
    };
    assert_eq!(nginx::refusal(outside), None);
}
