//! The sections of a file, one function each.

mod access;
mod checks;

pub(super) use checks::OUTCOMES;

use super::keys;
use super::read::Reader;
use super::tenants;
use super::tree::{Entry, Table};
use super::{
    AppAst, Ast, Def, DefaultAst, DnsAst, GroupAst, ReproveAst, ScheduleAst, Sp, TunnelAst,
    UserAst, Word, append,
};
use crate::diag::{Diagnostic, Shown, show};
use crate::source::Span;

/// The format version this crate reads.
pub const FORMAT_VERSION: u64 = 1;

pub(super) fn file(r: &mut Reader<'_>, table: Table<'_>, ast: &mut Ast) {
    version(r, table.entries().next().as_ref());
    for entry in table.entries() {
        section(r, &entry, ast);
    }
}

/// Reads a part of a file that holds nothing but apps, each with a header of its own; `None` if it holds more.
pub(super) fn apps(r: &mut Reader<'_>, table: Table<'_>) -> Option<Vec<Def<AppAst>>> {
    let mut entries = table.entries();
    let entry = entries.next().filter(|entry| entry.key == APP)?;
    let apps = entry.value.as_table()?;
    let only = entries.next().is_none() && apps.is_open();
    only.then(|| r.named(&entry, "app", access::app))
}

/// Whether apps may stand behind what was read of a file.
pub(super) fn takes_apps(table: Table<'_>) -> bool {
    let apps = table.entries().find(|entry| entry.key == APP);
    apps.is_none_or(|entry| entry.value.as_table().is_some_and(Table::is_open))
}

/// The section of apps.
const APP: &str = "app";

fn version(r: &mut Reader<'_>, first: Option<&Entry<'_>>) {
    let start = Span::new(r.file, 0..0);
    let Some(entry) = first.filter(|entry| entry.key == "postern") else {
        let span = first.map_or(start, |entry| entry.span);
        r.push(
            Diagnostic::error(
                "version",
                span,
                "the file does not begin with its format version",
            )
            .help("make `postern = 1` the first line"),
        );
        return;
    };
    if let Some(number) = r.integer(entry)
        && number.v != FORMAT_VERSION
    {
        r.push(
            Diagnostic::error(
                "version",
                number.span,
                format!("format version {} is not known", number.v),
            )
            .help("this version of Postern reads `postern = 1`"),
        );
    }
}

fn section(r: &mut Reader<'_>, entry: &Entry<'_>, ast: &mut Ast) {
    match entry.key {
        "postern" => {}
        "zone" => ast
            .zones
            .extend(r.named(entry, "zone", |r, e| Some(r.strings(e)?.v))),
        "zone-group" => ast
            .zone_groups
            .extend(r.named(entry, "group of zones", |r, e| Some(r.strings(e)?.v))),
        "zone-file" => ast.zone_files.extend(tenants::zone_files(r, entry)),
        "tenant" => ast.tenants.extend(tenants::tenants(r, entry)),
        "schedule" => ast.schedules.extend(r.named(entry, "schedule", schedule)),
        "group-from" => ast.groups.extend(r.named(entry, "group", |r, e| {
            Some(GroupAst {
                members: Vec::new(),
                optional: false,
                from: Some(r.string(e)?),
            })
        })),
        "invariant" => checks::invariants(r, entry, ast),
        "group" => append(&mut ast.groups, groups(r, entry, false)),
        "group-optional" => ast.groups.extend(groups(r, entry, true)),
        "user" => users(r, entry, ast),
        "rate" => ast.rates.extend(r.named(entry, "rate", |r, e| r.string(e))),
        "headers" => ast.headers.extend(r.named(entry, "header set", header_set)),
        APP => append(&mut ast.apps, r.named(entry, "app", access::app)),
        "net" => ast.nets.extend(r.named(entry, "net", access::net)),
        "deny" => ast.guards.extend(r.named(entry, "guard", access::guard)),
        "default" => single(r, entry, &mut ast.default, default),
        "tunnel" => single(r, entry, &mut ast.tunnel, tunnel),
        "admin" => single(r, entry, &mut ast.admin, access::admin),
        "test" => checks::tests(r, entry, ast),
        _ => r.stray_key(entry, keys::FILE, "the file"),
    }
}

/// A section that is one table rather than a table of names.
fn single<T>(
    r: &mut Reader<'_>,
    entry: &Entry<'_>,
    into: &mut Vec<Def<T>>,
    body: fn(&mut Reader<'_>, Table<'_>) -> T,
) {
    if let Some(table) = r.table(entry) {
        let name = r.word(entry);
        let body = body(r, table);
        into.push(Def { name, body });
    }
}

fn groups(r: &mut Reader<'_>, entry: &Entry<'_>, optional: bool) -> Vec<Def<GroupAst>> {
    r.named(entry, "group", |r, e| {
        let members = r.strings(e)?.v;
        Some(GroupAst {
            members,
            optional,
            from: None,
        })
    })
}

