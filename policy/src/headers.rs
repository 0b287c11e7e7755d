//! Header sets: fields an app gets about the person and the decision, with texts filled in per request.

use std::fmt;

use serde::Serialize;

use crate::ir::Device;
use crate::source::Span;

/// One set of `[headers]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeaderSet {
    /// Name of the set.
    pub name: String,
    /// Sorted by name, each name once whatever its case.
    pub fields: Vec<HeaderField>,
    #[serde(skip)]
    pub(crate) span: Span,
}

/// One field of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeaderField {
    /// The field's name as written: a token without underscores, never one the gateway owns.
    pub name: String,
    pub(crate) parts: Vec<Part>,
}

/// A piece of a field's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    Text(String),
    User,
    Groups,
    Rule,
    SessionAge,
    Device,
}

/// The placeholders, as written between braces.
pub(crate) const PLACEHOLDERS: [&str; 5] = ["user", "groups", "rule", "session-age", "device"];

/// What the placeholders stand for in one request.
#[derive(Clone, Copy, Debug)]
pub struct HeaderValues<'a> {
    /// Who is signed in; `None` also leaves `{groups}` and `{session-age}` without a value.
    pub person: Option<Person<'a>>,
    /// Id of the rule that allowed the request.
    pub rule: &'a str,
    /// How well the device is known.
    pub device: Device,
}

/// Somebody signed in.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// The name used in rules.
    pub name: &'a str,
    /// All groups through nesting, sorted and joined by `,`.
    pub groups: &'a str,
    /// Seconds since the sign-in.
    pub session_secs: u64,
}

impl HeaderField {
    /// Fills in the text; `None` when it names the person and nobody is signed in, or when a value would not be a
    /// field value. The field is then not set at all.
    pub fn fill(&self, values: &HeaderValues<'_>) -> Option<String> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::User => out.push_str(values.person?.name),
                Part::Groups => out.push_str(values.person?.groups),
                Part::Rule => out.push_str(values.rule),
                Part::SessionAge => out.push_str(&values.person?.session_secs.to_string()),
                Part::Device => out.push_str(values.device.as_str()),
            }
        }
        out.bytes().all(plain).then_some(out)
    }
}

/// Whether a byte may stand in a field value: visible ASCII, space and tab.
/// Source: RFC 9110 section 5.5, without obs-text.
pub(crate) fn plain(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..0x7f)
}

impl fmt::Display for HeaderField {
    /// Writes the text as the policy file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Part::User => f.write_str("{user}")?,
                Part::Groups => f.write_str("{groups}")?,
                Part::Rule => f.write_str("{rule}")?,
                Part::SessionAge => f.write_str("{session-age}")?,
                Part::Device => f.write_str("{device}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{HeaderField, HeaderValues, Part, Person};
    use crate::ir::Device;

    const INES: Person<'_> = Person {
        name: "ines",
        groups: "hr,staff",
        session_secs: 90,
    };

    fn values(person: Option<Person<'_>>) -> HeaderValues<'_> {
        HeaderValues {
            person,
            rule: "app.web#hr",
            device: Device::Known,
        }
    }

    fn field(parts: &[Part]) -> HeaderField {
        HeaderField {
            name: "X-Text".to_owned(),
            parts: parts.to_vec(),
        }
    }

    #[test]
    fn every_placeholder_gives_its_value() {
        let all = field(&[
            Part::Text("{".to_owned()),
            Part::User,
            Part::Text(" in ".to_owned()),
            Part::Groups,
            Part::Text(" by ".to_owned()),
            Part::Rule,
            Part::Text(" ".to_owned()),
            Part::SessionAge,
            Part::Device,
        ]);
        let filled = all.fill(&values(Some(INES)));
        assert_eq!(
            filled.as_deref(),
            Some("{ines in hr,staff by app.web#hr 90known")
        );
        assert_eq!(
            all.to_string(),
            "{{{user} in {groups} by {rule} {session-age}{device}"
        );
    }

    #[test]
    fn nobody_signed_in_is_no_field_about_a_person_and_the_others_stand() {
        for part in [Part::User, Part::Groups, Part::SessionAge] {
            assert_eq!(field(&[part]).fill(&values(None)), None);
        }
        let rule = field(&[Part::Rule, Part::Device]).fill(&values(None));
        assert_eq!(rule.as_deref(), Some("app.web#hrknown"));
    }

    #[test]
    fn a_value_that_could_end_the_line_is_not_sent() {
        let odd = |name| field(&[Part::User]).fill(&values(Some(Person { name, ..INES })));
        assert_eq!(odd("ines").as_deref(), Some("ines"));
        for name in ["a\r\nX-Admin: 1", "a\0", "é"] {
            assert_eq!(odd(name), None);
        }
    }
}
