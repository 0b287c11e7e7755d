//! `postern run`.

use super::exit::{Exit, Failure, chain};
use crate::config::{Config, Log, LogFormat};
use crate::run::{self, StartError};

/// Serves until it is told to stop.
///
/// # Errors
/// What keeps it from starting, with its exit code.
pub(crate) fn run(config: Config) -> Result<(), Failure> {
    log(&config.log);
    run::serve(config, |_| {}).map_err(Failure::from)
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
    let _ = match log.format {
        LogFormat::Json => to_stderr.json().try_init(),
        LogFormat::Text => to_stderr.with_ansi(false).try_init(),
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
