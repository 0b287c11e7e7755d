//! Servers become apps.

use std::collections::BTreeMap;

use super::area::Place;
use super::ledger::{Ledger, Row, Verdict};
use super::location::{self, Handler};
use super::names::Names;
use super::onward::is_onward;
use super::plain;
use super::settings::{Limit, Settings};
use super::tree::Directive;
use super::write::{App, Model, quoted};

/// What a configuration comes to.
#[derive(Debug)]
pub(crate) struct Import {
    /// The text of the policy file.
    pub(crate) text: String,
    /// Id and hosts of each app.
    pub(crate) apps: Vec<(String, Vec<String>)>,
    /// What became of each directive, in the order of the files.
    pub(crate) rows: Vec<Row>,
}

/// Turns a configuration into a policy.
pub(crate) fn translate(directives: &[Directive]) -> Import {
    let mut ledger = Ledger::new(directives);
    let mut names = Names::default();
    names.collect(directives, false, &mut ledger);
    let mut cx = Cx {
        names,
        ledger,
        model: Model::default(),
        rates: BTreeMap::new(),
    };
    let none = Settings::default();
    let outer = Settings::read(directives, &none, &cx.names, &mut cx.ledger);
    let mut servers = Vec::new();
    for d in directives {
        match (d.name.as_str(), d.block.is_some()) {
            ("http", true) => {
                cx.ledger.done(d, "what it holds is read");
                let inner = Settings::read(d.children(), &outer, &cx.names, &mut cx.ledger);
                let blocks = d.children().iter().filter(|d| is_server(d));
                servers.extend(blocks.map(|server| (server, inner.clone())));
                cx.includes(d.children());
            }
            ("events", true) => {
                let says = "sockets and threads need no settings";
                cx.ledger.done(d, says);
                cx.ledger.within(d, Verdict::Done, says);
            }
            (_, true) if is_server(d) => servers.push((d, outer.clone())),
            _ => {}
        }
    }
    cx.includes(directives);
    // of two servers of one name the one with TLS is the app
    servers.sort_by_key(|(server, _)| !is_tls(server));
    for (server, outer) in servers {
        cx.server(server, &outer);
    }
    let rows = cx.ledger.rows(directives);
    let left = rows
        .iter()
        .filter(|row| row.verdict == Verdict::NotUnderstood);
    let left: Vec<String> = left
        .map(|row| format!("{}  {}", row.place(), row.directive))
        .collect();
    Import {
        text: cx.model.text(&left),
        apps: cx
            .model
            .apps
            .iter()
            .map(|app| (app.id.clone(), app.hosts.clone()))
            .collect(),
        rows,
    }
}

/// What servers share.
pub(super) struct Cx {
    pub(super) names: Names,
    pub(super) ledger: Ledger,
    pub(super) model: Model,
    rates: BTreeMap<(String, u32), String>,
}

impl Cx {
    /// Files that an `include` names stand behind it; what they hold has entries of its own.
    fn includes(&mut self, block: &[Directive]) {
        for d in block {
            match d.name.as_str() {
                "include" => self.ledger.done(
                    d,
                    "read in its place, or a file of nginx's own that says nothing of apps",
                ),
                "server" | "location" => self.includes(d.children()),
                _ => {}
            }
        }
    }

    fn server(&mut self, d: &Directive, outer: &Settings) {
        let hosts = self.hosts(d);
        self.listens(d);
        let tls = is_tls(d);
        if !tls && sends_on(d, &hosts) && !serves(d) {
            let says = "who comes without TLS is sent on to HTTPS";
            self.ledger.within(d, Verdict::Done, says);
            return self.ledger.done(d, says);
        }
        let refuses = |inner: &Directive| inner.name == "return" && inner.arg(0).starts_with('4');
        if hosts.is_empty() {
            if !serves(d) && d.children().iter().any(refuses) {
                let says = "a host that no app has is answered by nothing";
                self.ledger.within(d, Verdict::Done, says);
                return self.ledger.done(d, says);
            }
            let says =
                "in a server without a name; an app has a host, and nothing answers for all others";
            self.ledger.within(d, Verdict::NotUnderstood, says);
            return self
                .ledger
                .unknown(d, "no server_name that is a host; an app needs one");
        }
        let taken = |host: &&String| self.model.apps.iter().any(|app| app.hosts.contains(host));
        if let Some(host) = hosts.iter().find(taken) {
            let says = format!("{host} has an app already");
            self.ledger.within(d, Verdict::NotUnderstood, &says);
            return self.ledger.unknown(d, says);
        }
        let id = self.id(hosts.first().map_or("", String::as_str));
        self.ledger.carried(
            d,
            format!("[app.{id}], which nobody may use until names stand in the group {id}"),
        );
        let mut app = App {
            id,
            hosts,
            areas: BTreeMap::new(),
        };
        self.areas(d, outer, &mut app);
        self.model.apps.push(app);
    }

