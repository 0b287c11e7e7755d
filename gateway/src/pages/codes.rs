//! The one time that recovery codes are shown.

use http::StatusCode;
use zeroize::Zeroizing;

use super::answer::Policy;
use super::ctx::{Ctx, Page};
use super::texts::fill;
use super::views::{Codes, Frame};
use crate::identity::ShownCodes;

/// What the page of the codes says around them.
pub(super) struct Shown<'a> {
    pub(super) user: &'a str,
    pub(super) codes: &'a ShownCodes,
    pub(super) heading: &'static str,
    pub(super) lead: &'static str,
    pub(super) next: &'static str,
    pub(super) next_text: &'static str,
}

/// Makes the page; nothing of it can be asked for again.
pub(super) fn page(ctx: &Ctx, frame: Frame<'_>, shown: &Shown<'_>) -> Page {
    let head = fill(ctx.t().codes_head, "name", shown.user);
    let head = fill(&head, "host", &ctx.visit().authority);
    let view = Codes {
        f: ctx.scripted(frame),
        heading: shown.heading,
        lead: shown.lead,
        file: file(&head, shown.codes),
        head,
        codes: shown.codes.iter().map(|code| code.as_str()).collect(),
        next: shown.next,
        next_text: shown.next_text,
    };
    ctx.page(StatusCode::OK, &view, Policy::Script)
}

/// Writes the codes as a `data:` address, so that saving them needs neither a script nor a
/// second request (RFC 2397).
fn file(head: &str, codes: &ShownCodes) -> Zeroizing<String> {
    let mut plain = Zeroizing::new(format!("{head}\r\n\r\n"));
    for code in codes {
        plain.push_str(code);
        plain.push_str("\r\n");
    }
    let base64 = Zeroizing::new(data_encoding::BASE64.encode(plain.as_bytes()));
    let mut address = Zeroizing::new("data:text/plain;charset=utf-8;base64,".to_owned());
    address.push_str(&base64);
    address
}
