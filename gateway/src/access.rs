//! One decision, one record, one permit.
//!
//! A [`Verdict`] wraps the policy's answer with the record of it; only [`Verdict::commit`] turns
//! an allow into a [`Permit`], and what connects to an app or an office host takes a permit by
//! value. No record, no access.

mod console;
mod flow;
mod nearest;
mod request;
mod token;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use policy::{AuditTarget, Decision, Outcome, Proof};

use crate::audit::{Answer as Said, Audit, Durability, Event, Inputs, Record, reason};
use crate::clock;
use crate::identity::{Class, Device, Due, Session, Token};
use crate::ids::Door;
use crate::proxy::head::Target;
use crate::snapshot::Snapshot;
use crate::streams::Answer;

pub(crate) use console::{console, may_act, shows_console};
pub(crate) use flow::{FlowQuestion, flow};
use nearest::nearest;
pub(crate) use request::HttpQuestion;
use token::{is_of_other_app, takes_token};

/// Who asks, from where, through which door.
#[derive(Clone)]
pub(crate) struct Caller {
    /// The live session, if there is one.
    pub(crate) session: Option<Arc<Session>>,
    /// The token that it showed; then there is no session.
    pub(crate) token: Option<Arc<Token>>,
    /// By what its person is known.
    pub(crate) by: Proof,
    /// The tunnel device the bytes came through.
    pub(crate) device: Option<Arc<Device>>,
    /// The address the bytes came from; inside the tunnel, the device's own.
    pub(crate) source: IpAddr,
    /// The door.
    pub(crate) door: Door,
}

impl Caller {
    /// Names the person, by session or token.
    pub(crate) fn user(&self) -> Option<&Arc<str>> {
        let session = self.session.as_ref().map(|s| &s.user);
        session.or_else(|| self.token.as_ref().map(|t| &t.user))
    }

    fn class(&self) -> policy::Device {
        let browser = self.session.as_ref().map(|s| s.is_in_known_browser());
        match self.device.as_ref().map(|d| d.class) {
            None if browser == Some(true) => policy::Device::Known,
            None => policy::Device::Any,
            Some(Class::Known) => policy::Device::Known,
            Some(Class::Managed) => policy::Device::Managed,
        }
    }

    /// Tells whether it is a browser in which nobody is signed in.
    fn is_nobody_yet(&self) -> bool {
        self.user().is_none() && self.device.is_none() && self.door == Door::Web
    }

    /// Tells whether session or token belong to somebody else than the device's person.
    fn mismatch(&self) -> bool {
        match (self.user(), &self.device) {
            (Some(user), Some(device)) => *user != device.user,
            _ => false,
        }
    }

    /// Returns the best outcome a visit to the app could have from here, for the portal's list.
    pub(crate) fn opens(&self, snap: &Snapshot, app: policy::AppIx) -> Outcome {
        let facts = self.facts(snap, clock::unix());
        snap.policy.opens(&facts.subject(), app, &facts.context())
    }

    /// Gathers what a decision at an instant, in seconds since the UNIX epoch, is taken from.
    fn facts(&self, snap: &Snapshot, now: i64) -> Facts {
        let (session, token) = (self.session.as_ref(), self.token.as_ref());
        let bits = self.user().and_then(|user| snap.subject(user));
        let made = token.map(|t| t.age(now));
        let mfa_age = session.map(|s| secs(s.mfa_age(now))).or(made);
        let login_age = session.map(|s| login_age(s, now)).or(made);
        let login_age = login_age.unwrap_or(u32::MAX);
        let tunnel = self.door == Door::Tunnel;
        Facts {
            bits,
            by: self.by,
            mfa_age,
            login_age,
            class: self.class(),
            tunnel,
            zone: snap.policy.zone(self.source, tunnel),
            time: snap.policy.tick(now),
            at: now,
        }
    }
}

/// What one decision is taken from; belongs to the policy it was made for.
struct Facts {
    bits: Option<Arc<policy::SubjectBits>>,
    by: Proof,
    mfa_age: Option<u32>,
    login_age: u32,
    class: policy::Device,
    tunnel: bool,
    zone: policy::ZoneClass,
    time: policy::TimeClass,
    at: i64,
}

