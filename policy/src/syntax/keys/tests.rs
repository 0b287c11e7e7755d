//! Every key of the language, changed: the diff says so, or a reason why not stands here.

use std::collections::BTreeSet;

use super::*;
use crate::source::Sources;
use crate::{Diff, Policy};

/// A policy that has every key.
const ALL: &str = include_str!("all.toml");
const USERS: &str = "postern = 1\n[user.nadia]\nname = \"Nadia\"\nmail = \"n@a.example\"\nlanguage = \"fr\"\n\
     disabled = false\nattributes = { team = \"make\" }\n[user.olivier]\n[user.ines]\n";
const TENANT_USERS: &str = "postern = 1\n[user.xenia]\n";
const TENANT_FILE: &str = "postern = 1\n[group]\nown = [\"xenia\"]\n[app.shop]\nhost = \"shop.acme.example\"\n\
     upstream = \"http://10.0.0.9\"\nallow.own = { who = \"@own\" }\n";
const LIST: &str = "203.0.113.0/24\n";

const TESTS: &str = r#"
[[test]]
name = "it"
as = { user = "nadia", groups = ["it"], from = "office", at = "2026-10-12 10:00", device = "managed", mfa = "1m", login = "1m" }
to = "https://web.example/"
expect = "allow"
[[invariant]]
name = "it only"
reach = ["app.web/a"]
only = "@it"
never = "@former"
requires = { login = "2d" }
"#;

const TABLES: [(&str, Keys); 30] = [
    ("FILE", FILE),
    ("TENANT", TENANT),
    ("QUOTA", QUOTA),
    ("USER", USER),
    ("DEFAULT", DEFAULT),
    ("TUNNEL", TUNNEL),
    ("DNS", DNS),
    ("REPROVE", REPROVE),
    ("SCHEDULE", SCHEDULE),
    ("APP", APP),
    ("AREA", AREA),
    ("UPSTREAM", UPSTREAM),
    ("CHECK", CHECK),
    ("BREAKER", BREAKER),
    ("TIMEOUT", TIMEOUT),
    ("STATIC", STATIC),
    ("REDIRECT", REDIRECT),
    ("CORS", CORS),
    ("CACHE", CACHE),
    ("COMPRESS", COMPRESS),
    ("ALLOW", ALLOW),
    ("ALLOW_PLAIN", ALLOW_PLAIN),
    ("ALLOW_ADMIN", ALLOW_ADMIN),
    ("NET", NET),
    ("DENY", DENY),
    ("ADMIN", ADMIN),
    ("TEST", TEST),
    ("AS", AS),
    ("INVARIANT", INVARIANT),
    ("REQUIRES", REQUIRES),
];

/// Keys whose change no diff shows, and why.
const SILENT: [(&str, &str, &str); 28] = [
    ("FILE", "postern", "there is one version"),
    ("FILE", "test", TRIED),
    ("FILE", "invariant", TRIED),
    ("TENANT", "dir", "where files lie, not what they say"),
    ("TEST", "name", TRIED),
    ("TEST", "as", TRIED),
    ("TEST", "to", TRIED),
    ("TEST", "expect", TRIED),
    ("AS", "user", TRIED),
    ("AS", "groups", TRIED),
    ("AS", "from", TRIED),
    ("AS", "at", TRIED),
    ("AS", "device", TRIED),
    ("AS", "by", TRIED),
    ("AS", "mfa", TRIED),
    ("AS", "login", TRIED),
    ("INVARIANT", "name", TRIED),
    ("INVARIANT", "reach", TRIED),
    ("INVARIANT", "only", TRIED),
    ("INVARIANT", "never", TRIED),
    ("INVARIANT", "requires", TRIED),
    ("INVARIANT", "who", TRIED),
    ("INVARIANT", "can-reach", TRIED),
    ("INVARIANT", "tenants-disjoint", TRIED),
    ("REQUIRES", "device", TRIED),
    ("REQUIRES", "mfa", TRIED),
    ("REQUIRES", "login", TRIED),
    ("REQUIRES", "from", TRIED),
];
const TRIED: &str = "tried when the files load, and decides nothing afterwards";

/// A change: table, key, what is written and what instead.
type Case = (&'static str, &'static str, &'static str, &'static str);

