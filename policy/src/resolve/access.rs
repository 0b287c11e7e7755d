//! Rules and guards: who, from where, with what proof.

use std::fmt::{self, Display};
use std::sync::Arc;

use super::headers::set_ix;
use super::held::Lists;
use super::settings::{device, mfa, positive, rate_ix};
use super::tenants::{id, owner};
use super::{Cx, MAX_ALLOWS, empty_list, sessions, unique, unknown};
use crate::canon;
use crate::diag::{Diagnostic, Meant, Shown, nearest, show};
use crate::ir::{Allow, App, Device, Guard, Mfa, Net, Resource, Who, index};
use crate::source::Span;
use crate::syntax::{AllowAst, AllowKey, Def, GuardAst, List, Word};
use crate::text::Text;

/// Where a rule stands: decides whether `anyone` may be named.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'a> {
    /// An area of an app; holds its rule id prefix and whether it is public.
    Area {
        id: &'a str,
        public: bool,
        /// The header set of rules that name none.
        headers: Option<u32>,
    },
    /// A net or the console.
    Plain { id: &'a str },
}

impl Place<'_> {
    fn id(&self) -> &str {
        match self {
            Self::Area { id, .. } | Self::Plain { id } => id,
        }
    }
}

/// Resolves the rules of one place in the order in which they are listed.
pub(super) fn allows(cx: &mut Cx<'_>, defs: &[Def<AllowAst>], place: Place<'_>) -> Vec<Allow> {
    cx.allows += defs.len();
    if let Some(last) = defs.last()
        && cx.allows > MAX_ALLOWS
    {
        let found = cx.allows;
        cx.diags
            .extend(super::limit("rules", found, MAX_ALLOWS, &last.name));
    }
    let mut out = Vec::with_capacity(defs.len());
    out.extend(defs.iter().filter_map(|def| allow(cx, def, place)));
    out
}

fn allow(cx: &mut Cx<'_>, def: &Def<AllowAst>, place: Place<'_>) -> Option<Allow> {
    let ast = &def.body;
    let rule = &RuleId(place.id(), &def.name.v);
    let words = ast.who.as_ref()?.list();
    let from = ast.list(AllowKey::From);
    let from = from.map(|list| held(cx, list, |cx| &mut cx.held.zones, zones));
    let when = ast.list(AllowKey::When);
    let when = when.map(|list| held(cx, list, |cx| &mut cx.held.schedules, whens));
    let methods = ast.list(AllowKey::Methods);
    let methods = methods.map(|list| held(cx, list, |cx| &mut cx.held.methods, methods_of));
    let rate = ast
        .word(AllowKey::Rate)
        .map(|word| rate_ix(word, cx.rates, cx.diags));
    let own_headers = ast
        .word(AllowKey::Headers)
        .and_then(|word| set_ix(word, cx.header_sets, cx.diags));
    let headers = match place {
        Place::Area { headers, .. } => own_headers.or(headers),
        Place::Plain { .. } => None,
    };
    let own_mfa = ast.word(AllowKey::Mfa).map(|word| mfa(word, cx.diags));
    let login = ast
        .word(AllowKey::Login)
        .and_then(|word| positive(word, cx.diags));
    let bounds = sessions::of_rule(cx, ast, rule);
    let own_device = ast
        .word(AllowKey::Device)
        .and_then(|word| device(word, cx.diags));
    let who = allowed(cx, words, rule)?;
    if who.anyone {
        check_anyone(cx, def, words.span, rule, place);
    }
    warn_nobody(cx, &who, words.span, rule);
    let asked = own_mfa.flatten().unwrap_or(cx.defaults.mfa);
    if let Some(word) = ast.word(AllowKey::Mfa)
        && !who.anyone
        && asked.weaker_than(cx.defaults.mfa)
    {
        cx.diags.push(
            Diagnostic::warning(
                "weaker-mfa",
                word.span,
                format!("rule {rule} asks for less mfa than [default]"),
            )
            .help("take it out to use the default"),
        );
    }
    Some(Allow {
        name: def.name.v.clone(),
        mfa: if who.anyone { Mfa::None } else { asked },
        who,
        from,
        device: own_device.unwrap_or(cx.defaults.device),
        login: login.unwrap_or(cx.defaults.login),
        idle: bounds.idle,
        sessions: bounds.sessions,
        methods,
        rate: rate.unwrap_or(cx.defaults.rate),
        headers,
        when,
        shadow: ast.shadow,
        span: def.name.span,
    })
}

