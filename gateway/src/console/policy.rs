//! The policy: what is in force and what was, its files, its findings, and questions to it.

pub(super) mod ask;
pub(super) mod change;

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use super::act;
use super::call::Call;
use super::rulebook::{FileLine, Findings, Overview, Past};
use super::shell::{Section, Shell};
use super::texts;
use crate::explain::short;
use crate::pages::fill;
use crate::uri::encode;

pub(super) const HOME: &str = "/admin/policy";

#[derive(Template)]
#[template(path = "console/policy.html")]
struct OverviewPage<'a> {
    f: Shell<'a>,
    w: &'static texts::Policy,
    m: &'a Overview,
}

#[derive(Template)]
#[template(path = "console/findings.html")]
struct FindingsPage<'a> {
    f: Shell<'a>,
    w: &'static texts::Policy,
    m: &'a Findings,
}

/// `GET /admin/policy`
pub(crate) async fn overview(call: Call) -> Response {
    let overview = match call.console.rulebook().overview().await {
        Ok(overview) => overview,
        Err(refusal) => return act::failure(&call, Section::Policy, HOME.to_owned(), &refusal),
    };
    let view = OverviewPage {
        f: call.shell(Section::Policy),
        w: texts::Policy::of(call.ctx.lang),
        m: &overview,
    };
    call.reply(StatusCode::OK, &overview, &view)
}

/// `GET /admin/policy/findings`: lint and tests.
pub(crate) async fn findings(call: Call) -> Response {
    let findings = match call.console.rulebook().findings().await {
        Ok(findings) => findings,
        Err(refusal) => return act::failure(&call, Section::Policy, HOME.to_owned(), &refusal),
    };
    let view = FindingsPage {
        f: call.shell(Section::Policy),
        w: texts::Policy::of(call.ctx.lang),
        m: &findings,
    };
    call.reply(StatusCode::OK, &findings, &view)
}

impl Overview {
    fn short(&self) -> &str {
        short(&self.digest)
    }

    fn waits(&self, w: &texts::Policy) -> Option<String> {
        let pending = self.pending.as_ref()?;
        let text = fill(w.waits, "generation", &pending.generation.to_string());
        Some(fill(&text, "until", &pending.until))
    }
}

impl FileLine {
    fn href(&self) -> String {
        format!("{HOME}/file?name={}", encode(&self.name))
    }
}

impl Past {
    fn is(&self, generation: &u64) -> bool {
        self.generation == Some(*generation)
    }

    fn back_href(&self) -> Option<String> {
        let generation = self.generation.filter(|_| self.kept)?;
        Some(format!("{HOME}/rollback?to={generation}"))
    }
}

impl Findings {
    fn tests_text(&self, w: &texts::Policy) -> String {
        let passed = self.tests.iter().filter(|test| test.passed).count();
        let text = fill(w.tests_text, "passed", &passed.to_string());
        fill(&text, "failed", &(self.tests.len() - passed).to_string())
    }
}
