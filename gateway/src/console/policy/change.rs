//! Changes of the policy: shown whole before they are made, and lost by no mistake.

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use super::super::DRAFTS;
use super::super::act;
use super::super::call::Call;
use super::super::desk::FileDiff;
use super::super::rulebook::{Change, Effect, NotKept, NotMade};
use super::super::shell::{Section, Shell};
use super::super::texts;
use super::HOME;
use crate::clock;
use crate::control::{Code, Refusal};
use crate::edits::lines::Mark;
use crate::pages::{Fields, Problem, Proof, Spec, fill, parse, see_other};
use crate::reload::Finding;
use crate::reload::guards::{Accept, Stop};
use crate::uri::encode;

/// The most a policy form may weigh in bytes, as it is sent.
pub(in crate::console) const BODY_MAX: usize = 1024 * 1024;
/// The longest text that is offered for an edit: encoded it may be three times as long.
const TEXT_MAX: usize = 300 * 1024;
/// Findings that are shown at once.
const FOUND_MAX: usize = 50;
/// The longest time to confirm that is offered, in minutes.
const CONFIRM_MAX: u64 = 1440;

const FORM: Spec = Spec {
    required: &["do"],
    optional: &["text", "base", "confirm", "wider", "loss", "back", "own"],
    limit: BODY_MAX,
};

/// What the page is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Subject {
    File(String),
    Rollback(Option<String>),
    Folder,
}

/// What is known of the change.
#[derive(Default, Serialize)]
struct Model {
    /// The file, of an edit.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Its text as it was sent, or as it lies there.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The digest of the files it was opened with.
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<String>,
    /// Whether the text is one that was sent before a fresh code was given.
    kept: bool,
    /// What it changes or changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    preview: Option<Effect>,
    /// What is wrong in it.
    findings: Vec<Marked>,
    /// Why it cannot be made.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The lines of an edit that another change overtook.
    #[serde(skip_serializing_if = "Option::is_none")]
    overtaken: Option<Vec<FileDiff>>,
    /// Whether it is in force.
    in_force: bool,
}

/// A finding with the line it is about.
#[derive(Serialize)]
struct Marked {
    #[serde(flatten)]
    finding: Finding,
    /// The line, where it is in the file that was edited.
    excerpt: Option<String>,
}

#[derive(Template)]
#[template(path = "console/change.html")]
struct ChangePage<'a> {
    f: Shell<'a>,
    w: &'static texts::Policy,
    m: &'a Model,
    title: String,
    confirm: String,
    back: &'static str,
}

/// `GET /admin/policy/file`, `.../rollback` and `.../folder`: the file to edit, or what a change would do.
pub(crate) async fn show(call: Call) -> Response {
    let Some(subject) = subject(&call) else {
        return call.ctx.problem(Problem::NotFound);
    };
    if let Subject::File(name) = &subject {
        return file(&call, &subject, name).await;
    }
    let change = change(&subject, None);
    let (status, model) = match call
        .console
        .rulebook()
        .preview(&change, &Accept::default())
        .await
    {
        Ok(preview) => (StatusCode::OK, of_preview(preview, false)),
        Err(why) => of_failure(&why, None),
    };
    page(&call, &subject, status, &model, "")
}

async fn file(call: &Call, subject: &Subject, name: &str) -> Response {
    match call.console.rulebook().file(name).await {
        Ok(Some(file)) => {
            let sent = kept(call);
            let kept = sent.is_some();
            let Sent { text, base } = sent.unwrap_or(Sent {
                text: file.text,
                base: file.base,
            });
            let model = Model {
                name: Some(file.name),
                text: Some(text),
                base: Some(base),
                kept,
                ..Model::default()
            };
            page(call, subject, StatusCode::OK, &model, "")
        }
        Ok(None) => call.ctx.problem(Problem::NotFound),
        Err(why) => act::failure(call, Section::Policy, HOME.to_owned(), &why),
    }
}

