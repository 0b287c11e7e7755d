//! Decisions of the past, taken again under another policy.

use std::net::IpAddr;

use crate::canon;
use crate::compile::{BAD_REQUEST, DEFAULT, Policy};
use crate::decide::{Context, Decision, Outcome, Subject};
use crate::ir::{Device, Proto};
use crate::resolve::values::show_duration;

/// What was asked for, as the journal has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditTarget {
    /// A request to an app.
    Http {
        /// Canonical host.
        host: String,
        /// Canonical path.
        path: String,
        /// Method.
        method: String,
    },
    /// A flow of a tunnel device.
    Flow {
        /// Destination.
        dst: IpAddr,
        /// Port; not read for ICMP.
        port: u16,
        /// Transport.
        proto: Proto,
    },
    /// The console.
    Admin,
}

/// The inputs of one recorded decision, and what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditInput {
    /// Sequence number of the record.
    pub seq: u64,
    /// The person; `None` when nobody was signed in.
    pub user: Option<String>,
    /// Source address.
    pub source: IpAddr,
    /// Whether it came through the tunnel.
    pub tunnel: bool,
    /// Seconds since 1970.
    pub unix: i64,
    /// Device class.
    pub device: Device,
    /// Seconds since the last code; `None` when there was none.
    pub mfa_age: Option<u32>,
    /// Seconds since the sign-in.
    pub login_age: u32,
    /// What was asked for.
    pub target: AuditTarget,
    /// The outcome on record.
    pub outcome: Outcome,
    /// The rule on record.
    pub rule: String,
}

impl AuditInput {
    /// Writes the record as a `[[test]]` that expects the same answer again. The time is written in UTC.
    pub fn to_test(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        let mut say = |key: &str, text: &str| parts.push(format!("{key} = {text:?}"));
        if let Some(user) = &self.user {
            say("user", user);
        }
        match self.tunnel {
            true => say("from", "tunnel"),
            false => say("from", &self.source.to_string()),
        }
        if let Ok(at) = jiff::Timestamp::from_second(self.unix) {
            let at = at.to_zoned(jiff::tz::TimeZone::UTC);
            say("at", &format!("{} UTC", at.strftime("%Y-%m-%d %H:%M:%S")));
        }
        say("device", self.device.as_str());
        match self.mfa_age {
            Some(age) => say("mfa", &show_duration(age)),
            None => say("mfa", "none"),
        }
        say("login", &show_duration(self.login_age));
        let to = match &self.target {
            AuditTarget::Http { host, path, method } => format!("{method} https://{host}{path}"),
            AuditTarget::Flow { dst, port, proto } => match (proto, dst) {
                (Proto::Icmp, _) => format!("icmp://{dst}"),
                (Proto::Tcp, IpAddr::V4(_)) => format!("tcp://{dst}:{port}"),
                (Proto::Tcp, IpAddr::V6(_)) => format!("tcp://[{dst}]:{port}"),
                (Proto::Udp, IpAddr::V4(_)) => format!("udp://{dst}:{port}"),
                (Proto::Udp, IpAddr::V6(_)) => format!("udp://[{dst}]:{port}"),
            },
            AuditTarget::Admin => "admin".to_owned(),
        };
        format!(
            "[[test]]\nname = \"record {}\"\nas = {{ {} }}\nto = {to:?}\nexpect = {{ {} = {:?} }}\n",
            self.seq,
            parts.join(", "),
            self.outcome,
            self.rule
        )
    }
}

/// A decision that would not be the same.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ReplayChange {
    /// Sequence number of the record.
    pub seq: u64,
    /// The person; `None` when nobody was signed in.
    pub user: Option<String>,
    /// The outcome on record.
    pub before: Outcome,
    /// The rule on record.
    pub before_rule: String,
    /// The outcome under the candidate.
    pub after: Outcome,
    /// The rule of the candidate.
    pub after_rule: String,
}

/// Decides records again, one by one, and gives those whose outcome changes. A person the candidate does not know,
/// or has switched off, is denied.
pub fn replay<'a>(
    candidate: &'a Policy,
    records: impl Iterator<Item = AuditInput> + 'a,
) -> impl Iterator<Item = ReplayChange> + 'a {
    records.filter_map(|record| {
        let decision = again(candidate, &record);
        (decision.outcome != record.outcome).then(|| ReplayChange {
            seq: record.seq,
            user: record.user,
            before: record.outcome,
            before_rule: record.rule,
            after: decision.outcome,
            after_rule: candidate.rule(decision.rule).id.to_string(),
        })
    })
}

fn again(policy: &Policy, record: &AuditInput) -> Decision {
    let bits = record.user.as_deref().and_then(|user| policy.subject(user));
    if record.user.is_some() && bits.is_none() {
        return Decision::deny(DEFAULT);
    }
    let subject = Subject {
        bits: bits.as_ref(),
        mfa_age: record.mfa_age,
        login_age: record.login_age,
        device: record.device,
    };
    let zone = policy.zone(record.source, record.tunnel);
    let context = Context::new(zone, policy.tick(record.unix));
    match &record.target {
        AuditTarget::Http { host, path, method } => {
            let Ok(host) = canon::host(host) else {
                return Decision::deny(BAD_REQUEST);
            };
            let opts = policy.path_opts(&host);
            let Ok(path) = canon::path_with(path.as_bytes(), opts) else {
                return Decision::deny(BAD_REQUEST);
            };
            policy.decide_http(&subject, &host, &path, method, &context)
        }
        AuditTarget::Flow { dst, port, proto } => {
            policy.decide_flow(&subject, *dst, *port, *proto, &context)
        }
        AuditTarget::Admin => policy.decide_admin(&subject, &context),
    }
}
