//! Callers that are no browsers: by the tunnel device alone, or by a token, where an area of an app takes that.
//!
//! Neither counts on the gateway's own pages. A token stands above a cookie, and one that is not right is never
//! overlooked. A device alone is as good as a cookie that every page could send, so it counts for nothing that a
//! browser says another page sent.

use std::sync::Arc;

use http::{HeaderMap, header};
use policy::{AppIx, Proof};

use super::conn::ConnCtx;
use super::gate::Origin;
use super::head::Target;
use super::identify::Identified;
use super::offence;
use crate::access::Quarantine;
use crate::clock;
use crate::gateway::Gateway;
use crate::identity::{TOKEN_PREFIX, Token};
use crate::ids::Door;
use crate::snapshot::Snapshot;

/// A token was shown that is none, or none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadToken;

/// Finds out whether a request to an app comes from a caller that is no browser.
///
/// # Errors
/// [`BadToken`]: the request is refused, whatever else it carries.
pub(super) fn identify(
    gw: &Gateway,
    conn: &ConnCtx,
    snap: &Snapshot,
    headers: &HeaderMap,
    (target, app): (&Target, AppIx),
    who: &mut Identified,
) -> Result<(), BadToken> {
    match shown(headers) {
        Shown::Nothing => {}
        Shown::Unclear => return Err(BadToken),
        Shown::Token(text) => {
            let found = gw.sessions.find_token(text, conn.peer.ip(), clock::unix());
            who.caller.token = Some(found.ok_or(BadToken)?);
            who.caller.session = None;
            who.caller.by = Proof::Token;
            return Ok(());
        }
    }
    let open = conn.door == Door::Tunnel && who.quarantine == Quarantine::Open;
    if who.caller.session.is_some() || !open || !snap.policy.lanes(app, &target.path).device {
        return Ok(());
    }
    if offence::is_of_another_page(headers) || Origin::of(headers, target) == Origin::Other {
        return Ok(());
    }
    let device = who.caller.device.as_ref();
    who.caller.session = device.and_then(|device| gw.opened_by(device.id));
    if who.caller.session.is_some() {
        who.caller.by = Proof::Device;
    }
    Ok(())
}

/// What a request shows of tokens.
#[derive(Debug, PartialEq, Eq)]
enum Shown<'a> {
    /// None of ours.
    Nothing,
    /// Something that begins like one of ours and does not stand as one does.
    Unclear,
    /// The text of one.
    Token(&'a str),
}

/// Reads `Authorization: Bearer ptk_...`; every other credential is the app's own.
fn shown(headers: &HeaderMap) -> Shown<'_> {
    let mut found = Shown::Nothing;
    let mut fields = 0_usize;
    for value in headers.get_all(header::AUTHORIZATION) {
        fields += 1;
        let text = String::from_utf8_lossy(value.as_bytes());
        let mut words = text.split_ascii_whitespace();
        if !words.any(|word| word.starts_with(TOKEN_PREFIX)) {
            continue;
        }
        let plain = value.to_str().ok().and_then(|text| text.split_once(' '));
        found = match plain {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                Shown::Token(token.trim())
            }
            _ => Shown::Unclear,
        };
    }
    match found {
        Shown::Token(_) if fields > 1 => Shown::Unclear,
        Shown::Nothing | Shown::Unclear | Shown::Token(_) => found,
    }
}

/// Takes away what would show the app a token.
pub(super) fn hide(upstream: &mut HeaderMap, token: Option<&Arc<Token>>) {
    if token.is_some() {
        upstream.remove(header::AUTHORIZATION);
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::{Shown, shown};

    fn read(values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        match shown(&headers) {
            Shown::Nothing => "nothing".to_owned(),
            Shown::Unclear => "unclear".to_owned(),
            Shown::Token(text) => text.to_owned(),
        }
    }

    #[test]
    fn a_token_of_ours_is_read_and_the_apps_own_credentials_are_not() {
        assert_eq!(read(&["Bearer ptk_a"]), "ptk_a");
        assert_eq!(read(&["bearer  ptk_a "]), "ptk_a");
        for own in ["Bearer eyJptk_x", "Basic cHRrXzphYmM=", "Bearer", ""] {
            assert_eq!(read(&[own]), "nothing", "{own}");
        }
        assert_eq!(read(&[]), "nothing");
    }

    #[test]
    fn what_begins_like_a_token_and_is_written_otherwise_is_unclear() {
        for odd in ["ptk_a", "Token ptk_a", "Bearer\tptk_a", "Basic ptk_a"] {
            assert_eq!(read(&[odd]), "unclear", "{odd}");
        }
        assert_eq!(read(&["Bearer ptk_a", "Bearer ptk_a"]), "unclear");
        assert_eq!(read(&["Bearer ptk_a", "Basic x"]), "unclear");
        // more than one word is no token either: it is looked up as it stands
        assert_eq!(read(&["Bearer ptk_a ptk_b"]), "ptk_a ptk_b");
    }
}
