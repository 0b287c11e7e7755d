//! `return`, `rewrite` and `if`: redirects, other paths, and the few conditions that have a place elsewhere.

use super::ledger::{Ledger, Verdict};
use super::location::{Handler, is_prefix};
use super::settings::Settings;
use super::tree::Directive;
use super::write::{list, quoted};

/// Reads `return`.
pub(super) fn returns(
    d: &Directive,
    path: &str,
    settings: &mut Settings,
    ledger: &mut Ledger,
) -> Handler {
    let (status, text) = match d.args.as_slice() {
        [one] if one.starts_with("http") || one.starts_with('$') => ("302", one.as_str()),
        [status] => (status.as_str(), ""),
        [status, text] => (status.as_str(), text.as_str()),
        _ => ("", ""),
    };
    match (status.parse::<u16>(), text) {
        (Ok(status @ (301 | 302 | 303 | 307 | 308)), to) => match address(to, path) {
            Some(to) => {
                ledger.carried(d, redirected(&to, status));
                Handler::Redirect(to, status)
            }
            None => {
                ledger.unknown(d, "no address such as https://host/path, with $request_uri at its end or without variables");
                Handler::Closed(format!("{} sends browsers elsewhere", d.place()))
            }
        },
        (Ok(status @ (401..=499)), _) => {
            ledger.differs(
                d,
                format!("no rule: nobody may go there, whatever status {status} said"),
            );
            Handler::Closed(format!("{} answers {status}", d.place()))
        }
        _ => {
            settings.barred.push(d.place());
            ledger.unknown(d, "the gateway has no answers of its own but redirects and refusals; let the app give it");
            Handler::Closed(format!("{} answers by itself", d.place()))
        }
    }
}

/// What a list says of a redirect.
pub(super) fn redirected(to: &str, status: u16) -> String {
    format!(
        "redirect = {{ to = {}, status = {status} }}, after the sign-in",
        quoted(to)
    )
}

/// Reads an address to send browsers to from a path, as the policy's language has it.
fn address(text: &str, path: &str) -> Option<String> {
    let whole = [
        "$request_uri",
        "$uri$is_args$args",
        "$uri$is_args$query_string",
    ];
    let cut = whole.iter().find_map(|end| text.strip_suffix(end));
    let to = cut.unwrap_or(text);
    let own = [
        "https://$host",
        "$scheme://$host",
        "https://$http_host",
        "$scheme://$http_host",
        "https://$server_name",
        "$scheme://$server_name",
    ];
    let own = own
        .iter()
        .find_map(|own| to.strip_prefix(own))
        .filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let local = own.is_some() || to.starts_with('/');
    let to = own.unwrap_or(to).replace("$scheme://", "https://");
    let to = match cut {
        Some(_) => format!("{}{path}/*", to.trim_end_matches('/')),
        None => to,
    };
    let plain = |b: u8| (0x21..0x7f).contains(&b) && !b"\"<>\\^`{|}$#".contains(&b);
    let stars = to.matches('*').count() == usize::from(cut.is_some());
    // a redirect to where it comes from would never end
    let turns = local
        && (cut.is_some() && own.is_none_or(str::is_empty) || to.trim_end_matches('/') == path);
    let host = to
        .strip_prefix("https://")
        .or_else(|| to.strip_prefix("http://"));
    let placed = match host {
        Some(rest) => {
            let host = rest.split(['/', '?']).next().unwrap_or_default();
            let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
            policy::canon::host(host).is_ok_and(|canonical| canonical.as_str() == host)
        }
        None => to.starts_with('/') && !to.starts_with("//"),
    };
    let sound = placed && stars && !turns && to.len() <= 1000 && to.bytes().all(plain);
    (sound && !(cut.is_some() && to.contains('?'))).then_some(to)
}

/// What `rewrite` makes of a path.
pub(super) enum Rewrite {
    /// What is taken off, and what is put in front.
    Paths(Option<String>, Option<String>),
    /// Another address.
    To(String, u16),
}

