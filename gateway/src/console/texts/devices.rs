//! Words of devices.

words! {
    /// The list of devices.
    Words {
        title: "Devices", "Appareils", "Geräte";
        search_label: "Device, person or address", "Appareil, personne ou adresse", "Gerät, Person oder Adresse";
        none: "No device matches.", "Aucun appareil ne correspond.", "Kein Gerät passt dazu.";
        device: "Device", "Appareil", "Gerät";
        person: "Person", "Personne", "Person";
        address: "Address", "Adresse", "Adresse";
        kind: "Class", "Classe", "Klasse";
        known: "known", "connu", "bekannt";
        managed: "managed", "géré", "verwaltet";
        state: "State", "État", "Zustand";
        open: "open", "ouvert", "offen";
        quarantine: "closed until sign-in", "fermé jusqu’à la connexion", "bis zur Anmeldung geschlossen";
        never: "never heard of", "jamais vu", "nie gesehen";
        revoked: "revoked", "révoqué", "widerrufen";
        heard: "Last handshake", "Dernier échange", "Letzter Handshake";
        seconds_ago: "{count} s ago", "il y a {count} s", "vor {count} s";
        minutes_ago: "{count} min ago", "il y a {count} min", "vor {count} min";
        disputed: "key seen in two places", "clé vue à deux endroits", "Schlüssel an zwei Orten gesehen";
        clock_ahead: "its clock ran ahead", "son horloge avançait", "seine Uhr ging vor";
        clear: "Clear", "Lever", "Aufheben";
        revoke: "Revoke", "Révoquer", "Widerrufen";
        mark_managed: "Mark as managed", "Marquer comme géré", "Als verwaltet kennzeichnen";
        mark_known: "Mark as known only", "Marquer comme seulement connu", "Nur als bekannt kennzeichnen";
    }
}
