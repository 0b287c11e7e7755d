//! The secrets of people and devices under the newest master key.

use std::sync::Arc;

use super::devices::PSK;
use super::enrolment::{PENDING, TOTP};
use crate::secrets::Keys;
use crate::store::{Sealed, Store, StoreError};

/// Seals anew what an older master key sealed, all or none; counts it.
///
/// # Errors
/// [`StoreError`]; everything is then sealed as it was, and still opens.
pub(crate) async fn reseal(store: &dyn Store, keys: &Arc<Keys>) -> Result<usize, StoreError> {
    if keys.is_single() {
        return Ok(0);
    }
    let keys = Arc::clone(keys);
    let anew = move |what: Sealed, owner: &str, sealed: &[u8]| {
        let kind = match what {
            Sealed::Totp => TOTP,
            Sealed::Pending => PENDING,
            Sealed::Psk => PSK,
        };
        keys.reseal(kind, owner, sealed)
    };
    store.reseal(Arc::new(anew)).await
}
