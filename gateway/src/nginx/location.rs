//! Paths of locations, and where their answers come from.

use super::ledger::{Ledger, Verdict};
use super::names::Names;
use super::onward::{Rewrite, condition, redirected, returns, rewrite};
use super::pass::{Pass, check_tls};
use super::settings::Settings;
use super::tree::Directive;
use super::write::{Keys, quoted};

/// What answers requests of a location.
#[derive(Clone, Debug)]
pub(super) enum Handler {
    /// Nothing is said.
    None,
    /// Upstreams, with what is taken off the path and put in front of it.
    Pass(Pass, Option<String>, Option<String>),
    /// Files of the folder that stands for the location's path.
    Files(String),
    /// Another address.
    Redirect(String, u16),
    /// Nobody may go there; why.
    Closed(String),
}

/// What an expression ends in that says a whole path.
const WHOLE: &str = "$";

/// Reads where a location's path is, as the policy's language writes it; `None` where it cannot.
pub(super) fn pattern(d: &Directive) -> Option<String> {
    let (kind, path) = match (d.arg(0), d.args.get(1)) {
        (kind @ ("=" | "^~" | "~" | "~*"), Some(path)) => (kind, path.as_str()),
        (one, None) => match one.strip_prefix('=') {
            Some(path) => ("=", path),
            None => ("", one),
        },
        _ => return None,
    };
    let path = match kind {
        "~" | "~*" => return of_regex(path, kind == "~*"),
        "=" => format!("={path}"),
        _ if path == "/" => "/".to_owned(),
        _ => path.trim_end_matches('/').to_owned(),
    };
    is_sound(&path).then_some(path)
}

/// A path that nginx counts to a location for the letters it begins with, and an area of whole segments does not.
pub(super) fn beside(d: &Directive) -> Option<String> {
    let path = match (d.arg(0), d.args.get(1)) {
        ("~" | "~*", Some(text)) => {
            let (path, tail) = expression(text)?;
            matches!(tail, "" | "(.*)$").then_some(path)?
        }
        ("^~", Some(path)) => path.as_str(),
        (path, None) if path.starts_with('/') => path,
        _ => return None,
    };
    (!path.ends_with('/')).then(|| format!("{path}x"))
}

/// Takes an expression apart: the path from its beginning and what it ends in, a mere `$` where that is the whole path.
fn expression(text: &str) -> Option<(&str, &'static str)> {
    const TAILS: [&str; 8] = [
        "(/|$)", "(?:/|$)", "/(.*)$", "/(.*)", "/.*$", "/.*", "/", "(.*)$",
    ];
    let text = text.strip_prefix('^')?;
    match text.strip_suffix('$') {
        Some(path) if !path.ends_with(['*', ')', '|', '\\']) => Some((path, WHOLE)),
        Some(_) | None => {
            let cut = |tail: &&'static str| Some((text.strip_suffix(tail)?, *tail));
            Some(TAILS.iter().find_map(cut).unwrap_or((text, "")))
        }
    }
}

/// Only expressions that say what a path of whole segments says.
fn of_regex(text: &str, folds: bool) -> Option<String> {
    let (path, tail) = expression(text)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_');
    if path.len() < 2
        || !path.bytes().all(plain)
        || (folds && path.bytes().any(|b| b.is_ascii_alphabetic()))
    {
        return None;
    }
    let path = if tail == WHOLE {
        format!("={path}")
    } else {
        path.trim_end_matches('/').to_owned()
    };
    is_sound(&path).then_some(path)
}

fn is_sound(pattern: &str) -> bool {
    let path = pattern.strip_prefix('=').unwrap_or(pattern);
    let canonical = policy::canon::path(path.as_bytes());
    let same = canonical.is_ok_and(|canonical| canonical.as_str() == path);
    same && !path.contains(['*', '?', '#']) && path.matches('/').count() <= 32
}

