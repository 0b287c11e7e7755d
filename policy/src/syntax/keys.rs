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
        "zone-group",
        "zone-file",
        "schedule",
        "group",
        "group-from",
        "group-optional",
        "user",
        "default",
        "tunnel",
        "rate",
        "headers",
        "app",
        "net",
        "deny",
        "admin",
        "tenant",
        "test",
        "invariant",
    ],
    later: &[],
};

/// `[tenant.ID]`: a folder whose files are a namespace of their own. In them names are the tenant's; the root's
/// groups, zones, schedules, rates and headers are written `root/NAME` (`@root/NAME` for a group). From outside, a tenant's
/// names are written `ID/NAME`, and `@ID/any-user` is all whom its files name.
pub(super) const TENANT: Keys = Keys {
    built: &["dir", "domains", "quota"],
    later: &[],
};

pub(super) const QUOTA: Keys = Keys {
    built: &["apps", "allows"],
    later: &[],
};

pub(super) const USER: Keys = Keys {
    built: &["name", "mail", "language", "disabled", "attributes"],
    later: &[],
};

pub(super) const DEFAULT: Keys = Keys {
    built: &[
        "mfa", "login", "rate", "device", "headers", "idle", "sessions", "extend", "hide",
    ],
    later: &[],
};

pub(super) const TUNNEL: Keys = Keys {
    built: &["sign-in", "reprove", "headless"],
    later: &["dns"],
};

/// `[tunnel] reprove`: what closes a device again that its person has opened, though the session goes on.
pub(super) const REPROVE: Keys = Keys {
    built: &["moved", "after", "idle"],
    later: &[],
};

/// Keys of the front that are not built yet.
const FRONT: &[&str] = &["device-only", "justify", "maintenance"];

pub(super) const SCHEDULE: Keys = Keys {
    built: &["days", "time", "between", "tz"],
    later: &[],
};

pub(super) const APP: Keys = Keys {
    built: &[
        "host",
        "windows",
        "case-insensitive",
        "headers",
        "path-params",
        "preflight",
        "shadow",
        "public",
        "allow",
        "upstream",
        "balance",
        "sticky",
        "check",
        "static",
        "redirect",
        "timeout",
        "body-max",
        "methods",
        "websocket",
        "strip-prefix",
        "add-prefix",
        "preset",
        "set",
        "add",
        "remove",
        "cors",
        "compress",
        "cache",
    ],
    later: FRONT,
};

pub(super) const AREA: Keys = Keys {
    built: &[
        "public",
        "allow",
        "headers",
        "shadow",
        "upstream",
        "balance",
        "sticky",
        "check",
        "static",
        "redirect",
        "timeout",
        "body-max",
        "methods",
        "websocket",
        "strip-prefix",
        "add-prefix",
        "preset",
        "set",
        "add",
        "remove",
        "cors",
        "compress",
        "cache",
    ],
    later: FRONT,
};

/// An upstream written as a table.
pub(super) const UPSTREAM: Keys = Keys {
    built: &["url", "weight", "drain", "name", "ca", "cert", "key"],
    later: &[],
};

pub(super) const CHECK: Keys = Keys {
    built: &[
        "path", "status", "every", "timeout", "up", "down", "body", "json",
    ],
    later: &[],
};

pub(super) const TIMEOUT: Keys = Keys {
    built: &["connect", "head", "idle", "stream"],
    later: &[],
};

pub(super) const STATIC: Keys = Keys {
    built: &["root", "index", "fallback"],
    later: &[],
};

pub(super) const REDIRECT: Keys = Keys {
    built: &["to", "status"],
    later: &[],
};

pub(super) const CORS: Keys = Keys {
    built: &[
        "origins",
        "methods",
        "headers",
        "expose",
        "credentials",
        "max-age",
    ],
    later: &[],
};

pub(super) const CACHE: Keys = Keys {
    built: &["ttl", "stale", "shared", "most"],
    later: &[],
};

pub(super) const COMPRESS: Keys = Keys {
    built: &["types", "min", "level"],
    later: &[],
};

pub(super) const ALLOW: Keys = Keys {
    built: &[
        "who", "from", "when", "device", "mfa", "login", "idle", "sessions", "methods", "rate",
        "headers", "shadow",
    ],
    later: &["justify"],
};

/// Rules of nets: no methods there.
pub(super) const ALLOW_PLAIN: Keys = Keys {
    built: &[
        "who", "from", "when", "device", "mfa", "login", "idle", "sessions", "rate", "shadow",
    ],
    later: &["justify"],
};

/// Rules of the console. `methods = "read"` lets people look and not act: its acts are sent by POST.
pub(super) const ALLOW_ADMIN: Keys = Keys {
    built: &[
        "who", "from", "when", "device", "mfa", "login", "idle", "sessions", "methods", "rate",
        "shadow",
    ],
    later: &["justify"],
};

pub(super) const NET: Keys = Keys {
    built: &["to", "port", "allow", "shadow"],
    later: &[],
};

pub(super) const DENY: Keys = Keys {
    built: &[
        "who",
        "from",
        "when",
        "unless-when",
        "device-not",
        "on",
        "reason",
        "shadow",
    ],
    later: &[],
};

pub(super) const ADMIN: Keys = Keys {
    built: &["allow", "shadow"],
    later: &[],
};

pub(super) const TEST: Keys = Keys {
    built: &["name", "as", "to", "expect"],
    later: &[],
};

pub(super) const AS: Keys = Keys {
    built: &["user", "groups", "from", "at", "device", "mfa", "login"],
    later: &[],
};

pub(super) const INVARIANT: Keys = Keys {
    built: &[
        "name",
        "reach",
        "only",
        "never",
        "requires",
        "who",
        "can-reach",
        "tenants-disjoint",
    ],
    later: &[],
};

pub(super) const REQUIRES: Keys = Keys {
    built: &["device", "mfa", "login", "from"],
    later: &[],
};
