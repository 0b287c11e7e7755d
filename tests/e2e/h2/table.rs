//! A row a case of h2spec: what is sent, what h2spec takes for a pass, and what the gateway does.

use std::fmt;

use postern_tests::cases::*;
use postern_tests::frames::*;

/// What h2spec takes for a pass.
#[derive(Clone, Copy, Debug)]
pub enum Accepts {
    /// The gateway's settings are the first it says.
    Greeting,
    /// Its settings are acknowledged.
    Acknowledged,
    /// The head of an answer on stream 1.
    Answer,
    /// A ping is answered with what it carried.
    Pong,
    /// As above, or the connection is closed.
    PongOrClosed,
    /// The ping of the case is answered.
    Ponged,
    /// A frame of data with so many bytes, no more and no less.
    Data(usize),
    /// A GOAWAY with one of these codes, or the connection is closed.
    ConnectionError(&'static [u32]),
    /// As above, or a reset with one of these codes.
    StreamError(&'static [u32]),
    /// The connection is closed.
    Closed,
    /// A GOAWAY, whatever its code.
    GoAway,
}

/// What the gateway does, exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// What is expected, and the connection serves the next request.
    Serve,
    /// A GOAWAY with this code; then the connection is closed.
    End(u32),
    /// A reset of a stream with this code; the connection lives on.
    Reset(u32),
    /// The connection is closed without a word, as RFC 9113 section 3.4 permits.
    Close,
}

impl Accepts {
    /// Tells whether h2spec calls this a pass.
    pub fn passes(self, does: Does) -> bool {
        match (self, does) {
            (
                Self::Greeting
                | Self::Acknowledged
                | Self::Answer
                | Self::Pong
                | Self::PongOrClosed
                | Self::Ponged
                | Self::Data(_),
                Does::Serve,
            ) => true,
            // whatever the code says, the connection is closed then
            (
                Self::PongOrClosed | Self::ConnectionError(_) | Self::StreamError(_) | Self::Closed,
                Does::End(_) | Does::Close,
            )
            | (Self::GoAway, Does::End(_)) => true,
            (Self::StreamError(codes), Does::Reset(code)) => codes.contains(&code),
            _ => false,
        }
    }

    /// Tells whether the gateway names the very code that the standard names.
    pub fn names(self, does: Does) -> bool {
        match (self, does) {
            (Self::ConnectionError(codes) | Self::StreamError(codes), Does::End(code)) => {
                codes.contains(&code)
            }
            _ => self.passes(does),
        }
    }
}

/// A step of a case.
#[derive(Clone, Debug)]
enum Step {
    Say(Vec<u8>),
    /// Waits until the answer on stream 1 is whole.
    Answered,
    /// Waits until settings are acknowledged.
    Acknowledged,
    /// Waits for a frame of data, which must have so many bytes.
    Data(usize),
}

/// One case.
#[derive(Clone)]
pub struct Case {
    /// Its number, as h2spec counts.
    pub id: &'static str,
    says: &'static str,
    steps: Vec<Step>,
    pub accepts: Accepts,
    pub does: Does,
    /// What it does instead when the answer is ahead of the frame, or behind it, or when what it said before it closed
    /// is lost because bytes were unread.
    pub or: Option<Does>,
    /// Whether the case says the preface itself.
    bare: bool,
    /// Why the code is another than the standard's.
    pub because: Option<&'static str>,
    /// A field that the app must have got.
    field: Option<(&'static str, &'static str)>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, says, .. } = self;
        let Self { accepts, does, .. } = self;
        write!(f, "{id}, {says}: {does:?}, h2spec takes {accepts:?}")
    }
}

/// Makes a row.
pub fn row(
    id: &'static str,
    says: &'static str,
    bytes: impl Into<Vec<u8>>,
    accepts: Accepts,
    does: Does,
) -> Case {
    Case {
        id,
        says,
        steps: vec![Step::Say(bytes.into())],
        accepts,
        does,
        or: None,
        bare: false,
        because: None,
        field: None,
    }
}

