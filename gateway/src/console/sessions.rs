//! The list of live sessions.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::call::Call;
use super::desk::{Page, SessionLine};
use super::pager::Pager;
use super::shell::{Section, Shell};
use super::texts;
use crate::pages::fill;
use crate::uri::encode;

/// Sessions on one page of the list.
const PER_PAGE: usize = 50;

/// The page and its JSON.
#[derive(Serialize)]
struct Sessions {
    /// Whose, if one person's only.
    user: Option<String>,
    sessions: Page<SessionLine>,
}

#[derive(Template)]
#[template(path = "console/sessions.html")]
struct SessionsPage<'a> {
    f: Shell<'a>,
    w: &'static texts::Sessions,
    m: &'a Sessions,
    pager: Pager,
}

/// `GET /admin/sessions`: all of them, or those of `?user=`.
pub(crate) async fn list(call: Call) -> Response {
    let user = call.query.get("user").filter(|user| !user.is_empty());
    let model = Sessions {
        sessions: call.console.sessions(user, call.slice(PER_PAGE)),
        user: user.map(str::to_owned),
    };
    let view = SessionsPage {
        f: call.shell(Section::Sessions),
        w: texts::Sessions::of(call.ctx.lang),
        pager: Pager::new(&call, &model.sessions, PER_PAGE),
        m: &model,
    };
    call.reply(StatusCode::OK, &model, &view)
}

impl Sessions {
    fn title(&self, w: &texts::Sessions, user: &str) -> String {
        fill(w.title_of, "user", user)
    }

    fn end_all(&self) -> String {
        let user = self.user.as_deref().unwrap_or_default();
        format!("/admin/do/end-sessions?user={}", encode(user))
    }

    fn end_all_text(&self, w: &texts::Sessions, user: &str) -> String {
        fill(w.end_all, "user", user)
    }
}

impl SessionLine {
    /// Writes where it came from.
    pub(crate) fn place(&self) -> String {
        match self.zones.is_empty() {
            true => self.source.clone(),
            false => format!("{} ({})", self.zones.join(", "), self.source),
        }
    }

    /// The address of the act that ends it.
    pub(crate) fn end(&self) -> String {
        format!("/admin/do/end-session?session={}", encode(&self.id))
    }
}
