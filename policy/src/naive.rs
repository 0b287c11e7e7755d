//! A second reading of the language, as plain as possible: it walks the resolved policy for every question, with
//! names, lists and loops. It shares no table with the compiled policy; the two must never differ. Tests compare them
//! at random, `policy explain --check` for one question.

pub(crate) mod check;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod tenants;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod total;
#[cfg(test)]
pub(crate) mod world;

pub use check::Disagreement;

use std::net::IpAddr;

use crate::decide::Outcome;
use crate::ir::{
    Allow, App, Area, Device, Guard, INTERNET, Ir, Mfa, Net, Proto, Resource, Seg, TUNNEL, Who,
};
use crate::lane::Proof;

/// A question in the terms of the language.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) user: Option<String>,
    pub(crate) mfa_age: Option<u32>,
    pub(crate) login_age: u32,
    pub(crate) device: Device,
    pub(crate) ip: IpAddr,
    pub(crate) tunnel: bool,
    /// Seconds since 1970; `None` when not known.
    pub(crate) unix: Option<i64>,
    pub(crate) target: Target,
}

#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// Canonical host and path.
    Http(String, String, String),
    Flow(IpAddr, u16, Proto),
    Admin(String),
}

/// The outcome and the id of the rule that gave it.
pub(crate) fn decide(ir: &Ir, request: &Request) -> (Outcome, String) {
    let refuse = |why: &str| (Outcome::Deny, format!("builtin.{why}"));
    match &request.target {
        Target::Http(host, path, method) => {
            if method == "TRACE" || method == "CONNECT" {
                return refuse("bad-request");
            }
            let named = app_of(ir, host).and_then(|ix| Some((ix, ir.apps.get(ix)?)));
            let Some((ix, app)) = named else {
                return refuse("no-such-app");
            };
            let (path, kept) = readings(path);
            if app.windows && !windows_reads_once(&path) {
                return refuse("bad-request");
            }
            let (suffix, allows) = area_of(app, &path);
            if area_of(app, &kept).0 != suffix {
                return refuse("bad-request");
            }
            let prefix = format!("{}{suffix}", app.id);
            judge(
                ir,
                request,
                Resource::App(number(ix)),
                &prefix,
                allows,
                Some(method),
            )
        }
        Target::Flow(dst, port, proto) => {
            let net = net_of(ir, *dst, *port, *proto);
            let at = net.and_then(|net| ir.nets.iter().position(|n| n.id == net.id));
            let (Some(net), Some(ix)) = (net, at) else {
                return refuse("no-such-service");
            };
            judge(
                ir,
                request,
                Resource::Net(number(ix)),
                &net.id,
                &net.allows,
                None,
            )
        }
        Target::Admin(method) => {
            if method == "TRACE" || method == "CONNECT" {
                return refuse("bad-request");
            }
            judge(
                ir,
                request,
                Resource::Admin,
                "admin",
                &ir.admin,
                Some(method),
            )
        }
    }
}

/// As `decide`, for a caller who is known by another proof than a session: where the area does not take it, the
/// caller is nobody, and a token offers no sign-in.
pub(crate) fn decide_by(ir: &Ir, proof: Proof, request: &Request) -> (Outcome, String) {
    let mut asked = request.clone();
    if let (Target::Http(host, path, _), false) = (&request.target, proof == Proof::SignIn) {
        let app = app_of(ir, host).and_then(|at| ir.apps.get(at));
        let area = app.and_then(|app| area_at(app, &readings(path).0));
        let lanes = area.map(|area| area.lanes);
        let taken = match (proof, lanes) {
            (_, None) => false,
            (Proof::SignIn, _) => true,
            (Proof::Device, Some(lanes)) => lanes.device,
            (Proof::Token, Some(lanes)) => match (lanes.tokens, request.mfa_age) {
                (Some(most), Some(age)) => age <= most,
                _ => false,
            },
        };
        if !taken {
            asked.user = None;
        }
        if proof == Proof::Token {
            asked.login_age = 0;
        }
    }
    let (outcome, rule) = decide(ir, &asked);
    let offers = outcome == Outcome::Login || outcome == Outcome::StepUp;
    if proof == Proof::Token && offers {
        return (Outcome::Deny, "builtin.default".to_owned());
    }
    (outcome, rule)
}

