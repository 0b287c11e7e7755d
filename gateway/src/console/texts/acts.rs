//! Words of the acts.

words! {
    /// The acts: question, effect, button.
    Words {
        cancel: "Cancel", "Annuler", "Abbrechen";
        end_session: "End session {session}?", "Fermer la session {session} ?", "Sitzung {session} beenden?";
        end_sessions: "End all sessions of {user}?", "Fermer toutes les sessions de {user} ?", "Alle Sitzungen von {user} beenden?";
        end_effect: "Everything opened by it is cut within a second. The person may sign in again.",
            "Tout ce qu’elle a ouvert est coupé en moins d’une seconde. La personne peut se reconnecter.",
            "Alles dadurch Geöffnete wird innerhalb einer Sekunde getrennt. Die Person kann sich wieder anmelden.";
        end_button: "End", "Fermer", "Beenden";
        revoke_device: "Revoke device {device}?", "Révoquer l’appareil {device} ?", "Gerät {device} widerrufen?";
        revoke_effect: "Its tunnel ends at once and its key never works again.",
            "Son tunnel se ferme aussitôt et sa clé ne fonctionnera plus jamais.",
            "Sein Tunnel endet sofort und sein Schlüssel gilt nie wieder.";
        revoke_button: "Revoke", "Révoquer", "Widerrufen";
        revoke_token: "Revoke token {token}?", "Révoquer le jeton {token} ?", "Token {token} widerrufen?";
        revoke_token_effect: "Whatever it has open is cut at once, and it never works again.",
            "Tout ce qu’il a ouvert est coupé aussitôt, et il ne fonctionnera plus jamais.",
            "Was damit geöffnet ist, wird sofort getrennt, und es gilt nie wieder.";
        mark_managed: "Mark device {device} as managed?", "Marquer l’appareil {device} comme géré ?", "Gerät {device} als verwaltet kennzeichnen?";
        mark_known: "Mark device {device} as known only?", "Marquer l’appareil {device} comme seulement connu ?", "Gerät {device} nur noch als bekannt kennzeichnen?";
        mark_effect: "Rules that ask for a managed device look at this mark.",
            "Les règles qui exigent un appareil géré regardent cette marque.",
            "Regeln, die ein verwaltetes Gerät verlangen, richten sich danach.";
        mark_button: "Mark", "Marquer", "Kennzeichnen";
        clear_device: "Take back what was noted against device {device}?", "Lever ce qui a été noté contre l’appareil {device} ?", "Vermerke gegen Gerät {device} aufheben?";
        clear_effect: "That its key was seen in two places is settled, and a time its clock was ahead by is forgotten. It opens once its person has signed in through it. Do so only if no copy of its key is left.",
            "La clé vue à deux endroits est une affaire close, et l’heure en avance de son horloge est oubliée. Il s’ouvre dès que sa personne s’est connectée par lui. Seulement s’il ne reste aucune copie de sa clé.",
            "Der an zwei Orten gesehene Schlüssel gilt als geklärt, die vorauseilende Uhrzeit ist vergessen. Es öffnet sich, sobald seine Person sich darüber angemeldet hat. Nur wenn keine Kopie des Schlüssels mehr besteht.";
        clear_button: "Clear", "Lever", "Aufheben";
        ban: "Ban {network} until it is lifted?", "Bannir {network} jusqu’à levée ?", "{network} bis auf Weiteres sperren?";
        ban_for: "Ban {network} for {time}?", "Bannir {network} pendant {time} ?", "{network} für {time} sperren?";
        ban_effect: "Nothing from there is answered any more, and open connections are cut.",
            "Plus rien n’est servi à cette origine, et ses connexions sont coupées.",
            "Von dort wird nichts mehr beantwortet, offene Verbindungen werden getrennt.";
        ban_button: "Ban", "Bannir", "Sperren";
        unban: "Lift the ban of {network}?", "Lever le bannissement de {network} ?", "Sperre von {network} aufheben?";
        unban_effect: "It may ask again, and its failures are forgotten.",
            "L’accès redevient possible, et ses échecs sont oubliés.",
            "Anfragen sind wieder möglich, die Fehlversuche sind vergessen.";
        unban_button: "Lift", "Lever", "Aufheben";
        unlock: "Unlock the account of {user}?", "Déverrouiller le compte de {user} ?", "Konto von {user} entsperren?";
        unlock_effect: "Its wrong tries are forgotten, so that the person can try again from anywhere.",
            "Les essais manqués sont oubliés : la personne peut réessayer de partout.",
            "Die Fehlversuche sind vergessen, ein neuer Versuch ist von überall möglich.";
        unlock_button: "Unlock", "Déverrouiller", "Entsperren";
        invite: "Make an enrolment link for {user}?", "Créer un lien d’inscription pour {user} ?", "Registrierungslink für {user} erstellen?";
        invite_effect: "The link works once, for 24 hours. An earlier one is void. With it the person sets a password and an authenticator app.",
            "Le lien sert une fois, pendant 24 heures. Un lien antérieur devient nul. La personne y choisit son mot de passe et son application de codes.",
            "Der Link gilt einmal und 24 Stunden lang, ein früherer verfällt. Damit setzt die Person Passwort und Codes-App.";
        invite_button: "Make the link", "Créer le lien", "Link erstellen";
        reset: "Take the second factor of {user} away?", "Retirer le second facteur de {user} ?", "Zweiten Faktor von {user} entfernen?";
        reset_effect: "Sessions end and recovery codes are void; the password stays. The person reads the reason. You get a link to a new app, which asks for the password.",
            "Les sessions se ferment et les codes de secours sont annulés ; le mot de passe reste. La personne lira le motif. Vous recevez un lien vers une nouvelle application, qui demande le mot de passe.",
            "Sitzungen enden, Wiederherstellungscodes verfallen, das Passwort bleibt. Die Person liest den Grund. Sie erhalten einen Link zu einer neuen App, der nach dem Passwort fragt.";
        reset_button: "Take it away", "Retirer", "Entfernen";
        renew: "Renew the certificate of {name} now?", "Renouveler maintenant le certificat de {name} ?", "Zertifikat von {name} jetzt erneuern?";
        renew_effect: "It is ordered although it is not due; the limits of the directories are kept. The old one stays until a new one was checked.",
            "Il est commandé bien que son heure ne soit pas venue ; les limites des autorités sont respectées. L’ancien reste jusqu’à ce qu’un nouveau soit vérifié.",
            "Es wird bestellt, obwohl es nicht fällig ist; die Grenzen der Aussteller werden eingehalten. Das alte bleibt, bis ein neues geprüft ist.";
        renew_button: "Renew", "Renouveler", "Erneuern";
        add: "Declare {user}?", "Déclarer {user} ?", "{user} anlegen?";
        add_effect: "The person is written into the policy files, and an enrolment link is made and shown once.",
            "La personne est inscrite dans les fichiers de la politique, et un lien d’inscription est créé et montré une fois.",
            "Die Person wird in die Regeldateien eingetragen, ein Registrierungslink wird erstellt und einmal gezeigt.";
        disable: "Shut {user} out?", "Désactiver {user} ?", "{user} aussperren?";
        disable_effect: "Sessions, streams and tunnels end at once, and no sign-in works.",
            "Sessions, flux et tunnels se ferment aussitôt, et plus aucune connexion n’est possible.",
            "Sitzungen, Verbindungen und Tunnel enden sofort, keine Anmeldung ist mehr möglich.";
        enable: "Let {user} in again?", "Réactiver {user} ?", "{user} wieder zulassen?";
        enable_effect: "The person signs in with the factors they had; wrong tries are forgotten.",
            "La personne se connecte avec ses facteurs d’avant ; les essais manqués sont oubliés.",
            "Die Person meldet sich mit den bisherigen Faktoren an; Fehlversuche sind vergessen.";
        remove: "Take {user} out for good?", "Retirer {user} définitivement ?", "{user} endgültig entfernen?";
        remove_effect: "The person leaves all groups and files; factors, sessions and devices are forgotten.",
            "La personne quitte tous les groupes et fichiers ; facteurs, sessions et appareils sont oubliés.",
            "Die Person verlässt alle Gruppen und Dateien; Faktoren, Sitzungen und Geräte werden vergessen.";
        join: "Put {user} into {group}?", "Ajouter {user} au groupe {group} ?", "{user} in die Gruppe {group} aufnehmen?";
        leave: "Take {user} out of {group}?", "Retirer {user} du groupe {group} ?", "{user} aus der Gruppe {group} nehmen?";
        group_effect: "This is in force for open sessions too.",
            "Cela vaut aussi pour les sessions ouvertes.",
            "Das gilt auch für offene Sitzungen.";
        apply_button: "Apply", "Appliquer", "Anwenden";
        files: "What changes in the files", "Ce qui change dans les fichiers", "Was sich in den Dateien ändert";
        no_files: "The files say so already.", "Les fichiers le disent déjà.", "Die Dateien sagen das bereits.";
        access: "What changes for people", "Ce qui change pour les personnes", "Was sich für Personen ändert";
        more: "The policy folder holds changes that are not in force. They would go in force with this one.",
            "Le dossier de la politique contient des changements qui ne sont pas en vigueur. Ils le seraient avec celui-ci.",
            "Der Regelordner enthält Änderungen, die nicht in Kraft sind. Sie kämen mit dieser in Kraft.";
        warnings: "Worth a look", "À examiner", "Zu beachten";
        stops: "This does not go in force", "Ceci n’entre pas en vigueur", "Das tritt nicht in Kraft";
        accept: "I accept that {count} more pairs of person and place become open", "J’accepte que {count} couples de personne et de lieu deviennent ouverts", "Ich akzeptiere, dass {count} Paare von Person und Ort offen werden";
        changed: "The files were changed since you looked. Nothing was written. This is how it would be now.",
            "Les fichiers ont changé depuis votre lecture. Rien n’a été écrit. Voici ce que cela donnerait maintenant.",
            "Die Dateien wurden inzwischen geändert. Nichts wurde geschrieben. So sähe es jetzt aus.";
        held: "A guard holds this. Nothing was written.", "Une garde retient ceci. Rien n’a été écrit.", "Eine Sicherung hält das auf. Nichts wurde geschrieben.";
        link_title: "A link to hand over", "Un lien à transmettre", "Ein Link zum Weitergeben";
        link_lead: "It is shown only now. Hand it to the person in a way you trust; whoever has it can use it once, within 24 hours.",
            "Il n’est montré que maintenant. Transmettez-le par une voie sûre ; qui le détient peut s’en servir une fois, pendant 24 heures.",
            "Er wird nur jetzt gezeigt. Geben Sie ihn auf sicherem Weg weiter; wer ihn hat, kann ihn innerhalb von 24 Stunden einmal benutzen.";
        link_label: "One-time link", "Lien à usage unique", "Einmal-Link";
        link_kept: "I have handed it over", "Je l’ai transmis", "Ich habe ihn weitergegeben";
    }
}
