//! Rules over more than one value of the configuration.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;

use ipnet::Ipv6Net;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Config, ConfigError, Problem};
use crate::tunnel::namespace::POOL6;

/// Checks what single values cannot say.
///
/// # Errors
/// All problems at once, each at the value to change.
pub(super) fn check(config: &Config, file: &Path, text: &str) -> Result<(), ConfigError> {
    let mut found = Found {
        file,
        text,
        problems: Vec::new(),
    };
    listeners(config, &mut found);
    names(config, &mut found);
    tunnel(config, &mut found);
    identity(config, &mut found);
    if let Some((key, what)) = config.bans.wrong() {
        found.add(&["bans", key], &what, None);
    }
    if let Some((key, what, help)) = config.acme.wrong() {
        found.add(&["acme", key], &what, Some(help));
    }
    if let Some((key, what)) = config.mail.wrong() {
        found.add(&["mail", key], what, None);
    }
    if let Some((key, what, help)) = config.traces.wrong() {
        found.add(&["traces", key], &what, Some(help));
    }
    profiles(config, &mut found);
    if found.problems.is_empty() {
        return Ok(());
    }
    found.problems.sort_by_key(|p| (p.line, p.column));
    Err(ConfigError::Invalid(found.problems))
}

/// A host has one profile, and a profile is about something.
fn profiles(config: &Config, found: &mut Found<'_>) {
    let mut seen: Vec<&String> = Vec::new();
    for profile in &config.tls.profile {
        if profile.hosts.is_empty() || !(profile.tls13_only || profile.client_ca.is_some()) {
            let what = "a profile needs `hosts`, and something that it asks for";
            let help = "set `tls13-only = true` or `client-ca`";
            found.add(&["tls", "profile"], what, Some(help));
        }
        for host in &profile.hosts {
            if seen.contains(&host) {
                let what = format!("{host} has two profiles");
                found.add(&["tls", "profile"], &what, Some("write them as one"));
            }
            seen.push(host);
        }
    }
}

fn listeners(config: &Config, found: &mut Found<'_>) {
    if config.http.https.is_empty() {
        found.add(&["http", "https"], "the web door needs an address", None);
    }
    let mut seen: Vec<SocketAddr> = Vec::new();
    let https = config.http.https.iter().map(|a| (*a, "https"));
    let http = config.http.http.iter().map(|a| (*a, "http"));
    let admin = config.admin.listen.iter().map(|a| (*a, "listen"));
    for (address, key) in https.chain(http).chain(admin) {
        if address.port() != 0 && seen.contains(&address) {
            let section = if key == "listen" { "admin" } else { "http" };
            let what = format!("the address {address} is listened on twice");
            found.add(&[section, key], &what, None);
        }
        seen.push(address);
    }
    if let Some(listen) = config.admin.listen
        && !listen.ip().is_loopback()
        && !private(listen)
    {
        let what = format!("the admin listener has no sign-in and may not stand on {listen}");
        let help = "use a loopback or private address";
        found.add(&["admin", "listen"], &what, Some(help));
    }
}

fn private(address: SocketAddr) -> bool {
    match address.ip() {
        std::net::IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        std::net::IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

fn names(config: &Config, found: &mut Found<'_>) {
    let http = &config.http;
    if http.sign_in.is_empty() {
        found.add(
            &["http", "sign-in"],
            "the sign-in pages need a host name",
            None,
        );
    }
    for (i, host) in http.sign_in.iter().enumerate() {
        if http.sign_in.iter().take(i).any(|h| h == host) {
            let what = format!("the sign-in host {host} stands twice");
            found.add(&["http", "sign-in"], &what, None);
        }
    }
    if let Some(url) = &http.own_url {
        let authority = url.trim_start_matches("https://");
        let host = authority.split(':').next().unwrap_or_default();
        if !http.sign_in.iter().any(|h| h == host) {
            let what = format!("{host} is not a sign-in host");
            let help = "name it in `sign-in` too";
            found.add(&["http", "public-url"], &what, Some(help));
        }
    }
    if config.data == config.policy_dir {
        let what = "state and policy need folders of their own";
        found.add(&["policy"], what, None);
    }
    if config.master_key.starts_with(&config.data) {
        let what = "the master key may not lie in the state folder it protects";
        found.add(&["master-key"], what, None);
    }
    if !config.tls.internal_ca && config.tls.certificates.is_empty() && !config.acme.is_on() {
        let what = "without the internal CA the web door needs a certificate";
        found.add(
            &["tls", "internal-ca"],
            what,
            Some("add one to `certificates`, or order them with `[acme]`"),
        );
    }
}

fn tunnel(config: &Config, found: &mut Found<'_>) {
    let tunnel = &config.tunnel;
    if !(8..=30).contains(&tunnel.network.prefix_len()) {
        let what = format!(
            "the tunnel network {} is not between /8 and /30",
            tunnel.network
        );
        found.add(&["tunnel", "network"], &what, None);
    }
    if let Some(wrong) = tunnel.network6.and_then(wrong_network6) {
        let help = format!("such as {}", crate::tunnel::ula::draw());
        found.add(&["tunnel", "network6"], &wrong, Some(&help));
    }
    if tunnel.enabled && tunnel.listen.port() == 0 {
        let what = "device configs name the port of the tunnel, it cannot be 0";
        found.add(&["tunnel", "listen"], what, None);
    }
    for (zone, servers) in &tunnel.zones {
        if servers.is_empty() {
            let what = format!("the zone {zone} has no resolver");
            found.add(&["tunnel", "zones", zone], &what, None);
        }
    }
}

/// Devices need room for their IPv4 host number, and addresses that nobody else has.
fn wrong_network6(network: Ipv6Net) -> Option<String> {
    let [first, ..] = network.addr().segments();
    let ours = network.contains(&POOL6) || POOL6.contains(&network);
    if !(16..=64).contains(&network.prefix_len()) {
        return Some(format!(
            "the IPv6 network {network} is not between /16 and /64"
        ));
    }
    let private_or_global = network.addr().is_unique_local() || first & 0xe000 == 0x2000;
    if ours || !private_or_global {
        return Some(format!("the IPv6 network {network} is not one for hosts"));
    }
    None
}

fn identity(config: &Config, found: &mut Found<'_>) {
    let identity = &config.identity;
    if identity.idle > identity.absolute {
        let what = "a session cannot be idle for longer than it lives";
        found.add(&["identity", "idle"], what, Some("`absolute` is shorter"));
    }
    if identity.issuer.is_empty() || identity.issuer.contains(':') {
        let what = "the issuer is not empty and has no colon";
        found.add(&["identity", "issuer"], what, None);
    }
}

struct Found<'a> {
    file: &'a Path,
    text: &'a str,
    problems: Vec<Problem>,
}

impl Found<'_> {
    fn add(&mut self, keys: &[&str], what: &str, help: Option<&str>) {
        let span = place(self.text, keys);
        let mut problem = Problem::at(self.file, self.text, span, what.to_owned());
        problem.help = help.map(str::to_owned);
        self.problems.push(problem);
    }
}

/// Finds where the value of a key stands; the nearest table around it if the key is absent.
fn place(text: &str, keys: &[&str]) -> Option<Range<usize>> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut span = None;
    for key in keys {
        let Some(value) = table.get(*key) else { break };
        span = Some(Spanned::span(value));
        let DeValue::Table(inner) = value.get_ref() else {
            break;
        };
        table = inner;
    }
    span
}