#[rustfmt::skip]
const CASES: &[Case] = &[
    ("FILE", "zone", "office = \"192.168.1.0/24\"", "office = \"192.168.2.0/24\""),
    ("FILE", "zone-group", "sites = [\"office\", \"partners\"]", "sites = [\"office\"]"),
    ("FILE", "zone-file", "203.0.113.0/24", "198.51.100.0/24"),
    ("FILE", "schedule", "time = \"08:00-18:00\"", "time = \"08:00-19:00\""),
    ("FILE", "group", "hr = [\"ines\"]", "hr = [\"olivier\"]"),
    ("FILE", "group-from", "attr:team=make", "attr:team=sell"),
    ("FILE", "group-optional", "former = []", "former = [\"olivier\"]"),
    ("FILE", "user", "\"Nadia\"", "\"Nadja\""),
    ("FILE", "default", "hide = false", "hide = true"),
    ("FILE", "tunnel", "moved = true", "moved = false"),
    ("FILE", "rate", "slow = \"1/s\"", "slow = \"2/s\""),
    ("FILE", "headers", "[headers.who]\nX-User = \"{user}\"", "[headers.who]\nX-User = \"{groups}\""),
    ("FILE", "app", "\"web.example\"", "\"site.example\""),
    ("FILE", "net", "allow.robot = { who = \"olivier\" }", "allow.robot = { who = [\"olivier\", \"ines\"] }"),
    ("FILE", "deny", "[deny.out]\nwho = \"@former\"", "[deny.out]\nwho = \"nadia\""),
    ("FILE", "admin", "allow.boss = { who = \"nadia\" }", "allow.boss = { who = \"ines\" }"),
    ("FILE", "tenant", "domains = [\"shop.acme.example\"]", "domains = [\"shop.acme.example\", \"b.example\"]"),
    ("TENANT", "domains", "domains = [\"shop.acme.example\"]", "domains = [\"shop.acme.example\", \"b.example\"]"),
    ("TENANT", "quota", "apps = 5", "apps = 6"),
    ("QUOTA", "apps", "apps = 5", "apps = 6"),
    ("QUOTA", "allows", "allows = 50", "allows = 60"),
    ("USER", "name", "\"Nadia\"", "\"Nadja\""),
    ("USER", "mail", "n@a.example", "n@b.example"),
    ("USER", "language", "\"fr\"", "\"de\""),
    ("USER", "disabled", "disabled = false", "disabled = true"),
    ("USER", "attributes", "team = \"make\"", "team = \"make\", room = \"1\""),
    ("DEFAULT", "mfa", "mfa = \"session\"", "mfa = \"none\""),
    ("DEFAULT", "login", "login = \"10h\"", "login = \"11h\""),
    ("DEFAULT", "rate", "login = \"10h\"\nrate = \"slow\"", "login = \"10h\"\nrate = \"fast\""),
    ("DEFAULT", "device", "device = \"any\"\nheaders", "device = \"known\"\nheaders"),
    ("DEFAULT", "headers", "headers = \"who\"\nidle", "headers = \"what\"\nidle"),
    ("DEFAULT", "idle", "idle = \"2h\"", "idle = \"3h\""),
    ("DEFAULT", "sessions", "sessions = 5", "sessions = 6"),
    ("DEFAULT", "extend", "extend = \"1h\"", "extend = \"2h\""),
    ("DEFAULT", "hide", "hide = false", "hide = true"),
    ("TUNNEL", "sign-in", "sign-in = \"tunnel\"", "sign-in = \"web\""),
    ("TUNNEL", "reprove", "reprove =", "#"),
    ("TUNNEL", "headless", "\"olivier/robot\"", "\"olivier/*\""),
    ("TUNNEL", "dns", "dns =", "#"),
    ("DNS", "others", "others = \"refuse\"", "others = \"forward\""),
    ("DNS", "quarantine", "quarantine = \"own\"", "quarantine = \"forward\""),
    ("DNS", "refuse", ", \"ads.example\"]", "]"),
    ("REPROVE", "moved", "moved = true, ", ""),
    ("REPROVE", "after", "after = \"8h\"", "after = \"9h\""),
    ("REPROVE", "idle", "after = \"8h\", idle = \"1h\"", "after = \"8h\""),
    ("SCHEDULE", "days", "mon-fri", "mon-sat"),
    ("SCHEDULE", "time", "08:00", "07:00"),
    ("SCHEDULE", "between", "2026-12-31", "2027-12-31"),
    ("SCHEDULE", "tz", "Europe/Paris", "America/Lima"),
    ("APP", "host", "\"web.example\"", "[\"web.example\", \"www.example\"]"),
    ("APP", "windows", "windows = false", "windows = true"),
    ("APP", "case-insensitive", "case-insensitive = false", "case-insensitive = true"),
    ("APP", "headers", "shadow = false\nheaders = \"who\"\nupstream", "shadow = false\nheaders = \"what\"\nupstream"),
    ("APP", "encoded-slashes", "encoded-slashes = false", "encoded-slashes = true"),
    ("APP", "empty-segments", "empty-segments = false", "empty-segments = true"),
    ("APP", "path-params", "path-params = false", "path-params = true"),
    ("APP", "preflight", "preflight = false", "preflight = true"),
    ("APP", "shadow", "preflight = false\nshadow = false", "preflight = false\nshadow = true"),
    ("APP", "public", "allow.it = { who = \"@it\", from = \"office\", when = \"day\", device = \"known\", mfa = \"15m\"", "public = \"all\"\nallow.x = { who = \"anyone\" }\nallow.it = { who = \"@it\", mfa = \"15m\""),
    ("APP", "allow", "allow.hr = { who = \"@hr\", from = \"sites\" }", "allow.hr = { who = \"@hr\" }"),
    ("APP", "upstream", "https://10.0.0.1", "https://10.0.0.3"),
    ("APP", "balance", "round-robin", "least-connections"),
    ("APP", "sticky", "sticky = false", "sticky = true"),
    ("APP", "check", "check =", "#"),
    ("APP", "concurrency", "concurrency = 9", "concurrency = 8"),
    ("APP", "breaker", "breaker =", "#"),
    ("APP", "upstream-networks", "upstream-networks = [\"10.0.0.0/24\"]", "upstream-networks = [\"10.0.0.0/16\"]"),
    ("APP", "static", "static = { root = \"/srv/a\", index = \"index.html\", fallback = \"app.html\" }", "upstream = \"http://10.0.0.4\""),
    ("APP", "redirect", "redirect = { to = \"https://b.example/\", status = 302 }", "upstream = \"http://10.0.0.4\""),
    ("APP", "timeout", "timeout = { connect", "# {"),
    ("APP", "body-max", "1MiB\"\nmethods", "2MiB\"\nmethods"),
    ("APP", "methods", "methods = [\"GET\", \"POST\"]\nweb", "methods = [\"GET\"]\nweb"),
    ("APP", "websocket", "websocket = false", "websocket = true"),
    ("APP", "strip-prefix", "strip-prefix =", "#"),
    ("APP", "add-prefix", "\"/b\"", "\"/c\""),
    ("APP", "preset", "owasp", "spa"),
    ("APP", "set", "x-one = \"1\"", "x-one = \"2\""),
    ("APP", "add", "x-two = \"2\"", "x-three = \"2\""),
    ("APP", "remove", "\"server\"", "\"x-powered-by\""),
    ("APP", "keep-app", "keep-app = [\"x-one\"]", "keep-app = [\"x-two\"]"),
    ("APP", "csp-report-only", "csp-report-only = false", "csp-report-only = true"),
    ("APP", "csp-reports", "csp-reports = false", "csp-reports = true"),
    ("APP", "cors", "cors =", "#"),
    ("APP", "compress", "compress =", "#"),
    ("APP", "cache", "cache =", "#"),
    ("APP", "maintenance", "maintenance = false", "maintenance = true"),
    ("APP", "justify", "justify = \"1h\"", "justify = \"2h\""),
    ("AREA", "public", "\"a list\"", "\"lists\""),
    ("AREA", "allow", "allow.hr = { who = \"@hr\", shadow", "allow.hr = { who = \"@it\", shadow"),
    ("AREA", "headers", "\nheaders = \"who\"\npublic", "\nheaders = \"what\"\npublic"),
    ("AREA", "shadow", "[app.web.\"/files\"]\nshadow = false", "[app.web.\"/files\"]\nshadow = true"),
    ("UPSTREAM", "url", "https://10.0.0.1", "https://10.0.0.3"),
    ("UPSTREAM", "weight", "weight = 2", "weight = 3"),
    ("UPSTREAM", "drain", "drain = false", "drain = true"),
    ("UPSTREAM", "name", "a.example\", ca", "b.example\", ca"),
    ("UPSTREAM", "ca", "ca.pem", "ca2.pem"),
    ("UPSTREAM", "cert", "c.pem\", key", "c2.pem\", key"),
    ("UPSTREAM", "key", "k.pem", "k2.pem"),
    ("CHECK", "path", "\"/ok\"", "\"/fine\""),
    ("CHECK", "status", "status = 200", "status = 204"),
    ("CHECK", "every", "every = \"5s\"", "every = \"6s\""),
    ("CHECK", "timeout", "timeout = \"2s\"", "timeout = \"3s\""),
    ("CHECK", "up", "up = 2", "up = 3"),
    ("CHECK", "down", "down = 3", "down = 4"),
    ("CHECK", "body", "\"fine\"", "\"well\""),
    ("CHECK", "json", "state = \"up\"", "state = \"on\""),
    ("BREAKER", "failures", "failures = 3", "failures = 4"),
    ("BREAKER", "rest", "rest = \"5s\"", "rest = \"6s\""),
    ("TIMEOUT", "connect", "connect = \"5s\"", "connect = \"6s\""),
    ("TIMEOUT", "head", "head = \"30s\"", "head = \"31s\""),
    ("TIMEOUT", "idle", "idle = \"30s\"", "idle = \"31s\""),
    ("TIMEOUT", "stream", "stream = \"1h\"", "stream = \"2h\""),
    ("TIMEOUT", "body", "body = \"3h\"", "body = \"4h\""),
    ("STATIC", "root", "/srv/a", "/srv/b"),
    ("STATIC", "index", "index.html", "start.html"),
    ("STATIC", "fallback", "app.html", "spa.html"),
    ("REDIRECT", "to", "https://b.example/", "https://c.example/"),
    ("REDIRECT", "status", "302", "301"),
    ("CORS", "origins", "https://a.example", "https://c.example"),
    ("CORS", "methods", "methods = [\"GET\"]", "methods = [\"GET\", \"PUT\"]"),
    ("CORS", "headers", "x-a", "x-c"),
    ("CORS", "expose", "x-b", "x-c"),
    ("CORS", "credentials", "credentials = false", "credentials = true"),
    ("CORS", "max-age", "max-age = \"1h\"", "max-age = \"2h\""),
    ("CACHE", "ttl", "ttl = \"1m\"", "ttl = \"2m\""),
    ("CACHE", "stale", "stale = \"1m\"", "stale = \"2m\""),
    ("CACHE", "shared", "shared = \"news\"", "shared = \"the same for all\""),
    ("CACHE", "most", "most = \"1MiB\"", "most = \"2MiB\""),
    ("COMPRESS", "types", "text/html", "text/css"),
    ("COMPRESS", "min", "min = \"1KiB\"", "min = \"2KiB\""),
    ("COMPRESS", "level", "level = 5", "level = 6"),
    ("ALLOW", "who", "who = \"@hr\", from", "who = \"@it\", from"),
    ("ALLOW", "from", "from = \"sites\"", "from = \"tunnel\""),
    ("ALLOW", "when", "when = \"day\", device = \"known\", mfa = \"15m\"", "device = \"known\", mfa = \"15m\""),
    ("ALLOW", "device", "device = \"known\", mfa = \"15m\"", "device = \"any\", mfa = \"15m\""),
    ("ALLOW", "mfa", "mfa = \"15m\"", "mfa = \"16m\""),
    ("ALLOW", "login", "mfa = \"15m\", login = \"9h\"", "mfa = \"15m\", login = \"8h\""),
    ("ALLOW", "idle", "idle = \"1h\", sessions", "idle = \"2h\", sessions"),
    ("ALLOW", "sessions", "sessions = 3", "sessions = 4"),
    ("ALLOW", "methods", "sessions = 3, methods = [\"GET\", \"POST\"]", "sessions = 3, methods = [\"GET\"]"),
    ("ALLOW", "rate", "\"POST\"], rate = \"slow\"", "\"POST\"], rate = \"fast\""),
    ("ALLOW", "headers", "rate = \"slow\", headers = \"who\"", "rate = \"slow\", headers = \"what\""),
    ("ALLOW", "shadow", "headers = \"who\", shadow = false", "headers = \"who\", shadow = true"),
    ("ALLOW_PLAIN", "who", "allow.robot = { who = \"olivier\" }", "allow.robot = { who = \"nadia\" }"),
    ("ALLOW_PLAIN", "from", "from = \"office\", when = \"day\", device = \"managed\"", "when = \"day\", device = \"managed\""),
    ("ALLOW_PLAIN", "when", "when = \"day\", device = \"managed\"", "device = \"managed\""),
    ("ALLOW_PLAIN", "device", "device = \"managed\"", "device = \"known\""),
    ("ALLOW_PLAIN", "mfa", "mfa = \"8h\"", "mfa = \"9h\""),
    ("ALLOW_PLAIN", "login", "mfa = \"8h\", login = \"9h\"", "mfa = \"8h\", login = \"8h\""),
    ("ALLOW_PLAIN", "idle", "idle = \"30m\"", "idle = \"31m\""),
    ("ALLOW_PLAIN", "sessions", "sessions = 2", "sessions = 3"),
    ("ALLOW_PLAIN", "rate", "sessions = 2, rate = \"slow\"", "sessions = 2, rate = \"fast\""),
    ("ALLOW_PLAIN", "shadow", "sessions = 2, rate = \"slow\", shadow = false", "sessions = 2, rate = \"slow\", shadow = true"),
    ("ALLOW_ADMIN", "who", "allow.boss = { who = \"nadia\" }", "allow.boss = { who = \"ines\" }"),
    ("ALLOW_ADMIN", "from", "from = \"office\", when = \"day\", device = \"known\", mfa = \"5m\"", "when = \"day\", device = \"known\", mfa = \"5m\""),
    ("ALLOW_ADMIN", "when", "when = \"day\", device = \"known\", mfa = \"5m\"", "device = \"known\", mfa = \"5m\""),
    ("ALLOW_ADMIN", "device", "device = \"known\", mfa = \"5m\"", "device = \"managed\", mfa = \"5m\""),
    ("ALLOW_ADMIN", "mfa", "mfa = \"5m\"", "mfa = \"6m\""),
    ("ALLOW_ADMIN", "login", "login = \"8h\"", "login = \"7h\""),
    ("ALLOW_ADMIN", "idle", "idle = \"20m\"", "idle = \"21m\""),
    ("ALLOW_ADMIN", "sessions", "sessions = 1", "sessions = 2"),
    ("ALLOW_ADMIN", "methods", "methods = \"read\"", "methods = \"POST\""),
    ("ALLOW_ADMIN", "rate", "methods = \"read\", rate = \"slow\"", "methods = \"read\", rate = \"fast\""),
    ("ALLOW_ADMIN", "shadow", "methods = \"read\", rate = \"slow\", shadow = false", "methods = \"read\", rate = \"slow\", shadow = true"),
    ("NET", "to", "to = \"10.0.0.1\"", "to = \"10.0.0.2\""),
    ("NET", "port", "22/tcp", "23/tcp"),
    ("NET", "allow", "allow.robot = { who = \"olivier\" }", "allow.robot = { who = \"nadia\" }"),
    ("NET", "shadow", "port = \"22/tcp\"\nshadow = false", "port = \"22/tcp\"\nshadow = true"),
    ("APP", "device-only", "\"web.example\"", "\"web.example\"\ndevice-only = true"),
    ("APP", "tokens", "\"web.example\"", "\"web.example\"\ntokens = \"30d\""),
    ("DENY", "who", "who = [\"@hr\", \"olivier\"]\n", "who = \"@it\"\n"),
    ("DENY", "from", "\nfrom = \"office\"\nwhen", "\nwhen"),
    ("DENY", "when", "when = \"day\"\nunless-when = \"noon\"", "unless-when = \"noon\""),
    ("DENY", "unless-when", "unless-when = \"noon\"\n", ""),
    ("DENY", "device-not", "device-not = \"managed\"\n", ""),
    ("DENY", "on", "on = [\"app.web\"]\n", ""),
    ("DENY", "reason", "\"left\"", "\"gone\""),
    ("DENY", "shadow", "reason = \"late\"\nshadow = false", "reason = \"late\"\nshadow = true"),
    ("ADMIN", "allow", "allow.boss = { who = \"nadia\" }", "allow.boss = { who = \"ines\" }"),
    ("ADMIN", "shadow", "[admin]", "[admin]\nshadow = true"),
];

