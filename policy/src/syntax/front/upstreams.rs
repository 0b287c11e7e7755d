//! Upstreams, how one is chosen, how they are probed, and how long they may take.

use std::fmt::Display;
use std::net::IpAddr;

use ipnet::IpNet;

use super::super::Sp;
use super::super::keys;
use super::super::read::Reader;
use super::super::tree::{Entry, Value};
use super::{bad, file, put};
use crate::diag::{Diagnostic, show};
use crate::front::{Balance, Breaker, Check, Member, TlsTo, Written, may_be_upstream};
use crate::ir::At;
use crate::resolve::{cidrs, values};
use crate::source::Span;

/// Most upstreams of one area.
const MOST: usize = 32;
/// The highest limit of requests under way.
pub(super) const AT_ONCE: u32 = 100_000;

/// A URL, a table, or a list of both.
pub(super) fn members(r: &mut Reader<'_>, e: &Entry<'_>, local: &mut Vec<Span>) -> Vec<Sp<Member>> {
    let Some(items) = e.value.as_array() else {
        return member(r, e.key, e.value, local).into_iter().collect();
    };
    let mut members: Vec<Sp<Member>> = Vec::new();
    let count = items.clone().count();
    if count == 0 {
        r.push(
            Diagnostic::error("empty-list", e.value.span(), "`upstream` is an empty list")
                .help("name at least one"),
        );
    }
    if count > MOST {
        let title = format!("{} upstreams, the limit is {MOST}", count);
        r.push(Diagnostic::error("limit", e.span, title));
    }
    for item in items.take(MOST) {
        let Some(found) = member(r, e.key, item, local) else {
            continue;
        };
        if let Some(first) = members.iter().find(|m| m.v.to == found.v.to) {
            let title = format!("upstream `{}` stands twice", found.v.to);
            r.push(
                Diagnostic::error("defined-twice", found.span, title)
                    .related(first.span, "first written here")
                    .help("give it a `weight` if it shall get more"),
            );
            continue;
        }
        let first = members.first();
        if let Some(first) = first.filter(|first| first.v.to.http2 != found.v.to.http2) {
            let title = format!(
                "upstream `{}` speaks another HTTP than the first",
                found.v.to
            );
            r.push(
                Diagnostic::error("misplaced", found.span, title)
                    .related(first.span, "the first")
                    .help("give those that speak HTTP/2 (h2c:// and h2://) an area of their own"),
            );
        }
        members.push(found);
    }
    members
}

fn member(
    r: &mut Reader<'_>,
    key: &str,
    value: Value<'_>,
    local: &mut Vec<Span>,
) -> Option<Sp<Member>> {
    let span = value.span();
    let mut member = None;
    let mut more = Member {
        to: crate::ir::Upstream::none(),
        weight: 1,
        drain: false,
        tls: TlsTo::default(),
    };
    if let Some(text) = value.as_str() {
        member = url(r, text, span);
    } else if let Some(table) = value.as_table() {
        r.require(table, span, "an upstream", "url", "\"http://host:port\"");
        let (mut cert, mut secret) = (None, None);
        for e in table.entries() {
            match e.key {
                "url" => {
                    let word = r.string(&e);
                    member = word.and_then(|word| url(r, &word.v, word.span));
                }
                "weight" => put(&mut more.weight, count(r, &e, 100)),
                "drain" => more.drain = r.boolean(&e).unwrap_or(false),
                "name" => more.tls.name = server_name(r, &e),
                "ca" => more.tls.ca = own_file(r, &e, local),
                "cert" => cert = own_file(r, &e, local),
                "key" => secret = own_file(r, &e, local),
                _ => r.stray_key(&e, keys::UPSTREAM, "an upstream"),
            }
        }
        more.tls.identity = match (cert, secret) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => {
                let title = "an upstream has `cert` or `key` without the other";
                bad(r, span, title.to_owned(), "write both");
                None
            }
        };
    } else {
        r.wrong_type(value, key, "a URL, a table, or a list of them");
    }
    more.to = member?;
    if more.tls != TlsTo::default() && !more.to.tls {
        let title = format!("`{}` is not reached by TLS", more.to);
        let help = "leave ca, name, cert and key out, or write https:// (h2:// for HTTP/2)";
        bad(r, span, title, help);
    }
    if matches!(more.to.at, At::Unix(_)) {
        local.push(span);
    }
    Some(Sp { v: more, span })
}

