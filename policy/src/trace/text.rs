//! An explanation for people.

use super::Explanation;

impl Explanation {
    /// Renders the answer for a terminal, one finding a line, ending in a line break.
    pub fn to_text(&self) -> String {
        let digest: String = self.digest.chars().take(12).collect();
        let mut out = format!(
            "{}  {}    policy {digest}\n",
            self.outcome.as_str().to_uppercase(),
            self.rule
        );
        if let Some(app) = &self.app {
            line(&mut out, "on", app);
        }
        if let Some(area) = &self.area {
            line(&mut out, "area", area);
        }
        if let Some(at) = &self.at {
            line(&mut out, "at", at);
        }
        for note in &self.notes {
            line(&mut out, "", note);
        }
        for guard in &self.guards {
            line(&mut out, guard, "holds");
        }
        for guard in &self.guards_passed {
            line(&mut out, &guard.rule, &format!("no   {}", guard.why));
        }
        for allow in &self.allows {
            let name = allow.rule.rsplit_once('#').map_or("", |(_, name)| name);
            let answer = if allow.ok { "yes" } else { "no " };
            let holds = match allow.ok || allow.holds.is_empty() {
                true => String::new(),
                false => format!("   (holds: {})", allow.holds.join(", ")),
            };
            line(
                &mut out,
                &format!("#{name}"),
                &format!("{answer}  {}{holds}", allow.why),
            );
        }
        if let Some(set) = &self.headers {
            line(&mut out, "headers", set);
        }
        if let Some(hold) = &self.justify {
            line(&mut out, "asks", &format!("why; a reason holds {hold}"));
        }
        if let Some(shadow) = &self.shadow {
            line(&mut out, "with shadow rules", shadow);
        }
        if !self.would_allow.is_empty() {
            line(
                &mut out,
                "would be allowed by:",
                &self.would_allow.join(", or "),
            );
        }
        out
    }
}

fn line(out: &mut String, name: &str, text: &str) {
    out.push_str(&format!("  {name:<22} {text}\n"));
}
