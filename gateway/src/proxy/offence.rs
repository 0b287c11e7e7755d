//! What strangers do to the gate, told to the bans.

use http::HeaderMap;

use super::app::RequestCtl;
use super::pep::Ctx;
use crate::bans::Offence;
use crate::gateway::Gateway;

/// Tells the bans what a stranger did; a person who is signed in is limited, never banned.
///
/// A request that a browser sends for somebody else's page counts for nothing: no page can get
/// its visitors banned. Whoever forges that is limited all the same, and wrong passwords and
/// codes count whatever the request says.
pub(crate) fn note(gw: &Gateway, ctl: &RequestCtl, ctx: &Ctx, headers: &HeaderMap, what: Offence) {
    if ctx.user().is_none() && !is_of_another_page(headers) {
        gw.bans.offence(ctl.conn.door, ctl.conn.peer.ip(), what);
    }
}

/// Tells whether a browser says that the page of another origin sent it. A sibling host is
/// another origin: it may be anybody's. Source: Fetch Metadata Request Headers, section 2.3.
pub(super) fn is_of_another_page(headers: &HeaderMap) -> bool {
    let mut sites = headers.get_all("sec-fetch-site").iter();
    sites.any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::is_of_another_page;

    #[test]
    fn what_another_page_sends_counts_for_nothing_and_the_rest_counts() {
        for (site, other) in [
            (None, false),
            (Some("none"), false),
            (Some("same-origin"), false),
            (Some("same-site"), true),
            (Some("cross-site"), true),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(site) = site {
                headers.insert("sec-fetch-site", HeaderValue::from_static(site));
            }
            assert_eq!(is_of_another_page(&headers), other, "{site:?}");
        }
    }
}
