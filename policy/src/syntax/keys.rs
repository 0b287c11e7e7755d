//! The key tables: what may stand where, and what is known but not built yet.

/// The keys of one kind of table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    /// Understood.
    pub(super) built: &'static [&'static str],
    /// Part of the language, refused until built.
    pub(super) later: &'static [&'static str],
}

pub(super) const FILE: Keys = Keys {
    built: &[
        "postern",
        "zone",
        "group",
        "group-optional",
        "user",
        "default",
        "tunnel",
        "rate",
        "app",
        "net",
        "deny",
        "admin",
        "test",
    ],
    later: &[
        "schedule",
        "zone-group",
        "zone-file",
        "group-from",
        "headers",
        "tenant",
        "invariant",
    ],
};

pub(super) const USER: Keys = Keys {
    built: &["name", "mail", "language", "disabled", "attributes"],
    later: &[],
};

pub(super) const DEFAULT: Keys = Keys {
    built: &["mfa", "login", "rate", "device", "idle", "sessions", "hide"],
    later: &["headers"],
};

pub(super) const TUNNEL: Keys = Keys {
    built: &["sign-in"],
    later: &["reprove", "headless", "dns"],
};

const FRONT: &[&str] = &[
    "headers",
    "windows",
    "case-insensitive",
    "balance",
    "sticky",
    "check",
    "timeout",
    "body-max",
    "methods",
    "preset",
    "set",
    "add",
    "remove",
    "cors",
    "cache",
    "compress",
    "static",
    "redirect",
    "strip-prefix",
    "websocket",
    "device-only",
    "justify",
    "maintenance",
    "path-params",
    "preflight",
    "shadow",
];

pub(super) const APP: Keys = Keys {
    built: &["host", "upstream", "public", "allow"],
    later: FRONT,
};

pub(super) const AREA: Keys = Keys {
    built: &["public", "allow"],
    later: FRONT,
};

pub(super) const ALLOW: Keys = Keys {
    built: &["who", "from", "device", "mfa", "login", "methods", "rate"],
    later: &["when", "shadow", "headers", "idle", "sessions", "justify"],
};

/// Rules of nets and of the console: no methods there.
pub(super) const ALLOW_PLAIN: Keys = Keys {
    built: &["who", "from", "device", "mfa", "login", "rate"],
    later: &["when", "shadow", "idle", "sessions", "justify"],
};

pub(super) const NET: Keys = Keys {
    built: &["to", "port", "allow"],
    later: &["shadow"],
};

pub(super) const DENY: Keys = Keys {
    built: &["who", "from", "device-not", "on", "reason"],
    later: &["when", "unless-when", "shadow"],
};

pub(super) const ADMIN: Keys = Keys {
    built: &["allow"],
    later: &["shadow"],
};

pub(super) const TEST: Keys = Keys {
    built: &["name", "as", "to", "expect"],
    later: &[],
};

pub(super) const AS: Keys = Keys {
    built: &["user", "groups", "from", "at", "device", "mfa", "login"],
    later: &[],
};
