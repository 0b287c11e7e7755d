//! `postern cert`.

use clap::Subcommand;
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::{Global, out};
use crate::clock;
use crate::config::Config;
use crate::proxy::tls::CertSet;
use crate::reload;
use crate::snapshot::files::{self, Links};

/// The commands about certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the configured certificates
    List,
    /// Print the root certificate of the internal authority, for clients to import
    CaRoot,
}

#[derive(Serialize)]
struct Line {
    names: Vec<String>,
    not_before: String,
    not_after: String,
    days_left: i64,
}

/// The largest certificate file in bytes.
const PEM_MAX: u64 = 1 << 20;

/// Runs a command about certificates.
///
/// # Errors
/// [`Exit::Config`] for certificates that cannot be used, [`Exit::Unavailable`] while there is no authority.
pub(crate) fn run(command: &Command, global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    match command {
        Command::List => list(&config, global.json),
        Command::CaRoot => {
            let path = config.data.join("ca/root.pem");
            if !path.exists() {
                let text = format!("{} is made by the first start", path.display());
                return Err(Failure::new(Exit::Unavailable, text));
            }
            out::raw(&files::read_text(&path, PEM_MAX, Links::Follow)?);
            Ok(())
        }
    }
}

fn list(config: &Config, json: bool) -> Result<(), Failure> {
    let now = clock::unix();
    let set = CertSet::build(&reload::cert_files(config), None, &[], None, now)?;
    let mut rows = Vec::new();
    for chain in set.chains() {
        let line = Line {
            names: chain.names().iter().cloned().collect(),
            not_before: time(chain.not_before()),
            not_after: time(chain.not_after()),
            days_left: chain.not_after().saturating_sub(now) / 86_400,
        };
        if json {
            out::json(&line);
        } else {
            let names = line.names.join(" ");
            rows.push(vec![
                names,
                line.not_before,
                line.not_after,
                line.days_left.to_string(),
            ]);
        }
    }
    if !json {
        out::table(&["NAMES", "FROM", "UNTIL", "DAYS"], &rows);
        if config.tls.internal_ca {
            out::note("other names get a certificate of the internal authority");
        }
    }
    Ok(())
}

fn time(unix: i64) -> String {
    clock::rfc3339(u64::try_from(unix).unwrap_or(0).saturating_mul(1000))
}