fn judge(
    ir: &Ir,
    request: &Request,
    resource: Resource,
    prefix: &str,
    allows: &[Allow],
    method: Option<&str>,
) -> (Outcome, String) {
    let me = request.user.as_deref().filter(|name| enabled(ir, name));
    for guard in &ir.guards {
        if guard_stops(ir, guard, request, resource, me) {
            return (Outcome::Deny, guard.id.clone());
        }
    }
    let offers: Vec<(Outcome, String)> = allows
        .iter()
        .filter(|allow| facts(ir, allow, request, method))
        .map(|allow| {
            let outcome = offer(ir, allow, request, resource, me);
            (outcome, format!("{prefix}#{}", allow.name))
        })
        .collect();
    for wanted in [Outcome::Allow, Outcome::StepUp, Outcome::Login] {
        if let Some(found) = offers.iter().find(|(outcome, _)| *outcome == wanted) {
            return found.clone();
        }
    }
    (Outcome::Deny, "builtin.default".to_owned())
}

fn facts(ir: &Ir, allow: &Allow, request: &Request, method: Option<&str>) -> bool {
    let ordinary = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let method_fits = match (&allow.methods, method) {
        (_, None) => true,
        (None, Some(method)) => ordinary.contains(&method),
        (Some(list), Some(method)) => list.iter().any(|m| m == method),
    };
    method_fits
        && from_fits(ir, allow.from.as_deref(), request)
        && request.device >= allow.device
        && allow
            .when
            .as_ref()
            .is_none_or(|when| request.unix.is_some_and(|unix| any_holds(ir, when, unix)))
}

fn offer(
    ir: &Ir,
    allow: &Allow,
    request: &Request,
    resource: Resource,
    me: Option<&str>,
) -> Outcome {
    if allow.who.anyone {
        return Outcome::Allow;
    }
    let Some(me) = me else {
        let admitted = ir.users.iter().any(|user| {
            !user.disabled
                && is_in(ir, &allow.who, &user.name)
                && !ir
                    .guards
                    .iter()
                    .any(|guard| guard_stops(ir, guard, request, resource, Some(&user.name)))
        });
        return if admitted {
            Outcome::Login
        } else {
            Outcome::Deny
        };
    };
    if !is_in(ir, &allow.who, me) {
        return Outcome::Deny;
    }
    if request.login_age > allow.login {
        return Outcome::Login;
    }
    let fresh = match allow.mfa {
        Mfa::None => true,
        Mfa::Session => request.mfa_age.is_some(),
        Mfa::Age(max) => request.mfa_age.is_some_and(|age| age <= max),
    };
    if fresh {
        Outcome::Allow
    } else {
        Outcome::StepUp
    }
}

fn guard_stops(
    ir: &Ir,
    guard: &Guard,
    request: &Request,
    resource: Resource,
    me: Option<&str>,
) -> bool {
    if guard.on.as_ref().is_some_and(|on| !on.contains(&resource)) {
        return false;
    }
    if let Some(who) = &guard.who
        && !me.is_some_and(|me| is_in(ir, who, me))
    {
        return false;
    }
    if guard
        .device_not
        .is_some_and(|class| request.device >= class)
    {
        return false;
    }
    if let Some(unix) = request.unix {
        let outside = guard
            .when
            .as_ref()
            .is_some_and(|when| !any_holds(ir, when, unix));
        let lifted = guard
            .unless_when
            .as_ref()
            .is_some_and(|when| any_holds(ir, when, unix));
        if outside || lifted {
            return false;
        }
    }
    from_fits(ir, guard.from.as_deref(), request)
}

static ZONES: std::sync::LazyLock<jiff::tz::TimeZoneDatabase> =
    std::sync::LazyLock::new(jiff::tz::TimeZoneDatabase::bundled);

