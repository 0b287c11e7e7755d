//! An application of the kind the guides deploy: each of its endpoints stands here once, with a request to it and what
//! it answers. Every answer says in `X-Saw` what reached it, so that two ways to it can be compared.

use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::upstream::{Seen, read_request};

/// An endpoint, a request to it, and its answer.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub method: &'static str,
    pub target: String,
    /// Fields of the request, as `Name: value`.
    pub fields: Vec<String>,
    pub body: Option<Vec<u8>>,
    status: u16,
    says: Vec<String>,
    answer: Vec<u8>,
    framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length,
    /// In parts of so many bytes.
    Chunks(usize),
    Close,
}

impl Endpoint {
    fn new(method: &'static str, target: &str) -> Self {
        Self {
            method,
            target: target.to_owned(),
            fields: Vec::new(),
            body: None,
            status: 200,
            says: Vec::new(),
            answer: Vec::new(),
            framing: Framing::Length,
        }
    }

    fn with(mut self, field: &str) -> Self {
        self.fields.push(field.to_owned());
        self
    }

    fn sends(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.fields.push(format!("Content-Type: {kind}"));
        self.body = Some(body.into());
        self
    }

    fn json(self, body: &str) -> Self {
        self.sends("application/json", body)
    }

    fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    fn says(mut self, field: &str) -> Self {
        self.says.push(field.to_owned());
        self
    }

    fn gives(mut self, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        self.says.push(format!("Content-Type: {kind}"));
        self.answer = body.into();
        self
    }

    fn object(self, body: &str) -> Self {
        self.gives("application/json", body)
    }

    fn in_parts(mut self, bytes: usize) -> Self {
        self.framing = Framing::Chunks(bytes);
        self
    }

    fn until_close(mut self) -> Self {
        self.framing = Framing::Close;
        self
    }

    fn is(&self, seen: &Seen) -> bool {
        let line = format!("{} {} ", self.method, self.target);
        let held = |field: &String| {
            let (name, value) = field.split_once(": ").unwrap();
            FRAMING.contains(&name) || seen.values(name).contains(&value)
        };
        seen.line.starts_with(&line) && self.fields.iter().all(held)
    }
}

/// Fields that say how a request comes, which is each hop's own.
const FRAMING: [&str; 2] = ["Content-Length", "Transfer-Encoding"];

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |text: &str| text.chars().take(60).collect::<String>();
        write!(f, "{} {}", self.method, short(&self.target))?;
        let own = self.fields.iter().map(|field| short(field));
        write!(f, " {:?}", own.collect::<Vec<_>>())
    }
}

fn get(target: &str) -> Endpoint {
    Endpoint::new("GET", target)
}

fn post(target: &str) -> Endpoint {
    Endpoint::new("POST", target)
}

fn put(target: &str) -> Endpoint {
    Endpoint::new("PUT", target)
}

fn patch(target: &str) -> Endpoint {
    Endpoint::new("PATCH", target)
}

fn delete(target: &str) -> Endpoint {
    Endpoint::new("DELETE", target)
}

const CSV: &str = "text/csv; charset=utf-8";
const ROW: &str = "2026-01-02,line-3,shift-1,1200,17,0.985\n";
/// What `gzip` makes of `{"packed":true}` and a line feed.
const PACKED: [u8; 36] = [
    31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 171, 86, 42, 72, 76, 206, 78, 77, 81, 178, 42, 41, 42, 77,
    173, 229, 2, 0, 247, 136, 111, 166, 16, 0, 0, 0,
];

/// All endpoints.
#[must_use]
pub fn all() -> Vec<Endpoint> {
    let groups = [
        accounts(),
        clients(),
        production(),
        figures(),
        files(),
        conditional(),
        refusals(),
        forms_of_http(),
    ];
    groups.concat()
}

