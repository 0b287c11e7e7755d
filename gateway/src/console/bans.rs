//! Sources that are shut out, and accounts that wait.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::act::failure;
use super::call::Call;
use super::desk::Locked;
use super::shell::{Section, Shell};
use super::texts;
use crate::control::ban;
use crate::pages::fill;
use crate::uri::encode;

#[derive(Serialize)]
struct Bans {
    bans: Vec<ban::Line>,
    locked: Vec<Locked>,
}

#[derive(Template)]
#[template(path = "console/bans.html")]
struct BansPage<'a> {
    f: Shell<'a>,
    w: &'static texts::Bans,
    m: &'a Bans,
}

/// `GET /admin/bans`: what is shut out, and who waits.
pub(crate) async fn list(call: Call) -> Response {
    let bans = match call.console.bans().await {
        Ok(bans) => bans,
        Err(refusal) => return failure(&call, Section::Bans, "/admin".to_owned(), &refusal),
    };
    let model = Bans {
        bans,
        locked: call.console.locked(),
    };
    let view = BansPage {
        f: call.shell(Section::Bans),
        w: texts::Bans::of(call.ctx.lang),
        m: &model,
    };
    call.reply(StatusCode::OK, &model, &view)
}

impl BansPage<'_> {
    fn lift(&self, line: &ban::Line) -> String {
        format!(
            "/admin/do/unban?network={}",
            encode(&line.network.to_string())
        )
    }

    fn until(&self, line: &ban::Line) -> String {
        let minutes = |secs: u64| fill(self.w.minutes, "count", &secs.div_ceil(60).to_string());
        line.left_s
            .map_or_else(|| self.w.lifted.to_owned(), minutes)
    }

    fn unlock(&self, locked: &Locked) -> String {
        format!("/admin/do/unlock?user={}", encode(&locked.user))
    }

    fn left(&self, locked: &Locked) -> String {
        fill(
            self.w.minutes,
            "count",
            &locked.left_s.div_ceil(60).to_string(),
        )
    }
}
