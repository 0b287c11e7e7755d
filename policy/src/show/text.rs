//! A policy laid out for people.

use super::{Show, ShownGuard, ShownRule};

impl Show {
    /// Renders it for a terminal, ending in a line break.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for guard in &self.guards {
            head(&mut out, &guard.id, guard.at.as_deref(), guard.shadow);
            out.push_str(&format!("  {}\n", guard.reason));
            out.push_str(&format!("  refuses {}\n", conditions(guard)));
        }
        for app in &self.apps {
            part(&mut out);
            out.push_str(&format!(
                "{}  {} -> {}\n",
                app.id,
                app.hosts.join(", "),
                app.upstream
            ));
            for area in &app.areas {
                out.push_str("  ");
                head(&mut out, &area.id, area.at.as_deref(), area.shadow);
                if let Some(reason) = &area.public {
                    out.push_str(&format!("    open to the world: {reason}\n"));
                }
                if area.device_only {
                    out.push_str("    an open tunnel device needs no cookie\n");
                }
                if let Some(most) = &area.tokens {
                    out.push_str(&format!("    takes tokens up to {most} old\n"));
                }
                if let Some(hold) = &area.justify {
                    out.push_str(&format!(
                        "    asks people why they come; a reason holds {hold}\n"
                    ));
                }
                rules(&mut out, "    ", &area.rules);
            }
        }
        for net in &self.nets {
            part(&mut out);
            head(&mut out, &net.id, net.at.as_deref(), false);
            out.push_str(&format!(
                "  {}  {}\n",
                net.to.join(", "),
                net.ports.join(", ")
            ));
            rules(&mut out, "  ", &net.rules);
        }
        if let Some(admin) = &self.admin {
            part(&mut out);
            out.push_str("admin\n");
            rules(&mut out, "  ", admin);
        }
        out
    }
}

/// Keeps parts an empty line apart.
fn part(out: &mut String) {
    if !out.is_empty() {
        out.push('\n');
    }
}

fn head(out: &mut String, id: &str, at: Option<&str>, shadow: bool) {
    let at = at.map(|at| format!("    {at}")).unwrap_or_default();
    let shadow = if shadow {
        "  (in shadow, not in force)"
    } else {
        ""
    };
    out.push_str(&format!("{id}{shadow}{at}\n"));
}

fn rules(out: &mut String, indent: &str, rules: &[ShownRule]) {
    if rules.is_empty() {
        out.push_str(&format!("{indent}nobody\n"));
    }
    for rule in rules {
        let name = rule.id.rsplit_once('#').map_or("", |(_, name)| name);
        let shadow = if rule.shadow {
            "  (in shadow, not in force)"
        } else {
            ""
        };
        let asks = asks(rule);
        let asks = if asks.is_empty() {
            String::new()
        } else {
            format!("; {asks}")
        };
        out.push_str(&format!("{indent}#{name}  {}{asks}{shadow}\n", rule.who));
    }
}

fn asks(rule: &ShownRule) -> String {
    let parts = [
        ("from", &rule.from),
        ("in", &rule.when),
        ("device", &rule.device),
        ("code", &rule.mfa),
        ("sign-in", &rule.login),
        ("idle", &rule.idle),
        ("sessions", &rule.sessions),
        ("methods", &rule.methods),
        ("rate", &rule.rate),
    ];
    let said = parts.iter().filter_map(|(name, value)| {
        let value = value.as_deref()?;
        Some(match *name {
            "code" if value == "session" => "a code in this session".to_owned(),
            "code" | "sign-in" => format!("{name} at most {value} old"),
            "idle" => format!("session ends {value} after its last use"),
            "sessions" => format!("at most {value} sessions"),
            name => format!("{name} {value}"),
        })
    });
    said.collect::<Vec<_>>().join("; ")
}

fn conditions(guard: &ShownGuard) -> String {
    let mut parts = vec![guard.who.clone().unwrap_or_else(|| "everybody".to_owned())];
    let mut say = |lead: &str, value: &Option<String>| {
        parts.extend(value.as_ref().map(|value| format!("{lead} {value}")));
    };
    say("from", &guard.from);
    say("in", &guard.when);
    say("except in", &guard.unless_when);
    say("with a device below", &guard.device_not);
    let on = guard
        .on
        .as_ref()
        .map_or_else(|| "everything".to_owned(), |on| on.join(", "));
    parts.push(format!("on {on}"));
    parts.join("; ")
}
