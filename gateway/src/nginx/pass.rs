//! Upstreams: groups of them, and what passes requests on.

use policy::front::may_be_upstream;

use super::ledger::{Ledger, Verdict};
use super::names::{Names, option};
use super::settings::TlsTo;
use super::tree::Directive;
use super::write::{list, quoted};

/// Most upstreams of an area in the policy's language.
const MOST: usize = 32;

/// The servers of an `upstream` block.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    /// Address and weight.
    servers: Vec<(String, u32)>,
    least: bool,
    sticky: bool,
}

/// Where requests are passed on to.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    /// URL and weight, at least one.
    members: Vec<(String, u32)>,
    least: bool,
    sticky: bool,
    /// What stands for the location's path.
    pub(super) uri: Option<String>,
}

impl Group {
    /// Reads a block.
    pub(super) fn read(d: &Directive, ledger: &mut Ledger) -> Self {
        let mut group = Self::default();
        for inner in d.children() {
            group.line(inner, ledger);
        }
        ledger.carried(
            d,
            "the `upstream` list of the areas that pass requests to it",
        );
        group
    }

    fn line(&mut self, d: &Directive, ledger: &mut Ledger) {
        match d.name.as_str() {
            "server" => self.server(d, ledger),
            "least_conn" => {
                self.least = true;
                ledger.carried(d, "balance = \"least-connections\"");
            }
            "ip_hash" | "sticky" | "hash" => {
                self.sticky = true;
                let says = "sticky = true: a browser stays with its upstream by a cookie, not by its address";
                ledger.differs(d, says);
            }
            "keepalive" | "keepalive_timeout" | "keepalive_requests" | "keepalive_time"
            | "zone" => {
                ledger.done(
                    d,
                    "connections to upstreams are kept for as long as both sides want",
                );
            }
            _ => {}
        }
    }

    fn server(&mut self, d: &Directive, ledger: &mut Ledger) {
        let has = |word: &str| d.args.iter().any(|arg| arg == word);
        if has("down") {
            return ledger.carried(d, "left out: it is down");
        }
        if has("backup") {
            let says = "left out: there is no upstream for need only; put it into the list to share the load";
            return ledger.differs(d, says);
        }
        let address = d.arg(0);
        if member("http", address).is_none() {
            return ledger.unknown(
                d,
                "no address such as 10.0.0.5:8000 or unix:/path/of.socket",
            );
        }
        let weight = option(d, "weight").map_or(Some(1), |w| w.parse().ok());
        let Some(weight) = weight.filter(|w| (1..=100).contains(w)) else {
            return ledger.unknown(d, "a weight is from 1 to 100");
        };
        if self.servers.iter().any(|(known, _)| known == address) {
            return ledger.unknown(d, "this address stands twice; give it a weight instead");
        }
        if self.servers.len() >= MOST {
            return ledger.unknown(d, format!("an area has at most {MOST} upstreams"));
        }
        self.servers.push((address.to_owned(), weight));
        let counts = [
            "max_fails",
            "fail_timeout",
            "max_conns",
            "slow_start",
            "resolve",
        ];
        let other = d.args.iter().skip(1).find(|arg| {
            let name = arg.split('=').next().unwrap_or_default();
            name != "weight" && !counts.contains(&name)
        });
        let counted = counts.iter().any(|name| option(d, name).is_some());
        match other {
            Some(other) => ledger.unknown(d, format!("`{}` says nothing to the gateway", other.escape_debug())),
            None if counted => ledger.differs(
                d,
                "in the `upstream` list; one that does not answer rests for ten seconds and longer each time, `check` asks before it is needed",
            ),
            None => ledger.carried(d, "in the `upstream` list"),
        }
    }
}

impl Pass {
    /// Reads `proxy_pass` or `grpc_pass`; says so where it is not understood.
    pub(super) fn read(d: &Directive, names: &Names, ledger: &mut Ledger) -> Option<Self> {
        let found = Self::target(d.arg(0), names);
        if found.is_none() {
            let says = "no upstream: write http://host:port, https://host:port, unix:/path or the name of an `upstream` block, without variables";
            ledger.unknown(d, says);
        }
        found
    }

