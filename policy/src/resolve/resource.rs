//! Apps with their areas, nets, and the console.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::access::{Place, allows};
use super::headers::set_ix;
use super::places::cidrs;
use super::settings::bad;
use super::tenants::{id, split};
use super::values::{duration, ports};
use super::{Cx, empty_list, unique, unique_own};
use crate::canon;
use crate::diag::{Diagnostic, show};
use crate::hash::Keyed;
use crate::ir::{Allow, App, Area, Host, Net, Pattern, Ports, Seg};
use crate::lane::Lanes;
use crate::source::Span;
use crate::syntax::{AllowAst, AppAst, AreaAst, Def, NetAst, Word};

/// Most segments of one area's path.
const MAX_SEGMENTS: usize = 32;
/// Most areas of one app.
const MAX_AREAS: usize = 1024;
/// The greatest age of a token that an area may take, in seconds.
const TOKEN_MAX: u32 = 366 * 86_400;

pub(super) fn apps(cx: &mut Cx<'_>, defs: Vec<Def<AppAst>>) -> Vec<App> {
    let mut taken: HashMap<Host, Span, Keyed> = HashMap::default();
    let root = cx.defaults;
    let mut apps: Vec<App> = unique_own(defs, "app", cx.diags)
        .into_iter()
        .map(|def| {
            let def = &def;
            let id = show(&id("app", &def.name.v));
            let own = split(&def.name.v).0.and_then(|name| cx.tenants.get(name));
            cx.defaults = own.unwrap_or(root);
            let hosts = hosts(cx, def, &mut taken);
            check_readings(cx, def, &id);
            let fold = def.body.windows || def.body.case_insensitive;
            App {
                hosts,
                fold,
                windows: def.body.windows,
                path_params: def.body.path_params,
                encoded_slashes: def.body.encoded_slashes,
                empty_segments: def.body.empty_segments,
                preflight: def.body.preflight,
                shadow: def.body.shadow,
                areas: areas(cx, def, &id),
                id,
            }
        })
        .collect();
    cx.defaults = root;
    apps.sort_by(|a, b| a.id.cmp(&b.id));
    apps.shrink_to_fit();
    apps
}

/// A path with parameters, `%2F` and `//` could be read in more ways than are compared.
fn check_readings(cx: &mut Cx<'_>, def: &Def<AppAst>, id: &str) {
    let app = &def.body;
    if app.path_params && (app.encoded_slashes || app.empty_segments) {
        let title = format!("{id} takes `;parameters` and `%2F` or `//` in its paths");
        let finding = Diagnostic::error("readings", def.name.span, title);
        cx.diags.push(finding.help(
            "take out `path-params`, or `encoded-slashes` and `empty-segments`: together they could be read in too many ways",
        ));
    }
}

fn hosts(cx: &mut Cx<'_>, def: &Def<AppAst>, taken: &mut HashMap<Host, Span, Keyed>) -> Vec<Host> {
    let Some(words) = &def.body.host else {
        return Vec::new();
    };
    if words.is_empty() {
        cx.diags.push(empty_list(def.name.span, "host"));
    }
    let mut hosts = Vec::new();
    for word in words {
        let Some(host) = host(cx, word) else { continue };
        if let Some(first) = taken.get(&host) {
            cx.diags.push(
                Diagnostic::error(
                    "host-twice",
                    word.span,
                    format!("host `{}` is already taken", show(&word.v)),
                )
                .related(*first, "here")
                .help("one host belongs to one app; use areas for parts of it"),
            );
            continue;
        }
        taken.insert(host.clone(), word.span);
        hosts.push(host);
    }
    hosts.sort_unstable();
    hosts
}

fn host(cx: &mut Cx<'_>, word: &Word) -> Option<Host> {
    let host = parse_host(&word.v).ok();
    if host.is_none() {
        cx.diags.push(refuse_host(word, "a host"));
    }
    host
}

/// Reads a host name, or `*.` and one; else says what to write.
pub(super) fn parse_host(text: &str) -> Result<Host, &'static str> {
    let (wildcard, name) = match text.strip_prefix("*.") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    match canon::host(name) {
        Ok(host) if host.is_address() => Err("a host is a name, not an address"),
        Ok(host) => Ok(Host {
            wildcard,
            name: host.as_str().to_owned(),
        }),
        Err(_) if name.contains("://") => Err("leave the scheme out: only the name"),
        Err(_) if name.contains([':', '/']) => Err("leave port and path out: only the name"),
        Err(_) if name.contains('*') => Err("`*.` may only stand in front, for one label"),
        Err(_) => Err("a host name such as paie.cabinet.example, or *.cabinet.example"),
    }
}

/// Says why a text is no host.
pub(super) fn refuse_host(word: &Word, what: &str) -> Diagnostic {
    let help = parse_host(&word.v).err().unwrap_or_default();
    bad(word, what).help(help)
}

