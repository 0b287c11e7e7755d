//! The front's keys: what an area inherits, and that nothing of them is lost when a policy is written out again.

use policy::canon;
use policy::front::{Balance, Breaker, Front, Maintenance, Preset, Shared, Source};
use policy::{Policy, Sources};

const TEXT: &str = r#"postern = 1
[group]
it = ["nadia"]
[app.a]
host = "a.example"
upstream = [
  "http://10.0.0.1:8501",
  { url = "https://10.0.0.2:8501", weight = 3, drain = true, ca = "/etc/ca.pem", name = "app.internal", cert = "/etc/c.pem", key = "/etc/k.pem" },
  "unix:/run/app.sock",
]
balance = "least-connections"
sticky = true
check = { path = "/health?x=1", status = 200, every = "5s", timeout = "2s", up = 1, down = 2, body = "ok", json = { "dependencies.db" = "up" } }
concurrency = 40
breaker = { failures = 4, rest = "15s" }
upstream-networks = ["10.0.0.0/24", "fd00:1::/64"]
timeout = { connect = "2s", head = "5m" }
body-max = "100MiB"
preset = "owasp"
compress = true
allow.it = { who = "@it" }
[app.a."/api"]
upstream = "http://10.0.0.9:8000"
strip-prefix = "/api"
add-prefix = "/v1"
methods = ["read", "POST"]
timeout.stream = "24h"
cors = { origins = "https://b.example", credentials = true, expose = "X-Total" }
allow.it = { who = "@it" }
[app.a."/api/admin"]
body-max = "64KiB"
cors = false
maintenance = true
allow.it = { who = "@it" }
[app.a."/api/*/files"]
maintenance = false
websocket = false
allow.it = { who = "@it" }
[app.a."/api/admin/files"]
allow.it = { who = "@it" }
[app.a."/static"]
static = { root = "/srv/www", index = "home.html", fallback = "home.html" }
set = { Cache-Control = "public, max-age=31536000, immutable" }
add = { X-Note = "a" }
remove = ["X-Old"]
compress = { types = "text/css", min = "2KiB", level = 9 }
allow.it = { who = "@it" }
[app.a."=/old"]
redirect = { to = "/new", status = 301 }
allow.it = { who = "@it" }
[app.w]
host = "www.a.example"
redirect = "https://a.example/*"
public = "moved"
allow.all = { who = "anyone" }
[app.plain]
host = "p.example"
upstream = "http://10.0.0.5"
allow.it = { who = "@it" }
[app.plain."/x"]
upstream = "h2c://10.0.0.5:50051"
allow.it = { who = "@it" }
[app.kept]
host = "k.example"
upstream = "http://10.0.0.6"
cache = { ttl = "5m", stale = "1h", shared = "prices are the same for all", most = "64KiB" }
allow.it = { who = "@it" }
[app.kept."/own"]
allow.it = { who = "@it" }
[app.kept."/none"]
cache = false
allow.it = { who = "@it" }
[app.kept."/open"]
cache = { ttl = "1m", shared = true }
public = "a list for all"
allow.all = { who = "anyone" }
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

fn front<'a>(policy: &'a Policy, host: &str, path: &str) -> &'a Front {
    let app = policy.app_for(&canon::host(host).unwrap()).unwrap();
    let at = policy.front(app, &canon::path(path.as_bytes()).unwrap());
    policy.app(app).fronts.get(at).unwrap()
}

fn to(front: &Front) -> Vec<String> {
    match &front.source {
        Source::Pool(pool) => pool.members.iter().map(|m| m.to.to_string()).collect(),
        Source::Static(files) => vec![files.root.clone()],
        Source::Redirect(to) => vec![to.to.clone()],
    }
}

#[test]
fn an_area_has_what_it_writes_and_the_rest_from_the_nearest_area_around_it() {
    let policy = load(TEXT);
    let at = |path: &str| front(&policy, "a.example", path);
    assert_eq!(to(at("/")).len(), 3);
    assert_eq!(to(at("/apis")).len(), 3);
    let api = at("/api/x");
    assert_eq!(to(api), ["http://10.0.0.9:8000"]);
    assert_eq!((api.source_at.as_str(), api.source_depth), ("/api", 1));
    assert_eq!(api.strip.as_deref(), Some("/api"));
    assert_eq!(api.lead.as_deref(), Some("/v1"));
    assert_eq!(
        (api.timeout.head, api.timeout.stream),
        (Some(300), Some(86_400))
    );
    assert_eq!(api.methods.as_ref().unwrap().join(" "), "GET HEAD POST");
    assert_eq!(api.body_max, Some(100 << 20));
    assert!(api.cors.is_some());
    let admin = at("/api/admin/x");
    assert_eq!(to(admin), ["http://10.0.0.9:8000"]);
    assert_eq!(admin.strip.as_deref(), Some("/api"));
    assert_eq!(
        (admin.body_max, admin.cors.is_none()),
        (Some(64 << 10), true)
    );
    assert!(admin.websocket && !at("/api/u/files/1").websocket);
    assert!(at("/api/u/files/1").cors.is_some());
    let closed = |path: &str| at(path).maintenance;
    assert_eq!(closed("/api/admin/x"), Maintenance::On);
    assert_eq!(closed("/api/u/files/1"), Maintenance::Off);
    // the area both overlap in is inside both; it inherits from the one that is last in rank
    let both = at("/api/admin/files");
    assert_eq!(to(both), ["http://10.0.0.9:8000"]);
    let files = at("/static/a.css");
    assert_eq!(
        (to(files), files.source_depth),
        (vec!["/srv/www".to_owned()], 1)
    );
    assert_eq!(files.preset, Some(Preset::Owasp));
    assert_eq!(files.compress.as_ref().unwrap().level, 9);
    assert_eq!(to(at("/old")), ["/new"]);
    assert_eq!(to(at("/old/x")).len(), 3);
    let www = front(&policy, "www.a.example", "/x");
    assert!(matches!(&www.source, Source::Redirect(to) if to.keep && to.status == 308));
    let plain = front(&policy, "p.example", "/y");
    assert_eq!(
        (to(plain), plain.preset),
        (vec!["http://10.0.0.5:80".to_owned()], None)
    );
    let calls = to(front(&policy, "p.example", "/x/y"));
    assert_eq!(calls, ["h2c://10.0.0.5:50051"]);
}

