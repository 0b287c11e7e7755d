//! Decisions of the past, taken again under another policy.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::canon;
use crate::compile::{BAD_REQUEST, DEFAULT, Policy, SubjectBits};
use crate::decide::{Context, Decision, Outcome, Subject};
use crate::diag::{did_you_mean, show};
use crate::ir::{Device, Proto};
use crate::lane::Proof;
use crate::query::{self, Query, QueryError, QueryField, Target};
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
    Admin {
        /// Method.
        method: String,
    },
}

/// The inputs of one recorded decision, and what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditInput {
    /// Sequence number of the record.
    pub seq: u64,
    /// The person; `None` when nobody was signed in.
    pub user: Option<String>,
    /// By what the person was known.
    pub by: Proof,
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
    /// The rule on record; empty when it is not known whole.
    pub rule: String,
}

impl AuditInput {
    /// Writes the record as a `[[test]]` that expects the same answer again. The time is written in UTC, and a
    /// rule that is not known is not asked for.
    pub fn to_test(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        let mut say = |key: &str, text: &str| parts.push(format!("{key} = {text:?}"));
        if let Some(user) = &self.user {
            say("user", user);
        }
        // neither age is read when nobody is signed in
        let signed_in = self.user.is_some();
        if self.by != Proof::SignIn {
            say("by", self.by.as_str());
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
        match self.mfa_age.filter(|_| signed_in) {
            Some(age) => say("mfa", &show_duration(age)),
            None => say("mfa", "none"),
        }
        if signed_in {
            say("login", &show_duration(self.login_age));
        }
        let expect = match self.rule.as_str() {
            "" => format!("{:?}", self.outcome.as_str()),
            rule => format!("{{ {} = {rule:?} }}", self.outcome),
        };
        format!(
            "[[test]]\nname = \"record {}\"\nas = {{ {} }}\nto = {:?}\nexpect = {expect}\n",
            self.seq,
            parts.join(", "),
            self.target.to_string(),
        )
    }
}

/// As questions write it: `GET https://host/path`, `tcp://ip:port`, `icmp://ip` or `GET admin`.
impl std::fmt::Display for AuditTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http { host, path, method } => write!(f, "{method} https://{host}{path}"),
            Self::Flow { dst, port, proto } => match (proto, dst) {
                (Proto::Icmp, _) => write!(f, "icmp://{dst}"),
                (Proto::Tcp, IpAddr::V4(_)) => write!(f, "tcp://{dst}:{port}"),
                (Proto::Tcp, IpAddr::V6(_)) => write!(f, "tcp://[{dst}]:{port}"),
                (Proto::Udp, IpAddr::V4(_)) => write!(f, "udp://{dst}:{port}"),
                (Proto::Udp, IpAddr::V6(_)) => write!(f, "udp://[{dst}]:{port}"),
            },
            Self::Admin { method } => write!(f, "{method} admin"),
        }
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
    let mut replayer = Replayer::new(candidate);
    records.filter_map(move |record| {
        let decision = replayer.decide(&record);
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

/// Decides recorded questions by one policy, and remembers what it knows of each person.
#[derive(Debug)]
pub struct Replayer<'p> {
    policy: &'p Policy,
    /// People of the policy only, which bounds it.
    people: HashMap<String, SubjectBits>,
}

impl<'p> Replayer<'p> {
    /// Makes one for a policy.
    pub fn new(policy: &'p Policy) -> Self {
        Self {
            policy,
            people: HashMap::new(),
        }
    }

    /// Decides one record as the policy would. A person it does not know, or has switched off, is denied.
    pub fn decide(&mut self, record: &AuditInput) -> Decision {
        let policy = self.policy;
        let Some(user) = record.user.as_deref() else {
            return again(policy, record, None);
        };
        if !self.people.contains_key(user)
            && let Some(bits) = policy.subject(user)
        {
            self.people.insert(user.to_owned(), bits);
        }
        match self.people.get(user) {
            Some(bits) => again(policy, record, Some(bits)),
            None => Decision::deny(DEFAULT),
        }
    }

    /// Decides one record by the rules of this policy for the person as another policy knows them, which tells what
    /// rules change from what people and groups do. Groups that the other one does not have hold whom this one says.
    pub fn decide_as_of(&self, then: &Policy, record: &AuditInput) -> Decision {
        let policy = self.policy;
        let Some(name) = record.user.as_deref() else {
            return again(policy, record, None);
        };
        let was = then
            .ir
            .user(name)
            .and_then(|ix| then.ir.users.get(ix as usize));
        let Some(was) = was.filter(|was| !was.disabled) else {
            return Decision::deny(DEFAULT);
        };
        let user = policy.ir.user(name);
        let now = user.and_then(|ix| policy.ir.users.get(ix as usize));
        let groups = (0u32..).zip(&policy.ir.groups).filter(|(ix, group)| {
            match then.ir.group(group.name.as_str()) {
                Some(at) => was.groups.binary_search(&at).is_ok(),
                None => now.is_some_and(|now| now.groups.binary_search(ix).is_ok()),
            }
        });
        let groups: Vec<u32> = groups.map(|(ix, _)| ix).collect();
        again(policy, record, Some(&policy.subject_with(user, &groups)))
    }
}

fn again(policy: &Policy, record: &AuditInput, bits: Option<&SubjectBits>) -> Decision {
    let subject = Subject {
        bits,
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
            policy.decide_http_by(record.by, &subject, &host, &path, method, &context)
        }
        AuditTarget::Flow { dst, port, proto } => {
            policy.decide_flow(&subject, *dst, *port, *proto, &context)
        }
        AuditTarget::Admin { method } => policy.decide_admin(&subject, method, &context),
    }
}

impl Policy {
    /// Makes the question of a record one of this policy, to be explained.
    ///
    /// # Errors
    /// The record names a person this policy does not know.
    pub fn query_of(&self, record: &AuditInput) -> Result<Query, QueryError> {
        let user = match &record.user {
            Some(name) => Some(self.ir.user(name).ok_or_else(|| QueryError {
                field: QueryField::User,
                title: format!("unknown user `{}`", show(name)),
                help: did_you_mean(name, self.ir.users.iter().map(|user| &user.name)),
                meant: None,
            })?),
            None => None,
        };
        let person = user.and_then(|ix| self.ir.users.get(ix as usize));
        let groups = person.map(|person| person.groups.clone());
        Ok(Query {
            user,
            user_name: record.user.clone(),
            groups: groups.unwrap_or_default(),
            by: record.by,
            bits: record.user.as_deref().and_then(|user| self.subject(user)),
            mfa_age: record.mfa_age,
            login_age: record.login_age,
            device: record.device,
            zone: self.zone(record.source, record.tunnel),
            source: Some((record.source, record.tunnel)),
            time: self.tick(record.unix),
            target: self.recorded_target(&record.target),
        })
    }

    fn recorded_target(&self, asked: &AuditTarget) -> Target {
        match asked {
            AuditTarget::Http { host, path, method } => {
                let canonical = canon::method(method).and_then(|method| {
                    let host = canon::host(host)?;
                    let path = canon::path_with(path.as_bytes(), self.path_opts(&host))?;
                    Ok(Target::Http {
                        method: method.to_owned(),
                        host,
                        path: path.into_owned(),
                    })
                });
                canonical.unwrap_or_else(|reject| Target::BadRequest(reject.reason()))
            }
            AuditTarget::Flow { dst, port, proto } => Target::Flow {
                dst: *dst,
                port: *port,
                proto: *proto,
            },
            AuditTarget::Admin { method } => query::console(method),
        }
    }
}