impl Facts {
    /// As if the owner of a device had given a code this instant.
    fn with_fresh_proofs(self, snap: &Snapshot, user: &Arc<str>) -> Self {
        Self {
            bits: snap.subject(user),
            mfa_age: Some(0),
            login_age: 0,
            ..self
        }
    }

    fn subject(&self) -> policy::Subject<'_> {
        policy::Subject {
            bits: self.bits.as_deref(),
            mfa_age: self.mfa_age,
            login_age: self.login_age,
            device: self.class,
        }
    }

    fn context(&self) -> policy::Context {
        policy::Context::new(self.zone, self.time)
    }

    /// Writes them down for the journal, with what rules in shadow and the policy itself said.
    fn inputs(&self, snap: &Snapshot, decision: Decision, refused: bool) -> Box<Inputs> {
        let answer = |(outcome, rule)| Said {
            outcome,
            rule: Arc::clone(&snap.policy.rule(rule).id),
        };
        let signed_in = self.bits.is_some();
        let obliges = snap.policy.obligations(decision.obligations);
        Box::new(Inputs {
            at: self.at,
            tunnel: self.tunnel,
            zones: snap.policy.zone_names(self.zone).join(","),
            class: self.class,
            by: self.by,
            mfa_age: self.mfa_age.filter(|_| signed_in),
            login_age: signed_in.then_some(self.login_age),
            shadow: decision.shadow.map(answer),
            own: refused.then(|| answer((decision.outcome, decision.rule))),
            rate: obliges.rate.as_ref().map(|rate| Arc::clone(&rate.name)),
            headers: obliges.headers.as_ref().map(Arc::clone),
            nearest: None,
            console: false,
        })
    }
}

/// Returns the seconds since the sign-in, in the session's own time, which no clock change sets back;
/// by as much as its end was put off it counts as younger.
pub(crate) fn login_age(session: &Session, now: i64) -> u32 {
    let between = session.mfa_at().saturating_sub(session.login_at).max(0);
    let between = u32::try_from(between).unwrap_or(u32::MAX);
    let put_off = u32::try_from(session.extended()).unwrap_or(0);
    let age = secs(session.mfa_age(now)).saturating_add(between);
    age.saturating_sub(put_off)
}

fn secs(age: Duration) -> u32 {
    u32::try_from(age.as_secs()).unwrap_or(u32::MAX)
}

/// Whether the tunnel device under a request has been opened by its person; requests from
/// outside the tunnel count as open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quarantine {
    /// The rules of the policy apply.
    Open,
    /// Nothing but the gateway's own pages may be reached: nobody has signed in.
    Closed,
    /// As `Closed`, until its person gives another proof.
    Held(Due),
}

impl Quarantine {
    /// Says why nothing else may be reached.
    pub(crate) fn reason(self) -> Option<&'static str> {
        match self {
            Self::Open => None,
            Self::Closed => Some(reason::QUARANTINE),
            Self::Held(due) => Some(due.reason()),
        }
    }
}

/// What the policy said, with the record of it, not yet in force.
#[must_use = "a decision that is not committed gives nothing and leaves no record"]
pub(crate) struct Verdict {
    decision: Decision,
    refused: Option<&'static str>,
    /// The session that asks; an allow binds it to what its rule says of sessions.
    session: Option<Arc<Session>>,
    record: Record,
    durability: Durability,
    class: policy::Device,
    snap: Arc<Snapshot>,
}

/// The proof that an allow is on record.
pub(crate) struct Permit {
    rule: Arc<str>,
    expires: Option<Instant>,
    headers: Option<Arc<policy::HeaderSet>>,
    device: policy::Device,
}

impl Permit {
    /// Names the rule that allowed it.
    pub(crate) fn rule(&self) -> &Arc<str> {
        &self.rule
    }

    /// Returns the fields the rule sets on the request to the app.
    pub(crate) fn headers(&self) -> Option<&policy::HeaderSet> {
        self.headers.as_deref()
    }

    /// Returns how well the device was known when it was allowed.
    pub(crate) fn device(&self) -> policy::Device {
        self.device
    }

    /// Returns when the decision must be taken again because an age runs out.
    pub(crate) fn recheck_at(&self) -> Option<Instant> {
        self.expires
    }
}

