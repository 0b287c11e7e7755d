//! The resolved policy turned into tables that decide without allocating.

mod hosts;
mod nets;
mod people;
mod trie;
mod zones;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::canon::CanonHost;
use crate::ir::{self, Device, Ir, Mfa, Resource, SignInDoor, Upstream};
use crate::source::{Sources, Span};
pub(crate) use hosts::HostTable;
pub(crate) use nets::NetTable;
pub(crate) use people::Atoms;
pub use people::SubjectBits;
pub(crate) use trie::Trie;
pub use zones::ZoneClass;
pub(crate) use zones::{FromSets, ZoneTable};

/// Index of a rule of one [`Policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleIx(pub(crate) u32);

/// Index of the obligations of one [`Policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObligationIx(pub(crate) u32);

/// Index of an app of one [`Policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppIx(pub(crate) u32);

/// `builtin.default`: nothing allowed it.
pub(crate) const DEFAULT: RuleIx = RuleIx(0);
/// `builtin.bad-request`: no canonical form.
pub(crate) const BAD_REQUEST: RuleIx = RuleIx(1);
/// `builtin.no-such-app`: no app has the host.
pub(crate) const NO_SUCH_APP: RuleIx = RuleIx(2);
/// `builtin.no-such-service`: no net has the address and port.
pub(crate) const NO_SUCH_SERVICE: RuleIx = RuleIx(3);
/// Obligations of what no rule of the files decided.
pub(crate) const NO_OBLIGATIONS: ObligationIx = ObligationIx(0);

/// A rule as the audit journal and people name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleInfo {
    /// Such as `app.paie/admin#it`, `net.ssh#it`, `deny.x`, `admin#it` or `builtin.default`.
    pub id: Arc<str>,
    /// File that defines it; empty for built-in rules.
    pub file: String,
    /// Line from 1; 0 for built-in rules.
    pub line: u32,
    /// The written reason of a guard or a public area.
    pub reason: Option<String>,
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
    pub attributes: std::collections::BTreeMap<String, String>,
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
    /// Where its requests go.
    pub upstream: Upstream,
}

impl App {
    /// The hosts that are whole names, for certificates and DNS.
    pub fn exact_hosts(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().filter_map(|host| match host {
            HostPattern::Exact(name) => Some(name.as_str()),
            HostPattern::AnyLabel(_) => None,
        })
    }
}

#[derive(Debug)]
pub(crate) struct Allow {
    pub(crate) rule: RuleIx,
    pub(crate) obligations: ObligationIx,
    pub(crate) atom: u32,
    pub(crate) anyone: bool,
    pub(crate) from: u32,
    pub(crate) methods: u64,
    pub(crate) device: Device,
    pub(crate) mfa: Mfa,
    pub(crate) login: u32,
}

#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) rule: RuleIx,
    pub(crate) atom: Option<u32>,
    pub(crate) from: u32,
    pub(crate) device_not: Option<Device>,
}

#[derive(Debug)]
pub(crate) struct Area {
    pub(crate) allows: Vec<Allow>,
}

#[derive(Debug)]
pub(crate) struct AppRules {
    pub(crate) areas: Vec<Area>,
    pub(crate) trie: Trie,
    pub(crate) guards: Vec<u32>,
}

#[derive(Debug)]
pub(crate) struct NetRules {
    pub(crate) allows: Vec<Allow>,
    pub(crate) guards: Vec<u32>,
}

/// A compiled policy: immutable, to be shared behind an `Arc`.
///
/// [`SubjectBits`], [`ZoneClass`] and the indexes belong to the policy that made them. A policy given bits or a
/// class made from other files answers deny `builtin.default`, never a wrong allow.
#[derive(Debug)]
pub struct Policy {
    pub(crate) ir: Ir,
    pub(crate) digest: String,
    pub(crate) users: Vec<User>,
    pub(crate) user_ix: HashMap<Arc<str>, u32>,
    pub(crate) atoms: Atoms,
    pub(crate) zones: ZoneTable,
    pub(crate) from: FromSets,
    pub(crate) methods: Methods,
    pub(crate) hosts: HostTable,
    pub(crate) apps: Vec<App>,
    pub(crate) app_rules: Vec<AppRules>,
    pub(crate) nets: Vec<NetRules>,
    pub(crate) net_table: NetTable,
    pub(crate) admin: NetRules,
    pub(crate) guards: Vec<Guard>,
    pub(crate) rules: Vec<RuleInfo>,
    pub(crate) obligations: Vec<Obligations>,
    /// File and line of what explanations point at besides rules.
    pub(crate) places: HashMap<Span, (String, u32)>,
}

