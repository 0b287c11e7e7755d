use std::collections::BTreeSet;

use crate::pages::lang::Lang;

fn all(lang: Lang) -> Vec<(&'static str, &'static str)> {
    let mut texts = lang.texts().all();
    texts.extend(lang.device_texts().all());
    texts.extend(lang.token_texts().all());
    texts
}

fn blanks(text: &str) -> BTreeSet<&str> {
    text.split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .collect()
}

#[test]
fn every_key_has_words_and_the_same_blanks_in_every_language() {
    let english = all(Lang::En);
    for lang in Lang::ALL {
        let texts = all(lang);
        assert_eq!(texts.len(), english.len());
        for ((key, text), (same, model)) in texts.into_iter().zip(&english) {
            assert_eq!(key, *same);
            assert_eq!(text.trim(), text, "{key} in {}", lang.code());
            assert!(!text.is_empty(), "{key} in {}", lang.code());
            assert_eq!(blanks(text), blanks(model), "{key} in {}", lang.code());
        }
    }
}

#[test]
fn whole_sentences_are_translated() {
    let english = all(Lang::En);
    for lang in [Lang::Fr, Lang::De] {
        for ((key, text), (_, model)) in all(lang).into_iter().zip(&english) {
            assert!(!model.contains(' ') || text != *model, "{key}");
        }
    }
}
