//! The end of a request, however it ends: its final record and its span.

use super::Ctx;
use crate::audit::{Record, reason};
use crate::clock;
use crate::proxy::app::RequestCtl;
use crate::traces::End;

impl Drop for Ctx {
    /// Writes the final record and ends the span, also of a request that was cut.
    fn drop(&mut self) {
        let Some(ctl) = self.ctl.take() else {
            return;
        };
        let gw = &ctl.edge.gw;
        let ended = self.ended.take().map(|record| self.complete(record, &ctl));
        if let (Some(span), Some(traces)) = (self.span.take(), &gw.traces) {
            let end = End {
                started: ctl.started,
                port: self.target.as_ref().and_then(|target| target.port),
                record: ended.as_ref(),
            };
            traces.end(&span, &end);
        }
        if let Some(record) = ended {
            gw.audit.note(record);
        }
    }
}

impl Ctx {
    /// Completes the record of its end.
    fn complete(&self, mut record: Record, ctl: &RequestCtl) -> Record {
        let slow = ctl.was_too_slow();
        if slow {
            record.reason = reason::TIMEOUT;
            let why = if ctl.is_over(clock::now()) {
                "the body took longer than it may"
            } else {
                "the body came too slowly"
            };
            record.detail = Some(why.to_owned());
        }
        record.outcome = if ctl.kill.killed() || ctl.conn.kill.killed() || slow {
            "cut"
        } else if record.outcome == "failed" {
            "failed"
        } else {
            "ok"
        };
        record.bytes = Some(self.sent);
        let age = clock::now().saturating_duration_since(ctl.started);
        record.ms = u64::try_from(age.as_millis()).ok();
        record
    }
}
