//! Apps, nets, guards and the console, with their rules.

use std::fmt::Display;

use super::super::front;
use super::super::keys::{self, Keys};
use super::super::read::Reader;
use super::super::tree::{Entry, Table};
use super::super::{AllowAst, AllowKey, AppAst, AreaAst, Def, GuardAst, NetAst, Words};
use crate::diag::{Diagnostic, Shown, show};

pub(super) fn admin(r: &mut Reader<'_>, table: Table<'_>) -> Vec<Def<AllowAst>> {
    let mut rules: Vec<Def<AllowAst>> = Vec::new();
    let mut shadow = false;
    for e in table.entries() {
        match e.key {
            "allow" => rules = allows(r, &e, keys::ALLOW_ADMIN, &"admin"),
            "shadow" => shadow = r.boolean(&e).unwrap_or(true),
            _ => r.stray_key(&e, keys::ADMIN, "[admin]"),
        }
    }
    for rule in &mut rules {
        rule.body.shadow |= shadow;
    }
    rules
}

pub(super) fn app(r: &mut Reader<'_>, entry: &Entry<'_>) -> Option<AppAst> {
    let table = r.table(entry)?;
    let id: &dyn Display = &format_args!("app.{}", Shown(entry.key));
    let mut app = AppAst::default();
    let areas = |e: &Entry<'_>| e.key.starts_with(['/', '=']);
    app.areas = Vec::with_capacity(table.entries().filter(areas).count());
    for e in table.entries() {
        match e.key {
            "host" => app.host = r.strings(&e).map(|list| list.v),
            "headers" => app.headers = r.string(&e),
            "windows" => app.windows = r.boolean(&e).unwrap_or(true),
            // a value of the wrong type is an error, so its reading does not matter
            "path-params" => app.path_params = r.boolean(&e).unwrap_or(false),
            "encoded-slashes" => app.encoded_slashes = r.boolean(&e).unwrap_or(false),
            "empty-segments" => app.empty_segments = r.boolean(&e).unwrap_or(false),
            "preflight" => app.preflight = r.boolean(&e).unwrap_or(false),
            "shadow" => app.shadow = r.boolean(&e).unwrap_or(true),
            "case-insensitive" => app.case_insensitive = r.boolean(&e).unwrap_or(true),
            "public" | "device-only" | "tokens" | "allow" => area_key(r, &e, &mut app.root, id),
            key if front::KEYS.contains(&key) => front_key(r, &e, &mut app.root, id),
            key if key.starts_with(['/', '=']) => app.areas.extend(area(r, &e, id)),
            _ => r.stray_key(&e, keys::APP, format_args!("[{id}]")),
        }
    }
    r.require(
        table,
        entry.span,
        format_args!("[{id}]"),
        "host",
        "\"name.example\"",
    );
    front_end(r, &mut app.root, id);
    if !["static", "redirect"].iter().any(|key| table.contains(key)) {
        r.require(
            table,
            entry.span,
            format_args!("[{id}]"),
            "upstream",
            "\"http://host:port\"",
        );
    }
    Some(app)
}

fn area(r: &mut Reader<'_>, entry: &Entry<'_>, app: &dyn Display) -> Option<Def<AreaAst>> {
    let table = r.table(entry)?;
    let id: &dyn Display = &format_args!("{app}{}", Shown(entry.key));
    let mut area = AreaAst::default();
    for e in table.entries() {
        match e.key {
            "public" | "device-only" | "tokens" | "allow" => area_key(r, &e, &mut area, id),
            key if front::KEYS.contains(&key) => front_key(r, &e, &mut area, id),
            "headers" => area.headers = r.string(&e),
            "shadow" => area.shadow = r.boolean(&e).unwrap_or(true),
            "host" | "windows" | "case-insensitive" | "path-params" | "encoded-slashes"
            | "empty-segments" | "preflight" => r.push(
                Diagnostic::error(
                    "misplaced",
                    e.span,
                    format!("`{}` belongs to the app, not to an area", e.key),
                )
                .help(format!("move it to [{app}]")),
            ),
            key if key.starts_with(['/', '=']) => r.push(
                Diagnostic::error(
                    "misplaced",
                    e.span,
                    format!("area `{}` inside area {id}", show(key)),
                )
                .help(format!("write it beside: [{app}.\"/whole/path\"]")),
            ),
            _ => r.stray_key(&e, keys::AREA, format_args!("[{id}]")),
        }
    }
    front_end(r, &mut area, id);
    Some(Def {
        name: r.word(entry),
        body: area,
    })
}

fn front_key(r: &mut Reader<'_>, e: &Entry<'_>, area: &mut AreaAst, id: &dyn Display) {
    front::key(r, e, area.front.get_or_insert_default(), id);
}

fn front_end(r: &mut Reader<'_>, area: &mut AreaAst, id: &dyn Display) {
    if let Some(front) = &mut area.front {
        front::finish(r, front, id);
    }
}

