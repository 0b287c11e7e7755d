//! Everything that can be reached, for one policy or for two side by side.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::canon::{self, CanonPath};
use crate::compile::{Allow, AppIx, BAD_REQUEST, NO_SUCH_APP, NO_SUCH_SERVICE, Policy, RuleIx};
use crate::ir::{Host, Pattern, Ports, Proto, Seg};
use crate::resolve::invariants::Place;

/// What decides in a place.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spot<'p> {
    Rules {
        guards: &'p [u32],
        allows: &'p [Allow],
        http: bool,
    },
    /// Always denied, by this rule.
    Closed(RuleIx),
}

/// A place as one policy sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'p> {
    pub(crate) policy: &'p Policy,
    pub(crate) spot: Spot<'p>,
    pub(crate) place: Option<Place>,
}

/// Requests that each policy decides in one place.
#[derive(Clone, Debug)]
pub(crate) struct JointPlace<'p> {
    pub(crate) id: String,
    /// What else tells the place apart, such as a host.
    pub(crate) note: Option<String>,
    pub(crate) sides: Vec<Side<'p>>,
}

impl<'p> Side<'p> {
    pub(crate) fn closed(policy: &'p Policy, rule: RuleIx) -> Self {
        Self {
            policy,
            spot: Spot::Closed(rule),
            place: None,
        }
    }

    pub(crate) fn area(policy: &'p Policy, app: u32, area: u32) -> Self {
        let rules = policy.app_rules(AppIx(app)).filter(|rules| !rules.shadow);
        let spot = rules.and_then(|rules| {
            Some(Spot::Rules {
                guards: &rules.guards,
                allows: policy.allows(policy.areas(rules).get(area as usize)?),
                http: true,
            })
        });
        Self {
            policy,
            spot: spot.unwrap_or(Spot::Closed(NO_SUCH_APP)),
            place: Some(Place::Area(app, area)),
        }
    }

    pub(crate) fn net(policy: &'p Policy, net: u32) -> Self {
        let shadow = policy
            .ir
            .nets
            .get(net as usize)
            .is_none_or(|net| net.shadow);
        let rules = policy.nets.get(net as usize).filter(|_| !shadow);
        let spot = rules.map(|rules| Spot::Rules {
            guards: &rules.guards,
            allows: &rules.allows,
            http: false,
        });
        Self {
            policy,
            spot: spot.unwrap_or(Spot::Closed(NO_SUCH_SERVICE)),
            place: Some(Place::Net(net)),
        }
    }

    pub(crate) fn admin(policy: &'p Policy) -> Self {
        Self {
            policy,
            spot: Spot::Rules {
                guards: &policy.admin.guards,
                allows: &policy.admin.allows,
                http: true,
            },
            place: Some(Place::Admin),
        }
    }

    /// The rules, those in shadow too.
    pub(crate) fn allows(&self) -> &'p [Allow] {
        match self.spot {
            Spot::Rules { allows, .. } => allows,
            Spot::Closed(_) => &[],
        }
    }

    /// Finds the place by what it is.
    pub(crate) fn of(policy: &'p Policy, place: Place) -> Self {
        match place {
            Place::Area(app, area) => Self::area(policy, app, area),
            Place::Net(net) => Self::net(policy, net),
            Place::Admin => Self::admin(policy),
        }
    }
}

/// The id of a place, with `/` for a root area.
pub(crate) fn id_of(policy: &Policy, place: Place) -> String {
    let ir = &policy.ir;
    match place {
        Place::Admin => "admin".to_owned(),
        Place::Net(ix) => {
            let net = ir.nets.get(ix as usize);
            net.map_or_else(String::new, |net| net.id.clone())
        }
        Place::Area(app, area) => {
            let app = ir.apps.get(app as usize);
            let area = app.and_then(|app| Some((&app.id, app.areas.get(area as usize)?)));
            area.map_or_else(String::new, |(id, area)| {
                format!("{id}{}", area.pattern.shown())
            })
        }
    }
}

impl Policy {
    /// The id of the area that decides about a path, such as `app.paie/admin`.
    pub fn area_id(&self, app: AppIx, path: &CanonPath<'_>) -> String {
        let rules = self.app_rules(app);
        let at = rules.and_then(|rules| self.trees.find(rules.tree, path));
        id_of(self, Place::Area(app.0, at.unwrap_or_default()))
    }
}

/// All places that at least one of the policies knows.
pub(crate) fn joint_places<'p>(policies: &[&'p Policy]) -> Vec<JointPlace<'p>> {
    let mut out = http(policies);
    out.extend(nets(policies));
    out.push(JointPlace {
        id: "admin".to_owned(),
        note: None,
        sides: policies.iter().map(|policy| Side::admin(policy)).collect(),
    });
    out
}

type Apps = Vec<Option<AppIx>>;

