//! One record and its line in the journal.

use std::fmt::Display;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use policy::Proof;

use super::event::Event;
use super::inputs::{Answer, Inputs};
use super::{Durability, reason};
use crate::clock;
use crate::ids::{DeviceId, SessionId};

/// Longest path in a record, in bytes of UTF-8 before escaping.
pub(super) const PATH_MAX: usize = 1024;
/// Longest other text in a record, in bytes of UTF-8 before escaping.
const TEXT_MAX: usize = 256;
/// Longest text of a justification, in bytes: 200 characters.
const REASON_MAX: usize = 800;

/// One fact for the journal. Texts are capped and escaped when written; secrets have no field.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) event: Event,
    /// One of allow, deny, login, step-up, ok, failed, limited, cut.
    pub(crate) outcome: &'static str,
    /// A code of [`reason`].
    pub(crate) reason: &'static str,
    pub(crate) rule: Option<Arc<str>>,
    pub(crate) user: Option<Arc<str>>,
    pub(crate) device: Option<DeviceId>,
    pub(crate) session: Option<SessionId>,
    pub(crate) source: Option<IpAddr>,
    pub(crate) host: Option<Arc<str>>,
    pub(crate) method: Option<Arc<str>>,
    /// The canonical path; a query or fragment is dropped when written.
    pub(crate) path: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) request_id: Option<Arc<str>>,
    /// Digest of the policy that decided.
    pub(crate) policy: Option<Arc<str>>,
    pub(crate) bytes: Option<u64>,
    pub(crate) ms: Option<u64>,
    pub(crate) detail: Option<String>,
    /// Why the person came, in their own words, where the area asks.
    pub(crate) justification: Option<Arc<str>>,
    /// Such as `D-7K3QXN2A`: what a denied page shows, for `policy explain`.
    pub(crate) code: Option<Arc<str>>,
    /// For decisions of the policy; the record of what became of one has none.
    pub(crate) inputs: Option<Box<Inputs>>,
}

impl Default for Record {
    fn default() -> Self {
        Self::new(Event::AccessDecided, "deny", reason::POLICY)
    }
}

impl Record {
    /// Makes a record that names nothing but what happened.
    pub(crate) const fn new(event: Event, outcome: &'static str, reason: &'static str) -> Self {
        Self {
            event,
            outcome,
            reason,
            rule: None,
            user: None,
            device: None,
            session: None,
            source: None,
            host: None,
            method: None,
            path: None,
            status: None,
            request_id: None,
            policy: None,
            bytes: None,
            ms: None,
            detail: None,
            justification: None,
            code: None,
            inputs: None,
        }
    }

    /// Starts the record of what became of a decision.
    pub(crate) fn sequel(&self, event: Event) -> Self {
        Self {
            event,
            outcome: self.outcome,
            reason: self.reason,
            rule: self.rule.clone(),
            user: self.user.clone(),
            device: self.device,
            session: self.session,
            source: self.source,
            host: self.host.clone(),
            method: self.method.clone(),
            path: self.path.clone(),
            status: self.status,
            request_id: self.request_id.clone(),
            policy: self.policy.clone(),
            bytes: self.bytes,
            ms: self.ms,
            detail: self.detail.clone(),
            justification: None,
            code: None,
            inputs: None,
        }
    }

    /// Tells how the record must reach the disk when nothing else is configured: decisions are
    /// batched if they only allow a read or refuse somebody unknown, everything else is durable.
    pub(crate) fn durability(&self) -> Durability {
        match self.event {
            Event::RequestEnded
            | Event::FlowEnded
            | Event::DnsRefused
            | Event::Limited
            | Event::AuditRead
            | Event::MailFailed => Durability::Batched,
            Event::AccessDecided | Event::FlowDecided => self.decision_durability(),
            Event::SignedIn
            | Event::SignInFailed
            | Event::SignedOut
            | Event::SessionEnded
            | Event::Banned
            | Event::Unbanned
            | Event::UserChanged
            | Event::DeviceChanged
            | Event::FactorChanged
            | Event::PolicyApplied
            | Event::PolicyRejected
            | Event::CertificateChanged
            | Event::CachePurged
            | Event::TokenChanged
            | Event::KeyRotated
            | Event::Started
            | Event::Stopped
            | Event::ClockJumped => Durability::Durable,
        }
    }

    fn decision_durability(&self) -> Durability {
        let reads = !matches!(
            self.method.as_deref(),
            Some("POST" | "PUT" | "PATCH" | "DELETE")
        );
        let durable = match self.outcome {
            "allow" => !reads,
            _ => self.user.is_some(),
        };
        if durable {
            Durability::Durable
        } else {
            Durability::Batched
        }
    }
}

/// A record with its wall time (ms since the UNIX epoch), as the queue holds it.
#[derive(Clone, Debug)]
pub(super) struct Stamped {
    pub(super) at: u64,
    pub(super) record: Record,
    pub(super) sum: Option<Sum>,
}

impl Stamped {
    pub(super) const fn new(at: u64, record: Record) -> Self {
        Self {
            at,
            record,
            sum: None,
        }
    }
}

/// How many like records one line stands for, and when the first and last of them came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) count: u64,
    pub(super) first: u64,
    pub(super) last: u64,
}