fn url(r: &mut Reader<'_>, text: &str, span: Span) -> Option<crate::ir::Upstream> {
    let found = values::upstream(text);
    if found.is_none() {
        let title = format!("`{}` is not an upstream", show(text));
        let help = "write http://host:port, https://host:port or unix:/path/of.socket, without a path; h2c://host:port or \
             h2://host:port (with TLS) for what speaks HTTP/2, such as gRPC";
        bad(r, span, title, help);
    }
    found
}

fn own_file(r: &mut Reader<'_>, e: &Entry<'_>, local: &mut Vec<Span>) -> Option<String> {
    local.push(e.span);
    file(r, e)
}

fn server_name(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<String> {
    let word = r.string(e)?;
    let sound = crate::canon::host(&word.v).is_ok_and(|host| word.v == host.as_str());
    if sound {
        return Some(word.v.to_string());
    }
    let title = format!("`{}` is not a host name", show(&word.v));
    bad(
        r,
        word.span,
        title,
        "write the name in the upstream's certificate",
    );
    None
}

/// Reads `upstream-networks = ["10.1.0.0/16"]`.
pub(super) fn networks(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<Sp<Vec<IpNet>>> {
    let words = r.strings(e)?;
    if words.v.is_empty() {
        let title = "`upstream-networks` is an empty list";
        r.push(Diagnostic::error("empty-list", words.span, title).help("name at least one"));
    }
    let mut wrong = Vec::new();
    let v = cidrs(&words.v, &mut wrong);
    wrong.into_iter().for_each(|diagnostic| r.push(diagnostic));
    Some(Sp { v, span: e.span })
}

/// Refuses upstreams that are written by address where none may be.
pub(super) fn places(r: &mut Reader<'_>, members: &[Sp<Member>], networks: &[IpNet]) {
    for member in members {
        let At::Net(host, _) = &member.v.to.at else {
            continue;
        };
        let outside = |ip: &IpAddr| !may_be_upstream(*ip, networks);
        if host.parse().is_ok_and(|ip| outside(&ip)) {
            let title = format!("no upstream may be at `{}`", show(host));
            let help = match networks {
                [] => {
                    "it is on the gateway's own link or in no single place; `upstream-networks` permits a link"
                }
                _ => "it is in none of `upstream-networks`, or in no single place",
            };
            r.push(Diagnostic::error("upstream-outside", member.span, title).help(help));
        }
    }
}

pub(super) fn balance(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<Sp<Balance>> {
    let word = r.string(e)?;
    let all = [Balance::RoundRobin, Balance::LeastConnections];
    let words = all.map(Balance::as_str);
    if !r.one_of(&word, "a way to choose an upstream", &words) {
        return None;
    }
    let v = all.into_iter().find(|b| word.v == b.as_str())?;
    Some(Sp { v, span: e.span })
}

/// Reads `check = { path = "/health" }`.
pub(super) fn check(r: &mut Reader<'_>, e: &Entry<'_>, place: &dyn Display) -> Option<Sp<Check>> {
    let table = r.table(e)?;
    let name = format!("`check` of [{place}]");
    r.require(table, e.span, &name, "path", "\"/health\"");
    let mut check = Check {
        path: String::new(),
        status: None,
        every: 10,
        timeout: 3,
        up: 2,
        down: 3,
        body: None,
        json: Vec::new(),
    };
    for e in table.entries() {
        match e.key {
            "path" => put(&mut check.path, path(r, &e)),
            "status" => check.status = status(r, &e),
            "every" => put(&mut check.every, secs(r, &e)),
            "timeout" => put(&mut check.timeout, secs(r, &e)),
            "up" => put(&mut check.up, count(r, &e, 100)),
            "down" => put(&mut check.down, count(r, &e, 100)),
            "body" => check.body = r.string(&e).map(|word| word.v.to_string()),
            "json" => put(&mut check.json, json(r, &e)),
            _ => r.stray_key(&e, keys::CHECK, &name),
        }
    }
    Some(Sp {
        v: check,
        span: e.span,
    })
}

/// Reads `breaker = { failures = 5, rest = "10s" }`; `breaker = true` is that.
pub(super) fn breaker(
    r: &mut Reader<'_>,
    e: &Entry<'_>,
    place: &dyn Display,
) -> Option<Sp<Breaker>> {
    let mut v = Breaker {
        failures: 5,
        rest: 10,
    };
    let span = e.span;
    if e.value.as_bool() == Some(true) {
        return Some(Sp { v, span });
    }
    let Some(table) = e.value.as_table() else {
        r.wrong_type(e.value, e.key, "true or a table");
        return None;
    };
    for e in table.entries() {
        match e.key {
            "failures" => put(&mut v.failures, count(r, &e, 1000)),
            "rest" => put(&mut v.rest, secs(r, &e)),
            _ => r.stray_key(&e, keys::BREAKER, format!("`breaker` of [{place}]")),
        }
    }
    Some(Sp { v, span })
}

fn path(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<String> {
    let word = r.string(e)?;
    let plain = |b: u8| (0x21..0x7f).contains(&b) && b != b'#';
    if word.v.starts_with('/') && word.v.len() <= 1024 && word.v.bytes().all(plain) {
        return Some(word.v.to_string());
    }
    let title = format!("`{}` is not a path to probe", show(&word.v));
    bad(
        r,
        word.span,
        title,
        "write it as a request has it, such as /health",
    );
    None
}

fn status(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<u16> {
    let number = r.integer(e)?;
    match u16::try_from(number.v) {
        Ok(status @ 200..=599) => Some(status),
        _ => {
            let title = format!("{} is not the status of an answer", number.v);
            bad(r, number.span, title, "a number from 200 to 599");
            None
        }
    }
}

fn json(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<Vec<(String, String)>> {
    let table = r.table(e)?;
    let mut out = Vec::new();
    for e in table.entries() {
        out.push((e.key.to_owned(), r.string(&e)?.v.to_string()));
    }
    out.sort_unstable();
    Some(out)
}

pub(super) fn count(r: &mut Reader<'_>, e: &Entry<'_>, most: u32) -> Option<u32> {
    let number = r.integer(e)?;
    let found = u32::try_from(number.v).ok();
    let found = found.filter(|n| (1..=most).contains(n));
    if found.is_none() {
        let title = format!("`{}` of {} is not between 1 and {most}", e.key, number.v);
        bad(r, number.span, title, "write a whole number");
    }
    found
}

/// Reads a duration of at least a second.
pub(super) fn secs(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<u32> {
    let word = r.string(e)?;
    match values::duration(&word.v) {
        Ok(0) => {
            bad(
                r,
                word.span,
                format!("`{}` of no length", e.key),
                "at least 1s",
            );
            None
        }
        Ok(secs) => Some(secs),
        Err(help) => {
            let title = format!("`{}` is not a duration", show(&word.v));
            bad(r, word.span, title, &help);
            None
        }
    }
}

/// Reads `timeout = { head = "5m", stream = "24h" }`.
pub(super) fn timeout(r: &mut Reader<'_>, e: &Entry<'_>, place: &dyn Display, into: &mut Written) {
    let Some(table) = r.table(e) else { return };
    for e in table.entries() {
        let limit = match e.key {
            "connect" => &mut into.timeout.connect,
            "head" => &mut into.timeout.head,
            "idle" => &mut into.timeout.idle,
            "stream" => &mut into.timeout.stream,
            "body" => &mut into.timeout.body,
            _ => {
                r.stray_key(&e, keys::TIMEOUT, format!("`timeout` of [{place}]"));
                continue;
            }
        };
        *limit = secs(r, &e);
    }
}