/// Signing in to the app itself, people and their roles.
fn accounts() -> Vec<Endpoint> {
    let bearer = "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln";
    vec![
        get("/health").object(
            r#"{"status":"healthy","uptime":3600,"dependencies":{"database":"connected"}}"#,
        ),
        get("/api/version").object(r#"{"version":"1.4.2"}"#),
        post("/api/auth/login")
            .sends(
                "application/x-www-form-urlencoded",
                "username=admin&password=p%26w",
            )
            .object(r#"{"access_token":"t","token_type":"bearer"}"#),
        post("/api/auth/refresh")
            .with(bearer)
            .json("{}")
            .object(r#"{"access_token":"u"}"#),
        post("/api/auth/logout").with(bearer).status(204),
        post("/api/auth/register")
            .json(r#"{"username":"x","role":"ADMIN"}"#)
            .status(403)
            .object(r#"{"detail":"no"}"#),
        get("/api/auth/me")
            .with(bearer)
            .object(r#"{"id":1,"role":"ADMIN"}"#),
        post("/api/auth/password")
            .with(bearer)
            .json(r#"{"old":"a","new":"b"}"#)
            .status(204),
        get("/api/users").object(r#"[{"id":1},{"id":2}]"#),
        post("/api/users")
            .json(r#"{"name":"Zoë"}"#)
            .status(201)
            .says("Location: /api/users/3")
            .object(r#"{"id":3}"#),
        get("/api/users/3").object(r#"{"id":3}"#),
        put("/api/users/3")
            .json(r#"{"name":"Z"}"#)
            .object(r#"{"id":3,"name":"Z"}"#),
        patch("/api/users/3")
            .json(r#"{"role":"OPERATOR"}"#)
            .object(r#"{"id":3}"#),
        delete("/api/users/3").status(204),
        get("/api/roles").object(r#"["ADMIN","SUPERVISOR","OPERATOR","CLIENT"]"#),
    ]
}

/// Tenants of the app, and flags of its features.
fn clients() -> Vec<Endpoint> {
    vec![
        get("/api/clients").object(r#"[{"client_id":"TEST_A"},{"client_id":"TEST_B"}]"#),
        post("/api/clients")
            .json(r#"{"client_id":"TEST_A","client_name":"Test Client A"}"#)
            .status(201)
            .object("{}"),
        get("/api/clients/TEST_A")
            .with("X-Client-ID: TEST_A")
            .object(r#"{"client_id":"TEST_A"}"#),
        put("/api/clients/TEST_A").json("{}").object("{}"),
        delete("/api/clients/TEST_B")
            .status(202)
            .object(r#"{"job":"j-1"}"#),
        get("/api/clients/TEST_A/config").object(r#"{"shift_hours":8}"#),
        patch("/api/clients/TEST_A/config")
            .sends("application/merge-patch+json", r#"{"shift_hours":null}"#)
            .object("{}"),
        get("/api/flags").object(r#"{"ENABLE_CSV_UPLOAD":true,"ENABLE_REPORTS":false}"#),
        put("/api/flags/ENABLE_REPORTS").json("true").status(204),
        patch("/api/flags")
            .sends(
                "application/json-patch+json",
                r#"[{"op":"replace","path":"/a","value":1}]"#,
            )
            .object("{}"),
        get("/api/settings").says("Vary: X-Client-ID").object("{}"),
        put("/api/settings/theme")
            .sends("text/plain", "dark")
            .status(204),
    ]
}

/// Entries of a grid: read by pages, edited one by one and many at once.
fn production() -> Vec<Endpoint> {
    let many = format!("[{}{{}}]", r#"{"id":1,"units":1200},"#.repeat(2000));
    vec![
        get("/api/production?page=1&size=50&sort=-date")
            .says("X-Total-Count: 4211")
            .says("Link: </api/production?page=2&size=50>; rel=\"next\"")
            .object("[]"),
        get("/api/production?page=85&size=50").object("[]"),
        get("/api/production?filter[line]=3&filter[shift]=").object("[]"),
        get("/api/production?from=2026-01-01T00%3A00%3A00%2B01%3A00&to=").object("[]"),
        get("/api/production?q=Z%C3%BCrich%20%E2%9C%93&q=2").object(r#"[{"site":"Zürich ✓"}]"#),
        get("/api/production/17")
            .says("ETag: \"17-3\"")
            .object(r#"{"id":17}"#),
        post("/api/production")
            .json(r#"{"units":1}"#)
            .status(201)
            .says("Location: /api/production/4212")
            .object(r#"{"id":4212}"#),
        put("/api/production/17")
            .json(r#"{"units":2}"#)
            .with("If-Match: \"17-3\"")
            .says("ETag: \"17-4\"")
            .object(r#"{"id":17}"#),
        patch("/api/production/17")
            .json(r#"{"units":3}"#)
            .says("ETag: \"17-5\"")
            .object(r#"{"id":17}"#),
        delete("/api/production/17")
            .with("Prefer: return=minimal")
            .status(204)
            .says("Preference-Applied: return=minimal"),
        put("/api/production/bulk")
            .json(&many)
            .object(r#"{"updated":2000}"#),
        patch("/api/production/bulk")
            .json(&many)
            .status(207)
            .object(r#"{"updated":1999,"failed":[17]}"#),
        delete("/api/production/bulk")
            .json(r#"{"ids":[1,2,3]}"#)
            .object(r#"{"deleted":3}"#),
        post("/api/production/search")
            .json(r#"{"where":{"line":{"in":[1,2]}},"order":["-date"]}"#)
            .object("[]"),
        post("/api/production/paste")
            .sends("text/tab-separated-values", "1\t2\t3\n4\t5\t6\n")
            .object(r#"{"cells":6}"#),
        post("/api/production/undo")
            .with("Content-Length: 0")
            .status(204),
        get("/api/downtime").object("[]"),
        post("/api/downtime").json("{}").status(201).object("{}"),
        get("/api/attendance?date=2026-01-02").object("[]"),
        put("/api/attendance/bulk").json("[]").object("{}"),
        get("/api/quality/defects").object("[]"),
        post("/api/quality/defects")
            .json(r#"{"code":"D7"}"#)
            .status(201)
            .object("{}"),
        get("/api/work-orders/WO-1").object("{}"),
        get("/api/holds").object("[]"),
    ]
}

/// Figures, as single answers and as streams.
fn figures() -> Vec<Endpoint> {
    let events = "event: kpi\nid: 1\ndata: {\"oee\":0.81}\n\n: still here\n\nevent: kpi\nid: 2\ndata: {\"oee\":0.82}\n\n";
    vec![
        get("/api/kpi/dashboard").object(r#"{"oee":0.81}"#),
        get("/api/kpi/efficiency?client=TEST_A&days=30").object("{}"),
        get("/api/kpi/otd").object("{}"),
        get("/api/kpi/ppm").object("{}"),
        get("/api/kpi/absenteeism").object("{}"),
        get("/api/kpi/calculate/17").object("{}"),
        post("/api/kpi/simulate")
            .json(r#"{"units":[1,2,3]}"#)
            .object(r#"{"oee":0.8}"#),
        get("/api/kpi/live")
            .with("Accept: text/event-stream")
            .says("Cache-Control: no-cache")
            .gives("text/event-stream", events)
            .in_parts(37),
        get("/api/kpi/log")
            .gives("application/x-ndjson", "{\"n\":1}\n".repeat(400))
            .in_parts(8),
        get("/api/kpi/trend")
            .gives("application/json", format!("[{}0]", "0.81,".repeat(40_000)))
            .in_parts(4096),
        get("/api/kpi/packed")
            .with("Accept-Encoding: gzip")
            .says("Content-Encoding: gzip")
            .says("Vary: Accept-Encoding")
            .object("")
            .packed(),
        post("/api/kpi/packed")
            .sends("application/json", PACKED)
            .with("Content-Encoding: gzip")
            .object("{}"),
    ]
}

/// Files up and down.
fn files() -> Vec<Endpoint> {
    let table = ROW.repeat(60_000);
    let form = |rows: usize| {
        format!(
            "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"production é.csv\"\r\n\
             Content-Type: text/csv\r\n\r\n{}\r\n--edge\r\nContent-Disposition: form-data; name=\"client\"\r\n\r\nTEST_A\r\n--edge--\r\n",
            ROW.repeat(rows)
        )
    };
    let kind = "multipart/form-data; boundary=edge";
    vec![
        get("/api/production/export.csv")
            .says("Content-Disposition: attachment; filename=\"export.csv\"")
            .gives(CSV, table.clone()),
        get("/api/production/export.csv?stream=1")
            .gives(CSV, table.clone())
            .in_parts(16_384),
        get("/api/production/export.csv?old=1")
            .gives(CSV, ROW)
            .until_close(),
        get("/api/reports/7.pdf")
            .says("Content-Disposition: attachment; filename*=UTF-8''Bericht%20%C3%BC.pdf")
            .gives(
                "application/pdf",
                b"%PDF-1.7\n\xe2\xe3\xcf\xd3\n%%EOF".to_vec(),
            ),
        post("/api/production/csv-upload")
            .sends(kind, form(3))
            .object(r#"{"rows":3}"#),
        post("/api/production/csv-upload?large=1")
            .sends(kind, form(30_000))
            .object(r#"{"rows":30000}"#),
        post("/api/production/csv-upload?parts=1")
            .sends(CSV, ROW.repeat(5000))
            .with("Transfer-Encoding: chunked")
            .status(202)
            .object("{}"),
        post("/api/attachments")
            .sends(
                "application/octet-stream",
                (0..=255).collect::<Vec<u8>>().repeat(300),
            )
            .status(201)
            .object("{}"),
        put("/api/attachments/1")
            .sends("image/png", b"\x89PNG\r\n\x1a\n\0\0".to_vec())
            .status(204),
        get("/api/attachments/1").gives("image/png", b"\x89PNG\r\n\x1a\n\0\0".to_vec()),
        get("/static/app.css")
            .says("Cache-Control: public, max-age=31536000, immutable")
            .gives("text/css", "a { color: red }\n".repeat(90)),
        get("/").gives(
            "text/html; charset=utf-8",
            "<!doctype html><title>KPI – Übersicht</title>\n",
        ),
    ]
}

/// Conditions and ranges.
fn conditional() -> Vec<Endpoint> {
    let part = || {
        get("/api/attachments/2")
            .says("Accept-Ranges: bytes")
            .says("ETag: \"a2\"")
    };
    vec![
        get("/api/quality/codes")
            .with("If-None-Match: \"c7\"")
            .says("ETag: \"c7\"")
            .says("Cache-Control: no-cache")
            .status(304),
        get("/api/quality/codes")
            .with("If-None-Match: W/\"c6\", \"c5\"")
            .says("ETag: W/\"c7\"")
            .object("[]"),
        get("/api/quality/codes")
            .with("If-Modified-Since: Fri, 02 Jan 2026 10:00:00 GMT")
            .status(304),
        part()
            .with("Range: bytes=10-19")
            .status(206)
            .says("Content-Range: bytes 10-19/100")
            .gives("text/plain", "0123456789"),
        part()
            .with("Range: bytes=-5")
            .status(206)
            .says("Content-Range: bytes 95-99/100")
            .gives("text/plain", "56789"),
        part()
            .with("Range: bytes=200-")
            .status(416)
            .says("Content-Range: bytes */100")
            .object("{}"),
        part().with("Range: bytes=0-1,5-6").status(206).gives(
            "multipart/byteranges; boundary=b",
            "--b\r\n\r\n01\r\n--b\r\n\r\n56\r\n--b--\r\n",
        ),
        put("/api/quality/codes")
            .json("[]")
            .with("If-Match: \"old\"")
            .status(412)
            .object("{}"),
        post("/api/quality/codes")
            .json("{}")
            .status(428)
            .object("{}"),
    ]
}

/// What is refused, moved or broken by the app itself.
fn refusals() -> Vec<Endpoint> {
    let says = |status: u16| {
        let target = format!("/api/answers/{status}");
        let body = format!(r#"{{"detail":"the app says {status}"}}"#);
        get(&target).status(status).object(&body)
    };
    let moved = |status: u16, to: &str| {
        get(&format!("/api/moved/{status}"))
            .status(status)
            .says(&format!("Location: {to}"))
    };
    let mut all: Vec<Endpoint> = [
        400, 402, 403, 404, 405, 406, 409, 410, 415, 418, 422, 423, 451, 500, 501, 502, 504, 507,
    ]
    .map(says)
    .into();
    all.extend([
        says(401).says("WWW-Authenticate: Bearer error=\"invalid_token\""),
        says(429).says("Retry-After: 30"),
        says(503).says("Retry-After: Fri, 02 Jan 2026 10:00:00 GMT"),
        moved(301, "/api/production"),
        moved(302, "https://elsewhere.example/a?b=c#d"),
        moved(303, "../clients"),
        moved(307, "/login?next=%2F"),
        moved(308, "/api/kpi/"),
    ]);
    all
}

/// Forms of requests and answers that proxies have been known to change.
fn forms_of_http() -> Vec<Endpoint> {
    let long = "v".repeat(8000);
    vec![
        Endpoint::new("HEAD", "/api/production/export.csv").gives(CSV, ROW.repeat(9)),
        Endpoint::new("HEAD", "/api/answers/404")
            .status(404)
            .object("{}"),
        Endpoint::new("OPTIONS", "/api/production")
            .status(204)
            .says("Allow: GET, POST, OPTIONS"),
        Endpoint::new("OPTIONS", "/api/clients")
            .with("Origin: https://partner.example")
            .with("Access-Control-Request-Method: PUT")
            .says("Access-Control-Allow-Origin: https://partner.example")
            .says("Access-Control-Allow-Methods: GET, PUT")
            .status(204),
        get("/api/echo/fields")
            .with(&format!("X-Long: {long}"))
            .object("{}"),
        get("/api/echo/answer-fields")
            .says(&format!("X-Long: {long}"))
            .object("{}"),
        get("/api/echo/two")
            .says("Link: </a>; rel=a")
            .says("Link: </b>; rel=b")
            .object("{}"),
        get("/api/echo/cookies")
            .says("Set-Cookie: app=1; Path=/; HttpOnly")
            .says("Set-Cookie: theme=dark; Max-Age=60")
            .object("{}"),
        get("/api/echo/empty").gives("text/plain", ""),
        get("/api/echo/empty-parts")
            .gives("text/plain", "")
            .in_parts(1),
        get(&format!("/api/echo/query?{}", "a=1&".repeat(900))).object("{}"),
        get("/api/echo/marks?a=%26%3D%23%3F&b=a+b&c&=d&&e=%00").object("{}"),
        get("/api/echo/tilde~user/a%20b/(c)/d,e=g:h@i").object("{}"),
        post("/api/echo/nothing").json("").object("{}"),
        get("/api/echo/none").status(204).says("X-Own: kept"),
    ]
}

impl Endpoint {
    fn packed(mut self) -> Self {
        self.answer = PACKED.to_vec();
        self
    }
}

/// The application, on loopback until the program ends.
#[derive(Debug)]
pub struct App {
    addr: SocketAddr,
}

impl App {
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it opens a socket")]
    pub fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(stream));
            }
        });
        Self { addr }
    }

    /// Returns the address for `upstream`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
}

fn serve(stream: TcpStream) {
    let endpoints = all();
    let mut reader = BufReader::new(stream);
    while let Some(seen) = read_request(&mut reader) {
        let known = endpoints.iter().find(|endpoint| endpoint.is(&seen));
        let missing = get("/").status(599).gives("text/plain", "no such endpoint");
        let endpoint = known.unwrap_or(&missing);
        let done = endpoint.framing == Framing::Close;
        if write(reader.get_mut(), &seen, endpoint).is_err() || done {
            return;
        }
    }
}

/// Fields of a request that an app goes by.
const READ: [&str; 14] = [
    "accept",
    "access-control-request-method",
    "authorization",
    "content-encoding",
    "content-type",
    "cookie",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "origin",
    "prefer",
    "range",
    "x-client-id",
    "x-long",
];

fn saw(seen: &Seen) -> String {
    let sum = |bytes: &[u8]| {
        bytes.iter().fold(7_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u32::from(*byte))
        })
    };
    let fields =
        READ.map(|name| format!("{name}={}", sum(seen.values(name).join(", ").as_bytes())));
    let (method, target) = (
        seen.line.split(' ').next().unwrap_or_default(),
        seen.target(),
    );
    let (bytes, body) = (seen.body.len(), sum(&seen.body));
    let target: String = target.chars().take(300).collect();
    format!("{method} {target} {bytes}/{body} {}", fields.join(" "))
}

fn write(stream: &mut TcpStream, seen: &Seen, endpoint: &Endpoint) -> std::io::Result<()> {
    let mut head = format!(
        "HTTP/1.1 {} Said\r\nX-Saw: {}\r\n",
        endpoint.status,
        saw(seen)
    );
    for field in &endpoint.says {
        head += &format!("{field}\r\n");
    }
    let bodiless = matches!(endpoint.status, 204 | 304);
    let body = &endpoint.answer;
    match endpoint.framing {
        _ if bodiless => {}
        Framing::Length => head += &format!("Content-Length: {}\r\n", body.len()),
        Framing::Chunks(_) => head += "Transfer-Encoding: chunked\r\n",
        Framing::Close => head += "Connection: close\r\n",
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    if bodiless || endpoint.method == "HEAD" {
        return Ok(());
    }
    let Framing::Chunks(bytes) = endpoint.framing else {
        return stream.write_all(body);
    };
    for part in body.chunks(bytes) {
        stream.write_all(format!("{:x}\r\n", part.len()).as_bytes())?;
        stream.write_all(part)?;
        stream.write_all(b"\r\n")?;
    }
    stream.write_all(b"0\r\n\r\n")
}
