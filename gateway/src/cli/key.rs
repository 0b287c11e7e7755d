//! `postern key`.

use clap::Subcommand;
use serde::Serialize;

use super::exit::Failure;
use super::{Global, block_on, out};
use crate::audit::Audit;
use crate::config::{Config, lock};
use crate::control::Remote;
use crate::reload::history::History;
use crate::rotation;
use crate::secrets::Keys;
use crate::store;

/// The commands about the master key.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Name the keys of the key file, the newest first, without giving them away
    #[command(after_help = "Examples:\n  postern key list\n  postern key list --json")]
    List,
    /// Put a new master key above the others, and seal every secret under it
    ///
    /// The older keys stay in the file: they open what was made before, such as records of the
    /// journal, passwords until the next sign-in, and recovery codes. A gateway that runs goes on
    /// with the older key until it is started again. Keep a copy of the file apart from backups
    /// of the state folder.
    #[command(after_help = "Examples:\n  postern key rotate\n  postern key rotate --json")]
    Rotate,
}

#[derive(Serialize)]
struct Line {
    fingerprint: String,
    newest: bool,
}

#[derive(Serialize)]
struct Rotated {
    fingerprint: String,
    /// Secrets sealed under it; absent while a gateway runs, which does it at its next start.
    sealed: Option<usize>,
}

/// Runs a command about the master key.
///
/// # Errors
/// What keeps the key file or the state folder closed.
pub(crate) fn run(command: &Command, global: &Global) -> Result<(), Failure> {
    match command {
        Command::List => list(global),
        Command::Rotate => rotate(global),
    }
}

fn list(global: &Global) -> Result<(), Failure> {
    let keys = Keys::load(&global.config()?.master_key)?;
    let lines = keys.fingerprints().into_iter().enumerate();
    let lines = lines.map(|(at, fingerprint)| Line {
        fingerprint,
        newest: at == 0,
    });
    if global.json {
        lines.for_each(|line| out::json(&line));
        return Ok(());
    }
    let rows = lines.map(|line| {
        let seals = if line.newest {
            "seals and opens"
        } else {
            "opens"
        };
        vec![line.fingerprint, seals.to_owned()]
    });
    out::table(&["KEY", "USE"], &rows.collect::<Vec<_>>());
    Ok(())
}

fn rotate(global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    let (keys, sealed) = block_on(async {
        if Remote::find(&config.control_socket()).await?.is_some() {
            return Ok((Keys::rotate(&config.master_key)?.fingerprints(), None));
        }
        let (keys, sealed) = stopped(&config).await?;
        Ok((keys, Some(sealed)))
    })?;
    let fingerprint = keys.into_iter().next().unwrap_or_default();
    if global.json {
        out::json(&Rotated {
            fingerprint,
            sealed,
        });
        return Ok(());
    }
    match sealed {
        Some(count) => out::line(&format!(
            "key {fingerprint} is in use, {count} secrets sealed"
        )),
        None => out::line(&format!(
            "key {fingerprint} is in use from the next start of the gateway on"
        )),
    }
    Ok(())
}

/// Rotates where no gateway runs: everything is sealed anew before this returns.
async fn stopped(config: &Config) -> Result<(Vec<String>, usize), Failure> {
    let _lock = lock::acquire(&config.data)?;
    let keys = std::sync::Arc::new(Keys::rotate(&config.master_key)?);
    let store = store::open(&config.data)?;
    let history = History::open(&config.data, std::sync::Arc::clone(&keys))
        .map_err(|e| Failure::file("open", &config.data, &e))?;
    let audit = Audit::open(&config.data.join("audit"), &keys.derive_all("audit"))?;
    let done = rotation::settle(&config.data, &keys, &*store, &history, &audit).await;
    audit.close().await;
    let done = done.map_err(|e| Failure::of(super::exit::Exit::Internal, &e))?;
    Ok((keys.fingerprints(), done))
}
