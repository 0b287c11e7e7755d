//! The words of the pages about another proof and the end of a session.

use crate::pages::lang::Lang;

/// The texts in one language; `{name}` marks what is filled in.
pub(crate) struct Words {
    pub(crate) title: &'static str,
    pub(crate) moved: &'static str,
    pub(crate) age: &'static str,
    pub(crate) idle: &'static str,
    pub(crate) button: &'static str,
    pub(crate) anew: &'static str,
    pub(crate) ends: &'static str,
    pub(crate) ends_last: &'static str,
    pub(crate) more: &'static str,
    pub(crate) more_button: &'static str,
    pub(crate) hour: &'static str,
    pub(crate) minute: &'static str,
}

pub(crate) fn of(lang: Lang) -> &'static Words {
    match lang {
        Lang::En => &EN,
        Lang::Fr => &FR,
        Lang::De => &DE,
    }
}

const EN: Words = Words {
    title: "One more code",
    moved: "{device} is at another address than when you signed in. A code from your authenticator app opens it again.",
    age: "Your last code is too old for {device}. A new one opens it again.",
    idle: "{device} lay unused for a while. A code from your authenticator app opens it again.",
    button: "Open the device",
    anew: "Sign in with name and password",
    ends: "Your session ends in {minutes} minutes, and what is open ends with it.",
    ends_last: "Your session ends in {minutes} minutes. Then you sign in again.",
    more: "A code keeps it open for {time} more, once; nothing is interrupted.",
    more_button: "Go on",
    hour: "{count} h",
    minute: "{count} min",
};

const FR: Words = Words {
    title: "Encore un code",
    moved: "{device} se trouve à une autre adresse que lors de votre connexion. Un code de votre application d'authentification l'ouvre à nouveau.",
    age: "Votre dernier code est trop ancien pour {device}. Un nouveau code l'ouvre à nouveau.",
    idle: "{device} est resté inutilisé un moment. Un code de votre application d'authentification l'ouvre à nouveau.",
    button: "Ouvrir l'appareil",
    anew: "Se connecter avec nom et mot de passe",
    ends: "Votre session se termine dans {minutes} minutes, et ce qui est ouvert avec elle.",
    ends_last: "Votre session se termine dans {minutes} minutes. Vous devrez alors vous reconnecter.",
    more: "Un code la prolonge de {time}, une seule fois ; rien n'est interrompu.",
    more_button: "Continuer",
    hour: "{count} h",
    minute: "{count} min",
};

const DE: Words = Words {
    title: "Noch ein Code",
    moved: "{device} ist an einer anderen Adresse als bei Ihrer Anmeldung. Ein Code aus Ihrer Authenticator-App öffnet das Gerät wieder.",
    age: "Ihr letzter Code ist für {device} zu alt. Ein neuer öffnet das Gerät wieder.",
    idle: "{device} lag eine Weile ungenutzt. Ein Code aus Ihrer Authenticator-App öffnet das Gerät wieder.",
    button: "Gerät öffnen",
    anew: "Mit Name und Passwort anmelden",
    ends: "Ihre Sitzung endet in {minutes} Minuten, und was offen ist, mit ihr.",
    ends_last: "Ihre Sitzung endet in {minutes} Minuten. Dann melden Sie sich neu an.",
    more: "Ein Code hält sie einmalig {time} länger offen; nichts wird unterbrochen.",
    more_button: "Weiter",
    hour: "{count} Std.",
    minute: "{count} Min.",
};