/// Methods as bits: seven ordinary ones, then those that rules name.
#[derive(Debug, Default)]
pub(crate) struct Methods {
    extra: Vec<String>,
}

pub(crate) const ORDINARY: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Bits left for methods that rules name.
const MAX_EXTRA: usize = 57;

impl Methods {
    /// The bit of a method; none when no rule could name it.
    pub(crate) fn bit(&self, name: &str) -> u64 {
        let ordinary = ORDINARY.iter().position(|&known| known == name);
        let extra = || Some(7 + self.extra.iter().position(|known| known == name)?);
        ordinary.or_else(extra).map_or(0, |at| 1 << at)
    }

    fn mask(&mut self, names: Option<&Vec<String>>) -> Option<u64> {
        let Some(names) = names else {
            return Some((1 << ORDINARY.len()) - 1);
        };
        let mut mask = 0;
        for name in names {
            if self.bit(name) == 0 {
                if self.extra.len() == MAX_EXTRA {
                    return None;
                }
                self.extra.push(name.clone());
            }
            mask |= self.bit(name);
        }
        Some(mask)
    }
}

/// Compiles a resolved policy.
///
/// # Errors
/// A text for a limit that only shows here; the caller makes it a diagnostic.
pub(crate) fn compile(ir: Ir, sources: &Sources) -> Result<Policy, (Span, String)> {
    let digest = ir
        .digest()
        .map_err(|error| (Span::default(), format!("digest: {error}")))?;
    let stamp = digest
        .iter()
        .take(4)
        .fold(0, |sum, byte| (sum << 8) | u32::from(*byte));
    let mut build = Build {
        sources,
        ir: &ir,
        atoms: people::Interner::default(),
        from: FromSets::default(),
        methods: Methods::default(),
        rules: Vec::new(),
        obligations: Vec::new(),
        zones: zones::compile(&ir.zones, stamp),
    };
    build.builtins();
    let guards = build.guards();
    let (apps, app_rules): (Vec<App>, Vec<AppRules>) = ir
        .apps
        .iter()
        .zip(0u32..)
        .map(|(app, ix)| build.app(app, ix))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .unzip();
    let mut nets = Vec::with_capacity(ir.nets.len());
    for (net, ix) in ir.nets.iter().zip(0u32..) {
        nets.push(build.plain(&net.allows, &net.id, Resource::Net(ix))?);
    }
    let admin = build.plain(&ir.admin, "admin", Resource::Admin)?;
    let users = people::users(&ir);
    let user_ix = users
        .iter()
        .zip(0u32..)
        .map(|(user, ix)| (Arc::clone(&user.name), ix))
        .collect();
    let atoms = build.atoms.finish(&ir, &guards, stamp);
    Ok(Policy {
        digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        users,
        user_ix,
        atoms,
        zones: build.zones,
        from: build.from,
        methods: build.methods,
        hosts: hosts::compile(&ir.apps),
        apps,
        app_rules,
        nets,
        net_table: nets::compile(&ir.nets),
        admin,
        guards,
        rules: build.rules,
        obligations: build.obligations,
        places: places(&ir, sources),
        ir,
    })
}

/// Places of areas and nets, which are no rules but may be what decided.
fn places(ir: &Ir, sources: &Sources) -> HashMap<Span, (String, u32)> {
    let areas = ir.apps.iter().flat_map(|app| &app.areas);
    let spans = areas
        .map(|area| area.span)
        .chain(ir.nets.iter().map(|net| net.span))
        .chain(ir.admin.iter().map(|allow| allow.span));
    spans
        .map(|span| {
            let place = sources.locate(&span);
            (span, (place.path.to_owned(), place.line))
        })
        .collect()
}

struct Build<'a> {
    sources: &'a Sources,
    ir: &'a Ir,
    atoms: people::Interner,
    from: FromSets,
    methods: Methods,
    rules: Vec<RuleInfo>,
    obligations: Vec<Obligations>,
    zones: ZoneTable,
}