impl Case {
    /// Says the preface and settings itself.
    pub fn bare(mut self) -> Self {
        self.bare = true;
        self
    }

    pub fn then(mut self, bytes: Vec<u8>) -> Self {
        self.steps.push(Step::Say(bytes));
        self
    }

    pub fn answered(mut self) -> Self {
        self.steps.push(Step::Answered);
        self
    }

    pub fn acknowledged(mut self) -> Self {
        self.steps.push(Step::Acknowledged);
        self
    }

    pub fn data(mut self, bytes: usize) -> Self {
        self.steps.push(Step::Data(bytes));
        self
    }

    /// Says what the gateway does instead, as [`Self::or`] tells.
    pub fn or(mut self, does: Does) -> Self {
        self.or = Some(does);
        self
    }

    /// Says why the code is another than the standard's.
    pub fn because(mut self, why: &'static str) -> Self {
        self.because = Some(why);
        self
    }

    /// Says what the app must have got.
    pub fn reaches(mut self, name: &'static str, value: &'static str) -> Self {
        self.field = Some((name, value));
        self
    }
}

/// What comes, as far as a case asks.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Settings,
    Acknowledged,
    Head { stream: u32, status: Option<u16> },
    Data { stream: u32, bytes: usize },
    Pong(Vec<u8>),
    Reset(u32),
    End(u32),
    Closed,
    Silence,
    Other,
}

/// One connection of one case.
struct Run {
    wire: Wire,
    came: Vec<Event>,
    /// Whether the answer on stream 1 is whole.
    whole: bool,
}

impl Run {
    fn next(&mut self) -> &Event {
        let event = match self.wire.next_frame() {
            Err(_) => Event::Silence,
            Ok(None) => Event::Closed,
            Ok(Some(frame)) => {
                let ends = matches!(frame.kind, DATA | HEADERS) && frame.has(END_STREAM);
                self.whole |= ends && frame.stream == 1;
                event(&frame)
            }
        };
        self.came.push(event);
        &self.came[self.came.len() - 1]
    }

    /// Reads on until something is so, or nothing more comes; tells which.
    fn until(&mut self, holds: impl Fn(&Event) -> bool) -> bool {
        loop {
            let event = self.next();
            if holds(event) {
                return true;
            }
            if matches!(event, Event::Closed | Event::Silence) {
                return false;
            }
        }
    }

    /// Reads on to a GOAWAY, a reset or what `good` wants.
    fn decided(&mut self, good: impl Fn(&Event) -> bool) -> bool {
        self.until(|event| good(event) || matches!(event, Event::End(_) | Event::Reset(_)));
        self.came.last().is_some_and(good)
    }

    fn step(&mut self, step: &Step) -> bool {
        match step {
            Step::Say(bytes) => {
                self.wire.send(bytes);
                true
            }
            Step::Answered => {
                while !self.whole {
                    if matches!(self.next(), Event::Closed | Event::Silence) {
                        return false;
                    }
                }
                true
            }
            Step::Acknowledged => self.decided(|event| *event == Event::Acknowledged),
            Step::Data(bytes) => self.data(*bytes),
        }
    }

    /// The next frame of data that holds any, or ends the answer, has so many bytes.
    fn data(&mut self, wanted: usize) -> bool {
        self.decided(|event| matches!(event, Event::Data { bytes, .. } if *bytes > 0))
            && matches!(self.came.last(), Some(Event::Data { stream: 1, bytes }) if *bytes == wanted)
    }

    fn pong(&mut self, asked: &[u8; 8]) -> bool {
        self.wire.send(&frame(PING, 0, 0, asked));
        // no other ping of ours was to be answered
        self.decided(|event| matches!(event, Event::Pong(_)))
            && matches!(self.came.last(), Some(Event::Pong(with)) if with == asked)
    }