    /// Reads `server_name`.
    fn hosts(&mut self, d: &Directive) -> Vec<String> {
        let mut hosts: Vec<String> = Vec::new();
        for line in d
            .children()
            .iter()
            .filter(|inner| inner.name == "server_name")
        {
            let (mut odd, mut wild) = (Vec::new(), false);
            for word in &line.args {
                let (bare, both) = match (word.strip_prefix("*."), word.strip_prefix('.')) {
                    (Some(rest), _) => (rest, vec![word.to_ascii_lowercase()]),
                    (None, Some(rest)) => (
                        rest,
                        vec![
                            rest.to_ascii_lowercase(),
                            format!("*{}", word.to_ascii_lowercase()),
                        ],
                    ),
                    (None, None) => (word.as_str(), vec![word.to_ascii_lowercase()]),
                };
                let lower = bare.to_ascii_lowercase();
                let sound = policy::canon::host(&lower)
                    .is_ok_and(|h| h.as_str() == lower && !h.is_address());
                if sound {
                    wild |= both.iter().any(|host| host.starts_with('*'));
                    hosts.extend(both);
                } else {
                    odd.push(word.escape_debug().to_string());
                }
            }
            let shown = hosts
                .iter()
                .map(|host| quoted(host))
                .collect::<Vec<_>>()
                .join(", ");
            match odd.as_slice() {
                [] if wild => self
                    .ledger
                    .differs(line, format!("host = [{shown}]; a * stands for one label")),
                [] => self.ledger.carried(line, format!("host = [{shown}]")),
                [one] if one == "_" => self
                    .ledger
                    .done(line, "a host that no app has is answered by nothing"),
                odd => {
                    let odd = odd.join(", ");
                    self.ledger.unknown(
                        line,
                        format!(
                            "no hosts: {odd}; write names such as app.example.org or *.example.org"
                        ),
                    );
                }
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        hosts.retain(|host| seen.insert(host.clone()));
        hosts
    }

    fn listens(&mut self, d: &Directive) {
        for line in d.children().iter().filter(|inner| inner.name == "listen") {
            let port = line.arg(0).rsplit(':').next().unwrap_or_default();
            let quic = line.args.iter().any(|arg| arg == "quic" || arg == "http3");
            if quic {
                self.ledger
                    .differs(line, "HTTP/2 and HTTP/1.1; HTTP/3 is not spoken");
            } else if line.arg(0).starts_with("unix:") {
                self.ledger
                    .unknown(line, "apps are reached by the doors of the gateway alone");
            } else if matches!(port, "80" | "443") || port.contains(['.', ']', '*']) {
                self.ledger.done(
                    line,
                    "the doors stand in [http] of postern.toml, HTTP/2 among them",
                );
            } else {
                self.ledger.differs(
                    line,
                    "all apps are behind the doors of [http] in postern.toml, ports 443 and 80",
                );
            }
        }
    }

    /// Names an app after its host.
    fn id(&self, host: &str) -> String {
        let labels = || host.trim_start_matches("*.").split('.');
        let label = labels()
            .find(|label| *label != "www" && !label.is_empty())
            .unwrap_or("app");
        let kept =
            |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
        let label: String = label.chars().filter(kept).take(40).collect();
        let label = if label.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            label
        } else {
            format!("app{label}")
        };
        let free = |id: &String| {
            let reserved = ["admins", "anyone", "any-user", "root"].contains(&id.as_str());
            !reserved && self.model.apps.iter().all(|app| app.id != *id)
        };
        let numbered = (2_u32..).map(|n| format!("{label}-{n}"));
        let mut all = std::iter::once(label.clone()).chain(numbered);
        all.find(free).unwrap_or(label)
    }

    /// Names the tier of a limit.
    pub(super) fn rate(&mut self, limit: &Limit) -> Option<String> {
        let (count, unit) = self.names.rates.get(&limit.zone).copied().flatten()?;
        let wanted = (limit.zone.clone(), limit.burst);
        if let Some(name) = self.rates.get(&wanted) {
            return Some(name.clone());
        }
        let kept = |c: char| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        };
        let base: String = limit.zone.chars().map(kept).take(40).collect();
        let base = base.trim_matches('-');
        let base = if base.is_empty() { "rate" } else { base };
        let numbered = (2_u32..).map(|n| format!("{base}-{n}"));
        let name = std::iter::once(base.to_owned())
            .chain(numbered)
            .find(|name| !self.model.rates.contains_key(name))?;
        self.model.rates.insert(
            name.clone(),
            format!("{count}/{unit} burst {}", limit.burst),
        );
        self.rates.insert(wanted, name.clone());
        Some(name)
    }

