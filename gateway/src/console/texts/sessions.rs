//! Words of the list of sessions.

words! {
    /// The list of sessions.
    Words {
        title: "Sessions", "Sessions", "Sitzungen";
        title_of: "Sessions of {user}", "Sessions de {user}", "Sitzungen von {user}";
        all: "Show all", "Tout afficher", "Alle zeigen";
        person: "Person", "Personne", "Person";
        door: "Through", "Par", "Über";
        place: "From", "Depuis", "Von";
        browser: "Browser", "Navigateur", "Browser";
        created: "Signed in", "Connexion", "Angemeldet";
        last: "Last used", "Dernière activité", "Zuletzt genutzt";
        end: "End", "Fermer", "Beenden";
        end_all: "End all sessions of {user}", "Fermer toutes les sessions de {user}", "Alle Sitzungen von {user} beenden";
        own: "this one", "celle-ci", "diese hier";
        none: "Nobody is signed in.", "Personne n’est connecté.", "Niemand ist angemeldet.";
    }
}