/// A label and path segment that stands for all that no file names.
const FRESH: &str = "zq7w-fresh";

/// A name of a host; where a star stands, with a label that no file names.
pub(super) fn sample(host: &Host) -> String {
    match host.wildcard {
        true => format!("{FRESH}.{}", host.name),
        false => host.name.clone(),
    }
}

fn http<'p>(policies: &[&'p Policy]) -> Vec<JointPlace<'p>> {
    let mut found: BTreeMap<Apps, Vec<String>> = BTreeMap::new();
    let mut hosts: BTreeSet<(String, String)> = BTreeSet::new();
    let apps = policies.iter().flat_map(|policy| &policy.ir.apps);
    for app in apps.filter(|app| !app.shadow) {
        for host in &app.hosts {
            hosts.insert(match host.wildcard {
                true => (sample(host), format!("*.{}", host.name)),
                false => (sample(host), host.name.clone()),
            });
        }
    }
    for (witness, shown) in hosts {
        let apps = policies
            .iter()
            .map(|policy| policy.hosts.find(&witness).map(AppIx));
        found.entry(apps.collect()).or_default().push(shown);
    }
    let mut times: HashMap<(usize, AppIx), usize> = HashMap::new();
    for (side, app) in found.keys().flat_map(|apps| apps.iter().enumerate()) {
        if let Some(app) = app {
            *times.entry((side, *app)).or_default() += 1;
        }
    }
    let mut out = Vec::new();
    for (apps, hosts) in &found {
        let alone = |&(side, app): &(usize, &Option<AppIx>)| {
            app.is_none_or(|app| times.get(&(side, app)) == Some(&1))
        };
        let plain = apps.iter().enumerate().all(|pair| alone(&pair));
        let note = (!plain).then(|| format!("on {}", hosts.join(", ")));
        out.extend(areas(policies, apps, note.as_deref()));
    }
    out
}

/// The places of one combination of apps: one for each combination of areas that some path meets.
fn areas<'p>(policies: &[&'p Policy], apps: &Apps, note: Option<&str>) -> Vec<JointPlace<'p>> {
    let sides: Vec<(&'p Policy, Option<AppIx>)> =
        policies.iter().copied().zip(apps.iter().copied()).collect();
    let mut shapes: Vec<Pattern> = vec![Pattern::root()];
    for (policy, app) in &sides {
        let Some(app) = app.and_then(|ix| policy.ir.apps.get(ix.0 as usize)) else {
            continue;
        };
        let own: Vec<&Pattern> = app.areas.iter().map(|area| &*area.pattern).collect();
        let both = shapes
            .iter()
            .flat_map(|shape| own.iter().filter_map(|pattern| shape.intersection(pattern)));
        let mut next: Vec<Pattern> = Vec::new();
        let mut seen: BTreeSet<(Vec<Seg>, bool)> = BTreeSet::new();
        for pattern in both {
            if seen.insert((pattern.segs.clone(), pattern.exact)) {
                next.push(pattern);
            }
        }
        shapes = next;
    }
    let deepest = shapes
        .iter()
        .map(|shape| shape.segs.len())
        .max()
        .unwrap_or(0);
    let fold = |(policy, app): &(&Policy, Option<AppIx>)| {
        let app = app.and_then(|ix| policy.ir.apps.get(ix.0 as usize));
        app.map(|app| (app.fold, app.windows, app.path_params))
    };
    let kinds: BTreeSet<(bool, bool, bool)> = sides.iter().filter_map(fold).collect();
    let mut out: BTreeMap<Vec<Option<Place>>, JointPlace<'p>> = BTreeMap::new();
    for shape in &shapes {
        for (path, odd) in witnesses(shape, deepest, kinds.len() > 1) {
            let seen: Vec<Side<'p>> = sides.iter().map(|side| at_path(side, &path)).collect();
            let key = seen.iter().map(|side| side.place).collect();
            out.entry(key).or_insert_with(|| JointPlace {
                id: name(&seen),
                note: odd.map(str::to_owned).or_else(|| note.map(str::to_owned)),
                sides: seen,
            });
        }
    }
    out.into_values().collect()
}

fn at_path<'p>((policy, app): &(&'p Policy, Option<AppIx>), given: &str) -> Side<'p> {
    let Some((app, rules)) = app.and_then(|ix| Some((ix, policy.app_rules(ix)?))) else {
        return Side::closed(policy, NO_SUCH_APP);
    };
    let bare = canon::without_params(given);
    let path = &*bare;
    if bare.len() < given.len() && !policy.app(app).path.params {
        return Side::closed(policy, BAD_REQUEST);
    }
    if rules.windows && !canon::plain_for_windows(path) {
        return Side::closed(policy, BAD_REQUEST);
    }
    match policy.trees.find_text(rules.tree, path) {
        Some(area) => Side::area(policy, app.0, area),
        None => Side {
            policy,
            spot: Spot::Rules {
                guards: &rules.guards,
                allows: &[],
                http: true,
            },
            place: None,
        },
    }
}