    fn areas(&mut self, d: &Directive, outer: &Settings, app: &mut App) {
        let mut settings = Settings::read(d.children(), outer, &self.names, &mut self.ledger);
        let own = location::handler(
            d.children(),
            "/",
            &mut settings,
            &self.names,
            &mut self.ledger,
        );
        let answers = matches!(own, Handler::Closed(_) | Handler::Redirect(..));
        let mut places = vec![Place {
            path: "/".to_owned(),
            at: d,
            settings,
            handler: own,
            whole: true,
        }];
        let mut named = BTreeMap::new();
        for inner in d.children().iter().filter(|inner| is_named(inner)) {
            named.insert(inner.arg(0), inner);
        }
        let mut barred = Vec::new();
        if answers {
            let says = "never reached: the server itself answers";
            self.ledger.within(d, Verdict::Done, says);
        } else {
            self.locations(d, &mut places, &mut barred);
        }
        for place in &mut places {
            self.tried(place, &named);
        }
        for inner in named.values() {
            let says = "in a location that nothing leads to";
            self.ledger.mark(inner.id, Verdict::Done, says);
            self.ledger.within(inner, Verdict::Done, says);
        }
        // what the server says stands for `/` unless a location does
        if places.iter().skip(1).any(|place| place.path == "/") {
            places.remove(0);
        }
        // an expression comes before every path in nginx but one that is written with `=`
        for place in places
            .iter_mut()
            .filter(|place| !place.path.starts_with('='))
        {
            place.settings.barred.extend(barred.iter().cloned());
        }
        self.build(d, places, app);
    }