/// Asks the calendar of the time zone, every time anew.
pub(crate) fn any_holds(ir: &Ir, when: &[u32], unix: i64) -> bool {
    when.iter().any(|&ix| {
        let schedule = ir.schedules.get(ix as usize);
        let zone = schedule.and_then(|schedule| ZONES.get(&schedule.tz).ok());
        let stamp = jiff::Timestamp::from_second(unix).ok();
        let (Some(schedule), Some(zone), Some(stamp)) = (schedule, zone, stamp) else {
            return false;
        };
        let local = stamp.to_zoned(zone);
        let day = local.weekday().to_monday_zero_offset();
        let minute = i32::from(local.hour()) * 60 + i32::from(local.minute());
        let on_day = schedule
            .days
            .as_ref()
            .is_none_or(|days| days.iter().any(|d| i32::from(*d) == i32::from(day)));
        let at_time = schedule.times.as_ref().is_none_or(|times| {
            times
                .iter()
                .any(|(a, b)| i32::from(*a) <= minute && minute < i32::from(*b))
        });
        let date = local.date().to_string();
        let dated = schedule
            .between
            .as_ref()
            .is_none_or(|(from, to)| *from <= date && date <= *to);
        on_day && at_time && dated
    })
}

/// A path as one reads it who decodes `%2F` and collapses `//`, and as one who does neither. Where the app takes no
/// `//`, the path holds none.
fn readings(path: &str) -> (String, String) {
    let bare = without_params(path).replace("%2f", "%2F");
    let plain = collapsed(&bare.replace("%2F", "/"));
    (plain, format!("/{}", bare.trim_start_matches('/')))
}

fn collapsed(path: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if path.ends_with('/') {
        parts.push("");
    }
    format!("/{}", parts.join("/"))
}

/// Each segment up to its first `;`.
fn without_params(path: &str) -> String {
    let names = path
        .split('/')
        .map(|part| part.split(';').next().unwrap_or_default());
    names.collect::<Vec<_>>().join("/")
}

fn windows_reads_once(path: &str) -> bool {
    path.split('/').map(decode).all(|part| {
        let short = part
            .split('~')
            .skip(1)
            .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        !part.ends_with(['.', ' ']) && !part.contains(':') && !short
    })
}

/// The policy without what is in shadow: what is in force.
pub(crate) fn enforced(ir: &Ir) -> Ir {
    let mut ir = ir.clone();
    ir.guards.retain(|guard| !guard.shadow);
    ir.admin.retain(|allow| !allow.shadow);
    // positions stay, since guards name resources by them
    for app in ir.apps.iter_mut().filter(|app| app.shadow) {
        app.hosts.clear();
    }
    for net in ir.nets.iter_mut().filter(|net| net.shadow) {
        net.to.clear();
    }
    for net in &mut ir.nets {
        net.allows.retain(|allow| !allow.shadow);
    }
    for app in &mut ir.apps {
        app.areas.retain(|area| !area.shadow);
        for area in &mut app.areas {
            area.allows.retain(|allow| !allow.shadow);
        }
    }
    ir
}

fn from_fits(ir: &Ir, from: Option<&[u32]>, request: &Request) -> bool {
    let Some(from) = from else { return true };
    let here = zones_of(ir, request);
    here.iter().any(|zone| from.contains(zone))
}

pub(crate) fn zones_of(ir: &Ir, request: &Request) -> Vec<u32> {
    if request.tunnel {
        return vec![TUNNEL];
    }
    let here = |zone: &crate::ir::Zone| zone.nets.iter().any(|net| net.contains(&request.ip));
    let zones = ir.zones.iter().enumerate();
    let mut named: Vec<u32> = zones
        .filter(|(_, zone)| here(zone))
        .map(|(ix, _)| number(ix))
        .collect();
    // to the root and to each tenant, what is in no zone they can name is the internet
    let prefix = |ix: u32| {
        let zone = ir.zones.get(ix as usize)?;
        let (tenant, _) = zone.name.split_once('/')?;
        Some(tenant.to_owned())
    };
    let prefixes: Vec<Option<String>> = named.iter().map(|ix| prefix(*ix)).collect();
    if prefixes.contains(&None) {
        return named;
    }
    named.push(INTERNET);
    for tenant in ir
        .tenants
        .iter()
        .filter(|t| !prefixes.contains(&Some(t.name.clone())))
    {
        named.extend(ir.zone(&format!("{}/internet", tenant.name)));
    }
    named
}