/// Why there is no permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// Nobody is signed in, and signing in could help.
    Login,
    /// A fresh code would help.
    StepUp,
    /// The area asks the person why they come.
    Reason,
    /// The answer is no.
    Deny {
        /// The closed reason code.
        reason: &'static str,
    },
    /// The journal cannot be written, so nothing is granted.
    AuditDown,
}

impl Verdict {
    /// Returns the outcome the policy gave, quarantine and mismatch included.
    pub(crate) fn outcome(&self) -> Outcome {
        if self.refused == Some(reason::IDLE) {
            Outcome::Login
        } else if self.refused.is_some() {
            Outcome::Deny
        } else {
            self.decision.outcome
        }
    }

    /// Refuses an allow until its person says why they come.
    pub(crate) fn ask_why(&mut self) {
        let rule = &self.snap.policy.rule(self.decision.rule).id;
        self.refused = Some(reason::REASON_NEEDED);
        self.record.outcome = "deny";
        self.record.reason = reason::REASON_NEEDED;
        self.record.rule = None;
        if let Some(inputs) = &mut self.record.inputs {
            inputs.own = Some(Said {
                outcome: self.decision.outcome,
                rule: Arc::clone(rule),
            });
        }
        self.durability = self.record.durability();
    }

    /// Returns the rate tier the allow carries.
    pub(crate) fn rate(&self) -> Option<&policy::Rate> {
        let obligations = self.snap.policy.obligations(self.decision.obligations);
        obligations.rate.as_ref()
    }

    /// Returns the record, to be turned into one of another event.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Completes the record before it is written.
    pub(crate) fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

    /// Writes the record and only then gives the permit.
    ///
    /// # Errors
    /// Every outcome but allow, and [`Denied::AuditDown`] when the record cannot be written.
    pub(crate) async fn commit(self, audit: &Audit) -> Result<Permit, Denied> {
        let outcome = self.outcome();
        let asks = self.refused == Some(reason::REASON_NEEDED);
        let reason = self.record.reason;
        let rule = Arc::clone(&self.snap.policy.rule(self.decision.rule).id);
        let obligations = self.snap.policy.obligations(self.decision.obligations);
        let headers = obligations.headers.clone();
        let (idle, most) = (obligations.idle, obligations.sessions);
        let device = self.class;
        let expires = self
            .decision
            .expires_in
            .and_then(|s| clock::now().checked_add(Duration::from_secs(u64::from(s))));
        if audit.write(self.record, self.durability).await.is_err() {
            return Err(Denied::AuditDown);
        }
        match (outcome, &self.session) {
            (Outcome::Allow, Some(session)) if idle.is_some() || most.is_some() => {
                session.bind(idle, most);
            }
            _ => {}
        }
        match outcome {
            Outcome::Allow => Ok(Permit {
                rule,
                expires,
                headers,
                device,
            }),
            Outcome::StepUp => Err(Denied::StepUp),
            Outcome::Login => Err(Denied::Login),
            Outcome::Deny if asks => Err(Denied::Reason),
            Outcome::Deny => Err(Denied::Deny { reason }),
        }
    }
}

/// Decides an HTTP request to an app.
pub(crate) fn http(
    snap: &Arc<Snapshot>,
    caller: &Caller,
    target: &Target,
    method: &str,
    door: Quarantine,
) -> Verdict {
    let (facts, decision) = ask_http(snap, caller, target, method);
    let refused = match door.reason() {
        Some(why) => Some(why),
        None if caller.mismatch() => Some(reason::DEVICE_MISMATCH),
        None if is_of_other_app(snap, caller, target) => Some(reason::TOKEN_OTHER_APP),
        None => lapsed(snap, caller, decision),
    };
    let mut record = base_record(Event::AccessDecided, snap, caller, decision, refused);
    let mut inputs = facts.inputs(snap, decision, refused.is_some());
    inputs.nearest = nearest(snap, caller, &facts, decision, || AuditTarget::Http {
        host: target.host.as_str().to_owned(),
        path: target.path.recorded().to_owned(),
        method: method.to_owned(),
    });
    record.inputs = Some(inputs);
    record.host = Some(target.host.as_str().into());
    record.method = Some(method.into());
    record.path = Some(target.path.recorded().to_owned());
    if decision.outcome == Outcome::Deny && refused.is_none() && !takes_token(snap, caller, target)
    {
        record.reason = reason::TOKEN_NOT_TAKEN;
    }
    Verdict {
        decision,
        refused,
        session: caller.session.as_ref().map(Arc::clone),
        durability: record.durability(),
        record,
        class: caller.class(),
        snap: Arc::clone(snap),
    }
}

