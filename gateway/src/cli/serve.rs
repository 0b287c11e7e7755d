//! `postern run`.

use clap::Args;

use super::exit::{Exit, Failure, chain};
use crate::config::{Config, Log, LogFormat};
use crate::reload::start::Fallback;
use crate::run::{self, StartError};

/// Serves until it is told to stop.
///
/// # Errors
/// What keeps it from starting, with its exit code.
pub(crate) fn run(config: Config, options: &Options) -> Result<(), Failure> {
    log(&config.log);
    let fallback = match options.strict {
        true => Fallback::Strict,
        false => Fallback::LastGood,
    };
    run::serve(config, fallback, |_| {}).map_err(Failure::from)
}

/// How to serve.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Do not start with the last good policy when the policy folder gives none; exit 78 instead
    #[arg(long)]
    strict: bool,
}

/// Sends the log to stderr; a second call has no effect.
pub(crate) fn log(log: &Log) {
    let level = log.level.name();
    // what these crates call an error is an ordinary end of a connection or session to us
    let quiet = "boringtun=off,pingora_core=off,pingora_proxy=off";
    let filter = format!("warn,{quiet},postern={level}");
    let filter = tracing_subscriber::EnvFilter::new(filter);
    let to_stderr = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match log.format {
        LogFormat::Json => to_stderr.json().try_init().ok(),
        LogFormat::Text => to_stderr.with_ansi(false).try_init().ok(),
    };
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let exit = match error.exit_code() {
            69 => Exit::Unavailable,
            77 => Exit::Permission,
            78 => Exit::Config,
            _ => Exit::Internal,
        };
        Self::new(exit, chain(&error))
    }
}
