//! Rules of the resolved policy, one by one, to compiled rules.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::methods::MAX_EXTRA;
use super::{
    Allow, App, AppRules, Area, BUILT_IN, FromSets, Guard, HostPattern, Methods, NetRules,
    ObligationIx, Obligations, Rate, RuleIx, Times, Tree, Trees, ZoneTable, people, zones,
};
use crate::canon::PathOpts;
use crate::front::{Alike, Fronts};
use crate::hash::Keyed;
use crate::headers::HeaderSet;
use crate::ir::{self, Ir, Mfa, Resource};
use crate::source::Span;

pub(super) struct Build<'a> {
    pub(super) ir: &'a Ir,
    pub(super) atoms: people::Interner,
    pub(super) from: FromSets,
    pub(super) times: Times,
    pub(super) methods: Methods,
    /// How many rules are numbered.
    pub(super) rules: usize,
    pub(super) obligations: Vec<Obligations>,
    pub(super) zones: ZoneTable,
    pub(super) header_sets: Vec<Arc<HeaderSet>>,
    pub(super) areas: Vec<Area>,
    pub(super) allows: Vec<Allow>,
    pub(super) trees: Trees,
    /// Lists of guards, each held once.
    pub(super) bound: HashMap<Vec<u32>, Arc<[u32]>>,
    /// Trees of apps that have the same areas, each held once: whether case does not matter, and the areas.
    pub(super) shapes: HashMap<(bool, Vec<&'a str>), Tree, Keyed>,
    pub(super) fronts: Alike<'a>,
    /// Obligations that rules share.
    pub(super) owed: HashMap<Owed, ObligationIx, Keyed>,
}

/// What obligations are made of.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Owed {
    rate: Option<u32>,
    headers: Option<u32>,
    mfa: Mfa,
    login: u32,
    idle: Option<u32>,
    sessions: Option<u32>,
    public: bool,
}

impl<'a> Build<'a> {
    /// Makes room for the rules of a policy that has `rules` of them in areas.
    pub(super) fn new(ir: &'a Ir, rules: usize) -> Result<Self, (Span, String)> {
        let areas = ir.apps.iter().map(|app| app.areas.len());
        Ok(Self {
            ir,
            atoms: people::Interner::default(),
            from: FromSets::default(),
            times: Times::new(&ir.schedules).map_err(|text| (Span::default(), text))?,
            methods: Methods::default(),
            rules: BUILT_IN,
            obligations: Vec::new(),
            areas: Vec::with_capacity(areas.sum()),
            allows: Vec::with_capacity(rules),
            trees: Trees::default(),
            bound: HashMap::new(),
            shapes: HashMap::default(),
            fronts: HashMap::default(),
            owed: HashMap::default(),
            zones: zones::compile(&ir.zones),
            header_sets: ir.header_sets.iter().cloned().map(Arc::new).collect(),
        })
    }

    /// Adds the obligations of what no rule of the files decided.
    pub(super) fn builtins(&mut self) {
        self.obligations.push(Obligations {
            rate: self.rate(self.ir.defaults.rate),
            headers: None,
            mfa_max: None,
            login_max: Duration::from_secs(self.ir.defaults.login.into()),
            idle: None,
            sessions: None,
            public: false,
        });
    }

    /// Numbers a rule; the order is that of [`super::rules::all`].
    fn rule(&mut self) -> RuleIx {
        let ix = RuleIx(number(self.rules));
        self.rules += 1;
        ix
    }

    fn rate(&self, ix: Option<u32>) -> Option<Rate> {
        let rate = self.ir.rates.get(ix? as usize)?;
        Some(Rate {
            name: rate.name.as_str().into(),
            count: rate.count,
            per: Duration::from_secs(rate.per_secs.into()),
            burst: rate.burst,
            alert: rate.alert,
        })
    }

    fn headers(&self, ix: Option<u32>) -> Option<Arc<HeaderSet>> {
        self.header_sets.get(ix? as usize).map(Arc::clone)
    }

    pub(super) fn guards(&mut self) -> Vec<Guard> {
        let ir = self.ir;
        ir.guards
            .iter()
            .map(|guard| {
                let who = guard.who.clone().map(Arc::new);
                Guard {
                    rule: self.rule(),
                    atom: who.map(|who| self.atoms.intern(&who)),
                    from: self.from.intern(guard.from.as_deref(), &self.zones),
                    device_not: guard.device_not,
                    when: self.times.intern(guard.when.as_deref()),
                    unless_when: self.times.intern(guard.unless_when.as_deref()),
                    shadow: guard.shadow,
                }
            })
            .collect()
    }

    fn guards_on(&mut self, resource: Resource) -> Arc<[u32]> {
        let binds = |guard: &ir::Guard| {
            guard
                .on
                .as_ref()
                .is_none_or(|list| list.contains(&resource))
        };
        let bound = (0u32..)
            .zip(&self.ir.guards)
            .filter(|(_, guard)| binds(guard))
            .map(|(ix, _)| ix);
        let bound: Vec<u32> = bound.collect();
        let list = || bound.as_slice().into();
        let held = self.bound.entry(bound.clone()).or_insert_with(list);
        Arc::clone(held)
    }

