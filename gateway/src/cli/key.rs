//! `postern key`.

mod inventory;

use clap::Subcommand;
use serde::Serialize;

use inventory::Held;

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
    /// List every key there is: where it lies, since when, and when another takes its place
    ///
    /// The master keys come first, the newest of them above. Nothing of a key is given away.
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
    let config = global.config()?;
    let keys = Keys::load(&config.master_key)?;
    let held = inventory::all(&config, &keys);
    if global.json {
        held.iter().for_each(out::json);
        return Ok(());
    }
    let rows = held.into_iter().map(row);
    let columns = ["KEY", "COUNT", "WHERE", "WRITTEN", "ANOTHER ONE"];
    out::table(&columns, &rows.collect::<Vec<_>>());
    Ok(())
}

fn row(held: Held) -> Vec<String> {
    let key = match held.fingerprint {
        Some(fingerprint) => format!("{} {fingerprint}", held.key),
        None => held.key.to_owned(),
    };
    let place = match (held.place, held.sealed) {
        (Some(place), true) => format!("{} (sealed)", place.display()),
        (Some(place), false) => place.display().to_string(),
        (None, true) => "not stored".to_owned(),
        (None, false) => "memory".to_owned(),
    };
    let day = held.since.and_then(|at| at.get(..10).map(str::to_owned));
    vec![
        key,
        held.count.to_string(),
        place,
        day.unwrap_or_else(|| "-".to_owned()),
        held.turns.to_owned(),
    ]
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
