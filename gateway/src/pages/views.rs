//! The templates with their values; everything is escaped by askama.

use askama::Template;
use zeroize::Zeroizing;

use super::desk::{App, Ask, DeviceLine, Here, SessionRow, Weakness};
use super::forgot::Words;
use super::lang::Lang;
use super::qr::Qr;
use super::texts::ca::CaTexts;
use super::texts::{Texts, fill};
use crate::ids::Door;

/// What every page shows around its own part.
pub(crate) struct Frame<'a> {
    pub(crate) t: &'static Texts,
    pub(crate) lang: Lang,
    pub(crate) css: String,
    pub(crate) icon: &'static str,
    /// Our script, for pages that are better with it.
    pub(crate) script: Option<String>,
    pub(crate) host: &'a str,
    pub(crate) contact: Option<&'a str>,
    pub(crate) person: Option<Badge<'a>>,
    /// Whether the menu leads to the console.
    pub(crate) console: bool,
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
    pub(super) fn languages(&self) -> Vec<LangLink> {
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
    /// Leads to those who forgot the password.
    pub(crate) forgot: &'static str,
    pub(crate) error: Option<String>,
}

#[derive(Template)]
#[template(path = "ca.html")]
pub(crate) struct CaRoot<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) t: &'static CaTexts,
    pub(crate) fingerprint: String,
}

#[derive(Template)]
#[template(path = "code.html")]
pub(crate) struct Code<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) action: &'static str,
    pub(crate) heading: &'static str,
    pub(crate) lead: &'a str,
    pub(crate) button: &'static str,
    pub(crate) back: String,
    pub(crate) back_text: &'static str,
    /// Where a recovery code does as well.
    pub(crate) recovery: Option<String>,
    pub(crate) csrf: String,
    pub(crate) rt: Option<&'a str>,
    pub(crate) error: Option<String>,
}

#[derive(Template)]
#[template(path = "portal.html")]
pub(crate) struct Portal<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) csrf: String,
    pub(crate) notices: Vec<NoticeLine>,
    /// The person has no recovery codes.
    pub(crate) offer_codes: bool,
    pub(crate) greeting: String,
    pub(crate) here: &'a Here,
    pub(crate) apps: Vec<App>,
    pub(crate) devices: Vec<DeviceLine>,
    pub(crate) ending: Option<EndingBanner>,
    pub(crate) quiet: Quiet,
}

/// Says that the session is about to end.
pub(crate) struct EndingBanner {
    pub(crate) text: String,
    pub(crate) more: Option<EndingForm>,
}

/// The form that puts the end off.
pub(crate) struct EndingForm {
    pub(crate) csrf: String,
    pub(crate) text: String,
    pub(crate) button: &'static str,
}

/// What a page does by itself.
pub(crate) struct Quiet {
    /// Seconds until it is to say that the session ends.
    pub(crate) wait_secs: Option<u64>,
    pub(crate) csrf: String,
    /// Whether it watches the device it came by.
    pub(crate) watch: bool,
    pub(crate) new_key: bool,
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
    pub(crate) notices: Vec<NoticeLine>,
    /// How many recovery codes are left, in words.
    pub(crate) codes: Option<String>,
    pub(crate) sessions: Vec<SessionLine>,
    pub(crate) devices: Vec<DeviceLine>,
    /// Leads to the person's tokens, where they are of any use.
    pub(crate) tokens: Option<&'static str>,
    pub(crate) ending: Option<EndingBanner>,
    pub(crate) quiet: Quiet,
    pub(crate) error: Option<String>,
}

/// A session as the account page writes it.
pub(crate) struct SessionLine {
    id: String,
    door: Door,
    place: String,
    browser: String,
    devices: String,
    created: String,
    last_used: String,
    current: bool,
}

