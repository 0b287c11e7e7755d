//! What mails say besides what the pages say: the same texts in each language.

use crate::pages::Lang;

/// The texts of mails; `{name}` marks what is filled in.
pub(super) struct Words {
    pub(super) news_subject: &'static str,
    pub(super) not_you: &'static str,
    pub(super) reset_subject: &'static str,
    pub(super) reset_text: &'static str,
    pub(super) reset_link: &'static str,
    pub(super) reset_ignore: &'static str,
    pub(super) alarm_subject: &'static str,
    pub(super) alarm_series: &'static str,
    pub(super) alarm_spraying: &'static str,
    pub(super) alarm_hint: &'static str,
    pub(super) policy_subject: &'static str,
    pub(super) policy_text: &'static str,
    pub(super) policy_hint: &'static str,
    pub(super) limit_subject: &'static str,
    pub(super) limit_text: &'static str,
    pub(super) limit_hint: &'static str,
    pub(super) order_subject: &'static str,
    pub(super) order_text: &'static str,
    pub(super) ends_subject: &'static str,
    pub(super) ends_text: &'static str,
    pub(super) ends_cause: &'static str,
    pub(super) ends_advice: &'static str,
    pub(super) ends_hint: &'static str,
    pub(super) test_subject: &'static str,
    pub(super) test_text: &'static str,
    pub(super) footer: &'static str,
}

pub(super) fn of(lang: Lang) -> &'static Words {
    match lang {
        Lang::En => &EN,
        Lang::Fr => &FR,
        Lang::De => &DE,
    }
}

const EN: Words = Words {
    news_subject: "News about your account at {host}",
    not_you: "If that was not you, sign in, change your password and end every session you do not recognise:",
    reset_subject: "A new password for {host}",
    reset_text: "{time}: somebody, most likely you, asked for a new password from {place}.",
    reset_link: "To choose one, open this link within 20 minutes. It works once, and signing in afterwards needs your authenticator app or a recovery code as ever:",
    reset_ignore: "If you did not ask for it, you need not do anything: your password stays as it is.",
    alarm_subject: "Sign-ins fail at {host}",
    alarm_series: "{time}: sign-ins as {name} fail again and again, last from {place}. Further tries from there have to wait.",
    alarm_spraying: "{time}: sign-ins fail at many accounts ({count}): somebody may be trying common passwords.",
    alarm_hint: "To look closer: postern audit search --event sign-in-failed; postern ban list",
    policy_subject: "The policy of {host} is not what lies in its folder",
    policy_text: "{time}: the files in the policy folder were not put in force. The rules of before go on. Why:",
    policy_hint: "To look closer: postern policy history; postern policy check",
    limit_subject: "A sensitive limit was reached at {host}",
    limit_text: "{time}: {name}, from {place}, asked {app} for more than the limit \"{tier}\" lets anyone have. The policy calls this limit sensitive. Further requests have to wait.",
    limit_hint: "To look closer: postern audit search --reason sensitive-limited",
    order_subject: "{name} has no certificate",
    order_text: "{time}: no certificate could be ordered for {name}, several times in a row. Browsers warn of what they see there, unless they trust the internal authority.",
    ends_subject: "Certificates of {host} end",
    ends_text: "The certificate of {name} has {days} days left, until {time}.",
    ends_cause: "Cause: {cause}",
    ends_advice: "What to do: {advice}",
    ends_hint: "To look closer: postern cert list; to order now: postern cert renew",
    test_subject: "Test mail from {host}",
    test_text: "This mail shows that {host} can send mails.",
    footer: "This mail was sent by {host}. Answers to it are not read.",
};

const FR: Words = Words {
    news_subject: "Nouvelles de votre compte sur {host}",
    not_you: "Si ce n'était pas vous, connectez-vous, changez votre mot de passe et mettez fin à chaque session que vous ne reconnaissez pas :",
    reset_subject: "Un nouveau mot de passe pour {host}",
    reset_text: "{time} : quelqu'un, sans doute vous, a demandé un nouveau mot de passe depuis {place}.",
    reset_link: "Pour le choisir, ouvrez ce lien dans les 20 minutes. Il fonctionne une fois, et la connexion demande ensuite comme toujours votre application d'authentification ou un code de secours :",
    reset_ignore: "Si vous ne l'avez pas demandé, vous n'avez rien à faire : votre mot de passe reste tel quel.",
    alarm_subject: "Des connexions échouent sur {host}",
    alarm_series: "{time} : les connexions en tant que {name} échouent encore et encore, la dernière fois depuis {place}. D'autres essais depuis là doivent attendre.",
    alarm_spraying: "{time} : des connexions échouent sur beaucoup de comptes ({count}) : quelqu'un essaie peut-être des mots de passe courants.",
    alarm_hint: "Pour en savoir plus : postern audit search --event sign-in-failed; postern ban list",
    policy_subject: "La politique de {host} n'est pas celle de son dossier",
    policy_text: "{time} : les fichiers du dossier de la politique n'ont pas été mis en vigueur. Les règles d'avant continuent. Pourquoi :",
    policy_hint: "Pour y regarder de plus près : postern policy history; postern policy check",
    limit_subject: "Une limite sensible a été atteinte sur {host}",
    limit_text: "{time} : {name}, depuis {place}, a demandé à {app} plus que ne le permet la limite « {tier} ». La politique dit cette limite sensible. Les demandes suivantes doivent attendre.",
    limit_hint: "Pour y regarder de plus près : postern audit search --reason sensitive-limited",
    order_subject: "{name} n'a pas de certificat",
    order_text: "{time} : aucun certificat n'a pu être commandé pour {name}, plusieurs fois de suite. Les navigateurs mettent en garde contre ce qu'ils y voient, sauf ceux qui font confiance à l'autorité interne.",
    ends_subject: "Des certificats de {host} arrivent à leur fin",
    ends_text: "Le certificat de {name} vaut encore {days} jours, jusqu'au {time}.",
    ends_cause: "Cause : {cause}",
    ends_advice: "À faire : {advice}",
    ends_hint: "Pour en savoir plus : postern cert list ; pour commander maintenant : postern cert renew",
    test_subject: "Message d'essai de {host}",
    test_text: "Ce message montre que {host} peut envoyer des messages.",
    footer: "Ce message a été envoyé par {host}. Les réponses ne sont pas lues.",
};

