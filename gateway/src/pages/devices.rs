//! The person's own tunnel devices: list, add, rename, revoke.

use axum::body::Body;
use axum::response::Response;
use data_encoding::BASE64;
use http::StatusCode;
use serde_json::json;

use super::account::{Act, confirm_page, confirmed};
use super::answer::{self, Policy};
use super::ctx::{Ctx, Page, Proof, see_other};
use super::desk::Person;
use super::desk::devices::{DeviceFault, DeviceView, NewConfig};
use super::form::{FORM_MAX, Fields, SIGN_IN_MAX, Spec};
use super::portal::stranger;
use super::problem::Problem;
use super::texts::fill;
use super::{accept, device_views as views};
use crate::ids::DeviceId;

const RENAME_FORM: Spec = Spec {
    required: &["device", "name"],
    optional: &[],
    limit: SIGN_IN_MAX,
};
const REVOKE_FORM: Spec = Spec {
    required: &["device"],
    optional: &[],
    limit: FORM_MAX,
};
const ADD_FORM: Spec = Spec {
    required: &["name", "public_key"],
    optional: &[],
    limit: SIGN_IN_MAX,
};
/// Revoked devices that the list still shows, the newest.
const GONE_MAX: usize = 10;

/// `GET /account/devices`: the person's devices; what changes them is there once confirmed.
pub(crate) async fn list(ctx: Ctx) -> Response {
    match ctx.person() {
        Some(person) => list_page(&ctx, person, StatusCode::OK, None).await.into(),
        None => stranger(&ctx),
    }
}

/// `GET /account/devices/change`: asks for password and code, then leads to the list.
pub(crate) async fn change(ctx: Ctx) -> Response {
    match confirmed(&ctx, Act::Devices, StatusCode::OK) {
        Ok(_) => see_other(Act::Devices.path()).into(),
        Err(instead) => *instead,
    }
}

/// `POST /account/devices/rename`: another name for a device.
pub(crate) async fn rename(ctx: Ctx, body: Body) -> Response {
    let (fields, device) = match device_form(&ctx, &RENAME_FORM, body).await {
        Ok(read) => read,
        Err(refusal) => return *refusal,
    };
    let name = fields.value("name").trim();
    let done = ctx.desk.rename_device(device, name).await;
    after(&ctx, done).await
}

/// `POST /account/devices/revoke`: shuts a device out for ever.
pub(crate) async fn revoke(ctx: Ctx, body: Body) -> Response {
    let (_, device) = match device_form(&ctx, &REVOKE_FORM, body).await {
        Ok(read) => read,
        Err(refusal) => return *refusal,
    };
    let done = ctx.desk.revoke_device(device).await;
    after(&ctx, done).await
}

/// `GET /account/devices/add`: the form; with a script it makes the keys itself.
pub(crate) async fn add_form(ctx: Ctx) -> Response {
    match confirmed(&ctx, Act::AddDevice, StatusCode::OK) {
        Ok(person) => add_page(&ctx, person, StatusCode::OK, &Asked::default()).into(),
        Err(instead) => *instead,
    }
}

/// `POST /account/devices/add`: registers a public key and gives the configuration, once; as JSON
/// to the page's own script, which alone has the private key.
pub(crate) async fn add(ctx: Ctx, body: Body) -> Response {
    let fields = match ctx.form(Proof::Session, &ADD_FORM, body).await {
        Ok(fields) => fields,
        Err(refusal) => return refusal,
    };
    let Some(person) = ctx.person() else {
        return ctx.problem(Problem::FormRefused);
    };
    let (name, key) = (fields.value("name").trim(), fields.value("public_key"));
    let added = match ctx.desk.is_confirmed() {
        true => ctx.desk.add_device(name, key.trim()).await,
        false => Err(DeviceFault::NotConfirmed),
    };
    let fault = match added {
        Ok(added) => return added_answer(&ctx, person, &added),
        Err(fault) => fault,
    };
    let text = text(&ctx, fault);
    if accept::is_script(&ctx.headers) {
        let told = json!({"error": fault.name(), "text": text});
        return answer::json(status(fault), &told).map(Body::from);
    }
    if let Some(answer) = instead(&ctx, person, Act::AddDevice, fault) {
        return answer;
    }
    let asked = Asked {
        name,
        public_key: key,
        error: Some(text),
    };
    add_page(&ctx, person, status(fault), &asked).into()
}

/// What stands in the form for another device.
#[derive(Default)]
struct Asked<'a> {
    name: &'a str,
    public_key: &'a str,
    error: Option<String>,
}

