//! The choice of the language.

use super::texts::{DE, DeviceTexts, EN, FR, Texts, TokenTexts};

/// A language the pages speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Lang {
    /// English, also for those who ask for none of ours.
    #[default]
    En,
    /// French.
    Fr,
    /// German.
    De,
}

impl Lang {
    /// Every language, in the order of the switch.
    pub(crate) const ALL: [Self; 3] = [Self::En, Self::Fr, Self::De];

    /// Names the language as HTML does (BCP 47).
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Fr => "fr",
            Self::De => "de",
        }
    }

    /// Names the language in itself.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Fr => "Français",
            Self::De => "Deutsch",
        }
    }

    /// Returns the words of the language.
    pub(crate) fn texts(self) -> &'static Texts {
        match self {
            Self::En => &EN,
            Self::Fr => &FR,
            Self::De => &DE,
        }
    }

    /// Returns the words of the pages about devices.
    pub(crate) fn device_texts(self) -> &'static DeviceTexts {
        match self {
            Self::En => &DeviceTexts::EN,
            Self::Fr => &DeviceTexts::FR,
            Self::De => &DeviceTexts::DE,
        }
    }

    /// Returns the words of the pages about tokens.
    pub(crate) fn token_texts(self) -> &'static TokenTexts {
        match self {
            Self::En => &TokenTexts::EN,
            Self::Fr => &TokenTexts::FR,
            Self::De => &TokenTexts::DE,
        }
    }

    /// Reads a language tag by its primary subtag, so `de-AT` is German.
    pub(crate) fn parse(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or(tag);
        Self::ALL
            .into_iter()
            .find(|lang| lang.code().eq_ignore_ascii_case(primary))
    }

    /// Picks the wanted language of ours from `Accept-Language`.
    ///
    /// The highest weight wins, the first among equals; weight 0 is a refusal.
    /// Source: [RFC 9110 section 12.5.4](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.4)
    pub(crate) fn negotiate(accept: &str) -> Option<Self> {
        let mut best: Option<(u16, Self)> = None;
        for range in accept.split(',').take(32) {
            let mut parts = range.split(';');
            let tag = parts.next().unwrap_or_default().trim();
            let weight = weight(parts);
            let Some(lang) = Self::parse(tag) else {
                continue;
            };
            if weight > best.map_or(0, |(held, _)| held) {
                best = Some((weight, lang));
            }
        }
        best.map(|(_, lang)| lang)
    }
}

/// What a request says about the language, the strongest first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wishes<'a> {
    /// `?lang=` of this request.
    pub(crate) query: Option<&'a str>,
    /// The cookie an earlier `?lang=` left.
    pub(crate) cookie: Option<&'a str>,
    /// The setting of the signed-in person.
    pub(crate) setting: Option<&'a str>,
    /// `Accept-Language`.
    pub(crate) accept: Option<&'a str>,
}

impl Wishes<'_> {
    /// Chooses: the switch, then the person's setting, then the browser, then English.
    pub(crate) fn choose(self) -> Lang {
        self.query
            .and_then(Lang::parse)
            .or_else(|| self.cookie.and_then(Lang::parse))
            .or_else(|| self.setting.and_then(Lang::parse))
            .or_else(|| self.accept.and_then(Lang::negotiate))
            .unwrap_or_default()
    }
}

/// Reads `q=` in thousandths; 1000 when absent, 0 when it is not a weight.
pub(crate) fn weight<'a, I: Iterator<Item = &'a str>>(mut parameters: I) -> u16 {
    let Some(q) = parameters.find_map(|p| {
        let p = p.trim();
        p.strip_prefix("q=").or_else(|| p.strip_prefix("Q="))
    }) else {
        return 1000;
    };
    let q = q.trim();
    let (whole, fraction) = q.split_once('.').unwrap_or((q, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|b| b.is_ascii_digit());
    match (whole, digits) {
        ("1", true) if fraction.bytes().all(|b| b == b'0') => 1000,
        ("0", true) => format!("{fraction:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::{Lang, Wishes};

    #[test]
    fn the_heaviest_range_of_ours_wins() {
        for (accept, want) in [
            ("de", Some(Lang::De)),
            (
                "fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5",
                Some(Lang::Fr),
            ),
            ("en;q=0.3, de-AT;q=0.9", Some(Lang::De)),
            ("nl, sv;q=0.9, EN-gb;q=0.1", Some(Lang::En)),
            ("nl", None),
            ("de;q=0", None),
            ("de;q=2, fr;q=0.001", Some(Lang::Fr)),
            ("deutsch", None),
            ("", None),
        ] {
            assert_eq!(Lang::negotiate(accept), want, "{accept}");
        }
    }

    #[test]
    fn the_switch_beats_the_setting_and_the_setting_beats_the_browser() {
        let mut wishes = Wishes {
            query: Some("en"),
            cookie: Some("fr"),
            setting: Some("de"),
            accept: Some("fr"),
        };
        assert_eq!(wishes.choose(), Lang::En);
        wishes.query = Some("xx");
        assert_eq!(wishes.choose(), Lang::Fr);
        wishes.cookie = None;
        assert_eq!(wishes.choose(), Lang::De);
        wishes.setting = None;
        assert_eq!(wishes.choose(), Lang::Fr);
        wishes.accept = None;
        assert_eq!(wishes.choose(), Lang::En);
    }
}