/// `POST` to the same: `do=check` tells what it would do, `do=apply` does it.
pub(crate) async fn carry_out(call: Call, body: Body) -> Response {
    let fields = match call.ctx.form(Proof::Session, &FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let Some(subject) = subject(&call) else {
        return call.ctx.problem(Problem::NotFound);
    };
    if !is_whole(&subject, &fields) {
        return call.ctx.problem(Problem::BadRequest);
    }
    let Some(acts) = call.console.acts() else {
        return call.ctx.problem(Problem::Denied);
    };
    let sent = Sent::read(&fields);
    let change = change(&subject, Some(&sent));
    let accept = accept(&fields);
    let confirm = fields.value("confirm").trim();
    let done = match (fields.value("do"), minutes(confirm)) {
        (_, Err(())) => {
            let text = texts::Policy::of(call.ctx.lang).bad_minutes.to_owned();
            Err(NotMade::Refused(Refusal::new(Code::Usage, text)))
        }
        ("apply", Ok(seconds)) => acts.amend().put(&change, &accept, seconds).await,
        (_, Ok(_)) => call.console.rulebook().preview(&change, &accept).await,
    };
    let applies = fields.value("do") == "apply";
    let (status, mut model) = match done {
        Ok(preview) if applies && preview.verdict.in_force => {
            if !call.wants_json() {
                return see_other(&format!("{HOME}?done=1")).into();
            }
            (StatusCode::OK, of_preview(preview, true))
        }
        // a guard stands in the way
        Ok(preview) if applies => (StatusCode::CONFLICT, of_preview(preview, false)),
        Ok(preview) => (StatusCode::OK, of_preview(preview, false)),
        Err(why) => of_failure(&why, Some(&sent.text)),
    };
    if let Subject::File(name) = &subject {
        model.name = Some(name.clone());
        model.text = Some(sent.text);
        model.base = Some(sent.base);
    }
    page(&call, &subject, status, &model, confirm)
}

/// Whether a form has what its subject needs; an edit without its text would empty the file.
fn is_whole(subject: &Subject, fields: &Fields) -> bool {
    let has_text = ["text", "base"].iter().all(|f| fields.find(f).is_some());
    let is_edit = matches!(subject, Subject::File(_));
    matches!(fields.value("do"), "check" | "apply") && (has_text || !is_edit)
}

/// `POST /admin/policy/confirm`: what waits stays.
pub(crate) async fn confirm(call: Call, body: Body) -> Response {
    const NOTHING: Spec = Spec {
        required: &[],
        optional: &[],
        limit: crate::pages::FORM_MAX,
    };
    if let Err(refusal) = call.ctx.form(Proof::Session, &NOTHING, body).await {
        return refusal;
    }
    let Some(acts) = call.console.acts() else {
        return call.ctx.problem(Problem::Denied);
    };
    match acts.amend().confirm().await {
        Ok(()) => see_other(&format!("{HOME}?done=1")).into(),
        Err(why) => {
            let why = match why {
                NotKept::Refused(why) => why,
                NotKept::OldConnection => {
                    let text = texts::Policy::of(call.ctx.lang).old_connection;
                    Refusal::new(Code::Held, text)
                }
            };
            act::failure(&call, Section::Policy, HOME.to_owned(), &why)
        }
    }
}

/// `GET /admin/policy/confirm`, where a fresh code on the way leads: the page with the button.
pub(crate) async fn ask_confirm(_: Call) -> Response {
    see_other(HOME).into()
}

/// What was sent to this page when a fresh code was due.
fn kept(call: &Call) -> Option<Sent> {
    let body = DRAFTS.take(call.user(), call.target(), clock::now())?;
    parse(&FORM, &body).ok().map(|fields| Sent::read(&fields))
}

/// What an edit sent.
struct Sent {
    text: String,
    base: String,
}

impl Sent {
    fn read(fields: &Fields) -> Self {
        Self {
            // browsers send line breaks as CRLF
            text: fields.value("text").replace("\r\n", "\n"),
            base: fields.value("base").to_owned(),
        }
    }
}

fn subject(call: &Call) -> Option<Subject> {
    let name = || call.query.get("name").map(str::to_owned);
    match call.path().strip_prefix(HOME)? {
        "/file" => name().map(Subject::File),
        "/rollback" => Some(Subject::Rollback(call.query.get("to").map(str::to_owned))),
        "/folder" => Some(Subject::Folder),
        _ => None,
    }
}

fn change(subject: &Subject, sent: Option<&Sent>) -> Change {
    match subject {
        Subject::File(name) => Change::Edit {
            name: name.clone(),
            text: sent.map(|sent| sent.text.clone()).unwrap_or_default(),
            base: sent.map(|sent| sent.base.clone()).unwrap_or_default(),
        },
        Subject::Rollback(to) => Change::Rollback { to: to.clone() },
        Subject::Folder => Change::Folder,
    }
}

fn accept(fields: &Fields) -> Accept {
    let number = |name: &str| fields.value(name).parse().ok();
    Accept {
        wider: number("wider"),
        loss: number("loss"),
        back: number("back"),
        own: fields.value("own") == "1",
    }
}

/// Reads the minutes to confirm as seconds; empty is none.
fn minutes(text: &str) -> Result<Option<u64>, ()> {
    if text.is_empty() {
        return Ok(None);
    }
    let minutes: u64 = text.parse().map_err(|_| ())?;
    let fits = (1..=CONFIRM_MAX).contains(&minutes);
    fits.then_some(Some(minutes * 60)).ok_or(())
}

fn of_preview(preview: Effect, in_force: bool) -> Model {
    Model {
        preview: Some(preview),
        in_force,
        ..Model::default()
    }
}

fn of_failure(why: &NotMade, text: Option<&str>) -> (StatusCode, Model) {
    match why {
        NotMade::Wrong(found) => {
            let shown = found.iter().take(FOUND_MAX);
            let findings = shown.map(|finding| mark(finding, text)).collect();
            let model = Model {
                findings,
                ..Model::default()
            };
            (StatusCode::UNPROCESSABLE_ENTITY, model)
        }
        NotMade::Stale(lines) => {
            let model = Model {
                overtaken: Some(lines.clone()),
                ..Model::default()
            };
            (StatusCode::CONFLICT, model)
        }
        NotMade::Refused(refusal) => {
            let model = Model {
                error: Some(refusal.message.clone()),
                ..Model::default()
            };
            (act::kind(refusal.code).0, model)
        }
    }
}

fn mark(finding: &Finding, text: Option<&str>) -> Marked {
    let at = usize::try_from(finding.line.saturating_sub(1)).unwrap_or(usize::MAX);
    let line = text.and_then(|text| text.lines().nth(at));
    Marked {
        excerpt: line.map(|line| line.chars().take(200).collect()),
        finding: finding.clone(),
    }
}

fn page(
    call: &Call,
    subject: &Subject,
    status: StatusCode,
    model: &Model,
    confirm: &str,
) -> Response {
    let w = texts::Policy::of(call.ctx.lang);
    let title = match subject {
        Subject::File(name) => name.clone(),
        Subject::Rollback(Some(to)) => fill(w.rollback_title, "generation", to),
        Subject::Rollback(None) => w.rollback_before.to_owned(),
        Subject::Folder => w.folder_title.to_owned(),
    };
    let view = ChangePage {
        f: call.shell(Section::Policy),
        w,
        m: model,
        title,
        confirm: confirm.to_owned(),
        back: HOME,
    };
    call.reply(status, model, &view)
}

/// A box to tick, for what a guard asks to be accepted.
struct Tick {
    name: &'static str,
    value: String,
    text: String,
}

impl ChangePage<'_> {
    fn edits(&self) -> bool {
        self.m.text.is_some() && self.f.may_act && !self.too_long()
    }

    fn too_long(&self) -> bool {
        self.m
            .text
            .as_ref()
            .is_some_and(|text| text.len() > TEXT_MAX)
    }

    /// Whether it was looked at and nobody but the one who looks stands in its way.
    fn can_apply(&self) -> bool {
        let verdict = self.m.preview.as_ref().map(|preview| &preview.verdict);
        let acceptable = |stop: &Stop| stop.accept.is_some();
        let open = verdict.is_some_and(|v| v.changed && v.stops.iter().all(acceptable));
        self.f.may_act && open && !self.m.in_force
    }

    fn ticks(&self) -> Vec<Tick> {
        let preview = self.m.preview.iter();
        let stops = preview.flat_map(|preview| &preview.verdict.stops);
        stops.filter_map(tick).collect()
    }

    fn places(&self) -> Vec<(String, &Marked)> {
        let found = self.m.findings.iter();
        found
            .map(|marked| (place(&marked.finding), marked))
            .collect()
    }

    fn again(&self) -> String {
        let name = self.m.name.as_deref().unwrap_or_default();
        format!("{HOME}/file?name={}", encode(name))
    }
}

