//! A recovery code in place of the second step of a sign-in.

use axum::body::Body;
use axum::response::Response;

use super::answer;
use super::ctx::{Ctx, Page, Proof, see_other, with_rt};
use super::desk::RecoveryStep;
use super::form::{SIGN_IN_MAX, Spec};
use super::signin::{Again, enrolling, form_page, password_page, return_id};
use super::views;

const RECOVERY_FORM: Spec = Spec {
    required: &["recovery"],
    optional: &["rt"],
    limit: SIGN_IN_MAX,
};

/// `GET /signin/recovery`: the form, for a browser whose password was right.
pub(crate) async fn form(mut ctx: Ctx) -> Response {
    let rt = ctx.rt.take();
    if ctx.person().is_some() || ctx.desk.cookie(answer::LOGIN).is_none() {
        return see_other(&with_rt("/signin", rt.as_deref())).into();
    }
    recovery_page(&mut ctx, rt.as_deref(), None).into()
}

/// `POST /signin/recovery`: the code; it opens the enrolment of another app.
pub(crate) async fn code(mut ctx: Ctx, body: Body) -> Response {
    let fields = match ctx.form(Proof::Browser, &RECOVERY_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let rt = return_id(fields.find("rt"), ctx.rt.take());
    let rt = rt.as_deref();
    let Some(half) = ctx.desk.cookie(answer::LOGIN).map(str::to_owned) else {
        return password_page(&mut ctx, rt, "", Some(Again::Expired)).into();
    };
    let again = match ctx.desk.recover(&half, fields.value("recovery")).await {
        RecoveryStep::Enrol(token) => return enrolling(&token),
        RecoveryStep::Expired => {
            let mut page = password_page(&mut ctx, rt, "", Some(Again::Expired));
            answer::expire(&mut page.0, &[answer::LOGIN]);
            return page.into();
        }
        RecoveryStep::Refused => Again::Wrong,
        RecoveryStep::Throttled(wait) => Again::Throttled(wait),
        RecoveryStep::Unavailable => Again::Unavailable,
    };
    recovery_page(&mut ctx, rt, Some(again)).into()
}

fn recovery_page(ctx: &mut Ctx, rt: Option<&str>, again: Option<Again>) -> Page {
    let csrf = ctx.token(Proof::Browser);
    let view = views::Recovery {
        f: views::Frame {
            rt,
            ..ctx.frame("/signin/recovery", true)
        },
        back: with_rt("/signin/code", rt),
        csrf,
        rt,
        error: again.map(|a| a.text(ctx, ctx.t().error_recovery)),
    };
    form_page(ctx, rt, &view, again)
}
