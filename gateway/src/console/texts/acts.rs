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
    }
}