    fn target(text: &str, names: &Names) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = match scheme {
            "http" | "https" => scheme,
            "grpc" => "h2c",
            "grpcs" => "h2",
            _ => return None,
        };
        if text.contains('$') {
            return None;
        }
        let (address, uri) = match rest.strip_prefix("unix:") {
            Some(path) => match path.split_once(':') {
                Some((socket, uri)) => (format!("unix:{socket}"), Some(uri)),
                None => (rest.to_owned(), None),
            },
            None => match rest.find('/').and_then(|at| rest.split_at_checked(at)) {
                Some((host, uri)) => (host.to_owned(), Some(uri)),
                None => (rest.to_owned(), None),
            },
        };
        let uri = uri.map(str::to_owned);
        let single = || member(scheme, &address).map(|url| vec![(url, 1)]);
        let group = names.groups.get(&address);
        let members = group.map_or_else(single, |group| {
            let all = group.servers.iter();
            all.map(|(at, weight)| Some((member(scheme, at)?, *weight)))
                .collect()
        });
        Some(Self {
            members: members.filter(|all| !all.is_empty())?,
            least: group.is_some_and(|group| group.least),
            sticky: group.is_some_and(|group| group.sticky),
            uri,
        })
    }

    /// Whether TLS is spoken to it.
    pub(super) fn is_tls(&self) -> bool {
        let mut urls = self.members.iter();
        urls.any(|(url, _)| url.starts_with("https:") || url.starts_with("h2:"))
    }

    /// Whether a WebSocket cannot be passed on.
    pub(super) fn is_http2(&self) -> bool {
        let mut urls = self.members.iter();
        urls.any(|(url, _)| url.starts_with("h2"))
    }

    /// Whether it looks like Streamlit, by the port of all its guides.
    pub(super) fn is_streamlit(&self) -> bool {
        self.members.iter().any(|(url, _)| url.ends_with(":8501"))
    }

    /// The keys of an area.
    pub(super) fn keys(&self, tls: &TlsTo, into: &mut super::write::Keys) {
        let tls = if self.is_tls() {
            tls.keys()
        } else {
            String::new()
        };
        let member = |(url, weight): &(String, u32)| {
            let url = quoted(url);
            match (*weight, tls.as_str()) {
                (1, "") => url,
                (1, tls) => format!("{{ url = {url}{tls} }}"),
                (weight, tls) => format!("{{ url = {url}, weight = {weight}{tls} }}"),
            }
        };
        into.insert("upstream", list(self.members.iter().map(member)));
        if self.least {
            into.insert("balance", quoted("least-connections"));
        }
        if self.sticky {
            into.insert("sticky", "true".to_owned());
        }
    }

    /// What a list says of it.
    pub(super) fn shown(&self) -> String {
        list(self.members.iter().map(|(url, _)| quoted(url)))
    }
}

/// Writes one upstream as the policy's language has it, if it can.
fn member(scheme: &str, address: &str) -> Option<String> {
    if let Some(path) = address.strip_prefix("unix:") {
        let plain =
            path.starts_with('/') && path.len() <= 107 && !path.chars().any(char::is_control);
        return (plain && scheme == "http").then(|| address.to_owned());
    }
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        Some(_) | None => (address, None),
    };
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
    let known = |port: &str| digits(port) && port.parse::<u16>().is_ok();
    if !port.is_none_or(known) {
        return None;
    }
    let canonical = policy::canon::host(host).ok()?;
    let bare = canonical.as_str().trim_matches(['[', ']']);
    let placed = bare.parse().map_or(true, |ip| may_be_upstream(ip, &[]));
    let host = canonical.as_str();
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    placed.then(|| format!("{scheme}://{host}{port}"))
}

/// Says what is said of TLS to an upstream whose certificate nginx does not check.
pub(super) fn check_tls(d: &Directive, pass: &Pass, tls: &TlsTo, ledger: &mut Ledger) {
    let says = format!("upstream = {}", pass.shown());
    if pass.is_tls() && !tls.verify {
        let more = "its certificate is checked, which nginx does not do; name the file of its authority as `ca`";
        ledger.mark(d.id, Verdict::Differs, format!("{says}; {more}"));
    } else {
        ledger.carried(d, says);
    }
}
