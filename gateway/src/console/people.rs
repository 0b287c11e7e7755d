//! People: the list, and all of one person.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::act::failure;
use super::call::Call;
use super::desk::{AppClock, Page, PersonLine, PersonView};
use super::pager::Pager;
use super::shell::{Section, Shell};
use super::texts;
use crate::pages::{Problem, fill};
use crate::uri::encode;

/// People on one page of the list.
const PER_PAGE: usize = 50;

#[derive(Serialize)]
struct People {
    search: String,
    people: Page<PersonLine>,
}

#[derive(Template)]
#[template(path = "console/people.html")]
struct PeoplePage<'a> {
    f: Shell<'a>,
    w: &'static texts::People,
    m: &'a People,
    pager: Pager,
}

/// `GET /admin/people`: the list, those who match `?q=`.
pub(crate) async fn list(call: Call) -> Response {
    let search = call.query.get("q").unwrap_or_default().to_owned();
    let slice = call.slice(PER_PAGE);
    let people = match call.console.people(&search, slice).await {
        Ok(people) => people,
        Err(refusal) => return failure(&call, Section::People, "/admin".to_owned(), &refusal),
    };
    let model = People { search, people };
    let view = PeoplePage {
        f: call.shell(Section::People),
        w: texts::People::of(call.ctx.lang),
        pager: Pager::new(&call, &model.people, PER_PAGE),
        m: &model,
    };
    call.reply(StatusCode::OK, &model, &view)
}

#[derive(Template)]
#[template(path = "console/person.html")]
struct PersonPage<'a> {
    f: Shell<'a>,
    w: &'static texts::People,
    s: &'static texts::Sessions,
    d: &'static texts::Devices,
    p: &'a PersonView,
}

/// `GET /admin/person`: all of the person `?user=`.
pub(crate) async fn person(call: Call) -> Response {
    let Some(user) = call.query.get("user") else {
        return call.ctx.problem(Problem::NotFound);
    };
    let found = match call.console.person(user).await {
        Ok(Some(found)) => found,
        Ok(None) => return call.ctx.problem(Problem::NotFound),
        Err(refusal) => return failure(&call, Section::People, "/admin".to_owned(), &refusal),
    };
    let lang = call.ctx.lang;
    let view = PersonPage {
        f: call.shell(Section::People),
        w: texts::People::of(lang),
        s: texts::Sessions::of(lang),
        d: texts::Devices::of(lang),
        p: &found,
    };
    call.reply(StatusCode::OK, &found, &view)
}

impl People {
    fn any_clock(&self) -> bool {
        self.people.lines.iter().any(|p| p.app_clock.is_some())
    }
}

impl AppClock {
    fn words(self, w: &texts::People) -> String {
        let text = if self.off_s < 0 {
            w.app_behind
        } else {
            w.app_ahead
        };
        fill(text, "seconds", &self.off_s.unsigned_abs().to_string())
    }

    fn advice(self, w: &texts::People) -> String {
        fill(w.app_advice, "time", &self.at.to_string())
    }
}

impl PersonLine {
    fn href(&self) -> String {
        format!("/admin/person?user={}", encode(&self.user))
    }

    fn state(&self, w: &texts::People) -> &'static str {
        match (self.disabled, self.locked, self.enrolled) {
            (true, _, _) => w.disabled,
            (false, true, _) => w.locked,
            (false, false, true) => w.active,
            (false, false, false) => w.not_enrolled,
        }
    }

    /// Names the style of the mark beside the state.
    fn class(&self) -> &'static str {
        match (self.disabled, self.locked, self.enrolled) {
            (true, _, _) => "off",
            (false, false, true) => "open",
            (false, true, _) | (false, false, false) => "closed",
        }
    }
}

impl PersonView {
    fn act(&self, name: &str) -> String {
        format!("/admin/do/{name}?user={}", encode(&self.user))
    }

    fn act_on(&self, name: &str, group: &str) -> String {
        format!("{}&group={}", self.act(name), encode(group))
    }

    fn state(&self, w: &texts::People) -> &'static str {
        match (self.disabled, self.factors.password && self.factors.totp) {
            (true, _) => w.disabled,
            (false, true) => w.active,
            (false, false) => w.not_enrolled,
        }
    }

    fn waits(&self, w: &texts::People) -> Option<String> {
        let minutes = self.locked_s?.div_ceil(60);
        Some(fill(w.locked_for, "minutes", &minutes.to_string()))
    }

    fn codes(&self, w: &texts::People) -> String {
        fill(w.codes, "count", &self.factors.recovery_codes.to_string())
    }
}
