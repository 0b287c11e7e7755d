//! Where the gateway itself listens: no name of an upstream may lead back to it.

use std::net::{IpAddr, SocketAddr};

use crate::bans::interfaces;
use crate::config::Config;

/// The listeners of web doors and metrics.
#[derive(Debug, Default)]
pub(crate) struct Own(Vec<SocketAddr>);

impl Own {
    /// Takes them from the configuration.
    pub(crate) fn new(config: &Config) -> Self {
        let web = config.http.https.iter().chain(&config.http.http);
        Self(web.chain(&config.admin.listen).copied().collect())
    }

    /// Tells whether the gateway listens at an address.
    pub(super) fn is_at(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let listens = |own: &SocketAddr| {
            let here = own.ip().is_unspecified() && is_here(ip);
            own.port() == address.port() && (own.ip().to_canonical() == ip || here)
        };
        self.0.iter().any(listens)
    }
}

fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback() || interfaces().any(|own| own.to_canonical() == ip)
}

#[cfg(test)]
mod tests {
    use super::Own;
    use crate::config::Config;

    #[test]
    fn what_the_gateway_listens_on_is_its_own_and_other_ports_are_not() {
        let mut config = Config::default();
        config.http.https = vec!["0.0.0.0:443".parse().unwrap()];
        config.http.http = vec!["192.0.2.1:80".parse().unwrap()];
        config.admin.listen = "127.0.0.1:9443".parse().ok();
        let own = Own::new(&config);
        for (address, is) in [
            ("127.0.0.1:443", true),
            ("[::ffff:127.0.0.1]:443", true),
            ("127.9.9.9:443", true),
            ("127.0.0.1:444", false),
            ("198.51.100.7:443", false),
            ("192.0.2.1:80", true),
            ("127.0.0.1:80", false),
            ("127.0.0.1:9443", true),
            ("[::1]:9443", false),
        ] {
            assert_eq!(own.is_at(address.parse().unwrap()), is, "{address}");
        }
    }
}
