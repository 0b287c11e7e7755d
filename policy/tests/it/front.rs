//! Header sets, path parameters and apps and nets in shadow, case by case.

use policy::canon;
use policy::{Context, Device, HeaderValues, Person, Policy, Proto, QueryText, Sources, Subject};

const BASE: &str = r#"postern = 1
[group]
it = ["nadia", "olivier"]
[headers]
all = { X-User = "{user}" }
app = { X-App = "{user} in {groups}" }
area = { X-Area = "{rule}" }
own = { x-own = "{device} {session-age}" }
[default]
headers = "all"
[app.a]
host = "a.example"
upstream = "http://h"
allow.it = { who = "@it" }
allow.own = { who = "@it", methods = "PROPFIND", headers = "own" }
[app.b]
host = "b.example"
upstream = "http://h"
headers = "app"
path-params = true
allow.it = { who = "@it" }
[app.b."/x"]
allow.it = { who = "@it" }
[app.b."/y"]
headers = "area"
allow.it = { who = "@it" }
[net.n]
to = "10.0.0.0/8"
port = "22/tcp"
allow.it = { who = "@it" }
[admin]
allow.it = { who = "@it" }
"#;

fn load(text: &str) -> Policy {
    let mut sources = Sources::new();
    sources.add("policy.toml", text.to_owned());
    let loaded = policy::load(&sources).unwrap_or_else(|diags| {
        let lines: Vec<String> = diags.iter().map(|d| d.one_line(&sources)).collect();
        panic!("{}", lines.join("\n"))
    });
    loaded.policy
}

fn ask(user: Option<&str>, to: &str) -> QueryText {
    QueryText {
        user: user.map(str::to_owned),
        to: to.to_owned(),
        ..QueryText::default()
    }
}

fn decide(policy: &Policy, to: &str) -> policy::Decision {
    policy.decide(&policy.query(&ask(Some("nadia"), to)).unwrap())
}

#[test]
fn the_nearest_header_set_counts_and_nets_have_none() {
    let policy = load(BASE);
    let set = |to: &str| {
        let obligations = policy.obligations(decide(&policy, to).obligations);
        obligations.headers.as_ref().map(|set| set.name.clone())
    };
    for (to, name) in [
        ("https://a.example/", Some("all")),
        ("PROPFIND https://a.example/", Some("own")),
        ("https://b.example/", Some("app")),
        ("https://b.example/x", Some("app")),
        ("https://b.example/y", Some("area")),
        ("tcp://10.0.0.1:22", None),
        ("admin", None),
        ("https://c.example/", None),
    ] {
        assert_eq!(set(to).as_deref(), name, "{to}");
    }
    for (app, _) in policy.apps() {
        for name in ["x-user", "x-app", "x-area", "x-own"] {
            assert!(policy.owns_header(app, name), "{name}");
        }
        assert!(!policy.owns_header(app, "x-other"));
    }
    let again = policy::load(&policy.canonical()).unwrap().policy;
    assert_eq!(policy.digest(), again.digest());
    let other = load(&BASE.replace("\"{user}\"", "\"{user}!\""));
    assert_ne!(policy.digest(), other.digest());
}

#[test]
fn a_tenants_set_keeps_no_field_from_the_apps_of_others() {
    let mut sources = Sources::new();
    let root = "[tenant.acme]\ndir = \"acme\"\ndomains = [\"acme.example\"]\n\
                [tenant.durand]\ndir = \"durand\"\ndomains = [\"durand.example\"]\n";
    sources.add("policy.toml", format!("{BASE}{root}"));
    for (name, person) in [("acme", "paul"), ("durand", "luc")] {
        let text = format!(
            "postern = 1\n[group]\nall = [\"{person}\"]\n[headers]\nown = {{ X-Of-{name} = \"{{user}}\" }}\n[app.web]\nhost = \"{name}.example\"\n\
             upstream = \"http://h-{name}\"\nheaders = \"own\"\nallow.all = {{ who = \"@all\" }}\n"
        );
        sources.add_at(name, &format!("{name}/policy.toml"), text);
    }
    let policy = policy::load(&sources).unwrap().policy;
    let owns = |host: &str, name: &str| {
        let app = policy.app_for(&canon::host(host).unwrap()).unwrap();
        policy.owns_header(app, name)
    };
    for (host, acme, durand) in [
        ("acme.example", true, false),
        ("durand.example", false, true),
        ("b.example", false, false),
    ] {
        assert!(owns(host, "x-user"), "{host}: the root's");
        assert_eq!(owns(host, "x-of-acme"), acme, "{host}");
        assert_eq!(owns(host, "x-of-durand"), durand, "{host}");
    }
}

