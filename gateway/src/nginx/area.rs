//! Locations become areas.

use super::access::From;
use super::fields;
use super::ledger::{Ledger, Verdict};
use super::location::{self, Handler};
use super::measure::{show_secs, show_size};
use super::pass::Pass;
use super::server::Cx;
use super::settings::Settings;
use super::tree::Directive;
use super::write::{App, Area, Keys, quoted};

/// What nginx takes of a body unless told.
const BODY: u64 = 1 << 20;
/// What Streamlit takes of a body unless told.
const STREAMLIT: u64 = 200 << 20;
/// The longest wait for an ordinary answer that is carried over where a `WebSocket` may be opened, in seconds.
const ORDINARY: u32 = 3600;
/// Keys that say where answers come from.
const SOURCE: [&str; 5] = [
    "upstream",
    "balance",
    "sticky",
    "strip-prefix",
    "add-prefix",
];

/// A location with what it took over.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) path: String,
    pub(super) at: &'a Directive,
    pub(super) settings: Settings,
    pub(super) handler: Handler,
    /// Whether it is the server itself.
    pub(super) whole: bool,
}

impl Cx {
    /// Writes the areas of an app.
    pub(super) fn build(&mut self, server: &Directive, places: Vec<Place<'_>>, app: &mut App) {
        let root = places.iter().find(|place| place.path == "/");
        let of_root = match root.map(|place| &place.handler) {
            Some(Handler::Pass(pass, ..)) => Some(pass.clone()),
            Some(_) | None => None,
        };
        let mut source = Keys::new();
        if let Some(place) = root {
            location::keys(
                &place.handler,
                "/",
                &place.settings,
                &mut source,
                &mut self.ledger,
            );
        }
        source.retain(|key, _| SOURCE.contains(key));
        let mut sizes_said = true;
        let (mut sizes, mut idle_sizes) = (Vec::new(), Vec::new());
        let asked = root.map(|place| place.settings.clone());
        for mut place in places {
            if let (Handler::None, Some(asked), Some(_)) = (&place.handler, &asked, &of_root) {
                // the app answers there as it does at its root
                let settings = &mut place.settings;
                settings.upgrade = settings.upgrade.or(asked.upgrade);
                settings.connect = settings.connect.or(asked.connect);
                settings.read = settings.read.or(asked.read);
            }
            let answering = match &place.handler {
                Handler::Pass(pass, ..) => Some(pass.clone()),
                Handler::None if place.path != "/" => of_root.clone(),
                Handler::None | Handler::Files(_) | Handler::Redirect(..) | Handler::Closed(_) => {
                    None
                }
            };
            let plain_size = place.settings.body_max.is_none() && answering.is_some();
            sizes_said &= !plain_size;
            let area = self.area(&place, answering.as_ref(), &source);
            if let Some(said) = place.settings.body_max {
                match (&answering, &area.closed) {
                    (Some(_), _) => sizes.push(said.id),
                    (None, None) => idle_sizes.push(said.id),
                    (None, Some(_)) => {}
                }
            }
            app.areas.insert(place.path, area);
        }
        // what stands around the server counts for others too
        idle_sizes.retain(|id| !sizes.contains(id) && server.holds(*id));
        for id in idle_sizes {
            let says =
                "no app answers here: files and redirects take no bodies, whatever their size";
            self.ledger.mark(id, Verdict::Differs, says);
        }
        self.implied(server, app, of_root.as_ref(), sizes_said);
    }

    fn area(&mut self, place: &Place<'_>, pass: Option<&Pass>, source: &Keys) -> Area {
        let (at, settings) = (place.at, &place.settings);
        let mut area = Area {
            place: at.place(),
            ..Area::default()
        };
        let keys = &mut area.keys;
        area.closed = location::keys(
            &place.handler,
            &place.path,
            settings,
            keys,
            &mut self.ledger,
        );
        let denied = settings.from == Some(From::Nowhere);
        match &place.handler {
            _ if denied => area.closed = Some(format!("{} denies all", at.place())),
            Handler::Closed(why) => area.closed = Some(why.clone()),
            Handler::None if pass.is_some() => {
                keys.extend(source.clone());
                let path = quoted(&place.path);
                let says = format!(
                    "area {path}: the app's upstream answers, where nginx looks for a file in its default folder"
                );
                self.ledger.differs(at, says);
            }
            Handler::None => {
                let says = format!("{} says nothing of where answers come from", at.place());
                area.closed = Some(says);
                if !place.whole {
                    self.ledger.differs(
                        at,
                        "nginx looks for a file in its default folder here; nobody may go there",
                    );
                }
            }
            Handler::Pass(..) | Handler::Files(_) | Handler::Redirect(..) => {}
        }
        if let Some(why) = &area.closed {
            let verdict = if !denied && matches!(place.handler, Handler::Files(_)) {
                Verdict::NotUnderstood
            } else {
                Verdict::Carried
            };
            self.ledger.mark(
                at.id,
                verdict,
                format!("no rule, so that nobody may go there: {why}"),
            );
            if !place.whole {
                self.ledger.idle(at, "in an area without a rule");
            }
            return area;
        }
        if let Some(pass) = pass {
            request(settings, pass, keys, &mut self.ledger);
        }
        answer(settings, pass.is_some(), keys, &mut self.ledger);
        self.told(settings, keys);
        area.rate = settings.limit.as_ref().and_then(|limit| self.rate(limit));
        match &settings.from {
            Some(From::Networks(networks)) => {
                let next = format!("net-{}", self.model.zones.len() + 1);
                let name = self.model.zones.entry(networks.clone()).or_insert(next);
                area.zone = Some(name.clone());
            }
            Some(From::Nowhere | From::Everywhere) | None => {}
        }
        if let Some(first) = settings.barred.first() {
            area.closed = Some(format!(
                "{first} is not carried over and may keep people out or answer in the app's place; look, then take the mark off the next line"
            ));
            area.pending = true;
        }
        area
    }