fn place(finding: &Finding) -> String {
    format!("{}:{}:{}", finding.file, finding.line, finding.column)
}

/// Turns the option of the command line that accepts a stop into a field of the form.
fn tick(stop: &Stop) -> Option<Tick> {
    let option = stop.accept.as_deref()?;
    let (option, value) = option.split_once(' ').unwrap_or((option, "1"));
    let name = match option {
        "--accept-wider" => "wider",
        "--accept-loss" => "loss",
        "--accept-back" => "back",
        "--i-lose-access" => "own",
        _ => return None,
    };
    Some(Tick {
        name,
        value: value.to_owned(),
        text: stop.text.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::{minutes, tick};
    use crate::reload::guards::Stop;

    #[test]
    fn minutes_are_one_to_a_day() {
        for (text, want) in [
            ("", Ok(None)),
            ("5", Ok(Some(300))),
            ("1440", Ok(Some(86_400))),
            ("0", Err(())),
            ("1441", Err(())),
            ("-5", Err(())),
            ("5m", Err(())),
            ("99999999999999999999", Err(())),
        ] {
            assert_eq!(minutes(text), want, "{text}");
        }
    }

    #[test]
    fn what_a_guard_asks_for_becomes_a_box_with_its_exact_number() {
        let of = |accept: Option<&str>| {
            let stop = Stop {
                guard: "x".to_owned(),
                text: "t".to_owned(),
                accept: accept.map(str::to_owned),
            };
            tick(&stop).map(|tick| (tick.name, tick.value))
        };
        assert_eq!(
            of(Some("--accept-wider 12")),
            Some(("wider", "12".to_owned()))
        );
        assert_eq!(of(Some("--accept-loss 3")), Some(("loss", "3".to_owned())));
        assert_eq!(of(Some("--accept-back 1")), Some(("back", "1".to_owned())));
        assert_eq!(of(Some("--i-lose-access")), Some(("own", "1".to_owned())));
        assert_eq!(of(Some("")), None);
        assert_eq!(of(None), None);
    }
}