fn load(change: impl Fn(&str) -> String) -> Policy {
    try_load(change).unwrap_or_else(|said| panic!("{said}"))
}

fn try_load(change: impl Fn(&str) -> String) -> Result<Policy, String> {
    let mut sources = Sources::new();
    sources.add("policy.toml", change(ALL));
    sources.add("users.toml", change(USERS));
    sources.add_list("partners.txt", "partners.txt", change(LIST));
    sources.add_at("acme/policy.toml", "acme/policy.toml", change(TENANT_FILE));
    sources.add_at(
        "acme/users.toml",
        "acme/users.toml",
        TENANT_USERS.to_owned(),
    );
    let loaded = crate::load(&sources).map_err(|diags| {
        let lines: Vec<String> = diags.iter().map(|d| d.one_line(&sources)).collect();
        lines.join("\n")
    });
    Ok(loaded?.policy)
}

/// What comes of one change.
fn changed(before: &Policy, (_, key, from, to): &Case) -> Result<Diff, String> {
    let texts = [ALL, USERS, LIST, TENANT_FILE];
    assert!(texts.iter().any(|text| text.contains(from)), "{key} {from}");
    let after = try_load(|text| text.replacen(from, to, 1))?;
    Ok(crate::diff(before, &after))
}

#[test]
fn every_table_of_keys_is_looked_at() {
    let text = include_str!("../keys.rs");
    let written = text.lines().filter_map(|line| {
        let (name, _) = line
            .strip_prefix("pub(super) const ")?
            .split_once(": Keys")?;
        Some(name)
    });
    let known: BTreeSet<&str> = TABLES.iter().map(|(name, _)| *name).collect();
    assert_eq!(written.collect::<BTreeSet<_>>(), known);
}