#[test]
fn what_is_kept_for_everybody_is_so_only_where_it_is_written() {
    let policy = load(TEXT);
    let cache = |path: &str| front(&policy, "k.example", path).cache.clone();
    let whole = cache("/x").unwrap();
    assert_eq!((whole.ttl, whole.stale, whole.most), (300, 3600, 64 << 10));
    assert!(matches!(whole.shared, Shared::All(_)));
    let own = cache("/own/x").unwrap();
    assert_eq!((own.ttl, &own.shared), (300, &Shared::No));
    assert!(cache("/none").is_none());
    assert_eq!(cache("/open").unwrap().shared, Shared::Strangers);
}

#[test]
fn upstreams_are_read_as_written() {
    let policy = load(TEXT);
    let Source::Pool(pool) = &front(&policy, "a.example", "/").source else {
        panic!("no pool")
    };
    assert_eq!(
        (pool.balance, pool.sticky),
        (Balance::LeastConnections, true)
    );
    assert_eq!(pool.concurrency, Some(40));
    let breaker = Breaker {
        failures: 4,
        rest: 15,
    };
    assert_eq!(pool.breaker, Some(breaker));
    let networks: Vec<String> = pool.networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/24", "fd00:1::/64"]);
    let second = pool.members.get(1).unwrap();
    assert_eq!((second.weight, second.drain), (3, true));
    assert_eq!(second.tls.name.as_deref(), Some("app.internal"));
    assert!(second.tls.ca.is_some() && second.tls.identity.is_some());
    let check = pool.check.as_ref().unwrap();
    assert_eq!((check.every, check.up, check.down), (5, 1, 2));
    assert_eq!(
        check.json,
        [("dependencies.db".to_owned(), "up".to_owned())]
    );
}

#[test]
fn a_policy_written_out_again_has_the_same_front_and_every_key_counts() {
    let policy = load(TEXT);
    let again = policy::load(&policy.canonical()).unwrap().policy;
    for ((_, one), (_, other)) in policy.apps().zip(again.apps()) {
        assert_eq!(one, other);
    }
    assert_eq!(policy.digest(), again.digest());
    for (from, into) in [
        ("weight = 3", "weight = 4"),
        ("drain = true", "drain = false"),
        ("name = \"app.internal\"", "name = \"app.other\""),
        (
            "balance = \"least-connections\"",
            "balance = \"round-robin\"",
        ),
        ("sticky = true", "sticky = false"),
        ("down = 2", "down = 3"),
        ("concurrency = 40", "concurrency = 41"),
        ("failures = 4", "failures = 5"),
        ("rest = \"15s\"", "rest = \"16s\""),
        ("\"10.0.0.0/24\"", "\"10.0.0.0/16\""),
        ("maintenance = true\n", ""),
        (
            "\"dependencies.db\" = \"up\"",
            "\"dependencies.db\" = \"down\"",
        ),
        ("connect = \"2s\"", "connect = \"3s\""),
        ("\"100MiB\"", "\"101MiB\""),
        ("preset = \"owasp\"", "preset = \"spa\""),
        ("strip-prefix = \"/api\"\n", ""),
        ("add-prefix = \"/v1\"", "add-prefix = \"/v2\""),
        ("[\"read\", \"POST\"]", "\"read\""),
        ("credentials = true", "credentials = false"),
        ("cors = false\n", ""),
        ("websocket = false\n", ""),
        ("fallback = \"home.html\"", "fallback = \"index.html\""),
        ("immutable", "private"),
        ("X-Note = \"a\"", "X-Note = \"b\""),
        ("\"X-Old\"", "\"X-New\""),
        ("min = \"2KiB\"", "min = \"3KiB\""),
        ("status = 301", "status = 302"),
        ("ttl = \"5m\"", "ttl = \"6m\""),
        ("stale = \"1h\"", "stale = \"2h\""),
        ("the same for all\"", "the same for you\""),
        ("most = \"64KiB\"", "most = \"65KiB\""),
        ("cache = false\n", ""),
        ("h2c://10.0.0.5", "h2://10.0.0.5"),
        ("h2c://10.0.0.5", "http://10.0.0.5"),
        ("https://a.example/*", "https://a.example/"),
    ] {
        assert!(TEXT.contains(from), "{from}");
        let other = load(&TEXT.replacen(from, into, 1));
        assert_ne!(policy.digest(), other.digest(), "{from}");
    }
}