fn areas(cx: &mut Cx<'_>, def: &Def<AppAst>, id: &str) -> Vec<Area> {
    let set = |cx: &mut Cx<'_>, word: Option<&Word>, or: Option<u32>| match word {
        Some(word) => set_ix(word, cx.header_sets, cx.diags),
        None => or,
    };
    let whole = set(cx, def.body.headers.as_ref(), cx.defaults.headers);
    let root = Arc::clone(&cx.held.root);
    let root = area(cx, &def.body.root, root, id, (whole, def.name.span));
    let mut areas = Vec::with_capacity(def.body.areas.len() + 1);
    areas.push(root);
    let mut at = String::new();
    for sub in &def.body.areas {
        let fold = def.body.windows || def.body.case_insensitive;
        if let Some(pattern) = pattern(cx, &sub.name, id, fold) {
            at.clear();
            at.push_str(id);
            at.push_str(&pattern.text);
            let headers = set(cx, sub.body.headers.as_ref(), whole);
            let place = (headers, sub.name.span);
            areas.push(area(cx, &sub.body, pattern, &at, place));
        }
    }
    if areas.len() > MAX_AREAS {
        let found = areas.len();
        cx.diags.extend(super::limit(
            "areas in one app",
            found,
            MAX_AREAS,
            &def.name,
        ));
        return Vec::new();
    }
    areas.sort_by(|a, b| a.pattern.text.cmp(&b.pattern.text));
    check_overlaps(cx, &areas, id);
    if areas.iter().any(|area| area.shadow) {
        let enforced: Vec<Area> = areas.iter().filter(|area| !area.shadow).cloned().collect();
        check_overlaps(cx, &enforced, id);
    }
    areas
}

/// Resolves an area with the header set its rules inherit and its place.
fn area(
    cx: &mut Cx<'_>,
    ast: &AreaAst,
    pattern: Arc<Pattern>,
    id: &str,
    (headers, span): (Option<u32>, Span),
) -> Area {
    if let Some(word) = &ast.public {
        if word.v.trim().is_empty() {
            cx.diags.push(
                Diagnostic::error("bad-value", word.span, "`public` without a reason")
                    .help("say why the world may come in"),
            );
        } else if !super::front::is_open(ast) {
            cx.diags.push(
                Diagnostic::warning(
                    "public-unused",
                    word.span,
                    format!("{id} is public for nobody"),
                )
                .help("`public` only permits rules for `anyone`; this area has none"),
            );
        }
    }
    let place = Place::Area {
        id,
        public: ast.public.is_some(),
        headers,
    };
    Area {
        front: super::front::written(cx, ast, &pattern, id),
        lanes: lanes(cx, ast),
        pattern,
        public: ast.public.as_ref().map(|word| word.v.clone()),
        shadow: ast.shadow,
        allows: allows(cx, &ast.allows, place),
        span,
    }
}

/// Reads what an area takes beside a sign-in in the browser.
fn lanes(cx: &mut Cx<'_>, ast: &AreaAst) -> Lanes {
    let tokens = ast.tokens.as_ref().and_then(|word| {
        let most = match duration(&word.v) {
            Ok(secs) if (1..=TOKEN_MAX).contains(&secs) => Ok(secs),
            Ok(_) => Err("from 1s to 366d".to_owned()),
            Err(help) => Err(help),
        };
        let report = |help| cx.diags.push(bad(word, "an age of tokens").help(help));
        most.map_err(report).ok()
    });
    Lanes {
        device: ast.device_only,
        tokens,
    }
}

/// Reads `"/admin"`, `"=/healthz"`, `"/users/*/keys"`.
fn pattern(cx: &mut Cx<'_>, word: &Word, id: &str, fold: bool) -> Option<Arc<Pattern>> {
    let [apart, folded] = &mut cx.held.patterns;
    let known = if fold { folded } else { apart };
    if let Some(pattern) = known.get(&word.v) {
        return Some(Arc::clone(pattern));
    }
    match parse_pattern(&word.v, fold) {
        Ok(pattern) => {
            let pattern = Arc::new(pattern);
            known.insert(word.v.clone(), Arc::clone(&pattern));
            Some(pattern)
        }
        Err(help) => {
            cx.diags.push(
                Diagnostic::error(
                    "bad-path",
                    word.span,
                    format!("`{}` is not an area of {id}", show(&word.v)),
                )
                .help(help),
            );
            None
        }
    }
}

fn parse_pattern(text: &str, fold: bool) -> Result<Pattern, String> {
    let (exact, path) = match text.strip_prefix('=') {
        Some(path) => (true, path),
        None => (false, text),
    };
    if path.contains(['?', '#']) {
        return Err("query and fragment never choose a rule; leave them out".to_owned());
    }
    let canonical = canon::path(path.as_bytes())
        .map_err(|reject| format!("no request can have this path ({reject})"))?;
    if canonical.as_str() != path {
        let mark = if exact { "=" } else { "" };
        return Err(format!("requests are matched as {mark}{canonical}"));
    }
    if !exact && path == "/" {
        return Err("the rules of / stand in the app itself".to_owned());
    }
    if !exact && path.ends_with('/') {
        return Err(format!(
            "write {} for this path and everything below, without the last slash",
            path.trim_end_matches('/')
        ));
    }
    let mut segs = Vec::new();
    for segment in canon::segments(path) {
        segs.push(match segment {
            "*" => Seg::Star,
            part if part.contains('*') => {
                return Err("`*` stands alone, for one whole segment".to_owned());
            }
            part => Seg::Literal(canon::decode(part)),
        });
    }
    let lower = |seg: &Seg| match seg {
        Seg::Star => true,
        Seg::Literal(text) => text.chars().flat_map(char::to_lowercase).eq(text.chars()),
    };
    if fold && !segs.iter().all(lower) {
        return Err("this app does not tell cases apart: write the path in lower case".to_owned());
    }
    if segs.len() > MAX_SEGMENTS {
        return Err(format!("at most {MAX_SEGMENTS} segments"));
    }
    Ok(Pattern {
        segs,
        exact,
        text: text.to_owned(),
    })
}

