//! Words of the certificates.

words! {
    /// The certificates.
    Words {
        title: "Certificates", "Certificats", "Zertifikate";
        lead: "What the doors show to browsers. Those of directories and of the internal authority renew by themselves.",
            "Ce que les portes montrent aux navigateurs. Ceux des autorités en ligne et de l’autorité interne se renouvellent d’eux-mêmes.",
            "Was die Türen den Browsern zeigen. Zertifikate von Ausstellern und der internen Stelle erneuern sich selbst.";
        names: "Names", "Noms", "Namen";
        source: "From", "Origine", "Herkunft";
        file: "own files", "fichiers propres", "eigene Dateien";
        directory: "a directory", "une autorité en ligne", "ein Aussteller";
        internal: "internal authority", "autorité interne", "interne Stelle";
        missing: "none yet", "aucun encore", "noch keines";
        until: "Until", "Jusqu’au", "Bis";
        days: "{days} days left", "{days} jours restants", "noch {days} Tage";
        next: "Next order", "Prochaine commande", "Nächste Bestellung";
        trouble: "Last error", "Dernière erreur", "Letzter Fehler";
        advice: "What to do", "À faire", "Was zu tun ist";
        verify: "To be shown in DNS", "À publier dans le DNS", "Im DNS zu zeigen";
        renew: "Renew", "Renouveler", "Erneuern";
        none: "There is no certificate.", "Il n’y a aucun certificat.", "Es gibt kein Zertifikat.";
    }
}
