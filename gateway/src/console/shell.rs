//! The page around every part of the console.

use super::texts;
use crate::pages::{Ctx, Lang, Person, STYLE, Texts};

/// A part of the console, as the menu lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// Who may sign in.
    People,
    /// Sets of people.
    Groups,
    /// Tunnel devices.
    Devices,
    /// Live sign-ins.
    Sessions,
    /// What programs use apps by.
    Tokens,
    /// Sources that are shut out, and accounts that wait.
    Bans,
    /// What was decided.
    Decisions,
    /// What decides.
    Policy,
    /// What the doors show.
    Certificates,
    /// How the gateway is.
    Health,
}

impl Section {
    /// All parts, in the order of the menu.
    const ALL: [Self; 10] = [
        Self::People,
        Self::Groups,
        Self::Devices,
        Self::Sessions,
        Self::Tokens,
        Self::Bans,
        Self::Decisions,
        Self::Policy,
        Self::Certificates,
        Self::Health,
    ];

    /// The path of its first page.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::People => "/admin/people",
            Self::Groups => "/admin/groups",
            Self::Devices => "/admin/devices",
            Self::Sessions => "/admin/sessions",
            Self::Tokens => "/admin/tokens",
            Self::Bans => "/admin/bans",
            Self::Decisions => "/admin/decisions",
            Self::Policy => "/admin/policy",
            Self::Certificates => "/admin/certs",
            Self::Health => "/admin/health",
        }
    }

    fn text(self, w: &texts::Frame) -> &'static str {
        match self {
            Self::People => w.people,
            Self::Groups => w.groups,
            Self::Devices => w.devices,
            Self::Sessions => w.sessions,
            Self::Tokens => w.tokens,
            Self::Bans => w.bans,
            Self::Decisions => w.decisions,
            Self::Policy => w.policy,
            Self::Certificates => w.certificates,
            Self::Health => w.health,
        }
    }
}

/// What every page of the console shows around its own part; the templates extend
/// `console/layout.html` and call it `f`.
pub(crate) struct Shell<'a> {
    /// The words of all pages.
    pub(crate) t: &'static Texts,
    /// The words around every part.
    pub(crate) w: &'static texts::Frame,
    /// The language.
    pub(crate) lang: Lang,
    /// The stylesheet's address.
    pub(crate) css: String,
    /// Our name as the browser wrote it.
    pub(crate) host: &'a str,
    /// Whom to ask for help.
    pub(crate) contact: Option<&'a str>,
    /// Who looks.
    pub(crate) user: &'a str,
    /// The token for forms.
    pub(crate) csrf: String,
    /// The part of the console.
    pub(crate) section: Section,
    /// Whether the one who looks may act as well.
    pub(crate) may_act: bool,
    /// Says that the act before this page was done.
    pub(crate) done: bool,
    /// The path and query that show this page again.
    pub(crate) again: &'a str,
}

/// An entry of a menu.
pub(crate) struct Entry {
    /// What it is called.
    pub(crate) text: &'static str,
    /// Where it leads.
    pub(crate) href: String,
    /// The language of the text, if it is not that of the page.
    pub(crate) lang: &'static str,
    /// Whether it is the one that is shown.
    pub(crate) current: bool,
}

impl<'a> Shell<'a> {
    pub(super) fn new(
        ctx: &'a Ctx,
        person: &'a Person,
        section: Section,
        again: &'a str,
        done: Option<&str>,
    ) -> Self {
        let visit = ctx.visit();
        Self {
            t: ctx.t(),
            w: texts::Frame::of(ctx.lang),
            lang: ctx.lang,
            css: format!("/.postern/postern.css?v={}", *STYLE),
            host: &visit.authority,
            contact: visit.contact.as_deref(),
            user: &person.user,
            csrf: ctx.session_token(),
            section,
            may_act: false,
            done: done.is_some(),
            again,
        }
    }

    pub(super) fn menu(&self) -> Vec<Entry> {
        let entry = |section: Section| Entry {
            text: section.text(self.w),
            href: section.path().to_owned(),
            lang: self.lang.code(),
            current: section == self.section,
        };
        Section::ALL.into_iter().map(entry).collect()
    }

    pub(super) fn languages(&self) -> Vec<Entry> {
        let joint = if self.again.ends_with('?') { "" } else { "&" };
        let entry = |lang: Lang| Entry {
            text: lang.name(),
            href: format!("{}{joint}lang={}", self.again, lang.code()),
            lang: lang.code(),
            current: lang == self.lang,
        };
        Lang::ALL.into_iter().map(entry).collect()
    }
}