    fn answer(&mut self, on: u32) -> bool {
        self.decided(|event| matches!(event, Event::Head { .. }))
            && matches!(self.came.last(), Some(Event::Head { stream, status: Some(200) }) if *stream == on)
    }

    fn does(&mut self, case: &Case, scene: &Scene) -> bool {
        let could = |event: &Event| {
            let all = [Some(case.does), case.or];
            all.iter().flatten().any(|does| match (does, event) {
                (Does::End(code), Event::End(came)) => code == came,
                (Does::Reset(code), Event::Reset(came)) => code == came,
                (Does::Close, Event::Closed) => true,
                _ => false,
            })
        };
        if case.does == Does::Serve {
            return self.serves(case.accepts, scene);
        }
        if !self.decided(could) {
            return false;
        }
        match self.came.last() {
            Some(Event::End(_)) => self.until(|event| *event == Event::Closed),
            Some(Event::Reset(_)) => self.pong(b"are here"),
            _ => true,
        }
    }

    fn serves(&mut self, accepts: Accepts, scene: &Scene) -> bool {
        let good = match accepts {
            Accepts::Greeting => *self.next() == Event::Settings,
            Accepts::Acknowledged => self.decided(|event| *event == Event::Acknowledged),
            Accepts::Answer => self.answer(1),
            Accepts::Pong | Accepts::PongOrClosed => self.pong(b"are here"),
            Accepts::Ponged => self.decided(|event| matches!(event, Event::Pong(_))),
            Accepts::Data(bytes) => self.data(bytes),
            Accepts::ConnectionError(_)
            | Accepts::StreamError(_)
            | Accepts::Closed
            | Accepts::GoAway => false,
        };
        const NEXT: u32 = 1001;
        self.wire.send(&scene.ask(NEXT));
        good && self.until(|event| {
            matches!(
                event,
                Event::Head {
                    stream: NEXT,
                    status: Some(200)
                }
            )
        })
    }
}

fn event(frame: &Frame) -> Event {
    let Frame { kind, stream, .. } = *frame;
    match kind {
        SETTINGS if frame.has(ACK) => Event::Acknowledged,
        SETTINGS => Event::Settings,
        HEADERS => Event::Head {
            stream,
            status: frame.status(),
        },
        DATA => Event::Data {
            stream,
            bytes: frame.payload.len(),
        },
        PING if frame.has(ACK) => Event::Pong(frame.payload.clone()),
        RST_STREAM => Event::Reset(frame.number()),
        GOAWAY => Event::End(frame.number()),
        _ => Event::Other,
    }
}

/// Runs rows, each on a connection of its own; tells all that came out otherwise.
pub fn all_pass(scene: &Scene, cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        let wire = if case.bare {
            scene.bare()
        } else {
            scene.wire()
        };
        let mut run = Run {
            wire,
            came: Vec::new(),
            whole: false,
        };
        let before = scene.recorder.seen().len();
        let good = case.steps.iter().all(|step| run.step(step)) && run.does(case, scene);
        let seen = scene.recorder.seen();
        let reached = case.field.is_none_or(|(name, value)| {
            seen[before..]
                .iter()
                .any(|seen| seen.values(name) == [value])
        });
        if !good || !reached {
            wrong.push(format!("{case:?}, reached: {reached}, came {:?}", run.came));
        }
    }
    let seen = scene.recorder.seen();
    let wrong_heads = seen
        .iter()
        .filter(|seen| !seen.values("x-wrong").is_empty());
    assert!(
        wrong.is_empty() && wrong_heads.count() == 0,
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

/// Padding: its length, the payload, zeros.
pub fn padded(length: u8, payload: &[u8], zeros: usize) -> Vec<u8> {
    [&[length], payload, &vec![0; zeros]].concat()
}

/// On which stream another depends, and its weight less one.
pub fn weight(on: u32, weight: u8) -> Vec<u8> {
    [&on.to_be_bytes()[..], &[weight]].concat()
}
