//! `postern session`.

use clap::Subcommand;

use super::exit::Failure;
use super::which::Chosen;
use super::{Global, block_on, offline, out};

/// The commands about sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List live sessions
    List,
    /// End sessions and everything they opened
    Revoke(Chosen),
}

/// Runs a command about sessions.
///
/// # Errors
/// [`super::exit::Exit::Data`] for a session that is not there.
pub(crate) fn run(command: &Command, global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    match command {
        Command::List => list(config, global.json),
        Command::Revoke(chosen) => {
            let ended = block_on(async {
                let gateway = offline::any(config).await?;
                Ok(gateway.session_revoke(&chosen.into()).await?)
            })?;
            if global.json {
                out::json(&ended);
            } else {
                out::line(&format!("{} ended", ended.sessions.len()));
            }
            Ok(())
        }
    }
}

fn list(config: crate::config::Config, json: bool) -> Result<(), Failure> {
    let sessions = block_on(async {
        let gateway = offline::any(config).await?;
        Ok(gateway.session_list().await?)
    })?;
    if json {
        for session in &sessions {
            out::json(session);
        }
        return Ok(());
    }
    let rows: Vec<Vec<String>> = sessions
        .into_iter()
        .map(|s| {
            let devices = s.devices.join(" ");
            vec![
                s.id, s.user, s.door, s.source, s.created, s.expires, devices,
            ]
        })
        .collect();
    let head = [
        "ID", "USER", "DOOR", "SOURCE", "CREATED", "EXPIRES", "DEVICES",
    ];
    out::table(&head, &rows);
    Ok(())
}