    /// Collects the locations of a block with those within them.
    fn locations<'a>(
        &mut self,
        d: &'a Directive,
        places: &mut Vec<Place<'a>>,
        barred: &mut Vec<String>,
    ) {
        let around = places
            .last()
            .map(|place| (place.path.clone(), place.settings.clone()));
        let Some((_, outer)) = around else { return };
        for inner in d
            .children()
            .iter()
            .filter(|inner| inner.name == "location" && !is_named(inner))
        {
            if inner
                .args
                .iter()
                .any(|arg| arg.contains("/.well-known/acme-challenge"))
            {
                let says = "the gateway answers for its own certificates";
                self.ledger.within(inner, Verdict::Done, says);
                self.ledger.done(inner, says);
                continue;
            }
            if location::hides_dots(inner) {
                let says = "no folder gives out files that begin with a dot; an app's own are for the app to hide";
                self.ledger.within(inner, Verdict::Differs, says);
                self.ledger.differs(inner, says);
                continue;
            }
            let path = location::pattern(inner)
                .filter(|path| places.iter().skip(1).all(|place| place.path != *path));
            let Some(path) = path else {
                let says = "an area is a path of whole segments, once in an app; requests there fall to the area around it";
                self.ledger.unknown(inner, says);
                self.ledger.within(
                    inner,
                    Verdict::NotUnderstood,
                    "in a location that is not carried over",
                );
                if bars(inner) || serves(inner) {
                    barred.push(inner.place());
                }
                continue;
            };
            let says = match path.strip_prefix('=') {
                _ if path == "/" => "the app itself".to_owned(),
                Some(exact) => format!("area \"={exact}\": this path alone"),
                None => format!(
                    "area {}: this path and whole segments below it",
                    quoted(&path)
                ),
            };
            self.ledger.carried(inner, says);
            if let Some(beside) = location::beside(inner) {
                let says = format!(
                    "nginx takes {} and the like here too; they are of the area around it",
                    quoted(&beside)
                );
                let what = "a slash behind the path";
                self.ledger.implied(inner, what, Verdict::Differs, says);
            }
            let mut settings =
                Settings::read(inner.children(), &outer, &self.names, &mut self.ledger);
            let handler = location::handler(
                inner.children(),
                &path,
                &mut settings,
                &self.names,
                &mut self.ledger,
            );
            places.push(Place {
                path,
                at: inner,
                settings,
                handler,
                whole: false,
            });
            self.locations(inner, places, barred);
        }
    }

    /// Follows `try_files` to a named location.
    fn tried<'a>(&mut self, place: &mut Place<'a>, named: &BTreeMap<&str, &'a Directive>) {
        let Some(tries) = place.settings.tries.clone() else {
            return;
        };
        let Some(target) = tries.value.last().and_then(|last| named.get(last.as_str())) else {
            if !matches!(place.handler, Handler::Files(_)) {
                self.ledger.mark(
                    tries.id,
                    Verdict::NotUnderstood,
                    "no files are looked for where something else answers",
                );
            }
            return;
        };
        let outer = place.settings.clone();
        let mut settings = Settings::read(target.children(), &outer, &self.names, &mut self.ledger);
        place.handler = location::handler(
            target.children(),
            &place.path,
            &mut settings,
            &self.names,
            &mut self.ledger,
        );
        place.settings = settings;
        self.ledger
            .carried(target, "what answers where try_files leads to it");
        self.ledger.mark(
            tries.id,
            Verdict::NotUnderstood,
            "no files are looked for first: what it names last is asked for all",
        );
    }
}

fn is_server(d: &Directive) -> bool {
    d.name == "server" && d.block.is_some()
}

fn is_named(d: &Directive) -> bool {
    d.name == "location" && d.arg(0).starts_with('@')
}

fn is_tls(d: &Directive) -> bool {
    d.children().iter().any(|inner| {
        let words = || inner.args.iter().map(String::as_str);
        let listens = inner.name == "listen"
            && (words().any(|w| w == "ssl" || w == "quic") || inner.arg(0).ends_with("443"));
        listens || (inner.name == "ssl" && inner.arg(0) == "on")
    })
}

/// Whether a server or a block within it sends browsers on to the same host by HTTPS.
fn sends_on(d: &Directive, hosts: &[String]) -> bool {
    d.children().iter().any(|inner| match inner.name.as_str() {
        "return" => inner.arg(0).starts_with("30") && is_onward(inner.arg(1), hosts),
        "rewrite" => {
            matches!(inner.arg(2), "permanent" | "redirect")
                && is_onward(inner.arg(1).trim_end_matches('?'), hosts)
        }
        "if" | "location" => sends_on(inner, hosts),
        _ => false,
    })
}

/// Whether a server asks an app.
fn serves(d: &Directive) -> bool {
    d.children()
        .iter()
        .any(|inner| inner.name.ends_with("_pass") || serves(inner))
}

/// Whether a block keeps people out.
fn bars(d: &Directive) -> bool {
    d.children().iter().any(|inner| {
        let refuses = inner.name == "return" && inner.arg(0).starts_with('4');
        plain::bars(&inner.name) || refuses || inner.name.starts_with("auth_") || bars(inner)
    })
}
