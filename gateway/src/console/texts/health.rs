//! Words of the state of the gateway.

words! {
    /// How the gateway is.
    Words {
        title: "Health", "État", "Zustand";
        version: "Version", "Version", "Version";
        uptime: "Running for", "En marche depuis", "Läuft seit";
        uptime_text: "{days} d {hours} h {minutes} min", "{days} j {hours} h {minutes} min", "{days} T {hours} Std {minutes} Min";
        policy: "Policy in force", "Politique en vigueur", "Geltendes Regelwerk";
        generation: "generation", "génération", "Generation";
        listeners: "Listens on", "À l’écoute sur", "Lauscht auf";
        tunnel: "Tunnel", "Tunnel", "Tunnel";
        sessions: "Live sessions", "Sessions ouvertes", "Offene Sitzungen";
        streams: "Open streams", "Flux ouverts", "Offene Ströme";
        bans: "Banned sources", "Sources bannies", "Gesperrte Quellen";
        rates: "Counted rates", "Débits comptés", "Gezählte Raten";
        journal: "Journal", "Journal", "Protokoll";
        journal_text: "{records} records, {size} in {files} files", "{records} enregistrements, {size} dans {files} fichiers", "{records} Einträge, {size} in {files} Dateien";
        journal_ok: "takes records", "accepte les enregistrements", "nimmt Einträge an";
        journal_bad: "takes no records: nothing is granted", "n’accepte plus rien : aucun accès n’est accordé", "nimmt nichts an: es wird nichts gewährt";
        store: "Store", "Base", "Speicher";
        disk: "Free on disk", "Libre sur le disque", "Frei auf der Platte";
        clock: "Clock", "Horloge", "Uhr";
        clock_ahead: "this machine is about {seconds} s ahead, going by several people’s apps", "cette machine avance d’environ {seconds} s, d’après les applications de plusieurs personnes", "dieser Rechner geht nach den Apps mehrerer Personen etwa {seconds} s vor";
        clock_behind: "this machine is about {seconds} s behind, going by several people’s apps", "cette machine retarde d’environ {seconds} s, d’après les applications de plusieurs personnes", "dieser Rechner geht nach den Apps mehrerer Personen etwa {seconds} s nach";
        certificates: "Certificates", "Certificats", "Zertifikate";
        names: "Names", "Noms", "Namen";
        until: "Until", "Jusqu’au", "Bis";
        days: "{days} days left", "{days} jours restants", "noch {days} Tage";
        devices: "Tunnel devices", "Appareils du tunnel", "Tunnelgeräte";
        device: "Device", "Appareil", "Gerät";
        person: "Person", "Personne", "Person";
        state: "State", "État", "Zustand";
        endpoint: "Heard from", "Vu depuis", "Zuletzt von";
        handshake: "Handshake", "Poignée de main", "Handshake";
        upstreams: "Applications behind", "Applications derrière", "Anwendungen dahinter";
        address: "Address", "Adresse", "Adresse";
        apps: "Apps", "Applications", "Anwendungen";
        open: "takes connections", "accepte les connexions", "nimmt Verbindungen an";
        closed: "takes none", "n’en accepte pas", "nimmt keine an";
        untried: "not tried", "non essayée", "nicht versucht";
        none: "None.", "Aucun.", "Keine.";
    }
}
