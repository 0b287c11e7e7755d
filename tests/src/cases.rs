//! Cases of HTTP/2 as a table: bytes, and what must come of them.

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::{Duration, Instant};

use crate::curl::{Client, host};
use crate::frames::*;
use crate::gateway::Gateway;
use crate::upstream::Recorder;

pub const PROTOCOL: u32 = 1;
pub const FLOW_CONTROL: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE: u32 = 6;
pub const REFUSED: u32 = 7;
pub const COMPRESSION: u32 = 9;
pub const CALM: u32 = 11;
pub const LIMIT: Duration = crate::wait::PATIENCE;
/// A ping of ours.
pub const ASKED: &[u8] = b"postern!";

/// A gateway before a recorder, and the requests of demo, who is signed in.
#[derive(Debug)]
pub struct Scene {
    pub recorder: Recorder,
    pub gateway: Gateway,
    asks: Asks,
}

/// Requests of one person to one host.
#[derive(Clone, Debug)]
pub struct Asks {
    pub cookie: String,
    pub authority: String,
}

impl Deref for Scene {
    type Target = Asks;

    fn deref(&self) -> &Asks {
        &self.asks
    }
}

impl Scene {
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it starts a gateway")]
    pub fn new() -> Self {
        let recorder = Recorder::new();
        let gateway = Gateway::demo_before(&recorder.url());
        let client = Client::new(&gateway);
        let page = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
        assert_eq!(page.status, 200, "{page:?}");
        let name = host(&gateway.facts.app);
        let cookie = client.cookie(name, "__Host-postern").unwrap();
        let authority = format!("{name}:{}", gateway.https_port());
        Self {
            recorder,
            asks: Asks {
                cookie: format!("__Host-postern={cookie}"),
                authority,
            },
            gateway,
        }
    }

    #[must_use]
    pub fn wire(&self) -> Wire {
        let to = SocketAddr::from(([127, 0, 0, 1], self.gateway.https_port()));
        let name = host(&self.gateway.facts.app);
        Wire::open(to, name, &self.gateway.facts.ca_root, LIMIT)
    }

    #[must_use]
    pub fn bare(&self) -> Wire {
        let to = SocketAddr::from(([127, 0, 0, 1], self.gateway.https_port()));
        let name = host(&self.gateway.facts.app);
        Wire::bare(to, name, &self.gateway.facts.ca_root, LIMIT)
    }
}

impl Asks {
    /// The fields of a request of demo's, by this method and to this path.
    #[must_use]
    pub fn fields<'a>(&'a self, method: &'a str, path: &'a str) -> Vec<(&'a str, &'a str)> {
        vec![
            (":method", method),
            (":scheme", "https"),
            (":path", path),
            (":authority", &self.authority),
            ("cookie", &self.cookie),
        ]
    }

    #[must_use]
    pub fn get(&self) -> Vec<u8> {
        fields(&self.fields("GET", "/p"))
    }

    #[must_use]
    pub fn post(&self) -> Vec<u8> {
        fields(&self.fields("POST", "/p"))
    }

    /// A whole request without a body on this stream.
    #[must_use]
    pub fn ask(&self, stream: u32) -> Vec<u8> {
        frame(HEADERS, END_HEADERS | END_STREAM, stream, &self.get())
    }

    /// The head of a request whose body follows.
    #[must_use]
    pub fn begin(&self, stream: u32) -> Vec<u8> {
        frame(HEADERS, END_HEADERS, stream, &self.post())
    }

    /// A request with these fields in place of, and behind, the usual ones.
    #[must_use]
    pub fn with(&self, drop: &[&str], more: &[(&str, &str)]) -> Vec<u8> {
        let mut all = self.fields("GET", "/p");
        all.retain(|(name, _)| !drop.contains(name));
        all.extend_from_slice(more);
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &fields(&all))
    }

    /// A request whose head is this block behind the usual fields.
    #[must_use]
    pub fn block(&self, before: &[u8], behind: &[u8]) -> Vec<u8> {
        let block = [before, &self.get(), behind].concat();
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
    }
}

