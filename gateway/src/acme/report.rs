//! How certificates stand: for status, commands, metrics, and warnings before an end.

use std::collections::BTreeSet;

use certs::plan::State;
use certs::{Alerts, Chain};
use serde::{Deserialize, Serialize};

use super::tenants;
use crate::audit::{Event, Record, reason};
use crate::clock;
use crate::gateway::Gateway;
use crate::reload::Trouble;

/// How a certificate's orders go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Course {
    /// When it is ordered next, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// Why the last order failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<String>,
    /// What was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
}

impl Course {
    /// Says what the plan says.
    pub(crate) fn of(state: &State) -> Self {
        let failed = state.failed.as_ref();
        Self {
            next: Some(time(state.next)),
            cause: failed.map(|f| f.cause.code().to_owned()),
            detail: failed.map(|f| f.detail.clone()),
            advice: failed.map(|f| f.cause.advice().to_owned()),
        }
    }

    /// Says something else than the plan.
    pub(crate) fn tell(&mut self, trouble: Trouble) {
        self.cause = Some(trouble.cause.to_owned());
        self.detail = Some(trouble.detail);
        self.advice = Some(trouble.advice.to_owned());
    }
}

/// One certificate, or one that should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The hosts it stands for.
    pub(crate) names: Vec<String>,
    /// `file`, `directory`, `internal` or `none`.
    pub(crate) source: String,
    /// When its validity begins, RFC 3339.
    pub(crate) not_before: Option<String>,
    /// When its validity ends, RFC 3339.
    pub(crate) not_after: Option<String>,
    /// Days until then.
    pub(crate) days_left: Option<i64>,
    /// What the plan knows of it.
    #[serde(flatten)]
    pub(crate) course: Course,
    /// The TXT record by which a tenant shows that the name is theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verify: Option<String>,
}

/// A certificate whose last order failed, or that is not what it should be, in a status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failing {
    /// The certificate.
    pub(crate) name: String,
    /// The cause's code.
    pub(crate) cause: String,
    /// What was said.
    pub(crate) detail: String,
    /// Days until what is in use ends; absent where nothing of a directory is.
    pub(crate) days_left: Option<i64>,
}

/// Lists every certificate in force and every one that is wanted.
pub(crate) fn lines(gw: &Gateway) -> Vec<Line> {
    let now = clock::unix();
    let snap = gw.snapshot.load();
    let mut lines = Vec::new();
    for (source, chain) in snap.certs.by_source() {
        let mut line = Line::of(source, chain, now);
        // what a directory should sign may be an internal leaf for now
        if let Some(name) = chain.names().first() {
            gw.acme.fill(name, &mut line);
        }
        if let Some(trouble) = gw.acme.trouble_of(source, chain, now) {
            line.course.tell(trouble);
        }
        lines.push(line);
    }
    let plan = gw.acme.plan.lock();
    let waiting: Vec<_> = plan.names().map(str::to_owned).collect();
    drop(plan);
    for name in waiting {
        if lines.iter().any(|line| line.names.contains(&name)) {
            continue;
        }
        let mut line = Line {
            names: vec![name.clone()],
            ..Line::none()
        };
        gw.acme.fill(&name, &mut line);
        lines.push(line);
    }
    for name in &gw.acme.names.lock().over {
        lines.push(Line {
            names: vec![name.clone()],
            course: Course {
                detail: Some("beyond `most` or `each` of [acme.tenant-names]".to_owned()),
                ..Course::default()
            },
            ..Line::none()
        });
    }
    lines
}

/// Lists the certificates whose last order failed, or that are not what they should be for another
/// reason.
pub(crate) fn failing(gw: &Gateway) -> Vec<Failing> {
    let now = clock::unix();
    let plan = gw.acme.plan.lock();
    let states = plan
        .names()
        .filter_map(|name| Some((name, plan.state(name)?)));
    let mut all: Vec<_> = states
        .filter_map(|(name, state)| {
            let failed = state.failed?;
            Some(Failing {
                name: name.to_owned(),
                cause: failed.cause.code().to_owned(),
                detail: failed.detail,
                days_left: state.held.map(|held| days(held.not_after, now)),
            })
        })
        .collect();
    drop(plan);
    let snap = gw.snapshot.load();
    all.extend(snap.certs.by_source().filter_map(|(source, chain)| {
        let trouble = gw.acme.trouble_of(source, chain, now)?;
        Some(Failing {
            name: chain.names().first()?.clone(),
            cause: trouble.cause.to_owned(),
            detail: trouble.detail,
            days_left: Some(days(chain.not_after(), now)),
        })
    }));
    all
}

