//! The words of the pages about a forgotten password.

use crate::pages::lang::Lang;

/// The texts in one language; `{name}` marks what is filled in.
pub(crate) struct Words {
    pub(crate) link: &'static str,
    pub(crate) title: &'static str,
    pub(crate) lead: &'static str,
    pub(crate) button: &'static str,
    pub(crate) back: &'static str,
    pub(crate) ask_contact: &'static str,
    pub(crate) ask_admin: &'static str,
    pub(crate) sent_title: &'static str,
    pub(crate) sent_text: &'static str,
    pub(crate) reset_title: &'static str,
    pub(crate) reset_lead: &'static str,
    pub(crate) reset_button: &'static str,
    pub(crate) done_title: &'static str,
    pub(crate) done_text: &'static str,
    pub(crate) dead_title: &'static str,
    pub(crate) dead_text: &'static str,
}

pub(crate) fn of(lang: Lang) -> &'static Words {
    match lang {
        Lang::En => &EN,
        Lang::Fr => &FR,
        Lang::De => &DE,
    }
}

const EN: Words = Words {
    link: "Forgot your password?",
    title: "Forgot your password?",
    lead: "Type your user name. If there is a mail address for it, a link to choose a new password is sent there.",
    button: "Send the link",
    back: "Back to signing in",
    ask_contact: "This gateway sends no mails. Ask for a new link here: {contact}",
    ask_admin: "This gateway sends no mails. Ask your administrator for a new link.",
    sent_title: "Look at your mails",
    sent_text: "If the name is that of an account with a mail address, a link is on its way. It works for 20 minutes. Nothing there? Look among the unwanted mails, or ask your administrator.",
    reset_title: "Choose a new password",
    reset_lead: "All your sessions end. Signing in again needs your authenticator app or a recovery code as well.",
    reset_button: "Set the password",
    done_title: "Your password is set",
    done_text: "All your sessions are over. Sign in with the new password and a code from your authenticator app.",
    dead_title: "This link does not work any more",
    dead_text: "It was used, is older than 20 minutes, or your password was changed since. Ask for a new one.",
};

const FR: Words = Words {
    link: "Mot de passe oublié ?",
    title: "Mot de passe oublié ?",
    lead: "Saisissez votre nom d'utilisateur. S'il a une adresse de courriel, un lien pour choisir un nouveau mot de passe y est envoyé.",
    button: "Envoyer le lien",
    back: "Retour à la connexion",
    ask_contact: "Cette passerelle n'envoie pas de courriels. Demandez un nouveau lien ici : {contact}",
    ask_admin: "Cette passerelle n'envoie pas de courriels. Demandez un nouveau lien à votre administrateur.",
    sent_title: "Regardez vos courriels",
    sent_text: "Si ce nom est celui d'un compte avec une adresse de courriel, un lien est en route. Il fonctionne 20 minutes. Rien reçu ? Regardez parmi les indésirables, ou demandez à votre administrateur.",
    reset_title: "Choisissez un nouveau mot de passe",
    reset_lead: "Toutes vos sessions prennent fin. La connexion demande ensuite aussi votre application d'authentification ou un code de secours.",
    reset_button: "Enregistrer le mot de passe",
    done_title: "Votre mot de passe est enregistré",
    done_text: "Toutes vos sessions ont pris fin. Connectez-vous avec le nouveau mot de passe et un code de votre application d'authentification.",
    dead_title: "Ce lien ne fonctionne plus",
    dead_text: "Il a été utilisé, il a plus de 20 minutes, ou votre mot de passe a changé depuis. Demandez-en un nouveau.",
};

const DE: Words = Words {
    link: "Passwort vergessen?",
    title: "Passwort vergessen?",
    lead: "Geben Sie Ihren Benutzernamen ein. Wenn es dazu eine Mail-Adresse gibt, wird ein Link zu einem neuen Passwort dorthin gesendet.",
    button: "Link senden",
    back: "Zurück zur Anmeldung",
    ask_contact: "Dieses Gateway sendet keine Mails. Fragen Sie hier nach einem neuen Link: {contact}",
    ask_admin: "Dieses Gateway sendet keine Mails. Fragen Sie Ihren Administrator nach einem neuen Link.",
    sent_title: "Sehen Sie in Ihre Mails",
    sent_text: "Wenn der Name zu einem Konto mit Mail-Adresse gehört, ist ein Link unterwegs. Er gilt 20 Minuten. Nichts da? Sehen Sie bei den unerwünschten Mails nach oder fragen Sie Ihren Administrator.",
    reset_title: "Wählen Sie ein neues Passwort",
    reset_lead: "Alle Ihre Sitzungen enden. Die Anmeldung verlangt danach auch Ihre Authentifizierungs-App oder einen Wiederherstellungscode.",
    reset_button: "Passwort setzen",
    done_title: "Ihr Passwort ist gesetzt",
    done_text: "Alle Ihre Sitzungen sind beendet. Melden Sie sich mit dem neuen Passwort und einem Code Ihrer Authentifizierungs-App an.",
    dead_title: "Dieser Link gilt nicht mehr",
    dead_text: "Er wurde benutzt, ist älter als 20 Minuten, oder Ihr Passwort wurde seither geändert. Verlangen Sie einen neuen.",
};

#[cfg(test)]
mod tests {
    use super::{EN, Words, of};
    use crate::pages::lang::Lang;

    fn all(words: &Words) -> [&'static str; 16] {
        [
            words.link,
            words.title,
            words.lead,
            words.button,
            words.back,
            words.ask_contact,
            words.ask_admin,
            words.sent_title,
            words.sent_text,
            words.reset_title,
            words.reset_lead,
            words.reset_button,
            words.done_title,
            words.done_text,
            words.dead_title,
            words.dead_text,
        ]
    }

    #[test]
    fn every_text_is_translated_and_names_the_same() {
        for lang in [Lang::Fr, Lang::De] {
            for (text, model) in all(of(lang)).into_iter().zip(all(&EN)) {
                assert_ne!(text, model);
                assert_eq!(text.contains("{contact}"), model.contains("{contact}"));
            }
        }
    }
}
