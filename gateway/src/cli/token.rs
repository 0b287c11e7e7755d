//! `postern token`.

use clap::Subcommand;

use super::exit::Failure;
use super::which::Chosen;
use super::{Global, block_on, offline, out};

/// The commands about tokens for apps.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the tokens that count
    List,
    /// Revoke tokens and cut what they have open
    Revoke(Chosen),
}

/// Runs a command about tokens.
///
/// # Errors
/// [`super::exit::Exit::Data`] for a token that is not there.
pub(crate) fn run(command: &Command, global: &Global) -> Result<(), Failure> {
    let config = global.config()?;
    match command {
        Command::List => list(config, global.json),
        Command::Revoke(chosen) => {
            let ended = block_on(async {
                let gateway = offline::any(config).await?;
                Ok(gateway.token_revoke(&chosen.into()).await?)
            })?;
            if global.json {
                out::json(&ended);
            } else {
                out::line(&format!("{} revoked", ended.tokens.len()));
            }
            Ok(())
        }
    }
}

fn list(config: crate::config::Config, json: bool) -> Result<(), Failure> {
    let tokens = block_on(async {
        let gateway = offline::any(config).await?;
        Ok(gateway.token_list().await?)
    })?;
    if json {
        for token in &tokens {
            out::json(token);
        }
        return Ok(());
    }
    let rows: Vec<Vec<String>> = tokens
        .into_iter()
        .map(|t| {
            let used = t.last_used.unwrap_or_else(|| "never".to_owned());
            let place = t.place.unwrap_or_default();
            vec![
                t.id, t.user, t.app, t.name, t.created, t.expires, used, place,
            ]
        })
        .collect();
    let head = [
        "ID",
        "USER",
        "APP",
        "NAME",
        "CREATED",
        "EXPIRES",
        "LAST USED",
        "FROM",
    ];
    out::table(&head, &rows);
    Ok(())
}
