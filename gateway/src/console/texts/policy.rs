//! Words of the policy.

words! {
    /// The policy, its files, changes and questions.
    Words {
        title: "Policy", "Politique", "Regelwerk";
        in_force: "In force", "En vigueur", "In Kraft";
        generation: "generation", "génération", "Generation";
        since: "since", "depuis", "seit";
        cached: "This is the last good policy, not that of the folder.", "C’est la dernière politique valide, pas celle du dossier.", "Das ist das letzte gültige Regelwerk, nicht das des Ordners.";
        waits: "Generation {generation} waits to be confirmed; it is taken back at {until}.",
            "La génération {generation} attend d’être confirmée ; elle sera retirée à {until}.",
            "Generation {generation} wartet auf Bestätigung; sie wird um {until} zurückgenommen.";
        confirm: "Keep it", "La garder", "Behalten";
        old_connection: "This answer came over a connection from before the change, which does not show that a new one can be made. It is closed now; go back and try again.",
            "Cette réponse est venue par une connexion d’avant le changement, ce qui ne montre pas qu’une nouvelle est possible. Elle est maintenant fermée ; revenez et réessayez.",
            "Diese Antwort kam über eine Verbindung von vor der Änderung; das zeigt nicht, dass eine neue möglich ist. Sie ist jetzt geschlossen; gehen Sie zurück und versuchen Sie es noch einmal.";
        take_back: "Take it back", "La retirer", "Zurücknehmen";
        not_in_force: "The files that lie there now are not in force", "Les fichiers présents ne sont pas en vigueur", "Die Dateien, die jetzt dort liegen, gelten nicht";
        look_folder: "See what they would change", "Voir ce qu’ils changeraient", "Zeigen, was sie ändern würden";
        files: "Files", "Fichiers", "Dateien";
        file: "File", "Fichier", "Datei";
        bytes: "Bytes", "Octets", "Bytes";
        differs: "not in force", "pas en vigueur", "nicht in Kraft";
        ask: "Ask the policy", "Interroger la politique", "Das Regelwerk fragen";
        findings: "Findings and tests", "Constats et tests", "Befunde und Tests";
        history: "History", "Historique", "Verlauf";
        when: "When", "Quand", "Wann";
        how: "How", "Comment", "Wie";
        by: "By", "Par", "Durch";
        result: "Result", "Résultat", "Ergebnis";
        change: "Wider / narrower", "Élargis / réduits", "Weiter / enger";
        back_to: "Return to it", "Y revenir", "Dahin zurück";
        lint: "Looks like a mistake", "Ressemble à une erreur", "Sieht nach einem Fehler aus";
        no_lint: "Nothing found.", "Rien trouvé.", "Nichts gefunden.";
        tests: "Tests", "Tests", "Tests";
        tests_text: "{passed} passed, {failed} failed", "{passed} réussis, {failed} échoués", "{passed} bestanden, {failed} gescheitert";
        expected: "Expects", "Attend", "Erwartet";
        passed: "passed", "réussi", "bestanden";
        failed: "failed", "échoué", "gescheitert";
        text: "Text", "Texte", "Text";
        too_long: "This file is too long to be edited here.", "Ce fichier est trop long pour être modifié ici.", "Diese Datei ist zu lang, um hier bearbeitet zu werden.";
        check: "Check", "Vérifier", "Prüfen";
        apply: "Apply", "Appliquer", "Anwenden";
        confirm_minutes: "Take it back after so many minutes unless confirmed (empty: never)",
            "Retirer après tant de minutes sans confirmation (vide : jamais)",
            "Nach so vielen Minuten zurücknehmen, wenn nicht bestätigt (leer: nie)";
        bad_minutes: "The time to confirm is 1 to 1440 minutes.", "Le délai de confirmation va de 1 à 1440 minutes.", "Die Frist zum Bestätigen ist 1 bis 1440 Minuten.";
        wrong: "Not in force: the policy has mistakes", "Pas en vigueur : la politique contient des erreurs", "Nicht in Kraft: das Regelwerk hat Fehler";
        stale: "Somebody else changed the files since you opened this page. Your text is still here; open the file again and carry your lines over.",
            "Quelqu’un d’autre a modifié les fichiers depuis l’ouverture de cette page. Votre texte est encore ici ; rouvrez le fichier et reportez vos lignes.",
            "Jemand anderes hat die Dateien seither geändert. Ihr Text ist noch hier; öffnen Sie die Datei neu und übertragen Sie Ihre Zeilen.";
        kept: "This is the text you sent before; it was kept while you gave a fresh code. Check it, then apply it.",
            "Voici le texte envoyé auparavant ; il a été gardé pendant la saisie d’un nouveau code. Vérifiez-le, puis appliquez-le.",
            "Das ist der zuvor gesendete Text; er wurde behalten, während Sie einen neuen Code eingaben. Prüfen Sie ihn und wenden Sie ihn an.";
        open_again: "Open it again", "La rouvrir", "Neu öffnen";
        lines: "Lines that change", "Lignes modifiées", "Geänderte Zeilen";
        access: "Access that changes", "Accès modifiés", "Geänderte Zugriffe";
        held: "A guard holds it", "Une garde la retient", "Eine Sperre hält es auf";
        never: "This cannot be accepted here.", "Cela ne peut pas être accepté ici.", "Das kann hier nicht angenommen werden.";
        accept: "I accept that:", "J’accepte que :", "Ich nehme an, dass:";
        notes: "Worth a look", "À regarder", "Beachtenswert";
        nothing_against: "Nothing stands against it.", "Rien ne s’y oppose.", "Nichts steht dagegen.";
        no_change: "Nothing changes.", "Rien ne change.", "Nichts ändert sich.";
        now_in_force: "It is in force.", "Elle est en vigueur.", "Es ist in Kraft.";
        rollback_title: "Return to generation {generation}", "Revenir à la génération {generation}", "Zurück zu Generation {generation}";
        rollback_before: "Return to the policy before", "Revenir à la politique précédente", "Zurück zum vorigen Regelwerk";
        folder_title: "Apply the folder as it lies", "Appliquer le dossier tel quel", "Den Ordner anwenden, wie er liegt";
        who_can: "Who can reach", "Qui peut atteindre", "Wer erreicht";
        who_can_hint: "https://host/path, tcp://ip:port, or an id such as app.pay/admin", "https://hôte/chemin, tcp://ip:port ou un identifiant comme app.pay/admin", "https://host/pfad, tcp://ip:port oder eine Kennung wie app.pay/admin";
        what_can: "What can this person reach", "Que peut atteindre cette personne", "Was erreicht diese Person";
        explain: "How would this be decided", "Comment cela serait-il décidé", "Wie würde das entschieden";
        person: "Person", "Personne", "Person";
        person_hint: "empty: nobody signed in", "vide : personne de connecté", "leer: niemand angemeldet";
        from: "From", "Depuis", "Von";
        from_hint: "a zone or an address; empty: internet", "une zone ou une adresse ; vide : internet", "eine Zone oder Adresse; leer: internet";
        at: "At", "Quand", "Wann";
        at_hint: "such as tue 10:00; empty: now", "par exemple tue 10:00 ; vide : maintenant", "etwa tue 10:00; leer: jetzt";
        code_age: "Age of the code", "Âge du code", "Alter des Codes";
        code_hint: "such as 20m, or none; empty: fresh", "par exemple 20m, ou none ; vide : récent", "etwa 20m oder none; leer: frisch";
        login_age: "Age of the sign-in", "Âge de la connexion", "Alter der Anmeldung";
        device: "Device", "Appareil", "Gerät";
        method: "Method", "Méthode", "Methode";
        target: "Asked for", "Demande", "Angefragt";
        target_hint: "https://host/path, tcp://ip:port, icmp://ip or admin", "https://hôte/chemin, tcp://ip:port, icmp://ip ou admin", "https://host/pfad, tcp://ip:port, icmp://ip oder admin";
        ask_button: "Ask", "Demander", "Fragen";
        answer: "Answer", "Réponse", "Antwort";
    }
}
