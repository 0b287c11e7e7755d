//! Names of tenants' files, written out in full.

use std::collections::BTreeSet;

use super::people::{People, Standing};
use super::{EVERYBODY, Spaces, domains, id, owner, split};
use crate::diag::{Diagnostic, Meant, show};
use crate::source::Span;
use crate::syntax::{
    AllowAst, AllowKey, AppAst, Ast, Def, GuardAst, InvariantAst, ScheduleAst, Sp, TestAst, Word,
    Words,
};

/// The full names of everything that files can name.
#[derive(Debug)]
pub(super) struct Names {
    groups: BTreeSet<String>,
    /// Groups of zones too.
    zones: BTreeSet<String>,
    schedules: BTreeSet<String>,
    rates: BTreeSet<String>,
    headers: BTreeSet<String>,
    /// Ids.
    apps: Vec<String>,
    /// Time zones of schedules, by the tenant whose they are.
    clocks: BTreeSet<(Option<String>, String)>,
    pub(super) people: People,
}

impl Names {
    /// Collects the names, once definitions have theirs in full.
    pub(super) fn new(ast: &Ast, spaces: &Spaces) -> Self {
        fn all<T>(defs: &[Def<T>]) -> BTreeSet<String> {
            defs.iter().map(|def| def.name.v.to_string()).collect()
        }
        let mut groups = all(&ast.groups);
        groups.extend(
            spaces
                .tenants
                .iter()
                .map(|t| format!("{}/{EVERYBODY}", t.name.v)),
        );
        let mut zones = all(&ast.zones);
        zones.extend(all(&ast.zone_groups));
        zones.extend(all(&ast.zone_files));
        let clock = |def: &Def<ScheduleAst>| {
            let (space, _) = split(&def.name.v);
            let zone = def.body.tz.as_ref()?.v.to_string();
            Some((space.map(str::to_owned), zone))
        };
        Self {
            groups,
            zones,
            schedules: all(&ast.schedules),
            rates: all(&ast.rates),
            headers: all(&ast.headers),
            apps: ast.apps.iter().map(|def| id("app", &def.name.v)).collect(),
            clocks: ast.schedules.iter().filter_map(clock).collect(),
            people: People::new(ast, spaces),
        }
    }

    /// Whether a tenant has zones of its own, so that `internet` is less for it than for the root.
    fn has_zones(&self, ast: &Ast, tenant: &str) -> bool {
        ast.zones
            .iter()
            .any(|def| split(&def.name.v).0 == Some(tenant))
    }
}

/// Writes out the names of all definitions of tenants' files.
pub(super) fn define(ast: &mut Ast, spaces: &Spaces, diags: &mut Vec<Diagnostic>) {
    for def in &ast.groups {
        if spaces.of(def.name.span.file).is_some() && def.name.v == EVERYBODY {
            let title =
                format!("group `{EVERYBODY}` is built in: all whom the tenant's files name");
            let finding = Diagnostic::error("reserved", def.name.span, title);
            diags.push(finding.help("choose another name"));
        }
    }
    prefix(&mut ast.zones, spaces);
    prefix(&mut ast.zone_groups, spaces);
    prefix(&mut ast.schedules, spaces);
    prefix(&mut ast.groups, spaces);
    prefix(&mut ast.default, spaces);
    prefix(&mut ast.rates, spaces);
    prefix(&mut ast.headers, spaces);
    prefix(&mut ast.apps, spaces);
    prefix(&mut ast.guards, spaces);
}

fn prefix<T>(defs: &mut [Def<T>], spaces: &Spaces) {
    for def in defs {
        if let Some(tenant) = spaces.of(def.name.span.file) {
            def.name.v = format!("{tenant}/{}", def.name.v).into();
        }
    }
}

/// Writes out what tenants' files refer to; what they cannot name is reported.
pub(super) fn refer(
    ast: &mut Ast,
    spaces: &mut Spaces,
    known: &Names,
    diags: &mut Vec<Diagnostic>,
) {
    let mut reported = BTreeSet::new();
    for (own, tenant) in spaces.tenants.iter().enumerate() {
        let mut refs = Refs {
            own,
            tenant: &tenant.name.v,
            has_zones: known.has_zones(ast, &tenant.name.v),
            spaces,
            known,
            diags,
            reported: &mut reported,
        };
        refs.all(ast);
    }
    // the root's tests read times by the root's schedules alone
    for test in &mut ast.tests {
        if spaces.of(test.span.file).is_none() {
            clock(test, known, None);
        }
    }
    spaces.reported = reported;
}

