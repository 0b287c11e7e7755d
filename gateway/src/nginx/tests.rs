mod lines;
mod random;

use policy::Sources;

use super::files::of_text;
use super::{Import, Row, Verdict, translate};

const ADMIN: &str =
    "postern = 1\n[group]\nadmins = [\"a\"]\n[admin]\nallow.admins = { who = \"@admins\" }\n";

fn import(text: &str) -> Import {
    let import = translate(&of_text("site.conf", text).unwrap());
    let mut sources = Sources::new();
    sources.add("policy.toml", ADMIN.to_owned());
    sources.add("nginx.toml", import.text.clone());
    if !import.apps.is_empty() {
        let loaded = policy::load(&sources);
        assert!(loaded.is_ok(), "{text}\n{}\n{loaded:?}", import.text);
    }
    import
}

/// A server with lines of its own and in its location `/`.
fn site(own: &str, inner: &str) -> String {
    format!(
        "server {{ listen 443 ssl; server_name a.example; {own}\n\
         location / {{ proxy_pass http://127.0.0.1:8000; {inner} }} }}"
    )
}

fn row<'a>(import: &'a Import, directive: &str) -> &'a Row {
    let found = import
        .rows
        .iter()
        .find(|row| row.directive.starts_with(directive));
    found.unwrap_or_else(|| panic!("no {directive} in {:#?}", import.rows))
}

fn refused(text: &str) -> String {
    of_text("f", text).unwrap_err().to_string()
}

#[test]
fn what_is_not_nginxs_language_is_refused_in_its_place_and_its_twin_is_read() {
    for (wrong, place, what, right) in [
        ("a \"b;\n", "f:1:3", "this \" is never closed", "a \"b\";\n"),
        (
            "a 'b'c;",
            "f:1:6",
            "`c` right behind a closing quote",
            "a 'b' c;",
        ),
        (
            "a {\n b c;\n",
            "f:1:3",
            "`{` is never closed",
            "a {\n b c;\n}",
        ),
        ("a b;\n}", "f:2:1", "`}` closes nothing", "x { a b;\n}"),
        ("a b\n", "f:1:1", "`a` has no end", "a b;\n"),
        ("x { a b }", "f:1:5", "`a` has no end", "x { a b; }"),
        ("; a b;", "f:1:1", "`;` ends nothing", "a b;"),
        ("{ a b; }", "f:1:1", "`{` opens nothing", "x { a b; }"),
        (
            "x_by_lua_block { if {} ",
            "f:1:16",
            "`{` is never closed",
            "x_by_lua_block { if {} }",
        ),
    ] {
        let error = refused(wrong);
        assert!(error.starts_with(&format!("{place}: ")), "{error}");
        assert!(error.contains(what) && error.contains("; "), "{error}");
        assert!(of_text("f", right).is_ok(), "{right}");
    }
    let deep = |n: usize| "a {".repeat(n) + &"}".repeat(n);
    assert!(refused(&deep(40)).contains("more than 32 blocks"));
    assert!(of_text("f", &deep(30)).is_ok());
}