/// Whether a location only keeps files with a leading dot from everybody.
pub(super) fn hides_dots(d: &Directive) -> bool {
    let regex = matches!(d.arg(0), "~" | "~*") && d.arg(1).starts_with("/\\.");
    let quiet = |inner: &Directive| matches!(inner.name.as_str(), "access_log" | "log_not_found");
    let denies = |inner: &Directive| {
        (inner.name == "deny" && inner.arg(0) == "all")
            || (inner.name == "return" && matches!(inner.arg(0), "403" | "404" | "444"))
    };
    let inner = d.children();
    regex && inner.iter().any(denies) && inner.iter().all(|i| quiet(i) || denies(i))
}

/// Reads what answers, of the lines of a block at a path.
pub(super) fn handler(
    block: &[Directive],
    at: &str,
    settings: &mut Settings,
    names: &Names,
    ledger: &mut Ledger,
) -> Handler {
    let path = at.trim_start_matches('=').trim_end_matches('/');
    let (mut found, mut rewritten) = (Handler::None, None);
    for d in block {
        let next = match d.name.as_str() {
            "proxy_pass" | "grpc_pass" => pass(d, at, settings, names, ledger),
            "alias" => alias(d, ledger),
            "return" => returns(d, path, settings, ledger),
            "rewrite" => match rewrite(d.arg(0), d.arg(1), d.arg(2), path) {
                Some(Rewrite::Paths(strip, lead)) => {
                    let taken = strip
                        .as_ref()
                        .map(|p| format!("strip-prefix = {} ", quoted(p)));
                    let put = lead.as_ref().map(|p| format!("add-prefix = {}", quoted(p)));
                    let says = taken.unwrap_or_default() + &put.unwrap_or_default();
                    ledger.carried(d, says.trim_end());
                    rewritten = Some((strip, lead));
                    continue;
                }
                Some(Rewrite::To(to, status)) => {
                    ledger.carried(d, redirected(&to, status));
                    Handler::Redirect(to, status)
                }
                None => {
                    ledger.unknown(d, "only a beginning that is taken off or put on, and redirects of whole hosts, are carried over");
                    continue;
                }
            },
            "internal" => {
                ledger.carried(d, "no rule: nobody may ask for it");
                Handler::Closed("nginx answers only its own requests there".to_owned())
            }
            "fastcgi_pass"
            | "uwsgi_pass"
            | "scgi_pass"
            | "memcached_pass"
            | "js_content"
            | "content_by_lua_block" => Handler::Closed(format!(
                "{} says {}, which is not carried over",
                d.place(),
                d.name.escape_debug()
            )),
            "if" => {
                condition(d, path, settings, ledger);
                continue;
            }
            _ => continue,
        };
        if matches!(found, Handler::None)
            || matches!(next, Handler::Redirect(..) | Handler::Closed(_))
        {
            found = next;
        }
    }
    match (found, rewritten) {
        (Handler::Pass(pass, None, None), Some((strip, lead))) => Handler::Pass(pass, strip, lead),
        (Handler::None, _) => match &settings.root {
            Some(root) => Handler::Files(format!("{root}{path}")),
            None => Handler::None,
        },
        (found, _) => found,
    }
}

fn pass(
    d: &Directive,
    at: &str,
    settings: &Settings,
    names: &Names,
    ledger: &mut Ledger,
) -> Handler {
    let Some(pass) = Pass::read(d, names, ledger) else {
        return Handler::Closed(format!(
            "{} names an upstream that is not understood",
            d.place()
        ));
    };
    check_tls(d, &pass, &settings.tls, ledger);
    let path = at.trim_start_matches('=').trim_end_matches('/');
    let Some(uri) = &pass.uri else {
        return Handler::Pass(pass, None, None);
    };
    let lead = uri.trim_end_matches('/');
    let strip = (!path.is_empty() && path != lead).then(|| path.to_owned());
    let lead = (!lead.is_empty() && path != lead).then(|| lead.to_owned());
    if at.starts_with('=') && !is_below(path, strip.as_deref())
        || !lead.as_deref().is_none_or(is_prefix)
    {
        let says = "what stands for the path is no beginning of whole segments, such as /base/";
        ledger.unknown(d, says);
        return Handler::Closed(format!("{} makes another path of it", d.place()));
    }
    let taken = strip
        .as_deref()
        .map(|p| format!(", strip-prefix = {}", quoted(p)));
    let put = lead
        .as_deref()
        .map(|p| format!(", add-prefix = {}", quoted(p)));
    let says = format!(
        "upstream = {}{}{}",
        pass.shown(),
        taken.unwrap_or_default(),
        put.unwrap_or_default()
    );
    ledger.mark(d.id, Verdict::Carried, says);
    Handler::Pass(pass, strip, lead)
}