/// A certificate that ends and was not warned of since it has so few days left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// The certificate.
    pub(crate) name: String,
    /// Whole days that are left.
    pub(crate) days: i64,
    /// When it ends, in UNIX seconds.
    pub(crate) not_after: i64,
    /// The cause's code.
    pub(crate) cause: String,
    /// What was said.
    pub(crate) detail: String,
    /// What to do.
    pub(crate) advice: String,
}

/// Warns of certificates that end, with the cause and what to do: in the log, in the journal and by
/// mail to the administrators, once for each step over restarts.
pub(super) async fn warn(gw: &Gateway, now: i64) {
    let found = due(gw, now);
    if found.is_empty() {
        return;
    }
    for ending in &found {
        tell(gw, ending);
    }
    gw.mail.certificates(&found).await;
    // last, so that a crash repeats a warning rather than lose it
    gw.acme.keep_alerts();
}

fn due(gw: &Gateway, now: i64) -> Vec<Ending> {
    let snap = gw.snapshot.load();
    let mut alerts = gw.acme.alerts.lock();
    let mut found: Vec<_> = snap
        .certs
        .by_source()
        .filter_map(|(source, chain)| ending(gw, source, chain, &mut alerts, now))
        .collect();
    found.extend(authority_due(gw, &mut alerts, now));
    let keys = snap.certs.by_source().filter_map(|(_, c)| key(c, now));
    let mut keys: BTreeSet<_> = keys.collect();
    if gw.authority.is_some() {
        keys.insert(AUTHORITY.to_owned());
    }
    alerts.retain(|name| keys.contains(name));
    found
}

/// What a certificate's warnings are kept under: one that is left out is another than the one that
/// took its place.
fn key(chain: &Chain, now: i64) -> Option<String> {
    let name = chain.names().first()?;
    Some(match chain.not_after() < now {
        true => format!("{name} (ended)"),
        false => name.clone(),
    })
}

fn ending(
    gw: &Gateway,
    source: &str,
    chain: &Chain,
    alerts: &mut Alerts,
    now: i64,
) -> Option<Ending> {
    let (name, key) = (chain.names().first()?, key(chain, now)?);
    let state = gw.acme.state(name);
    let trouble = gw.acme.trouble_of(source, chain, now);
    let is_planned = |s: &State| s.failed.is_none() && s.next > now;
    let on_time = state.as_ref().is_some_and(is_planned) || source == "internal";
    // what is renewed by itself and on time is nothing to warn about
    if on_time && trouble.is_none() {
        return None;
    }
    alerts.look(&key, chain.not_before(), chain.not_after(), now)?;
    let failed = state.and_then(|s| s.failed);
    let (cause, detail, advice) = match (trouble, failed) {
        (Some(trouble), _) => (trouble.cause, trouble.detail, trouble.advice),
        (None, Some(failed)) => (failed.cause.code(), failed.detail, failed.cause.advice()),
        (None, None) if source == "file" => ("own-file", String::new(), NEWER),
        (None, None) => (
            "order-under-way",
            String::new(),
            "wait for the order to end",
        ),
    };
    Some(Ending {
        name: name.clone(),
        days: days(chain.not_after(), now).max(0),
        not_after: chain.not_after(),
        cause: cause.to_owned(),
        advice: advice.to_owned(),
        detail,
    })
}

/// What to do about a certificate of one's own.
const NEWER: &str = "put a newer chain and key in the place of the old ones";

/// What the internal authority is called in warnings.
const AUTHORITY: &str = "internal authority";

