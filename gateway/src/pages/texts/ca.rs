//! The words of the page that gives the root certificate.

use super::super::lang::Lang;

/// The texts of the page in one language.
#[derive(Debug)]
pub(crate) struct CaTexts {
    pub(crate) title: &'static str,
    pub(crate) lead: &'static str,
    pub(crate) fingerprint: &'static str,
    pub(crate) compare: &'static str,
    pub(crate) pem: &'static str,
    pub(crate) crt: &'static str,
    pub(crate) systems: [System; 6],
}

/// The steps on one system.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) name: &'static str,
    pub(crate) steps: [&'static str; 3],
}

/// Returns the texts in a language.
pub(crate) fn texts(lang: Lang) -> &'static CaTexts {
    match lang {
        Lang::En => &EN,
        Lang::Fr => &FR,
        Lang::De => &DE,
    }
}

const EN: CaTexts = CaTexts {
    title: "Root certificate",
    lead: "This gateway has a certificate authority of its own. Devices that know its root certificate open your applications without a warning. Import it once on each device.",
    fingerprint: "Fingerprint (SHA-256)",
    compare: "Compare the fingerprint with the one your administrator gives you by another way, before you import anything.",
    pem: "Download root.pem",
    crt: "Download root.crt",
    systems: [
        System {
            name: "Windows",
            steps: [
                "Download root.crt and open it.",
                "Choose Install Certificate, then Local Machine or Current User.",
                "Choose Place all certificates in the following store, then Trusted Root Certification Authorities.",
            ],
        },
        System {
            name: "macOS",
            steps: [
                "Download root.pem and open it; Keychain Access adds it to the login keychain.",
                "Open the certificate there and unfold Trust.",
                "Set Secure Sockets Layer (SSL) to Always Trust.",
            ],
        },
        System {
            name: "iPhone and iPad",
            steps: [
                "Open this page in Safari and download root.crt.",
                "In Settings, open Profile Downloaded and install it.",
                "In Settings, General, About, Certificate Trust Settings, switch it on.",
            ],
        },
        System {
            name: "Android",
            steps: [
                "Download root.crt.",
                "In Settings, search for CA certificate and choose Install anyway.",
                "Pick the downloaded file. Apps of others may not use it; browsers do.",
            ],
        },
        System {
            name: "Firefox",
            steps: [
                "Download root.pem.",
                "In Settings, Privacy & Security, open View Certificates, Authorities, Import.",
                "Pick the file and tick Trust this CA to identify websites.",
            ],
        },
        System {
            name: "Linux",
            steps: [
                "Download root.pem.",
                "Debian, Ubuntu: copy it to /usr/local/share/ca-certificates/postern.crt and run update-ca-certificates. Fedora: copy it to /etc/pki/ca-trust/source/anchors and run update-ca-trust.",
                "Chrome and Chromium: mkdir -p $HOME/.pki/nssdb; certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n postern -i root.pem",
            ],
        },
    ],
};

const FR: CaTexts = CaTexts {
    title: "Certificat racine",
    lead: "Cette passerelle possède sa propre autorité de certification. Les appareils qui connaissent son certificat racine ouvrent vos applications sans avertissement. Importez-le une fois sur chaque appareil.",
    fingerprint: "Empreinte (SHA-256)",
    compare: "Comparez l’empreinte avec celle que votre administrateur vous donne par un autre moyen, avant d’importer quoi que ce soit.",
    pem: "Télécharger root.pem",
    crt: "Télécharger root.crt",
    systems: [
        System {
            name: "Windows",
            steps: [
                "Téléchargez root.crt et ouvrez-le.",
                "Choisissez Installer le certificat, puis Ordinateur local ou Utilisateur actuel.",
                "Choisissez Placer tous les certificats dans le magasin suivant, puis Autorités de certification racines de confiance.",
            ],
        },
        System {
            name: "macOS",
            steps: [
                "Téléchargez root.pem et ouvrez-le ; Trousseaux d’accès l’ajoute au trousseau de session.",
                "Ouvrez-y le certificat et dépliez Se fier.",
                "Réglez SSL (Secure Sockets Layer) sur Toujours approuver.",
            ],
        },
        System {
            name: "iPhone et iPad",
            steps: [
                "Ouvrez cette page dans Safari et téléchargez root.crt.",
                "Dans Réglages, ouvrez Profil téléchargé et installez-le.",
                "Dans Réglages, Général, Informations, Réglages de confiance des certificats, activez-le.",
            ],
        },
        System {
            name: "Android",
            steps: [
                "Téléchargez root.crt.",
                "Dans Paramètres, cherchez Certificat CA et choisissez Installer quand même.",
                "Choisissez le fichier téléchargé. D’autres applications peuvent l’ignorer ; les navigateurs l’utilisent.",
            ],
        },
        System {
            name: "Firefox",
            steps: [
                "Téléchargez root.pem.",
                "Dans Paramètres, Vie privée et sécurité, ouvrez Afficher les certificats, Autorités, Importer.",
                "Choisissez le fichier et cochez Confirmer cette AC pour identifier des sites web.",
            ],
        },
        System {
            name: "Linux",
            steps: [
                "Téléchargez root.pem.",
                "Debian, Ubuntu : copiez-le sous /usr/local/share/ca-certificates/postern.crt et lancez update-ca-certificates. Fedora : copiez-le dans /etc/pki/ca-trust/source/anchors et lancez update-ca-trust.",
                "Chrome et Chromium : mkdir -p $HOME/.pki/nssdb; certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n postern -i root.pem",
            ],
        },
    ],
};

