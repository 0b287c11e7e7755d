//! Words around every part of the console.

words! {
    /// Around every part.
    Words {
        title: "Console", "Console", "Konsole";
        nav: "Parts of the console", "Parties de la console", "Teile der Konsole";
        people: "People", "Personnes", "Personen";
        groups: "Groups", "Groupes", "Gruppen";
        devices: "Devices", "Appareils", "Geräte";
        sessions: "Sessions", "Sessions", "Sitzungen";
        tokens: "Tokens", "Jetons", "Token";
        bans: "Bans", "Bannissements", "Sperren";
        decisions: "Decisions", "Décisions", "Entscheidungen";
        policy: "Policy", "Politique", "Regelwerk";
        certificates: "Certificates", "Certificats", "Zertifikate";
        health: "Health", "État", "Zustand";
        done: "Done.", "C’est fait.", "Erledigt.";
        refused: "Not done", "Non effectué", "Nicht ausgeführt";
        search: "Search", "Rechercher", "Suchen";
        back: "Back", "Retour", "Zurück";
        previous: "Previous page", "Page précédente", "Vorherige Seite";
        next: "Next page", "Page suivante", "Nächste Seite";
        shown: "{from} to {to} of {total}", "{from} à {to} sur {total}", "{from} bis {to} von {total}";
    }
}
