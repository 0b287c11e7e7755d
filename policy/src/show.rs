//! A policy laid out as it decides: apps with their areas from the most to the least specific, nets by prefix
//! length, the console, and the guards over them.

mod text;

use std::cmp::Reverse;

use serde::Serialize;

use crate::compile::{Allow, AppIx, Policy};
use crate::front::Source;
use crate::ir::{self, Mfa, Resource};
use crate::query::QueryError;
use crate::resolve::invariants::Place;
use crate::resolve::values::show_duration;

/// A policy or a part of it. The serialised form is the contract of `policy show --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Show {
    /// Digest of the policy.
    pub policy: String,
    /// Guards, in the order in which they are asked.
    pub guards: Vec<ShownGuard>,
    /// Apps, sorted by id.
    pub apps: Vec<ShownApp>,
    /// Nets, the longest prefix first, then the narrowest ports.
    pub nets: Vec<ShownNet>,
    /// Rules of the console; `None` where it is not shown.
    pub admin: Option<Vec<ShownRule>>,
}

/// An app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownApp {
    /// Such as `app.paie`.
    pub id: String,
    /// Hosts, `*.` in front of those that stand for one label more.
    pub hosts: Vec<String>,
    /// Where requests go.
    pub upstream: String,
    /// The most specific first; a path is decided by the first that matches it.
    pub areas: Vec<ShownArea>,
}

/// An area of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownArea {
    /// Such as `app.paie/admin`.
    pub id: String,
    /// `file:line`.
    pub at: Option<String>,
    /// The written reason, where the area is open to the world.
    pub public: Option<String>,
    /// Whether a tunnel device that its person has opened needs no cookie.
    pub device_only: bool,
    /// The greatest age of a token it takes; `None` where it takes none.
    pub tokens: Option<String>,
    /// For how long a reason holds, where people are asked why they come.
    pub justify: Option<String>,
    /// Whether it is not in force.
    pub shadow: bool,
    /// Its rules, in the order in which they are written; none means that nobody gets in.
    pub rules: Vec<ShownRule>,
}

/// A net.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownNet {
    /// Such as `net.ssh`.
    pub id: String,
    /// `file:line`.
    pub at: Option<String>,
    /// Destinations, the longest prefix first.
    pub to: Vec<String>,
    /// Ports such as `22/tcp`, `8000-8100/udp` and `icmp`.
    pub ports: Vec<String>,
    /// Its rules.
    pub rules: Vec<ShownRule>,
}

/// A rule that allows; what it does not ask for is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownRule {
    /// Such as `app.paie/admin#it`.
    pub id: String,
    /// `file:line`.
    pub at: Option<String>,
    /// Who, as the file has it, small groups with their members.
    pub who: String,
    /// Zones.
    pub from: Option<String>,
    /// Schedules.
    pub when: Option<String>,
    /// Least device class.
    pub device: Option<String>,
    /// `session`, or the greatest age of the code.
    pub mfa: Option<String>,
    /// Greatest age of the sign-in; `None` for those who need not sign in.
    pub login: Option<String>,
    /// After how long without use the session ends that came in by it.
    pub idle: Option<String>,
    /// Most sessions of a person who came in by it.
    pub sessions: Option<String>,
    /// Methods; `None` is every ordinary one.
    pub methods: Option<String>,
    /// Rate tier.
    pub rate: Option<String>,
    /// Whether it is not in force.
    pub shadow: bool,
}

/// A guard; it refuses where all that it asks for holds, whatever a rule allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShownGuard {
    /// Such as `deny.left`.
    pub id: String,
    /// `file:line`.
    pub at: Option<String>,
    /// The written reason.
    pub reason: String,
    /// Apps and nets it is over; `None` is everything.
    pub on: Option<Vec<String>>,
    /// Who.
    pub who: Option<String>,
    /// Zones.
    pub from: Option<String>,
    /// Schedules.
    pub when: Option<String>,
    /// Schedules that lift it.
    pub unless_when: Option<String>,
    /// Device class below which it refuses.
    pub device_not: Option<String>,
    /// Whether it is not in force.
    pub shadow: bool,
}

/// The part of a policy that is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    App(u32),
    Area(u32, u32),
    Net(u32),
    Admin,
    Guard(usize),
}