/// The id of a rule, written out only where something is said about it.
struct RuleId<'a>(&'a str, &'a str);

impl Display for RuleId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.0, Shown(self.1))
    }
}

/// Who a rule is for. A list read before without a finding is the same again.
fn allowed(cx: &mut Cx<'_>, list: List<'_>, rule: &RuleId<'_>) -> Option<Arc<Who>> {
    if let Some(known) = cx.held.who.get(list.v) {
        return Some(known);
    }
    let before = cx.diags.len();
    let found = Arc::new(who(cx, list, rule)?);
    if cx.diags.len() == before {
        cx.held.who.keep(list.v, Arc::clone(&found));
    }
    Some(found)
}

/// Reads a list of names, unless it was read before without a finding.
fn held<T>(
    cx: &mut Cx<'_>,
    list: List<'_>,
    lists: for<'c> fn(&'c mut Cx<'_>) -> &'c mut Lists<Arc<[T]>>,
    read: fn(&mut Cx<'_>, List<'_>) -> Vec<T>,
) -> Arc<[T]> {
    if let Some(known) = lists(cx).get(list.v) {
        return known;
    }
    let before = cx.diags.len();
    let found: Arc<[T]> = read(cx, list).into();
    if cx.diags.len() == before {
        lists(cx).keep(list.v, Arc::clone(&found));
    }
    found
}

/// Two keys open a door to the world: `anyone`, and `public` on the same area.
fn check_anyone(
    cx: &mut Cx<'_>,
    def: &Def<AllowAst>,
    span: Span,
    rule: &RuleId<'_>,
    place: Place<'_>,
) {
    let id = place.id();
    match place {
        Place::Area { public: true, .. } => {}
        Place::Area { public: false, .. } => cx.diags.push(
            Diagnostic::error(
                "world-open",
                span,
                format!("rule {rule} opens {id} to the whole world"),
            )
            .help("if you mean it, add  public = \"<reason>\"  to this area; otherwise use \"any-user\""),
        ),
        Place::Plain { .. } => cx.diags.push(
            Diagnostic::error("world-open", span, format!("`anyone` cannot reach {id}"))
                .help("only areas of apps can be public; use \"any-user\""),
        ),
    }
    let ast = &def.body;
    let asks = ast.word(AllowKey::Mfa).filter(|word| word.v != "none");
    for word in asks.into_iter().chain(ast.word(AllowKey::Login)) {
        cx.diags.push(
            Diagnostic::error(
                "never-asked",
                word.span,
                format!("rule {rule} is for anyone, so nobody signs in"),
            )
            .help("take `mfa` and `login` out, or use \"any-user\""),
        );
    }
    sessions::check_anyone(cx, &def.body, rule);
    if ast.word(AllowKey::Rate).is_none() && cx.defaults.rate.is_none() {
        cx.diags.push(
            Diagnostic::warning("no-rate", span, format!("rule {rule} has no rate tier"))
                .help("add  rate = \"<tier>\"  so that one caller cannot use it all"),
        );
    }
}

fn warn_nobody(cx: &mut Cx<'_>, who: &Who, span: Span, rule: &RuleId<'_>) {
    let group_has = |ix: &u32| {
        cx.groups
            .get(*ix as usize)
            .is_some_and(|group| !group.members.is_empty())
    };
    let somebody =
        who.anyone || who.any_user || !who.users.is_empty() || who.groups.iter().any(group_has);
    if !somebody {
        cx.diags.push(Diagnostic::warning(
            "matches-nobody",
            span,
            format!("rule {rule} is for groups that are empty"),
        ));
    }
}

/// Resolves a list of people; `None` when it names nobody.
pub(super) fn who(cx: &mut Cx<'_>, list: List<'_>, owner: &dyn Display) -> Option<Who> {
    let mut who = Who::default();
    for word in list.v {
        match word.v.strip_prefix('!') {
            Some(rest) => {
                let bare = Word {
                    v: rest.into(),
                    span: word.span,
                };
                if matches!(rest, "anyone" | "any-user") {
                    cx.diags.push(
                        Diagnostic::error(
                            "empty-who",
                            word.span,
                            format!("`!{rest}` leaves nobody"),
                        )
                        .help("subtract users or @groups"),
                    );
                } else {
                    one(cx, &bare, &mut who.not_users, &mut who.not_groups);
                }
            }
            None if word.v == "anyone" => who.anyone = true,
            None if word.v == "any-user" => who.any_user = true,
            None => one(cx, word, &mut who.users, &mut who.groups),
        }
    }
    let negative = |word: &Word| word.v.starts_with('!');
    if list.v.iter().all(negative) {
        cx.diags.push(
            Diagnostic::error(
                "empty-who",
                list.span,
                format!("`who` of {owner} names nobody"),
            )
            .help("name groups (\"@it\"), users, or any-user"),
        );
        return None;
    }
    if who.anyone && list.v.iter().any(negative) {
        cx.diags.push(
            Diagnostic::error(
                "bad-who",
                list.span,
                "nobody can be subtracted from `anyone`: they need not sign in",
            )
            .help("use \"any-user\", or a [deny.…] guard"),
        );
    }
    for list in [
        &mut who.users,
        &mut who.groups,
        &mut who.not_users,
        &mut who.not_groups,
    ] {
        list.sort_unstable();
        list.dedup();
    }
    Some(who)
}

