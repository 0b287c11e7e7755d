//! What happens once a new master key stands above the others: everything sealed is sealed anew.
//!
//! Each step leaves what opens with the keys in the file, so that a crash between two of them, or
//! a step that fails, costs nothing: the next start goes on.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::acme::shelf;
use crate::audit::{Audit, AuditError, Event, Record, reason};
use crate::identity;
use crate::proxy::statement;
use crate::proxy::tls::reseal_authority;
use crate::reload::history::History;
use crate::secrets::{Keys, sealed};
use crate::store::{Store, StoreError};
use crate::tunnel;

/// Says why not everything could be sealed anew; what was not opens as before.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotationError {
    /// The store refuses.
    #[error("secrets cannot be sealed under the new master key: {0}")]
    Store(#[from] StoreError),
    /// A file cannot be read or written.
    #[error("secrets cannot be sealed under the new master key: {0}")]
    Io(#[from] io::Error),
    /// It cannot be put on record.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// Seals under the newest master key what an older one sealed, with a record if there was
/// anything; counts the secrets. Accounts at certificate authorities follow at their next use.
///
/// # Errors
/// [`RotationError`].
pub(crate) async fn settle(
    data: &Path,
    keys: &Arc<Keys>,
    store: &dyn Store,
    history: &History,
    audit: &Audit,
) -> Result<usize, RotationError> {
    // those from before they were sealed at all are in clear
    let mut done = shelf::reseal(data, keys)? + reseal_authority(data, keys)?;
    if !keys.is_single() {
        done += identity::reseal(store, keys).await?;
        for (file, kind) in [
            (tunnel::key::FILE, tunnel::key::KIND),
            (statement::FILE, statement::KIND),
        ] {
            done += usize::from(sealed::renew(&data.join(file), kind, keys)?);
        }
        done += history.reseal()?;
    }
    if done > 0 {
        let mut record = Record::new(Event::KeyRotated, "ok", reason::MASTER_KEY);
        let newest = keys.fingerprints().into_iter().next().unwrap_or_default();
        record.detail = Some(format!("{done} secrets sealed under key {newest}"));
        let durability = record.durability();
        audit.write(record, durability).await?;
    }
    Ok(done)
}
