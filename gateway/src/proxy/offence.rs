//! What strangers do to the gate, told to the bans.

use http::HeaderMap;
use pingora_http::RequestHeader;

use super::app::RequestCtl;
use super::cookies::{self, BROWSER, SESSION};
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

/// Segments of paths, in lower case, that nothing behind a sign-in is called by and that scanners ask for.
const SCANNED: [&str; 27] = [
    ".aws",
    ".bash_history",
    ".ds_store",
    ".git",
    ".hg",
    ".htaccess",
    ".htpasswd",
    ".npmrc",
    ".ssh",
    ".svn",
    "_ignition",
    "adminer.php",
    "boaform",
    "cgi-bin",
    "eval-stdin.php",
    "hnap1",
    "id_ed25519",
    "id_rsa",
    "phpinfo.php",
    "phpmyadmin",
    "setup.cgi",
    "wlwmanifest.xml",
    "wp-admin",
    "wp-config.php",
    "wp-includes",
    "wp-login.php",
    "xmlrpc.php",
];

/// Tells the bans where a stranger who is not let in asked for what only scanners ask for.
///
/// A browser that was signed in here once and a page that asks by itself count for nothing: behind
/// a sign-in there may be what scanners look for.
pub(crate) fn note_scan(gw: &Gateway, ctl: &RequestCtl, ctx: &Ctx, head: &RequestHeader) {
    let headers = &head.headers;
    let is_page = || headers.contains_key("sec-fetch-site");
    let is_known = || {
        [SESSION, BROWSER]
            .into_iter()
            .any(|name| cookies::shows(headers, name))
    };
    if is_scan(head.uri.path()) && !is_page() && !is_known() {
        note(gw, ctl, ctx, headers, Offence::Scan);
    }
}

/// Tells the bans where a stranger asked for what is not there, or not for strangers.
pub(crate) fn note_probe(gw: &Gateway, ctl: &RequestCtl, ctx: &Ctx, head: &RequestHeader) {
    note(gw, ctl, ctx, &head.headers, Offence::Probe);
    note_scan(gw, ctl, ctx, head);
}

fn is_scan(path: &str) -> bool {
    path.split('/').any(|part| {
        let part = part.to_ascii_lowercase();
        part == ".env" || part.starts_with(".env.") || SCANNED.binary_search(&&*part).is_ok()
    })
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

    use super::{SCANNED, is_of_another_page, is_scan};

    #[test]
    fn what_only_scanners_ask_for_is_known_and_what_apps_are_asked_for_is_not() {
        assert!(SCANNED.is_sorted());
        for path in [
            "/.env",
            "/api/.ENV.production",
            "/.git/config",
            "/blog/wp-login.php",
            "/WP-Admin/",
            "/cgi-bin/luci/;stok=/locale",
            "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php",
            "/HNAP1/",
        ] {
            assert!(is_scan(path), "{path}");
        }
        for path in [
            "/",
            "/environment",
            "/.environment",
            "/.well-known/acme-challenge/x",
            "/login",
            "/admin/",
            "/gitea/office.git/info/refs",
            "/index.php",
            "/api/wp-logins",
            "/ssh",
        ] {
            assert!(!is_scan(path), "{path}");
        }
    }

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
