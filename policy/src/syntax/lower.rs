//! The sections of a file, one function each.

use toml::de::{DeTable, DeValue};

use super::keys::{self, Keys};
use super::read::{Entry, Reader};
use super::tenants;
use super::{
    AllowAst, AppAst, AreaAst, AsAst, Ast, Def, DefaultAst, ExpectAst, GroupAst, GuardAst,
    InvariantAst, NetAst, RequiresAst, ScheduleAst, Sp, TestAst, TunnelAst, UserAst, Word,
};
use crate::diag::{Diagnostic, show};
use crate::source::Span;

/// The format version this crate reads.
pub const FORMAT_VERSION: u64 = 1;

pub(super) fn file(r: &mut Reader<'_>, table: &DeTable<'_>, ast: &mut Ast) {
    let entries = r.entries(table);
    version(r, entries.first());
    for entry in &entries {
        section(r, entry, ast);
    }
}

fn version(r: &mut Reader<'_>, first: Option<&Entry<'_, '_>>) {
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

fn section(r: &mut Reader<'_>, entry: &Entry<'_, '_>, ast: &mut Ast) {
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
        "invariant" => invariants(r, entry, ast),
        "group" => ast.groups.extend(groups(r, entry, false)),
        "group-optional" => ast.groups.extend(groups(r, entry, true)),
        "user" => users(r, entry, ast),
        "rate" => ast.rates.extend(r.named(entry, "rate", |r, e| r.string(e))),
        "app" => ast.apps.extend(r.named(entry, "app", app)),
        "net" => ast.nets.extend(r.named(entry, "net", net)),
        "deny" => ast.guards.extend(r.named(entry, "guard", guard)),
        "default" => single(r, entry, &mut ast.default, default),
        "tunnel" => single(r, entry, &mut ast.tunnel, tunnel),
        "admin" => single(r, entry, &mut ast.admin, admin),
        "test" => tests(r, entry, ast),
        _ => r.stray_key(entry, keys::FILE, "the file"),
    }
}

/// A section that is one table rather than a table of names.
fn single<T>(
    r: &mut Reader<'_>,
    entry: &Entry<'_, '_>,
    into: &mut Vec<Def<T>>,
    body: fn(&mut Reader<'_>, &DeTable<'_>) -> T,
) {
    if let Some(table) = r.table(entry) {
        let name = Sp {
            v: entry.key.to_owned(),
            span: entry.span,
        };
        let body = body(r, table);
        into.push(Def { name, body });
    }
}

fn groups(r: &mut Reader<'_>, entry: &Entry<'_, '_>, optional: bool) -> Vec<Def<GroupAst>> {
    r.named(entry, "group", |r, e| {
        let members = r.strings(e)?.v;
        Some(GroupAst {
            members,
            optional,
            from: None,
        })
    })
}

