//! The key tables: what may stand where.

/// The keys of one kind of table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    /// Understood.
    pub(super) built: &'static [&'static str],
    /// Understood as well: what the front does for an area, where it may stand.
    pub(super) front: &'static [&'static str],
}

impl Keys {
    /// Every key that is understood.
    pub(super) fn known(&self) -> impl Iterator<Item = &'static str> {
        self.built.iter().chain(self.front).copied()
    }
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
    front: &[],
};

/// `[tenant.ID]`: a folder whose files are a namespace of their own. In them names are the tenant's; the root's
/// groups, zones, schedules, rates and headers are written `root/NAME` (`@root/NAME` for a group). From outside, a tenant's
/// names are written `ID/NAME`, and `@ID/any-user` is all whom its files name.
pub(super) const TENANT: Keys = Keys {
    built: &["dir", "domains", "quota"],
    front: &[],
};

pub(super) const QUOTA: Keys = Keys {
    built: &["apps", "allows"],
    front: &[],
};

pub(super) const USER: Keys = Keys {
    built: &["name", "mail", "language", "disabled", "attributes"],
    front: &[],
};

pub(super) const DEFAULT: Keys = Keys {
    built: &[
        "mfa", "login", "rate", "device", "headers", "idle", "sessions", "extend", "hide",
    ],
    front: &[],
};

pub(super) const TUNNEL: Keys = Keys {
    built: &["sign-in", "reprove", "headless", "dns"],
    front: &[],
};

/// `[tunnel] dns`: which names the tunnel's name server looks up.
pub(super) const DNS: Keys = Keys {
    built: &["others", "quarantine", "refuse"],
    front: &[],
};

/// `[tunnel] reprove`: what closes a device again that its person has opened, though the session goes on.
pub(super) const REPROVE: Keys = Keys {
    built: &["moved", "after", "idle"],
    front: &[],
};

pub(super) const SCHEDULE: Keys = Keys {
    built: &["days", "time", "between", "tz"],
    front: &[],
};

pub(super) const APP: Keys = Keys {
    built: &[
        "host",
        "windows",
        "case-insensitive",
        "headers",
        "path-params",
        "encoded-slashes",
        "empty-segments",
        "preflight",
        "shadow",
        "public",
        "device-only",
        "tokens",
        "allow",
    ],
    front: &super::front::KEYS,
};

pub(super) const AREA: Keys = Keys {
    built: &[
        "public",
        "device-only",
        "tokens",
        "allow",
        "headers",
        "shadow",
    ],
    front: &super::front::KEYS,
};

/// An upstream written as a table.
pub(super) const UPSTREAM: Keys = Keys {
    built: &["url", "weight", "drain", "name", "ca", "cert", "key"],
    front: &[],
};

pub(super) const CHECK: Keys = Keys {
    built: &[
        "path", "status", "every", "timeout", "up", "down", "body", "json",
    ],
    front: &[],
};

pub(super) const BREAKER: Keys = Keys {
    built: &["failures", "rest"],
    front: &[],
};

pub(super) const TIMEOUT: Keys = Keys {
    built: &["connect", "head", "idle", "stream", "body"],
    front: &[],
};

pub(super) const STATIC: Keys = Keys {
    built: &["root", "index", "fallback"],
    front: &[],
};

pub(super) const REDIRECT: Keys = Keys {
    built: &["to", "status"],
    front: &[],
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
    front: &[],
};

pub(super) const CACHE: Keys = Keys {
    built: &["ttl", "stale", "shared", "most"],
    front: &[],
};

pub(super) const COMPRESS: Keys = Keys {
    built: &["types", "min", "level"],
    front: &[],
};

pub(super) const ALLOW: Keys = Keys {
    built: &[
        "who", "from", "when", "device", "mfa", "login", "idle", "sessions", "methods", "rate",
        "headers", "shadow",
    ],
    front: &[],
};

/// Rules of nets: no methods there.
pub(super) const ALLOW_PLAIN: Keys = Keys {
    built: &[
        "who", "from", "when", "device", "mfa", "login", "idle", "sessions", "rate", "shadow",
    ],
    front: &[],
};

/// Rules of the console. `methods = "read"` lets people look and not act: its acts are sent by POST.
pub(super) const ALLOW_ADMIN: Keys = Keys {
    built: &[
        "who", "from", "when", "device", "mfa", "login", "idle", "sessions", "methods", "rate",
        "shadow",
    ],
    front: &[],
};

pub(super) const NET: Keys = Keys {
    built: &["to", "port", "allow", "shadow"],
    front: &[],
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
    front: &[],
};

pub(super) const ADMIN: Keys = Keys {
    built: &["allow", "shadow"],
    front: &[],
};

pub(super) const TEST: Keys = Keys {
    built: &["name", "as", "to", "expect"],
    front: &[],
};

pub(super) const AS: Keys = Keys {
    built: &[
        "user", "groups", "by", "from", "at", "device", "mfa", "login",
    ],
    front: &[],
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
    front: &[],
};

pub(super) const REQUIRES: Keys = Keys {
    built: &["device", "mfa", "login", "from"],
    front: &[],
};

#[cfg(test)]
mod tests;
