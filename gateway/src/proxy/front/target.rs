//! Paths on their way to an app, and its redirects on their way back.

use policy::front::below;

/// What is taken off and put in front of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rewrite {
    strip: Option<String>,
    depth: usize,
    lead: String,
}

impl Rewrite {
    /// Reads the policy's prefixes.
    pub(super) fn new(strip: Option<&str>, lead: Option<&str>) -> Self {
        Self {
            strip: strip.map(str::to_owned),
            depth: strip.map_or(0, |s| s.matches('/').count()),
            lead: lead.unwrap_or_default().to_owned(),
        }
    }

    /// What was taken off, for `X-Forwarded-Prefix`.
    pub(crate) fn prefix(&self) -> Option<&str> {
        self.strip.as_deref()
    }

    /// Whether paths go to the app as they came.
    pub(crate) fn is_none(&self) -> bool {
        self.strip.is_none() && self.lead.is_empty()
    }

    /// Writes a path and query as the app gets them.
    pub(crate) fn to_app(&self, path: &str, query: Option<&str>) -> String {
        let mut rest = match below(path, self.depth) {
            "" => "/",
            rest => rest,
        };
        // what is left must not begin like the name of a host (RFC 3986 section 4.2)
        while self.depth > 0 && rest.starts_with("//") {
            rest = rest.get(1..).unwrap_or_default();
        }
        match query {
            Some(query) => format!("{}{rest}?{query}", self.lead),
            None => format!("{}{rest}", self.lead),
        }
    }

    /// Writes an app's `Location` as the browser must have it: an address of its own, for which `own` holds, becomes
    /// the one it is reached by, and what was taken off its paths is put back. `None` where it may stay.
    pub(crate) fn location(
        &self,
        value: &str,
        own: impl Fn(&str, u16) -> bool,
        public: &str,
    ) -> Option<String> {
        if let Some((host, port, path)) = absolute(value) {
            return own(host, port).then(|| format!("https://{public}{}", self.to_browser(path)));
        }
        let local = value.starts_with('/') && !value.starts_with("//");
        (local && !self.is_none()).then(|| self.to_browser(value))
    }

    fn to_browser(&self, path: &str) -> String {
        let strip = self.strip.as_deref().unwrap_or_default();
        if !strip.is_empty() && (path == strip || path.starts_with(&format!("{strip}/"))) {
            return path.to_owned();
        }
        let own = path.strip_prefix(&self.lead).filter(|rest| {
            self.lead.is_empty() || rest.is_empty() || rest.starts_with(['/', '?', '#'])
        });
        format!("{strip}{}", own.unwrap_or(path))
    }
}

/// Parts the address of a page of the web, also one without a scheme, into host, port, and what follows.
/// Source: RFC 3986 section 4.2.
fn absolute(value: &str) -> Option<(&str, u16, &str)> {
    let after = |scheme: &str| {
        let start = value.get(..scheme.len());
        start.filter(|start| start.eq_ignore_ascii_case(scheme))?;
        value.get(scheme.len()..)
    };
    let (rest, usual) = match (after("http://"), after("https://"), after("//")) {
        (Some(rest), _, _) => (rest, 80),
        (_, Some(rest), _) | (_, _, Some(rest)) => (rest, 443),
        (None, None, None) => return None,
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end)?;
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let colon = authority
        .rfind(':')
        .filter(|at| !authority.get(*at..).is_some_and(|p| p.contains(']')));
    let (host, port) = match colon.and_then(|at| authority.split_at_checked(at)) {
        Some((host, port)) => (host, port.get(1..).unwrap_or_default()),
        None => (authority, ""),
    };
    let port = if port.is_empty() {
        usual
    } else {
        port.parse().ok()?
    };
    Some((
        host.trim_start_matches('[').trim_end_matches(']'),
        port,
        path,
    ))
}

#[cfg(test)]
mod tests {
    use super::{Rewrite, absolute};

    #[test]
    fn a_prefix_is_taken_off_and_another_put_in_front() {
        let both = Rewrite::new(Some("/api"), Some("/v1"));
        assert_eq!(both.to_app("/api/x", Some("a=b")), "/v1/x?a=b");
        assert_eq!(both.to_app("/api", None), "/v1/");
        let strip = Rewrite::new(Some("/a/b"), None);
        assert_eq!(strip.to_app("/a/b/c/", None), "/c/");
        assert_eq!(Rewrite::default().to_app("/x", None), "/x");
        // no app is sent what looks like the name of a host, and `//` further behind stays
        let strip = Rewrite::new(Some("/x"), None);
        assert_eq!(strip.to_app("/x//evil.example/a", None), "/evil.example/a");
        assert_eq!(
            strip.to_app("/x///evil.example//a", Some("q")),
            "/evil.example//a?q"
        );
    }

    #[test]
    fn redirects_of_an_app_lead_back_through_the_gateway() {
        let public = "kp.example:8443";
        let own = |host: &str, port| (host, port) == ("10.0.0.1", 8000);
        let both = Rewrite::new(Some("/api"), Some("/v1"));
        let to = |rewrite: &Rewrite, value: &str| rewrite.location(value, own, public);
        let is = |text: &str| Some(text.to_owned());
        assert_eq!(to(&both, "/v1/x?y"), is("/api/x?y"));
        assert_eq!(to(&both, "/login"), is("/api/login"));
        assert_eq!(to(&both, "/api/x"), is("/api/x"));
        let whole = "https://kp.example:8443/api/x";
        assert_eq!(to(&both, "http://10.0.0.1:8000/v1/x"), is(whole));
        let none = Rewrite::default();
        assert_eq!(to(&none, "/x"), None);
        assert_eq!(to(&none, "x"), None);
        assert_eq!(to(&none, "https://elsewhere.example/"), None);
        assert_eq!(to(&none, "//elsewhere.example/"), None);
        assert_eq!(to(&none, "http://10.0.0.1:80001/x"), None);
        assert_eq!(to(&none, "http://10.0.0.1:8000.evil.example/x"), None);
        let bare = is("https://kp.example:8443");
        for written in [
            "http://10.0.0.1:8000",
            "HTTP://10.0.0.1:8000",
            "https://10.0.0.1:8000",
            "//10.0.0.1:8000",
            "http://user@10.0.0.1:8000",
        ] {
            assert_eq!(to(&none, written), bare, "{written}");
        }
    }

    #[test]
    fn an_address_is_parted_whatever_it_leaves_out() {
        for (value, parts) in [
            ("http://a.example/x?y", ("a.example", 80, "/x?y")),
            ("https://a.example?y", ("a.example", 443, "?y")),
            ("//[::1]:81#z", ("::1", 81, "#z")),
            ("http://[::1]", ("::1", 80, "")),
            ("http://a.example:/", ("a.example", 80, "/")),
        ] {
            assert_eq!(absolute(value), Some(parts), "{value}");
        }
        for value in ["/x", "x", "ftp://a.example/", "http://a:b/", ""] {
            assert_eq!(absolute(value), None, "{value}");
        }
    }
}
