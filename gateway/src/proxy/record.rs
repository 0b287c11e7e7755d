//! What the journal is told of a request.

use std::sync::Arc;

use super::app::RequestCtl;
use super::own;
use super::pep::Ctx;
use crate::audit::{Event, Record};

/// Starts a record with what is known of the request.
pub(crate) fn request_record(
    event: Event,
    outcome: &'static str,
    reason: &'static str,
    ctl: &RequestCtl,
    ctx: &Ctx,
) -> Record {
    let mut record = Record::new(event, outcome, reason);
    record.source = Some(ctl.conn.peer.ip());
    record.device = ctl.conn.device;
    record.method = Some(ctx.method.as_str().into());
    record.request_id = Some(Arc::clone(&ctx.request_id));
    record.policy = Some(Arc::clone(&ctx.snap.digest));
    record.user = ctx.user().map(Arc::clone);
    record.session = ctx.session.as_ref().map(|s| s.id);
    if let Some(target) = &ctx.target {
        record.host = Some(target.host.as_str().into());
        record.path = Some(own::shown_path(target));
    }
    record
}