impl Build<'_> {
    fn builtins(&mut self) {
        for id in ["default", "bad-request", "no-such-app", "no-such-service"] {
            self.rules.push(RuleInfo {
                id: format!("builtin.{id}").into(),
                file: String::new(),
                line: 0,
                reason: None,
            });
        }
        self.obligations.push(Obligations {
            rate: self.rate(self.ir.defaults.rate),
            mfa_max: None,
            login_max: Duration::from_secs(self.ir.defaults.login.into()),
            public: false,
        });
    }

    fn rule(&mut self, id: &str, span: Span, reason: Option<&str>) -> RuleIx {
        let ix = RuleIx(u32::try_from(self.rules.len()).unwrap_or(0));
        let place = self.sources.locate(&span);
        self.rules.push(RuleInfo {
            id: id.into(),
            file: place.path.to_owned(),
            line: place.line,
            reason: reason.map(str::to_owned),
        });
        ix
    }

    fn rate(&self, ix: Option<u32>) -> Option<Rate> {
        let rate = self.ir.rates.get(ix? as usize)?;
        Some(Rate {
            name: rate.name.as_str().into(),
            count: rate.count,
            per: Duration::from_secs(rate.per_secs.into()),
            burst: rate.burst,
        })
    }

    fn guards(&mut self) -> Vec<Guard> {
        let ir = self.ir;
        ir.guards
            .iter()
            .map(|guard| Guard {
                rule: self.rule(&guard.id, guard.span, Some(&guard.reason)),
                atom: guard.who.as_ref().map(|who| self.atoms.intern(who)),
                from: self.from.intern(guard.from.as_deref(), &self.zones),
                device_not: guard.device_not,
            })
            .collect()
    }

    fn guards_on(&self, resource: Resource) -> Vec<u32> {
        let binds = |guard: &ir::Guard| {
            guard
                .on
                .as_ref()
                .is_none_or(|list| list.contains(&resource))
        };
        (0u32..)
            .zip(&self.ir.guards)
            .filter(|(_, guard)| binds(guard))
            .map(|(ix, _)| ix)
            .collect()
    }

    fn app(&mut self, app: &ir::App, ix: u32) -> Result<(App, AppRules), (Span, String)> {
        let mut areas = Vec::with_capacity(app.areas.len());
        for area in &app.areas {
            let prefix = format!("{}{}", app.id, area.pattern.text);
            let allows = area
                .allows
                .iter()
                .map(|allow| self.allow(allow, &prefix, area.public.as_deref()))
                .collect::<Result<_, _>>()?;
            areas.push(Area { allows });
        }
        let hosts = app.hosts.iter().map(|host| match host.wildcard {
            false => HostPattern::Exact(host.name.clone()),
            true => HostPattern::AnyLabel(host.name.clone()),
        });
        let public = App {
            id: app.id.as_str().into(),
            hosts: hosts.collect(),
            upstream: app.upstream.clone(),
        };
        let rules = AppRules {
            areas,
            trie: Trie::new(&app.areas),
            guards: self.guards_on(Resource::App(ix)),
        };
        Ok((public, rules))
    }

    fn plain(
        &mut self,
        allows: &[ir::Allow],
        id: &str,
        resource: Resource,
    ) -> Result<NetRules, (Span, String)> {
        let allows = allows
            .iter()
            .map(|allow| self.allow(allow, id, None))
            .collect::<Result<_, _>>()?;
        Ok(NetRules {
            allows,
            guards: self.guards_on(resource),
        })
    }

    fn allow(
        &mut self,
        allow: &ir::Allow,
        prefix: &str,
        public: Option<&str>,
    ) -> Result<Allow, (Span, String)> {
        let methods = self.methods.mask(allow.methods.as_ref()).ok_or_else(|| {
            let text = format!("more than {MAX_EXTRA} unusual methods are named");
            (allow.span, text)
        })?;
        let reason = public.filter(|_| allow.who.anyone);
        let obligations = ObligationIx(u32::try_from(self.obligations.len()).unwrap_or(0));
        self.obligations.push(Obligations {
            rate: self.rate(allow.rate),
            mfa_max: match allow.mfa {
                Mfa::Age(secs) => Some(Duration::from_secs(secs.into())),
                Mfa::None | Mfa::Session => None,
            },
            login_max: Duration::from_secs(allow.login.into()),
            public: allow.who.anyone,
        });
        Ok(Allow {
            rule: self.rule(&format!("{prefix}#{}", allow.name), allow.span, reason),
            obligations,
            atom: self.atoms.intern(&allow.who),
            anyone: allow.who.anyone,
            from: self.from.intern(allow.from.as_deref(), &self.zones),
            methods,
            device: allow.device,
            mfa: allow.mfa,
            login: allow.login,
        })
    }
}

