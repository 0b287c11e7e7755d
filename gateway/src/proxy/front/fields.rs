//! Fields that answers get, lose or keep.

use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use policy::front::{Front, Preset};

use crate::proxy::headers::BASE;

type Field = (HeaderName, HeaderValue);

/// What the answers of an area get and lose.
pub(crate) struct Fields {
    /// Set where the app sets none of its own.
    kept: Vec<Field>,
    /// HSTS in place of the configuration's.
    hsts: Option<HeaderValue>,
    set: Vec<Field>,
    add: Vec<Field>,
    remove: Vec<HeaderName>,
}

/// HSTS, then the fields of a preset.
type Written = (
    Option<&'static str>,
    &'static [(&'static str, &'static str)],
);

const OWASP: Written = (
    None,
    &[
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("x-xss-protection", "0"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
        (
            "permissions-policy",
            "camera=(), geolocation=(), microphone=()",
        ),
        (
            "content-security-policy",
            "default-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'",
        ),
    ],
);

const DASHBOARD: Written = (
    Some("max-age=31536000; includeSubDomains"),
    &[
        ("x-frame-options", "SAMEORIGIN"),
        ("x-content-type-options", "nosniff"),
        ("x-xss-protection", "1; mode=block"),
    ],
);

const SPA: Written = (
    None,
    &[
        ("x-frame-options", "SAMEORIGIN"),
        ("x-content-type-options", "nosniff"),
        ("x-xss-protection", "1; mode=block"),
        ("referrer-policy", "no-referrer-when-downgrade"),
        (
            "content-security-policy",
            "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';",
        ),
    ],
);

impl Fields {
    /// Reads the policy's keys.
    pub(super) fn new(written: &Front) -> Self {
        let (hsts, kept): Written = match written.preset {
            Some(Preset::Owasp) => OWASP,
            Some(Preset::Dashboard) => DASHBOARD,
            Some(Preset::Spa) => SPA,
            Some(Preset::None) => (None, &[]),
            None => (None, &BASE),
        };
        let kept = kept.iter();
        let name = |name: &String| name.parse::<HeaderName>().ok();
        let field = |(n, v): &(String, String)| Some((name(n)?, v.parse::<HeaderValue>().ok()?));
        Self {
            kept: kept
                .map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v)))
                .collect(),
            hsts: hsts.map(HeaderValue::from_static),
            set: written.set.iter().filter_map(field).collect(),
            add: written.add.iter().filter_map(field).collect(),
            remove: written.remove.iter().filter_map(name).collect(),
        }
    }

    /// HSTS in place of the configuration's.
    pub(crate) fn hsts(&self) -> Option<&HeaderValue> {
        self.hsts.as_ref()
    }

    /// Sets security fields where an answer has none of its own.
    ///
    /// # Errors
    /// None in practice; header building reports one.
    pub(crate) fn keep(&self, answer: &mut ResponseHeader) -> Result<()> {
        for (name, value) in &self.kept {
            if !answer.headers.contains_key(name) {
                answer.insert_header(name.clone(), value.clone())?;
            }
        }
        Ok(())
    }

    /// Changes an answer of the app or of files as the policy says. What it says of caching is not for failures.
    ///
    /// # Errors
    /// None in practice; header building reports one.
    pub(crate) fn change(&self, answer: &mut ResponseHeader) -> Result<()> {
        for name in &self.remove {
            answer.remove_header(name);
        }
        let failed = answer.status >= StatusCode::BAD_REQUEST;
        let fits = |name: &HeaderName| {
            !(failed && (name == header::CACHE_CONTROL || name == header::EXPIRES))
        };
        for (name, value) in self.set.iter().filter(|(name, _)| fits(name)) {
            answer.insert_header(name.clone(), value.clone())?;
        }
        for (name, value) in self.add.iter().filter(|(name, _)| fits(name)) {
            answer.append_header(name.clone(), value.clone())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Fields;
    use pingora_http::ResponseHeader;
    use policy::front::{Front, Preset};

    fn changed(front: &Front, status: u16, own: &[(&'static str, &str)]) -> ResponseHeader {
        let fields = Fields::new(front);
        let mut answer = ResponseHeader::build(status, None).unwrap();
        for (name, value) in own {
            answer.append_header(*name, *value).unwrap();
        }
        fields.change(&mut answer).unwrap();
        fields.keep(&mut answer).unwrap();
        answer
    }

    fn written(preset: Option<Preset>) -> Front {
        let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
        Front {
            preset,
            set: vec![pair("cache-control", "public, immutable"), pair("x-a", "1")],
            add: vec![pair("x-b", "2")],
            remove: vec!["x-old".to_owned()],
            ..Front::default()
        }
    }

    #[test]
    fn fields_are_set_added_and_taken_off_and_security_ones_stay() {
        let own = [("x-a", "app"), ("x-b", "app"), ("x-old", "app")];
        let answer = changed(&written(None), 200, &own);
        let all = |name: &str| {
            let all = answer.headers.get_all(name).iter();
            all.map(|v| v.to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(all("x-a"), ["1"]);
        assert_eq!(all("x-b"), ["app", "2"]);
        assert!(all("x-old").is_empty());
        assert_eq!(all("cache-control"), ["public, immutable"]);
        assert_eq!(all("x-content-type-options"), ["nosniff"]);
    }

    #[test]
    fn a_failure_is_not_cached_by_a_rule_for_files() {
        let answer = changed(&written(None), 404, &[]);
        assert!(!answer.headers.contains_key("cache-control"));
        assert!(answer.headers.contains_key("x-a"));
    }

    #[test]
    fn a_preset_keeps_what_the_app_says_and_says_each_field_once() {
        let answer = changed(
            &written(Some(Preset::Owasp)),
            200,
            &[("x-frame-options", "SAMEORIGIN")],
        );
        assert_eq!(answer.headers.get_all("x-frame-options").iter().count(), 1);
        assert_eq!(answer.headers["x-frame-options"], "SAMEORIGIN");
        assert!(answer.headers.contains_key("content-security-policy"));
        let bare = changed(
            &Front {
                preset: Some(Preset::None),
                ..Front::default()
            },
            200,
            &[],
        );
        assert!(bare.headers.is_empty());
    }
}