#[test]
fn every_key_that_changes_shows_in_the_diff_or_has_a_reason() {
    for (name, table) in TABLES {
        for key in table.known() {
            let is =
                |of: &str, own: &str| own == key && (of == name || (name, of) == ("AREA", "APP"));
            let tried = CASES.iter().any(|(of, own, ..)| is(of, own));
            let silent = SILENT.iter().any(|(of, own, _)| is(of, own));
            assert!(
                tried != silent,
                "`{key}` of {name} needs a case or a reason, and one of them"
            );
        }
    }
}

#[test]
fn each_case_shows_in_the_diff() {
    let before = load(str::to_owned);
    let (mut missing, mut told) = (Vec::new(), String::new());
    for case in CASES {
        let (table, key, ..) = case;
        let diff = match changed(&before, case) {
            Ok(diff) => diff,
            Err(said) => {
                missing.push(format!("{table} {key} does not load: {said}"));
                continue;
            }
        };
        let text = diff.to_text();
        let settings = text.lines().filter(|line| line.contains(" setting "));
        let lines: String = settings.map(|line| format!("    {line}\n")).collect();
        let access = diff.changes.len();
        told.push_str(&format!(
            "{table} {key}: {access} changes of access\n{lines}"
        ));
        let said = |own: &str| own.split('.').any(|part| part == *key) || own == "upstream";
        let named = diff.settings.iter().any(|setting| said(&setting.key));
        let any = *table == "FILE" && !diff.settings.is_empty();
        if !named && !any && diff.changes.is_empty() {
            missing.push(format!("{table} {key}: {}", diff.to_text()));
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    golden(&told);
}

/// Compares with the golden file; `BLESS=1` writes it.
#[expect(clippy::disallowed_methods, reason = "a test reads its file")]
fn golden(told: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/syntax/keys/diffs.txt");
    if std::env::var("BLESS").is_ok_and(|value| value == "1") {
        std::fs::write(path, told).unwrap();
    }
    let want = std::fs::read_to_string(path).unwrap();
    assert!(
        told == want,
        "{path} differs (BLESS=1 refreshes it)\n{told}"
    );
}

#[test]
fn a_key_with_a_reason_shows_in_no_diff() {
    let with = |tried: &str| {
        load(|text| {
            if text == ALL {
                [text, tried].concat()
            } else {
                text.to_owned()
            }
        })
    };
    let before = with(TESTS);
    for (from, to) in [
        ("name = \"it\"", "name = \"they\""),
        ("groups = [\"it\"], ", ""),
        ("never = \"@former\"\n", ""),
        ("login = \"2d\"", "login = \"3d\""),
        (TESTS, ""),
    ] {
        assert!(TESTS.contains(from), "{from}");
        let after = with(&TESTS.replacen(from, to, 1));
        assert_eq!(crate::diff(&before, &after).to_text(), "no change\n");
    }
}
