//! Bans for a firewall in front.

use std::fmt::Write as _;

use super::line::Line;

/// Writes the bans as a script for `nft -f -`: a table `inet postern` with the sets `banned4` and
/// `banned6`, filled anew each time. Rules that use the sets are the administrator's.
pub(crate) fn nft(lines: &[Line]) -> String {
    let mut text = String::from("add table inet postern\n");
    for (set, kind, v6) in [
        ("banned4", "ipv4_addr", false),
        ("banned6", "ipv6_addr", true),
    ] {
        let _done = write!(
            text,
            "add set inet postern {set} {{ type {kind}; flags interval, timeout; }}\n\
             flush set inet postern {set}\n"
        );
        let of_family = lines.iter().filter(|l| l.network.addr().is_ipv6() == v6);
        let elements: Vec<String> = of_family
            .filter(|line| !lines.iter().any(|other| covers(other, line)))
            .map(|line| element(line, lines))
            .collect();
        if !elements.is_empty() {
            let elements = elements.join(", ");
            let _done = writeln!(text, "add element inet postern {set} {{ {elements} }}");
        }
    }
    text
}

/// An interval set takes no element inside another.
fn covers(wider: &Line, line: &Line) -> bool {
    wider.network != line.network && wider.network.contains(&line.network)
}

fn element(line: &Line, all: &[Line]) -> String {
    // a narrower ban may last longer; the wider element then stands for both
    let inside = all.iter().filter(|l| line.network.contains(&l.network));
    let left: Option<Vec<u64>> = inside.map(|l| l.left_s).collect();
    let network = if line.network.prefix_len() == line.network.max_prefix_len() {
        line.network.addr().to_string()
    } else {
        line.network.to_string()
    };
    match left.and_then(|left| left.into_iter().max()) {
        Some(left) => format!("{network} timeout {}s", left.max(1)),
        None => network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(network: &str, left_s: Option<u64>) -> Line {
        Line {
            network: network.parse().unwrap(),
            since: String::new(),
            until: None,
            left_s,
            times: 1,
            reason: "by-operator".to_owned(),
            note: Some("}; add rule evil".to_owned()),
        }
    }

    #[test]
    fn each_family_has_its_set_and_no_element_lies_in_another() {
        let lines = [
            line("192.0.2.0/24", Some(60)),
            line("192.0.2.7/32", Some(600)),
            line("198.51.100.1/32", None),
            line("2001:db8::/56", Some(7)),
            line("2001:db8:0:1::/64", Some(5)),
        ];
        assert_eq!(
            nft(&lines),
            "add table inet postern\n\
             add set inet postern banned4 { type ipv4_addr; flags interval, timeout; }\n\
             flush set inet postern banned4\n\
             add element inet postern banned4 { 192.0.2.0/24 timeout 600s, 198.51.100.1 }\n\
             add set inet postern banned6 { type ipv6_addr; flags interval, timeout; }\n\
             flush set inet postern banned6\n\
             add element inet postern banned6 { 2001:db8::/56 timeout 7s }\n"
        );
    }

    #[test]
    fn without_bans_the_sets_are_empty() {
        assert!(!nft(&[]).contains("add element"));
        assert!(nft(&[]).contains("flush set inet postern banned6"));
    }
}
