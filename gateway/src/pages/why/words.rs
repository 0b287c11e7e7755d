//! The words of the page that asks why somebody comes.

use crate::pages::lang::Lang;

/// The texts in one language; `{name}` marks what is filled in.
pub(crate) struct Words {
    pub(crate) title: &'static str,
    pub(crate) lead: &'static str,
    pub(crate) label: &'static str,
    pub(crate) hint: &'static str,
    pub(crate) button: &'static str,
    pub(crate) back: &'static str,
    pub(crate) unclear: &'static str,
}

pub(crate) fn of(lang: Lang) -> &'static Words {
    match lang {
        Lang::En => &EN,
        Lang::Fr => &FR,
        Lang::De => &DE,
    }
}

const EN: Words = Words {
    title: "Why do you need this?",
    lead: "{app} asks everybody for a reason. It is kept with the record of what you open there, and holds for {time}.",
    label: "Reason",
    hint: "A few words, such as the number of a ticket or order",
    button: "Go on",
    back: "Back to your applications",
    unclear: "Write at least 3 and at most 200 characters.",
};

const FR: Words = Words {
    title: "Pourquoi en avez-vous besoin ?",
    lead: "{app} demande une raison à chacun. Elle est conservée avec la trace de ce que vous y ouvrez, et vaut {time}.",
    label: "Raison",
    hint: "Quelques mots, par exemple le numéro d'un ticket ou d'une commande",
    button: "Continuer",
    back: "Retour à vos applications",
    unclear: "Écrivez au moins 3 et au plus 200 caractères.",
};

const DE: Words = Words {
    title: "Wozu brauchen Sie das?",
    lead: "{app} fragt jeden nach einem Grund. Er steht bei der Aufzeichnung dessen, was Sie dort öffnen, und gilt {time}.",
    label: "Grund",
    hint: "Wenige Worte, etwa die Nummer eines Tickets oder Auftrags",
    button: "Weiter",
    back: "Zurück zu Ihren Anwendungen",
    unclear: "Schreiben Sie mindestens 3 und höchstens 200 Zeichen.",
};

#[cfg(test)]
mod tests {
    use super::{Lang, of};

    #[test]
    fn every_language_says_who_asks_and_for_how_long() {
        for lang in Lang::ALL {
            let words = of(lang);
            for blank in ["{app}", "{time}"] {
                assert!(words.lead.contains(blank), "{}", words.lead);
            }
        }
    }
}
