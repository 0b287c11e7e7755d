//! An app whose every answer follows from the request, so that two ways to it can be compared.

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::upstream::{Seen, read_request};

/// It listens on loopback until the program ends.
#[derive(Debug)]
pub struct Origin {
    addr: SocketAddr,
    counts: Arc<Mutex<HashMap<String, usize>>>,
}

/// An answer before its framing.
struct Answer {
    status: u16,
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Whether the end of the connection is the end of the body.
    until_close: bool,
    chunked: bool,
}

impl Origin {
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it opens a socket")]
    pub fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let counts = Arc::new(Mutex::new(HashMap::new()));
        let for_all = Arc::clone(&counts);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let counts = Arc::clone(&for_all);
                thread::spawn(move || serve(stream, &counts));
            }
        });
        Self { addr, counts }
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Forgets how often each target was asked for.
    pub fn forget(&self) {
        self.counts.lock().unwrap().clear();
    }
}

fn serve(stream: TcpStream, counts: &Mutex<HashMap<String, usize>>) {
    let mut reader = BufReader::new(stream);
    while let Some(seen) = read_request(&mut reader) {
        let count = {
            let mut counts = counts.lock().unwrap();
            let count = counts.entry(seen.target().to_owned()).or_default();
            *count += 1;
            *count
        };
        let answer = answer(&seen, count);
        let done = answer.until_close;
        if write(reader.get_mut(), &seen, &answer).is_err() || done {
            return;
        }
    }
}

fn answer(seen: &Seen, count: usize) -> Answer {
    let path = seen.target().split('?').next().unwrap_or_default();
    let (status, kind, body) = match path {
        _ if path.starts_with("/status/") => {
            let status = path.trim_start_matches("/status/").parse().unwrap_or(500);
            (status, "text/plain", format!("the app says {status}\n"))
        }
        _ if path.ends_with("/counted") => {
            (200, "application/json", format!("{{\"hit\":{count}}}"))
        }
        _ if path.starts_with("/kind/") => (
            200,
            path.trim_start_matches("/kind/"),
            "what a feed or a font may hold\n".repeat(100),
        ),
        _ if path.ends_with("/data") => (200, "application/json", "{\"k\":1},".repeat(512)),
        _ if path.ends_with("/style") => (200, "text/css", "a { color: red }\n".repeat(200)),
        _ if path.ends_with("/short") => (200, "text/css", "a { color: red }\n".to_owned()),
        _ if path.ends_with("/picture") => (200, "image/png", "not a picture".repeat(200)),
        "/moved" | "/moved/absolute" => (302, "text/html", "moved\n".to_owned()),
        "/page" | "/own" | "/chunked" | "/until-close" => {
            (200, "text/html", format!("<p>{path}</p>\n"))
        }
        "/part" => (200, "text/plain", "0123456789".repeat(10)),
        _ => (200, "text/plain", echo(seen)),
    };
    let mut answer = Answer {
        status,
        fields: vec![("Content-Type", kind.to_owned())],
        body: body.into_bytes(),
        until_close: path == "/until-close",
        chunked: path == "/chunked",
    };
    special(seen, path, &mut answer);
    answer
}

/// What single paths do besides.
fn special(seen: &Seen, path: &str, answer: &mut Answer) {
    let mut field = |name, value: &str| answer.fields.push((name, value.to_owned()));
    match path {
        "/page" => {
            field("ETag", "\"v1\"");
            field("Cache-Control", "no-cache");
            field("Set-Cookie", "app=1; Path=/");
            if seen.values("if-none-match") == ["\"v1\""] {
                answer.status = 304;
            }
        }
        "/own" => {
            for (name, value) in [
                ("X-Frame-Options", "DENY"),
                ("Content-Security-Policy", "default-src 'none'"),
                ("Strict-Transport-Security", "max-age=1"),
                ("Server", "origin"),
                ("X-Powered-By", "origin"),
                ("X-Own", "kept"),
                ("Vary", "Cookie"),
            ] {
                field(name, value);
            }
        }
        "/moved" => field("Location", "/echo?moved"),
        "/moved/absolute" => field("Location", "https://elsewhere.example/echo"),
        "/part" => {
            field("Accept-Ranges", "bytes");
            if seen.values("range") == ["bytes=10-19"] {
                field("Content-Range", "bytes 10-19/100");
                answer.status = 206;
                answer.body.truncate(10);
            }
        }
        _ => {}
    }
}

/// The request as it came, a line for each field, sorted.
fn echo(seen: &Seen) -> String {
    let mut lines: Vec<String> = seen
        .headers
        .iter()
        .map(|(name, value)| format!("{}: {value}\n", name.to_ascii_lowercase()))
        .collect();
    lines.sort();
    let sum = seen.body.iter().fold(7_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(*byte))
    });
    format!(
        "{}\n{}body: {} bytes, {sum}\n",
        seen.line,
        lines.concat(),
        seen.body.len()
    )
}

fn write(stream: &mut TcpStream, seen: &Seen, answer: &Answer) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Said\r\n", answer.status);
    for (name, value) in &answer.fields {
        head += &format!("{name}: {value}\r\n");
    }
    let bodiless = matches!(answer.status, 204 | 304);
    if answer.chunked {
        head += "Transfer-Encoding: chunked\r\n";
    } else if answer.until_close {
        head += "Connection: close\r\n";
    } else if !bodiless {
        head += &format!("Content-Length: {}\r\n", answer.body.len());
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    if bodiless || seen.line.starts_with("HEAD ") {
        return Ok(());
    }
    if !answer.chunked {
        return stream.write_all(&answer.body);
    }
    for part in answer.body.chunks(4) {
        stream.write_all(format!("{:x}\r\n", part.len()).as_bytes())?;
        stream.write_all(part)?;
        stream.write_all(b"\r\n")?;
    }
    stream.write_all(b"0\r\n\r\n")
}
