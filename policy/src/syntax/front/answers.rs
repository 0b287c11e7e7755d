//! What answers get: fields, permissions for other origins, compression.

use std::fmt::Display;
use std::ops::RangeInclusive;

use super::super::Word;
use super::super::keys;
use super::super::read::Reader;
use super::super::tree::Entry;
use super::upstreams::secs;
use super::{bad, bytes, put};
use crate::diag::{Diagnostic, show};
use crate::front::{COMPRESSED, Cache, Compress, Cors, Maintenance, Preset, Shared};

/// Most fields of one key.
const MOST: usize = 32;
/// Longest text of a field: a content security policy may be long.
const MAX_TEXT: usize = 4096;

/// Names of answer fields that are the framing's or the gateway's own.
const OWNED: [&str; 19] = [
    "alt-svc",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "date",
    "keep-alive",
    "location",
    "proxy-authenticate",
    "set-cookie",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
    "x-accel-redirect",
    "x-request-id",
];
/// Seconds for which a reason that a person gave may hold.
const JUSTIFIED: RangeInclusive<u32> = 60..=86_400;
const OWNED_PREFIXES: [&str; 3] = ["access-control-", "ratelimit-", "x-postern-"];

pub(super) fn preset(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<Preset> {
    let word = r.string(e)?;
    let words = Preset::ALL.map(Preset::as_str);
    if !r.one_of(&word, "a set of security fields", &words) {
        return None;
    }
    Preset::ALL.into_iter().find(|p| word.v == p.as_str())
}

/// Reads `set = { Cache-Control = "no-store" }`.
pub(super) fn fields(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<Vec<(String, String)>> {
    let table = r.table(e)?;
    let mut out: Vec<(String, String)> = Vec::new();
    for e in table.entries() {
        let name = r.word(&e);
        let text = r.string(&e);
        let (Some(text), Some(name)) = (text, field_name(r, &name)) else {
            continue;
        };
        let plain = |b: u8| (0x20..0x7f).contains(&b);
        if text.v.len() > MAX_TEXT || !text.v.bytes().all(plain) || text.v.trim() != text.v.as_str()
        {
            let title = format!("`{}` is not the text of a field", show(&text.v));
            let help = "at most 4096 characters of ASCII, no line ends, no blanks around it";
            bad(r, text.span, title, help);
            continue;
        }
        if out.iter().any(|(own, _)| *own == name) {
            let title = format!("field `{}` stands twice", show(e.key));
            let help = "upper and lower case are one name; keep one of them";
            r.push(Diagnostic::error("defined-twice", e.span, title).help(help));
            continue;
        }
        out.push((name, text.v.to_string()));
    }
    few(r, e, out.len());
    out.sort_unstable();
    Some(out)
}

pub(super) fn names(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<Vec<String>> {
    let words = r.strings(e)?.v;
    few(r, e, words.len());
    let mut out: Vec<String> = Vec::new();
    for word in &words {
        out.extend(field_name(r, word));
    }
    out.sort_unstable();
    out.dedup();
    Some(out)
}

fn few(r: &mut Reader<'_>, e: &Entry<'_>, found: usize) {
    if found > MOST {
        let title = format!("{found} fields in `{}`, the limit is {MOST}", e.key);
        r.push(Diagnostic::error("limit", e.span, title));
    }
}

/// The name of an answer field in lower case.
fn field_name(r: &mut Reader<'_>, word: &Word) -> Option<String> {
    let lower = word.v.to_ascii_lowercase();
    if !is_token(&lower) {
        let title = format!("`{}` is not the name of a field", show(&word.v));
        bad(
            r,
            word.span,
            title,
            "letters, digits and hyphens, at most 64",
        );
        return None;
    }
    let owned = OWNED.contains(&lower.as_str());
    if owned || OWNED_PREFIXES.iter().any(|p| lower.starts_with(p)) {
        let title = format!("field `{}` is not for a policy to change", show(&word.v));
        let help = match lower.as_str() {
            "strict-transport-security" => "see hsts-seconds in postern.toml, or a preset",
            name if name.starts_with("access-control-") => "write `cors`",
            _ => "the gateway or the exchange itself needs it",
        };
        r.push(Diagnostic::error("reserved", word.span, title).help(help));
        return None;
    }
    Some(lower)
}

fn is_token(text: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(token)
}

/// Reads `cors = { origins = ["https://a.example"] }`, or `false`.
pub(super) fn cors(r: &mut Reader<'_>, e: &Entry<'_>, place: &dyn Display) -> Option<Option<Cors>> {
    if e.value.as_bool() == Some(false) {
        return Some(None);
    }
    let table = r.table(e)?;
    let name = format!("`cors` of [{place}]");
    r.require(table, e.span, &name, "origins", "\"https://app.example\"");
    let methods = ["GET", "HEAD", "POST"].map(str::to_owned);
    let mut cors = Cors {
        origins: Vec::new(),
        methods: methods.to_vec(),
        headers: vec!["content-type".to_owned()],
        expose: Vec::new(),
        credentials: false,
        max_age: 600,
    };
    for e in table.entries() {
        match e.key {
            "origins" => put(&mut cors.origins, origins(r, &e)),
            "methods" => put(&mut cors.methods, super::methods(r, &e)),
            "headers" => put(&mut cors.headers, request_names(r, &e)),
            "expose" => put(&mut cors.expose, request_names(r, &e)),
            "credentials" => cors.credentials = r.boolean(&e).unwrap_or(false),
            "max-age" => put(&mut cors.max_age, secs(r, &e)),
            _ => r.stray_key(&e, keys::CORS, &name),
        }
    }
    Some(Some(cors))
}

fn origins(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<Vec<String>> {
    let words = r.strings(e)?;
    if words.v.is_empty() {
        r.push(
            Diagnostic::error("empty-list", words.span, "`origins` is an empty list")
                .help("name at least one, or leave `cors` out"),
        );
    }
    let mut out = Vec::new();
    for word in &words.v {
        if is_origin(&word.v) {
            out.push(word.v.to_string());
            continue;
        }
        let title = format!("`{}` is not an origin", show(&word.v));
        let help = if word.v == "*" {
            "a page of anybody could read answers; name the origins"
        } else {
            "write it as a browser sends it: https://host, without a path"
        };
        bad(r, word.span, title, help);
    }
    out.sort_unstable();
    out.dedup();
    Some(out)
}

fn is_origin(text: &str) -> bool {
    let rest = text.strip_prefix("https://");
    let rest = rest.or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        };
        let port = port.is_none_or(|port| crate::resolve::values::port(port).is_some());
        port && crate::canon::host(host).is_ok_and(|canonical| canonical.as_str() == host)
    })
}

/// Names of fields in lower case, whatever they are.
fn request_names(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<Vec<String>> {
    let words = r.strings(e)?.v;
    few(r, e, words.len());
    let mut out = Vec::new();
    for word in &words {
        let lower = word.v.to_ascii_lowercase();
        if is_token(&lower) {
            out.push(lower);
        } else {
            let title = format!("`{}` is not the name of a field", show(&word.v));
            bad(
                r,
                word.span,
                title,
                "letters, digits and hyphens, at most 64",
            );
        }
    }
    out.sort_unstable();
    out.dedup();
    Some(out)
}

/// Reads `cache = { ttl = "5m" }`, or `false`.
pub(super) fn cache(
    r: &mut Reader<'_>,
    e: &Entry<'_>,
    place: &dyn Display,
) -> Option<Option<Cache>> {
    if e.value.as_bool() == Some(false) {
        return Some(None);
    }
    let table = r.table(e)?;
    let name = format!("`cache` of [{place}]");
    r.require(table, e.span, &name, "ttl", "\"5m\"");
    let mut cache = Cache {
        ttl: 60,
        stale: 0,
        shared: Shared::No,
        most: 1 << 20,
    };
    for e in table.entries() {
        match e.key {
            "ttl" => put(&mut cache.ttl, secs(r, &e)),
            "stale" => put(&mut cache.stale, secs(r, &e)),
            "most" => put(&mut cache.most, bytes(r, &e)),
            // `true` needs no reason where the world may come in; that is seen where the area is known
            "shared" => match e.value.as_bool() {
                Some(true) => cache.shared = Shared::Strangers,
                Some(false) => cache.shared = Shared::No,
                None => put(&mut cache.shared, reason(r, &e).map(Shared::All)),
            },
            _ => r.stray_key(&e, keys::CACHE, &name),
        }
    }
    Some(Some(cache))
}

fn reason(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<String> {
    let word = r.string(e)?;
    if !word.v.trim().is_empty() {
        return Some(word.v.to_string());
    }
    let title = "`shared` without a reason".to_owned();
    bad(r, word.span, title, "say why one answer is for everybody");
    None
}

/// Reads `compress = true`, `false` or `{ types, min, level }`.
pub(super) fn compress(
    r: &mut Reader<'_>,
    e: &Entry<'_>,
    place: &dyn Display,
) -> Option<Option<Compress>> {
    let mut compress = Compress {
        types: COMPRESSED.map(str::to_owned).to_vec(),
        min: 1024,
        level: 6,
    };
    if let Some(on) = e.value.as_bool() {
        return Some(on.then_some(compress));
    }
    let Some(table) = e.value.as_table() else {
        r.wrong_type(e.value, e.key, "true, false or a table");
        return None;
    };
    for e in table.entries() {
        match e.key {
            "types" => put(&mut compress.types, types(r, &e)),
            "min" => put(&mut compress.min, bytes(r, &e)),
            "level" => {
                let Some(level) = r.integer(&e) else { continue };
                match u32::try_from(level.v) {
                    Ok(known @ 1..=9) => compress.level = known,
                    _ => {
                        let title = format!("{} is not a level of compression", level.v);
                        bad(r, level.span, title, "from 1, fast, to 9, small");
                    }
                }
            }
            _ => r.stray_key(&e, keys::COMPRESS, format!("`compress` of [{place}]")),
        }
    }
    Some(Some(compress))
}

/// Reads `maintenance = true`, `false` or `"auto"`.
pub(super) fn maintenance(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<Maintenance> {
    match (e.value.as_bool(), e.value.as_str()) {
        (Some(true), _) => Some(Maintenance::On),
        (Some(false), _) => Some(Maintenance::Off),
        (None, Some("auto")) => Some(Maintenance::Auto),
        (None, _) => {
            r.wrong_type(e.value, e.key, "true, false or \"auto\"");
            None
        }
    }
}

/// Reads `justify = "1h"` or `false`.
pub(super) fn justify(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<Option<u32>> {
    match e.value.as_bool() {
        Some(false) => return Some(None),
        Some(true) => {
            let help = "write for how long a reason holds, as in  justify = \"1h\"";
            bad(r, e.span, "`justify` without an end".to_owned(), help);
            return None;
        }
        None => {}
    }
    let held = secs(r, e)?;
    if JUSTIFIED.contains(&held) {
        return Some(Some(held));
    }
    let title = "`justify` holds too long or too short".to_owned();
    bad(r, e.span, title, "from 1m to 24h");
    None
}

fn types(r: &mut Reader<'_>, e: &Entry<'_>) -> Option<Vec<String>> {
    let words = r.strings(e)?.v;
    let mut out = Vec::new();
    for word in &words {
        let part = |text: &str| {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
            !text.is_empty() && text.bytes().all(plain)
        };
        let sound = word.v.split_once('/');
        if sound.is_some_and(|(kind, of)| part(kind) && (part(of) || of == "*")) {
            out.push(word.v.to_string());
        } else {
            let title = format!("`{}` is not a media type", show(&word.v));
            bad(
                r,
                word.span,
                title,
                "write it in lower case, such as text/css or text/*",
            );
        }
    }
    out.sort_unstable();
    out.dedup();
    Some(out)
}