    pub(super) fn app(
        &mut self,
        app: &'a ir::App,
        ix: u32,
    ) -> Result<(App, AppRules), (Span, String)> {
        let (first_area, first_allow) = (self.areas.len(), self.allows.len());
        let fronts = Fronts::of(&app.areas, &mut self.fronts);
        for (area, &front) in app.areas.iter().zip(&fronts.of_area) {
            let first = self.allows.len();
            for allow in &area.allows {
                let allow = self.allow(allow)?;
                self.allows.push(allow);
            }
            self.areas.push(Area {
                shadow: area.shadow,
                front,
                first: number(first),
                count: number(area.allows.len()),
            });
        }
        let hosts = app.hosts.iter().map(|host| match host.wildcard {
            false => HostPattern::Exact(host.name.clone()),
            true => HostPattern::AnyLabel(host.name.clone()),
        });
        let public = App {
            id: app.id.as_str().into(),
            hosts: hosts.collect(),
            fronts: fronts.all,
            path: PathOpts {
                params: app.path_params,
                slashes: app.encoded_slashes,
                empties: app.empty_segments,
            },
            preflight: app.preflight,
        };
        let shadow_areas = app.areas.iter().any(|area| area.shadow);
        let guards = self.guards_on(Resource::App(ix));
        let mut own = self.allows.iter().skip(first_allow);
        let rules = AppRules {
            shadow: app.shadow,
            shadowed: shadow_areas || own.any(|allow| allow.shadow) || self.shadow_guards(&guards),
            first: number(first_area),
            count: number(app.areas.len()),
            tree: match shadow_areas {
                false => self.shared_tree(app),
                true => self.trees.add(&app.areas, app.fold, false),
            },
            shadow_tree: shadow_areas.then(|| self.trees.add(&app.areas, app.fold, true)),
            windows: app.windows,
            guards,
        };
        Ok((public, rules))
    }

    fn shared_tree(&mut self, app: &'a ir::App) -> Tree {
        let areas = app.areas.iter().map(|area| area.pattern.text.as_str());
        let trees = &mut self.trees;
        let shape = self.shapes.entry((app.fold, areas.collect()));
        *shape.or_insert_with(|| trees.add(&app.areas, app.fold, false))
    }

    pub(super) fn plain(
        &mut self,
        allows: &[ir::Allow],
        resource: Resource,
    ) -> Result<NetRules, (Span, String)> {
        let allows = allows
            .iter()
            .map(|allow| self.allow(allow))
            .collect::<Result<Vec<_>, _>>()?;
        let guards = self.guards_on(resource);
        Ok(NetRules {
            shadowed: allows.iter().any(|allow| allow.shadow) || self.shadow_guards(&guards),
            allows,
            guards,
        })
    }

    fn shadow_guards(&self, guards: &[u32]) -> bool {
        let mut bound = guards.iter();
        bound.any(|&ix| self.ir.guards.get(ix as usize).is_some_and(|g| g.shadow))
    }

    fn allow(&mut self, allow: &ir::Allow) -> Result<Allow, (Span, String)> {
        let methods = self.methods.mask(allow.methods.as_deref()).ok_or_else(|| {
            let text = format!("more than {MAX_EXTRA} unusual methods are named");
            (allow.span, text)
        })?;
        let owed = Owed {
            rate: allow.rate,
            headers: allow.headers,
            mfa: allow.mfa,
            login: allow.login,
            idle: allow.idle.map(NonZeroU32::get),
            sessions: allow.sessions.map(NonZeroU32::get),
            public: allow.who.anyone,
        };
        Ok(Allow {
            rule: self.rule(),
            obligations: self.obligations(owed),
            atom: self.atoms.intern(&allow.who),
            anyone: allow.who.anyone,
            from: self.from.intern(allow.from.as_deref(), &self.zones),
            methods,
            device: allow.device,
            mfa: allow.mfa,
            login: allow.login,
            when: self.times.intern(allow.when.as_deref()),
            shadow: allow.shadow,
        })
    }

    fn obligations(&mut self, owed: Owed) -> ObligationIx {
        if let Some(&known) = self.owed.get(&owed) {
            return known;
        }
        let ix = ObligationIx(u32::try_from(self.obligations.len()).unwrap_or(0));
        self.obligations.push(Obligations {
            rate: self.rate(owed.rate),
            headers: self.headers(owed.headers),
            mfa_max: match owed.mfa {
                Mfa::Age(secs) => Some(Duration::from_secs(secs.into())),
                Mfa::None | Mfa::Session => None,
            },
            login_max: Duration::from_secs(owed.login.into()),
            idle: owed.idle.map(|secs| Duration::from_secs(secs.into())),
            sessions: owed.sessions,
            public: owed.public,
        });
        self.owed.insert(owed, ix);
        ix
    }
}

/// Fewer than 200,000 rules are accepted, so positions fit.
fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