const DE: CaTexts = CaTexts {
    title: "Stammzertifikat",
    lead: "Dieses Gateway hat eine eigene Zertifizierungsstelle. Geräte, die ihr Stammzertifikat kennen, öffnen Ihre Anwendungen ohne Warnung. Importieren Sie es einmal auf jedem Gerät.",
    fingerprint: "Fingerabdruck (SHA-256)",
    compare: "Vergleichen Sie den Fingerabdruck mit dem, den Ihre Administration Ihnen auf anderem Weg nennt, bevor Sie etwas importieren.",
    pem: "root.pem herunterladen",
    crt: "root.crt herunterladen",
    systems: [
        System {
            name: "Windows",
            steps: [
                "Laden Sie root.crt herunter und öffnen Sie die Datei.",
                "Wählen Sie Zertifikat installieren, dann Lokaler Computer oder Aktueller Benutzer.",
                "Wählen Sie Alle Zertifikate in folgendem Speicher speichern, dann Vertrauenswürdige Stammzertifizierungsstellen.",
            ],
        },
        System {
            name: "macOS",
            steps: [
                "Laden Sie root.pem herunter und öffnen Sie die Datei; die Schlüsselbundverwaltung legt sie im Schlüsselbund Anmeldung ab.",
                "Öffnen Sie dort das Zertifikat und klappen Sie Vertrauen auf.",
                "Stellen Sie Secure Sockets Layer (SSL) auf Immer vertrauen.",
            ],
        },
        System {
            name: "iPhone und iPad",
            steps: [
                "Öffnen Sie diese Seite in Safari und laden Sie root.crt herunter.",
                "Öffnen Sie in den Einstellungen Profil geladen und installieren Sie es.",
                "Schalten Sie es unter Einstellungen, Allgemein, Info, Zertifikatsvertrauenseinstellungen ein.",
            ],
        },
        System {
            name: "Android",
            steps: [
                "Laden Sie root.crt herunter.",
                "Suchen Sie in den Einstellungen nach CA-Zertifikat und wählen Sie Trotzdem installieren.",
                "Wählen Sie die geladene Datei. Andere Apps beachten sie eventuell nicht, Browser schon.",
            ],
        },
        System {
            name: "Firefox",
            steps: [
                "Laden Sie root.pem herunter.",
                "Öffnen Sie in den Einstellungen unter Datenschutz & Sicherheit: Zertifikate anzeigen, Zertifizierungsstellen, Importieren.",
                "Wählen Sie die Datei und setzen Sie den Haken bei Dieser CA vertrauen, um Websites zu identifizieren.",
            ],
        },
        System {
            name: "Linux",
            steps: [
                "Laden Sie root.pem herunter.",
                "Debian, Ubuntu: kopieren Sie sie nach /usr/local/share/ca-certificates/postern.crt und starten Sie update-ca-certificates. Fedora: nach /etc/pki/ca-trust/source/anchors, dann update-ca-trust.",
                "Chrome und Chromium: mkdir -p $HOME/.pki/nssdb; certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n postern -i root.pem",
            ],
        },
    ],
};
