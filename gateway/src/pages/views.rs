//! The templates with their values; everything is escaped by askama.

use askama::Template;

use super::desk::{App, DeviceLine, Here, SessionRow};
use super::lang::Lang;
use super::qr::Qr;
use super::texts::{Texts, fill};
use crate::ids::Door;

/// What every page shows around its own part.
pub(crate) struct Frame<'a> {
    pub(crate) t: &'static Texts,
    pub(crate) lang: Lang,
    pub(crate) css: String,
    pub(crate) icon: &'static str,
    pub(crate) host: &'a str,
    pub(crate) contact: Option<&'a str>,
    pub(crate) person: Option<Badge<'a>>,
    /// The path that shows this page again.
    pub(crate) path: &'static str,
    /// The return id to keep while switching the language.
    pub(crate) rt: Option<&'a str>,
    /// Whether the page can be shown again in another language.
    pub(crate) switch: bool,
}

/// The signed-in person in the head of a page.
pub(crate) struct Badge<'a> {
    pub(crate) user: &'a str,
    pub(crate) csrf: String,
}

/// One entry of the language switch.
pub(crate) struct LangLink {
    pub(crate) code: &'static str,
    pub(crate) name: &'static str,
    pub(crate) href: String,
    pub(crate) current: bool,
}

impl Frame<'_> {
    fn languages(&self) -> Vec<LangLink> {
        let rt = self.rt.map(|rt| format!("&rt={rt}")).unwrap_or_default();
        Lang::ALL
            .into_iter()
            .map(|lang| LangLink {
                code: lang.code(),
                name: lang.name(),
                href: format!("{}?lang={}{rt}", self.path, lang.code()),
                current: lang == self.lang,
            })
            .collect()
    }
}

#[derive(Template)]
#[template(path = "signin.html")]
pub(crate) struct SignIn<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) csrf: String,
    pub(crate) rt: Option<&'a str>,
    pub(crate) username: &'a str,
    pub(crate) error: Option<String>,
}

#[derive(Template)]
#[template(path = "code.html")]
pub(crate) struct Code<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) action: &'static str,
    pub(crate) heading: &'static str,
    pub(crate) lead: &'static str,
    pub(crate) button: &'static str,
    pub(crate) back: String,
    pub(crate) back_text: &'static str,
    pub(crate) csrf: String,
    pub(crate) rt: Option<&'a str>,
    pub(crate) error: Option<String>,
}

#[derive(Template)]
#[template(path = "portal.html")]
pub(crate) struct Portal<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) greeting: String,
    pub(crate) here: &'a Here,
    pub(crate) apps: Vec<App>,
    pub(crate) devices: Vec<DeviceLine>,
}

impl Portal<'_> {
    fn fill(&self, text: &str, name: &str) -> String {
        fill(text, "name", name)
    }
}

#[derive(Template)]
#[template(path = "account.html")]
pub(crate) struct Account<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) csrf: String,
    pub(crate) sessions: Vec<SessionLine>,
    pub(crate) devices: Vec<DeviceLine>,
    pub(crate) error: Option<String>,
}

/// A session as the account page writes it.
pub(crate) struct SessionLine {
    id: String,
    door: Door,
    place: String,
    created: String,
    last_used: String,
    current: bool,
}

impl From<SessionRow> for SessionLine {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id.to_string(),
            door: row.door,
            place: row.source.to_canonical().to_string(),
            created: minute(row.created),
            last_used: minute(row.last_used),
            current: row.current,
        }
    }
}

impl SessionLine {
    fn door_text(&self, t: &'static Texts) -> &'static str {
        match self.door {
            Door::Web => t.door_web,
            Door::Tunnel => t.door_tunnel,
        }
    }

    fn end_label(&self, t: &'static Texts) -> String {
        let text = fill(t.end_label, "place", &self.place);
        fill(&text, "last", &self.last_used)
    }
}

#[derive(Template)]
#[template(path = "enrol.html")]
pub(crate) struct Enrol<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) csrf: String,
    pub(crate) user: &'a str,
    pub(crate) lead: String,
    pub(crate) rule: String,
    pub(crate) minimum: usize,
    pub(crate) qr: Option<Qr>,
    pub(crate) secret: String,
    pub(crate) error: Option<String>,
}

#[derive(Template)]
#[template(path = "message.html")]
pub(crate) struct Message<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) heading: &'static str,
    pub(crate) text: &'static str,
    pub(crate) link: Option<Link<'a>>,
}

/// A way on from a message.
pub(crate) struct Link<'a> {
    pub(crate) href: &'a str,
    pub(crate) text: &'static str,
}

#[derive(Template)]
#[template(path = "leave.html")]
pub(crate) struct Leave<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) csrf: String,
}

/// Writes seconds since the UNIX epoch to the minute, in UTC.
fn minute(unix: i64) -> String {
    jiff::Timestamp::from_second(unix)
        .map(|t| t.strftime("%Y-%m-%d %H:%M UTC").to_string())
        .unwrap_or_default()
}