/// Every two areas that share paths must have a unique most specific one: their intersection.
fn check_overlaps(cx: &mut Cx<'_>, areas: &[Area], id: &str) {
    let mut reported: Vec<Pattern> = Vec::new();
    for (at, a) in areas.iter().enumerate() {
        for b in areas.iter().skip(at + 1) {
            if a.pattern.same(&b.pattern) {
                cx.diags.push(
                    Diagnostic::error(
                        "area-twice",
                        b.span,
                        format!(
                            "{id}{} is the same area as {id}{}",
                            b.pattern.text, a.pattern.text
                        ),
                    )
                    .related(a.span, "first written here")
                    .help("join the two"),
                );
            }
            if !a.pattern.has_star() && !b.pattern.has_star() {
                continue;
            }
            let Some(common) = uncovered(areas, &a.pattern, &b.pattern) else {
                continue;
            };
            if !reported.iter().any(|p| p.same(&common)) {
                cx.diags.push(
                    Diagnostic::error(
                        "overlap",
                        b.span,
                        format!(
                            "areas {} and {} of {id} overlap and neither is more specific",
                            a.pattern.text, b.pattern.text
                        ),
                    )
                    .related(a.span, "the other area")
                    .help(format!(
                        "add [{id}.\"{}\"] and say who may go there",
                        common.text
                    )),
                );
                reported.push(common);
            }
        }
    }
}

fn uncovered(areas: &[Area], a: &Pattern, b: &Pattern) -> Option<Pattern> {
    if a.contains(b) || b.contains(a) {
        return None;
    }
    let common = a.intersection(b)?;
    let defined = areas.iter().any(|area| area.pattern.same(&common));
    (!defined).then_some(common)
}

pub(super) fn nets(cx: &mut Cx<'_>, defs: &[Def<NetAst>]) -> Vec<Net> {
    let nets: Vec<Net> = unique(defs, "net", cx.diags)
        .into_iter()
        .map(|def| net(cx, def))
        .collect();
    check_ties(cx, &nets);
    nets
}

fn net(cx: &mut Cx<'_>, def: &Def<NetAst>) -> Net {
    let id = format!("net.{}", show(&def.name.v));
    for (key, list) in [("to", &def.body.to), ("port", &def.body.port)] {
        if list.as_ref().is_some_and(Vec::is_empty) {
            cx.diags.push(empty_list(def.name.span, key));
        }
    }
    let to = cidrs(def.body.to.as_deref().unwrap_or_default(), cx.diags);
    let mut ranges = Vec::new();
    for word in def.body.port.iter().flatten() {
        match ports(&word.v) {
            Some(range) => ranges.push(range),
            None => cx
                .diags
                .push(bad(word, "a port").help("write 22/tcp, 8000-8100/udp or icmp")),
        }
    }
    ranges.sort_unstable();
    ranges.dedup();
    let allows = allows(cx, &def.body.allows, Place::Plain { id: &id });
    Net {
        to,
        ports: ranges,
        shadow: def.body.shadow,
        allows,
        id,
        span: def.name.span,
    }
}

/// Two nets may not claim one service with the same prefix and equally wide ports.
fn check_ties(cx: &mut Cx<'_>, nets: &[Net]) {
    let mut by_prefix: BTreeMap<_, Vec<(&Net, Ports)>> = BTreeMap::new();
    for net in nets {
        for to in &net.to {
            for range in &net.ports {
                let width = range.last - range.first;
                let rivals = by_prefix.entry((*to, range.proto, width)).or_default();
                let rival = rivals.iter().find(|(other, theirs)| {
                    other.id != net.id && theirs.first <= range.last && range.first <= theirs.last
                });
                if let Some((other, _)) = rival {
                    cx.diags.push(
                        Diagnostic::error(
                            "overlap",
                            net.span,
                            format!("{} and {} claim the same ports of {to}", other.id, net.id),
                        )
                        .related(other.span, "the other net")
                        .help("join them, or make one narrower"),
                    );
                }
                rivals.push((net, *range));
            }
        }
    }
}

pub(super) fn admin(cx: &mut Cx<'_>, defs: &[Def<Vec<Def<AllowAst>>>]) -> Vec<Allow> {
    let defs = unique(defs, "table", cx.diags);
    let Some(def) = defs.first() else {
        return Vec::new();
    };
    allows(cx, &def.body, Place::Plain { id: "admin" })
}
