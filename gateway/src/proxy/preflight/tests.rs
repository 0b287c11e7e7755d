use std::net::IpAddr;

use http::{HeaderValue, Request, Response};
use policy::canon::PathOpts;

use super::answer;
use crate::access::Caller;
use crate::ids::Door;
use crate::proxy::head;

const POLICY: &str = r#"postern = 1
[group]
it = ["nadia"]
[app.api]
host = "api.example"
upstream = "http://h"
preflight = true
allow.it = { who = "@it" }
[app.web]
host = ["web.example", "*.web.example"]
upstream = "http://h"
allow.it = { who = "@it" }
"#;

const TENANTS: &str = r#"
[tenant.acme]
dir = "tenants/acme"
domains = ["acme.example", "shop.acme.example"]
[tenant.durand]
dir = "tenants/durand"
domains = ["durand.example"]
"#;

/// An app that answers preflights on each host.
fn tenant(person: &str, hosts: &[&str]) -> String {
    let apps = hosts.iter().zip(1..).map(|(host, n)| {
        format!("[app.a{n}]\nhost = \"{host}\"\nupstream = \"http://h-{person}\"\npreflight = true\nallow.all = {{ who = \"@all\" }}\n")
    });
    format!(
        "postern = 1\n[group]\nall = [\"{person}\"]\n{}",
        apps.collect::<String>()
    )
}

fn policy() -> policy::Policy {
    let mut sources = policy::Sources::new();
    sources.add("policy.toml", format!("{POLICY}{TENANTS}"));
    let acme = tenant("paul", &["acme.example", "shop.acme.example"]);
    sources.add_at("acme", "tenants/acme/policy.toml", acme);
    let durand = tenant("luc", &["durand.example"]);
    sources.add_at("durand", "tenants/durand/policy.toml", durand);
    policy::load(&sources).unwrap().policy
}

/// Asks the app of `host` on port 8443.
fn asked(host: &str, method: &str, fields: &[(&'static str, &str)]) -> Option<Response<()>> {
    let policy = policy();
    let mut request = Request::builder().method(method);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let mut headers = http::HeaderMap::new();
    let authority = format!("{host}:8443");
    headers.insert("host", HeaderValue::from_str(&authority).unwrap());
    let target = head::target(b"/x", None, &headers, |_| PathOpts::default()).unwrap();
    let caller = Caller {
        session: None,
        token: None,
        by: policy::Proof::SignIn,
        device: None,
        source: IpAddr::from([192, 0, 2, 1]),
        door: Door::Web,
    };
    let Some(app) = policy.app_for(&target.host) else {
        panic!("no app has {host}");
    };
    let (parts, ()) = request.body(()).unwrap().into_parts();
    answer(&policy, app, &target, &caller, &parts).map(|answer| answer.map(|_| ()))
}

fn from(origin: &str) -> Option<Response<()>> {
    between(origin, "api.example")
}

fn between(origin: &str, host: &str) -> Option<Response<()>> {
    let fields = [
        ("origin", origin),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "x-b, Content-Type"),
    ];
    asked(host, "OPTIONS", &fields)
}

#[test]
fn pages_of_one_owner_get_no_permission_at_apps_of_another() {
    let hosts = [
        ("root", "api.example"),
        ("root", "web.example"),
        ("acme", "acme.example"),
        ("acme", "shop.acme.example"),
        ("durand", "durand.example"),
    ];
    for (owner, host) in hosts.iter().filter(|(_, host)| *host != "web.example") {
        for (other, page) in &hosts {
            let answer = between(&format!("https://{page}:8443"), host).unwrap();
            let is_let = answer.headers().contains_key("access-control-allow-origin");
            assert_eq!(is_let, owner == other, "{page} at {host}");
        }
    }
}

#[test]
fn a_page_of_an_own_app_may_send_what_it_asked_for_and_no_more() {
    for origin in [
        "https://web.example:8443",
        "https://any.web.example:8443",
        "https://api.example:8443",
    ] {
        let answer = from(origin).unwrap();
        assert_eq!(answer.status(), 204);
        let field = |name: &str| answer.headers().get(name).unwrap().to_str().unwrap();
        assert_eq!(field("access-control-allow-origin"), origin);
        assert_eq!(field("access-control-allow-methods"), "PUT");
        assert_eq!(field("access-control-allow-headers"), "x-b, content-type");
        assert_eq!(field("access-control-allow-credentials"), "true");
        assert!(field("vary").contains("Origin"));
    }
}

#[test]
fn a_page_of_others_gets_no_permission() {
    for origin in [
        "https://evil.example:8443",
        "http://web.example:8443",
        "https://web.example",
        "https://web.example:8444",
        "https://web.example:8443/",
        "https://web.example.evil.test:8443",
        "https://a.b.web.example:8443",
        "https://WEB.example:8443",
        "https://x@web.example:8443",
        "null",
        "*",
    ] {
        let answer = from(origin).unwrap();
        assert_eq!(answer.status(), 204, "{origin}");
        let names = answer.headers().keys();
        let mut given = names.filter(|name| name.as_str().starts_with("access-control-"));
        assert_eq!(given.next(), None, "{origin}");
    }
}

#[test]
fn what_is_no_preflight_or_not_asked_for_by_the_policy_is_decided_like_any_request() {
    let whole = [
        ("origin", "https://web.example:8443"),
        ("access-control-request-method", "GET"),
    ];
    assert!(asked("api.example", "OPTIONS", &whole).is_some());
    assert!(asked("web.example", "OPTIONS", &whole).is_none());
    assert!(asked("api.example", "GET", &whole).is_none());
    let [origin, method] = whole;
    for fields in [&[origin][..], &[method], &[], &[origin, origin, method]] {
        assert!(
            asked("api.example", "OPTIONS", fields).is_none(),
            "{fields:?}"
        );
    }
}

#[test]
fn odd_methods_and_fields_get_no_permission() {
    let permits = |method: &str, fields: &str| {
        let asking = [
            ("origin", "https://web.example:8443"),
            ("access-control-request-method", method),
            ("access-control-request-headers", fields),
        ];
        let answer = asked("api.example", "OPTIONS", &asking).unwrap();
        answer.headers().contains_key("access-control-allow-origin")
    };
    assert!(permits("DELETE", "x-a"));
    assert!(!permits("TRACE", "x-a"));
    assert!(!permits("GET", "x a"));
    assert!(!permits("GET", &"x-a,".repeat(33)));
}
