//! A policy written out again, with every default and every name in one order.

mod pieces;
mod rules;
mod tunnel;
pub(crate) mod words;

use crate::compile::Policy;
use crate::ir::{self, DAYS, Ir, Resource, Who, clock};
use crate::resolve::tenants::{EVERYBODY, owner, split};
use crate::resolve::values::show_duration;
use crate::source::Sources;
pub(crate) use pieces::{Piece, Topic, pieces, same_names};
use rules::mfa;
pub(crate) use rules::{allow_keys, guard_keys};
use words::{list, pair, push, quote};

impl Policy {
    /// Writes the policy in canonical form: `policy.toml` and `users.toml`, and for each tenant the same in
    /// `tenants/NAME`, which load to a policy of the same digest. Tests, invariants and comments are not part of it;
    /// networks of lists stand in `[zone]`.
    pub fn canonical(&self) -> Sources {
        let mut sources = Sources::new();
        let root = Printer {
            ir: &self.ir,
            tenant: None,
        };
        sources.add("policy.toml", root.policy());
        sources.add("users.toml", root.users());
        for tenant in &self.ir.tenants {
            let printer = Printer {
                ir: &self.ir,
                tenant: Some(&tenant.name),
            };
            let mut add = |name: &str, text: String| {
                let path = format!("tenants/{}/{name}", tenant.name);
                sources.add_at(&path, &path, text);
            };
            add("policy.toml", printer.policy());
            let mut users = self.ir.users.iter();
            if users.any(|user| user.tenant.as_ref() == Some(&tenant.name)) {
                add("users.toml", printer.users());
            }
        }
        sources
    }
}

struct Printer<'a> {
    ir: &'a Ir,
    /// Whose files are written; `None` is the root.
    tenant: Option<&'a str>,
}