/// Reads a form about one device of a confirmed session.
async fn device_form(
    ctx: &Ctx,
    spec: &Spec,
    body: Body,
) -> Result<(Fields, DeviceId), Box<Response>> {
    let fields = ctx.form(Proof::Session, spec, body).await;
    let fields = fields.map_err(Box::new)?;
    let Ok(device) = fields.value("device").parse() else {
        return Err(Box::new(ctx.problem(Problem::BadRequest)));
    };
    confirmed(ctx, Act::Devices, StatusCode::FORBIDDEN)?;
    Ok((fields, device))
}

async fn after(ctx: &Ctx, done: Result<(), DeviceFault>) -> Response {
    let (Err(fault), Some(person)) = (done, ctx.person()) else {
        return see_other(Act::Devices.path()).into();
    };
    if let Some(answer) = instead(ctx, person, Act::Devices, fault) {
        return answer;
    }
    let error = Some(text(ctx, fault));
    list_page(ctx, person, status(fault), error).await.into()
}

/// Answers a fault that is not told on the page of the act.
fn instead(ctx: &Ctx, person: &Person, act: Act, fault: DeviceFault) -> Option<Response> {
    if fault == DeviceFault::NotConfirmed {
        return Some(confirm_page(ctx, person, act, status(fault), None).into());
    }
    (fault == DeviceFault::Unavailable).then(|| ctx.problem(Problem::Unavailable))
}

fn status(fault: DeviceFault) -> StatusCode {
    match fault {
        DeviceFault::NotConfirmed => StatusCode::FORBIDDEN,
        DeviceFault::Unknown => StatusCode::NOT_FOUND,
        DeviceFault::TooFast => StatusCode::TOO_MANY_REQUESTS,
        DeviceFault::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        DeviceFault::BadName
        | DeviceFault::NameTaken
        | DeviceFault::BadKey
        | DeviceFault::KeyTaken
        | DeviceFault::TooMany(_)
        | DeviceFault::NoAddress => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

fn text(ctx: &Ctx, fault: DeviceFault) -> String {
    let d = ctx.lang.device_texts();
    let text = match fault {
        DeviceFault::NotConfirmed => ctx.t().confirm_lead,
        DeviceFault::BadName => d.error_name,
        DeviceFault::NameTaken => d.error_name_taken,
        DeviceFault::BadKey => d.error_key,
        DeviceFault::KeyTaken => d.error_key_taken,
        DeviceFault::TooMany(count) => return fill(d.error_many, "count", &count.to_string()),
        DeviceFault::TooFast => d.error_fast,
        DeviceFault::NoAddress => d.error_room,
        DeviceFault::Unknown => d.error_unknown,
        DeviceFault::Unavailable => ctx.t().unavailable_text,
    };
    text.to_owned()
}

async fn list_page(ctx: &Ctx, person: &Person, status: StatusCode, error: Option<String>) -> Page {
    let all = ctx.desk.own_devices().await.into_iter();
    let (live, mut gone): (Vec<_>, Vec<_>) = all.partition(|d| d.revoked.is_none());
    gone.sort_by_key(|d: &DeviceView| std::cmp::Reverse(d.revoked));
    gone.truncate(GONE_MAX);
    let view = views::Devices {
        f: ctx.frame_of(person, Act::Devices.path()),
        d: ctx.lang.device_texts(),
        csrf: ctx.session_token(),
        confirmed: ctx.desk.is_confirmed(),
        live,
        gone,
        error,
    };
    ctx.page(status, &view, Policy::Page)
}

fn add_page(ctx: &Ctx, person: &Person, status: StatusCode, asked: &Asked<'_>) -> Page {
    let view = views::DeviceAdd {
        f: ctx.with_key_maker(ctx.frame_of(person, Act::AddDevice.path())),
        d: ctx.lang.device_texts(),
        csrf: ctx.session_token(),
        name: asked.name,
        public_key: asked.public_key,
        error: asked.error.clone(),
    };
    ctx.page(status, &view, Policy::Keys)
}

fn added_answer(ctx: &Ctx, person: &Person, added: &NewConfig) -> Response {
    if accept::is_script(&ctx.headers) {
        let told = json!({
            "name": added.name,
            "config": added.config,
            "placeholder": added.placeholder,
        });
        return answer::json(StatusCode::OK, &told).map(Body::from);
    }
    let base64 = BASE64.encode(added.config.as_bytes());
    let mut frame = ctx.frame_of(person, Act::AddDevice.path());
    // Shown again in another language it would be the empty form.
    frame.switch = false;
    let view = views::DeviceAdded {
        f: frame,
        d: ctx.lang.device_texts(),
        name: &added.name,
        config: &added.config,
        file: format!("data:text/plain;charset=utf-8;base64,{base64}"),
    };
    ctx.page(StatusCode::OK, &view, Policy::Page).into()
}
