//! The certificates, and the button that renews one.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::call::Call;
use super::shell::{Section, Shell};
use super::texts;
use crate::acme::Line;
use crate::pages::fill;
use crate::uri::encode;

/// The page and its JSON.
#[derive(Serialize)]
struct Certs {
    certificates: Vec<Line>,
}

#[derive(Template)]
#[template(path = "console/certs.html")]
struct CertsPage<'a> {
    f: Shell<'a>,
    w: &'static texts::Certs,
    m: &'a Certs,
}

/// `GET /admin/certs`: every certificate in force, and those that are wanted.
pub(crate) async fn list(call: Call) -> Response {
    let model = Certs {
        certificates: call.console.certificates(),
    };
    let view = CertsPage {
        f: call.shell(Section::Certificates),
        w: texts::Certs::of(call.ctx.lang),
        m: &model,
    };
    call.reply(StatusCode::OK, &model, &view)
}

impl Line {
    /// Says where it is from.
    fn source_text(&self, w: &texts::Certs) -> &'static str {
        match self.source.as_str() {
            "file" => w.file,
            "directory" => w.directory,
            "internal" => w.internal,
            _ => w.missing,
        }
    }

    /// The UTC day of an RFC 3339 time.
    fn day(time: &str) -> &str {
        time.split('T').next().unwrap_or(time)
    }

    fn left(&self, w: &texts::Certs) -> String {
        let days = self.days_left.unwrap_or_default();
        fill(w.days, "days", &days.to_string())
    }

    fn is_near(&self) -> bool {
        self.days_left.is_some_and(|days| days < 7)
    }

    /// The address of the act that renews it; only what is ordered has one.
    fn renew(&self) -> Option<String> {
        let name = self.names.first().filter(|_| self.course.next.is_some())?;
        Some(format!("/admin/do/renew-certificate?name={}", encode(name)))
    }
}
