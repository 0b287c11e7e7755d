//! What a token must be for, before the rules are asked.

use super::Caller;
use crate::clock;
use crate::proxy::head::Target;
use crate::snapshot::Snapshot;

/// Tells whether the caller's token was made for another app.
pub(super) fn is_of_other_app(snap: &Snapshot, caller: &Caller, target: &Target) -> bool {
    let app = snap.policy.app_for(&target.host);
    let id = app.map(|app| &*snap.policy.app(app).id);
    let token = caller.token.as_ref();
    token.is_some_and(|token| Some(&*token.app) != id)
}

/// Tells whether a token, if the caller has one, is young enough for the area it is shown to.
pub(super) fn takes_token(snap: &Snapshot, caller: &Caller, target: &Target) -> bool {
    let Some(token) = &caller.token else {
        return true;
    };
    let app = snap.policy.app_for(&target.host);
    let most = app.and_then(|app| snap.policy.lanes(app, &target.path).tokens);
    most.is_some_and(|most| token.age(clock::unix()) <= most)
}