/// The most specific of the names the sides have.
fn name(sides: &[Side<'_>]) -> String {
    let named = sides.iter().rev().filter_map(|side| {
        let place = side.place?;
        let length = match place {
            Place::Area(app, area) => {
                let app = side.policy.ir.apps.get(app as usize)?;
                let pattern = &app.areas.get(area as usize)?.pattern;
                pattern.segs.len() * 2 + usize::from(pattern.exact)
            }
            Place::Net(_) | Place::Admin => 0,
        };
        Some((length, id_of(side.policy, place)))
    });
    // of equally long ones the first counts, which is that of the last policy
    let best = named.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, id)| id).unwrap_or_default()
}

/// Paths of a shape that lie in as few other shapes as possible: free segments are ones no file names.
pub(super) fn witnesses(
    shape: &Pattern,
    deepest: usize,
    odd: bool,
) -> Vec<(String, Option<&'static str>)> {
    let mut base = String::new();
    for seg in &shape.segs {
        base.push('/');
        match seg {
            Seg::Star => base.push_str(FRESH),
            Seg::Literal(text) => base.push_str(&escape(text)),
        }
    }
    let mut out = Vec::new();
    let more = if shape.exact {
        0
    } else {
        (deepest + 1).saturating_sub(shape.segs.len())
    };
    for _ in 0..=more {
        out.push((
            if base.is_empty() {
                "/".to_owned()
            } else {
                base.clone()
            },
            None,
        ));
        if !shape.exact {
            out.push((format!("{base}/"), None));
        }
        base.push('/');
        base.push_str(FRESH);
    }
    if odd {
        let plain: Vec<String> = out.iter().map(|(path, _)| path.clone()).collect();
        for path in plain {
            out.push((path.to_ascii_uppercase(), Some("paths in upper case")));
            let (first, rest) = path.split_at_checked(1).unwrap_or(("", ""));
            if !rest.is_empty() {
                let end = rest.find('/').unwrap_or(rest.len());
                let (name, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
                let marked = format!("{first}{name};p{rest}");
                out.push((marked, Some("paths with parameters")));
            }
            let strange = format!("{}/{FRESH}.", path.trim_end_matches('/'));
            if !shape.exact {
                out.push((strange, Some("paths that Windows reads in two ways")));
            }
        }
    }
    out
}

fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// One witness address for each stretch between borders of networks, one witness port between borders of ports.
pub(super) fn corners(policies: &[&Policy]) -> (BTreeSet<IpAddr>, BTreeSet<(Proto, u16)>) {
    let mut starts: BTreeSet<IpAddr> = BTreeSet::new();
    let mut ports: BTreeSet<(Proto, u16)> = BTreeSet::new();
    let nets = policies.iter().flat_map(|policy| &policy.ir.nets);
    for net in nets.filter(|net| !net.shadow) {
        for to in &net.to {
            starts.insert(to.network());
            starts.extend(behind(to));
        }
        for &Ports { proto, first, last } in &net.ports {
            ports.insert((proto, first));
            ports.extend(last.checked_add(1).map(|next| (proto, next)));
        }
    }
    (starts, ports)
}

fn nets<'p>(policies: &[&'p Policy]) -> Vec<JointPlace<'p>> {
    let (starts, ports) = corners(policies);
    let mut found: BTreeMap<Vec<Option<u32>>, ()> = BTreeMap::new();
    for &ip in &starts {
        for &(proto, port) in &ports {
            let key: Vec<Option<u32>> = policies
                .iter()
                .map(|policy| policy.net_table.find(ip, port, proto))
                .collect();
            if key.iter().any(Option::is_some) {
                found.insert(key, ());
            }
        }
    }
    let place = |key: Vec<Option<u32>>| {
        let sides: Vec<Side<'p>> = policies
            .iter()
            .zip(key)
            .map(|(policy, net)| match net {
                Some(net) => Side::net(policy, net),
                None => Side::closed(policy, NO_SUCH_SERVICE),
            })
            .collect();
        JointPlace {
            id: name(&sides),
            note: None,
            sides,
        }
    };
    found.into_keys().map(place).collect()
}

/// The first address behind a network.
fn behind(net: &IpNet) -> Option<IpAddr> {
    match net {
        IpNet::V4(v4) => {
            let next = u32::from(v4.broadcast()).checked_add(1)?;
            Some(IpAddr::V4(Ipv4Addr::from(next)))
        }
        IpNet::V6(v6) => {
            let next = u128::from(v6.broadcast()).checked_add(1)?;
            Some(IpAddr::V6(Ipv6Addr::from(next)))
        }
    }
}
