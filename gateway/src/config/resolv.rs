//! The system's resolvers.

use std::net::{IpAddr, SocketAddr};

/// Returns the name servers of `/etc/resolv.conf`, port 53; none if there is no such file.
pub(super) fn system() -> Vec<SocketAddr> {
    std::fs::read_to_string("/etc/resolv.conf").map_or_else(|_| Vec::new(), |text| parse(&text))
}

fn parse(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let key = words.next()?;
            let server = words.next().filter(|_| key == "nameserver")?;
            let ip: IpAddr = server.parse().ok()?;
            Some(SocketAddr::new(ip, 53))
        })
        .take(3)
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_name_server_lines_count() {
        let text = "# c\nsearch a.example\nnameserver 192.0.2.1\noptions x\nnameserver fe80::1%lo\nnameserver 2001:db8::1\n";
        let found = super::parse(text);
        assert_eq!(
            found,
            [
                "192.0.2.1:53".parse().unwrap(),
                "[2001:db8::1]:53".parse().unwrap()
            ]
        );
    }
}
