//! `postern import nginx`: the three nginx blocks of common deployment guides become policies that say what those
//! written by hand say, and nobody is let in until somebody is named.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use postern_tests::curl::{Client, host};
use postern_tests::gateway::{Gateway, binary};
use postern_tests::guides::{Block, ERP, KPI, PAYROLL, onward, server};
use postern_tests::origin::Origin;
use postern_tests::temp::Temp;
use serde_json::Value;

const NAME: &str = "app.gate.localhost";

fn postern(args: &[&str]) -> Output {
    Command::new(binary()).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A guide's files, imported.
struct Imported {
    dir: Temp,
    out: PathBuf,
    answer: Value,
}

impl Imported {
    fn new(block: &Block, port: u16) -> Self {
        let dir = Temp::new();
        let conf = onward(block, 80, NAME) + &server(block, dir.path(), 443, port, NAME);
        let conf = dir.write("site.conf", conf);
        let out = dir.path().join("policy");
        let output = postern(&[
            "import",
            "nginx",
            conf.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
            "--admin",
            "demo",
            "--json",
        ]);
        assert!(output.status.success(), "{output:?}");
        let answer = serde_json::from_slice(&output.stdout).unwrap();
        Self { dir, out, answer }
    }

    fn apps(&self) -> String {
        fs::read_to_string(self.out.join("nginx.toml")).unwrap()
    }

    fn console(&self) -> String {
        fs::read_to_string(self.out.join("policy.toml")).unwrap()
    }

    /// What became of the first directive that begins so.
    fn verdict(&self, directive: &str) -> (&str, &str) {
        let rows = self.answer["directives"].as_array().unwrap();
        let begins = |row: &&Value| row["directive"].as_str().unwrap().starts_with(directive);
        let row = rows
            .iter()
            .find(begins)
            .unwrap_or_else(|| panic!("no {directive}: {rows:#?}"));
        (
            row["verdict"].as_str().unwrap(),
            row["says"].as_str().unwrap(),
        )
    }

    /// `OF KEY: BEFORE -> AFTER` for each setting in which it differs from the policy written by hand.
    fn differences(&self, block: &Block, port: u16) -> Vec<String> {
        let rule = "allow.app = { who = \"@app\" }";
        let areas = block
            .areas
            .replace("allow.people = { who = [\"demo\"] }", rule);
        let hand = format!(
            "postern = 1\n[group]\nadmins = [\"demo\"]\napp = []\n[admin]\n\
             allow.admins = {{ who = \"@admins\", mfa = \"30m\" }}\n[app.app]\nhost = \"{NAME}\"\n\
             upstream = \"http://127.0.0.1:{port}\"\n{}\n{rule}\n{areas}",
            block.app
        );
        self.dir.write("hand/policy.toml", hand);
        let hand = self.dir.path().join("hand");
        let (hand, out) = (hand.to_str().unwrap(), self.out.to_str().unwrap());
        let output = postern(&["policy", "diff", hand, out, "--json"]);
        assert!(output.status.success(), "{output:?}");
        let diff: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(diff["changes"].as_array().unwrap().len(), 0, "{diff}");
        let settings = diff["settings"].as_array().unwrap().iter();
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let line = |s: &Value| {
            let [of, key, before, after] = ["of", "key", "before", "after"].map(|k| word(&s[k]));
            format!("{of} {key}: {before} -> {after}")
        };
        settings.map(line).collect()
    }
}

fn check(dir: &Path) {
    let output = postern(&["policy", "check", "--policy", dir.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_guides_become_the_policies_that_were_written_for_them_by_hand() {
    let pay: &[&str] = &[
        // the guide's limit, which the policy by hand leaves to the gateway's own sign-in
        "app.app/login#app rule: - -> { device = \"any\", login = \"12h\", mfa = \"session\", rate = \"login\", who = [\"@app\"] }",
        "rate login: - -> \"5/m burst 5\"",
    ];
    let orders: &[&str] = &[
        // the block sets no fields of security; the gateway's own stand where the app sets none
        "app.app/ preset: \"none\" -> -",
        // nginx passes none on unless told
        "app.app/ websocket: - -> false",
    ];
    let figures: &[&str] = &[
        "app.app/ websocket: - -> false",
        // one answer for all needs a reason, which only a person can give
        "app.app/api cache.shared: \"figures are the same for all\" -> -",
    ];
    for (block, expected) in [(PAYROLL, pay), (ERP, orders), (KPI, figures)] {
        let imported = Imported::new(&block, 8501);
        check(&imported.out);
        let found = imported.differences(&block, 8501);
        assert_eq!(found, expected, "{}\n{}", block.name, imported.apps());
        let apps = imported.apps();
        assert!(apps.contains("\napp = []"), "{apps}");
        assert!(
            !apps.contains("any-user") && !apps.contains("anyone"),
            "{apps}"
        );
        assert_eq!(
            imported.answer["counts"]["not-understood"], 0,
            "{:#}",
            imported.answer
        );
    }
}

#[test]
fn each_line_of_the_guides_is_told_once_with_what_became_of_it() {
    let pay = Imported::new(&PAYROLL, 8501);
    for (directive, verdict, says) in [
        ("limit_req_zone", "carried", "5/m"),
        ("limit_req zone=login", "differs", "429"),
        ("client_max_body_size", "differs", "server.maxUploadSize"),
        (
            "add_header Strict-Transport-Security",
            "carried",
            "dashboard",
        ),
        ("ssl_ciphers", "done", "TLS"),
        ("ssl_certificate ", "done", "certificates"),
        ("return 301", "done", "HTTPS"),
        ("proxy_set_header Upgrade", "carried", "websocket = true"),
        ("proxy_set_header X-Real-IP", "done", "client"),
        ("proxy_read_timeout", "differs", "timeout.stream = \"24h\""),
        ("location /login", "differs", "default folder"),
    ] {
        let (found, text) = pay.verdict(directive);
        assert_eq!(found, verdict, "{directive}: {text}");
        assert!(text.contains(says), "{directive}: {text}");
    }
    let figures = Imported::new(&KPI, 8000);
    for (directive, verdict, says) in [
        ("proxy_cache api_cache", "differs", "for each person"),
        ("proxy_cache_valid", "carried", "5m"),
        ("gzip_types", "carried", "text/html"),
        ("expires", "carried", "max-age=31536000"),
        ("add_header Cache-Control", "differs", "nginx drops"),
        ("(client_max_body_size is not written)", "carried", "1MiB"),
    ] {
        let (found, text) = figures.verdict(directive);
        assert_eq!(found, verdict, "{directive}: {text}");
        assert!(text.contains(says), "{directive}: {text}");
    }
    let conf = figures.dir.path().join("site.conf");
    let lines = fs::read_to_string(&conf).unwrap();
    let rows = figures.answer["directives"].as_array().unwrap();
    for row in rows {
        let (line, column) = (
            row["line"].as_u64().unwrap(),
            row["column"].as_u64().unwrap(),
        );
        let at = lines
            .lines()
            .nth(usize::try_from(line).unwrap() - 1)
            .unwrap();
        let rest: String = at
            .chars()
            .skip(usize::try_from(column).unwrap() - 1)
            .collect();
        let name = row["directive"]
            .as_str()
            .unwrap()
            .split(' ')
            .next()
            .unwrap();
        assert!(name.starts_with('(') || rest.starts_with(name), "{row}");
        assert_eq!(row["file"].as_str().unwrap(), conf.to_str().unwrap());
    }
}

#[test]
fn an_imported_app_lets_nobody_in_until_somebody_is_named_and_keeps_its_limits_then() {
    let (origin, gateway) = (Origin::new(), Gateway::demo());
    let imported = Imported::new(&PAYROLL, origin.port());
    assert_eq!(host(&gateway.facts.app), NAME);
    let file = gateway.facts.policy.join("nginx.toml");
    fs::write(&file, imported.apps()).unwrap();
    gateway.set_policy(&imported.console());
    let client = Client::new(&gateway);
    let page = client.sign_in(&gateway.facts.portal, &gateway.facts.demo);
    assert_eq!(page.status, 200, "{page:?}");
    assert_eq!(client.follow(&gateway.facts.app).status, 403);

    fs::write(
        &file,
        imported.apps().replace("\napp = []", "\napp = [\"demo\"]"),
    )
    .unwrap();
    gateway.must(&["reload"]);
    let url = format!("{}/echo", gateway.facts.app.trim_end_matches('/'));
    let page = client.follow(&url);
    assert_eq!(page.status, 200, "{page:?}");
    for (name, value) in [
        (
            "strict-transport-security",
            "max-age=31536000; includeSubDomains",
        ),
        ("x-frame-options", "SAMEORIGIN"),
        ("x-content-type-options", "nosniff"),
        ("x-xss-protection", "1; mode=block"),
    ] {
        assert_eq!(page.header(name), Some(value), "{page:?}");
    }
    let login = format!("{}/login", gateway.facts.app.trim_end_matches('/'));
    let got: Vec<u16> = (0..7).map(|_| client.fetch(&login).status).collect();
    assert_eq!(got, [200, 200, 200, 200, 200, 200, 429]);
    assert_eq!(client.fetch(&url).status, 200);
}

/// Site files in folders as Debian has them.
fn debian(dir: &Temp) -> String {
    dir.write(
        "nginx/snippets/proxy.conf",
        "proxy_set_header Host $host;\nproxy_pass http://127.0.0.1:8000;\n",
    );
    dir.write("nginx/sites-enabled/.hidden.conf", "broken {");
    dir.write(
        "nginx/sites-enabled/b.conf",
        "server { listen 443 ssl; server_name b.example; location / { include snippets/proxy.conf; } }",
    );
    dir.write(
        "nginx/sites-enabled/a.conf",
        "server {\n  server_name a.example;\n  location / {\n    include ../snippets/proxy.conf;\n    frobnicate on;\n  }\n}",
    );
    let main = "events {}\nhttp {\n  include mime.types;\n  include sites-enabled/*.conf;\n}\n";
    dir.write("nginx/nginx.conf", main).display().to_string()
}

#[test]
fn files_are_read_with_what_they_include_and_the_list_is_for_people_too() {
    let dir = Temp::new();
    let conf = debian(&dir);
    let out = dir.path().join("new/policy");
    let output = postern(&["import", "nginx", &conf, "--out", out.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    check(&out);
    let table = text(&output.stdout);
    let mut lines = table.lines().filter(|line| line.contains("frobnicate"));
    let line = lines.next().unwrap();
    assert!(
        line.starts_with("! ") && line.contains("a.conf:5 "),
        "{table}"
    );
    let said = text(&output.stderr);
    assert!(
        said.contains("1 not understood") && said.contains("Nobody may use an app yet"),
        "{said}"
    );
    let apps = fs::read_to_string(out.join("nginx.toml")).unwrap();
    assert!(
        apps.contains("[app.a]") && apps.contains("[app.b]"),
        "{apps}"
    );
    assert!(apps.contains("a.conf:5  frobnicate on"), "{apps}");
}

#[test]
fn what_cannot_be_read_or_written_is_told_by_its_code_and_nothing_is_written() {
    let dir = Temp::new();
    let (conf, out) = (debian(&dir), dir.path().join("policy"));
    let out = out.to_str().unwrap();
    let fails = |args: &[&str], code: i32, says: &str| {
        let output = postern(args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
        assert!(!Path::new(out).exists(), "{args:?}");
    };
    let missing = dir.path().join("none.conf").display().to_string();
    let bad = dir
        .write("bad.conf", "server {\n  listen 80\n}\n")
        .display()
        .to_string();
    let lost = dir
        .write("lost.conf", "http {\n  include x.conf;\n}\n")
        .display()
        .to_string();
    let round = dir
        .write("round.conf", "include round.conf;\n")
        .display()
        .to_string();
    let none = dir
        .write("none-of-it.conf", "user www-data;\n")
        .display()
        .to_string();
    fails(&["import", "nginx", &conf], 64, "--out");
    fails(&["import", "nginx", "--out", out], 64, "FILES");
    fails(
        &["import", "nginx", &conf, "--out", out, "--admin", "No Name"],
        64,
        "not a user name",
    );
    fails(
        &["import", "nginx", &missing, "--out", out],
        65,
        "none.conf",
    );
    fails(
        &["import", "nginx", &bad, "--out", out],
        65,
        "bad.conf:2:3: `listen` has no end; write `;`",
    );
    fails(
        &["import", "nginx", &lost, "--out", out],
        65,
        "lost.conf:2:3: cannot read",
    );
    fails(
        &["import", "nginx", &round, "--out", out],
        65,
        "round.conf:1:1: more than",
    );
    fails(&["import", "nginx", &none, "--out", out], 65, "no server");
    let failed = postern(&["import", "nginx", &bad, "--out", out, "--json"]);
    let failed: Value = serde_json::from_slice(&failed.stdout).unwrap();
    assert_eq!(
        (&failed["ok"], &failed["exit"]),
        (&Value::Bool(false), &Value::from(65))
    );

    let used = dir.write("used/mine.txt", "x");
    let used = used.parent().unwrap().to_str().unwrap();
    fails(
        &["import", "nginx", &conf, "--out", used],
        73,
        "not an empty folder",
    );
    fails(
        &["import", "nginx", &conf, "--out", &bad],
        73,
        "not an empty folder",
    );
    fs::create_dir(out).unwrap();
    let output = postern(&["import", "nginx", &conf, "--out", out]);
    assert!(
        output.status.success(),
        "an empty folder is taken: {output:?}"
    );
    let again = postern(&["import", "nginx", &conf, "--out", out]);
    assert_eq!(again.status.code(), Some(73));
    let mut left: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    left.retain(|name| name.to_string_lossy().starts_with('.'));
    assert!(left.is_empty(), "{left:?}");
}
