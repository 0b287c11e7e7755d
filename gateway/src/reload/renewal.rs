//! Certificates built anew beside a policy that stays, and what is told when they cannot be.

use std::collections::HashSet;
use std::sync::Arc;

use certs::plan::Cause;

use super::{Faults, RETIRE_EVERY, Rejected, Want, blocking, certificates, retire};
use crate::audit::{Event, Record, reason};
use crate::gateway::Gateway;
use crate::proxy::tls::{CertError, CertSet, FileError};
use crate::snapshot::Snapshot;

/// Why certificates are not what they should be, as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// A code.
    pub(crate) cause: &'static str,
    /// What was said.
    pub(crate) detail: String,
    /// What to do.
    pub(crate) advice: &'static str,
}

impl Trouble {
    fn of(error: &Rejected) -> Self {
        let (cause, advice) = match error {
            Rejected::Certificates(error) => of_certificates(error),
            Rejected::Files(_) | Rejected::Policy(_) | Rejected::Guard(_) | Rejected::Failed(_) => {
                UNKNOWN
            }
        };
        Self {
            cause,
            detail: error.to_string(),
            advice,
        }
    }
}

const UNKNOWN: (&str, &str) = ("renewal-failed", "read the detail beside this cause");

fn of_certificates(error: &CertError) -> (&'static str, &'static str) {
    match error {
        CertError::File(FileError::Unwritable { .. }) => {
            (Cause::Storage.code(), Cause::Storage.advice())
        }
        CertError::File(_) => (
            "file-unusable",
            "give the file back, or its owner and mode, as the detail says",
        ),
        CertError::Sealed { .. } | CertError::Locked { .. } => (
            "sealed",
            "give the master key back that sealed it, or put the key there in clear",
        ),
        CertError::Chain { .. } => (
            "own-file",
            "put a good chain and its key in the place of these files",
        ),
        CertError::Authority { .. } | CertError::Issue { .. } => (
            "authority",
            "put root.key back into its folder, or bring a newer authority by  postern cert import --ca",
        ),
        CertError::NotCovered { .. } => (
            "not-covered",
            "bring a certificate for this host, or switch [tls] internal-ca on",
        ),
        CertError::ClientCa { .. } | CertError::Internal(_) => UNKNOWN,
    }
}

/// Builds the certificates anew for the policy in force; the policy's files are not read, so a
/// mistake in them does not keep a certificate from being renewed.
///
/// # Errors
/// [`Rejected`]: the old set stays in force; it is told in the log, in the journal and beside the
/// certificates that wait for it.
pub(crate) async fn renew_certificates(
    gw: &Arc<Gateway>,
    what: Option<&str>,
) -> Result<(), Rejected> {
    anew(gw, HashSet::new(), what).await
}

/// As [`renew_certificates`], with another key for the leaves of these hosts.
///
/// # Errors
/// As for [`renew_certificates`].
pub(crate) async fn renew_leaves(gw: &Arc<Gateway>, hosts: Vec<String>) -> Result<(), Rejected> {
    let what = hosts.join(" ");
    anew(gw, hosts.into_iter().collect(), Some(&what)).await
}

async fn anew(
    gw: &Arc<Gateway>,
    hosts: HashSet<String>,
    what: Option<&str>,
) -> Result<(), Rejected> {
    let _one = gw.reloading.lock().await;
    let before = gw.snapshot.load_full();
    let (worker, base) = (Arc::clone(gw), Arc::clone(&before));
    let set = blocking(move || open_and_build(&worker, &base, hosts)).await;
    match set {
        Ok(certs) => {
            gw.acme.set_trouble(None);
            let mut record = Record::new(Event::CertificateChanged, "ok", reason::RENEWED);
            record.detail = what.map(str::to_owned);
            gw.record_or_owe(record).await;
            gw.snapshot.store(Arc::new(before.with_certs(certs)));
            retire(before, RETIRE_EVERY);
            Ok(())
        }
        Err(error) => {
            tell(gw, Trouble::of(&error)).await;
            Err(error)
        }
    }
}

/// Tells of a failure once, however often it is met.
async fn tell(gw: &Gateway, trouble: Trouble) {
    let Trouble {
        cause,
        detail,
        advice,
    } = &trouble;
    if gw.acme.trouble().as_ref() == Some(&trouble) {
        tracing::debug!(cause, detail, "certificates are still not renewed");
        return;
    }
    tracing::error!(
        cause,
        detail,
        advice,
        "certificates are not renewed; the old ones stay"
    );
    let mut record = Record::new(Event::CertificateChanged, "failed", reason::NOT_RENEWED);
    record.detail = Some(format!("{cause}: {detail}"));
    gw.record_or_owe(record).await;
    gw.acme.set_trouble(Some(trouble));
}

fn open_and_build(
    gw: &Gateway,
    before: &Snapshot,
    anew: HashSet<String>,
) -> Result<Arc<CertSet>, Rejected> {
    // opened anew, because the intermediate may be due as well
    let authority = crate::run::open_authority(&gw.config, &gw.keys)?;
    let want = Want {
        previous: Some(&*before.certs),
        faults: Faults::Keep,
        anew,
    };
    let set = certificates(
        &gw.config,
        &gw.checks,
        authority.as_ref(),
        &before.policy,
        want,
    )?;
    Ok(Arc::new(set))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use super::Trouble;
    use crate::proxy::tls::{CertError, FileError};
    use crate::reload::Rejected;

    #[test]
    fn causes_of_a_renewal_that_failed_are_told_apart() {
        let path = || PathBuf::from("/data/x");
        let source = || std::io::ErrorKind::StorageFull.into();
        let of = |error: CertError| Trouble::of(&Rejected::from(error));
        let full = of(FileError::Unwritable {
            path: path(),
            source: source(),
        }
        .into());
        assert_eq!(full.cause, "not-written");
        let exposed = of(FileError::Exposed {
            path: path(),
            mode: 0o644,
        }
        .into());
        assert_eq!(exposed.cause, "file-unusable");
        assert!(exposed.detail.contains("chmod 600"), "{exposed:?}");
        let chain = certs::ChainError::KeyMismatch;
        let own = of(CertError::Chain {
            chain: path(),
            source: chain,
        });
        let none = of(CertError::NotCovered {
            host: "a.test".to_owned(),
        });
        let broken = of(CertError::Authority {
            dir: path(),
            source: certs::CaError::Stranger,
        });
        let other = Trouble::of(&Rejected::Failed("x".to_owned()));
        let all = [full, exposed, own, none, broken, other];
        let causes: BTreeSet<_> = all.iter().map(|trouble| trouble.cause).collect();
        assert_eq!(causes.len(), all.len(), "{causes:?}");
        assert!(
            all.iter()
                .all(|t| !t.advice.is_empty() && !t.detail.is_empty())
        );
    }
}
