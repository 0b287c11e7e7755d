//! The resolved policy turned into tables that decide without allocating.

mod beside;
mod build;
mod hosts;
mod lookup;
mod methods;
mod model;
mod nets;
mod people;
mod rules;
mod times;
mod trie;
mod zones;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::ir::{Device, Ir, Mfa, Resource};
use crate::resolve::invariants::Invariant;
use crate::resolve::tenants::split;
use crate::source::{Places, Sources, Span};
use beside::Beside;
use build::Build;
pub(crate) use hosts::HostTable;
pub(crate) use methods::Methods;
pub use model::{App, HostPattern, Obligations, Rate, RuleInfo, User};
pub(crate) use nets::NetTable;
pub use people::SubjectBits;
pub(crate) use people::{Atoms, Held};
pub use times::TimeClass;
pub(crate) use times::{Times, zone_of};
pub(crate) use trie::{Tree, Trees};
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

impl AppIx {
    /// The place of the app among those of [`Policy::apps`].
    pub fn place(self) -> usize {
        self.0 as usize
    }
}

/// `builtin.default`: nothing allowed it.
pub(crate) const DEFAULT: RuleIx = RuleIx(0);
/// `builtin.bad-request`: no canonical form.
pub(crate) const BAD_REQUEST: RuleIx = RuleIx(1);
/// `builtin.no-such-app`: no app has the host.
pub(crate) const NO_SUCH_APP: RuleIx = RuleIx(2);
/// `builtin.no-such-service`: no net has the address and port.
pub(crate) const NO_SUCH_SERVICE: RuleIx = RuleIx(3);
/// How many rules are built in.
const BUILT_IN: usize = 4;
/// Obligations of what no rule of the files decided.
pub(crate) const NO_OBLIGATIONS: ObligationIx = ObligationIx(0);

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
    pub(crate) when: u32,
    pub(crate) shadow: bool,
}

#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) rule: RuleIx,
    pub(crate) atom: Option<u32>,
    pub(crate) from: u32,
    pub(crate) device_not: Option<Device>,
    pub(crate) when: u32,
    pub(crate) unless_when: u32,
    pub(crate) shadow: bool,
}

#[derive(Debug)]
pub(crate) struct Area {
    pub(crate) shadow: bool,
    /// Its settings among those of its app.
    pub(crate) front: u32,
    /// Where its rules stand among those of all apps.
    first: u32,
    count: u32,
}

#[derive(Debug)]
pub(crate) struct AppRules {
    /// Whether the whole app is in shadow.
    pub(crate) shadow: bool,
    /// Where its areas stand among those of all apps.
    first: u32,
    count: u32,
    /// The areas in force.
    pub(crate) tree: Tree,
    /// Those and the areas in shadow, where there are any.
    pub(crate) shadow_tree: Option<Tree>,
    pub(crate) windows: bool,
    pub(crate) guards: Arc<[u32]>,
    /// Whether any rule, guard or area here is in shadow.
    pub(crate) shadowed: bool,
}

#[derive(Debug)]
pub(crate) struct NetRules {
    pub(crate) allows: Vec<Allow>,
    pub(crate) guards: Arc<[u32]>,
    /// Whether any rule or guard here is in shadow.
    pub(crate) shadowed: bool,
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
    pub(crate) times: Times,
    pub(crate) invariants: Vec<Invariant>,
    pub(crate) methods: Methods,
    /// Hosts of the apps in force.
    pub(crate) hosts: HostTable,
    /// Those and the hosts of apps in shadow, where there are any.
    pub(crate) shadow_hosts: Option<HostTable>,
    pub(crate) apps: Vec<App>,
    pub(crate) app_rules: Vec<AppRules>,
    /// Areas of all apps.
    areas: Vec<Area>,
    /// Rules of all areas.
    allows: Vec<Allow>,
    pub(crate) trees: Trees,
    pub(crate) nets: Vec<NetRules>,
    /// Destinations of the nets in force.
    pub(crate) net_table: NetTable,
    /// Those and the destinations of nets in shadow, where there are any.
    pub(crate) shadow_net_table: Option<NetTable>,
    pub(crate) admin: NetRules,
    pub(crate) guards: Vec<Guard>,
    pub(crate) rules: Vec<RuleInfo>,
    pub(crate) obligations: Vec<Obligations>,
    /// Lower-case names of all header sets, sorted, by the tenant whose sets they are; those of the root's stand
    /// under the empty name.
    pub(crate) header_names: BTreeMap<Box<str>, Vec<Box<str>>>,
    /// File and line of what explanations point at besides rules.
    pub(crate) places: Places,
}