fn enabled(ir: &Ir, name: &str) -> bool {
    ir.users
        .iter()
        .any(|user| user.name == name && !user.disabled)
}

fn is_in(ir: &Ir, who: &Who, name: &str) -> bool {
    let Some(me) = ir.users.iter().position(|user| user.name == name) else {
        return false;
    };
    let me = number(me);
    let mine = |groups: &[u32]| {
        let mut groups = groups.iter().filter_map(|&g| ir.groups.get(g as usize));
        groups.any(|group| group.members.contains(&me))
    };
    let named = who.any_user || who.anyone || who.users.contains(&me) || mine(&who.groups);
    named && !who.not_users.contains(&me) && !mine(&who.not_groups)
}

fn app_of(ir: &Ir, host: &str) -> Option<usize> {
    let find = |wildcard: bool, name: &str| {
        ir.apps.iter().position(|app| {
            app.hosts
                .iter()
                .any(|host| host.wildcard == wildcard && host.name == name)
        })
    };
    let labels: Vec<&str> = host.split('.').collect();
    find(false, host).or_else(|| find(true, &labels.get(1..).unwrap_or_default().join(".")))
}

fn area_of<'a>(app: &'a App, path: &str) -> (&'a str, &'a [Allow]) {
    area_at(app, path).map_or(("", &[]), |area| (&area.pattern.text, &area.allows))
}

/// The matching area that every other matching area contains.
fn area_at<'a>(app: &'a App, path: &str) -> Option<&'a Area> {
    let parts: Vec<String> = match path {
        "/" => Vec::new(),
        _ => path
            .split('/')
            .skip(1)
            .map(decode)
            .map(|part| match app.fold {
                true => part.chars().flat_map(char::to_lowercase).collect(),
                false => part,
            })
            .collect(),
    };
    let matching: Vec<_> = app
        .areas
        .iter()
        .filter(|area| {
            let segs = &area.pattern.segs;
            let long = if area.pattern.exact {
                parts.len() == segs.len()
            } else {
                parts.len() >= segs.len()
            };
            long && segs.iter().zip(&parts).all(|(seg, part)| match seg {
                Seg::Star => !part.is_empty(),
                Seg::Literal(text) => text == part,
            })
        })
        .collect();
    let least = |least: &&&Area| {
        let mut all = matching.iter();
        all.all(|other| other.pattern.contains(&least.pattern))
    };
    matching.iter().find(least).copied()
}

fn number(ix: usize) -> u32 {
    u32::try_from(ix).unwrap_or(u32::MAX)
}

fn decode(part: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = part.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail
            .split_at_checked(2)
            .filter(|_| first == b'%')
            .and_then(|(digits, tail)| Some((std::str::from_utf8(digits).ok()?, tail)));
        let escaped = digits.and_then(|(digits, tail)| {
            let byte = u8::from_str_radix(digits, 16).ok()?;
            Some((byte, tail))
        });
        let (byte, tail) = escaped.unwrap_or((first, tail));
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn net_of(ir: &Ir, dst: IpAddr, port: u16, proto: Proto) -> Option<&Net> {
    let mut best: Option<(u8, u16, &Net)> = None;
    for net in &ir.nets {
        for to in net.to.iter().filter(|to| to.contains(&dst)) {
            for ports in net.ports.iter().filter(|ports| ports.proto == proto) {
                let inside = proto == Proto::Icmp || (ports.first <= port && port <= ports.last);
                let width = ports.last - ports.first;
                let better = best.is_none_or(|(len, wide, _)| {
                    to.prefix_len() > len || (to.prefix_len() == len && width < wide)
                });
                if inside && better {
                    best = Some((to.prefix_len(), width, net));
                }
            }
        }
    }
    best.map(|(_, _, net)| net)
}
