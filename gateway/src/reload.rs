//! All-or-nothing reload: read everything, compile, test, then swap one pointer.
//!
//! Whatever fails leaves the set in force untouched, says why with file, line and column, and is
//! on record.

pub(crate) mod watch;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use policy::{Diagnostic, Severity, Sources};
use serde::Serialize;

use crate::audit::{Event, Record, reason};
use crate::clock;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::proxy::tls::{CertError, CertFiles, CertSet, InternalCa};
use crate::snapshot::Snapshot;
use crate::snapshot::files::{self, FileError};

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
    /// A file of the policy folder cannot be read.
    #[error(transparent)]
    Files(#[from] FileError),
    /// The policy is not valid, or a test in it fails.
    #[error("{}", list(.0))]
    Policy(Vec<Finding>),
    /// A certificate is not usable.
    #[error(transparent)]
    Certificates(#[from] CertError),
}

/// How often a set that was replaced is looked at.
const RETIRE_EVERY: Duration = Duration::from_millis(500);

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
/// The first file that cannot be read; a folder without any is refused, so that a folder that was
/// lost or never mounted is not taken for a policy without rules.
pub(crate) fn read_policy(dir: &Path) -> Result<Sources, FileError> {
    let files = files::read_folder(dir)?;
    if files.is_empty() {
        let what = "no *.toml in the policy folder";
        let path = dir.to_owned();
        return Err(FileError::Refused { path, what });
    }
    let mut sources = Sources::new();
    for (path, text) in files {
        sources.add(&path, text);
    }
    Ok(sources)
}

/// Reads, compiles and tests a policy folder; what `check`, start and reload share.
///
/// # Errors
/// [`Rejected::Files`] or [`Rejected::Policy`].
pub(crate) fn load_policy(dir: &Path) -> Result<(policy::Loaded, Vec<Finding>), Rejected> {
    let sources = read_policy(dir)?;
    match policy::load(&sources) {
        Ok(loaded) => {
            let warnings = findings(&sources, &loaded.warnings);
            Ok((loaded, warnings))
        }
        Err(diagnostics) => Err(Rejected::Policy(findings(&sources, &diagnostics))),
    }
}

/// Names every host that needs a certificate: sign-in hosts and the exact hosts of all apps.
pub(crate) fn host_names(config: &Config, policy: &policy::Policy) -> Vec<String> {
    let mut names = config.http.sign_in.clone();
    for (_, app) in policy.apps() {
        names.extend(app.exact_hosts().map(ToString::to_string));
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

/// Builds a snapshot from the files of now.
///
/// # Errors
/// [`Rejected`]; nothing was changed.
pub(crate) fn build(
    config: &Config,
    authority: Option<&InternalCa>,
    previous: Option<&Snapshot>,
) -> Result<(Snapshot, Vec<Finding>), Rejected> {
    let (loaded, warnings) = load_policy(&config.policy_dir)?;
    let names = host_names(config, &loaded.policy);
    let certs = CertSet::build(
        &cert_files(config),
        authority,
        &names,
        previous.map(|p| &*p.certs),
        clock::unix(),
    )?;
    let generation = previous.map_or(1, |p| p.generation.saturating_add(1));
    let snapshot = Snapshot::new(loaded.policy, Arc::new(certs), generation, clock::unix_ms());
    Ok((snapshot, warnings))
}

/// What a reload did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Applied {
    /// The digest of the policy in force.
    pub(crate) digest: String,
    /// Its generation.
    pub(crate) generation: u64,
    /// Whether the policy is another one than before.
    pub(crate) changed: bool,
    /// What is worth a look.
    pub(crate) warnings: Vec<Finding>,
}

/// Puts the files of now in force; when it returns, what no longer stands is closed.
///
/// # Errors
/// [`Rejected`]: the old set stays in force and the refusal is on record.
pub(crate) async fn reload(gw: &Arc<Gateway>) -> Result<Applied, Rejected> {
    let _one = gw.reloading.lock().await;
    let before = gw.snapshot.load_full();
    let worker = Arc::clone(gw);
    let previous = Arc::clone(&before);
    let built = tokio::task::spawn_blocking(move || {
        build(&worker.config, worker.authority.as_ref(), Some(&previous))
    })
    .await;
    let built = built.unwrap_or(Err(Rejected::Policy(Vec::new())));
    match built {
        Ok((snapshot, warnings)) => {
            let applied = apply(gw, &before, snapshot, warnings).await;
            retire(before, RETIRE_EVERY);
            Ok(applied)
        }
        Err(rejected) => {
            reject(gw, &rejected).await;
            Err(rejected)
        }
    }
}

async fn apply(
    gw: &Arc<Gateway>,
    before: &Snapshot,
    snapshot: Snapshot,
    warnings: Vec<Finding>,
) -> Applied {
    let changed = snapshot.digest != before.digest;
    let applied = Applied {
        digest: snapshot.digest.to_string(),
        generation: snapshot.generation,
        changed,
        warnings,
    };
    if changed {
        let mut record = Record::new(Event::PolicyApplied, "ok", reason::APPLIED);
        record.policy = Some(Arc::clone(&snapshot.digest));
        record.detail = Some(format!("generation {}", snapshot.generation));
        gw.record_or_owe(record).await;
    }
    gw.snapshot.store(Arc::new(snapshot));
    *gw.reload_error.lock() = None;
    gw.settle().await;
    tracing::info!(policy.version = %applied.digest, changed, "policy in force");
    applied
}

/// Keeps a set that is no longer in force until nobody else holds it, so that no request is the
/// last to do so: freeing a large policy takes tens of milliseconds.
fn retire<T: Send + Sync + 'static>(set: Arc<T>, every: Duration) {
    tokio::spawn(async move {
        while Arc::strong_count(&set) > 1 {
            tokio::time::sleep(every).await;
        }
        tokio::task::spawn_blocking(move || drop(set));
    });
}

/// Builds the certificates anew for the policy in force; the policy's files are not read, so a
/// mistake in them does not keep a certificate from being renewed.
pub(crate) async fn renew_certificates(gw: &Arc<Gateway>) {
    let _one = gw.reloading.lock().await;
    let before = gw.snapshot.load_full();
    let names = host_names(&gw.config, &before.policy);
    let set = open_and_build(&gw.config, &names, &before.certs);
    match set {
        Ok(certs) => {
            let record = Record::new(Event::CertificateChanged, "ok", reason::RENEWED);
            gw.record_or_owe(record).await;
            gw.snapshot.store(Arc::new(before.with_certs(certs)));
            retire(before, RETIRE_EVERY);
        }
        Err(error) => {
            tracing::error!(%error, "certificates are not renewed; tried again in an hour")
        }
    }
}

fn open_and_build(
    config: &Config,
    names: &[String],
    previous: &CertSet,
) -> Result<Arc<CertSet>, Rejected> {
    // opened anew, because the intermediate may be due as well
    let authority = crate::run::open_authority(config)?;
    let now = clock::unix();
    let files = cert_files(config);
    let set = CertSet::build(&files, authority.as_ref(), names, Some(previous), now)?;
    Ok(Arc::new(set))
}

async fn reject(gw: &Gateway, rejected: &Rejected) {
    let text = rejected.to_string();
    tracing::warn!(error = %text, "reload refused; the old set stays in force");
    let mut record = Record::new(Event::PolicyRejected, "failed", reason::REJECTED);
    record.policy = Some(Arc::clone(&gw.snapshot.load().digest));
    record.detail = Some(text.lines().next().unwrap_or_default().to_owned());
    *gw.reload_error.lock() = Some(text);
    gw.record_or_owe(record).await;
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread::{self, ThreadId};
    use std::time::Duration;

    use super::{Rejected, load_policy, retire};
    use crate::config::tests::Folder;
    use crate::snapshot::files::FileError;

    #[test]
    fn a_folder_without_a_policy_file_is_refused() {
        let folder = Folder::new();
        folder.write("notes.txt", "postern = 1\n");
        let error = load_policy(folder.path()).err().unwrap();
        let refused = matches!(error, Rejected::Files(FileError::Refused { .. }));
        assert!(refused, "{error}");
        assert!(error.to_string().contains("no *.toml in the policy folder"));
        let policy =
            "postern = 1\n[group]\nit = [\"ann\"]\n[admin]\nallow.it = { who = \"@it\" }\n";
        folder.write("policy.toml", policy);
        assert!(load_policy(folder.path()).is_ok());
    }

    struct TellsWho(mpsc::Sender<ThreadId>);

    impl Drop for TellsWho {
        fn drop(&mut self) {
            drop(self.0.send(thread::current().id()));
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