impl Policy {
    /// Lays the policy out, or what decides about one resource: an app, an area, a net, `admin`, a guard, or what a
    /// request or flow is decided by (`https://host/path`, `tcp://ip:port`).
    ///
    /// # Errors
    /// The policy has no such resource; the nearest name is suggested.
    pub fn show(&self, resource: Option<&str>) -> Result<Show, QueryError> {
        let part = match resource {
            None => Part::All,
            Some(text) => self.part(text)?,
        };
        let only = match part {
            Part::Guard(only) => Some(only),
            Part::All | Part::App(_) | Part::Area(..) | Part::Net(_) | Part::Admin => None,
        };
        let over = match part {
            Part::App(ix) | Part::Area(ix, _) => Some(Resource::App(ix)),
            Part::Net(ix) => Some(Resource::Net(ix)),
            Part::Admin => Some(Resource::Admin),
            Part::All | Part::Guard(_) => None,
        };
        let binds = |guard: &ir::Guard, over: Resource| {
            let on = guard.on.as_ref();
            on.is_none_or(|on| on.contains(&over))
        };
        let guards = self.ir.guards.iter().enumerate().filter(|(at, guard)| {
            only.is_none_or(|only| only == *at) && over.is_none_or(|over| binds(guard, over))
        });
        Ok(Show {
            policy: self.digest().to_owned(),
            guards: guards.map(|(_, guard)| self.show_guard(guard)).collect(),
            apps: self.show_apps(part),
            nets: self.show_nets(part),
            admin: matches!(part, Part::All | Part::Admin)
                .then(|| self.show_rules(&self.ir.admin, &self.admin.allows)),
        })
    }

    fn part(&self, text: &str) -> Result<Part, QueryError> {
        if let Some(at) = self.ir.guards.iter().position(|guard| guard.id == text) {
            return Ok(Part::Guard(at));
        }
        if let Some(ix) = (0u32..).zip(&self.ir.apps).find(|(_, app)| app.id == text) {
            return Ok(Part::App(ix.0));
        }
        Ok(match self.place(text)? {
            Place::Area(app, area) => Part::Area(app, area),
            Place::Net(net) => Part::Net(net),
            Place::Admin => Part::Admin,
        })
    }

    fn show_apps(&self, part: Part) -> Vec<ShownApp> {
        let apps = (0u32..).zip(self.ir.apps.iter().zip(&self.app_rules));
        let shown = apps.filter(|(ix, _)| match part {
            Part::All => true,
            Part::App(only) | Part::Area(only, _) => only == *ix,
            Part::Net(_) | Part::Admin | Part::Guard(_) => false,
        });
        let shown = shown.map(|(ix, (app, rules))| {
            let areas = (0u32..).zip(app.areas.iter().zip(self.areas(rules)));
            let mut areas: Vec<_> = areas
                .filter(|(at, _)| !matches!(part, Part::Area(_, only) if only != *at))
                .map(|(_, area)| area)
                .collect();
            areas.sort_by_key(|(area, _)| specificity(&area.pattern));
            let area = |(area, compiled): (&ir::Area, &crate::compile::Area)| ShownArea {
                id: format!("{}{}", app.id, area.pattern.shown()),
                at: self.place_of(area.span),
                public: area.public.as_deref().map(str::to_owned),
                device_only: area.lanes.device,
                tokens: area.lanes.tokens.map(show_duration),
                justify: self.asked(AppIx(ix), compiled),
                shadow: area.shadow,
                rules: self.show_rules(&area.allows, self.allows(compiled)),
            };
            ShownApp {
                id: app.id.clone(),
                hosts: app.hosts.iter().map(host).collect(),
                upstream: source(app),
                areas: areas.into_iter().map(area).collect(),
            }
        });
        shown.collect()
    }

    fn show_nets(&self, part: Part) -> Vec<ShownNet> {
        let nets = (0u32..).zip(self.ir.nets.iter().zip(&self.nets));
        let shown = nets.filter(|(ix, _)| match part {
            Part::All => true,
            Part::Net(only) => only == *ix,
            Part::App(_) | Part::Area(..) | Part::Admin | Part::Guard(_) => false,
        });
        let mut shown: Vec<_> = shown.map(|(_, net)| net).collect();
        shown.sort_by_key(|(net, _)| {
            let prefix = net.to.iter().map(ipnet::IpNet::prefix_len).max();
            let narrow = net.ports.iter().map(|ports| ports.last - ports.first).min();
            (Reverse(prefix), narrow, &net.id)
        });
        let net = |(net, rules): (&ir::Net, &crate::compile::NetRules)| {
            let mut to = net.to.clone();
            to.sort_by_key(|to| (Reverse(to.prefix_len()), *to));
            ShownNet {
                id: net.id.clone(),
                at: self.place_of(net.span),
                to: to.iter().map(ToString::to_string).collect(),
                ports: net.ports.iter().map(ports).collect(),
                rules: self.show_rules(&net.allows, &rules.allows),
            }
        };
        shown.into_iter().map(net).collect()
    }

