//! Words of people.

words! {
    /// People: the list, and one person.
    Words {
        title: "People", "Personnes", "Personen";
        lead: "Everybody of the policy folder.", "Toutes les personnes du dossier de la politique.", "Alle Personen des Regelordners.";
        search_label: "Name, mail or group", "Nom, adresse ou groupe", "Name, Adresse oder Gruppe";
        none: "Nobody matches.", "Personne ne correspond.", "Niemand passt dazu.";
        user: "Sign-in name", "Identifiant", "Anmeldename";
        name: "Name", "Nom", "Name";
        groups: "Groups", "Groupes", "Gruppen";
        state: "State", "État", "Zustand";
        sessions: "Sessions", "Sessions", "Sitzungen";
        active: "active", "actif", "aktiv";
        disabled: "shut out", "désactivé", "ausgesperrt";
        not_enrolled: "not enrolled", "non inscrit", "nicht registriert";
        locked: "waits after wrong tries", "en attente après des essais manqués", "wartet nach Fehlversuchen";
        locked_for: "Waits {minutes} minutes after wrong tries, from places nobody knows", "En attente {minutes} minutes après des essais manqués, depuis des lieux inconnus", "Wartet {minutes} Minuten nach Fehlversuchen, von unbekannten Orten";
        new_title: "New person", "Nouvelle personne", "Neue Person";
        mail: "Mail", "Adresse électronique", "E-Mail-Adresse";
        group: "Group", "Groupe", "Gruppe";
        optional: "may stay empty", "facultatif", "freiwillig";
        look: "See the change", "Voir le changement", "Änderung ansehen";
        facts: "Account", "Compte", "Konto";
        last: "Last sign-in", "Dernière connexion", "Letzte Anmeldung";
        never: "not known", "inconnue", "nicht bekannt";
        factors: "Factors", "Facteurs", "Faktoren";
        has_password: "password", "mot de passe", "Passwort";
        has_totp: "authenticator app", "application de codes", "Codes-App";
        codes: "{count} recovery codes", "{count} codes de secours", "{count} Wiederherstellungscodes";
        app_clock: "App clock", "Heure de l’application", "Uhr der App";
        app_ahead: "about {seconds} s ahead", "environ {seconds} s d’avance", "geht etwa {seconds} s vor";
        app_behind: "about {seconds} s behind", "environ {seconds} s de retard", "geht etwa {seconds} s nach";
        app_advice: "as the code refused at {time} told; the phone should set its clock automatically", "d’après le code refusé le {time} ; le téléphone devrait régler son heure automatiquement", "nach dem Code, der am {time} abgelehnt wurde; das Handy sollte seine Uhr automatisch stellen";
        no_factors: "none yet", "aucun pour l’instant", "noch keine";
        invited: "an enrolment link waits", "un lien d’inscription est en attente", "ein Registrierungslink ist offen";
        attributes: "Attributes", "Attributs", "Attribute";
        invite: "Enrolment link", "Lien d’inscription", "Registrierungslink";
        disable: "Shut out", "Désactiver", "Aussperren";
        enable: "Let in again", "Réactiver", "Wieder zulassen";
        remove: "Take out for good", "Retirer définitivement", "Endgültig entfernen";
        unlock: "Unlock", "Déverrouiller", "Entsperren";
        end_all: "End all sessions", "Fermer toutes les sessions", "Alle Sitzungen beenden";
        reset: "Lost phone: take the second factor away", "Téléphone perdu : retirer le second facteur", "Handy verloren: zweiten Faktor entfernen";
        reason: "Reason, which the person reads", "Motif, que la personne lira", "Grund, den die Person liest";
        leave: "Take out", "Retirer", "Herausnehmen";
        by_other: "by another group or an attribute", "par un autre groupe ou un attribut", "über eine andere Gruppe oder ein Attribut";
        join: "Put into a group", "Ajouter à un groupe", "In eine Gruppe aufnehmen";
        no_groups: "In no group.", "Dans aucun groupe.", "In keiner Gruppe.";
        reach: "May reach", "Peut atteindre", "Darf erreichen";
        place: "Place", "Lieu", "Ort";
        rule: "Rule", "Règle", "Regel";
        when: "When", "Quand", "Wann";
        always: "always", "toujours", "immer";
        reach_none: "Nothing.", "Rien.", "Nichts.";
        devices: "Devices", "Appareils", "Geräte";
        no_devices: "No device.", "Aucun appareil.", "Kein Gerät.";
        no_sessions: "Not signed in.", "Pas de session ouverte.", "Nicht angemeldet.";
    }
}