/// Reads `rewrite`, in a location of a path.
pub(super) fn rewrite(regex: &str, to: &str, flag: &str, path: &str) -> Option<Rewrite> {
    let status = match flag {
        "permanent" => Some(301),
        "redirect" => Some(302),
        _ if to.starts_with("http") || to.starts_with("$scheme") => Some(302),
        _ => None,
    };
    let to = to.strip_suffix('?').unwrap_or(to);
    if let Some(status) = status {
        let all = match regex {
            "^" | ".*" | "^.*$" => Some(to.to_owned()),
            "^(.*)$" | "^(.*)" | "(.*)" => {
                to.strip_suffix("$1").map(|to| format!("{to}$request_uri"))
            }
            "^/(.*)$" | "^/(.*)" => to.strip_suffix("/$1").map(|to| format!("{to}$request_uri")),
            _ => None,
        };
        return address(&all?, path).map(|to| Rewrite::To(to, status));
    }
    let (lead, slash) = match to.strip_suffix("/$1") {
        Some(lead) => (lead, true),
        None => (to.strip_suffix("$1")?, false),
    };
    let tails = if slash {
        ["/(.*)$", "/(.*)", "/?(.*)$", "/?(.*)"]
    } else {
        ["(/.*)$", "(/.*)", "(/.*)?$", "(/.*)?"]
    };
    let strip = tails
        .iter()
        .find_map(|tail| regex.strip_suffix(tail))?
        .strip_prefix('^')?;
    let sound = |text: &str| text.is_empty() || is_prefix(text);
    let inside = path == strip
        || path
            .strip_prefix(strip)
            .is_some_and(|rest| rest.starts_with('/'));
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    (sound(lead) && sound(strip) && (strip.is_empty() || inside))
        .then(|| Rewrite::Paths(some(strip), some(lead)))
}

/// Reads the few conditions that have a place elsewhere.
pub(super) fn condition(d: &Directive, path: &str, settings: &mut Settings, ledger: &mut Ledger) {
    let words = d.args.join(" ");
    let words = words.trim_start_matches('(').trim_end_matches(')').trim();
    let returned = match d.children() {
        [only] if only.name == "return" => Some(only),
        _ => None,
    };
    let plain = [
        "$scheme != \"https\"",
        "$scheme != https",
        "$scheme = http",
        "$https = off",
        "$https != on",
        "$http_x_forwarded_proto != https",
        "$http_x_forwarded_proto = http",
    ];
    let by_host = words.starts_with("$host = ") || words.starts_with("$http_host = ");
    let onward = returned.is_some_and(|r| {
        r.arg(0).starts_with("30") && is_onward(r.arg(1), &[]) && address(r.arg(1), path).is_none()
    });
    if (plain.contains(&words) || by_host) && onward {
        let says = "who comes without TLS is sent on to HTTPS";
        ledger.within(d, Verdict::Done, says);
        return ledger.done(d, says);
    }
    let methods = words
        .strip_prefix("$request_method !~ ^(")
        .and_then(|rest| {
            let all = rest.trim_end_matches('$').strip_suffix(')')?;
            let all: Vec<String> = all.split('|').map(str::to_owned).collect();
            all.iter()
                .all(|m| policy::canon::method(m).is_ok())
                .then_some(all)
        });
    if let (Some(methods), Some("405" | "403" | "444")) = (methods, returned.map(|r| r.arg(0))) {
        let says = format!(
            "methods = {}; others get 405",
            list(methods.iter().map(|m| quoted(m)))
        );
        ledger.within(d, Verdict::Carried, &says);
        settings.methods = Some(methods);
        return ledger.carried(d, says);
    }
    settings.barred.push(d.place());
    let says = "no conditions: write areas, hosts, methods and zones instead; nobody may go here until somebody has looked";
    ledger.within(
        d,
        Verdict::NotUnderstood,
        "in a condition that is not understood",
    );
    ledger.unknown(d, says);
}

/// Whether an address is the same host by HTTPS.
pub(super) fn is_onward(to: &str, hosts: &[String]) -> bool {
    let Some(rest) = to.strip_prefix("https://") else {
        return false;
    };
    let ends = ["$request_uri", "$uri$is_args$args", "$uri"];
    let host = ends.iter().find_map(|end| rest.strip_suffix(end));
    host.is_some_and(|host| {
        let host = host.trim_end_matches(":443");
        matches!(host, "$host" | "$server_name" | "$http_host")
            || hosts.iter().any(|own| own == host)
    })
}