/// Warns of the internal authority: its leaves and its intermediate are renewed by themselves, as long as the root goes on
/// and its key is there.
fn authority_due(gw: &Gateway, alerts: &mut Alerts, now: i64) -> Option<Ending> {
    let (not_before, not_after) = gw.authority.as_ref()?.validity();
    alerts.look(AUTHORITY, not_before, not_after, now)?;
    Some(Ending {
        name: AUTHORITY.to_owned(),
        days: days(not_after, now).max(0),
        not_after,
        cause: "authority".to_owned(),
        detail: String::new(),
        advice: "put root.key back into its folder, or bring a newer authority by  postern cert import --ca".to_owned(),
    })
}

fn tell(gw: &Gateway, ending: &Ending) {
    let Ending {
        name,
        days,
        cause,
        detail,
        advice,
        ..
    } = ending;
    match days {
        ..=3 => tracing::error!(name, days, cause, detail, advice, "a certificate ends soon"),
        _ => tracing::warn!(name, days, cause, detail, advice, "a certificate ends"),
    }
    let mut record = Record::new(Event::CertificateChanged, "failed", reason::ENDS_SOON);
    record.detail = Some(format!("{name}: {days} days left: {cause}: {detail}"));
    gw.audit.note(record);
}

impl super::Acme {
    /// Says what keeps a certificate from being what it should be, apart from its orders.
    fn trouble_of(&self, source: &str, chain: &Chain, now: i64) -> Option<Trouble> {
        let is_late = match source {
            "file" => return (!chain.is_in_date(now)).then(|| left_out(chain, now)),
            "internal" => certs::is_due(chain.not_before(), chain.not_after(), now),
            // one that was ordered since lies there already
            _ => chain.names().first().is_some_and(|name| {
                let held = self.state(name).and_then(|state| state.held);
                held.is_some_and(|held| held.not_after > chain.not_after())
            }),
        };
        self.trouble().filter(|_| is_late)
    }

    /// Adds what the plan knows of a certificate.
    fn fill(&self, name: &str, line: &mut Line) {
        let Some(state) = self.state(name) else {
            return;
        };
        line.course = Course::of(&state);
        if self.is_of_tenant(name) {
            line.verify = Some(format!(
                "_postern.{name} TXT {}",
                tenants::text(&self.keys, name)
            ));
        }
    }
}

/// Says that a certificate of one's own serves nobody, since its time is over or has not come.
fn left_out(chain: &Chain, now: i64) -> Trouble {
    let (begin, end) = (time(chain.not_before()), time(chain.not_after()));
    let (cause, detail) = match chain.not_after() < now {
        true => ("ended", format!("left out since it ended at {end}")),
        false => (
            "not-yet-valid",
            format!("left out until it begins at {begin}"),
        ),
    };
    Trouble {
        cause,
        detail,
        advice: NEWER,
    }
}

impl Line {
    /// Says what a chain says.
    pub(crate) fn of(source: &str, chain: &Chain, now: i64) -> Self {
        Self {
            names: chain.names().iter().cloned().collect(),
            source: source.to_owned(),
            not_before: Some(time(chain.not_before())),
            not_after: Some(time(chain.not_after())),
            days_left: Some(days(chain.not_after(), now)),
            ..Self::none()
        }
    }

    /// Says what a chain says while no gateway runs.
    pub(crate) fn on_disk(source: &str, chain: &Chain, now: i64) -> Self {
        let mut line = Self::of(source, chain, now);
        if !chain.is_in_date(now) {
            line.course.tell(left_out(chain, now));
        }
        line
    }

    fn none() -> Self {
        Self {
            names: Vec::new(),
            source: "none".to_owned(),
            not_before: None,
            not_after: None,
            days_left: None,
            course: Course::default(),
            verify: None,
        }
    }
}

fn days(end: i64, now: i64) -> i64 {
    end.saturating_sub(now).div_euclid(certs::DAY)
}

/// Writes seconds since the UNIX epoch as RFC 3339 does.
pub(crate) fn time(unix: i64) -> String {
    clock::rfc3339(u64::try_from(unix).unwrap_or(0).saturating_mul(1000))
}