#[test]
fn a_set_is_filled_in_from_the_request() {
    let policy = load(BASE);
    let fill = |to: &str, person| {
        let decision = decide(&policy, to);
        let set = policy
            .obligations(decision.obligations)
            .headers
            .clone()
            .unwrap();
        let rule = policy.rule(decision.rule).id.clone();
        let values = HeaderValues {
            person,
            rule: &rule,
            device: Device::Managed,
        };
        let field = set.fields.first().unwrap();
        (field.name.clone(), field.fill(&values))
    };
    let nadia = Some(Person {
        name: "nadia",
        groups: "it,staff",
        session_secs: 61,
    });
    let pair = |name: &str, text: &str| (name.to_owned(), Some(text.to_owned()));
    assert_eq!(
        fill("https://b.example/", nadia),
        pair("X-App", "nadia in it,staff")
    );
    assert_eq!(
        fill("https://b.example/y", nadia),
        pair("X-Area", "app.b/y#it")
    );
    assert_eq!(
        fill("PROPFIND https://a.example/", nadia),
        pair("x-own", "managed 61")
    );
    assert_eq!(fill("https://b.example/", None), ("X-App".to_owned(), None));
}

#[test]
fn explain_tells_of_header_sets_parameters_and_shadow() {
    let policy = load(BASE);
    let explain =
        |policy: &Policy, to| policy.explain(&policy.query(&ask(Some("nadia"), to)).unwrap());
    let told = explain(&policy, "https://b.example/y;v=1/z;w");
    assert_eq!(told.headers.as_deref(), Some("area"));
    assert_eq!(told.area.as_deref(), Some("app.b/y"));
    assert!(told.to_text().contains("area"));
    let refused = explain(&policy, "https://a.example/y;v=1");
    assert_eq!(refused.rule, "builtin.bad-request");
    assert_eq!((refused.headers, refused.shadow), (None, None));
    let trial = load(&BASE.replace("[app.b]\n", "[app.b]\nshadow = true\npreflight = true\n"));
    let told = explain(&trial, "https://b.example/");
    assert_eq!(told.rule, "builtin.no-such-app");
    assert_eq!(told.shadow.as_deref(), Some("allow by app.b#it"));
    assert!(told.to_text().contains("allow by app.b#it"));
    let preflight = load(&BASE.replace("[app.b]\n", "[app.b]\npreflight = true\n"));
    let query = preflight
        .query(&ask(None, "OPTIONS https://b.example/"))
        .unwrap();
    assert!(
        preflight
            .explain(&query)
            .to_text()
            .contains("CORS preflight")
    );
}

/// Outcome and rule in force, and what would be.
fn told(policy: &Policy, to: &str) -> (String, Option<String>) {
    let decision = decide(policy, to);
    let rule = |outcome: policy::Outcome, rule| format!("{outcome} {}", policy.rule(rule).id);
    let would = decision.shadow.map(|(outcome, by)| rule(outcome, by));
    (rule(decision.outcome, decision.rule), would)
}

