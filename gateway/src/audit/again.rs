//! Lines of the journal read as decisions that can be taken again.

use std::net::{IpAddr, SocketAddr};

use policy::{AuditInput, AuditTarget, Device, Outcome, Proof, Proto};
use serde::{Deserialize, Deserializer, Serialize};

use super::event::Event;
use super::query::Text;
use super::reason;

/// What a line of the journal is to one who takes decisions again.
#[derive(Debug)]
pub(crate) enum Line {
    /// A decision of the policy with all its inputs.
    Decided(Box<Decided>),
    /// So many decisions that cannot be taken again.
    Lost(Lost, u64),
    /// A record of something else.
    Other,
}

/// A decision on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    /// What was asked, and what the policy answered.
    pub(crate) input: AuditInput,
    /// Of how many like decisions the line is the sum; else 1.
    pub(crate) count: u64,
    /// When it was written, as the line has it.
    pub(crate) time: String,
    /// The person the record names. Those who had not signed in were not known to the policy.
    pub(crate) user: Option<String>,
    /// The zones of the source then.
    pub(crate) zones: String,
    /// What a denied page showed.
    pub(crate) code: Option<String>,
    /// Digest of the policy that decided.
    pub(crate) policy: Option<String>,
    /// What rules in shadow would have answered.
    pub(crate) shadow: Option<Said>,
    /// Why the gateway refused it whatever the policy answered.
    pub(crate) refused: Option<String>,
}

/// An answer on record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Said {
    pub(crate) outcome: Outcome,
    pub(crate) rule: String,
}

/// Why a decision on record cannot be taken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lost {
    /// The gateway decided it without the policy: its own pages, malformed requests.
    Gateway,
    /// The path did not fit in the record.
    PathCut,
    /// The line stands for a flood of requests that differ.
    Summed,
    /// The record was written before records had all inputs.
    Earlier,
    /// The line is no record.
    Unreadable,
}

impl Lost {
    /// Tells people why.
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::Gateway => "decided by the gateway without the policy",
            Self::PathCut => "the path was too long for the record",
            Self::Summed => "summed up from a flood of differing requests",
            Self::Earlier => "written before records had all inputs",
            Self::Unreadable => "not a record",
        }
    }
}

/// Reads a line, without its line feed.
pub(crate) fn read(line: &[u8]) -> Line {
    let Ok(fields) = serde_json::from_slice::<Fields<'_>>(line) else {
        return Line::Lost(Lost::Unreadable, 1);
    };
    let flow = fields.event.0 == Event::FlowDecided.name();
    if !flow && fields.event.0 != Event::AccessDecided.name() {
        return Line::Other;
    }
    let count = fields.count.unwrap_or(1);
    match fields.decided(flow, count) {
        Ok(decided) => Line::Decided(Box::new(decided)),
        Err(lost) => Line::Lost(lost, count),
    }
}

#[derive(Deserialize)]
struct Fields<'a> {
    seq: u64,
    #[serde(borrow)]
    time: Text<'a>,
    #[serde(borrow)]
    event: Text<'a>,
    #[serde(borrow)]
    outcome: Text<'a>,
    #[serde(borrow)]
    reason: Text<'a>,
    #[serde(borrow)]
    rule: Option<Text<'a>>,
    #[serde(borrow)]
    user: Option<Text<'a>>,
    source: Option<IpAddr>,
    #[serde(borrow)]
    host: Option<Text<'a>>,
    #[serde(borrow)]
    method: Option<Text<'a>>,
    #[serde(borrow)]
    path: Option<Text<'a>>,
    #[serde(borrow)]
    policy: Option<Text<'a>>,
    #[serde(borrow)]
    code: Option<Text<'a>>,
    /// `Some(None)` where the field is there and `null`.
    #[serde(borrow, default, deserialize_with = "present")]
    inputs: Option<Option<InputFields<'a>>>,
    count: Option<u64>,
}

#[derive(Deserialize)]
struct InputFields<'a> {
    at: i64,
    tunnel: bool,
    #[serde(borrow)]
    zones: Text<'a>,
    #[serde(borrow)]
    class: Text<'a>,
    mfa_age: Option<u32>,
    login_age: Option<u32>,
    #[serde(borrow)]
    shadow: Option<AnswerFields<'a>>,
    #[serde(borrow)]
    own: Option<AnswerFields<'a>>,
    #[serde(borrow, default)]
    by: Option<Text<'a>>,
    #[serde(default)]
    console: bool,
}

#[derive(Deserialize)]
struct AnswerFields<'a> {
    #[serde(borrow)]
    outcome: Text<'a>,
    #[serde(borrow)]
    rule: Text<'a>,
}

fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl Fields<'_> {
    fn decided(self, flow: bool, count: u64) -> Result<Decided, Lost> {
        let inputs = match self.inputs {
            Some(Some(inputs)) => inputs,
            Some(None) if self.count.is_some() && of_policy(&self.reason.0) => {
                return Err(Lost::Summed);
            }
            None if !is_builtin_page(self.rule.as_ref()) => return Err(Lost::Earlier),
            Some(None) | None => return Err(Lost::Gateway),
        };
        let path = self.path.map(|path| path.0).unwrap_or_default();
        if path.ends_with('…') {
            return Err(Lost::PathCut);
        }
        let target = if flow {
            flow_target(&path)
        } else if inputs.console {
            self.method.map(|method| AuditTarget::Admin {
                method: method.0.into_owned(),
            })
        } else {
            self.host
                .zip(self.method)
                .map(|(host, method)| AuditTarget::Http {
                    host: host.0.into_owned(),
                    path: path.into_owned(),
                    method: method.0.into_owned(),
                })
        };
        let by = match &inputs.by {
            Some(by) => Proof::from_word(&by.0).ok_or(Lost::Unreadable)?,
            None => Proof::SignIn,
        };
        let rule = self.rule.map(|rule| rule.0).unwrap_or_default();
        let said = match &inputs.own {
            Some(own) => own.said(),
            None => said(&self.outcome.0, &rule),
        };
        let said = said.ok_or(Lost::Unreadable)?;
        let user = self.user.map(|user| user.0.into_owned());
        Ok(Decided {
            input: AuditInput {
                seq: self.seq,
                user: user.clone().filter(|_| inputs.login_age.is_some()),
                by,
                source: self.source.ok_or(Lost::Unreadable)?,
                tunnel: inputs.tunnel,
                unix: inputs.at,
                device: Device::from_word(&inputs.class.0).ok_or(Lost::Unreadable)?,
                mfa_age: inputs.mfa_age,
                login_age: inputs.login_age.unwrap_or(u32::MAX),
                target: target.ok_or(Lost::Unreadable)?,
                outcome: said.outcome,
                rule: said.rule,
            },
            count,
            time: self.time.0.into_owned(),
            user,
            zones: inputs.zones.0.into_owned(),
            code: self.code.map(|code| code.0.into_owned()),
            policy: self.policy.map(|policy| policy.0.into_owned()),
            refused: inputs.own.map(|_| self.reason.0.into_owned()),
            shadow: inputs.shadow.and_then(|shadow| shadow.said()),
        })
    }
}

impl AnswerFields<'_> {
    fn said(&self) -> Option<Said> {
        said(&self.outcome.0, &self.rule.0)
    }
}

/// A rule that did not fit in the record is not known.
fn said(outcome: &str, rule: &str) -> Option<Said> {
    let whole = !rule.ends_with('…');
    Some(Said {
        outcome: Outcome::from_word(outcome)?,
        rule: if whole {
            rule.to_owned()
        } else {
            String::new()
        },
    })
}

/// Tells whether a refusal with this reason was an answer of the policy.
fn of_policy(why: &str) -> bool {
    [
        reason::RULE,
        reason::NO_RULE,
        reason::NOT_SIGNED_IN,
        reason::STEP_UP_NEEDED,
        reason::REASON_NEEDED,
        reason::NO_SUCH_SERVICE,
        reason::QUARANTINE,
        reason::DEVICE_MISMATCH,
        reason::TOKEN_OTHER_APP,
        reason::TOKEN_NOT_TAKEN,
        reason::DEVICE_MOVED,
        reason::DEVICE_PROOF_OLD,
        reason::DEVICE_IDLE,
        reason::HEADLESS,
    ]
    .contains(&why)
}

fn is_builtin_page(rule: Option<&Text<'_>>) -> bool {
    let pages = [
        "builtin.own-pages",
        "builtin.bad-request",
        "builtin.no-such-app",
    ];
    rule.is_none_or(|rule| pages.contains(&rule.0.as_ref()))
}

/// Reads `tcp://ip:port`, as records of flows have it; of ICMP the port says nothing.
fn flow_target(path: &str) -> Option<AuditTarget> {
    let (scheme, rest) = path.split_once("://")?;
    let to: SocketAddr = rest.parse().ok()?;
    let proto = match scheme {
        "tcp" => Proto::Tcp,
        "udp" => Proto::Udp,
        "icmp" => Proto::Icmp,
        _ => return None,
    };
    Some(AuditTarget::Flow {
        dst: to.ip(),
        port: to.port(),
        proto,
    })
}

#[cfg(test)]
mod tests;
