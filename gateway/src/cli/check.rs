//! `postern check`: everything a start reads, without making anything.

use serde::Serialize;

use super::exit::{Exit, Failure};
use super::{Global, out, policies};
use crate::clock;
use crate::config::{Config, lock};
use crate::proxy::tls::CertSet;
use crate::reload;
use crate::secrets::Keys;

#[derive(Serialize)]
struct Answer {
    ok: bool,
    problems: Vec<String>,
}

/// Checks configuration, keys, state folder, policy and certificates; tells all problems.
///
/// # Errors
/// [`Exit::Permission`] if a file or folder is open to others, else [`Exit::Config`].
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
    let exposed = problems.iter().any(|p| p.exit == Exit::Permission);
    let exit = if exposed {
        Exit::Permission
    } else {
        Exit::Config
    };
    let texts: Vec<String> = problems.into_iter().map(|p| p.text).collect();
    Err(Failure::new(exit, texts.join("\n")))
}

fn problems(config: &Config) -> Vec<Failure> {
    let mut problems = Vec::new();
    problems.extend(Keys::load(&config.master_key).err().map(Failure::from));
    if config.data.exists() {
        problems.extend(lock::check_folder(&config.data).err().map(Failure::from));
    }
    problems.extend(policies::load(&config.policy_dir).err());
    let files = reload::cert_files(config);
    if let Err(error) = CertSet::build(&files, None, &[], None, clock::unix()) {
        let exit = if error.is_permission() {
            Exit::Permission
        } else {
            Exit::Config
        };
        problems.push(Failure::of(exit, &error));
    }
    problems
}
