//! A policy written out again, with every default and every name in one order.

use std::fmt::Write as _;

use crate::compile::Policy;
use crate::ir::{self, Allow, Ir, Mfa, Resource, Who};
use crate::resolve::values::show_duration;
use crate::source::Sources;

impl Policy {
    /// Writes the policy in canonical form: `policy.toml` and `users.toml`, which load to a policy of the same
    /// digest. Tests, invariants and comments are not part of it.
    pub fn canonical(&self) -> Sources {
        let printer = Printer { ir: &self.ir };
        let mut sources = Sources::new();
        sources.add("policy.toml", printer.policy());
        sources.add("users.toml", printer.users());
        sources
    }
}

struct Printer<'a> {
    ir: &'a Ir,
}

impl Printer<'_> {
    fn policy(&self) -> String {
        let ir = self.ir;
        let mut out = String::from("postern = 1\n");
        self.settings(&mut out);
        self.header_sets(&mut out);
        self.places(&mut out);
        self.people(&mut out);
        for guard in &ir.guards {
            self.guard(&mut out, guard);
        }
        out.push_str("\n[admin]\n");
        self.allows(&mut out, &ir.admin);
        for app in &ir.apps {
            self.app(&mut out, app);
        }
        for net in &ir.nets {
            let name = net.id.strip_prefix("net.").unwrap_or(&net.id);
            push(&mut out, &format!("\n[net.{}]", quote(name)));
            let to: Vec<String> = net.to.iter().map(ToString::to_string).collect();
            pair(&mut out, "to", &list(&to));
            let ports: Vec<String> = net.ports.iter().map(port).collect();
            pair(&mut out, "port", &list(&ports));
            pair(
                &mut out,
                "shadow",
                if net.shadow { "true" } else { "false" },
            );
            self.allows(&mut out, &net.allows);
        }
        out
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
        let door = match self.ir.sign_in {
            ir::SignInDoor::Tunnel => "tunnel",
            ir::SignInDoor::Web => "web",
        };
        push(out, &format!("\n[tunnel]\nsign-in = \"{door}\""));
        out.push_str("\n[rate]\n");
        for rate in &self.ir.rates {
            let unit = match rate.per_secs {
                1 => "s",
                60 => "m",
                3600 => "h",
                _ => "d",
            };
            let text = format!("{}/{unit} burst {}", rate.count, rate.burst);
            pair(out, &quote(&rate.name), &quote(&text));
        }
    }

    fn header_sets(&self, out: &mut String) {
        for set in &self.ir.header_sets {
            push(out, &format!("\n[headers.{}]", quote(&set.name)));
            for field in &set.fields {
                pair(out, &quote(&field.name), &quote(&field.to_string()));
            }
        }
    }

    fn places(&self, out: &mut String) {
        out.push_str("\n[zone]\n");
        for zone in self.ir.zones.iter().skip(2) {
            let nets: Vec<String> = zone.nets.iter().map(ToString::to_string).collect();
            pair(out, &quote(&zone.name), &list(&nets));
        }
        for schedule in &self.ir.schedules {
            push(out, &format!("\n[schedule.{}]", quote(&schedule.name)));
            if let Some(days) = &schedule.days {
                let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
                let named = days.iter().filter_map(|&day| names.get(usize::from(day)));
                pair(out, "days", &list(&named.collect::<Vec<_>>()));
            }
            if let Some(times) = &schedule.times {
                let clock = |at: u16| format!("{:02}:{:02}", at / 60, at % 60);
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

    fn people(&self, out: &mut String) {
        out.push_str("\n[group-optional]\n");
        for (group, ix) in self.ir.groups.iter().zip(0u32..) {
            let held = self.ir.groups.iter().zip(0u32..);
            let held = held.filter(|(other, at)| *at != ix && other.within.contains(&ix));
            let mut names: Vec<String> =
                held.map(|(other, _)| format!("@{}", other.name)).collect();
            names.extend(group.members.iter().filter_map(|&user| self.user(user)));
            pair(out, &quote(&group.name), &list(&names));
        }
    }

    fn users(&self) -> String {
        let mut out = String::from("postern = 1\n");
        for user in &self.ir.users {
            push(&mut out, &format!("\n[user.{}]", quote(&user.name)));
            let texts = [
                ("name", &user.display),
                ("mail", &user.mail),
                ("language", &user.language),
            ];
            for (key, text) in texts {
                if let Some(text) = text {
                    pair(&mut out, key, &quote(text));
                }
            }
            pair(
                &mut out,
                "disabled",
                if user.disabled { "true" } else { "false" },
            );
            let attributes = user.attributes.iter();
            let attributes =
                attributes.map(|(key, text)| format!("{} = {}", quote(key), quote(text)));
            let attributes: Vec<String> = attributes.collect();
            pair(
                &mut out,
                "attributes",
                &format!("{{ {} }}", attributes.join(", ")),
            );
        }
        out
    }

    fn guard(&self, out: &mut String, guard: &ir::Guard) {
        let name = guard.id.strip_prefix("deny.").unwrap_or(&guard.id);
        push(out, &format!("\n[deny.{}]", quote(name)));
        if let Some(who) = &guard.who {
            pair(out, "who", &self.who(who));
        }
        if let Some(from) = &guard.from {
            pair(out, "from", &self.zones(from));
        }
        if let Some(class) = guard.device_not {
            pair(out, "device-not", &quote(class.as_str()));
        }
        for (key, when) in [("when", &guard.when), ("unless-when", &guard.unless_when)] {
            if let Some(when) = when {
                pair(out, key, &self.schedules(when));
            }
        }
        if let Some(on) = &guard.on {
            let ids: Vec<String> = on
                .iter()
                .filter_map(|resource| self.resource(*resource))
                .collect();
            pair(out, "on", &list(&ids));
        }
        pair(out, "shadow", if guard.shadow { "true" } else { "false" });
        pair(out, "reason", &quote(&guard.reason));
    }

    fn app(&self, out: &mut String, app: &ir::App) {
        let name = app.id.strip_prefix("app.").unwrap_or(&app.id);
        for area in &app.areas {
            let root = area.pattern.text.is_empty();
            if root {
                push(out, &format!("\n[app.{}]", quote(name)));
                let star = |host: &ir::Host| match host.wildcard {
                    true => format!("*.{}", host.name),
                    false => host.name.clone(),
                };
                let hosts: Vec<String> = app.hosts.iter().map(star).collect();
                pair(out, "host", &list(&hosts));
                pair(out, "upstream", &quote(&upstream(&app.upstream)));
                pair(out, "windows", if app.windows { "true" } else { "false" });
                for (key, on) in [
                    ("path-params", app.path_params),
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
            self.allows(out, &area.allows);
        }
    }

    fn allows(&self, out: &mut String, allows: &[Allow]) {
        for allow in allows {
            let mut parts = vec![format!("who = {}", self.who(&allow.who))];
            if let Some(from) = &allow.from {
                parts.push(format!("from = {}", self.zones(from)));
            }
            if let Some(when) = &allow.when {
                parts.push(format!("when = {}", self.schedules(when)));
            }
            parts.push(format!("device = {}", quote(allow.device.as_str())));
            if !allow.who.anyone {
                parts.push(format!("mfa = {}", quote(&mfa(allow.mfa))));
                parts.push(format!("login = {}", quote(&show_duration(allow.login))));
            }
            if let Some(methods) = &allow.methods {
                parts.push(format!("methods = {}", list(methods)));
            }
            if let Some(rate) = self.rate(allow.rate) {
                parts.push(format!("rate = {}", quote(rate)));
            }
            if let Some(set) = self.header_set(allow.headers) {
                parts.push(format!("headers = {}", quote(set)));
            }
            if allow.shadow {
                parts.push("shadow = true".to_owned());
            }
            let line = format!("allow.{} = {{ {} }}", quote(&allow.name), parts.join(", "));
            push(out, &line);
        }
    }

    fn who(&self, who: &Who) -> String {
        let user = |ix: &u32| self.user(*ix);
        let group = |ix: &u32| Some(format!("@{}", self.ir.groups.get(*ix as usize)?.name));
        let mut out: Vec<String> = Vec::new();
        out.extend(who.anyone.then(|| "anyone".to_owned()));
        out.extend(who.any_user.then(|| "any-user".to_owned()));
        out.extend(who.groups.iter().filter_map(group));
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
        Some(self.ir.users.get(ix as usize)?.name.clone())
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
        list(&named.map(|zone| zone.name.as_str()).collect::<Vec<_>>())
    }

    fn schedules(&self, schedules: &[u32]) -> String {
        let named = schedules
            .iter()
            .filter_map(|&ix| self.ir.schedules.get(ix as usize));
        list(
            &named
                .map(|schedule| schedule.name.as_str())
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

fn mfa(mfa: Mfa) -> String {
    match mfa {
        Mfa::None => "none".to_owned(),
        Mfa::Session => "session".to_owned(),
        Mfa::Age(secs) => show_duration(secs),
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

fn upstream(upstream: &ir::Upstream) -> String {
    let scheme = if upstream.tls { "https" } else { "http" };
    let host = match upstream.host.contains(':') {
        true => format!("[{}]", upstream.host),
        false => upstream.host.clone(),
    };
    format!("{scheme}://{host}:{}", upstream.port)
}

fn push(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

fn pair(out: &mut String, key: &str, value: &str) {
    push(out, &format!("{key} = {value}"));
}

fn list<T: AsRef<str>>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(|item| quote(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

/// A basic string of TOML.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for ch in text.chars() {
        match ch {
            '"' | '\\' => {
                out.push('\\');
                out.push(ch);
            }
            ch if ch.is_control() => {
                let written = write!(out, "\\u{:04X}", u32::from(ch));
                debug_assert!(written.is_ok(), "a string takes all");
            }
            ch => out.push(ch),
        }
    }
    out.push('"');
    out
}