/// Decides, and returns the facts that the decision was taken from.
fn ask_http(snap: &Snapshot, caller: &Caller, target: &Target, method: &str) -> (Facts, Decision) {
    let now = clock::unix();
    let facts = caller.facts(snap, now);
    let decision = decide_http(snap, &facts, target, method);
    if decision.outcome == Outcome::Deny && caller.is_nobody_yet() {
        // which browser it is shows only when somebody signs in
        let of_known = Facts {
            class: policy::Device::Known,
            ..caller.facts(snap, now)
        };
        let better = decide_http(snap, &of_known, target, method);
        if better.outcome == Outcome::Login {
            return (of_known, better);
        }
    }
    (facts, decision)
}

fn decide_http(snap: &Snapshot, facts: &Facts, target: &Target, method: &str) -> Decision {
    let (subject, context) = (facts.subject(), facts.context());
    snap.policy.decide_http_by(
        facts.by,
        &subject,
        &target.host,
        &target.path,
        method,
        &context,
    )
}

/// Says why an allow does not hold for a session: it once lay unused for longer than the rule
/// lets sessions be. Signing in anew helps.
fn lapsed(snap: &Snapshot, caller: &Caller, decision: Decision) -> Option<&'static str> {
    let obligations = snap.policy.obligations(decision.obligations);
    let idle = obligations
        .idle
        .filter(|_| decision.outcome == Outcome::Allow)?;
    let session = caller.session.as_ref()?;
    session.has_paused(idle).then_some(reason::IDLE)
}

fn durability(durable: bool) -> Durability {
    if durable {
        Durability::Durable
    } else {
        Durability::Batched
    }
}

fn base_record(
    event: Event,
    snap: &Snapshot,
    caller: &Caller,
    decision: Decision,
    refused: Option<&'static str>,
) -> Record {
    let rule = snap.policy.rule(decision.rule);
    let (outcome, why) = match (refused, decision.outcome) {
        (Some(reason::IDLE), _) => ("login", reason::IDLE),
        (Some(why), _) => ("deny", why),
        (None, Outcome::Allow) => ("allow", reason::RULE),
        (None, Outcome::StepUp) => ("step-up", reason::STEP_UP_NEEDED),
        (None, Outcome::Login) => ("login", reason::NOT_SIGNED_IN),
        (None, Outcome::Deny) => ("deny", deny_reason(&rule.id)),
    };
    let mut record = Record::new(event, outcome, why);
    record.rule = refused.is_none().then(|| Arc::clone(&rule.id));
    record.user = caller.user().map(Arc::clone);
    record.session = caller.session.as_ref().map(|s| s.id);
    record.detail = caller.token.as_ref().map(|t| format!("token {}", t.id));
    record.device = caller.device.as_ref().map(|d| d.id);
    record.source = Some(caller.source);
    record.policy = Some(Arc::clone(&snap.digest));
    record
}

fn deny_reason(rule: &str) -> &'static str {
    match rule {
        "builtin.default" => reason::NO_RULE,
        "builtin.no-such-app" => reason::NO_SUCH_APP,
        "builtin.no-such-service" => reason::NO_SUCH_SERVICE,
        "builtin.bad-request" => reason::BAD_REQUEST,
        _ => reason::RULE,
    }
}

fn session_stands(session: Option<&Arc<Session>>) -> bool {
    session.is_none_or(|s| s.is_live(clock::unix()))
}

fn answer(decision: Decision) -> Answer {
    if decision.outcome == Outcome::Allow {
        let wait = decision
            .expires_in
            .map(|s| Duration::from_secs(u64::from(s)));
        Answer::Stands(wait.and_then(|w| clock::now().checked_add(w)))
    } else {
        Answer::Gone(reason::POLICY)
    }
}

#[cfg(test)]
mod tests;
