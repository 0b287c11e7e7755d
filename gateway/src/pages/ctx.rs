//! One request to the pages: who asks, in which language, with which proof.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT_LANGUAGE, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};

use super::answer::{self, Policy};
use super::desk::{Desk, Person, Visit};
use super::form::{self, Fields, FormError, Spec};
use super::lang::{Lang, Wishes};
use super::problem::{Detail, Problem, problem};
use super::texts::Texts;
use super::views::{Badge, Frame};
use super::{assets, csrf};
use crate::ids;

/// The desk of one request, as an extension of it.
pub(crate) type SharedDesk = Arc<dyn Desk>;

/// What every handler starts from.
pub(crate) struct Ctx {
    pub(crate) desk: SharedDesk,
    pub(crate) headers: HeaderMap,
    pub(crate) lang: Lang,
    /// Whether this request chose the language by the switch.
    switched: bool,
    /// The return id in the URL.
    pub(crate) rt: Option<String>,
    /// The path, where the request only looks.
    pub(crate) looks_at: Option<String>,
    /// Whether a signed-in person is to sign in once more, because the sign-in is too old.
    pub(crate) anew: bool,
    nonce: Option<String>,
}

/// What a form is proved with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proof {
    /// The nonce of a browser that need not be signed in.
    Browser,
    /// The session.
    Session,
    /// The session of a device that waits for another proof.
    Held,
}

impl<S: Send + Sync> FromRequestParts<S> for Ctx {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let Some(desk) = parts.extensions.get::<SharedDesk>().cloned() else {
            let lang = Lang::default();
            let answer = problem(Problem::Internal, lang, &parts.headers, &Detail::default());
            return Err(answer.map(Body::from));
        };
        let query = parts.uri.query().unwrap_or_default();
        let wanted = parameter(query, "lang");
        let lang = choose(desk.as_ref(), wanted.as_deref(), &parts.headers);
        let nonce = desk.cookie(answer::NONCE).filter(|n| csrf::is_nonce(n));
        Ok(Self {
            switched: wanted.as_deref().and_then(Lang::parse).is_some(),
            rt: parameter(query, "rt").filter(|rt| csrf::is_opaque(rt)),
            looks_at: (parts.method == Method::GET).then(|| parts.uri.path().to_owned()),
            anew: parameter(query, "anew").is_some(),
            nonce: nonce.map(str::to_owned),
            headers: parts.headers.clone(),
            lang,
            desk,
        })
    }
}

