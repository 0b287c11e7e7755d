//! One request to the console, and the two forms of an answer: page or JSON.

use askama::Template;
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header::ACCEPT;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::Serialize;

use super::SharedConsole;
use super::desk::Slice;
use super::shell::{Section, Shell};
use crate::pages::{self, Ctx, Person, Policy, Problem, see_other};
use crate::uri::encode;

/// What every handler of the console starts from.
pub(crate) struct Call {
    /// The request as all pages see it.
    pub(crate) ctx: Ctx,
    /// The gateway behind it.
    pub(crate) console: SharedConsole,
    /// Who asks.
    pub(crate) person: Person,
    /// The parameters of the URL.
    pub(crate) query: Query,
    path: String,
    target: String,
    /// The path and query that show this page again.
    again: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Call {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let console = parts.extensions.get::<SharedConsole>().cloned();
        let ctx = Ctx::from_request_parts(parts, state).await?;
        // only the gate puts the console there, with a permit
        let (Some(console), Some(person)) = (console, ctx.person().cloned()) else {
            return Err(ctx.problem(Problem::Denied));
        };
        let query = Query::read(parts.uri.query().unwrap_or_default());
        Ok(Self {
            path: parts.uri.path().to_owned(),
            target: parts.uri.to_string(),
            again: format!(
                "{}?{}",
                parts.uri.path(),
                query.without_all(&["lang", "done"])
            ),
            console,
            person,
            query,
            ctx,
        })
    }
}

impl Call {
    /// Describes the page around a part of the console.
    pub(crate) fn shell(&self, section: Section) -> Shell<'_> {
        let done = self.query.get("done");
        Shell {
            may_act: self.console.may_act(),
            ..Shell::new(&self.ctx, &self.person, section, &self.again, done)
        }
    }

    /// Reads which part of a list is asked for, by `?page=` from 1.
    pub(crate) fn slice(&self, take: usize) -> Slice {
        let page: usize = self
            .query
            .get("page")
            .and_then(|n| n.parse().ok())
            .unwrap_or(1);
        Slice {
            skip: page.saturating_sub(1).saturating_mul(take),
            take,
        }
    }

    /// Answers with a page, or with its model where JSON is asked for.
    pub(crate) fn reply(
        &self,
        status: StatusCode,
        model: &impl Serialize,
        view: &impl Template,
    ) -> Response {
        self.reply_as(status, model, view, Policy::Page)
    }

    /// As [`Call::reply`], for a page that may do what `policy` says.
    pub(crate) fn reply_as(
        &self,
        status: StatusCode,
        model: &impl Serialize,
        view: &impl Template,
        policy: Policy<'_>,
    ) -> Response {
        if self.wants_json() {
            return match serde_json::to_value(model) {
                Ok(value) => pages::json(status, &value).map(Into::into),
                Err(_) => self.ctx.problem(Problem::Internal),
            };
        }
        self.ctx.page(status, view, policy).into()
    }

    /// Who asks.
    pub(crate) fn user(&self) -> &str {
        &self.person.user
    }

    /// The path and query as they were asked for.
    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// The path of the request.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether JSON is asked for instead of a page.
    pub(crate) fn wants_json(&self) -> bool {
        wants_json(&self.ctx.headers)
    }

    /// The address of our script.
    pub(crate) fn script(&self) -> String {
        format!("/.postern/pages.js?v={}", *pages::SCRIPT)
    }
}

/// `GET /admin`: leads to the first part.
pub(crate) async fn home(_: Call) -> Response {
    see_other("/admin/people").into()
}

/// Says whether a client that shows no pages asks for JSON.
fn wants_json(headers: &HeaderMap) -> bool {
    let named = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|v| v.to_str().ok());
    let json = named
        .flat_map(|value| value.split(','))
        .any(|range| range.trim().split(';').next() == Some("application/json"));
    json && !pages::wants_html(headers)
}

/// The parameters of a URL, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn read(text: &str) -> Self {
        let decode = |text: &str| pages::decode(text.as_bytes()).map(|t| t.to_string());
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        Self(
            pairs
                .filter_map(|(name, value)| Some((decode(name)?, decode(value)?)))
                .collect(),
        )
    }

    /// Returns a parameter that stands exactly once.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(held, _)| held == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            (None, _) | (Some(_), Some(_)) => None,
        }
    }

    /// Writes all parameters but some.
    pub(crate) fn without_all(&self, names: &[&str]) -> String {
        let rest = self
            .0
            .iter()
            .filter(|(held, _)| !names.contains(&held.as_str()));
        let pairs = rest.map(|(name, value)| format!("{}={}", encode(name), encode(value)));
        pairs.collect::<Vec<_>>().join("&")
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{Query, wants_json};

    #[test]
    fn a_parameter_counts_once_and_survives_the_way_back() {
        let query = Query::read("user=ann&user=bob&q=a%26b+c&lang=de&bad=%zz&bare");
        assert_eq!(query.get("user"), None);
        assert_eq!(query.get("q"), Some("a&b c"));
        assert_eq!(query.get("bad"), None);
        assert_eq!(
            query.without_all(&["lang"]),
            "user=ann&user=bob&q=a%26b%20c"
        );
        assert_eq!(
            Query::read(&query.without_all(&["user"])).get("q"),
            Some("a&b c")
        );
    }

    #[test]
    fn json_is_for_those_who_name_it_and_take_no_page() {
        let of = |accept: &'static str| {
            let line = ("accept".parse().unwrap(), HeaderValue::from_static(accept));
            wants_json(&HeaderMap::from_iter([line]))
        };
        assert!(of("application/json"));
        assert!(of("application/json;q=0.9, */*;q=0.1"));
        assert!(!of("text/html, application/json"));
        assert!(!of("*/*"));
        assert!(!wants_json(&HeaderMap::new()));
    }
}