#[test]
fn an_app_or_net_in_shadow_leaves_the_wider_one_in_force() {
    let text = r#"postern = 1
[group]
it = ["nadia"]
[app.wide]
host = "*.example"
upstream = "http://wide"
allow.it = { who = "@it" }
[app.narrow]
host = ["x.example", "alone.test"]
upstream = "http://narrow"
shadow = true
[net.wide]
to = "10.0.0.0/8"
port = "22/tcp"
allow.it = { who = "@it" }
[net.narrow]
to = ["10.1.0.0/16", "192.0.2.1"]
port = "22/tcp"
shadow = true
[admin]
shadow = true
allow.it = { who = "@it" }
"#;
    let trial = load(text);
    let some = |text: &str| Some(text.to_owned());
    let is = |to, in_force: &str, would| {
        assert_eq!(told(&trial, to), (in_force.to_owned(), would), "{to}")
    };
    is(
        "https://x.example/",
        "allow app.wide#it",
        some("deny builtin.default"),
    );
    is("https://y.example/", "allow app.wide#it", None);
    is(
        "https://alone.test/",
        "deny builtin.no-such-app",
        some("deny builtin.default"),
    );
    is(
        "tcp://10.1.0.1:22",
        "allow net.wide#it",
        some("deny builtin.default"),
    );
    is("tcp://10.2.0.1:22", "allow net.wide#it", None);
    is(
        "tcp://192.0.2.1:22",
        "deny builtin.no-such-service",
        some("deny builtin.default"),
    );
    is("admin", "deny builtin.default", some("allow admin#it"));
    let host = |name| canon::host(name).unwrap();
    let id = |ix: Option<policy::AppIx>| ix.map(|ix| trial.app(ix).id.to_string());
    assert_eq!(
        id(trial.app_for(&host("x.example"))).as_deref(),
        Some("app.wide")
    );
    assert_eq!(
        id(trial.shadow_app_for(&host("x.example"))).as_deref(),
        Some("app.narrow")
    );
    assert_eq!(id(trial.shadow_app_for(&host("y.example"))), None);
    // the twin: the same in force
    let forced = load(&text.replace("shadow = true\n", ""));
    assert_eq!(
        told(&forced, "https://x.example/").0,
        "deny builtin.default"
    );
    assert_eq!(told(&forced, "tcp://10.1.0.1:22").0, "deny builtin.default");
    assert_eq!(told(&forced, "admin"), ("allow admin#it".to_owned(), None));
    let before = policy::diff(&trial, &forced);
    let closed = before
        .changes
        .iter()
        .filter(|c| c.before.as_str() == "allow");
    let closed: Vec<&str> = closed.map(|c| c.resource.as_str()).collect();
    assert!(
        closed.contains(&"app.narrow/") && closed.contains(&"net.narrow"),
        "{closed:?}"
    );
}

#[test]
fn an_app_in_shadow_opens_for_nobody() {
    let policy = load(
        &BASE
            .replace("[app.b]\n", "[app.b]\nshadow = true\n")
            .replace("[net.n]\n", "[net.n]\nshadow = true\n"),
    );
    let bits = policy.subject("nadia");
    let subject = Subject {
        bits: bits.as_ref(),
        mfa_age: Some(0),
        login_age: 0,
        device: Device::Managed,
    };
    let context = Context::new(policy.zone([192, 0, 2, 1].into(), false), policy.tick(0));
    let open = |name: &str| {
        let (ix, _) = policy.apps().find(|(_, app)| &*app.id == name).unwrap();
        policy.opens(&subject, ix, &context).as_str()
    };
    assert_eq!((open("app.a"), open("app.b")), ("allow", "deny"));
    let flow = policy.decide_flow(&subject, [10, 0, 0, 1].into(), 22, Proto::Tcp, &context);
    assert_eq!(
        policy.rule(flow.rule).id.as_ref(),
        "builtin.no-such-service"
    );
    let reached = policy.what_can("nadia").unwrap().resources;
    assert!(
        reached
            .iter()
            .all(|place| !place.resource.starts_with("app.b") && place.resource != "net.n")
    );
    assert!(policy.who_can("app.b/y").unwrap().users.is_empty());
    assert!(!policy.who_can("app.a/").unwrap().users.is_empty());
}

#[test]
fn a_rule_tightens_the_sessions_of_those_it_lets_in_and_nothing_else() {
    let bound = BASE.replace(
        "[admin]\nallow.it = { who = \"@it\" }",
        "[admin]\nallow.it = { who = \"@it\", idle = \"10m\", sessions = 2 }",
    );
    let (free, bound) = (load(BASE), load(&bound));
    let answer = |policy: &Policy, to: &str| {
        let decision = decide(policy, to);
        let obligations = policy.obligations(decision.obligations);
        let idle = obligations.idle.map(|idle| idle.as_secs());
        (decision.outcome, idle, obligations.sessions)
    };
    let allow = policy::Outcome::Allow;
    assert_eq!(answer(&free, "admin"), (allow, None, None));
    assert_eq!(answer(&bound, "admin"), (allow, Some(600), Some(2)));
    assert_eq!(answer(&bound, "https://a.example/"), (allow, None, None));
    assert!(policy::diff(&free, &bound).changes.is_empty());
    assert_ne!(free.digest(), bound.digest());
}
