//! Words of the decisions.

words! {
    /// The list of decisions, and one of them.
    Words {
        title: "Decisions", "Décisions", "Entscheidungen";
        person: "Person", "Personne", "Person";
        place: "Host, app or network", "Hôte, application ou réseau", "Host, Anwendung oder Netz";
        place_hint: "such as pay.example.org, app.pay, net.ssh, admin", "par exemple pay.example.org, app.pay, net.ssh, admin", "etwa pay.example.org, app.pay, net.ssh, admin";
        outcome: "Outcome", "Issue", "Ergebnis";
        any: "any", "toutes", "alle";
        code: "Code", "Code", "Code";
        since: "Since", "Depuis", "Seit";
        until: "Until", "Jusqu’à", "Bis";
        time_hint: "such as 30m, 2h, 1d or 2026-10-12", "par exemple 30m, 2h, 1d ou 2026-10-12", "etwa 30m, 2h, 1d oder 2026-10-12";
        events: "Records", "Enregistrements", "Einträge";
        only_decisions: "decisions only", "décisions seulement", "nur Entscheidungen";
        all_records: "all records", "tous les enregistrements", "alle Einträge";
        show: "Show", "Afficher", "Zeigen";
        live: "Show new ones as they come", "Afficher les nouvelles au fil de l’eau", "Neue laufend zeigen";
        live_on: "New decisions appear at the top.", "Les nouvelles décisions apparaissent en haut.", "Neue Entscheidungen erscheinen oben.";
        pause: "Pause", "Pause", "Anhalten";
        when: "When", "Quand", "Wann";
        source: "From", "Depuis", "Von";
        asked: "Asked for", "Demande", "Angefragt";
        rule: "Rule", "Règle", "Regel";
        reason: "Reason", "Raison", "Grund";
        explain: "Why", "Pourquoi", "Warum";
        nobody: "nobody signed in", "personne de connecté", "niemand angemeldet";
        count: "{count} alike", "{count} semblables", "{count} gleiche";
        none: "Nothing on record matches.", "Rien dans le journal ne correspond.", "Nichts im Protokoll passt dazu.";
        cut: "The search ended before the beginning of the journal; older records may match.",
            "La recherche s’est arrêtée avant le début du journal ; des enregistrements plus anciens peuvent correspondre.",
            "Die Suche endete vor dem Anfang des Protokolls; ältere Einträge können passen.";
        older: "Older", "Plus anciennes", "Ältere";
        newest: "Newest", "Les plus récentes", "Neueste";
        bad_filter: "“{value}” cannot be searched for.", "« {value} » ne peut pas être recherché.", "„{value}“ kann nicht gesucht werden.";
        not_found: "{which} is not in the journal, or too far back.", "{which} n’est pas dans le journal, ou trop ancien.", "{which} steht nicht im Protokoll oder zu weit zurück.";
        one_title: "Why it was decided so", "Pourquoi cette décision", "Warum so entschieden wurde";
        changes: "What would have to change", "Ce qui devrait changer", "Was sich ändern müsste";
        one_change: "Any one of these would have let it through:", "Un seul de ces changements aurait suffi :", "Jedes davon allein hätte genügt:";
        no_change: "No single change would let it through.", "Aucun changement isolé ne suffirait.", "Keine einzelne Änderung würde genügen.";
        why_not: "It cannot be decided again: {why}.", "Elle ne peut pas être rejouée : {why}.", "Sie kann nicht erneut getroffen werden: {why}.";
        record: "Record", "Enregistrement", "Eintrag";
        request: "Request", "Requête", "Anfrage";
    }
}