/// Appends the record as JSON up to, not including, its `chain` field and the closing brace.
///
/// Every field is always there, `null` where it does not apply, in one order; only a line that
/// stands for several records has `count`, `first` and `last`, only the first of a segment
/// `prev`, and only an allow for which its person gave a reason `justification`. A canonical path is ASCII: one that ends in `…` was cut and cannot be decided again.
///
/// `prev` is given for the first record of a segment: the chain value the segment follows.
pub(super) fn render(out: &mut Vec<u8>, seq: u64, stamped: &Stamped, prev: Option<&str>) {
    let Stamped { at, record, sum } = stamped;
    let mut line = Line { out };
    line.out.extend_from_slice(b"{\"seq\":");
    line.number(seq);
    line.text("time", Some(&clock::rfc3339(*at)), TEXT_MAX);
    line.text("event", Some(record.event.name()), TEXT_MAX);
    line.text("outcome", Some(record.outcome), TEXT_MAX);
    line.text("reason", Some(record.reason), TEXT_MAX);
    line.text("rule", record.rule.as_deref(), TEXT_MAX);
    line.text("user", record.user.as_deref(), TEXT_MAX);
    line.shown("device", record.device);
    line.shown("source", record.source);
    line.text("host", record.host.as_deref(), TEXT_MAX);
    line.text("method", record.method.as_deref(), TEXT_MAX);
    line.text("path", record.path.as_deref().map(bare), PATH_MAX);
    line.count("status", record.status.map(u64::from));
    line.text("request_id", record.request_id.as_deref(), TEXT_MAX);
    line.text("policy", record.policy.as_deref(), TEXT_MAX);
    line.shown("session", record.session);
    line.count("bytes", record.bytes);
    line.count("ms", record.ms);
    line.text("detail", record.detail.as_deref(), TEXT_MAX);
    if record.justification.is_some() {
        line.text("justification", record.justification.as_deref(), REASON_MAX);
    }
    line.text("code", record.code.as_deref(), TEXT_MAX);
    line.inputs(record.inputs.as_deref());
    if let Some(sum) = sum {
        line.count("count", Some(sum.count));
        line.text("first", Some(&clock::rfc3339(sum.first)), TEXT_MAX);
        line.text("last", Some(&clock::rfc3339(sum.last)), TEXT_MAX);
    }
    if prev.is_some() {
        line.text("prev", prev, TEXT_MAX);
    }
}

/// Drops the query and the fragment of a path.
fn bare(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

struct Line<'a> {
    out: &'a mut Vec<u8>,
}

impl Line<'_> {
    fn name(&mut self, name: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    fn number(&mut self, value: u64) {
        // writing to a Vec cannot fail
        drop(write!(self.out, "{value}"));
    }

    fn count(&mut self, name: &str, value: Option<u64>) {
        self.name(name);
        match value {
            Some(value) => self.number(value),
            None => self.null(),
        }
    }

    /// Writes what a decision was taken from, an object of its own.
    fn inputs(&mut self, inputs: Option<&Inputs>) {
        self.name("inputs");
        let Some(inputs) = inputs else {
            return self.null();
        };
        // writing to a Vec cannot fail
        drop(write!(
            self.out,
            "{{\"at\":{},\"tunnel\":{}",
            inputs.at, inputs.tunnel
        ));
        self.text("zones", Some(&inputs.zones), TEXT_MAX);
        self.shown("class", Some(inputs.class.as_str()));
        self.count("mfa_age", inputs.mfa_age.map(u64::from));
        self.count("login_age", inputs.login_age.map(u64::from));
        self.answer("shadow", inputs.shadow.as_ref());
        self.answer("own", inputs.own.as_ref());
        if inputs.by != Proof::SignIn {
            self.text("by", Some(inputs.by.as_str()), TEXT_MAX);
        }
        let headers = inputs.headers.as_ref().map(|set| set.name.as_str());
        let told = [
            ("rate", inputs.rate.as_deref()),
            ("headers", headers),
            ("nearest", inputs.nearest.as_deref()),
        ];
        for (name, value) in told {
            if value.is_some() {
                self.text(name, value, TEXT_MAX);
            }
        }
        if inputs.console {
            self.name("console");
            self.out.extend_from_slice(b"true");
        }
        self.out.push(b'}');
    }

    fn answer(&mut self, name: &str, answer: Option<&Answer>) {
        self.name(name);
        let Some(answer) = answer else {
            return self.null();
        };
        drop(write!(self.out, "{{\"outcome\":\"{}\"", answer.outcome));
        self.text("rule", Some(&answer.rule), TEXT_MAX);
        self.out.push(b'}');
    }

    /// Writes a value whose text form needs no escaping.
    fn shown(&mut self, name: &str, value: Option<impl Display>) {
        self.name(name);
        match value {
            Some(value) => {
                drop(write!(self.out, "\"{value}\""));
            }
            None => self.null(),
        }
    }

    fn text(&mut self, name: &str, value: Option<&str>, max: usize) {
        self.name(name);
        match value {
            Some(value) => {
                self.out.push(b'"');
                escape(self.out, value, max);
                self.out.push(b'"');
            }
            None => self.null(),
        }
    }
}

/// Appends a JSON string body, capped to `max` bytes of input; a cut is marked by `…`.
fn escape(out: &mut Vec<u8>, text: &str, max: usize) {
    let plain = |b: &u8| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\');
    if text.len() <= max && text.as_bytes().iter().all(plain) {
        return out.extend_from_slice(text.as_bytes());
    }
    let mut used = 0;
    for c in text.chars() {
        used += c.len_utf8();
        if used > max {
            out.extend_from_slice("…".as_bytes());
            return;
        }
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', if c == '"' { b'"' } else { b'\\' }]),
            c if is_deceptive(c) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    drop(write!(out, "\\u{unit:04x}"));
                }
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Tells whether a character could end a line, move a cursor, reorder or hide text on a screen.
pub(super) fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests;
