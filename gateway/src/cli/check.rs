//! `postern check`: everything a start reads, without making anything.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;

use super::exit::{Exit, Failure};
use super::{Global, out, policies};
use crate::audit::AuditError;
use crate::clock;
use crate::config::{Config, lock};
use crate::control::acts::settings;
use crate::mail::Relay;
use crate::proxy::tls::Reading;
use crate::reload;
use crate::secrets::Keys;
use crate::traces::Collector;

#[derive(Serialize)]
struct Answer {
    ok: bool,
    problems: Vec<String>,
}

/// Checks configuration, keys, state folder, policy and certificates; tells all problems.
///
/// # Errors
/// [`Exit::Permission`] if a file or folder is open to others, else what a start would say first.
pub(crate) fn run(global: &Global) -> Result<(), Failure> {
    let problems = match global.config() {
        Ok(config) => problems(&config),
        Err(failure) => vec![failure],
    };
    if global.json {
        out::json(&Answer {
            ok: problems.is_empty(),
            problems: problems.iter().map(|p| p.text.clone()).collect(),
        });
    }
    if problems.is_empty() {
        if !global.json {
            out::line("ok");
        }
        return Ok(());
    }
    let exit = verdict(&problems);
    let texts: Vec<String> = problems.into_iter().map(|p| p.text).collect();
    Err(Failure::new(exit, texts.join("\n")))
}

fn verdict(problems: &[Failure]) -> Exit {
    let mut exits = problems.iter().map(|p| p.exit);
    let first = exits.clone().next().unwrap_or(Exit::Config);
    exits.find(|e| *e == Exit::Permission).unwrap_or(first)
}

fn problems(config: &Config) -> Vec<Failure> {
    let mut problems = Vec::new();
    problems.extend(Keys::load(&config.master_key).err().map(Failure::from));
    if config.data.exists() {
        problems.extend(lock::check_folder(&config.data).err().map(Failure::from));
    }
    problems.extend(journal(&config.data.join("audit")).err().map(Failure::from));
    problems.extend(policies::load(&config.policy_dir).err());
    let files = reload::cert_files(config);
    let certificates = Reading::in_full(clock::unix()).files(&files);
    problems.extend(certificates.err().map(Failure::from));
    let relay = Relay::open(&config.mail, "localhost");
    problems.extend(relay.err().map(Failure::from));
    let collector = Collector::open(&config.traces);
    problems.extend(collector.err().map(Failure::from));
    problems.extend(settings(config).check().err().map(Failure::from));
    problems
}

/// Looks at the journal's folder as [`Audit::open`](crate::audit::Audit::open) does; one that is
/// missing is made by the first start, and one in use is that of a gateway that runs.
fn journal(path: &Path) -> Result<(), AuditError> {
    let Ok(meta) = path.symlink_metadata() else {
        return Ok(());
    };
    let mode = meta.mode() & 0o7777;
    if meta.is_dir() && mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(AuditError::Exposed { path, mode });
    }
    Ok(())
}

/// Tells the exit code of a check.
#[cfg(test)]
pub(super) fn judge(config: &Config) -> Result<(), Exit> {
    let problems = problems(config);
    if problems.is_empty() {
        return Ok(());
    }
    Err(verdict(&problems))
}
