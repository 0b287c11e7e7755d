//! What a device's configuration says besides its keys.

use ipnet::IpNet;
use policy::Policy;

use crate::config::Config;

/// Lists the networks a device of `user` sends into the tunnel: the tunnel's own, and those of
/// `[tunnel] routes` or, without it, those its person may reach.
pub(crate) fn routes(config: &Config, policy: &Policy, user: &str) -> Vec<IpNet> {
    let routes = config.tunnel.routes.clone();
    let routes = routes.unwrap_or_else(|| policy.networks_of(user));
    merged(own(config), routes)
}

/// Lists the networks of the devices themselves, one of each family.
pub(crate) fn own(config: &Config) -> Vec<IpNet> {
    let six = config.tunnel.network6.map(IpNet::V6);
    let four = IpNet::V4(config.tunnel.network);
    std::iter::once(four)
        .chain(six)
        .map(|n| n.trunc())
        .collect()
}

/// Merges networks that lie in each other; the tunnel's own stand first.
fn merged(own: Vec<IpNet>, others: impl IntoIterator<Item = IpNet>) -> Vec<IpNet> {
    let others = IpNet::aggregate(&others.into_iter().collect());
    let others = others.into_iter();
    let others: Vec<_> = others
        .filter(|net| !own.iter().any(|own| own.contains(net)))
        .collect();
    own.into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::merged;

    #[test]
    fn networks_inside_others_are_named_once() {
        let nets = [
            "192.168.1.0/24",
            "192.168.1.10/32",
            "10.200.200.9/32",
            "fd00:1::/64",
        ];
        let nets = nets.map(|net| net.parse().unwrap());
        let merged = merged(vec!["10.200.200.0/24".parse().unwrap()], nets);
        let merged: Vec<_> = merged.iter().map(ToString::to_string).collect();
        assert_eq!(merged, ["10.200.200.0/24", "192.168.1.0/24", "fd00:1::/64"]);
    }
}
