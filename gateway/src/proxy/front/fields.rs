//! Fields that answers get, lose or keep.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, response};
use policy::front::{Front, Preset};

use crate::proxy::headers::BASE;
use crate::proxy::reports::PATH;

type Field = (HeaderName, HeaderValue);

/// What the answers of an area get and lose.
pub(crate) struct Fields {
    /// Set where the app sets none of its own.
    kept: Vec<Field>,
    /// HSTS in place of the configuration's.
    hsts: Option<HeaderValue>,
    set: Vec<Field>,
    /// Names of `set` where the app's own value stays.
    yields: Vec<HeaderName>,
    add: Vec<Field>,
    remove: Vec<HeaderName>,
    reports: bool,
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
        let field = |n: &str, v: &str| {
            let field = (n.parse().ok()?, v.parse().ok()?);
            Some(of_policy(written, field))
        };
        let own = |(n, v): &(String, String)| field(n, v);
        Self {
            kept: kept.filter_map(|(n, v)| field(n, v)).collect(),
            hsts: hsts.map(HeaderValue::from_static),
            set: written.set.iter().filter_map(own).collect(),
            yields: written.keep_app.iter().filter_map(name).collect(),
            add: written.add.iter().filter_map(own).collect(),
            remove: written.remove.iter().filter_map(name).collect(),
            reports: written.csp_reports,
        }
    }

    /// Tells whether browsers are asked to tell of breaches.
    pub(crate) fn reports(&self) -> bool {
        self.reports
    }

    /// HSTS in place of the configuration's.
    pub(crate) fn hsts(&self) -> Option<&HeaderValue> {
        self.hsts.as_ref()
    }

    /// Sets security fields where an answer has none of its own.
    pub(crate) fn keep(&self, answer: &mut HeaderMap) {
        for (name, value) in &self.kept {
            answer.entry(name).or_insert_with(|| value.clone());
        }
    }

    /// Changes an answer of the app or of files as the policy says. What it says of caching is not for failures.
    pub(crate) fn change(&self, answer: &mut response::Parts) {
        for name in &self.remove {
            answer.headers.remove(name);
        }
        let failed = answer.status >= StatusCode::BAD_REQUEST;
        let fits = |name: &HeaderName| {
            !(failed && (name == header::CACHE_CONTROL || name == header::EXPIRES))
        };
        let yields =
            |name: &HeaderName| self.yields.contains(name) && answer.headers.contains_key(name);
        let set: Vec<&Field> = self
            .set
            .iter()
            .filter(|(name, _)| fits(name) && !yields(name))
            .collect();
        for (name, value) in set {
            answer.headers.insert(name, value.clone());
        }
        for (name, value) in self.add.iter().filter(|(name, _)| fits(name)) {
            answer.headers.append(name, value.clone());
        }
    }
}

/// Writes a content security policy as the area has it: to be obeyed or only to be told of, and with where to tell.
fn of_policy(written: &Front, (name, value): Field) -> Field {
    let told = header::CONTENT_SECURITY_POLICY_REPORT_ONLY;
    if name != header::CONTENT_SECURITY_POLICY && name != told {
        return (name, value);
    }
    let name = if written.csp_report_only { told } else { name };
    let text = value.to_str().unwrap_or_default();
    if !written.csp_reports || text.contains("report-uri") {
        return (name, value);
    }
    let text = text.trim_end_matches([' ', ';']);
    let with = format!("{text}; report-uri {PATH}").parse();
    (name, with.unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::Fields;
    use http::{HeaderValue, Response, response};
    use policy::front::{Front, Preset};

    fn changed(
        front: &Front,
        status: u16,
        own: &[(&'static str, &'static str)],
    ) -> response::Parts {
        let fields = Fields::new(front);
        let answer = Response::builder().status(status).body(()).unwrap();
        let (mut answer, ()) = answer.into_parts();
        for (name, value) in own {
            answer
                .headers
                .append(*name, HeaderValue::from_static(value));
        }
        fields.change(&mut answer);
        fields.keep(&mut answer.headers);
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
    fn a_field_that_yields_is_set_only_where_the_app_sets_none() {
        let mut front = written(None);
        let own = [("x-a", "app")];
        assert_eq!(changed(&front, 200, &own).headers["x-a"], "1");
        front.keep_app = vec!["x-a".to_owned()];
        assert_eq!(changed(&front, 200, &own).headers["x-a"], "app");
        assert_eq!(changed(&front, 200, &[]).headers["x-a"], "1");
    }

    #[test]
    fn a_security_policy_is_obeyed_or_told_of_and_says_where_to_tell() {
        let (obeyed, told) = (
            "content-security-policy",
            "content-security-policy-report-only",
        );
        for (report_only, reports) in [(false, false), (false, true), (true, false), (true, true)] {
            let front = Front {
                preset: Some(Preset::Spa),
                csp_report_only: report_only,
                csp_reports: reports,
                ..Front::default()
            };
            let answer = changed(&front, 200, &[]);
            let (name, other) = if report_only {
                (told, obeyed)
            } else {
                (obeyed, told)
            };
            let value = answer.headers[name].to_str().unwrap();
            assert!(
                value.starts_with("default-src 'self'; script-src"),
                "{value}"
            );
            let end = "'unsafe-inline'; report-uri /.postern/csp-report";
            assert_eq!(value.ends_with(end), reports, "{value}");
            assert!(!answer.headers.contains_key(other));
            // the app's own stays what it is
            let own = changed(&front, 200, &[(name, "default-src 'none'")]);
            assert_eq!(own.headers[name], "default-src 'none'");
        }
        let set = Front {
            set: vec![(obeyed.to_owned(), "img-src 'self';".to_owned())],
            csp_reports: true,
            ..Front::default()
        };
        let answer = changed(&set, 200, &[(obeyed, "img-src *")]);
        assert_eq!(
            answer.headers[obeyed],
            "img-src 'self'; report-uri /.postern/csp-report"
        );
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
