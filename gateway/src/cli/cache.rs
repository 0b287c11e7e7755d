//! `postern cache`.

use clap::{Args, Subcommand};

use super::exit::Failure;
use super::{Global, block_on, offline, out};
use crate::control::Operator;
use crate::control::purge::Ask;

/// The commands about kept answers.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Forget the kept answers of an app, so that the next request asks it
    #[command(
        after_help = "Examples:\n  postern cache purge shop\n  postern cache purge shop --path /prices\n  postern cache purge shop --tag product-7\n  postern cache purge acme/shop"
    )]
    Purge(Purge),
}

/// What is forgotten.
#[derive(Debug, Args)]
pub(crate) struct Purge {
    /// The app, as the policy names it
    app: String,
    /// Only answers to this path and those below it
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Only answers the app gave this tag, by a Cache-Tag field
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
}

/// Runs a command about kept answers.
///
/// # Errors
/// [`super::exit::Exit::Data`] for an app that is not in the policy in force,
/// [`super::exit::Exit::Unavailable`] where no gateway runs.
pub(crate) fn run(command: &Command, global: &Global) -> Result<(), Failure> {
    let Command::Purge(purge) = command;
    let ask = Ask {
        app: purge.app.clone(),
        path: purge.path.clone(),
        tag: purge.tag.clone(),
    };
    let config = global.config()?;
    let purged = block_on(async {
        let gateway = offline::running(&config).await?;
        Ok(gateway.cache_purge(&ask, 0).await?)
    })?;
    if global.json {
        out::json(&purged);
    } else {
        let text = format!("{}: {} answers forgotten", purged.app, purged.answers);
        out::line(&text);
    }
    Ok(())
}
