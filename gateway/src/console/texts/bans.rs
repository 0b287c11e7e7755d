//! Words of bans and waiting accounts.

words! {
    /// Bans, and accounts that wait.
    Words {
        title: "Bans", "Bannissements", "Sperren";
        none: "Nothing is banned.", "Rien n’est banni.", "Nichts ist gesperrt.";
        network: "Source", "Origine", "Quelle";
        left: "Left", "Reste", "Rest";
        reason: "Reason", "Motif", "Grund";
        note: "Note", "Note", "Notiz";
        times: "Times", "Fois", "Mal";
        minutes: "{count} min", "{count} minutes", "{count} Min.";
        lifted: "until lifted", "jusqu’à levée", "bis auf Weiteres";
        lift: "Lift", "Lever", "Aufheben";
        add: "Ban a source", "Bannir une origine", "Quelle sperren";
        add_label: "Address or network", "Adresse ou réseau", "Adresse oder Netz";
        time: "How long, such as 30m, 1h or 7d; until lifted if empty", "Durée, par exemple 30m, 1h ou 7d ; jusqu’à levée si vide", "Wie lange, etwa 30m, 1h oder 7d; leer heißt bis auf Weiteres";
        look: "Go on", "Continuer", "Weiter";
        locked_title: "Accounts that wait", "Comptes en attente", "Wartende Konten";
        locked_lead: "After many wrong tries these accounts take none from places nobody knows; known browsers and devices still get in.",
            "Après de nombreux essais manqués, ces comptes n’en acceptent plus de lieux inconnus ; les navigateurs et appareils connus passent toujours.",
            "Nach vielen Fehlversuchen nehmen diese Konten von unbekannten Orten keine mehr an; bekannte Browser und Geräte kommen weiter hinein.";
        locked_none: "No account waits.", "Aucun compte n’attend.", "Kein Konto wartet.";
        person: "Person", "Personne", "Person";
        unlock: "Unlock", "Déverrouiller", "Entsperren";
    }
}