/// Names and texts; a header's name is no name of the language, so it is judged later.
fn header_set(r: &mut Reader<'_>, entry: &Entry<'_>) -> Option<Vec<(Word, Word)>> {
    let table = r.table(entry)?;
    let mut out = Vec::new();
    for e in table.entries() {
        let name = r.word(&e);
        out.extend(r.string(&e).map(|text| (name, text)));
    }
    Some(out)
}

fn schedule(r: &mut Reader<'_>, entry: &Entry<'_>) -> Option<ScheduleAst> {
    let table = r.table(entry)?;
    let place = format!("[schedule.{}]", show(entry.key));
    let mut schedule = ScheduleAst::default();
    for e in table.entries() {
        match e.key {
            "days" => schedule.days = r.strings(&e),
            "time" => schedule.time = r.strings(&e),
            "between" => schedule.between = r.string(&e),
            "tz" => schedule.tz = r.string(&e),
            _ => r.stray_key(&e, keys::SCHEDULE, &place),
        }
    }
    r.require(table, entry.span, &place, "tz", "\"Europe/Paris\"");
    Some(schedule)
}

fn users(r: &mut Reader<'_>, entry: &Entry<'_>, ast: &mut Ast) {
    if !r.users_file {
        r.push(
            Diagnostic::error("misplaced", entry.span, "people stand in users.toml")
                .help("move the [user.…] tables to users.toml in the same folder"),
        );
    }
    append(&mut ast.users, r.named(entry, "user", user));
}

fn user(r: &mut Reader<'_>, entry: &Entry<'_>) -> Option<UserAst> {
    let table = r.table(entry)?;
    let mut user = UserAst::default();
    for e in table.entries() {
        match e.key {
            "name" => user.display = r.string(&e),
            "mail" => user.mail = r.string(&e),
            "language" => user.language = r.string(&e),
            "disabled" => user.disabled = r.boolean(&e).unwrap_or(true),
            "attributes" => user.attributes = r.named(&e, "attribute", |r, e| r.string(e)),
            _ => r.stray_key(&e, keys::USER, format_args!("[user.{}]", Shown(entry.key))),
        }
    }
    Some(user)
}

fn default(r: &mut Reader<'_>, table: Table<'_>) -> DefaultAst {
    let mut default = DefaultAst::default();
    for e in table.entries() {
        match e.key {
            "mfa" => default.mfa = r.string(&e),
            "login" => default.login = r.string(&e),
            "rate" => default.rate = r.string(&e),
            "headers" => default.headers = r.string(&e),
            "device" => default.device = r.string(&e),
            "idle" => default.idle = r.string(&e),
            "sessions" => default.sessions = r.integer(&e),
            "extend" => default.extend = r.string(&e),
            "hide" => default.hide = r.boolean(&e),
            _ => r.stray_key(&e, keys::DEFAULT, "[default]"),
        }
    }
    default
}

fn tunnel(r: &mut Reader<'_>, table: Table<'_>) -> TunnelAst {
    let mut tunnel = TunnelAst::default();
    for e in table.entries() {
        match e.key {
            "sign-in" => tunnel.sign_in = r.string(&e),
            "reprove" => tunnel.reprove = reprove(r, &e),
            "headless" => tunnel.headless = headless(r, &e),
            "dns" => tunnel.dns = dns(r, &e),
            _ => r.stray_key(&e, keys::TUNNEL, "[tunnel]"),
        }
    }
    tunnel
}

fn reprove(r: &mut Reader<'_>, entry: &Entry<'_>) -> Option<ReproveAst> {
    let Some(table) = entry.value.as_table() else {
        r.push(
            Diagnostic::error("wrong-type", entry.span, "`reprove` must be a table")
                .help("write it as reprove = { moved = true, after = \"8h\", idle = \"30m\" }"),
        );
        return None;
    };
    let mut reprove = ReproveAst {
        span: entry.span,
        ..ReproveAst::default()
    };
    for e in table.entries() {
        match e.key {
            "moved" => reprove.moved = r.boolean(&e),
            "after" => reprove.after = r.string(&e),
            "idle" => reprove.idle = r.string(&e),
            _ => r.stray_key(&e, keys::REPROVE, "[tunnel] reprove"),
        }
    }
    Some(reprove)
}

fn dns(r: &mut Reader<'_>, entry: &Entry<'_>) -> Option<DnsAst> {
    let table = r.table(entry)?;
    let mut dns = DnsAst::default();
    for e in table.entries() {
        match e.key {
            "others" => dns.others = r.string(&e),
            "quarantine" => dns.quarantine = r.string(&e),
            "refuse" => dns.refuse = r.strings(&e),
            _ => r.stray_key(&e, keys::DNS, "[tunnel] dns"),
        }
    }
    Some(dns)
}

/// Devices have names that are none of the language, so they are judged later.
fn headless(r: &mut Reader<'_>, entry: &Entry<'_>) -> Vec<Def<Sp<Vec<Word>>>> {
    let Some(table) = r.table(entry) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for e in table.entries() {
        let name = r.word(&e);
        out.extend(r.strings(&e).map(|body| Def { name, body }));
    }
    out
}
