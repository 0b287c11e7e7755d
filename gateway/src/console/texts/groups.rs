//! Words of groups.

words! {
    /// Groups: the list, and one group.
    Words {
        title: "Groups", "Groupes", "Gruppen";
        lead: "Groups that list their people. Others follow from attributes.",
            "Les groupes qui énumèrent leurs personnes. Les autres viennent des attributs.",
            "Gruppen, die ihre Personen aufzählen. Andere ergeben sich aus Attributen.";
        group: "Group", "Groupe", "Gruppe";
        people: "People", "Personnes", "Personen";
        none: "No group lists its people.", "Aucun groupe n’énumère ses personnes.", "Keine Gruppe zählt ihre Personen auf.";
        empty: "Nobody is in it.", "Personne n’y figure.", "Niemand ist darin.";
        user: "Sign-in name", "Identifiant", "Anmeldename";
        name: "Name", "Nom", "Name";
        leave: "Take out", "Retirer", "Herausnehmen";
        by_other: "by another group", "par un autre groupe", "über eine andere Gruppe";
        join: "Put somebody in", "Ajouter quelqu’un", "Jemanden aufnehmen";
        look: "See the change", "Voir le changement", "Änderung ansehen";
    }
}