/// Compiles a resolved policy.
///
/// # Errors
/// A text for a limit that only shows here; the caller makes it a diagnostic.
pub(crate) fn compile(
    ir: Ir,
    invariants: Vec<Invariant>,
    sources: &Sources,
) -> Result<Policy, (Span, String)> {
    let areas = || ir.apps.iter().flat_map(|app| &app.areas);
    let rules = areas().map(|area| area.allows.len()).sum();
    let places = sources.places();
    let (beside, made) = Beside::and(&ir, &places, rules, || Made::of(&ir, rules));
    let beside = beside.map_err(|text| (Span::default(), text))?;
    let made = made?;
    let digest = beside.digest;
    let stamp = digest.iter().take(4);
    let stamp = stamp.fold(0, |sum, byte| (sum << 8) | u32::from(*byte));
    let atoms = made.atoms.finish(&ir, &made.guards, stamp);
    Ok(Policy {
        digest: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        users: beside.users,
        user_ix: beside.user_ix,
        atoms,
        zones: made.zones.stamped(stamp),
        from: made.from,
        times: made.times,
        invariants,
        methods: made.methods,
        hosts: beside.hosts,
        shadow_hosts: beside.shadow_hosts,
        apps: made.apps,
        app_rules: made.app_rules,
        areas: made.areas,
        allows: made.allows,
        trees: made.trees,
        nets: made.nets,
        net_table: beside.net_table,
        shadow_net_table: beside.shadow_net_table,
        admin: made.admin,
        guards: made.guards,
        rules: beside.rules,
        obligations: made.obligations,
        header_names: header_names(&ir),
        places,
        ir,
    })
}

/// What the rules come to.
struct Made {
    atoms: people::Interner,
    zones: ZoneTable,
    from: FromSets,
    times: Times,
    methods: Methods,
    apps: Vec<App>,
    app_rules: Vec<AppRules>,
    areas: Vec<Area>,
    allows: Vec<Allow>,
    trees: Trees,
    nets: Vec<NetRules>,
    admin: NetRules,
    guards: Vec<Guard>,
    obligations: Vec<Obligations>,
}

impl Made {
    fn of(ir: &Ir, rules: usize) -> Result<Self, (Span, String)> {
        let mut build = Build::new(ir, rules)?;
        build.builtins();
        let guards = build.guards();
        let mut apps = Vec::with_capacity(ir.apps.len());
        let mut app_rules = Vec::with_capacity(ir.apps.len());
        for (app, ix) in ir.apps.iter().zip(0u32..) {
            let (app, rules) = build.app(app, ix)?;
            apps.push(app);
            app_rules.push(rules);
        }
        let mut nets = Vec::with_capacity(ir.nets.len());
        for (net, ix) in ir.nets.iter().zip(0u32..) {
            nets.push(build.plain(&net.allows, Resource::Net(ix))?);
        }
        let admin = build.plain(&ir.admin, Resource::Admin)?;
        Ok(Self {
            atoms: build.atoms,
            zones: build.zones,
            from: build.from,
            times: build.times,
            methods: build.methods,
            apps,
            app_rules,
            areas: build.areas,
            allows: build.allows,
            trees: build.trees,
            nets,
            admin,
            guards,
            obligations: build.obligations,
        })
    }
}

fn header_names(ir: &Ir) -> BTreeMap<Box<str>, Vec<Box<str>>> {
    let mut all: BTreeMap<Box<str>, Vec<Box<str>>> = BTreeMap::new();
    for set in &ir.header_sets {
        let (owner, _) = split(&set.name);
        let names = all.entry(owner.unwrap_or_default().into()).or_default();
        let fields = set.fields.iter();
        names.extend(fields.map(|field| field.name.to_ascii_lowercase().into_boxed_str()));
    }
    for names in all.values_mut() {
        names.sort_unstable();
        names.dedup();
    }
    all
}
