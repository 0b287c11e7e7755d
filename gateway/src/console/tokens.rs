//! The list of tokens for apps.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::call::Call;
use super::desk::{Page, TokenLine};
use super::pager::Pager;
use super::shell::{Section, Shell};
use super::texts;
use crate::uri::encode;

/// Tokens on one page of the list.
const PER_PAGE: usize = 50;

#[derive(Serialize)]
struct Tokens {
    search: String,
    tokens: Page<TokenLine>,
}

#[derive(Template)]
#[template(path = "console/tokens.html")]
struct TokensPage<'a> {
    f: Shell<'a>,
    w: &'static texts::Tokens,
    m: &'a Tokens,
    pager: Pager,
}

/// `GET /admin/tokens`: the list, those that match `?q=`.
pub(crate) async fn list(call: Call) -> Response {
    let search = call.query.get("q").unwrap_or_default().to_owned();
    let tokens = call.console.tokens(&search, call.slice(PER_PAGE));
    let model = Tokens { search, tokens };
    let view = TokensPage {
        f: call.shell(Section::Tokens),
        w: texts::Tokens::of(call.ctx.lang),
        pager: Pager::new(&call, &model.tokens, PER_PAGE),
        m: &model,
    };
    call.reply(StatusCode::OK, &model, &view)
}

impl TokenLine {
    pub(crate) fn person(&self) -> String {
        format!("/admin/person?user={}", encode(&self.user))
    }

    /// The address of the act that revokes it.
    pub(crate) fn revoke(&self) -> String {
        format!("/admin/do/revoke-token?token={}", encode(&self.id))
    }

    pub(crate) fn used(&self, w: &texts::Tokens) -> String {
        self.last_used
            .map_or_else(|| w.never.to_owned(), |at| at.to_string())
    }
}
