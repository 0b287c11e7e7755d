//! All-or-nothing reload: read everything, compile, test, then swap one pointer.
//!
//! Whatever fails leaves the set in force untouched, says why with file, line and column, and is
//! on record.

pub(crate) mod change;
pub(crate) mod confirm;
pub(crate) mod folder;
pub(crate) mod guards;
pub(crate) mod history;
mod outcome;
mod renewal;
pub(crate) mod revoke;
pub(crate) mod start;
pub(crate) mod watch;

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use policy::{Diagnostic, Severity, Sources};
use serde::Serialize;

use crate::acme::names::Names;
use crate::acme::shelf::{Shelf, imported};
use crate::clock;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::proxy::tls::{
    CertError, CertFiles, CertSet, Checks, InternalCa, Ordered, Past, Reading,
};
use crate::snapshot::Snapshot;
use crate::snapshot::folder::FolderError;

use self::change::{Done, Wanted};
use self::folder::Folder;
use self::guards::Stop;
pub(crate) use self::renewal::{Trouble, renew_certificates, renew_leaves};

/// One thing that is wrong with a policy folder, as people and machines read it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    /// The file, relative to the policy folder.
    pub(crate) file: String,
    /// The line, from 1.
    pub(crate) line: u32,
    /// The column in characters, from 1.
    pub(crate) column: u32,
    /// `error` or `warning`.
    pub(crate) severity: &'static str,
    /// What is wrong.
    pub(crate) title: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            line,
            column,
            severity,
            title,
            help,
        } = self;
        write!(f, "{file}:{line}:{column}: {severity}: {title}")?;
        match help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// Why a new set was not put in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Rejected {
    /// Files of the policy folder cannot be read.
    #[error(transparent)]
    Files(#[from] FolderError),
    /// The policy is not valid, or a test in it fails.
    #[error("{}", list(.0))]
    Policy(Vec<Finding>),
    /// A certificate is not usable.
    #[error(transparent)]
    Certificates(#[from] CertError),
    /// A guard stops it until somebody accepts.
    #[error("{}", stopped(.0))]
    Guard(Vec<Stop>),
    /// The system is in the way.
    #[error("{0}")]
    Failed(String),
}

fn stopped(stops: &[Stop]) -> String {
    let texts = stops
        .iter()
        .map(|s| format!("held ({}): {}", s.guard, s.text));
    let mut lines: Vec<String> = texts.collect();
    if let Some(command) = guards::command(stops, "postern policy apply") {
        lines.push(format!("to accept it: {command}"));
    }
    lines.join("\n")
}

/// How often a set that was replaced is looked at.
pub(super) const RETIRE_EVERY: Duration = Duration::from_millis(500);

fn list(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Turns diagnostics into findings with their places.
pub(crate) fn findings(sources: &Sources, diagnostics: &[Diagnostic]) -> Vec<Finding> {
    diagnostics
        .iter()
        .map(|d| {
            let at = sources.locate(&d.span);
            Finding {
                file: at.path.to_owned(),
                line: at.line,
                column: at.column,
                severity: match d.severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                },
                title: d.title.clone(),
                help: d.help.clone(),
            }
        })
        .collect()
}

/// Reads a policy folder as the language's sources.
///
/// # Errors
/// Those of [`Folder::read`].
pub(crate) fn read_policy(dir: &Path) -> Result<Sources, FolderError> {
    Ok(Folder::read(dir)?.sources(dir))
}

/// Compiles and tests a policy.
///
/// # Errors
/// [`Rejected::Policy`].
pub(crate) fn compile(sources: &Sources) -> Result<(policy::Loaded, Vec<Finding>), Rejected> {
    match policy::load(sources) {
        Ok(loaded) => {
            let warnings = findings(sources, &loaded.warnings);
            Ok((loaded, warnings))
        }
        Err(diagnostics) => Err(Rejected::Policy(findings(sources, &diagnostics))),
    }
}

/// Names every host that needs a certificate: sign-in hosts and the hosts of all apps, `*.` in front of those that
/// stand for one label more.
pub(crate) fn host_names(config: &Config, policy: &policy::Policy) -> Vec<String> {
    let mut names = config.http.sign_in.clone();
    for (_, app) in policy.apps() {
        names.extend(app.hosts.iter().map(ToString::to_string));
    }
    names.sort();
    names.dedup();
    names
}

/// Lists the configured certificate files.
pub(crate) fn cert_files(config: &Config) -> Vec<CertFiles> {
    let pairs = config.tls.certificates.iter();
    pairs
        .map(|pair| CertFiles {
            chain: pair.chain.clone(),
            key: pair.key.clone(),
        })
        .collect()
}

/// What becomes of own files that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Faults {
    /// Nothing is built.
    Refuse,
    /// What they held in the set of before stays: other certificates do not wait for them.
    Keep,
}

/// What a set of certificates is built beside.
pub(crate) struct Want<'a> {
    /// The set in force; none at a start.
    pub(crate) previous: Option<&'a CertSet>,
    /// What becomes of own files that cannot be used.
    pub(crate) faults: Faults,
    /// Hosts whose leaf of the internal authority is made anew in any case.
    pub(crate) anew: HashSet<String>,
}

impl<'a> Want<'a> {
    /// Wants a set for files that were changed, or for a start.
    pub(crate) fn beside(previous: Option<&'a CertSet>) -> Self {
        Self {
            previous,
            faults: Faults::Refuse,
            anew: HashSet::new(),
        }
    }
}