fn one(cx: &mut Cx<'_>, word: &Word, users: &mut Vec<u32>, groups: &mut Vec<u32>) {
    if let Some(name) = word.v.strip_prefix('@') {
        match index(cx.groups, name, |group| &group.name) {
            Some(ix) => groups.push(ix),
            None => {
                let names: Vec<String> = cx
                    .groups
                    .iter()
                    .map(|group| format!("@{}", group.name))
                    .collect();
                let finding = unknown(word, "group", names.iter().map(String::as_str));
                cx.diags.push(finding);
            }
        }
        return;
    }
    match index(cx.users, &word.v, |user| &user.name) {
        Some(ix) => users.push(ix),
        None if index(cx.groups, &word.v, |group| &group.name).is_some() => cx
            .diags
            .push(unknown(word, "user", [""]).meant(Some(Meant::group(&word.v)))),
        None => {
            let names = cx.users.iter().map(|user| user.name.as_str());
            let finding = unknown(word, "user", names.chain(["any-user", "anyone"]));
            cx.diags.push(finding);
        }
    }
}

pub(super) fn zones(cx: &mut Cx<'_>, list: List<'_>) -> Vec<u32> {
    if list.v.is_empty() {
        cx.diags.push(empty_list(list.span, "from"));
    }
    let mut out = Vec::new();
    for word in list.v {
        if let Some(group) = cx.zone_groups.get(word.v.as_str()) {
            out.extend(group);
            continue;
        }
        match cx
            .zones
            .iter()
            .position(|zone| word.v == zone.name.as_str())
        {
            Some(ix) => out.extend(u32::try_from(ix).ok()),
            None => {
                let groups = cx.zone_groups.keys().map(String::as_str);
                let names = cx.zones.iter().map(|zone| zone.name.as_str()).chain(groups);
                let address =
                    word.v.starts_with(|c: char| c.is_ascii_digit()) && word.v.contains(['.', ':']);
                let finding = unknown(word, "zone", names);
                cx.diags.push(if address {
                    finding.help("addresses stand only in [zone]; give this one a name there")
                } else {
                    finding
                });
            }
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}

fn whens(cx: &mut Cx<'_>, list: List<'_>) -> Vec<u32> {
    schedules(cx, list, "when")
}

fn schedules(cx: &mut Cx<'_>, list: List<'_>, key: &str) -> Vec<u32> {
    if list.v.is_empty() {
        cx.diags.push(empty_list(list.span, key));
    }
    let mut out = Vec::new();
    for word in list.v {
        match index(cx.schedules, &word.v, |schedule| &schedule.name) {
            Some(ix) => out.push(ix),
            None => {
                let names = cx.schedules.iter().map(|schedule| schedule.name.as_str());
                let finding = unknown(word, "schedule", names);
                cx.diags.push(finding);
            }
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}

fn methods_of(cx: &mut Cx<'_>, list: List<'_>) -> Vec<Text> {
    if list.v.is_empty() {
        cx.diags.push(empty_list(list.span, "methods"));
    }
    let mut out: Vec<Text> = Vec::new();
    for word in list.v {
        match word.v.as_str() {
            "read" | "GET" => out.extend(["GET", "HEAD"].map(Text::from)),
            other => match method(other) {
                Ok(()) => out.push(word.v.clone()),
                Err((help, meant)) => {
                    let finding = super::settings::bad(word, "a method").help(help);
                    cx.diags.push(finding.meant(meant));
                }
            },
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// Checks the name of a method; if it is none, says what to do, and which was probably meant.
fn method(name: &str) -> Result<(), (String, Option<Meant>)> {
    let upper = name.to_ascii_uppercase();
    match canon::method(name) {
        Err(reject) if reject.reason() == "method-refused" => {
            Err((format!("{upper} is never let through"), None))
        }
        Ok(_) if name == upper => Ok(()),
        Ok(_) | Err(_) => {
            let help = "methods are upper-case names such as GET or PROPFIND, or `read`";
            Err((help.to_owned(), spelled(name)))
        }
    }
}

/// The method that a word spells in another way.
fn spelled(name: &str) -> Option<Meant> {
    let known = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "read",
    ];
    let near = nearest(&name.to_ascii_uppercase(), known)?;
    Some(Meant::name(name, near))
}

/// Resolves the guards: the root's, then those of tenants, sorted by name.
pub(super) fn guards(
    cx: &mut Cx<'_>,
    defs: &[Def<GuardAst>],
    apps: &[App],
    nets: &[Net],
) -> Vec<Guard> {
    let mut guards: Vec<Guard> = unique(defs, "guard", cx.diags)
        .into_iter()
        .filter_map(|def| guard(cx, def, apps, nets))
        .collect();
    // those of the root come first
    guards.sort_by_key(|guard| owner(&guard.id).is_some());
    guards
}

fn guard(cx: &mut Cx<'_>, def: &Def<GuardAst>, apps: &[App], nets: &[Net]) -> Option<Guard> {
    let ast = &def.body;
    let id = show(&id("deny", &def.name.v));
    let bare = ast.who.is_none() && ast.from.is_none() && ast.device_not.is_none();
    let timed = ast.when.is_some() || ast.unless_when.is_some();
    if bare && !timed && ast.on.is_none() {
        cx.diags.push(
            Diagnostic::error(
                "denies-all",
                def.name.span,
                format!("{id} would deny everything"),
            )
            .help("say whom, from where or on what: who, from, device-not, on"),
        );
    }
    if let Some(word) = ast.reason.as_ref().filter(|word| word.v.trim().is_empty()) {
        cx.diags.push(
            Diagnostic::error("bad-value", word.span, "`reason` is empty")
                .help("say why in a few words; the audit journal keeps it"),
        );
    }
    let from = ast.from.as_ref().map(|list| zones(cx, list.list()));
    let device_not = ast.device_not.as_ref().and_then(|word| {
        let class = device(word, cx.diags)?;
        if class == Device::Any {
            cx.diags.push(
                super::settings::bad(word, "a class a device can be below")
                    .help("device-not = \"known\" or \"managed\""),
            );
        }
        Some(class)
    });
    let when = ast
        .when
        .as_ref()
        .map(|list| schedules(cx, list.list(), "when"));
    let unless_when = ast
        .unless_when
        .as_ref()
        .map(|list| schedules(cx, list.list(), "unless-when"));
    let on = ast
        .on
        .as_ref()
        .map(|list| resources(cx, list.list(), apps, nets));
    let who = match &ast.who {
        Some(list) => Some(who(cx, list.list(), &id)?),
        None => None,
    };
    if let (Some(set), Some(list)) = (&who, &ast.who)
        && set.anyone
    {
        cx.diags.push(
            Diagnostic::error("bad-who", list.span, format!("{id} cannot name `anyone`"))
                .help("leave `who` out: a guard without it binds every caller"),
        );
    }
    Some(Guard {
        id,
        who,
        from,
        device_not,
        on,
        when,
        unless_when,
        shadow: ast.shadow,
        reason: ast
            .reason
            .as_ref()
            .map(|word| word.v.to_string())
            .unwrap_or_default(),
        span: def.name.span,
    })
}

fn resources(cx: &mut Cx<'_>, list: List<'_>, apps: &[App], nets: &[Net]) -> Vec<Resource> {
    if list.v.is_empty() {
        cx.diags.push(empty_list(list.span, "on"));
    }
    let find = |text: &str| {
        if text == "admin" {
            return Some(Resource::Admin);
        }
        if let Some(ix) = index(apps, text, |app| &app.id) {
            return Some(Resource::App(ix));
        }
        index(nets, text, |net| &net.id).map(Resource::Net)
    };
    let mut out = Vec::new();
    for word in list.v {
        match find(&word.v) {
            Some(resource) => out.push(resource),
            None => {
                let ids = apps
                    .iter()
                    .map(|app| app.id.as_str())
                    .chain(nets.iter().map(|net| net.id.as_str()))
                    .chain(["admin"]);
                let finding = unknown(word, "resource", ids);
                let finding = match finding.help {
                    Some(_) => finding,
                    None => finding.help("write app.<id>, net.<id> or admin"),
                };
                cx.diags.push(finding);
            }
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}
