//! What a compiled policy shows to its users.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::canon::PathOpts;
use crate::front::{Front, Source};
use crate::headers::HeaderSet;
use crate::resolve::tenants::{EVERYBODY, owner, split};

/// A rule as the audit journal and people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// Such as `app.paie/admin#it`, `net.ssh#it`, `deny.x`, `admin#it` or `builtin.default`.
    pub id: Arc<str>,
    /// File that defines it; empty for built-in rules.
    pub file: Arc<str>,
    /// Line from 1; 0 for built-in rules.
    pub line: u32,
    /// The written reason of a guard or a public area.
    pub reason: Option<Arc<str>>,
}

/// How often one caller may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Name of the tier.
    pub name: Arc<str>,
    /// Requests in each period, at least 1.
    pub count: u32,
    /// The period.
    pub per: Duration,
    /// Requests at once, at least 1.
    pub burst: u32,
    /// Whether administrators hear of it when it is used up.
    pub alert: bool,
}

/// What a decision obliges the gateway to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obligations {
    /// Rate tier to count against.
    pub rate: Option<Rate>,
    /// Greatest age of the code the rule accepts; `None` when any code of the session, or none, will do.
    pub mfa_max: Option<Duration>,
    /// Greatest age of the sign-in the rule accepts.
    pub login_max: Duration,
    /// Binds the session that comes in: it ends after this long without use. A session that once lay unused for
    /// longer does not come in, it ends.
    pub idle: Option<Duration>,
    /// Binds the person who comes in: most sessions at a time, at least 1; the oldest end.
    pub sessions: Option<u32>,
    /// Fields to set on the request to the app.
    pub headers: Option<Arc<HeaderSet>>,
    /// Whether the rule is for anyone, signed in or not.
    pub public: bool,
}

/// A person of the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name used to sign in and in rules.
    pub name: Arc<str>,
    /// The name people read.
    pub display: Option<String>,
    /// Mail address.
    pub mail: Option<String>,
    /// Language of pages and mails.
    pub language: Option<String>,
    /// Whether the account is switched off.
    pub disabled: bool,
    /// All groups, through nesting, sorted.
    pub groups: Vec<Arc<str>>,
    /// Free attributes.
    pub attributes: BTreeMap<String, String>,
}

/// A host an app answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    /// One name.
    Exact(String),
    /// Any one label in front of this suffix (which has no leading dot).
    AnyLabel(String),
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::AnyLabel(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// An app as the proxy needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Such as `app.paie`.
    pub id: Arc<str>,
    /// Hosts, sorted, exact ones first.
    pub hosts: Vec<HostPattern>,
    /// What the front does with its requests: the settings of the root area first, then those of areas that differ.
    pub fronts: Vec<Arc<Front>>,
    /// What its paths may hold beyond the ordinary.
    pub path: PathOpts,
    /// Whether the gateway answers CORS preflights of callers not signed in.
    pub preflight: bool,
}

impl App {
    /// The tenant whose files define it; `None` for the root's.
    pub fn tenant(&self) -> Option<&str> {
        owner(&self.id)
    }

    /// The groups of a person as this app may know them, joined by `,`, each as the files of its tenant would write
    /// it: those of another tenant are left out. An app of the root learns all, a tenant's as `acme/gestion`.
    pub fn groups_of(&self, user: &User) -> String {
        let tenant = self.tenant();
        let shown = user.groups.iter().filter_map(|group| {
            let (space, name) = split(group);
            match (tenant, space) {
                (_, Some(_)) if name == EVERYBODY => None,
                (Some(tenant), Some(space)) => (space == tenant).then(|| name.to_owned()),
                (Some(_), None) => Some(format!("root/{name}")),
                (None, _) => Some(group.to_string()),
            }
        });
        shown.collect::<Vec<String>>().join(",")
    }

    /// All its upstreams, those of areas of its own included.
    pub fn upstreams(&self) -> impl Iterator<Item = &crate::ir::Upstream> {
        let pools = self.fronts.iter().filter_map(|front| match &front.source {
            Source::Pool(pool) => Some(pool),
            Source::Static(_) | Source::Redirect(_) => None,
        });
        pools.flat_map(|pool| pool.members.iter().map(|member| &member.to))
    }

    /// The hosts that are whole names, for certificates and DNS.
    pub fn exact_hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().filter_map(|host| match host {
            HostPattern::Exact(name) => Some(name.as_str()),
            HostPattern::AnyLabel(_) => None,
        })
    }
}
