//! The words of the console: one table a part, each key with its English, French and German.

/// Declares a table of words; a key without one of the languages does not compile.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($key:ident: $en:literal, $fr:literal, $de:literal;)+ }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name {
            $(pub(crate) $key: &'static str,)+
        }

        impl $name {
            /// Returns the words of a language; `{name}` marks what is filled in.
            pub(crate) fn of(lang: $crate::pages::Lang) -> &'static Self {
                match lang {
                    $crate::pages::Lang::En => &Self { $($key: $en,)+ },
                    $crate::pages::Lang::Fr => &Self { $($key: $fr,)+ },
                    $crate::pages::Lang::De => &Self { $($key: $de,)+ },
                }
            }

            /// Lists the words of each key: English, French, German.
            #[cfg(test)]
            pub(crate) const ALL: &'static [(&'static str, [&'static str; 3])] =
                &[$((stringify!($key), [$en, $fr, $de])),+];
        }
    };
}

mod acts;
mod bans;
mod certs;
mod decisions;
mod devices;
mod frame;
mod groups;
mod health;
mod people;
mod policy;
mod sessions;
mod tokens;

pub(crate) use acts::Words as Acts;
pub(crate) use bans::Words as Bans;
pub(crate) use certs::Words as Certs;
pub(crate) use decisions::Words as Decisions;
pub(crate) use devices::Words as Devices;
pub(crate) use frame::Words as Frame;
pub(crate) use groups::Words as Groups;
pub(crate) use health::Words as Health;
pub(crate) use people::Words as People;
pub(crate) use policy::Words as Policy;
pub(crate) use sessions::Words as Sessions;
pub(crate) use tokens::Words as Tokens;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{
        Acts, Bans, Certs, Decisions, Devices, Frame, Groups, Health, People, Policy, Sessions,
        Tokens,
    };

    /// Every table; a new one is entered here.
    const TABLES: &[&[(&str, [&str; 3])]] = &[
        Acts::ALL,
        Bans::ALL,
        Certs::ALL,
        Decisions::ALL,
        Devices::ALL,
        Frame::ALL,
        Groups::ALL,
        Health::ALL,
        People::ALL,
        Policy::ALL,
        Sessions::ALL,
        Tokens::ALL,
    ];

    fn blanks(text: &str) -> BTreeSet<&str> {
        let rest = text.split('{').skip(1);
        rest.filter_map(|rest| rest.split('}').next()).collect()
    }

    #[test]
    fn every_key_has_words_and_the_same_blanks_in_every_language() {
        for (key, texts) in TABLES.iter().copied().flatten() {
            for text in texts {
                assert!(!text.is_empty() && text.trim() == *text, "{key}");
                assert_eq!(blanks(text), blanks(texts[0]), "{key}");
            }
        }
    }

    #[test]
    fn whole_sentences_are_translated() {
        for (key, [en, fr, de]) in TABLES.iter().copied().flatten() {
            assert!(!en.contains(' ') || (en != fr && en != de), "{key}");
        }
    }
}
