//! Apps, nets, guards and the console, with their rules.

use toml::de::DeTable;

use super::super::front;
use super::super::keys::{self, Keys};
use super::super::read::{Entry, Reader};
use super::super::{AllowAst, AppAst, AreaAst, Def, GuardAst, NetAst, Sp};
use crate::diag::{Diagnostic, show};

pub(super) fn admin(r: &mut Reader<'_>, table: &DeTable<'_>) -> Vec<Def<AllowAst>> {
    let mut rules: Vec<Def<AllowAst>> = Vec::new();
    let mut shadow = false;
    for e in r.entries(table) {
        match e.key {
            "allow" => rules = allows(r, &e, keys::ALLOW_PLAIN, "admin"),
            "shadow" => shadow = r.boolean(&e).unwrap_or(true),
            _ => r.stray_key(&e, keys::ADMIN, "[admin]"),
        }
    }
    for rule in &mut rules {
        rule.body.shadow |= shadow;
    }
    rules
}

pub(super) fn app(r: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Option<AppAst> {
    let table = r.table(entry)?;
    let id = format!("app.{}", show(entry.key));
    let mut app = AppAst::default();
    for e in r.entries(table) {
        match e.key {
            "host" => app.host = r.strings(&e).map(|list| list.v),
            "headers" => app.headers = r.string(&e),
            "windows" => app.windows = r.boolean(&e).unwrap_or(true),
            // a value of the wrong type is an error, so its reading does not matter
            "path-params" => app.path_params = r.boolean(&e).unwrap_or(false),
            "preflight" => app.preflight = r.boolean(&e).unwrap_or(false),
            "shadow" => app.shadow = r.boolean(&e).unwrap_or(true),
            "case-insensitive" => app.case_insensitive = r.boolean(&e).unwrap_or(true),
            "public" | "allow" => area_key(r, &e, &mut app.root, &id),
            key if front::KEYS.contains(&key) => front_key(r, &e, &mut app.root, &id),
            key if key.starts_with(['/', '=']) => app.areas.extend(area(r, &e, &id)),
            _ => r.stray_key(&e, keys::APP, &format!("[{id}]")),
        }
    }
    r.require(
        table,
        entry.span,
        &format!("[{id}]"),
        "host",
        "\"name.example\"",
    );
    front_end(r, &mut app.root, &id);
    if !["static", "redirect"]
        .iter()
        .any(|key| table.contains_key(*key))
    {
        r.require(
            table,
            entry.span,
            &format!("[{id}]"),
            "upstream",
            "\"http://host:port\"",
        );
    }
    Some(app)
}

fn area(r: &mut Reader<'_>, entry: &Entry<'_, '_>, app: &str) -> Option<Def<AreaAst>> {
    let table = r.table(entry)?;
    let id = format!("{app}{}", show(entry.key));
    let mut area = AreaAst::default();
    for e in r.entries(table) {
        match e.key {
            "public" | "allow" => area_key(r, &e, &mut area, &id),
            key if front::KEYS.contains(&key) => front_key(r, &e, &mut area, &id),
            "headers" => area.headers = r.string(&e),
            "shadow" => area.shadow = r.boolean(&e).unwrap_or(true),
            "host" | "windows" | "case-insensitive" | "path-params" | "preflight" => r.push(
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
            _ => r.stray_key(&e, keys::AREA, &format!("[{id}]")),
        }
    }
    front_end(r, &mut area, &id);
    Some(Def {
        name: Sp {
            v: entry.key.to_owned(),
            span: entry.span,
        },
        body: area,
    })
}

fn front_key(r: &mut Reader<'_>, e: &Entry<'_, '_>, area: &mut AreaAst, id: &str) {
    front::key(r, e, area.front.get_or_insert_default(), id);
}

fn front_end(r: &mut Reader<'_>, area: &mut AreaAst, id: &str) {
    if let Some(front) = &mut area.front {
        front::finish(r, front, id);
    }
}

fn area_key(r: &mut Reader<'_>, e: &Entry<'_, '_>, area: &mut AreaAst, id: &str) {
    if e.key == "public" {
        area.public = r.string(e);
    } else {
        area.allows = allows(r, e, keys::ALLOW, id);
    }
}

pub(super) fn net(r: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Option<NetAst> {
    let table = r.table(entry)?;
    let id = format!("net.{}", show(entry.key));
    let mut net = NetAst::default();
    for e in r.entries(table) {
        match e.key {
            "to" => net.to = r.strings(&e).map(|list| list.v),
            "shadow" => net.shadow = r.boolean(&e).unwrap_or(true),
            "port" => net.port = r.strings(&e).map(|list| list.v),
            "allow" => net.allows = allows(r, &e, keys::ALLOW_PLAIN, &id),
            _ => r.stray_key(&e, keys::NET, &format!("[{id}]")),
        }
    }
    r.require(
        table,
        entry.span,
        &format!("[{id}]"),
        "to",
        "\"192.168.1.100\"",
    );
    r.require(table, entry.span, &format!("[{id}]"), "port", "\"22/tcp\"");
    Some(net)
}

pub(super) fn guard(r: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Option<GuardAst> {
    let table = r.table(entry)?;
    let mut guard = GuardAst::default();
    for e in r.entries(table) {
        match e.key {
            "who" => guard.who = r.strings(&e),
            "from" => guard.from = r.strings(&e),
            "when" => guard.when = r.strings(&e),
            "unless-when" => guard.unless_when = r.strings(&e),
            "shadow" => guard.shadow = r.boolean(&e).unwrap_or(true),
            "device-not" => guard.device_not = r.string(&e),
            "on" => guard.on = r.strings(&e),
            "reason" => guard.reason = r.string(&e),
            _ => r.stray_key(&e, keys::DENY, &format!("[deny.{}]", show(entry.key))),
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
fn allows(r: &mut Reader<'_>, entry: &Entry<'_, '_>, keys: Keys, of: &str) -> Vec<Def<AllowAst>> {
    r.named(entry, "rule", |r, e| {
        let place = format!("rule {of}#{}", show(e.key));
        let Some(table) = e.value.get_ref().as_table() else {
            r.wrong_type(e.value, e.key, "a rule such as { who = \"@group\" }");
            return None;
        };
        r.require(table, e.span, &place, "who", "\"@group\"");
        Some(allow(r, table, keys, &place))
    })
}

fn allow(r: &mut Reader<'_>, table: &DeTable<'_>, keys: Keys, place: &str) -> AllowAst {
    let mut allow = AllowAst::default();
    for e in r.entries(table) {
        match e.key {
            "who" => allow.who = r.strings(&e),
            "from" => allow.from = r.strings(&e),
            "when" => allow.when = r.strings(&e),
            "shadow" => allow.shadow = r.boolean(&e).unwrap_or(true),
            "device" => allow.device = r.string(&e),
            "mfa" => allow.mfa = r.string(&e),
            "login" => allow.login = r.string(&e),
            "rate" => allow.rate = r.string(&e),
            "headers" if keys.built.contains(&"headers") => allow.headers = r.string(&e),
            "methods" if keys.built.contains(&"methods") => allow.methods = r.strings(&e),
            _ => r.stray_key(&e, keys, place),
        }
    }
    allow
}
