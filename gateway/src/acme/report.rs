//! How certificates stand: for status, commands, metrics, and warnings before an end.

use certs::plan::State;
use serde::{Deserialize, Serialize};

use super::tenants;
use crate::audit::{Event, Record, reason};
use crate::clock;
use crate::gateway::Gateway;

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

/// A certificate whose last order failed, in a status.
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

/// Lists the certificates whose last order failed.
pub(crate) fn failing(gw: &Gateway) -> Vec<Failing> {
    let now = clock::unix();
    let plan = gw.acme.plan.lock();
    let states = plan
        .names()
        .filter_map(|name| Some((name, plan.state(name)?)));
    states
        .filter_map(|(name, state)| {
            let failed = state.failed?;
            Some(Failing {
                name: name.to_owned(),
                cause: failed.cause.code().to_owned(),
                detail: failed.detail,
                days_left: state.held.map(|held| days(held.not_after, now)),
            })
        })
        .collect()
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
    let mut found = Vec::new();
    for (source, chain) in snap.certs.by_source() {
        let Some(name) = chain.names().first() else {
            continue;
        };
        let state = gw.acme.state(name);
        let on_time = state
            .as_ref()
            .is_some_and(|s| s.failed.is_none() && s.next > now);
        // what is renewed by itself and on time is nothing to warn about
        if on_time || source == "internal" {
            continue;
        }
        let step = alerts.look(name, chain.not_before(), chain.not_after(), now);
        if step.is_none() {
            continue;
        }
        let failed = state.and_then(|s| s.failed);
        let (cause, advice) = match &failed {
            Some(failed) => (failed.cause.code(), failed.cause.advice()),
            None if source == "file" => (
                "own-file",
                "put a newer chain and key in the place of the old ones",
            ),
            None => ("order-under-way", "wait for the order to end"),
        };
        found.push(Ending {
            name: name.clone(),
            days: days(chain.not_after(), now).max(0),
            not_after: chain.not_after(),
            cause: cause.to_owned(),
            advice: advice.to_owned(),
            detail: failed.map(|f| f.detail).unwrap_or_default(),
        });
    }
    found.extend(authority_due(gw, &mut alerts, now));
    let live = |name: &str| {
        let own = name == AUTHORITY && gw.authority.is_some();
        let mut chains = snap.certs.chains().iter();
        own || chains.any(|c| c.names().first().is_some_and(|n| n == name))
    };
    alerts.retain(live);
    found
}

/// What the internal authority is called in warnings.
const AUTHORITY: &str = "internal authority";

/// Warns of the internal authority: its leaves and its intermediate are renewed by themselves, as long as the root goes on
/// and its key is there.
fn authority_due(gw: &Gateway, alerts: &mut certs::Alerts, now: i64) -> Option<Ending> {
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

impl Line {
    /// Says what a chain says.
    pub(crate) fn of(source: &str, chain: &certs::Chain, now: i64) -> Self {
        Self {
            names: chain.names().iter().cloned().collect(),
            source: source.to_owned(),
            not_before: Some(time(chain.not_before())),
            not_after: Some(time(chain.not_after())),
            days_left: Some(days(chain.not_after(), now)),
            ..Self::none()
        }
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