const DE: Words = Words {
    news_subject: "Neues zu Ihrem Konto bei {host}",
    not_you: "Wenn Sie das nicht waren, melden Sie sich an, ändern Sie Ihr Passwort und beenden Sie jede Sitzung, die Sie nicht kennen:",
    reset_subject: "Ein neues Passwort für {host}",
    reset_text: "{time}: Jemand, vermutlich Sie, hat von {place} aus ein neues Passwort verlangt.",
    reset_link: "Um es zu wählen, öffnen Sie diesen Link innerhalb von 20 Minuten. Er gilt einmal, und die Anmeldung verlangt danach wie immer Ihre Authentifizierungs-App oder einen Wiederherstellungscode:",
    reset_ignore: "Wenn Sie das nicht verlangt haben, müssen Sie nichts tun: Ihr Passwort bleibt, wie es ist.",
    alarm_subject: "Anmeldungen bei {host} schlagen fehl",
    alarm_series: "{time}: Anmeldungen als {name} schlagen immer wieder fehl, zuletzt von {place}. Weitere Versuche von dort müssen warten.",
    alarm_spraying: "{time}: Anmeldungen an vielen Konten schlagen fehl ({count}): Vielleicht probiert jemand verbreitete Passwörter.",
    alarm_hint: "Mehr dazu: postern audit search --event sign-in-failed; postern ban list",
    policy_subject: "Die Richtlinie von {host} ist nicht die in ihrem Ordner",
    policy_text: "{time}: Die Dateien im Ordner der Richtlinie wurden nicht in Kraft gesetzt. Die Regeln von vorher gelten weiter. Warum:",
    policy_hint: "Zum Nachsehen: postern policy history; postern policy check",
    limit_subject: "Ein heikles Limit wurde bei {host} erreicht",
    limit_text: "{time}: {name} hat von {place} aus mehr von {app} verlangt, als das Limit „{tier}“ zulässt. Die Richtlinie nennt dieses Limit heikel. Weitere Anfragen müssen warten.",
    limit_hint: "Zum Nachsehen: postern audit search --reason sensitive-limited",
    order_subject: "{name} hat kein Zertifikat",
    order_text: "{time}: Für {name} konnte mehrmals hintereinander kein Zertifikat bestellt werden. Browser warnen vor dem, was sie dort sehen, wenn sie der internen Stelle nicht vertrauen.",
    ends_subject: "Zertifikate von {host} laufen ab",
    ends_text: "Das Zertifikat von {name} gilt noch {days} Tage, bis {time}.",
    ends_cause: "Ursache: {cause}",
    ends_advice: "Was zu tun ist: {advice}",
    ends_hint: "Mehr dazu: postern cert list; sofort bestellen: postern cert renew",
    test_subject: "Probe-Mail von {host}",
    test_text: "Diese Mail zeigt, dass {host} Mails senden kann.",
    footer: "Diese Mail wurde von {host} gesendet. Antworten darauf werden nicht gelesen.",
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all(words: &Words) -> [&'static str; 26] {
        [
            words.news_subject,
            words.not_you,
            words.reset_subject,
            words.reset_text,
            words.reset_link,
            words.reset_ignore,
            words.alarm_subject,
            words.alarm_series,
            words.alarm_spraying,
            words.alarm_hint,
            words.policy_subject,
            words.policy_text,
            words.policy_hint,
            words.limit_subject,
            words.limit_text,
            words.limit_hint,
            words.order_subject,
            words.order_text,
            words.ends_subject,
            words.ends_text,
            words.ends_cause,
            words.ends_advice,
            words.ends_hint,
            words.test_subject,
            words.test_text,
            words.footer,
        ]
    }

    fn blanks(text: &str) -> BTreeSet<&str> {
        let parts = text.split('{').skip(1);
        parts.filter_map(|rest| rest.split('}').next()).collect()
    }

    #[test]
    fn the_commands_of_the_hints_exist() {
        for lang in Lang::ALL {
            let words = of(lang);
            for hint in [
                words.alarm_hint,
                words.limit_hint,
                words.policy_hint,
                words.ends_hint,
            ] {
                let commands: Vec<&str> = hint.split("postern ").skip(1).collect();
                assert!(!commands.is_empty(), "{hint}");
                for command in commands {
                    let command = command.split([';', ',']).next().unwrap_or_default();
                    let line = format!("postern {}", command.trim_end());
                    assert!(crate::cli::understands(&line), "{line}");
                }
            }
        }
    }

    #[test]
    fn every_text_is_translated_and_has_the_same_blanks() {
        for lang in [Lang::Fr, Lang::De] {
            for (text, model) in all(of(lang)).into_iter().zip(all(&EN)) {
                assert_ne!(text, model);
                assert_eq!(blanks(text), blanks(model), "{text}");
            }
        }
    }
}