/// A test that names no time zone means the only one its files see, whatever other files have.
fn clock(test: &mut TestAst, known: &Names, tenant: Option<&str>) {
    let Some(at) = &mut test.subject.at else {
        return;
    };
    let last = at.v.rsplit(' ').next().unwrap_or_default();
    let seen = known
        .clocks
        .iter()
        .filter(|(space, _)| space.is_none() || space.as_deref() == tenant);
    let zones: BTreeSet<&str> = seen.map(|(_, zone)| zone.as_str()).collect();
    let mut zones = zones.into_iter();
    if let (zone, None) = (zones.next().unwrap_or("UTC"), zones.next())
        && !last.starts_with(|c: char| c.is_ascii_uppercase())
    {
        at.v = format!("{} {zone}", at.v).into();
    }
}

fn of<T>(def: &Def<T>, tenant: &str) -> bool {
    split(&def.name.v).0 == Some(tenant)
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Group,
    Zone,
    Schedule,
    Rate,
    Headers,
}

/// What one tenant's files refer to.
struct Refs<'a> {
    own: usize,
    tenant: &'a str,
    has_zones: bool,
    spaces: &'a Spaces,
    known: &'a Names,
    diags: &'a mut Vec<Diagnostic>,
    reported: &'a mut BTreeSet<Span>,
}