fn area_key(r: &mut Reader<'_>, e: &Entry<'_>, area: &mut AreaAst, id: &dyn Display) {
    match e.key {
        "public" => area.public = r.string(e),
        // a value of the wrong type is an error, so its reading does not matter
        "device-only" => area.device_only = r.boolean(e).unwrap_or(false),
        "tokens" => area.tokens = r.string(e),
        _ => area.allows = allows(r, e, keys::ALLOW, id),
    }
}

pub(super) fn net(r: &mut Reader<'_>, entry: &Entry<'_>) -> Option<NetAst> {
    let table = r.table(entry)?;
    let id: &dyn Display = &format_args!("net.{}", Shown(entry.key));
    let mut net = NetAst::default();
    for e in table.entries() {
        match e.key {
            "to" => net.to = r.strings(&e).map(|list| list.v),
            "shadow" => net.shadow = r.boolean(&e).unwrap_or(true),
            "port" => net.port = r.strings(&e).map(|list| list.v),
            "allow" => net.allows = allows(r, &e, keys::ALLOW_PLAIN, id),
            _ => r.stray_key(&e, keys::NET, format_args!("[{id}]")),
        }
    }
    r.require(
        table,
        entry.span,
        format_args!("[{id}]"),
        "to",
        "\"192.168.1.100\"",
    );
    r.require(
        table,
        entry.span,
        format_args!("[{id}]"),
        "port",
        "\"22/tcp\"",
    );
    Some(net)
}

pub(super) fn guard(r: &mut Reader<'_>, entry: &Entry<'_>) -> Option<GuardAst> {
    let table = r.table(entry)?;
    let mut guard = GuardAst::default();
    for e in table.entries() {
        match e.key {
            "who" => guard.who = r.strings(&e),
            "from" => guard.from = r.strings(&e),
            "when" => guard.when = r.strings(&e),
            "unless-when" => guard.unless_when = r.strings(&e),
            "shadow" => guard.shadow = r.boolean(&e).unwrap_or(true),
            "device-not" => guard.device_not = r.string(&e),
            "on" => guard.on = r.strings(&e),
            "reason" => guard.reason = r.string(&e),
            _ => r.stray_key(&e, keys::DENY, format_args!("[deny.{}]", Shown(entry.key))),
        }
    }
    let id = format!("[deny.{}]", show(entry.key));
    r.require(
        table,
        entry.span,
        &id,
        "reason",
        "\"why, for the audit journal\"",
    );
    Some(guard)
}

/// The rules `allow.<name>` of an area, a net or the console.
fn allows(
    r: &mut Reader<'_>,
    entry: &Entry<'_>,
    keys: Keys,
    of: &dyn Display,
) -> Vec<Def<AllowAst>> {
    r.named(entry, "rule", |r, e| {
        let place: &dyn Display = &format_args!("rule {of}#{}", Shown(e.key));
        let Some(table) = e.value.as_table() else {
            r.wrong_type(e.value, e.key, "a rule such as { who = \"@group\" }");
            return None;
        };
        let allow = allow(r, table, keys, place);
        if allow.who.is_none() {
            r.require(table, e.span, place, "who", "\"@group\"");
        }
        Some(allow)
    })
}

fn allow(r: &mut Reader<'_>, table: Table<'_>, keys: Keys, place: &dyn Display) -> AllowAst {
    let mut allow = AllowAst {
        who: None,
        said: Vec::with_capacity(table.count().saturating_sub(1)),
        sessions: None,
        shadow: false,
    };
    for e in table.entries() {
        let (key, list) = match e.key {
            "who" => {
                allow.who = r.words(&e);
                continue;
            }
            "shadow" => {
                allow.shadow = r.boolean(&e).unwrap_or(true);
                continue;
            }
            "from" => (AllowKey::From, r.words(&e)),
            "when" => (AllowKey::When, r.words(&e)),
            "device" => (AllowKey::Device, r.string(&e).map(Words::One)),
            "mfa" => (AllowKey::Mfa, r.string(&e).map(Words::One)),
            "login" => (AllowKey::Login, r.string(&e).map(Words::One)),
            "idle" => (AllowKey::Idle, r.string(&e).map(Words::One)),
            "sessions" => {
                allow.sessions = r.integer(&e).map(Box::new);
                continue;
            }
            "rate" => (AllowKey::Rate, r.string(&e).map(Words::One)),
            "headers" if keys.built.contains(&"headers") => {
                (AllowKey::Headers, r.string(&e).map(Words::One))
            }
            "methods" if keys.built.contains(&"methods") => (AllowKey::Methods, r.words(&e)),
            _ => {
                r.stray_key(&e, keys, place);
                continue;
            }
        };
        allow.said.extend(list.map(|list| (key, list)));
    }
    allow
}
