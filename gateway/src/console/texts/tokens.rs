//! Words of tokens for apps.

words! {
    /// The list of tokens.
    Words {
        title: "Tokens", "Jetons", "Token";
        search_label: "Token, person, device or application", "Jeton, personne, appareil ou application", "Token, Person, Gerät oder Anwendung";
        none: "No token matches.", "Aucun jeton ne correspond.", "Kein Token passt dazu.";
        device: "Device", "Appareil", "Gerät";
        person: "Person", "Personne", "Person";
        app: "Application", "Application", "Anwendung";
        created: "Made", "Créé", "Erstellt";
        expires: "Until", "Jusqu’au", "Bis";
        last: "Last used", "Dernier usage", "Zuletzt genutzt";
        place: "From", "Depuis", "Von";
        never: "never", "jamais", "nie";
        revoke: "Revoke", "Révoquer", "Widerrufen";
    }
}