fn schedule(r: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Option<ScheduleAst> {
    let table = r.table(entry)?;
    let place = format!("[schedule.{}]", show(entry.key));
    let mut schedule = ScheduleAst::default();
    for e in r.entries(table) {
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

fn users(r: &mut Reader<'_>, entry: &Entry<'_, '_>, ast: &mut Ast) {
    if !r.users_file {
        r.push(
            Diagnostic::error("misplaced", entry.span, "people stand in users.toml")
                .help("move the [user.…] tables to users.toml in the same folder"),
        );
    }
    ast.users.extend(r.named(entry, "user", user));
}

fn user(r: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Option<UserAst> {
    let table = r.table(entry)?;
    let mut user = UserAst::default();
    for e in r.entries(table) {
        match e.key {
            "name" => user.display = r.string(&e),
            "mail" => user.mail = r.string(&e),
            "language" => user.language = r.string(&e),
            "disabled" => user.disabled = r.boolean(&e).unwrap_or(true),
            "attributes" => user.attributes = r.named(&e, "attribute", |r, e| r.string(e)),
            _ => r.stray_key(&e, keys::USER, &format!("[user.{}]", show(entry.key))),
        }
    }
    Some(user)
}

fn default(r: &mut Reader<'_>, table: &DeTable<'_>) -> DefaultAst {
    let mut default = DefaultAst::default();
    for e in r.entries(table) {
        match e.key {
            "mfa" => default.mfa = r.string(&e),
            "login" => default.login = r.string(&e),
            "rate" => default.rate = r.string(&e),
            "device" => default.device = r.string(&e),
            "idle" => default.idle = r.string(&e),
            "sessions" => default.sessions = r.integer(&e),
            "hide" => default.hide = r.boolean(&e),
            _ => r.stray_key(&e, keys::DEFAULT, "[default]"),
        }
    }
    default
}

fn tunnel(r: &mut Reader<'_>, table: &DeTable<'_>) -> TunnelAst {
    let mut tunnel = TunnelAst::default();
    for e in r.entries(table) {
        match e.key {
            "sign-in" => tunnel.sign_in = r.string(&e),
            _ => r.stray_key(&e, keys::TUNNEL, "[tunnel]"),
        }
    }
    tunnel
}

fn admin(r: &mut Reader<'_>, table: &DeTable<'_>) -> Vec<Def<AllowAst>> {
    let mut rules = Vec::new();
    for e in r.entries(table) {
        match e.key {
            "allow" => rules = allows(r, &e, keys::ALLOW_PLAIN, "admin"),
            _ => r.stray_key(&e, keys::ADMIN, "[admin]"),
        }
    }
    rules
}

fn app(r: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Option<AppAst> {
    let table = r.table(entry)?;
    let id = format!("app.{}", show(entry.key));
    let mut app = AppAst::default();
    for e in r.entries(table) {
        match e.key {
            "host" => app.host = r.strings(&e).map(|list| list.v),
            "upstream" => app.upstream = upstream(r, &e),
            "windows" => app.windows = r.boolean(&e).unwrap_or(true),
            "case-insensitive" => app.case_insensitive = r.boolean(&e).unwrap_or(true),
            "public" | "allow" => area_key(r, &e, &mut app.root, &id),
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
    r.require(
        table,
        entry.span,
        &format!("[{id}]"),
        "upstream",
        "\"http://host:port\"",
    );
    Some(app)
}

fn upstream(r: &mut Reader<'_>, e: &Entry<'_, '_>) -> Option<Word> {
    if e.value.get_ref().is_array() {
        let span = r.span_of(e.value);
        r.push(
            Diagnostic::error("not-built-yet", span, "several upstreams are not built yet")
                .help("write one: upstream = \"http://host:port\""),
        );
        return None;
    }
    r.string(e)
}

fn area(r: &mut Reader<'_>, entry: &Entry<'_, '_>, app: &str) -> Option<Def<AreaAst>> {
    let table = r.table(entry)?;
    let id = format!("{app}{}", show(entry.key));
    let mut area = AreaAst::default();
    for e in r.entries(table) {
        match e.key {
            "public" | "allow" => area_key(r, &e, &mut area, &id),
            "shadow" => area.shadow = r.boolean(&e).unwrap_or(true),
            "host" | "upstream" | "windows" | "case-insensitive" => r.push(
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
    Some(Def {
        name: Sp {
            v: entry.key.to_owned(),
            span: entry.span,
        },
        body: area,
    })
}

fn area_key(r: &mut Reader<'_>, e: &Entry<'_, '_>, area: &mut AreaAst, id: &str) {
    if e.key == "public" {
        area.public = r.string(e);
    } else {
        area.allows = allows(r, e, keys::ALLOW, id);
    }
}

fn net(r: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Option<NetAst> {
    let table = r.table(entry)?;
    let id = format!("net.{}", show(entry.key));
    let mut net = NetAst::default();
    for e in r.entries(table) {
        match e.key {
            "to" => net.to = r.strings(&e).map(|list| list.v),
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

fn guard(r: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Option<GuardAst> {
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
            "methods" if keys.built.contains(&"methods") => allow.methods = r.strings(&e),
            _ => r.stray_key(&e, keys, place),
        }
    }
    allow
}

fn tests(r: &mut Reader<'_>, entry: &Entry<'_, '_>, ast: &mut Ast) {
    let Some(items) = entry.value.get_ref().as_array() else {
        r.wrong_type(entry.value, entry.key, "written [[test]]");
        return;
    };
    for item in items {
        match item.get_ref().as_table() {
            Some(table) => {
                let span = r.span_of(item);
                ast.tests.push(test(r, table, span));
            }
            None => r.wrong_type(item, entry.key, "written [[test]]"),
        }
    }
}

fn test(r: &mut Reader<'_>, table: &DeTable<'_>, span: Span) -> TestAst {
    let mut test = TestAst {
        span,
        name: None,
        subject: AsAst::default(),
        to: None,
        expect: None,
    };
    for e in r.entries(table) {
        match e.key {
            "name" => test.name = r.string(&e).map(|word| word.v),
            "as" => test.subject = subject(r, &e),
            "to" => test.to = r.string(&e),
            "expect" => test.expect = expect(r, &e),
            _ => r.stray_key(&e, keys::TEST, "[[test]]"),
        }
    }
    r.require(table, span, "[[test]]", "to", "\"https://host/path\"");
    r.require(table, span, "[[test]]", "expect", "\"deny\"");
    test
}

fn invariants(r: &mut Reader<'_>, entry: &Entry<'_, '_>, ast: &mut Ast) {
    let Some(items) = entry.value.get_ref().as_array() else {
        r.wrong_type(entry.value, entry.key, "written [[invariant]]");
        return;
    };
    for item in items {
        match item.get_ref().as_table() {
            Some(table) => {
                let span = r.span_of(item);
                ast.invariants.push(invariant(r, table, span));
            }
            None => r.wrong_type(item, entry.key, "written [[invariant]]"),
        }
    }
}

fn invariant(r: &mut Reader<'_>, table: &DeTable<'_>, span: Span) -> InvariantAst {
    let mut out = InvariantAst {
        span,
        name: None,
        reach: None,
        only: None,
        never: None,
        requires: None,
        who: None,
        can_reach: None,
        disjoint: None,
    };
    for e in r.entries(table) {
        match e.key {
            "name" => out.name = r.string(&e).map(|word| word.v),
            "reach" => out.reach = r.strings(&e),
            "only" => out.only = r.strings(&e),
            "never" => out.never = r.strings(&e),
            "requires" => out.requires = requires(r, &e),
            "who" => out.who = r.strings(&e),
            "can-reach" => out.can_reach = r.strings(&e),
            "tenants-disjoint" => {
                let v = r.boolean(&e).unwrap_or(true);
                out.disjoint = Some(Sp { v, span: e.span });
            }
            _ => r.stray_key(&e, keys::INVARIANT, "[[invariant]]"),
        }
    }
    out
}

fn requires(r: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Option<RequiresAst> {
    let table = r.table(entry)?;
    let mut out = RequiresAst::default();
    for e in r.entries(table) {
        match e.key {
            "device" => out.device = r.string(&e),
            "mfa" => out.mfa = r.string(&e),
            "login" => out.login = r.string(&e),
            "from" => out.from = r.strings(&e),
            _ => r.stray_key(&e, keys::REQUIRES, "`requires` of an invariant"),
        }
    }
    Some(out)
}

fn subject(r: &mut Reader<'_>, entry: &Entry<'_, '_>) -> AsAst {
    let mut subject = AsAst::default();
    let Some(table) = r.table(entry) else {
        return subject;
    };
    for e in r.entries(table) {
        match e.key {
            "user" => subject.user = r.string(&e),
            "groups" => subject.groups = r.strings(&e).map(|list| list.v).unwrap_or_default(),
            "from" => subject.from = r.string(&e),
            "at" => subject.at = r.string(&e),
            "device" => subject.device = r.string(&e),
            "mfa" => subject.mfa = r.string(&e),
            "login" => subject.login = r.string(&e),
            _ => r.stray_key(&e, keys::AS, "`as` of a test"),
        }
    }
    subject
}

const OUTCOMES: [&str; 4] = ["allow", "step-up", "login", "deny"];

/// `"deny"`, or `{ deny = "rule id" }`.
fn expect(r: &mut Reader<'_>, entry: &Entry<'_, '_>) -> Option<ExpectAst> {
    if let DeValue::Table(table) = entry.value.get_ref() {
        let entries = r.entries(table);
        let [only] = entries.as_slice() else {
            r.wrong_type(
                entry.value,
                entry.key,
                "an outcome or { outcome = \"rule id\" }",
            );
            return None;
        };
        let outcome = Sp {
            v: only.key.to_owned(),
            span: only.span,
        };
        let rule = r.string(only);
        return r
            .one_of(&outcome, "an outcome", &OUTCOMES)
            .then_some(ExpectAst { outcome, rule });
    }
    let outcome = r.string(entry)?;
    r.one_of(&outcome, "an outcome", &OUTCOMES)
        .then_some(ExpectAst {
            outcome,
            rule: None,
        })
}