/// What must come of a case. The general code PROTOCOL_ERROR may stand for every other, and the library writes it for
/// whatever it cannot read. Source: RFC 9113 section 5.4.
#[derive(Clone, Copy, Debug)]
pub enum Must {
    /// The connection ends with one of these codes.
    End(&'static [u32]),
    /// The stream is reset with one of these codes, or the connection ends with one.
    Reset(&'static [u32]),
    /// A reset or an end as above, or an answer that says 400: the standard permits both.
    Refuse(&'static [u32]),
    /// The request on stream 1 is answered 200, and the connection serves on.
    Serve,
    /// Nothing but that the connection serves on.
    Ignore,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Came {
    End(u32),
    Reset(u32),
    Status(u16),
    Pong,
    Closed,
    Silence,
}

/// Reads on to the first thing that decides a case.
#[must_use]
pub fn reaction(wire: &mut Wire, wanted: impl Fn(&Came) -> bool) -> Vec<Came> {
    let mut all = Vec::new();
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        let came = match wire.next_frame() {
            Err(_) => Came::Silence,
            Ok(None) => Came::Closed,
            Ok(Some(frame)) => match frame.kind {
                GOAWAY => Came::End(frame.number()),
                RST_STREAM => Came::Reset(frame.number()),
                HEADERS => match frame.status() {
                    Some(status) => Came::Status(status),
                    None => continue,
                },
                PING if frame.has(ACK) && frame.payload == ASKED => Came::Pong,
                _ => continue,
            },
        };
        let over = matches!(came, Came::Closed | Came::Silence) || wanted(&came);
        all.push(came);
        if over {
            break;
        }
    }
    all
}

impl Must {
    fn met(self, came: &Came) -> bool {
        match (self, came) {
            (Self::End(codes) | Self::Reset(codes) | Self::Refuse(codes), Came::End(code))
            | (Self::Reset(codes) | Self::Refuse(codes), Came::Reset(code)) => {
                codes.contains(code) || *code == PROTOCOL
            }
            (Self::Refuse(_), Came::Status(status)) => *status == 400,
            (Self::Serve, Came::Status(status)) => *status == 200,
            (Self::Ignore, Came::Pong) => true,
            _ => false,
        }
    }
}

/// Runs a table; tells every case that came out otherwise.
pub fn run(scene: &Scene, cases: &[(&str, Vec<u8>, Must)]) {
    let mut wrong = Vec::new();
    for (name, bytes, must) in cases {
        let before = scene.recorder.seen().len();
        let mut wire = scene.wire();
        wire.send(bytes);
        if matches!(must, Must::Ignore) {
            wire.send(&frame(PING, 0, 0, ASKED));
        }
        let all = reaction(&mut wire, |came| {
            must.met(came) || matches!(came, Came::End(_))
        });
        let mut good = all.last().is_some_and(|came| must.met(came));
        if matches!(must, Must::Serve | Must::Ignore) && good {
            wire.send(&scene.ask(101));
            let more = reaction(&mut wire, |came| {
                matches!(came, Came::Status(_) | Came::End(_))
            });
            good = more.last() == Some(&Came::Status(200));
        } else if matches!(must, Must::End(_) | Must::Reset(_) | Must::Refuse(_)) {
            if matches!(all.last(), Some(Came::End(_))) {
                // what is ended is closed, too
                let rest = reaction(&mut wire, |_| false);
                good &= rest.last() == Some(&Came::Closed);
            }
            let after = scene.recorder.seen();
            let whole = after[before..].iter().filter(|seen| seen.target() == "/p");
            // a request that was whole before the error may have gone its way; what is wrong must not
            let bad = whole
                .filter(|seen| !seen.values("x-wrong").is_empty())
                .count();
            good &= bad == 0;
        }
        if !good {
            wrong.push(format!("{name}: {must:?}, came {all:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}
