//! What a person must hear of, in words.

use super::ctx::Ctx;
use super::texts::{Texts, fill};
use super::views::{NoticeLine, minute};
use crate::identity::{Notice, NoticeKind};

/// Writes the notices of the person of a request, the newest first.
pub(super) async fn lines(ctx: &Ctx) -> Vec<NoticeLine> {
    let sessions = ctx.desk.sessions();
    let live: Vec<_> = sessions.iter().map(|s| s.id).collect();
    let here = sessions.iter().find(|s| s.current).map(|s| s.id);
    let notices = ctx.desk.notices().await;
    let line = |notice: Notice| NoticeLine {
        id: notice.id,
        text: text(ctx.t(), &notice),
        own: here.is_some() && notice.session == here,
        session: notice
            .session
            .filter(|id| live.contains(id))
            .map(|id| id.to_string()),
    };
    notices.into_iter().map(line).collect()
}

/// Writes one notice.
pub(crate) fn text(t: &Texts, notice: &Notice) -> String {
    let model = match notice.kind {
        NoticeKind::NewPlace => t.notice_new_place,
        NoticeKind::RecoveryUsed => t.notice_recovery,
        NoticeKind::CodesRenewed => t.notice_codes,
        NoticeKind::PasswordChanged => t.notice_password,
        NoticeKind::TotpReplaced => t.notice_app,
        NoticeKind::FactorReset => t.notice_reset,
        NoticeKind::CodeReplayed => t.notice_replayed,
        NoticeKind::DeviceAdded => match notice.source {
            Some(_) => t.notice_device_added,
            None => t.notice_device_added_by_admin,
        },
        NoticeKind::DeviceRevoked => match notice.source {
            Some(_) => t.notice_device_revoked,
            None => t.notice_device_revoked_by_admin,
        },
        NoticeKind::KeySeenTwice => t.notice_key_seen_twice,
        NoticeKind::ManyFailures => t.notice_many_failures,
        NoticeKind::TokenMade => t.notice_token_made,
    };
    let place = notice.source.map(|ip| ip.to_canonical().to_string());
    let detail = match (notice.kind, notice.detail.is_empty()) {
        (NoticeKind::NewPlace, true) => t.browser_unknown,
        _ => &notice.detail,
    };
    let text = fill(model, "time", &minute(notice.at));
    let text = fill(&text, "place", place.as_deref().unwrap_or("-"));
    // Last, for it is free text.
    fill(&text, "detail", detail)
}
