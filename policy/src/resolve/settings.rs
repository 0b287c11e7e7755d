//! `[default]`, `[rate]` and `[tunnel]`.

use super::headers::set_ix;
use super::tenants::split;
use super::values::{RateText, duration, rate};
use super::{limit, unique, unknown};
use crate::diag::{Diagnostic, Meant, show};
use crate::headers::HeaderSet;
use crate::ir::{Defaults, Device, Mfa, RateDef, SignInDoor, index};
use crate::syntax::{Def, DefaultAst, TunnelAst, Word};
use std::collections::BTreeMap;

/// Most rate tiers of one policy.
const MAX_RATES: usize = 65_536;

pub(super) fn rates(defs: &[Def<Word>], diags: &mut Vec<Diagnostic>) -> Vec<RateDef> {
    let defs = unique(defs, "rate", diags);
    if let Some(last) = defs.last() {
        diags.extend(limit("rates", defs.len(), MAX_RATES, &last.name));
    }
    defs.into_iter()
        .map(|def| {
            let read = rate(&def.body.v).unwrap_or_else(|| {
                diags.push(
                    bad(&def.body, "a rate")
                        .help("write it as 20/s, 5/m or 20/s burst 60 (units s, m, h, d); `alert` at its end tells the administrators"),
                );
                RateText { count: 1, per_secs: 1, burst: 1, alert: false }
            });
            RateDef {
                name: def.name.v.to_string(),
                count: read.count,
                per_secs: read.per_secs,
                burst: read.burst,
                alert: read.alert,
                span: def.name.span,
            }
        })
        .collect()
}

/// What rules say where they say nothing.
pub(super) struct AllDefaults {
    pub(super) root: Defaults,
    /// Of tenants that have a `[default]`; what it leaves out is the root's.
    pub(super) tenants: BTreeMap<String, Defaults>,
}

pub(super) fn defaults(
    defs: &[Def<DefaultAst>],
    rates: &[RateDef],
    header_sets: &[HeaderSet],
    diags: &mut Vec<Diagnostic>,
) -> AllDefaults {
    let mut root = Defaults {
        mfa: Mfa::Session,
        login: 12 * 3600,
        rate: None,
        headers: None,
        device: Device::Any,
        idle: None,
        sessions: None,
        extend: None,
        hide: false,
    };
    let defs = unique(defs, "table", diags);
    if let Some(def) = defs.iter().find(|def| def.name.v == "default") {
        root = over(&root, &def.body, rates, header_sets, diags);
    }
    let mut tenants = BTreeMap::new();
    for def in defs {
        if let (Some(tenant), _) = split(&def.name.v) {
            tenants.insert(
                tenant.to_owned(),
                over(&root, &def.body, rates, header_sets, diags),
            );
        }
    }
    AllDefaults { root, tenants }
}

/// What `ast` says, over `base`.
fn over(
    base: &Defaults,
    ast: &DefaultAst,
    rates: &[RateDef],
    header_sets: &[HeaderSet],
    diags: &mut Vec<Diagnostic>,
) -> Defaults {
    let mut out = base.clone();
    if let Some(word) = &ast.mfa {
        out.mfa = mfa(word, diags).unwrap_or(out.mfa);
    }
    if let Some(word) = &ast.login {
        out.login = positive(word, diags).unwrap_or(out.login);
    }
    if let Some(word) = &ast.device {
        out.device = device(word, diags).unwrap_or(out.device);
    }
    if let Some(word) = &ast.rate {
        out.rate = rate_ix(word, rates, diags);
    }
    if let Some(word) = &ast.headers {
        out.headers = set_ix(word, header_sets, diags);
    }
    if let Some(word) = &ast.idle {
        out.idle = positive(word, diags);
    }
    if let Some(word) = &ast.extend {
        out.extend = positive(word, diags);
    }
    out.hide = ast.hide.unwrap_or(false);
    if let Some(count) = &ast.sessions {
        out.sessions = super::sessions::count(count, diags);
    }
    out
}

pub(super) fn tunnel(defs: &[Def<TunnelAst>], diags: &mut Vec<Diagnostic>) -> SignInDoor {
    let defs = unique(defs, "table", diags);
    let Some(word) = defs.first().and_then(|def| def.body.sign_in.as_ref()) else {
        return SignInDoor::default();
    };
    match word.v.as_str() {
        "tunnel" => SignInDoor::Tunnel,
        "web" => SignInDoor::Web,
        other => {
            let finding = bad(word, "a door").help("one of: tunnel, web");
            diags.push(finding.meant(Meant::near(other, ["tunnel", "web"])));
            SignInDoor::default()
        }
    }
}

pub(super) fn mfa(word: &Word, diags: &mut Vec<Diagnostic>) -> Option<Mfa> {
    match word.v.as_str() {
        "none" => return Some(Mfa::None),
        "session" => return Some(Mfa::Session),
        _ => {}
    }
    match duration(&word.v) {
        Ok(secs) if secs > 0 => Some(Mfa::Age(secs)),
        _ => {
            let near = Meant::near(&word.v, ["none", "session"]);
            diags.push(
                bad(word, "an mfa requirement")
                    .help("none, session, or the greatest age of the code such as 15m")
                    .meant(near),
            );
            None
        }
    }
}

pub(super) fn device(word: &Word, diags: &mut Vec<Diagnostic>) -> Option<Device> {
    let device = Device::from_word(&word.v);
    if device.is_none() {
        let near = Meant::near(&word.v, ["any", "known", "managed"]);
        diags.push(
            bad(word, "a device class")
                .help("one of: any, known, managed")
                .meant(near),
        );
    }
    device
}

pub(super) fn rate_ix(word: &Word, rates: &[RateDef], diags: &mut Vec<Diagnostic>) -> Option<u32> {
    let found = index(rates, &word.v, |rate| &rate.name);
    if found.is_none() {
        let names = rates.iter().map(|rate| rate.name.as_str());
        diags.push(unknown(word, "rate", names));
    }
    found
}

/// A duration above zero.
pub(super) fn positive(word: &Word, diags: &mut Vec<Diagnostic>) -> Option<u32> {
    match duration(&word.v) {
        Ok(0) => diags.push(bad(word, "a duration above zero").help("leave the key out instead")),
        Ok(secs) => return Some(secs),
        Err(help) => diags.push(bad(word, "a duration").help(help)),
    }
    None
}

pub(super) fn bad(word: &Word, what: &str) -> Diagnostic {
    Diagnostic::error(
        "bad-value",
        word.span,
        format!("`{}` is not {what}", show(&word.v)),
    )
}