fn is_below(path: &str, strip: Option<&str>) -> bool {
    strip.is_none_or(|strip| path.starts_with(strip))
}

/// Whether a text is the beginning of a path as the policy's language takes it.
pub(super) fn is_prefix(text: &str) -> bool {
    text.len() > 1 && text.starts_with('/') && !text.ends_with('/') && is_sound(text)
}

fn alias(d: &Directive, ledger: &mut Ledger) -> Handler {
    let folder = d.arg(0).trim_end_matches('/');
    if folder.contains('$') || !is_folder(folder) {
        ledger.unknown(d, "a folder is written from the root, without variables");
        return Handler::Closed(format!(
            "{} names a folder that is not understood",
            d.place()
        ));
    }
    ledger.carried(d, format!("static = {{ root = {} }}", quoted(folder)));
    Handler::Files(folder.to_owned())
}

fn is_folder(text: &str) -> bool {
    let odd = text.split('/').any(|part| matches!(part, "." | ".."));
    text.starts_with('/')
        && (2..=1024).contains(&text.len())
        && !odd
        && !text.chars().any(char::is_control)
}

/// Writes the keys that say where answers come from.
pub(super) fn keys(
    handler: &Handler,
    at: &str,
    settings: &Settings,
    into: &mut Keys,
    ledger: &mut Ledger,
) -> Option<String> {
    match handler {
        Handler::None | Handler::Closed(_) => None,
        Handler::Pass(pass, strip, lead) => {
            pass.keys(&settings.tls, into);
            if let Some(strip) = strip {
                into.insert("strip-prefix", quoted(strip));
            }
            if let Some(lead) = lead {
                into.insert("add-prefix", quoted(lead));
            }
            None
        }
        Handler::Redirect(to, status) => {
            into.insert(
                "redirect",
                format!("{{ to = {}, status = {status} }}", quoted(to)),
            );
            None
        }
        Handler::Files(root) => {
            if at.starts_with('=') || !is_folder(root) {
                return Some(
                    "files of a folder stand at a plain path; name the folder in the area around"
                        .to_owned(),
                );
            }
            let mut text = format!("{{ root = {}", quoted(root));
            if let Some(index) = &settings.index {
                text = format!("{text}, index = {}", quoted(index));
            }
            if let Some(fallback) = fallback(settings, at, ledger) {
                text = format!("{text}, fallback = {}", quoted(&fallback));
            }
            into.insert("static", text + " }");
            None
        }
    }
}

/// What `try_files` names last, below the folder.
fn fallback(settings: &Settings, at: &str, ledger: &mut Ledger) -> Option<String> {
    let tries = settings.tries.as_ref()?;
    let (last, before) = tries.value.split_last()?;
    let usual = |text: &String| matches!(text.as_str(), "$uri" | "$uri/" | "$uri/index.html");
    let name = last.split('?').next().unwrap_or_default();
    let below = if at == "/" {
        name.strip_prefix('/')
    } else {
        name.strip_prefix(at).and_then(|n| n.strip_prefix('/'))
    };
    let file = below
        .filter(|file| !file.is_empty() && is_folder(&format!("/{file}")) && !file.contains('$'));
    if !before.iter().all(usual) {
        let says = "only $uri and $uri/ are looked for, then one file";
        ledger.mark(tries.id, Verdict::NotUnderstood, says);
        return None;
    }
    if usual(last) || last == "=404" {
        ledger.mark(tries.id, Verdict::Carried, "404 where there is no file");
        return None;
    }
    match file {
        Some(file) => {
            ledger.mark(
                tries.id,
                Verdict::Carried,
                format!("`fallback` of `static` = {}", quoted(file)),
            );
            Some(file.to_owned())
        }
        None => {
            let says = "what is asked last must be a file of the area's folder";
            ledger.mark(tries.id, Verdict::NotUnderstood, says);
            None
        }
    }
}
