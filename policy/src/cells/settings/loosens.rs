//! Whether a setting that changed lets somebody do or reach what could not be done or reached.

use ipnet::IpNet;
use toml::Value;

use crate::front::may_be_upstream;
use crate::print::Topic;
use crate::resolve::values::duration;

/// Judges one key by what it was and what it is. In doubt it does.
pub(super) fn loosens(
    topic: &Topic<'_>,
    key: &str,
    was: Option<&Value>,
    is: Option<&Value>,
) -> bool {
    match topic {
        Topic::Settings => section(key, was, is),
        Topic::App(_) => of_app(key, was, is) || bounds(key, was, is),
        Topic::Net(_) | Topic::Admin => bounds(key, was, is),
        // what apps are told and how often people may ask lets nobody in; what zones, schedules and groups do is told as
        // changes of access
        Topic::Rates(_)
        | Topic::HeaderSets(_)
        | Topic::Groups(_)
        | Topic::Zones(_)
        | Topic::Schedules(_)
        | Topic::User(_)
        | Topic::Guard(_) => false,
    }
}

/// Keys of `[default]`, `[tunnel]` and tenants.
fn section(key: &str, was: Option<&Value>, is: Option<&Value>) -> bool {
    match key {
        "sign-in" => text(is) == Some("web"),
        "reprove.moved" => is.and_then(Value::as_bool) != Some(true),
        "reprove.after" | "reprove.idle" => less_bound(secs(was), secs(is)),
        "login" => less_bound(secs(was), secs(is)),
        "extend" => secs(is) > secs(was),
        "dns.others" => text(is) != Some("refuse"),
        "dns.quarantine" => before_sign_in(is) > before_sign_in(was),
        "dns.refuse" => !covered(was, is),
        // no decision: how often one may ask, what apps are told, what refusals look like, what tenants may write
        "rate" | "headers" | "hide" | "domains" | "quota.apps" | "quota.allows" => false,
        "idle" | "sessions" => bounds(key, was, is),
        // a key that is not known here
        _ => true,
    }
}

/// What binds the sessions of those who come in.
fn bounds(key: &str, was: Option<&Value>, is: Option<&Value>) -> bool {
    match key {
        "idle" => less_bound(secs(was), secs(is)),
        "sessions" => {
            let count = |value: Option<&Value>| value.and_then(Value::as_integer);
            less_bound(count(was), count(is))
        }
        _ => false,
    }
}

/// Keys of an app and its areas.
fn of_app(key: &str, was: Option<&Value>, is: Option<&Value>) -> bool {
    let on = |value: Option<&Value>| value.and_then(Value::as_bool);
    match key {
        // another area decides for another spelling
        "case-insensitive" => true,
        "windows" => on(is) != Some(true),
        "path-params" | "encoded-slashes" | "empty-segments" | "preflight" | "cors.credentials" => {
            on(is) == Some(true)
        }
        "methods" => match (items(was), items(is)) {
            (Some(was), Some(is)) => is.iter().any(|method| !was.contains(method)),
            (was, is) => was.is_some() && is.is_none(),
        },
        "websocket" | "cors" | "cache" => on(was) == Some(false),
        // the same people come to something else
        "upstream" => match (addresses(was), addresses(is)) {
            (Some(was), Some(is)) => is.iter().any(|url| !was.contains(url)),
            _ => true,
        },
        "upstream-networks" => match (items(was), items(is)) {
            (Some(was), Some(is)) => is.iter().any(|network| !was.contains(network)),
            (Some(_), None) => true,
            // what only the own link reaches is refused where no network is named
            (None, Some(is)) => is.iter().any(reaches_link),
            (None, None) => false,
        },
        "static.root" | "static.index" | "static.fallback" | "strip-prefix" | "add-prefix" => true,
        "cors.origins" | "cors.methods" | "cors.headers" | "cors.expose" => {
            let was = items(was).unwrap_or_default();
            items(is).is_some_and(|is| is.iter().any(|item| !was.contains(item)))
        }
        "cache.shared" => is.is_some(),
        // `false` asks for nothing, as no key does
        "justify" => less_bound(secs(was), secs(is)),
        _ => false,
    }
}

/// Whether a network holds addresses that upstreams may have only where it is named.
fn reaches_link(network: &Value) -> bool {
    let text = network.as_str().unwrap_or_default();
    let Ok(network) = text.parse::<IpNet>() else {
        // in doubt it does
        return text.parse().map_or(true, |ip| !may_be_upstream(ip, &[]));
    };
    let link = ["169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128"];
    let mut link = link.iter().filter_map(|net| net.parse::<IpNet>().ok());
    link.any(|link| link.contains(&network) || network.contains(&link))
}

/// Whether a bound is gone or further away.
fn less_bound<T: PartialOrd>(was: Option<T>, is: Option<T>) -> bool {
    match (was, is) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(was), Some(is)) => is > was,
    }
}

/// Whether every name that was refused is refused still, itself or by one above it.
fn covered(was: Option<&Value>, is: Option<&Value>) -> bool {
    let refused = items(is).unwrap_or_default();
    let still = |name: &Value| {
        let Some(name) = name.as_str() else {
            return false;
        };
        refused.iter().filter_map(Value::as_str).any(|own| {
            let above = name.strip_suffix(own);
            above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        })
    };
    items(was).unwrap_or_default().iter().all(still)
}

/// How much a device may look up whose person has not signed in.
fn before_sign_in(value: Option<&Value>) -> u8 {
    match text(value) {
        Some("sign-in") => 0,
        Some("own") => 1,
        _ => 2,
    }
}

fn addresses(value: Option<&Value>) -> Option<Vec<&str>> {
    let members = items(value)?.iter();
    let urls = members.filter_map(|member| member.get("url")?.as_str());
    Some(urls.collect())
}

fn items(value: Option<&Value>) -> Option<&[Value]> {
    value?.as_array().map(Vec::as_slice)
}

fn text(value: Option<&Value>) -> Option<&str> {
    value?.as_str()
}

fn secs(value: Option<&Value>) -> Option<u32> {
    duration(text(value)?).ok()
}
