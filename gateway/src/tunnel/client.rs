//! What a device's configuration says besides its keys.

use ipnet::IpNet;
use policy::Policy;

use crate::config::Config;

/// Lists the networks a device sends into the tunnel: the tunnel's own, and those of
/// `[tunnel] routes` or, without it, those the policy names.
pub(crate) fn routes(config: &Config, policy: &Policy) -> Vec<IpNet> {
    let routes = config.tunnel.routes.clone();
    let routes = routes.unwrap_or_else(|| policy.networks().collect());
    merged(IpNet::V4(config.tunnel.network), routes)
}

/// Merges networks that lie in each other; the tunnel's own stands first.
fn merged(own: IpNet, others: impl IntoIterator<Item = IpNet>) -> Vec<IpNet> {
    let mut all = vec![own.trunc()];
    let others = IpNet::aggregate(&others.into_iter().collect());
    all.extend(others.into_iter().filter(|net| !own.contains(net)));
    all
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
        let merged = merged("10.200.200.0/24".parse().unwrap(), nets);
        let merged: Vec<_> = merged.iter().map(ToString::to_string).collect();
        assert_eq!(merged, ["10.200.200.0/24", "192.168.1.0/24", "fd00:1::/64"]);
    }
}
