//! Figures of the tunnel in the Prometheus text format.

use std::fmt::Write as _;

use wg::Counters;

use crate::gateway::Gateway;
use crate::tunnel::{self, Tally};

/// Writes what passed the tunnel and what did not; nothing while its door is shut.
pub(super) async fn figures(gw: &Gateway) -> String {
    let tally = tunnel::tally(gw).await;
    tally.map(|tally| text(&tally)).unwrap_or_default()
}

fn text(tally: &Tally) -> String {
    let mut text = String::new();
    for (name, help, value) in passed(&tally.node) {
        let _done = writeln!(
            text,
            "# HELP postern_tunnel_{name} {help}\n# TYPE postern_tunnel_{name} counter\npostern_tunnel_{name} {value}"
        );
    }
    by_reason(
        &mut text,
        "dropped",
        "Datagrams and packets of the tunnel that were dropped.",
        tally.dropped(),
    );
    by_reason(
        &mut text,
        "refused",
        "Flows, pings and names of devices refused before any decision.",
        tally
            .refused
            .iter()
            .map(|(reason, count)| (*reason, *count)),
    );
    text
}

fn passed(node: &Counters) -> [(&'static str, &'static str, u64); 7] {
    [
        ("datagrams_in", "Datagrams received.", node.datagrams_in),
        ("datagrams_out", "Datagrams sent.", node.datagrams_out),
        (
            "handshakes",
            "Handshakes of devices answered.",
            node.handshakes,
        ),
        (
            "initiations",
            "Handshakes begun by the gateway.",
            node.initiations,
        ),
        ("cookies", "Cookie replies sent under load.", node.cookies),
        (
            "keys_seen_twice",
            "Times a key was seen in two places.",
            node.twins,
        ),
        (
            "future_stamps",
            "Handshakes of clocks more than a day ahead.",
            node.future_stamps,
        ),
    ]
}

fn by_reason(
    text: &mut String,
    name: &str,
    help: &str,
    counts: impl Iterator<Item = (&'static str, u64)>,
) {
    let name = format!("postern_tunnel_{name}");
    let _done = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
    for (reason, count) in counts {
        let _done = writeln!(text, "{name}{{reason=\"{reason}\"}} {count}");
    }
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::tunnel::Tally;

    #[test]
    fn each_reason_has_its_line_and_what_never_happened_is_zero() {
        let tally = Tally {
            node: wg::Counters::default(),
            refused: [("guard", 3)].into(),
        };
        let text = text(&tally);
        for reason in wg::DropReason::ALL {
            let line = format!("postern_tunnel_dropped{{reason=\"{}\"}} 0\n", reason.code());
            assert!(text.contains(&line), "{line}");
        }
        assert!(text.contains("postern_tunnel_refused{reason=\"guard\"} 3\n"));
        let mut names: Vec<&str> = text.lines().filter(|l| l.starts_with("# TYPE")).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "a name stands twice");
    }
}