impl Printer<'_> {
    fn policy(&self) -> String {
        let ir = self.ir;
        let mut out = String::from("postern = 1\n");
        if self.tenant.is_none() {
            self.settings(&mut out);
            self.tenants(&mut out);
        }
        self.rates(&mut out);
        self.header_sets(&mut out);
        self.zone_table(&mut out);
        self.schedule_tables(&mut out);
        self.groups(&mut out);
        for guard in ir
            .guards
            .iter()
            .filter(|guard| owner(&guard.id) == self.tenant)
        {
            self.guard(&mut out, guard);
        }
        for app in ir.apps.iter().filter(|app| owner(&app.id) == self.tenant) {
            self.app(&mut out, app);
        }
        if self.tenant.is_some() {
            return out;
        }
        self.admin(&mut out);
        for net in &ir.nets {
            self.net(&mut out, net);
        }
        out
    }

    fn admin(&self, out: &mut String) {
        out.push_str("\n[admin]\n");
        self.allows(out, &self.ir.admin);
    }

    fn net(&self, out: &mut String, net: &ir::Net) {
        let name = net.id.strip_prefix("net.").unwrap_or(&net.id);
        push(out, &format!("\n[net.{}]", quote(name)));
        let to: Vec<String> = net.to.iter().map(ToString::to_string).collect();
        pair(out, "to", &list(&to));
        let ports: Vec<String> = net.ports.iter().map(port).collect();
        pair(out, "port", &list(&ports));
        pair(out, "shadow", if net.shadow { "true" } else { "false" });
        self.allows(out, &net.allows);
    }

    fn settings(&self, out: &mut String) {
        let defaults = &self.ir.defaults;
        out.push_str("\n[default]\n");
        pair(out, "mfa", &quote(&mfa(defaults.mfa)));
        pair(out, "login", &quote(&show_duration(defaults.login)));
        pair(out, "device", &quote(defaults.device.as_str()));
        pair(out, "hide", if defaults.hide { "true" } else { "false" });
        if let Some(rate) = self.rate(defaults.rate) {
            pair(out, "rate", &quote(rate));
        }
        if let Some(set) = self.header_set(defaults.headers) {
            pair(out, "headers", &quote(set));
        }
        if let Some(idle) = defaults.idle {
            pair(out, "idle", &quote(&show_duration(idle)));
        }
        if let Some(sessions) = defaults.sessions {
            pair(out, "sessions", &sessions.to_string());
        }
        if let Some(extend) = defaults.extend {
            pair(out, "extend", &quote(&show_duration(extend)));
        }
        tunnel::write(self.ir, out);
    }

    fn tenants(&self, out: &mut String) {
        for tenant in &self.ir.tenants {
            push(out, &format!("\n[tenant.{}]", quote(&tenant.name)));
            pair(out, "dir", &quote(&format!("tenants/{}", tenant.name)));
            let domains: Vec<String> = tenant.domains.iter().map(host).collect();
            pair(out, "domains", &list(&domains));
            for (key, most) in [("apps", tenant.apps), ("allows", tenant.allows)] {
                if let Some(most) = most {
                    pair(out, &format!("quota.{key}"), &most.to_string());
                }
            }
        }
    }

    fn rates(&self, out: &mut String) {
        out.push_str("\n[rate]\n");
        for (rate, name) in self.own(&self.ir.rates, |rate| &rate.name) {
            pair(out, &quote(name), &quote(&rate.to_string()));
        }
    }

    fn header_sets(&self, out: &mut String) {
        for (set, name) in self.own(&self.ir.header_sets, |set| &set.name) {
            push(out, &format!("\n[headers.{}]", quote(name)));
            for field in &set.fields {
                pair(out, &quote(&field.name), &quote(&field.to_string()));
            }
        }
    }

    fn zone_table(&self, out: &mut String) {
        out.push_str("\n[zone]\n");
        let named = self.ir.zones.get(2..).unwrap_or_default();
        for (zone, name) in self.own(named, |zone| &zone.name) {
            if zone.internet_of().is_some() {
                continue;
            }
            let nets: Vec<String> = zone.nets.iter().map(ToString::to_string).collect();
            pair(out, &quote(name), &list(&nets));
        }
    }

    fn schedule_tables(&self, out: &mut String) {
        for (schedule, name) in self.own(&self.ir.schedules, |schedule| &schedule.name) {
            push(out, &format!("\n[schedule.{}]", quote(name)));
            if let Some(days) = &schedule.days {
                let named = days.iter().filter_map(|&day| DAYS.get(usize::from(day)));
                pair(out, "days", &list(&named.collect::<Vec<_>>()));
            }
            if let Some(times) = &schedule.times {
                let ranges = times
                    .iter()
                    .map(|&(a, b)| format!("{}-{}", clock(a), clock(b)));
                pair(out, "time", &list(&ranges.collect::<Vec<_>>()));
            }
            if let Some((from, to)) = &schedule.between {
                pair(out, "between", &quote(&format!("{from}..{to}")));
            }
            pair(out, "tz", &quote(&schedule.tz));
        }
    }

    fn groups(&self, out: &mut String) {
        out.push_str("\n[group-optional]\n");
        // whom a tenant's group holds only by a group of the root, its files do not name
        let everybody = self.tenant.and_then(|tenant| {
            let all = self.ir.group(&format!("{tenant}/{EVERYBODY}"));
            self.ir.groups.get(all? as usize)
        });
        for (group, ix) in self.ir.groups.iter().zip(0u32..) {
            let (space, name) = split(&group.name);
            if space != self.tenant || (space.is_some() && name == EVERYBODY) {
                continue;
            }
            let held = self.ir.groups.iter().zip(0u32..);
            let held = held.filter(|(other, at)| *at != ix && other.within.contains(&ix));
            let mut names: Vec<String> = held.map(|(other, _)| self.group(&other.name)).collect();
            let named = group
                .members
                .iter()
                .filter(|user| everybody.is_none_or(|all| all.members.binary_search(user).is_ok()));
            names.extend(named.filter_map(|&user| self.user(user)));
            pair(out, &quote(name), &list(&names));
        }
    }

    /// The definitions of the file that is written, with their names in it.
    fn own<'d, T>(
        &self,
        all: &'d [T],
        name: impl Fn(&'d T) -> &'d str,
    ) -> impl Iterator<Item = (&'d T, &'d str)> {
        all.iter().filter_map(move |item| {
            let (space, own) = split(name(item));
            (space == self.tenant).then_some((item, own))
        })
    }

    /// A full name as the file that is written refers to it.
    fn refer(&self, name: &str) -> String {
        let Some(tenant) = self.tenant else {
            return name.to_owned();
        };
        match split(name) {
            (Some(space), own) if space == tenant => own.to_owned(),
            _ => format!("root/{name}"),
        }
    }

    fn group(&self, name: &str) -> String {
        format!("@{}", self.refer(name))
    }

    fn users(&self) -> String {
        let mut out = String::from("postern = 1\n");
        let users = self.ir.users.iter();
        for user in users.filter(|user| user.tenant.as_deref() == self.tenant) {
            Self::user_table(&mut out, user);
        }
        out
    }

    fn user_table(out: &mut String, user: &ir::User) {
        push(out, &format!("\n[user.{}]", quote(&user.name)));
        let texts = [
            ("name", &user.display),
            ("mail", &user.mail),
            ("language", &user.language),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                pair(out, key, &quote(text));
            }
        }
        pair(
            out,
            "disabled",
            if user.disabled { "true" } else { "false" },
        );
        let attributes = user.attributes.iter();
        let attributes = attributes.map(|(key, text)| format!("{} = {}", quote(key), quote(text)));
        let attributes: Vec<String> = attributes.collect();
        pair(
            out,
            "attributes",
            &format!("{{ {} }}", attributes.join(", ")),
        );
    }

    fn app(&self, out: &mut String, app: &ir::App) {
        let id = split_id(&app.id);
        let name = id.strip_prefix("app.").unwrap_or(id);
        for area in &app.areas {
            let root = area.pattern.text.is_empty();
            if root {
                push(out, &format!("\n[app.{}]", quote(name)));
                let hosts: Vec<String> = app.hosts.iter().map(host).collect();
                pair(out, "host", &list(&hosts));
                pair(out, "windows", if app.windows { "true" } else { "false" });
                for (key, on) in [
                    ("path-params", app.path_params),
                    ("encoded-slashes", app.encoded_slashes),
                    ("empty-segments", app.empty_segments),
                    ("preflight", app.preflight),
                    ("shadow", app.shadow),
                ] {
                    pair(out, key, if on { "true" } else { "false" });
                }
                pair(
                    out,
                    "case-insensitive",
                    if app.fold { "true" } else { "false" },
                );
            } else {
                push(
                    out,
                    &format!("\n[app.{}.{}]", quote(name), quote(&area.pattern.text)),
                );
                pair(out, "shadow", if area.shadow { "true" } else { "false" });
            }
            if let Some(reason) = &area.public {
                pair(out, "public", &quote(reason));
            }
            if area.lanes.device {
                pair(out, "device-only", "true");
            }
            if let Some(most) = area.lanes.tokens {
                pair(out, "tokens", &quote(&show_duration(most)));
            }
            if let Some(front) = &area.front {
                front.print(out);
            }
            self.allows(out, &area.allows);
        }
    }

    fn who(&self, who: &Who) -> String {
        let user = |ix: &u32| self.user(*ix);
        let group = |ix: &u32| {
            let name = self.group(&self.ir.groups.get(*ix as usize)?.name);
            Some(name)
        };
        let mut out: Vec<String> = Vec::new();
        out.extend(who.anyone.then(|| "anyone".to_owned()));
        out.extend(who.any_user.then(|| "any-user".to_owned()));
        let everybody = format!("@{EVERYBODY}");
        out.extend(
            who.groups
                .iter()
                .filter_map(group)
                .map(|name| match name == everybody {
                    true => EVERYBODY.to_owned(),
                    false => name,
                }),
        );
        out.extend(who.users.iter().filter_map(user));
        out.extend(
            who.not_groups
                .iter()
                .filter_map(group)
                .map(|name| format!("!{name}")),
        );
        out.extend(
            who.not_users
                .iter()
                .filter_map(user)
                .map(|name| format!("!{name}")),
        );
        list(&out)
    }

    fn user(&self, ix: u32) -> Option<String> {
        Some(self.ir.users.get(ix as usize)?.name.to_string())
    }

    fn rate(&self, ix: Option<u32>) -> Option<&str> {
        Some(self.ir.rates.get(ix? as usize)?.name.as_str())
    }

    fn header_set(&self, ix: Option<u32>) -> Option<&str> {
        Some(self.ir.header_sets.get(ix? as usize)?.name.as_str())
    }

    fn zones(&self, zones: &[u32]) -> String {
        let named = zones
            .iter()
            .filter_map(|&ix| self.ir.zones.get(ix as usize));
        let own = self.tenant.map(|tenant| format!("{tenant}/internet"));
        let apart = own.is_some_and(|name| self.ir.zone(&name).is_some());
        let names = named.map(|zone| match zone.name.as_str() {
            "internet" if apart => "root/internet".to_owned(),
            "tunnel" | "internet" => zone.name.clone(),
            name => self.refer(name),
        });
        list(&names.collect::<Vec<_>>())
    }

    fn schedules(&self, schedules: &[u32]) -> String {
        let named = schedules
            .iter()
            .filter_map(|&ix| self.ir.schedules.get(ix as usize));
        list(
            &named
                .map(|schedule| self.refer(&schedule.name))
                .collect::<Vec<_>>(),
        )
    }

    fn resource(&self, resource: Resource) -> Option<String> {
        match resource {
            Resource::Admin => Some("admin".to_owned()),
            Resource::App(ix) => Some(self.ir.apps.get(ix as usize)?.id.clone()),
            Resource::Net(ix) => Some(self.ir.nets.get(ix as usize)?.id.clone()),
        }
    }
}

fn host(host: &ir::Host) -> String {
    match host.wildcard {
        true => format!("*.{}", host.name),
        false => host.name.clone(),
    }
}

/// An id without the tenant in front.
fn split_id(id: &str) -> &str {
    match owner(id) {
        Some(_) => split(id).1,
        None => id,
    }
}

fn port(ports: &ir::Ports) -> String {
    let proto = match ports.proto {
        ir::Proto::Tcp => "tcp",
        ir::Proto::Udp => "udp",
        ir::Proto::Icmp => return "icmp".to_owned(),
    };
    format!("{}-{}/{proto}", ports.first, ports.last)
}