/// Builds the certificates a policy needs, from the files of now; what `checks` knows or the set in
/// force holds is not computed again. An own file whose time is over, and that is what it was, is
/// left out: it stops nothing else.
///
/// # Errors
/// [`Rejected::Certificates`].
pub(crate) fn certificates(
    config: &Config,
    checks: &Checks,
    authority: Option<&InternalCa>,
    policy: &policy::Policy,
    want: Want<'_>,
) -> Result<CertSet, Rejected> {
    let names = host_names(config, policy);
    let now = clock::unix();
    if let Some(authority) = authority {
        authority.follow(now)?;
    }
    let previous = want.previous;
    let reading = checks.begin(previous, now);
    let own = match reading.own(&cert_files(config), Past::beside(previous)) {
        Ok(own) => own,
        Err(error) => match (want.faults, previous) {
            (Faults::Keep, Some(before)) => {
                tracing::warn!(%error, "own files are not as they should be; those in force stay");
                before.files().at(now)
            }
            (Faults::Keep | Faults::Refuse, _) => return Err(error.into()),
        },
    };
    let ordered = Ordered {
        anew: want.anew,
        ..ordered(config, policy, &reading)
    };
    drop(reading);
    let set = CertSet::build(&own, &ordered, authority, &names, previous, now)?;
    tell_idle(&set, previous);
    checks.keep(&set);
    Ok(set)
}

/// Says which certificates are left out that were not before.
fn tell_idle(set: &CertSet, previous: Option<&CertSet>) {
    let before = previous.map(CertSet::idle).unwrap_or_default();
    for chain in set.idle() {
        if before.iter().any(|known| Arc::ptr_eq(known, chain)) {
            continue;
        }
        let names: Vec<_> = chain.names().iter().map(String::as_str).collect();
        let (names, until) = (names.join(" "), crate::acme::time(chain.not_after()));
        tracing::error!(
            names,
            until,
            "A CERTIFICATE OF ONE'S OWN IS OUT OF ITS DATES AND IS LEFT OUT: put a newer one in its place"
        );
    }
}

/// Reads what directories signed for the names of a policy. A trial is never served.
fn ordered(config: &Config, policy: &policy::Policy, reading: &Reading<'_>) -> Ordered {
    let names = Names::of(config, policy, |_| false);
    let chains = match config.acme.staging {
        true => Vec::new(),
        false => Shelf::new(config).load(names.firsts(), reading),
    };
    Ordered {
        imported: imported(config).all(reading),
        chains,
        names,
        anew: HashSet::new(),
    }
}

/// Puts the files of now in force; when it returns, what no longer stands is closed.
///
/// # Errors
/// [`Rejected`]: the old set stays in force and the refusal is on record.
pub(crate) async fn reload(gw: &Arc<Gateway>, wanted: Wanted) -> Result<Done, Rejected> {
    said(change::change(gw, wanted).await)
}

/// Logs what is worth a look in a change that went in force.
fn said(done: Result<Done, Rejected>) -> Result<Done, Rejected> {
    let done = done?;
    let judged = done.judged.iter().filter(|_| done.in_force);
    for warning in judged.flat_map(|j| &j.warnings) {
        tracing::warn!(warning, "policy");
    }
    Ok(done)
}

/// Makes ready what requests ask of a set that goes in force: for thousands of apps that takes tens of milliseconds,
/// which the first request and all beside it would wait.
async fn ready(gw: &Arc<Gateway>, set: Snapshot) -> Arc<Snapshot> {
    let worker = Arc::clone(gw);
    let made = move || {
        worker.fronts(&set);
        Arc::new(set)
    };
    blocking(made).await
}

/// Keeps a set that is no longer in force until nobody else holds it, so that no request is the
/// last to do so: freeing a large policy takes tens of milliseconds.
pub(super) fn retire<T: Send + Sync + 'static>(set: Arc<T>, every: Duration) {
    tokio::spawn(async move {
        while Arc::strong_count(&set) > 1 {
            tokio::time::sleep(every).await;
        }
        tokio::task::spawn_blocking(move || drop(set));
    });
}

/// Runs work that waits for a disk or computes for long.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    use super::{read_policy, retire};
    use crate::config::tests::Folder;
    use crate::snapshot::files::FileError;

    #[test]
    fn a_folder_without_a_policy_file_is_refused() {
        let folder = Folder::new();
        folder.write("notes.txt", "postern = 1\n");
        let error = read_policy(folder.path()).err().unwrap();
        let refused = matches!(error.first, FileError::Refused { .. });
        assert!(refused, "{error}");
        assert!(error.to_string().contains("no *.toml in the policy folder"));
        let policy =
            "postern = 1\n[group]\nit = [\"ann\"]\n[admin]\nallow.it = { who = \"@it\" }\n";
        folder.write("policy.toml", policy);
        assert!(read_policy(folder.path()).is_ok());
    }

    struct TellsWho(mpsc::Sender<ThreadId>);

    impl Drop for TellsWho {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).ok();
        }
    }

    #[tokio::test]
    async fn a_replaced_set_is_never_freed_by_the_request_that_held_it_last() {
        let (tell, told) = mpsc::channel();
        let set = Arc::new(TellsWho(tell));
        let request = Arc::clone(&set);
        retire(set, Duration::from_millis(1));
        drop(request);
        let freed = tokio::task::spawn_blocking(move || told.recv().unwrap());
        assert_ne!(freed.await.unwrap(), thread::current().id());
    }
}
