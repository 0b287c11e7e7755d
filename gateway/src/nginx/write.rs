//! Writes apps as a file of the policy's language.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ipnet::IpNet;

/// Keys of an area, each with its value as it is written.
pub(super) type Keys = BTreeMap<&'static str, String>;

/// Keys that say where answers come from; one that differs brings all.
const SOURCE: [&str; 7] = [
    "upstream",
    "balance",
    "sticky",
    "static",
    "redirect",
    "strip-prefix",
    "add-prefix",
];
/// What a key says in an area that has none, inside one that has.
const NEUTRAL: [(&str, &str); 10] = [
    ("compress", "false"),
    ("cache", "false"),
    ("cors", "false"),
    ("set", "{}"),
    ("keep-app", "[]"),
    ("remove", "[]"),
    ("timeout.connect", "\"5s\""),
    ("timeout.head", "\"1m\""),
    ("timeout.idle", "\"1m\""),
    (
        "methods",
        "[\"GET\", \"POST\", \"PUT\", \"PATCH\", \"DELETE\", \"OPTIONS\"]",
    ),
];
const NOWHERE: &str = "\"http://127.0.0.1:9\"";

/// One app.
#[derive(Clone, Debug, Default)]
pub(super) struct App {
    pub(super) id: String,
    pub(super) hosts: Vec<String>,
    /// By path; `/` is there always.
    pub(super) areas: BTreeMap<String, Area>,
}

/// One area.
#[derive(Clone, Debug, Default)]
pub(super) struct Area {
    pub(super) place: String,
    pub(super) keys: Keys,
    pub(super) rate: Option<String>,
    pub(super) zone: Option<String>,
    /// Why nobody may go there.
    pub(super) closed: Option<String>,
    /// Whether a rule would be right once somebody has looked at why.
    pub(super) pending: bool,
}

/// Everything that is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) apps: Vec<App>,
    /// Rates by name.
    pub(super) rates: BTreeMap<String, String>,
    /// Networks with the name of their zone.
    pub(super) zones: BTreeMap<Vec<IpNet>, String>,
    /// Names of fields that hold the person's name, with the name of their set.
    pub(super) headers: BTreeMap<Vec<String>, String>,
}

impl Model {
    /// Returns the text of the file; `left` are lines of what is not in it.
    pub(super) fn text(&self, left: &[String]) -> String {
        let mut out = String::from(HEAD);
        out.push_str("[group]\n");
        for app in &self.apps {
            let hosts = app.hosts.join(", ");
            let _ = writeln!(out, "{} = []   # who may use {hosts}: nobody yet", app.id);
        }
        if !self.zones.is_empty() {
            out.push_str("\n[zone]\n");
        }
        let mut zones: Vec<_> = self.zones.iter().collect();
        zones.sort_by_key(|(_, name)| *name);
        for (networks, name) in zones {
            let networks = networks.iter().map(|net| quoted(&net.to_string()));
            let _ = writeln!(out, "{name} = {}", list(networks));
        }
        if !self.rates.is_empty() {
            out.push_str("\n[rate]\n");
        }
        for (name, rate) in &self.rates {
            let _ = writeln!(out, "{} = {}", key(name), quoted(rate));
        }
        for (fields, name) in &self.headers {
            let _ = writeln!(out, "\n[headers.{name}]");
            for field in fields {
                let _ = writeln!(out, "{} = \"{{user}}\"", key(field));
            }
        }
        for app in &self.apps {
            app.write(&mut out);
        }
        if !left.is_empty() {
            out.push_str("\n# Not understood, so nothing here stands for it:\n");
        }
        for line in left {
            let _ = writeln!(out, "#   {line}");
        }
        out
    }
}

impl App {
    fn write(&self, out: &mut String) {
        let none = Keys::new();
        for (path, area) in &self.areas {
            let _ = write!(out, "\n# {}\n[app.{}", area.place, self.id);
            if path == "/" {
                let hosts = self.hosts.iter().map(|host| quoted(host));
                let _ = write!(out, "]\nhost = {}", list(hosts));
                let mut keys = area.keys.clone();
                if !SOURCE.iter().any(|source| keys.contains_key(source)) {
                    let elsewhere = self.areas.values().find_map(|a| a.keys.get("upstream"));
                    keys.insert(
                        "upstream",
                        elsewhere.map_or_else(|| NOWHERE.to_owned(), String::clone),
                    );
                }
                keys_of(&keys, &none, out);
            } else {
                let _ = write!(out, ".{}]", quoted(path));
                let around = self.around(path).map_or(&none, |area| &area.keys);
                keys_of(&area.keys, around, out);
            }
            self.rule(area, out);
        }
    }

    /// The innermost area around a path.
    fn around(&self, path: &str) -> Option<&Area> {
        let bare = path.trim_start_matches('=');
        let holds = |outer: &&String| {
            let outer = outer.as_str();
            let below = bare
                .strip_prefix(outer)
                .is_some_and(|rest| rest.starts_with('/'));
            outer == "/" || (outer == bare && outer != path) || below
        };
        let outer = self
            .areas
            .keys()
            .filter(|outer| *outer != path)
            .filter(holds);
        let outer = outer.max_by_key(|outer| outer.len());
        outer.and_then(|outer| self.areas.get(outer))
    }

    fn rule(&self, area: &Area, out: &mut String) {
        let rate = area
            .rate
            .as_deref()
            .map(|rate| format!(", rate = {}", quoted(rate)));
        let zone = area
            .zone
            .as_deref()
            .map(|zone| format!(", from = {}", quoted(zone)));
        let (rate, zone) = (rate.unwrap_or_default(), zone.unwrap_or_default());
        let id = &self.id;
        let rule = format!("allow.{id} = {{ who = \"@{id}\"{zone}{rate} }}\n");
        match &area.closed {
            None => out.push_str(&rule),
            Some(why) => {
                let _ = writeln!(out, "# nobody may go here: {why}");
                if area.pending {
                    let _ = write!(out, "# {rule}");
                }
            }
        }
    }
}

/// Writes what an area says otherwise than the one around it.
fn keys_of(own: &Keys, around: &Keys, out: &mut String) {
    out.push('\n');
    let sourced = SOURCE.iter().any(|key| own.contains_key(key));
    let same_source = SOURCE.iter().all(|key| own.get(key) == around.get(key));
    for (key, value) in own {
        let source = SOURCE.contains(key);
        let again = if source {
            same_source
        } else {
            around.get(key) == Some(value)
        };
        if !again {
            let _ = writeln!(out, "{key} = {value}");
        }
    }
    for (key, neutral) in NEUTRAL {
        if sourced && around.contains_key(key) && !own.contains_key(key) {
            let _ = writeln!(out, "{key} = {neutral}");
        }
    }
}

/// Writes a text as a string of TOML.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Writes several values as a list, one as itself.
pub(super) fn list(values: impl Iterator<Item = String>) -> String {
    let values: Vec<String> = values.collect();
    match values.as_slice() {
        [one] => one.clone(),
        all => format!("[{}]", all.join(", ")),
    }
}

/// Writes the name of a key.
pub(super) fn key(name: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

const HEAD: &str = "postern = 1

# Written by `postern import nginx`. Each app has a group, and nobody is in it: write names into the groups below, or
# rules of your own in place of the `allow` lines. The line above an app or area tells where nginx says it.

";
