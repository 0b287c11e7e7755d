//! Questions to the policy in force, answered as the command line answers them.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::super::act;
use super::super::call::{Call, Query};
use super::super::rulebook::{Asking, Question};
use super::super::shell::{Section, Shell};
use super::super::texts;

#[derive(Template)]
#[template(path = "console/ask.html")]
struct AskPage<'a> {
    f: Shell<'a>,
    w: &'static texts::Policy,
    q: &'a Query,
    answer: Option<&'a str>,
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Wrong<'a> {
    error: &'static str,
    message: &'a str,
}

/// `GET /admin/policy/ask`: the forms, and the answer if something is asked.
pub(crate) async fn ask(call: Call) -> Response {
    let Some(question) = question(&call.query) else {
        return page(&call, StatusCode::OK, None, None, &serde_json::json!({}));
    };
    match call.console.rulebook().answer(&question).await {
        Ok(answer) => page(
            &call,
            StatusCode::OK,
            Some(&answer.text),
            None,
            &answer.json,
        ),
        Err(refused) => {
            let (status, error) = act::kind(refused.code);
            let message = refused.message.as_str();
            let wrong = Wrong { error, message };
            page(&call, status, None, Some(message), &wrong)
        }
    }
}

fn page(
    call: &Call,
    status: StatusCode,
    answer: Option<&str>,
    error: Option<&str>,
    model: &impl Serialize,
) -> Response {
    let view = AskPage {
        f: call.shell(Section::Policy),
        w: texts::Policy::of(call.ctx.lang),
        q: &call.query,
        answer,
        error,
    };
    call.reply(status, model, &view)
}

/// Reads what is asked; `None` where nothing is.
fn question(query: &Query) -> Option<Question> {
    let text = |name: &str| {
        let text = query.get(name).map(str::trim);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    match query.get("ask")? {
        "who-can" => text("resource").map(Question::WhoCan),
        "what-can" => text("user").map(Question::WhatCan),
        "explain" => {
            let to = text("to")?;
            let method = text("method").map(|method| format!("{method} "));
            Some(Question::Explain(Box::new(Asking {
                user: text("user"),
                from: text("from"),
                at: text("at"),
                mfa: text("mfa"),
                login: text("login"),
                device: text("device"),
                to: format!("{}{to}", method.unwrap_or_default()),
            })))
        }
        _ => None,
    }
}

impl AskPage<'_> {
    fn value(&self, ask: &str, name: &str) -> &str {
        let asked = self.q.get("ask") == Some(ask);
        self.q.get(name).filter(|_| asked).unwrap_or_default()
    }

    fn is(&self, ask: &str, name: &str, value: &str) -> bool {
        self.value(ask, name) == value
    }
}

#[cfg(test)]
mod tests {
    use super::question;
    use crate::console::call::Query;
    use crate::console::rulebook::{Asking, Question};

    #[test]
    fn questions_are_read_from_their_forms() {
        let read = |text: &str| question(&Query::read(text));
        assert_eq!(
            read("ask=who-can&resource=app.pay"),
            Some(Question::WhoCan("app.pay".to_owned()))
        );
        assert_eq!(
            read("ask=what-can&user=ann"),
            Some(Question::WhatCan("ann".to_owned()))
        );
        let asking = Asking {
            user: Some("ann".to_owned()),
            at: Some("tue 10:00".to_owned()),
            to: "POST https://pay.example/x".to_owned(),
            ..Asking::default()
        };
        let text = "ask=explain&user=ann&from=&at=tue+10:00&method=POST&to=https://pay.example/x";
        assert_eq!(read(text), Some(Question::Explain(Box::new(asking))));
    }

    #[test]
    fn what_asks_nothing_is_no_question() {
        for text in [
            "",
            "ask=who-can",
            "ask=who-can&resource=+",
            "ask=x&resource=a",
            "ask=explain&user=ann",
        ] {
            assert_eq!(question(&Query::read(text)), None, "{text}");
        }
    }
}