impl Ctx {
    pub(crate) fn t(&self) -> &'static Texts {
        self.lang.texts()
    }

    pub(crate) fn visit(&self) -> &Visit {
        self.desk.visit()
    }

    pub(crate) fn person(&self) -> Option<&Person> {
        self.visit().person.as_ref()
    }

    pub(crate) fn agent(&self) -> String {
        let agent = self.headers.get(USER_AGENT).and_then(|v| v.to_str().ok());
        agent.unwrap_or_default().chars().take(256).collect()
    }

    /// Returns the token for a form of this request, empty where the proof cannot be given.
    ///
    /// A browser without a nonce gets one drawn; [`Ctx::page`] then sets the cookie.
    pub(crate) fn token(&mut self, proof: Proof) -> String {
        if matches!(proof, Proof::Browser) && self.nonce.is_none() {
            self.nonce = Some(ids::token());
        }
        self.expected(proof).unwrap_or_default()
    }

    fn expected(&self, proof: Proof) -> Option<String> {
        let host = &self.visit().host;
        match proof {
            Proof::Browser => {
                let nonce = self.nonce.as_deref()?;
                Some(csrf::token(self.desk.csrf_key(), host, nonce))
            }
            Proof::Session => {
                let person = self.person()?;
                Some(csrf::token(person.csrf.as_bytes(), host, ""))
            }
            Proof::Held => {
                let held = self.desk.held()?;
                Some(csrf::token(held.csrf.as_bytes(), host, ""))
            }
        }
    }

    /// Reads a form and checks that it came from a page of ours.
    ///
    /// # Errors
    /// The answer to give instead.
    pub(crate) async fn form(
        &self,
        proof: Proof,
        spec: &Spec,
        body: Body,
    ) -> Result<Fields, Response> {
        if !self.is_same_origin() {
            return Err(self.problem(Problem::FormRefused));
        }
        let fields = form::read(spec, &self.headers, body)
            .await
            .map_err(|e| self.problem(refusal(e)))?;
        let right = self.expected(proof).unwrap_or_default();
        if !csrf::matches(fields.value("csrf"), &right) {
            return Err(self.problem(Problem::FormRefused));
        }
        Ok(fields)
    }

    pub(crate) fn is_same_origin(&self) -> bool {
        csrf::is_same_origin(&self.headers, &self.visit().authority)
    }

    /// Describes the page that `path` shows; the person's head is there only where asked for.
    pub(crate) fn frame(&self, path: &'static str, switch: bool) -> Frame<'_> {
        let visit = self.visit();
        Frame {
            t: self.t(),
            lang: self.lang,
            css: format!("/.postern/postern.css?v={}", *assets::VERSION),
            icon: "/.postern/icon.svg",
            script: None,
            host: &visit.authority,
            contact: visit.contact.as_deref(),
            person: None,
            console: visit.console,
            path,
            rt: None,
            switch,
        }
    }

    /// Returns the token for forms with a proof; empty where it cannot be given.
    pub(crate) fn proof(&self, proof: Proof) -> String {
        self.expected(proof).unwrap_or_default()
    }

    /// Returns the token for the forms of the session; empty without one.
    pub(crate) fn session_token(&self) -> String {
        self.expected(Proof::Session).unwrap_or_default()
    }

    /// As [`Ctx::frame`], with the signed-in person's menu.
    pub(crate) fn frame_of<'a>(&'a self, person: &'a Person, path: &'static str) -> Frame<'a> {
        let csrf = self.expected(Proof::Session).unwrap_or_default();
        let user = &person.user;
        Frame {
            person: Some(Badge { user, csrf }),
            ..self.frame(path, true)
        }
    }

    /// As [`Ctx::frame`] or [`Ctx::frame_of`], with our script; answer with [`Policy::Script`].
    pub(crate) fn scripted<'a>(&self, frame: Frame<'a>) -> Frame<'a> {
        let version = assets::SCRIPT_VERSION.as_str();
        Frame {
            script: Some(format!("/.postern/pages.js?v={version}")),
            ..frame
        }
    }

    /// As [`Ctx::scripted`], with the script that watches a device; answer with [`Policy::Live`].
    pub(crate) fn watching<'a>(&self, frame: Frame<'a>) -> Frame<'a> {
        let version = assets::WATCH_VERSION.as_str();
        Frame {
            script: Some(format!("/.postern/watch.js?v={version}")),
            ..frame
        }
    }

    /// As [`Ctx::scripted`], with the script that makes keys; answer with [`Policy::Keys`].
    pub(crate) fn with_key_maker<'a>(&self, frame: Frame<'a>) -> Frame<'a> {
        let version = assets::KEY_MAKER_VERSION.as_str();
        Frame {
            script: Some(format!("/.postern/devices.js?v={version}")),
            ..frame
        }
    }

    /// Renders a page and sets the cookies it needs.
    pub(crate) fn page(&self, status: StatusCode, view: &impl Template, to: Policy<'_>) -> Page {
        let Ok(body) = view.render() else {
            return Page(self.trouble(Problem::Internal));
        };
        let mut page = answer::html(status, body, to);
        if self.switched {
            answer::language(&mut page, self.lang.code());
        }
        Page(page)
    }

    /// Sets the nonce cookie if this request drew one.
    pub(crate) fn keep_nonce(&self, page: &mut Page) {
        let held = self.desk.cookie(answer::NONCE);
        if let Some(nonce) = self.nonce.as_deref().filter(|n| held != Some(n)) {
            answer::nonce(&mut page.0, nonce);
        }
    }

    /// Makes the answer to a problem.
    pub(crate) fn problem(&self, kind: Problem) -> Response {
        Page(self.trouble(kind)).into()
    }

    fn trouble(&self, kind: Problem) -> http::Response<Bytes> {
        let visit = self.visit();
        let sign_in = format!("https://{}/signin", visit.authority);
        let detail = Detail {
            request_id: &visit.request_id,
            contact: visit.contact.as_deref(),
            sign_in: (kind == Problem::SignInNeeded).then_some(sign_in.as_str()),
            ..Detail::default()
        };
        problem(kind, self.lang, &self.headers, &detail)
    }
}

/// An answer on its way out.
pub(crate) struct Page(pub(crate) http::Response<Bytes>);

impl Page {
    /// Says when to try again, in whole seconds rounded up.
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        let secs = wait.as_millis().div_ceil(1000).max(1);
        let value = HeaderValue::try_from(secs.to_string());
        self.0
            .headers_mut()
            .insert(RETRY_AFTER, value.unwrap_or(HeaderValue::from_static("60")));
        self
    }
}

impl From<Page> for Response {
    fn from(page: Page) -> Self {
        page.0.map(Body::from)
    }
}

/// Redirects inside the pages or to a return target.
pub(crate) fn see_other(to: &str) -> Page {
    Page(answer::see_other(to))
}

/// Adds a return id to a path of ours.
pub(crate) fn with_rt(path: &str, rt: Option<&str>) -> String {
    match rt {
        Some(rt) => format!("{path}?rt={rt}"),
        None => path.to_owned(),
    }
}

fn refusal(error: FormError) -> Problem {
    match error {
        FormError::ContentType => Problem::UnsupportedType,
        FormError::TooLarge => Problem::TooLarge,
        FormError::Encoding
        | FormError::Missing(_)
        | FormError::Doubled(_)
        | FormError::Unknown => Problem::BadRequest,
    }
}

fn choose(desk: &dyn Desk, query: Option<&str>, headers: &HeaderMap) -> Lang {
    let setting = desk
        .visit()
        .person
        .as_ref()
        .and_then(|p| p.language.as_deref());
    let accept = headers.get(ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok());
    let wishes = Wishes {
        query,
        cookie: desk.cookie(answer::LANG),
        setting,
        accept,
    };
    wishes.choose()
}

/// Returns a query parameter that stands exactly once and is well encoded.
fn parameter(query: &str, name: &str) -> Option<String> {
    let mut values = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(held, _)| *held == name);
    match (values.next(), values.next()) {
        (Some((_, value)), None) => form::decode(value.as_bytes()).map(|v| v.to_string()),
        (None, _) | (Some(_), Some(_)) => None,
    }
}

/// Answers what no route of the pages takes.
pub(crate) async fn not_found(ctx: Ctx) -> Response {
    ctx.problem(Problem::NotFound)
}

/// Answers a method a route of the pages does not take.
pub(crate) async fn wrong_method(ctx: Ctx) -> Response {
    ctx.problem(Problem::MethodNotAllowed)
}