#[test]
fn words_are_cut_as_nginx_cuts_them() {
    let words = |text: &str| of_text("f", text).unwrap().remove(0).args;
    for (text, expected) in [
        ("a b#c d; # e", &["b#c", "d"][..]),
        ("a 'b c' \"d;e\";", &["b c", "d;e"]),
        (r#"a "q\"q" 'it''s';"#, &[]),
        (r#"a "q\"q" b\ c \.php$;"#, &["q\"q", r"b\ c", r"\.php$"]),
        ("a ${x}y;", &["${x}y"]),
        ("a '';", &[""]),
    ] {
        if expected.is_empty() {
            assert!(of_text("f", text).is_err(), "{text}");
        } else {
            assert_eq!(words(text), expected, "{text}");
        }
    }
}

#[test]
fn each_line_has_one_entry_and_nobody_is_let_in() {
    let text = site(
        "client_max_body_size 5m; frobnicate on; ssl_protocols TLSv1.3;",
        "",
    );
    let import = import(&text);
    let written = import
        .rows
        .iter()
        .filter(|row| !row.directive.starts_with('('));
    assert_eq!(written.count(), 8);
    assert_eq!(
        row(&import, "client_max_body_size").verdict,
        Verdict::Carried
    );
    assert_eq!(row(&import, "ssl_protocols").verdict, Verdict::Done);
    assert_eq!(row(&import, "frobnicate").verdict, Verdict::NotUnderstood);
    assert!(import.text.contains("a = []"), "{}", import.text);
    assert!(import.text.contains("allow.a = { who = \"@a\" }"));
    assert!(import.text.contains("#   site.conf:1  frobnicate on"));
    assert!(!import.text.contains("anyone") && !import.text.contains("any-user"));
}

#[test]
fn an_area_writes_what_the_one_around_it_says_otherwise() {
    let text = "gzip on; server { listen 443 ssl; server_name a.example;
        location / { proxy_pass http://h:1; proxy_read_timeout 9m; add_header X-Own 1; gzip off; }
        location /b { proxy_pass http://h:1; gzip on; }
        location /b/c { proxy_pass http://h:1; gzip off; client_max_body_size 2m; } }";
    let text = import(text).text;
    let (_, areas) = text.split_once("[app.a.\"/b\"]\n").unwrap();
    let (first, second) = areas.split_once("[app.a.\"/b/c\"]\n").unwrap();
    for line in [
        "compress = {",
        "set = {}",
        "timeout.head = \"1m\"",
        "timeout.idle = \"1m\"",
    ] {
        assert!(first.contains(line), "{line} in {text}");
    }
    assert!(
        !first.contains("body-max") && !first.contains("upstream"),
        "{text}"
    );
    assert!(second.contains("compress = false\n") && second.contains("body-max = \"2MiB\""));
    assert!(!second.contains("timeout"), "{text}");
}

#[test]
fn a_limit_is_a_rate_and_nothing_is_held_back_in_a_queue() {
    let site = |limit: &str| {
        let text = "limit_req_zone $binary_remote_addr zone=login:10m rate=5r/m;\n".to_owned();
        import(&(text + &site("", limit)))
    };
    let queued = site("limit_req zone=login burst=5;");
    assert!(
        queued.text.contains("login = \"5/m burst 5\""),
        "{}",
        queued.text
    );
    assert!(queued.text.contains("rate = \"login\""));
    assert_eq!(row(&queued, "limit_req zone").verdict, Verdict::Differs);
    assert!(row(&queued, "limit_req zone").says.contains("429"));
    let quick = site("limit_req zone=login burst=5 nodelay;");
    assert_eq!(row(&quick, "limit_req zone").verdict, Verdict::Carried);
    let single = site("limit_req zone=login;");
    assert!(
        single.text.contains("login = \"5/m burst 1\""),
        "{}",
        single.text
    );
    assert_eq!(row(&single, "limit_req zone").verdict, Verdict::Differs);
    let other = site("limit_req zone=nothing;");
    assert_eq!(
        row(&other, "limit_req zone").verdict,
        Verdict::NotUnderstood
    );
    let of_host = import(
        &("limit_req_zone $host zone=h:1m rate=1r/s;".to_owned()
            + &self::site("", "limit_req zone=h;")),
    );
    assert_eq!(
        row(&of_host, "limit_req_zone").verdict,
        Verdict::NotUnderstood
    );
    assert!(!of_host.text.contains("[rate]"));
}

#[test]
fn a_limit_of_uploads_that_streamlit_does_not_share_is_told() {
    let streamlit = |size: &str| import(&site(size, "").replace(":8000", ":8501"));
    let other = streamlit("client_max_body_size 100m;");
    assert_eq!(row(&other, "client_max").verdict, Verdict::Differs);
    assert!(
        row(&other, "client_max")
            .says
            .contains("server.maxUploadSize")
    );
    let same = streamlit("client_max_body_size 200m;");
    assert_eq!(row(&same, "client_max").verdict, Verdict::Carried);
    let silent = streamlit("");
    assert_eq!(row(&silent, "(client_max").verdict, Verdict::Differs);
}

#[test]
fn what_nginx_counts_to_a_location_by_its_letters_alone_is_told() {
    for (location, differs) in [
        ("/api", true),
        ("^~ /api", true),
        ("/api/", false),
        ("^~ /api/", false),
        ("= /api", false),
        ("=/api", false),
        ("~ ^/api(/|$)", false),
        ("~ ^/api/(.*)$", false),
        ("~ ^/api$", false),
        ("~ ^/api", true),
        ("~ ^/api(.*)$", true),
        ("/", false),
    ] {
        let text = format!(
            "server {{ listen 443 ssl; server_name a.example; location / {{ proxy_pass http://h:1; }}
            location {location} {{ proxy_pass http://h:2; }} }}"
        );
        let text = match location {
            "/" => text.replacen("location / {", "location /b/ {", 1),
            _ => text,
        };
        let import = import(&text);
        let told = import.rows.iter().any(|row| {
            row.directive == "(a slash behind the path is not written)"
                && row.verdict == Verdict::Differs
                && row.says.contains("\"/apix\"")
        });
        assert_eq!(told, differs, "{location}: {:#?}", import.rows);
    }
}

#[test]
fn a_size_of_bodies_where_no_app_answers_is_not_told_as_carried_over() {
    let site = |root: &str, api: &str| {
        import(&format!(
            "client_max_body_size 7m; server {{ listen 443 ssl; server_name a.example;
            location / {{ {root} }} location /api/ {{ {api} }} }}"
        ))
    };
    let (files, pass) = ("root /srv/www;", "proxy_pass http://h:1;");
    let size = "client_max_body_size 5m;";
    for (root, api, verdict) in [
        (format!("{files} {size}"), pass.to_owned(), Verdict::Differs),
        (
            format!("{size} return 301 /b;"),
            pass.to_owned(),
            Verdict::Differs,
        ),
        (files.to_owned(), format!("{pass} {size}"), Verdict::Carried),
    ] {
        let import = site(&root, &api);
        let row = row(&import, "client_max_body_size 5m");
        assert_eq!(row.verdict, verdict, "{row:?}");
        let written = import.text.contains("body-max = \"5MiB\"");
        assert_eq!(written, verdict == Verdict::Carried, "{}", import.text);
    }
}

#[test]
fn groups_of_upstreams_are_lists() {
    let text = |lines: &str| {
        let text = format!("upstream up {{ {lines} }} ") + &site("", "");
        import(&text.replace("127.0.0.1:8000", "up"))
    };
    let two = text(
        "least_conn; server 10.0.0.1:1 weight=3; server unix:/run/s; server h backup; server h2 down;",
    );
    let list = "upstream = [{ url = \"http://10.0.0.1:1\", weight = 3 }, \"unix:/run/s\"]";
    assert!(two.text.contains(list), "{}", two.text);
    assert!(two.text.contains("balance = \"least-connections\""));
    assert_eq!(row(&two, "server h backup").verdict, Verdict::Differs);
    let sticky = text("ip_hash; server a; server b max_fails=2;");
    assert!(sticky.text.contains("sticky = true"));
    for bad in [
        "server 0.0.0.0;",
        "server a weight=0;",
        "server a; server a;",
        "server a:99999;",
        "server a wild;",
    ] {
        let import = text(bad);
        assert!(
            import
                .rows
                .iter()
                .any(|row| row.verdict == Verdict::NotUnderstood),
            "{bad}"
        );
    }
}

#[test]
fn servers_are_apps_by_name_and_what_only_sends_on_is_none() {
    let app = |name: &str, port: &str| {
        format!(
            "server {{ listen {port}; server_name {name}; location / {{ proxy_pass http://h:1; }} }}\n"
        )
    };
    let ids =
        |text: &str| -> Vec<String> { import(text).apps.into_iter().map(|(id, _)| id).collect() };
    assert_eq!(
        ids(&(app("www.a.example", "443 ssl") + &app("a.b.example", "443 ssl"))),
        ["a", "a-2"]
    );
    assert_eq!(
        import(&app(".a.example", "80")).apps[0].1,
        ["a.example", "*.a.example"]
    );
    for nameless in ["_", "~^a", "10.0.0.1", "a.*"] {
        assert!(ids(&app(nameless, "80")).is_empty(), "{nameless}");
    }
    // the one with TLS is the app, wherever it stands
    let twice = app("a.example", "80").replace("h:1", "old:1") + &app("a.example", "443 ssl");
    assert!(import(&twice).text.contains("http://h:1"));
    for on in [
        "return 301 https://$host$request_uri;",
        "return 301 https://a.example$request_uri;",
        "location / { return 301 https://$host$request_uri; }",
        "if ($host = a.example) { return 301 https://$host$request_uri; } return 404;",
        "rewrite ^ https://$server_name$request_uri? permanent;",
    ] {
        let text = format!("server {{ listen 80; server_name a.example; {on} }}");
        let found = import(&text);
        assert!(found.apps.is_empty(), "{on}");
        assert!(
            found.rows.iter().all(|row| row.verdict <= Verdict::Carried),
            "{on}: {:?}",
            found.rows
        );
    }
    let elsewhere =
        "server { listen 80; server_name a.example; return 301 https://b.example$request_uri; }";
    assert!(
        import(elsewhere)
            .text
            .contains("redirect = { to = \"https://b.example/*\", status = 301 }")
    );
    let none = import("server { listen 80 default_server; server_name _; return 444; }");
    assert!(none.apps.is_empty() && none.rows.iter().all(|row| row.verdict == Verdict::Done));
}