    fn told(&mut self, settings: &Settings, keys: &mut Keys) {
        if settings.told.is_empty() {
            return;
        }
        let mut told: Vec<String> = settings.told.iter().cloned().collect();
        told.dedup_by_key(|name| name.to_ascii_lowercase());
        let next = format!("person-{}", self.model.headers.len() + 1);
        let name = self.model.headers.entry(told).or_insert(next);
        keys.insert("headers", quoted(name));
    }

    /// Tells what nginx does without being told, and where the gateway does something else.
    fn implied(&mut self, server: &Directive, app: &App, pass: Option<&Pass>, sizes_said: bool) {
        if !sizes_said {
            let (verdict, more) = match pass {
                Some(pass) if pass.is_streamlit() => (Verdict::Differs, streamlit(BODY)),
                Some(_) | None => (Verdict::Carried, String::new()),
            };
            let says = format!("body-max = \"1MiB\", which is nginx's own limit{more}");
            self.ledger
                .implied(server, "client_max_body_size", verdict, says);
        }
        let root = app.areas.get("/");
        let has = |key: &str, value: &str| {
            root.is_some_and(|root| root.keys.get(key).is_some_and(|v| v == value))
        };
        if has("websocket", "false") {
            let says = "websocket = false: nginx passes none on unless told; take it out if the app has some";
            self.ledger.implied(
                server,
                "proxy_set_header Upgrade",
                Verdict::Carried,
                says.to_owned(),
            );
        }
        if root.is_some_and(|root| {
            root.closed.is_none()
                && !root.keys.contains_key("preset")
                && !root.keys.contains_key("keep-app")
        }) {
            let says = "X-Content-Type-Options, X-Frame-Options and Referrer-Policy stand on answers where nothing sets them; preset = \"none\" takes them off";
            self.ledger
                .implied(server, "add_header", Verdict::Differs, says.to_owned());
        }
    }
}

/// What an app is asked: sizes, times, methods.
fn request(settings: &Settings, pass: &Pass, keys: &mut Keys, ledger: &mut Ledger) {
    let size = settings.body_max.map_or(BODY, |said| said.value);
    keys.insert("body-max", quoted(&show_size(size)));
    if let Some(said) = settings
        .body_max
        .filter(|said| pass.is_streamlit() && said.value != STREAMLIT)
    {
        let says = format!("body-max = \"{}\"{}", show_size(size), streamlit(size));
        ledger.mark(said.id, Verdict::Differs, says);
    }
    let websocket = settings.upgrade == Some(true);
    if !pass.is_http2() {
        keys.insert("websocket", websocket.to_string());
    }
    if let Some(secs) = settings.connect {
        keys.insert("timeout.connect", quoted(&show_secs(secs)));
    }
    let Some(read) = settings.read else { return };
    let time = quoted(&show_secs(read.value));
    if websocket {
        keys.insert("timeout.stream", time.clone());
    }
    if websocket && read.value > ORDINARY {
        let says = format!(
            "timeout.stream = {time}, for WebSockets; an ordinary answer begins within a minute, or longer by timeout.head"
        );
        return ledger.mark(read.id, Verdict::Differs, says);
    }
    keys.insert("timeout.head", time.clone());
    keys.insert("timeout.idle", time);
}

fn streamlit(size: u64) -> String {
    let what = if size < STREAMLIT {
        "larger uploads get 413 here"
    } else {
        "larger uploads are refused there"
    };
    format!(
        "; port 8501 looks like Streamlit, whose own limit is 200 MB (server.maxUploadSize): {what}, so set both alike"
    )
}

/// What its answers get.
fn answer(settings: &Settings, passed: bool, keys: &mut Keys, ledger: &mut Ledger) {
    fields::keys(&settings.fields, settings.expires.as_deref(), keys, ledger);
    if !settings.hide.is_empty() {
        let names: Vec<String> = settings.hide.iter().map(|name| quoted(name)).collect();
        keys.insert("remove", format!("[{}]", names.join(", ")));
    }
    if let Some(methods) = &settings.methods {
        let methods: Vec<String> = methods.iter().map(|method| quoted(method)).collect();
        keys.insert("methods", format!("[{}]", methods.join(", ")));
    }
    if settings.gzip == Some(true) {
        let own = settings.gzip_types.as_deref().unwrap_or_default();
        let html = "text/html".to_owned();
        let mut types: Vec<&String> = own.iter().chain([&html]).collect();
        types.sort_unstable();
        types.dedup();
        let types: Vec<String> = types.iter().map(|kind| quoted(kind)).collect();
        let min = show_size(settings.gzip_min.unwrap_or(20));
        let level = settings.gzip_level.unwrap_or(1);
        let text = format!(
            "{{ types = [{}], min = \"{min}\", level = {level} }}",
            types.join(", ")
        );
        keys.insert("compress", text);
    }
    let cache = settings.cache.filter(|said| said.value && passed);
    if let (Some(said), None) = (cache, settings.cache_ttl) {
        let says = "nothing is kept: no proxy_cache_valid says for how long";
        ledger.mark(said.id, Verdict::NotUnderstood, says);
    }
    if let (Some(_), Some(ttl)) = (cache, settings.cache_ttl) {
        let stale = if settings.cache_stale == Some(true) {
            ", stale = \"1h\""
        } else {
            ""
        };
        keys.insert(
            "cache",
            format!("{{ ttl = \"{}\"{stale} }}", show_secs(ttl)),
        );
    }
}