    fn show_rules(&self, rules: &[ir::Allow], compiled: &[Allow]) -> Vec<ShownRule> {
        let rules = rules.iter().zip(compiled);
        rules
            .map(|(rule, compiled)| self.show_rule(rule, compiled))
            .collect()
    }

    fn show_rule(&self, rule: &ir::Allow, compiled: &Allow) -> ShownRule {
        let info = self.rule(compiled.rule);
        let anyone = rule.who.anyone;
        let rate = rule.rate.and_then(|ix| self.ir.rates.get(ix as usize));
        ShownRule {
            id: info.id.to_string(),
            at: crate::trace::place(info),
            who: self.show_who(&rule.who),
            from: rule.from.as_ref().map(|zones| self.zone_list(zones)),
            when: rule.when.as_ref().map(|list| self.schedule_list(list)),
            device: (rule.device > ir::Device::Any).then(|| rule.device.as_str().to_owned()),
            mfa: match rule.mfa {
                Mfa::None => None,
                Mfa::Session | Mfa::Age(_) if anyone => None,
                Mfa::Session => Some("session".to_owned()),
                Mfa::Age(max) => Some(show_duration(max)),
            },
            login: (!anyone).then(|| show_duration(rule.login)),
            idle: rule.idle.map(|secs| show_duration(secs.get())),
            sessions: rule.sessions.map(|most| most.to_string()),
            methods: rule.methods.as_ref().map(|methods| methods.join(", ")),
            rate: rate.map(|rate| rate.name.clone()),
            shadow: rule.shadow,
        }
    }

    fn show_guard(&self, guard: &ir::Guard) -> ShownGuard {
        let place = self.rule_named(&guard.id).and_then(crate::trace::place);
        let on = guard
            .on
            .as_ref()
            .map(|on| on.iter().map(|on| self.resource_id(*on)).collect());
        ShownGuard {
            id: guard.id.clone(),
            at: place,
            reason: guard.reason.clone(),
            on,
            who: guard.who.as_ref().map(|who| self.show_who(who)),
            from: guard.from.as_ref().map(|zones| self.zone_list(zones)),
            when: guard.when.as_ref().map(|list| self.schedule_list(list)),
            unless_when: guard
                .unless_when
                .as_ref()
                .map(|list| self.schedule_list(list)),
            device_not: guard.device_not.map(|class| class.as_str().to_owned()),
            shadow: guard.shadow,
        }
    }

    fn show_who(&self, who: &ir::Who) -> String {
        if who.anyone {
            return "anyone".to_owned();
        }
        self.who_list(who)
    }

    fn resource_id(&self, resource: Resource) -> String {
        let found = match resource {
            Resource::App(ix) => self.ir.apps.get(ix as usize).map(|app| app.id.as_str()),
            Resource::Net(ix) => self.ir.nets.get(ix as usize).map(|net| net.id.as_str()),
            Resource::Admin => Some("admin"),
        };
        found.unwrap_or_default().to_owned()
    }
}

/// Orders patterns so that one that another contains comes before it.
fn specificity(pattern: &ir::Pattern) -> (Reverse<usize>, bool, usize, String) {
    let stars = pattern
        .segs
        .iter()
        .filter(|seg| **seg == ir::Seg::Star)
        .count();
    (
        Reverse(pattern.segs.len()),
        !pattern.exact,
        stars,
        pattern.text.clone(),
    )
}

fn host(host: &ir::Host) -> String {
    let lead = if host.wildcard { "*." } else { "" };
    format!("{lead}{}", host.name)
}

/// Where the answers of an app's root area come from.
fn source(app: &ir::App) -> String {
    let front = app.areas.first().and_then(|area| area.front.as_ref());
    match front.and_then(|front| front.source.as_ref()) {
        Some(Source::Pool(pool)) => {
            let all: Vec<String> = pool.members.iter().map(|m| m.to.to_string()).collect();
            all.join(", ")
        }
        Some(Source::Static(files)) => format!("files of {}", files.root),
        Some(Source::Redirect(to)) => format!("{} to {}", to.status, to.to),
        None => String::new(),
    }
}

fn ports(ports: &ir::Ports) -> String {
    let proto = match ports.proto {
        ir::Proto::Tcp => "tcp",
        ir::Proto::Udp => "udp",
        ir::Proto::Icmp => return "icmp".to_owned(),
    };
    if ports.first == ports.last {
        return format!("{}/{proto}", ports.first);
    }
    format!("{}-{}/{proto}", ports.first, ports.last)
}