impl Policy {
    /// Hex SHA-256 over the canonical policy; the order of files, tables and keys does not change it.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// All people, sorted by name, disabled ones included.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.iter()
    }

    /// Finds a person by name, disabled or not.
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(*self.user_ix.get(name)? as usize)
    }

    /// What the rules need to know about a person; `None` when unknown or disabled.
    pub fn subject(&self, user: &str) -> Option<SubjectBits> {
        let ix = *self.user_ix.get(user)?;
        let user = self.ir.users.get(ix as usize)?;
        (!user.disabled).then(|| self.atoms.bits(Some(ix), &user.groups))
    }

    /// Like [`Self::subject`], as if the person were in `groups` too.
    pub(crate) fn subject_with(&self, user: Option<u32>, groups: &[u32]) -> SubjectBits {
        self.atoms.bits(user, groups)
    }

    /// The class of a source address. A caller inside the tunnel is in zone `tunnel` only.
    pub fn zone(&self, ip: std::net::IpAddr, tunnel: bool) -> ZoneClass {
        if tunnel {
            self.zones.tunnel()
        } else {
            self.zones.class(ip)
        }
    }

    /// The zones of a class.
    pub fn zone_names(&self, class: ZoneClass) -> Vec<&str> {
        let zones = self.zones.members(class).unwrap_or_default().iter();
        zones
            .filter_map(|&ix| self.ir.zones.get(ix as usize))
            .map(|zone| zone.name.as_str())
            .collect()
    }

    /// The app that answers to a host.
    pub fn app_for(&self, host: &CanonHost) -> Option<AppIx> {
        self.hosts.find(host.as_str()).map(AppIx)
    }

    /// An app by index.
    #[expect(
        clippy::indexing_slicing,
        reason = "indexes are made by this policy only"
    )]
    pub fn app(&self, app: AppIx) -> &App {
        &self.apps[app.0 as usize]
    }

    /// All apps, sorted by id.
    pub fn apps(&self) -> impl Iterator<Item = (AppIx, &App)> {
        (0u32..).map(AppIx).zip(&self.apps)
    }

    /// Ids of everything that can be reached, sorted: areas such as `app.paie/` and `app.paie/admin`, nets, and
    /// `admin` when it has rules.
    pub fn resource_ids(&self) -> Vec<String> {
        let areas = self.ir.apps.iter().flat_map(|app| {
            let areas = app.areas.iter();
            areas.map(|area| format!("{}{}", app.id, area.pattern.shown()))
        });
        let nets = self.ir.nets.iter().map(|net| net.id.clone());
        let admin = (!self.ir.admin.is_empty()).then(|| "admin".to_owned());
        let mut ids: Vec<String> = areas.chain(nets).chain(admin).collect();
        ids.sort_unstable();
        ids
    }

    /// A rule by index. An index of another policy gives `builtin.default`.
    #[expect(
        clippy::indexing_slicing,
        reason = "the built-in rules are always there"
    )]
    pub fn rule(&self, rule: RuleIx) -> &RuleInfo {
        self.rules.get(rule.0 as usize).unwrap_or(&self.rules[0])
    }

    /// Obligations by index. An index of another policy gives those of `builtin.default`.
    #[expect(
        clippy::indexing_slicing,
        reason = "the built-in obligations are always there"
    )]
    pub fn obligations(&self, obligations: ObligationIx) -> &Obligations {
        let found = self.obligations.get(obligations.0 as usize);
        found.unwrap_or(&self.obligations[0])
    }

    /// Whether all that is not allowed looks like nothing (404).
    pub fn hide(&self) -> bool {
        self.ir.defaults.hide
    }

    /// Which sign-ins open a quarantined tunnel device.
    pub fn tunnel_sign_in(&self) -> SignInDoor {
        self.ir.sign_in
    }

    /// How long a session may lie unused; `None` when the policy does not say.
    pub fn default_idle(&self) -> Option<Duration> {
        let secs = self.ir.defaults.idle?;
        Some(Duration::from_secs(secs.into()))
    }

    /// How long a sign-in lasts unless a rule says otherwise.
    pub fn default_login(&self) -> Duration {
        Duration::from_secs(self.ir.defaults.login.into())
    }

    /// How many sessions one person may have; `None` when the policy does not say.
    pub fn default_sessions(&self) -> Option<u32> {
        self.ir.defaults.sessions
    }
}
