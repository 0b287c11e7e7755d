//! What a new password must be.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization;

/// Never fewer, whatever is configured (NIST SP 800-63B-4 section 3.1.1.2).
const FLOOR: usize = 8;
const MAX: usize = 1024;
/// A text made of one piece of at most this many characters, over and over, is that piece.
const PIECE_MAX: usize = 4;
/// Characters beside a name or site word that make it a password of its own.
const BESIDE_MIN: usize = 6;

/// The commonest passwords of 8 characters and more, one a line, lower case.
const COMMON: &str = include_str!("common.txt");

/// Why a password was not taken; the text is for the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Weak {
    #[error("a password needs at least {min} characters")]
    TooShort { min: usize },
    #[error("a password has at most {MAX} characters")]
    TooLong,
    #[error("this is the user name or little more")]
    UserName,
    #[error("this is one of the commonest passwords or little more")]
    Common,
    #[error("this is the name of this site or little more")]
    SiteWord,
}

/// The rules of this gateway: a length and a block list, no classes of characters.
#[derive(Debug)]
pub(crate) struct Rules {
    min: usize,
    site_words: Vec<String>,
    common: BTreeSet<&'static str>,
}

impl Rules {
    /// Takes the least number of characters and the words of the site.
    pub(crate) fn new(min: usize, site_words: &[String]) -> Self {
        let site_words = site_words.iter().map(|word| folded(word));
        Self {
            min: min.max(FLOOR),
            site_words: site_words.filter(|word| word.len() > 3).collect(),
            common: COMMON.lines().collect(),
        }
    }

    /// Checks a new password of `user`. Characters are counted in the normal form NFKC.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub(crate) fn check(&self, password: &str, user: &str) -> Result<(), Weak> {
        let chars = password.nfkc().take(MAX + 1).count();
        if chars < self.min {
            return Err(Weak::TooShort { min: self.min });
        }
        if chars > MAX {
            return Err(Weak::TooLong);
        }
        let text = folded(password);
        if is_little_more(&text, &folded(user)) {
            return Err(Weak::UserName);
        }
        if self.site_words.iter().any(|w| is_little_more(&text, w)) {
            return Err(Weak::SiteWord);
        }
        if self.is_common(&text) {
            return Err(Weak::Common);
        }
        Ok(())
    }

    fn is_common(&self, text: &str) -> bool {
        let core = text.trim_matches(|c: char| !c.is_alphabetic());
        [text, core].into_iter().any(|text| {
            let piece = period(text);
            self.common.contains(text)
                || piece.is_some_and(|piece| {
                    piece.chars().count() <= PIECE_MAX || self.common.contains(piece)
                })
        })
    }
}

fn folded(text: &str) -> String {
    text.nfkc().collect::<String>().to_lowercase()
}

/// Tells whether nearly nothing is left of a text without a word.
fn is_little_more(text: &str, word: &str) -> bool {
    !word.is_empty() && text.contains(word) && text.replace(word, "").chars().count() < BESIDE_MIN
}

/// The shortest piece that, repeated two times or more, gives the whole text; the last repetition
/// may be cut.
fn period(text: &str) -> Option<&str> {
    let ends = text.char_indices().skip(1).map(|(at, _)| at);
    ends.take_while(|end| end * 2 <= text.len())
        .find_map(|end| {
            let piece = text.get(..end)?;
            let rest = text.get(end..)?;
            let shifted = text.get(..rest.len())?;
            (rest == shifted).then_some(piece)
        })
}

#[cfg(test)]
mod tests {
    use super::{Rules, Weak, period};

    fn rules(min: usize) -> Rules {
        Rules::new(min, &["gate.example.org".into(), "Postern".into()])
    }

    #[test]
    fn the_length_counts_characters_not_bytes() {
        let rules = rules(15);
        assert_eq!(
            rules.check("zebra hat fift", "al"),
            Err(Weak::TooShort { min: 15 })
        );
        assert_eq!(rules.check("zebra hat fifty", "al"), Ok(()));
        assert_eq!(rules.check("ñandú ñu ñoño ñ", "al"), Ok(()));
        assert!(rules.check("ñandúñandú", "al").is_err());
    }

    #[test]
    fn no_configuration_goes_below_eight() {
        let rules = rules(4);
        assert_eq!(rules.check("xk7!qp2", "al"), Err(Weak::TooShort { min: 8 }));
        assert_eq!(rules.check("xk7!qp2z", "al"), Ok(()));
    }

    #[test]
    fn a_thousand_and_twenty_four_characters_are_taken_and_one_more_is_not() {
        let long: String = (0..1024u32)
            .map(|n| char::from(b"zebrahtfiylquwx"[n as usize * n as usize / 7 % 15]))
            .collect();
        assert_eq!(rules(15).check(&long, "al"), Ok(()));
        assert_eq!(
            rules(15).check(&format!("{long}x"), "al"),
            Err(Weak::TooLong)
        );
    }

    #[test]
    fn the_user_name_is_no_password() {
        let rules = rules(15);
        assert_eq!(
            rules.check("bartholomew.jones", "bartholomew.jones"),
            Err(Weak::UserName)
        );
        assert_eq!(
            rules.check("Bartholomew.Jones1!", "bartholomew.jones"),
            Err(Weak::UserName)
        );
        assert_eq!(
            rules.check("bartholomew.jones eats pears", "bartholomew.jones"),
            Ok(())
        );
    }

    #[test]
    fn words_of_the_site_are_no_passwords() {
        assert_eq!(
            rules(15).check("Gate.Example.Org", "al"),
            Err(Weak::SiteWord)
        );
        assert_eq!(rules(8).check("postern2026", "al"), Err(Weak::SiteWord));
        assert_eq!(rules(15).check("a postern in the wall", "al"), Ok(()));
    }

    #[test]
    fn common_passwords_and_their_repetitions_are_refused() {
        for common in [
            "password",
            "Password1!",
            "12345678",
            "qwertyuiop",
            "PASSWORD!!",
        ] {
            assert_eq!(rules(8).check(common, "al"), Err(Weak::Common), "{common}");
        }
        for repeated in [
            "passwordpassword",
            "aaaaaaaaaaaaaaaa",
            "abcabcabcabcabca",
            "123412341234123412",
        ] {
            assert_eq!(rules(15).check(repeated, "al"), Err(Weak::Common));
        }
        assert_eq!(rules(8).check("correct horse", "al"), Ok(()));
    }

    #[test]
    fn the_list_is_of_use() {
        let rules = rules(8);
        assert!(rules.common.len() > 300);
        assert!(
            rules
                .common
                .iter()
                .all(|w| w.len() >= 8 && **w == w.to_lowercase())
        );
    }

    #[test]
    fn the_period_of_a_text_is_its_shortest_piece() {
        assert_eq!(period("abcabcab"), Some("abc"));
        assert_eq!(period("abcabd"), None);
        assert_eq!(period("ab"), None);
        assert_eq!(period("ñññ"), Some("ñ"));
    }
}
