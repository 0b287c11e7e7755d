//! The templates about tokens for apps, with their values.

use askama::Template;

use super::desk::tokens::{MadeToken, TokenApp, TokenView};
use super::texts::{TokenTexts, fill};
use super::views::{Frame, minute};

/// For how many days a token may be asked for.
const DAYS: [u64; 5] = [1, 7, 30, 90, 365];
/// For how many it is unless somebody chooses.
const USUAL: u64 = 90;

#[derive(Template)]
#[template(path = "tokens.html")]
pub(crate) struct Tokens<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) d: &'static TokenTexts,
    pub(crate) csrf: String,
    /// Whether some app takes tokens of this person.
    pub(crate) can_make: bool,
    pub(crate) tokens: Vec<TokenView>,
    pub(crate) error: Option<String>,
}

impl Tokens<'_> {
    fn minute(&self, unix: &i64) -> String {
        minute(*unix)
    }

    fn used(&self, view: &TokenView) -> String {
        let used = view.used.as_ref();
        used.map_or_else(|| self.d.never.to_owned(), |(at, _)| minute(*at))
    }

    fn place(&self, view: &TokenView) -> String {
        let used = view.used.as_ref();
        used.map_or_else(|| "–".to_owned(), |(_, place)| place.clone())
    }

    fn revoke_label(&self, view: &TokenView) -> String {
        fill(self.d.revoke_label, "name", &view.name)
    }
}

#[derive(Template)]
#[template(path = "token-make.html")]
pub(crate) struct TokenMake<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) d: &'static TokenTexts,
    pub(crate) csrf: String,
    pub(crate) apps: Vec<TokenApp>,
    /// The app that was chosen before.
    pub(crate) app: &'a str,
    pub(crate) name: &'a str,
    pub(crate) error: Option<String>,
}

impl TokenMake<'_> {
    fn bound(&self, app: &TokenApp) -> String {
        let text = fill(self.d.bound, "app", &app.name);
        fill(&text, "count", &app.days.to_string())
    }

    /// The choices of days, none longer than some app takes.
    fn days(&self) -> Vec<(u64, String)> {
        let most = self.apps.iter().map(|app| app.days).max().unwrap_or(0);
        let some = DAYS.into_iter().filter(|days| *days <= most.max(1));
        some.map(|days| (days, fill(self.d.days, "count", &days.to_string())))
            .collect()
    }

    fn is_usual(&self, days: &u64) -> bool {
        let least = self.days().into_iter().map(|(days, _)| days);
        least.filter(|days| *days <= USUAL).max() == Some(*days)
    }
}

/// A token, shown once.
#[derive(Template)]
#[template(path = "token-made.html")]
pub(crate) struct TokenMade<'a> {
    pub(crate) f: Frame<'a>,
    pub(crate) d: &'static TokenTexts,
    pub(crate) made: &'a MadeToken,
}

impl TokenMade<'_> {
    fn until(&self) -> String {
        let text = fill(self.d.until, "app", &self.made.app);
        fill(&text, "time", &minute(self.made.expires))
    }

    fn example(&self) -> String {
        format!(
            "curl -H \"Authorization: Bearer {}\" {}",
            *self.made.text, self.made.url
        )
    }
}