impl From<SessionRow> for SessionLine {
    fn from(row: SessionRow) -> Self {
        let address = row.source.to_canonical().to_string();
        let place = match row.zones.is_empty() {
            true => address,
            false => format!("{} ({address})", row.zones.join(", ")),
        };
        Self {
            id: row.id.to_string(),
            door: row.door,
            place,
            browser: row.browser,
            devices: row.devices.join(", "),
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

    fn browser_text<'a>(&'a self, t: &'static Texts) -> &'a str {
        if self.browser.is_empty() {
            t.browser_unknown
        } else {
            &self.browser
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
    pub(crate) heading: &'static str,
    pub(crate) lead: String,
    pub(crate) ask: Ask,
    /// Where the person is signed in, to look at only.
    pub(crate) sessions: Vec<SessionLine>,
    pub(crate) rule: String,
    pub(crate) minimum: usize,
    pub(crate) qr: Option<Qr>,
    pub(crate) secret: String,
    pub(crate) error: Option<String>,
}

#[derive(Template)]
#[template(path = "recovery.html")]
pub(crate) struct Recovery<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) back: String,
    pub(crate) csrf: String,
    pub(crate) rt: Option<&'a str>,
    pub(crate) error: Option<String>,
}

/// Password and code, for acts on the account.
#[derive(Template)]
#[template(path = "confirm.html")]
pub(crate) struct Confirm<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) csrf: String,
    pub(crate) user: &'a str,
    /// The act it is for.
    pub(crate) act: &'static str,
    pub(crate) error: Option<String>,
}

#[derive(Template)]
#[template(path = "password.html")]
pub(crate) struct Password<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) csrf: String,
    pub(crate) user: &'a str,
    pub(crate) rule: String,
    pub(crate) minimum: usize,
    pub(crate) error: Option<String>,
}

/// Another authenticator app.
#[derive(Template)]
#[template(path = "app.html")]
pub(crate) struct OtherApp<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) csrf: String,
    pub(crate) qr: Option<Qr>,
    pub(crate) secret: String,
    pub(crate) error: Option<String>,
}

/// The question before new recovery codes.
#[derive(Template)]
#[template(path = "codes-new.html")]
pub(crate) struct NewCodes<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) csrf: String,
    pub(crate) error: Option<String>,
}

/// Recovery codes, once.
#[derive(Template)]
#[template(path = "codes.html")]
pub(crate) struct Codes<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) heading: &'static str,
    pub(crate) lead: &'static str,
    /// The first line of what is printed, copied or saved.
    pub(crate) head: String,
    pub(crate) codes: Vec<&'a str>,
    /// The same as a `data:` address.
    pub(crate) file: Zeroizing<String>,
    pub(crate) next: &'static str,
    pub(crate) next_text: &'static str,
}

/// Something the person must hear of.
pub(crate) struct NoticeLine {
    pub(crate) id: i64,
    pub(crate) text: String,
    /// Whether it is about the session that looks: that one cannot put it away.
    pub(crate) own: bool,
    /// A live session it is about, to be ended.
    pub(crate) session: Option<String>,
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

impl Weakness {
    /// Says to the person what to do about it.
    pub(crate) fn text(self, t: &'static Texts, minimum: usize) -> String {
        match self {
            Self::Short => fill(t.error_short, "min", &minimum.to_string()),
            Self::Long => t.error_long.to_owned(),
            Self::Common => t.error_common.to_owned(),
        }
    }
}

/// Writes seconds since the UNIX epoch to the minute, in UTC.
pub(crate) fn minute(unix: i64) -> String {
    jiff::Timestamp::from_second(unix)
        .map(|t| t.strftime("%Y-%m-%d %H:%M UTC").to_string())
        .unwrap_or_default()
}

#[derive(Template)]
#[template(path = "forgot.html")]
pub(crate) struct Forgot<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) words: &'static Words,
    pub(crate) csrf: String,
    pub(crate) error: Option<String>,
}

#[derive(Template)]
#[template(path = "forgot-message.html")]
pub(crate) struct ForgotMessage<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) heading: &'static str,
    pub(crate) text: String,
    pub(crate) back: &'static str,
}

#[derive(Template)]
#[template(path = "reset.html")]
pub(crate) struct Reset<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) words: &'static Words,
    pub(crate) csrf: String,
    pub(crate) user: &'a str,
    pub(crate) rule: String,
    pub(crate) minimum: usize,
    pub(crate) error: Option<String>,
}
