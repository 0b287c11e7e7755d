//! `postern mail`.

use clap::{Args, Subcommand};

use super::exit::Failure;
use super::{Global, block_on, offline, out};
use crate::control::Operator;

/// The commands about mail.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send a test mail by the running gateway and wait for the server's answer
    Test(Test),
}

/// Whom to write to.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The address that gets it
    #[arg(long, value_name = "ADDRESS")]
    to: lettre::Address,
}

/// Runs a command about mail.
///
/// # Errors
/// [`super::exit::Exit::Config`] without `[mail]`, [`super::exit::Exit::Unavailable`] with the server's words.
pub(crate) fn run(command: &Command, global: &Global) -> Result<(), Failure> {
    let Command::Test(test) = command;
    let config = global.config()?;
    let sent = block_on(async {
        let gateway = offline::running(&config).await?;
        Ok(gateway.mail_test(test.to.as_ref()).await?)
    })?;
    if global.json {
        out::json(&sent);
    } else {
        out::line(&format!("{} took the mail to {}", sent.server, sent.to));
    }
    Ok(())
}