impl Refs<'_> {
    fn all(&mut self, ast: &mut Ast) {
        let tenant = self.tenant;
        for def in ast.zone_groups.iter_mut().filter(|def| of(def, tenant)) {
            def.body.iter_mut().for_each(|word| self.zone(word));
        }
        for def in ast.groups.iter_mut().filter(|def| of(def, tenant)) {
            def.body
                .members
                .iter_mut()
                .for_each(|word| self.person(word));
        }
        for def in ast.default.iter_mut().filter(|def| of(def, tenant)) {
            self.one(&mut def.body.rate, Kind::Rate);
            self.one(&mut def.body.headers, Kind::Headers);
        }
        for def in ast.apps.iter_mut().filter(|def| of(def, tenant)) {
            self.app(&mut def.body);
        }
        for def in ast.guards.iter_mut().filter(|def| of(def, tenant)) {
            self.guard(def);
        }
        // those that bind nothing, for there is no app
        let bare = |on: &Sp<Vec<Word>>, at: Span| on.v.is_empty() && on.span == at;
        ast.guards.retain(|def| {
            !def.body
                .on
                .as_ref()
                .is_some_and(|on| bare(on, def.name.span))
        });
        let tenant = Some(self.tenant);
        for test in &mut ast.tests {
            if self.spaces.of(test.span.file) == tenant {
                self.test(test);
            }
        }
        for invariant in &mut ast.invariants {
            if self.spaces.of(invariant.span.file) == tenant {
                self.invariant(invariant);
            }
        }
    }

    fn app(&mut self, app: &mut AppAst) {
        self.one(&mut app.headers, Kind::Headers);
        let areas = app.areas.iter_mut().map(|area| &mut area.body);
        for area in areas.chain([&mut app.root]) {
            self.one(&mut area.headers, Kind::Headers);
            for allow in &mut area.allows {
                self.allow(&mut allow.body);
            }
        }
    }

    fn allow(&mut self, allow: &mut AllowAst) {
        for word in allow.who.iter_mut().flat_map(Words::words_mut) {
            self.person(word);
        }
        for (key, list) in &mut allow.said {
            let kind = match key {
                AllowKey::From => {
                    list.words_mut().iter_mut().for_each(|word| self.zone(word));
                    continue;
                }
                AllowKey::When => Kind::Schedule,
                AllowKey::Rate => Kind::Rate,
                AllowKey::Headers => Kind::Headers,
                AllowKey::Device
                | AllowKey::Mfa
                | AllowKey::Login
                | AllowKey::Idle
                | AllowKey::Methods => continue,
            };
            for word in list.words_mut() {
                self.name(word, kind, "");
            }
        }
    }

    fn guard(&mut self, def: &mut Def<GuardAst>) {
        let guard = &mut def.body;
        self.who(&mut guard.who);
        self.zones(&mut guard.from);
        self.schedules(&mut guard.when);
        self.schedules(&mut guard.unless_when);
        let apps: Vec<&String> = self
            .known
            .apps
            .iter()
            .filter(|id| owner(id) == Some(self.tenant))
            .collect();
        let Some(on) = &mut guard.on else {
            if apps.is_empty() {
                let title = format!(
                    "{} binds nothing: tenant {} has no app",
                    id("deny", &def.name.v),
                    self.tenant
                );
                self.diags
                    .push(Diagnostic::warning("binds-nothing", def.name.span, title));
            }
            let span = def.name.span;
            let all = apps.into_iter().map(|id| Sp {
                v: id.as_str().into(),
                span,
            });
            guard.on = Some(Sp {
                v: all.collect(),
                span,
            });
            return;
        };
        for word in &mut on.v {
            let full = match owner(&word.v) == Some(self.tenant) {
                true => word.v.to_string(),
                false => format!("{}/{}", self.tenant, word.v),
            };
            if apps.contains(&&full) {
                word.v = full.into();
                continue;
            }
            let title = format!("`{}` is no app of tenant {}", show(&word.v), self.tenant);
            let own = apps
                .iter()
                .filter_map(|id| id.split_once('/'))
                .map(|(_, id)| id);
            let meant = Meant::near(&word.v, own);
            let finding = Diagnostic::error("unknown-name", word.span, title);
            self.diags.push(
                finding
                    .help("a tenant's guard binds only its own apps: write app.<id>")
                    .meant(meant),
            );
            self.reported.insert(word.span);
        }
    }

    fn test(&mut self, test: &mut TestAst) {
        if let Some(user) = &test.subject.user {
            self.user(&user.v, user.span);
        }
        if let Some(to) = &test.to {
            self.to(to);
        }
        for word in &mut test.subject.groups {
            let marked = word.v.starts_with('@');
            self.name(word, Kind::Group, if marked { "@" } else { "" });
        }
        if let Some(from) = &mut test.subject.from
            && from.v.parse::<std::net::IpAddr>().is_err()
        {
            self.zone(from);
        }
        clock(test, self.known, Some(self.tenant));
    }

    /// What a test asks must be the tenant's own; what is no question is refused where tests are run.
    fn to(&mut self, to: &Word) {
        let (_, url) = to.v.split_once(' ').unwrap_or(("", &to.v));
        let own = self.spaces.tenants.get(self.own);
        let is_own = match url.split_once("://") {
            Some(("https" | "http", rest)) => own.is_none_or(|own| domains::allows(own, rest)),
            Some(("tcp" | "udp" | "icmp", _)) => false,
            _ => url != "admin",
        };
        if !is_own {
            let title = format!("`{}` is not of tenant {}", show(&to.v), self.tenant);
            let finding = Diagnostic::error("other-tenant", to.span, title);
            self.diags.push(
                finding
                    .help("a tenant's test asks https://HOST/PATH with a host in its own domains"),
            );
        }
    }

    fn invariant(&mut self, invariant: &mut InvariantAst) {
        for list in [
            &mut invariant.only,
            &mut invariant.never,
            &mut invariant.who,
        ] {
            self.who(list);
        }
        if let Some(requires) = &mut invariant.requires {
            self.zones(&mut requires.from);
        }
        for list in [&mut invariant.reach, &mut invariant.can_reach] {
            for word in list.iter_mut().flat_map(|list| &mut list.v) {
                if owner(&word.v) != Some(self.tenant) {
                    word.v = format!("{}/{}", self.tenant, word.v).into();
                }
            }
        }
    }

    fn who(&mut self, list: &mut Option<Sp<Vec<Word>>>) {
        for word in list.iter_mut().flat_map(|list| &mut list.v) {
            self.person(word);
        }
    }

    fn zones(&mut self, list: &mut Option<Sp<Vec<Word>>>) {
        for word in list.iter_mut().flat_map(|list| &mut list.v) {
            self.zone(word);
        }
    }

    fn schedules(&mut self, list: &mut Option<Sp<Vec<Word>>>) {
        for word in list.iter_mut().flat_map(|list| &mut list.v) {
            self.name(word, Kind::Schedule, "");
        }
    }

    fn one(&mut self, word: &mut Option<Word>, kind: Kind) {
        if let Some(word) = word {
            self.name(word, kind, "");
        }
    }

    fn zone(&mut self, word: &mut Word) {
        match word.v.as_str() {
            "tunnel" => {}
            "root/internet" => word.v = "internet".into(),
            "internet" if self.has_zones => word.v = format!("{}/internet", self.tenant).into(),
            "internet" => {}
            _ => self.name(word, Kind::Zone, ""),
        }
    }

    /// A user, a group, or a word for many, with `!` in front where it is subtracted.
    fn person(&mut self, word: &mut Word) {
        let (bang, rest) = match word.v.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, word.v.as_str()),
        };
        match rest {
            EVERYBODY if !bang => word.v = format!("@{}/{EVERYBODY}", self.tenant).into(),
            "anyone" | EVERYBODY => {}
            group if group.starts_with('@') => {
                self.name(word, Kind::Group, if bang { "!@" } else { "@" });
            }
            user => self.user(user, word.span),
        }
    }

    fn user(&mut self, name: &str, span: Span) {
        match self.known.people.standing(name, Some(self.own)) {
            Standing::Known => {}
            Standing::Foreign(at) => {
                let other = self.spaces.tenants.get(at).map_or("", |t| &t.name.v);
                let title = format!("`{}` is a person of tenant {other}", show(name));
                self.foreign(span, title);
            }
            Standing::Unknown => {
                let names = self.known.people.visible(Some(self.own));
                let mut meant = Meant::near(name, names);
                if self
                    .known
                    .groups
                    .contains(&format!("{}/{name}", self.tenant))
                {
                    meant = Some(Meant::group(name));
                }
                self.unknown(span, &format!("unknown user `{}`", show(name)), meant);
            }
        }
    }

    /// Writes out one reference; `mark` is what stands before the name.
    fn name(&mut self, word: &mut Word, kind: Kind, mark: &str) {
        let Some(text) = word.v.strip_prefix(mark) else {
            return;
        };
        let full = match split(text) {
            (None, own) => format!("{}/{own}", self.tenant),
            (Some("root"), rest) if !rest.contains('/') => rest.to_owned(),
            (Some(space), _) if space == self.tenant => text.to_owned(),
            (Some(other), _) if self.spaces.is_tenant(other) => {
                let title = format!("`{}` is a name of tenant {other}", show(text));
                self.foreign(word.span, title);
                return;
            }
            (Some(_), _) => String::new(),
        };
        let (set, what) = match kind {
            Kind::Group => (&self.known.groups, "group"),
            Kind::Zone => (&self.known.zones, "zone"),
            Kind::Schedule => (&self.known.schedules, "schedule"),
            Kind::Rate => (&self.known.rates, "rate"),
            Kind::Headers => (&self.known.headers, "header set"),
        };
        if set.contains(&full) {
            word.v = format!("{mark}{full}").into();
            return;
        }
        let bare = mark.trim_start_matches('!');
        let title = format!("unknown {what} `{bare}{}`", show(text));
        let wrong = format!("{bare}{text}");
        let meant = match set.contains(text) && !text.contains('/') {
            true => {
                let right = format!("{bare}root/{text}");
                Some(Meant::written(&wrong, right, "the root's is written"))
            }
            false => {
                let names = set.iter().filter_map(|name| match split(name) {
                    (None, name) => Some(format!("{bare}root/{name}")),
                    (Some(space), own) => (space == self.tenant).then(|| format!("{bare}{own}")),
                });
                Meant::near(&wrong, names)
            }
        };
        self.unknown(word.span, &title, meant);
    }

    fn foreign(&mut self, span: Span, title: String) {
        let text = format!(
            "files of tenant {} name only their own and the root's",
            self.tenant
        );
        self.diags
            .push(Diagnostic::error("other-tenant", span, title).help(text));
        self.reported.insert(span);
    }

    fn unknown(&mut self, span: Span, title: &str, meant: Option<Meant>) {
        let title = format!("{title} in tenant {}", self.tenant);
        let finding = Diagnostic::error("unknown-name", span, title).label("no such name");
        self.diags.push(finding.meant(meant));
        self.reported.insert(span);
    }
}
