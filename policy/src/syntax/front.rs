//! The keys of the front in an app's or an area's table.

mod answers;
pub(super) mod schema;
mod upstreams;

use std::fmt::Display;
use std::sync::Arc;

use ipnet::IpNet;

use super::Sp;
use super::read::Reader;
use super::tree::Entry;
use crate::diag::{Diagnostic, show};
use crate::front::{
    Balance, Breaker, Check, Maintenance, Member, Pool, Redirect, Source, Static, Written,
};
use crate::resolve::values;
use crate::source::Span;

/// The keys, in the order in which they are read.
pub(super) const KEYS: [&str; 27] = [
    "upstream",
    "balance",
    "sticky",
    "check",
    "concurrency",
    "breaker",
    "upstream-networks",
    "static",
    "redirect",
    "timeout",
    "body-max",
    "methods",
    "websocket",
    "strip-prefix",
    "add-prefix",
    "preset",
    "set",
    "add",
    "remove",
    "keep-app",
    "csp-report-only",
    "csp-reports",
    "cors",
    "compress",
    "cache",
    "maintenance",
    "justify",
];

/// What the front's keys of one table say.
#[derive(Clone, Debug, Default)]
pub(crate) struct FrontAst {
    pub(crate) written: Written,
    /// The upstreams, for checks across apps.
    pub(crate) members: Vec<Sp<Member>>,
    /// Files and sockets of the gateway's own machine that the keys name.
    pub(crate) local: Vec<Span>,
    /// `strip-prefix`.
    pub(crate) strip: Option<Span>,
    /// `static`.
    pub(crate) files: Option<Span>,
    /// `cache`.
    pub(crate) cache: Option<Span>,
    /// `justify`, where it asks.
    pub(crate) justify: Option<Span>,
    sources: Vec<(&'static str, Span)>,
    balance: Option<Sp<Balance>>,
    websocket: Option<Span>,
    sticky: Option<Sp<bool>>,
    check: Option<Sp<Check>>,
    concurrency: Option<Sp<u32>>,
    breaker: Option<Sp<Breaker>>,
    networks: Option<Sp<Vec<IpNet>>>,
    auto: Option<Span>,
}

/// Reads one key.
pub(super) fn key(r: &mut Reader<'_>, e: &Entry<'_>, front: &mut FrontAst, place: &dyn Display) {
    let written = &mut front.written;
    match e.key {
        "upstream" => {
            front.members = upstreams::members(r, e, &mut front.local);
            front.sources.push(("upstream", e.span));
        }
        "balance" => front.balance = upstreams::balance(r, e),
        "sticky" => {
            let v = r.boolean(e).unwrap_or(false);
            front.sticky = Some(Sp { v, span: e.span });
        }
        "check" => front.check = upstreams::check(r, e, place),
        "concurrency" => {
            let found = upstreams::count(r, e, upstreams::AT_ONCE);
            front.concurrency = found.map(|v| Sp { v, span: e.span });
        }
        "breaker" => front.breaker = upstreams::breaker(r, e, place),
        "upstream-networks" => front.networks = upstreams::networks(r, e),
        "maintenance" => {
            written.maintenance = answers::maintenance(r, e);
            let auto = written.maintenance == Some(Maintenance::Auto);
            front.auto = auto.then_some(e.span);
        }
        "static" => {
            front.sources.push(("static", e.span));
            front.files = Some(e.span);
            front.local.push(e.span);
            written.source = files(r, e, place).map(Source::Static);
        }
        "redirect" => {
            front.sources.push(("redirect", e.span));
            written.source = redirect(r, e, place).map(Source::Redirect);
        }
        "timeout" => upstreams::timeout(r, e, place, written),
        "body-max" => written.body_max = bytes(r, e),
        "methods" => written.methods = methods(r, e),
        "websocket" => {
            written.websocket = r.boolean(e);
            front.websocket = (written.websocket == Some(true)).then_some(e.span);
        }
        "strip-prefix" => {
            front.strip = Some(e.span);
            written.strip = prefix(r, e);
        }
        "add-prefix" => written.lead = prefix(r, e),
        "preset" => written.preset = answers::preset(r, e),
        "set" => written.set = answers::fields(r, e),
        "add" => written.add = answers::fields(r, e),
        "remove" => written.remove = answers::names(r, e),
        "keep-app" => written.keep_app = answers::names(r, e),
        "csp-report-only" => written.csp_report_only = r.boolean(e),
        "csp-reports" => written.csp_reports = r.boolean(e),
        "cors" => written.cors = answers::cors(r, e, place).map(|found| found.map(Arc::new)),
        "cache" => {
            front.cache = Some(e.span);
            written.cache = answers::cache(r, e, place).map(|found| found.map(Arc::new));
        }
        "justify" => {
            written.justify = answers::justify(r, e);
            front.justify = matches!(written.justify, Some(Some(_))).then_some(e.span);
        }
        _ => written.compress = answers::compress(r, e, place).map(|found| found.map(Arc::new)),
    }
}

/// Puts together what several keys say.
pub(super) fn finish(r: &mut Reader<'_>, front: &mut FrontAst, place: &dyn Display) {
    if let [(first, at), (second, span), ..] = front.sources.as_slice() {
        r.push(
            Diagnostic::error(
                "misplaced",
                *span,
                format!("`{second}` beside `{first}` in [{place}]"),
            )
            .related(*at, "the other")
            .help("answers come from one place; give one of them an area of its own"),
        );
    }
    let pooled = front.sources.iter().any(|(key, _)| *key == "upstream");
    let spans = [
        ("balance", front.balance.as_ref().map(|b| b.span)),
        ("sticky", front.sticky.as_ref().map(|s| s.span)),
        ("check", front.check.as_ref().map(|c| c.span)),
        ("concurrency", front.concurrency.as_ref().map(|c| c.span)),
        ("breaker", front.breaker.as_ref().map(|b| b.span)),
        ("upstream-networks", front.networks.as_ref().map(|n| n.span)),
    ];
    for (key, span) in spans {
        if let (false, Some(span)) = (pooled, span) {
            r.push(
                Diagnostic::error(
                    "misplaced",
                    span,
                    format!("`{key}` in [{place}], which has no `upstream`"),
                )
                .help("move it to where the upstreams stand"),
            );
        }
    }
    if let (None, Some(span)) = (&front.check, front.auto) {
        r.push(
            Diagnostic::error(
                "misplaced",
                span,
                format!("`maintenance = \"auto\"` in [{place}], which has no `check`"),
            )
            .help(
                "only a check tells when it begins and ends; write one here, or say true or false",
            ),
        );
    }
    let http2 = front.members.iter().find(|m| m.v.to.http2);
    if let (Some(member), Some(span)) = (http2, front.websocket) {
        r.push(
            Diagnostic::error(
                "misplaced",
                span,
                format!("`websocket` in [{place}], whose upstream speaks HTTP/2"),
            )
            .related(member.span, "this upstream")
            .help("give the path of the WebSocket an area of its own with an upstream of http:// or https://"),
        );
    }
    let networks = front.networks.take().map(|n| n.v).unwrap_or_default();
    upstreams::places(r, &front.members, &networks);
    if !front.members.is_empty() {
        front.written.source = Some(Source::Pool(Arc::new(Pool {
            members: front.members.iter().map(|m| m.v.clone()).collect(),
            balance: front
                .balance
                .as_ref()
                .map_or_else(Balance::default, |b| b.v),
            sticky: front.sticky.as_ref().is_some_and(|s| s.v),
            check: front.check.as_ref().map(|c| c.v.clone()),
            concurrency: front.concurrency.as_ref().map(|c| c.v),
            breaker: front.breaker.as_ref().map(|b| b.v),
            networks,
        })));
    }
}

fn bad(r: &mut Reader<'_>, span: Span, title: String, help: &str) {
    r.push(Diagnostic::error("bad-value", span, title).help(help));
}

/// Keeps what could be read.
fn put<T>(into: &mut T, found: Option<T>) {
    if let Some(found) = found {
        *into = found;
    }
}

/// A path on the gateway's own machine.
fn file(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<String> {
    let word = r.string(e)?;
    if is_file(&word.v) {
        return Some(word.v.to_string());
    }
    let title = format!("`{}` is not a path of a file", show(&word.v));
    bad(
        r,
        word.span,
        title,
        "write it from the root and without `..`, such as /srv/www",
    );
    None
}

fn is_file(text: &str) -> bool {
    text.len() > 1
        && text.starts_with('/')
        && text.len() <= 1024
        && !text.chars().any(char::is_control)
        && !text.split('/').any(|part| matches!(part, "." | ".."))
}

fn files(r: &mut Reader<'_>, e: &Entry<'_>, place: &dyn Display) -> Option<Static> {
    let mut files = Static {
        root: String::new(),
        index: "index.html".to_owned(),
        fallback: None,
    };
    if e.value.as_str().is_some() {
        files.root = file(r, e)?;
        return Some(files);
    }
    let table = r.table(e)?;
    r.require(
        table,
        e.span,
        format!("`static` of [{place}]"),
        "root",
        "\"/srv/www\"",
    );
    for e in table.entries() {
        match e.key {
            "root" => files.root = file(r, &e).unwrap_or_default(),
            "index" => put(&mut files.index, inside(r, &e)),
            "fallback" => files.fallback = inside(r, &e),
            _ => r.stray_key(&e, super::keys::STATIC, format!("`static` of [{place}]")),
        }
    }
    Some(files)
}

/// A path below a folder.
fn inside(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<String> {
    let word = r.string(e)?;
    if is_file(&format!("/{}", word.v)) && !word.v.starts_with('/') {
        return Some(word.v.to_string());
    }
    let title = format!("`{}` is not a file in the folder", show(&word.v));
    bad(
        r,
        word.span,
        title,
        "write it from the folder, such as index.html",
    );
    None
}

fn redirect(r: &mut Reader<'_>, e: &Entry<'_>, place: &dyn Display) -> Option<Redirect> {
    if e.value.as_str().is_some() {
        let (to, keep) = address(r, e)?;
        return Some(Redirect {
            to,
            keep,
            status: 308,
        });
    }
    let table = r.table(e)?;
    let name = format!("`redirect` of [{place}]");
    r.require(table, e.span, &name, "to", "\"https://new.example/*\"");
    let mut status = 308;
    let mut found = None;
    for e in table.entries() {
        match e.key {
            "to" => found = address(r, &e),
            "status" => {
                let Some(given) = r.integer(&e) else { continue };
                match u16::try_from(given.v) {
                    Ok(known @ (301 | 302 | 303 | 307 | 308)) => status = known,
                    _ => {
                        let title = format!("{} is not the status of a redirect", given.v);
                        bad(r, given.span, title, "one of: 301, 302, 303, 307, 308");
                    }
                }
            }
            _ => r.stray_key(&e, super::keys::REDIRECT, &name),
        }
    }
    let (to, keep) = found?;
    Some(Redirect { to, keep, status })
}

/// An address to send a browser to, and whether the rest of the path follows.
fn address(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<(String, bool)> {
    let word = r.string(e)?;
    let (to, keep) = match word.v.strip_suffix("/*") {
        Some(to) => (to, true),
        None => (word.v.as_str(), false),
    };
    let rest = to
        .strip_prefix("https://")
        .or_else(|| to.strip_prefix("http://"));
    let absolute = rest.is_some_and(|rest| {
        let host = rest.split(['/', '?']).next().unwrap_or_default();
        let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
        crate::canon::host(host).is_ok_and(|canonical| canonical.as_str() == host)
    });
    let local = to.starts_with('/') || (to.is_empty() && keep);
    let local = local && !to.starts_with("//");
    let plain = |b: u8| (0x21..0x7f).contains(&b) && !b"\"<>\\^`{|}*#".contains(&b);
    let whole = !keep || !to.contains('?');
    if (absolute || local) && whole && to.bytes().all(plain) && to.len() <= 1024 {
        return Some((to.to_owned(), keep));
    }
    let title = format!("`{}` is no address to redirect to", show(&word.v));
    let help = "write https://host/path or /path; with /* at the end, the rest of the path and the query follow";
    bad(r, word.span, title, help);
    None
}

/// A number of bytes.
fn bytes(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<u64> {
    let word = r.string(e)?;
    let found = values::bytes(&word.v);
    if found.is_none() {
        let title = format!("`{}` is not a number of bytes", show(&word.v));
        bad(
            r,
            word.span,
            title,
            "write a whole number and B, KiB, MiB or GiB, as in 100MiB",
        );
    }
    found
}

fn methods(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<Vec<String>> {
    let words = r.strings(e)?;
    if words.v.is_empty() {
        r.push(
            Diagnostic::error("empty-list", words.span, "`methods` is an empty list")
                .help("name at least one, or leave `methods` out"),
        );
    }
    let mut out: Vec<String> = Vec::new();
    for word in &words.v {
        match word.v.as_str() {
            "read" => out.extend(["GET".to_owned(), "HEAD".to_owned()]),
            "GET" => out.extend(["GET".to_owned(), "HEAD".to_owned()]),
            method if crate::canon::method(method).is_ok() => out.push(method.to_owned()),
            method => {
                let title = format!("`{}` is not a method", show(method));
                let help = "write it in capitals, such as POST; or read, for GET and HEAD";
                bad(r, word.span, title, help);
            }
        }
    }
    out.sort_unstable();
    out.dedup();
    Some(out)
}

/// A path prefix of whole segments.
fn prefix(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<String> {
    let word = r.string(e)?;
    let sound = crate::canon::path(word.v.as_bytes()).is_ok_and(|path| word.v == path.as_str());
    if sound && word.v.len() > 1 && !word.v.ends_with('/') && !word.v.contains(['*', '?', '#']) {
        return Some(word.v.to_string());
    }
    let title = format!("`{}` is not the beginning of a path", show(&word.v));
    bad(
        r,
        word.span,
        title,
        "write whole segments without the last slash, such as /api",
    );
    None
}
