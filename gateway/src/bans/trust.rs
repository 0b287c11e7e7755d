//! Which networks are never banned.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::config::Config;

/// Networks that may not be shut out, each with why.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trusted(Vec<(IpNet, &'static str)>);

impl Trusted {
    /// Gathers them from the configuration, the policy in force, the machine's interfaces, and what the names of
    /// upstreams lead to.
    pub(crate) fn gather(config: &Config, policy: &policy::Policy, named: &[IpAddr]) -> Self {
        let mut all = vec![
            (
                IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8)),
                "loopback",
            ),
            (
                IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)),
                "loopback",
            ),
            (IpNet::V4(config.tunnel.network), "the tunnel's network"),
        ];
        let allowed = config.bans.allow.iter();
        all.extend(allowed.map(|net| (*net, "on the allow-list")));
        let proxies = config.http.proxy_protocol_from.iter();
        all.extend(proxies.map(|net| (*net, "a proxy of ours")));
        let listeners = config.http.https.iter().chain(&config.http.http);
        let listeners = listeners.map(|address| address.ip());
        let own = listeners
            .chain(interfaces())
            .filter(|ip| !ip.is_unspecified());
        all.extend(own.map(|ip| (single(ip), "an address of this machine")));
        let upstreams = policy.apps().flat_map(|(_, app)| app.upstreams());
        let upstreams = upstreams.filter_map(|upstream| match &upstream.at {
            policy::At::Net(host, _) => host.parse().ok(),
            policy::At::Unix(_) => None,
        });
        let upstreams = upstreams.chain(named.iter().copied());
        all.extend(upstreams.map(|ip| (single(ip), "an upstream")));
        Self(all)
    }

    /// Says why a network may not be banned: it and a trusted one overlap.
    pub(crate) fn why(&self, network: &IpNet) -> Option<(IpNet, &'static str)> {
        let overlaps = |net: &IpNet| net.contains(network) || network.contains(net);
        self.0.iter().find(|(net, _)| overlaps(net)).copied()
    }
}

/// Lists the addresses of this machine.
pub(crate) fn interfaces() -> impl Iterator<Item = IpAddr> {
    let all = nix::ifaddrs::getifaddrs().ok().into_iter().flatten();
    all.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    })
}

fn single(ip: IpAddr) -> IpNet {
    IpNet::from(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::Trusted;
    use crate::config::Config;

    fn trusted() -> Trusted {
        let mut config = Config::default();
        config.bans.allow = vec!["203.0.113.0/24".parse().unwrap()];
        config.http.https = vec!["198.51.100.4:443".parse().unwrap()];
        let mut sources = policy::Sources::new();
        sources.add(
            "policy.toml",
            "postern = 1\n[app.a]\nhost = \"a.example\"\nupstream = \"http://192.0.2.80:80\"\n"
                .to_owned(),
        );
        let named = ["192.0.2.90".parse().unwrap()];
        Trusted::gather(&config, &policy::load(&sources).unwrap().policy, &named)
    }

    #[test]
    fn loopback_own_upstream_tunnel_and_allowed_networks_are_trusted_and_others_not() {
        let trusted = trusted();
        for net in [
            "127.0.0.1/32",
            "127.8.0.0/16",
            "::1/128",
            "198.51.100.4/32",
            "192.0.2.80/32",
            "192.0.2.90/32",
            "10.200.200.7/32",
            "203.0.113.9/32",
            "0.0.0.0/0",
            "192.0.2.0/24",
            "::/0",
        ] {
            assert!(trusted.why(&net.parse().unwrap()).is_some(), "{net}");
        }
        for net in ["192.0.2.81/32", "198.51.100.5/32", "2001:db8::/64"] {
            assert_eq!(trusted.why(&net.parse().unwrap()), None, "{net}");
        }
    }
}
