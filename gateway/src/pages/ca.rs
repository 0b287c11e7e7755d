//! The root of the internal authority: what it is, how to import it, and the file itself.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use certs::About;
use http::{HeaderValue, StatusCode, header};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::answer::{self, Policy};
use super::ctx::Ctx;
use super::problem::Problem;
use super::texts::ca;
use super::views;

/// `GET /ca`: the steps for each system, and the fingerprint to compare.
pub(crate) async fn page(ctx: Ctx) -> Response {
    let pem = ctx.desk.ca_root();
    let Some(about) = pem.and_then(|pem| About::read(&pem).ok()) else {
        return ctx.problem(Problem::NotFound);
    };
    let texts = ca::texts(ctx.lang);
    let frame = match ctx.person() {
        Some(person) => ctx.frame_of(person, "/ca"),
        None => ctx.frame("/ca", true),
    };
    let view = views::CaRoot {
        f: frame,
        t: texts,
        fingerprint: about.fingerprint(),
    };
    ctx.page(StatusCode::OK, &view, Policy::Page).into()
}

/// `GET /ca/root.pem`: for Firefox, Linux and macOS.
pub(crate) async fn pem(ctx: Ctx) -> Response {
    match ctx.desk.ca_root() {
        Some(pem) => file(pem.into(), "application/x-pem-file", "root.pem"),
        None => ctx.problem(Problem::NotFound),
    }
}

/// `GET /ca/root.crt`: for Windows, Android and iOS.
pub(crate) async fn der(ctx: Ctx) -> Response {
    match root(&ctx) {
        Some(der) => file(
            der.to_vec().into(),
            "application/x-x509-ca-cert",
            "root.crt",
        ),
        None => ctx.problem(Problem::NotFound),
    }
}

fn root(ctx: &Ctx) -> Option<CertificateDer<'static>> {
    let pem = ctx.desk.ca_root()?;
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

fn file(body: Bytes, kind: &'static str, name: &str) -> Response {
    let mut answer = answer::bare(StatusCode::OK, kind, body);
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{name}\""));
    if let Ok(disposition) = disposition {
        let fields = answer.headers_mut();
        fields.insert(header::CONTENT_DISPOSITION, disposition);
    }
    answer.map(Body::from)
}
