//! Reading typed values out of a tree, noting every mistake.

use std::fmt::Display;

use super::keys::Keys;
use super::tree::{Entry, Table, Value};
use super::{Def, Sp, Word, Words};
use crate::diag::{Diagnostic, Meant, show};
use crate::source::{FileId, Span};
use crate::text::Texts;

/// Reads one file, collecting findings.
pub(super) struct Reader<'d> {
    pub(super) file: FileId,
    pub(super) users_file: bool,
    pub(super) texts: &'d mut Texts,
    pub(super) diags: &'d mut Vec<Diagnostic>,
}

impl Reader<'_> {
    pub(super) fn push(&mut self, diagnostic: Diagnostic) {
        self.diags.push(diagnostic);
    }

    /// Says that a key has no meaning in `place`.
    pub(super) fn stray_key(&mut self, entry: &Entry<'_>, keys: Keys, place: impl Display) {
        let key = entry.key;
        let shown = show(key);
        let meant = Meant::near(key, keys.known());
        let has_areas = keys.built.contains(&"public");
        let help = match has_areas && entry.value.as_table().is_some() {
            true => format!("an area is written \"/{shown}\", with quotes"),
            false => {
                let known: Vec<&str> = keys.known().collect();
                format!("known here: {}", known.join(", "))
            }
        };
        self.push(
            Diagnostic::error(
                "unknown-key",
                entry.span,
                format!("unknown key `{shown}` in {place}"),
            )
            .label("no such key")
            .help(help)
            .meant(meant),
        );
    }

    /// Says that a value has the wrong type.
    pub(super) fn wrong_type(&mut self, value: Value<'_>, key: &str, wanted: &str) {
        let found = value.type_str();
        self.push(
            Diagnostic::error(
                "wrong-type",
                value.span(),
                format!(
                    "`{}` must be {wanted}, not {}",
                    show(key),
                    with_article(found)
                ),
            )
            .label(format!("{} here", with_article(found))),
        );
    }

    /// Says that a key is not there at all.
    pub(super) fn require(
        &mut self,
        table: Table<'_>,
        span: Span,
        place: impl Display,
        key: &str,
        example: &str,
    ) {
        if !table.contains(key) {
            self.push(
                Diagnostic::error("missing-key", span, format!("{place} has no `{key}`"))
                    .help(format!("add  {key} = {example}")),
            );
        }
    }

    pub(super) fn string(&mut self, entry: &Entry<'_>) -> Option<Word> {
        let Some(text) = entry.value.as_str() else {
            self.wrong_type(entry.value, entry.key, "a string");
            return None;
        };
        Some(Sp {
            v: self.texts.share(text),
            span: entry.value.span(),
        })
    }

    /// A string, or a list of strings.
    pub(super) fn strings(&mut self, entry: &Entry<'_>) -> Option<Sp<Vec<Word>>> {
        Some(match self.words(entry)? {
            Words::Many(list) => list,
            Words::One(word) => Sp {
                span: word.span,
                v: vec![word],
            },
        })
    }

    /// Like [`Self::strings`].
    pub(super) fn words(&mut self, entry: &Entry<'_>) -> Option<Words> {
        if entry.value.as_str().is_some() {
            return self.string(entry).map(Words::One);
        }
        let span = entry.value.span();
        let Some(items) = entry.value.as_array() else {
            self.wrong_type(entry.value, entry.key, "a string or a list of strings");
            return None;
        };
        let mut words = Vec::with_capacity(items.clone().count());
        for item in items {
            match item.as_str() {
                Some(text) => words.push(Sp {
                    v: self.texts.share(text),
                    span: item.span(),
                }),
                None => self.wrong_type(item, entry.key, "a list of strings"),
            }
        }
        Some(Words::Many(Sp { v: words, span }))
    }

    pub(super) fn boolean(&mut self, entry: &Entry<'_>) -> Option<bool> {
        let value = entry.value.as_bool();
        if value.is_none() {
            self.wrong_type(entry.value, entry.key, "true or false");
        }
        value
    }

    pub(super) fn integer(&mut self, entry: &Entry<'_>) -> Option<Sp<u64>> {
        let Some(v) = entry.value.as_integer() else {
            self.wrong_type(entry.value, entry.key, "a whole number from 0");
            return None;
        };
        Some(Sp {
            v,
            span: entry.value.span(),
        })
    }

    pub(super) fn table<'t>(&mut self, entry: &Entry<'t>) -> Option<Table<'t>> {
        let table = entry.value.as_table();
        if table.is_none() {
            self.wrong_type(entry.value, entry.key, "a table");
        }
        table
    }

    /// Checks a name that the file defines.
    pub(super) fn name(&mut self, entry: &Entry<'_>, kind: &str) -> Word {
        if !is_name(entry.key) {
            let lower = entry.key.to_lowercase();
            let help = if is_name(&lower) {
                format!("write `{lower}`")
            } else {
                "a name is up to 64 of a-z 0-9 . _ - and begins with a letter or digit".to_owned()
            };
            self.push(
                Diagnostic::error(
                    "bad-name",
                    entry.span,
                    format!("`{}` is not a name for a {kind}", show(entry.key)),
                )
                .help(help),
            );
        }
        self.word(entry)
    }

    /// The key as a word.
    pub(super) fn word(&mut self, entry: &Entry<'_>) -> Word {
        Sp {
            v: self.texts.share(entry.key),
            span: entry.span,
        }
    }

    /// Reads a table of named definitions.
    pub(super) fn named<T>(
        &mut self,
        section: &Entry<'_>,
        kind: &str,
        mut body: impl FnMut(&mut Self, &Entry<'_>) -> Option<T>,
    ) -> Vec<Def<T>> {
        let Some(table) = self.table(section) else {
            return Vec::new();
        };
        let mut defs = Vec::with_capacity(table.count());
        for entry in table.entries() {
            let name = self.name(&entry, kind);
            if let Some(body) = body(self, &entry) {
                defs.push(Def { name, body });
            }
        }
        defs
    }

    /// Reads one of a closed list of words.
    pub(super) fn one_of(&mut self, word: &Word, what: &str, words: &[&str]) -> bool {
        if words.contains(&word.v.as_str()) {
            return true;
        }
        self.push(
            Diagnostic::error(
                "bad-value",
                word.span,
                format!("`{}` is not {what}", show(&word.v)),
            )
            .help(format!("one of: {}", words.join(", ")))
            .meant(Meant::near(&word.v, words)),
        );
        false
    }
}

/// Whether `text` matches `[a-z0-9][a-z0-9._-]{0,63}`.
pub(crate) fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut bytes = text.bytes();
    text.len() <= 64
        && bytes.next().is_some_and(plain)
        && bytes.all(|b| plain(b) || matches!(b, b'.' | b'_' | b'-'))
}

fn with_article(kind: &str) -> String {
    match kind {
        "integer" | "array" => format!("an {kind}"),
        _ => format!("a {kind}"),
    }
}
