//! `postern ban`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;

use super::exit::Failure;
use super::{Global, block_on, offline, out};
use crate::bans::export;
use crate::config::duration;
use crate::control::ban::{Ask, Line, network};

/// The commands about bans.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the bans in force
    List,
    /// Shut a source out
    Add(Add),
    /// Let a source in again and forget its failures
    Remove {
        /// An address, or a network such as 192.0.2.0/24
        #[arg(value_parser = network)]
        network: IpNet,
    },
    /// Print the bans for a firewall in front
    Export {
        /// nft: a script for `nft -f -`; json: one line a ban
        #[arg(long, value_enum, default_value = "nft")]
        format: Format,
    },
}

/// Whom to shut out.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// An address (of IPv6, its /64), or a network such as 192.0.2.0/24
    #[arg(value_parser = network)]
    network: IpNet,
    /// How long, such as 30m, 1h or 7d; until it is removed if absent
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    time: Option<Duration>,
    /// A note for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// The forms of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Nft,
    Json,
}

/// Runs a command about bans.
///
/// # Errors
/// [`super::exit::Exit::Data`] for a network that may not be banned, or is not.
pub(crate) fn run(command: &Command, global: &Global) -> Result<(), Failure> {
    let ask = match command {
        Command::List => Ask::List,
        Command::Export { .. } => Ask::Export,
        Command::Add(add) => Ask::Add {
            network: add.network,
            seconds: add.time.map(|time| time.as_secs()),
            note: add.reason.clone(),
        },
        Command::Remove { network } => Ask::Remove { network: *network },
    };
    let config = global.config()?;
    let lines = block_on(async {
        let gateway = offline::any(config).await?;
        Ok(gateway.ban(&ask).await?)
    })?;
    match command {
        Command::Export {
            format: Format::Nft,
        } if !global.json => out::raw(&export::nft(&lines)),
        Command::Export { .. } => each(&lines),
        _ if global.json => each(&lines),
        Command::List => table(lines),
        Command::Add(_) => say("banned", &lines),
        Command::Remove { .. } => say("no longer banned", &lines),
    }
    Ok(())
}

fn each(lines: &[Line]) {
    for line in lines {
        out::json(line);
    }
}

fn say(what: &str, lines: &[Line]) {
    for line in lines {
        out::line(&format!("{} {what}", line.network));
    }
}

fn table(lines: Vec<Line>) {
    let rows: Vec<Vec<String>> = lines
        .into_iter()
        .map(|line| {
            let until = line.until.unwrap_or_else(|| "removed".to_owned());
            let times = line.times.to_string();
            let note = line.note.unwrap_or_default();
            let network = line.network.to_string();
            vec![network, line.since, until, times, line.reason, note]
        })
        .collect();
    let head = ["NETWORK", "SINCE", "UNTIL", "TIMES", "REASON", "NOTE"];
    out::table(&head, &rows);
}

#[cfg(test)]
mod tests {
    use super::network;

    #[test]
    fn addresses_and_networks_are_read_and_host_bits_are_not() {
        for (text, net) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("2001:db8::7", "2001:db8::/64"),
            ("2001:db8::/56", "2001:db8::/56"),
            ("192.0.2.0/24", "192.0.2.0/24"),
        ] {
            assert_eq!(network(text).unwrap().to_string(), net);
        }
        assert!(
            network("192.0.2.7/24")
                .unwrap_err()
                .contains("192.0.2.0/24")
        );
        for bad in ["", "gate.example", "192.0.2.0/33", "192.0.2"] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }
}
