//! The web door: who gets in, who does not, and what each is told.

use std::time::Duration;

use data_encoding::BASE64;
use postern_tests::curl::{Answer, Client, host, origin};
use postern_tests::gateway::Gateway;
use postern_tests::upstream::Recorder;
use postern_tests::{journal, policy, raw, totp};

fn demo() -> (Recorder, Gateway) {
    let recorder = Recorder::new();
    let gateway = Gateway::demo_before(&recorder.url());
    (recorder, gateway)
}

fn is_the_app(answer: &Answer) -> bool {
    answer.status == 200 && answer.body.contains("the recorder saw")
}

#[test]
fn a_browser_is_sent_to_sign_in_and_a_script_is_told() {
    let (recorder, gateway) = demo();
    let (client, app) = (Client::new(&gateway), &gateway.facts.app);
    let navigation = client.open(app);
    assert_eq!(navigation.status, 303);
    let target = navigation.location().unwrap();
    assert_eq!(origin(&target), origin(&gateway.facts.portal));
    let html = "Accept: text/html";
    assert_eq!(client.send(app, &["-I", "-H", html]).status, 303);
    let scripts: [&[&str]; 4] = [
        &[],
        &["-H", html, "-H", "Sec-Fetch-Mode: cors"],
        &["-H", html, "-X", "POST", "-d", "a=1"],
        &["-H", "Accept: application/json"],
    ];
    for args in scripts {
        let answer = client.send(app, args);
        assert_eq!(answer.status, 401, "{args:?}");
        let kind = answer.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("application/json"), "{args:?}: {kind}");
        let json = answer.json();
        assert!(json["error"].is_string(), "{json}");
        let sign_in = json["sign_in"].as_str().unwrap();
        assert!(sign_in.starts_with(&gateway.facts.portal), "{sign_in}");
    }
    assert!(recorder.seen().is_empty());
}

#[test]
fn after_sign_in_the_page_first_asked_for_opens() {
    let (recorder, gateway) = demo();
    let client = Client::new(&gateway);
    let deep = format!("{}reports/2026?month=10&x=%C3%A9", gateway.facts.app);
    let page = client.sign_in(&deep, &gateway.facts.demo);
    assert!(is_the_app(&page), "{page:?}");
    assert_eq!(page.url, deep);
    let seen = recorder.last();
    assert_eq!(seen.target(), "/reports/2026?month=10&x=%C3%A9");
    assert_eq!(seen.values("x-postern-user"), ["demo"]);
    assert_eq!(seen.values("x-forwarded-proto"), ["https"]);
    let authority = origin(&deep).split_once("://").unwrap().1;
    assert_eq!(seen.values("host"), [authority]);
    let cookies = seen.values("cookie").join("; ");
    assert!(!cookies.contains("__Host-postern"), "{cookies}");
    assert!(is_the_app(&client.fetch(&gateway.facts.app)));
}

#[test]
fn a_wrong_password_is_refused_and_the_right_one_is_not() {
    let (recorder, gateway) = demo();
    let (client, demo) = (Client::new(&gateway), &gateway.facts.demo);
    let refused = client.password(&gateway.facts.app, demo, "not the password at all");
    assert!(!refused.body.contains("name=\"code\""), "{}", refused.body);
    assert_eq!(client.open(&gateway.facts.app).status, 303);
    assert!(recorder.seen().is_empty());
    let failed = journal::wait_for(&gateway, "sign-in-failed.1", |_| true);
    assert!(failed["reason"].is_string(), "{failed}");
    let page = client.sign_in(&gateway.facts.app, demo);
    assert!(is_the_app(&page), "{page:?}");
}

#[test]
fn a_name_that_does_not_exist_is_refused_in_the_same_words() {
    let (_recorder, gateway) = demo();
    let demo = &gateway.facts.demo;
    let stranger = postern_tests::gateway::Person::new("nobody-here", "x", "GEZDGNBVGY3TQOJQ");
    let answer = |person| {
        let client = Client::new(&gateway);
        let answer = client.password(&gateway.facts.portal, person, "not the password at all");
        (answer.status, answer.body.replace(&person.user, "NAME"))
    };
    let ((status, page), (other_status, other_page)) = (answer(demo), answer(&stranger));
    assert_eq!(status, other_status);
    assert_eq!(without_tokens(&page), without_tokens(&other_page));
}

/// Drops what is random in a page: values of at least 16 letters.
fn without_tokens(page: &str) -> String {
    let words = page.split(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c)));
    let short: Vec<_> = words.filter(|word| word.len() < 16).collect();
    short.join(" ")
}

#[test]
fn factors_in_a_header_or_in_the_address_open_nothing() {
    let (recorder, gateway) = demo();
    let demo = &gateway.facts.demo;
    let (user, password, code) = (&demo.user, &demo.password, demo.code());
    let pair = BASE64.encode(format!("{user}:{password}").as_bytes());
    let both = BASE64.encode(format!("{user}:{password}{code}").as_bytes());
    let account = format!("{}account", gateway.facts.portal);
    for url in [&gateway.facts.app, &gateway.facts.portal, &account] {
        let asked = format!(
            "{url}?username={user}&user={user}&password={password}&code={code}&token={code}"
        )
        .replace(' ', "+");
        for (url, field) in [
            (url, format!("Authorization: Basic {pair}")),
            (url, format!("Authorization: Basic {both}")),
            (url, format!("Authorization: Bearer {password}")),
            (url, format!("X-Postern-User: {user}")),
            (url, format!("Remote-User: {user}")),
            (&asked, "X-None: of these".to_owned()),
        ] {
            let client = Client::new(&gateway);
            let answer = client.send(url, &["-H", &field]);
            let sent_on = answer.status == 303 || answer.status == 401;
            assert!(sent_on, "{url} {field}: {answer:?}");
            assert_eq!(client.open(&gateway.facts.app).status, 303, "{field}");
        }
    }
    assert!(recorder.seen().is_empty());
    let tried = journal::search(&gateway, &["--event", "sign-in-failed.1"]);
    assert!(tried.is_empty(), "{tried:?}");
    // the twin: the same, typed into the form
    let client = Client::new(&gateway);
    let form = client.password(&gateway.facts.app, demo, password);
    assert!(is_the_app(&client.code(&form, &code)));
}

#[test]
fn a_wrong_code_is_refused_and_a_used_one_too() {
    let (recorder, gateway) = demo();
    let demo = &gateway.facts.demo;
    let (client, app) = (Client::new(&gateway), &gateway.facts.app);
    let form = client.password(app, demo, &demo.password);
    let code = demo.code();
    let wrong = format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000);
    let refused = client.code(&form, &wrong);
    assert!(!is_the_app(&refused));
    assert_eq!(client.open(app).status, 303);
    let form = client.password(app, demo, &demo.password);
    assert!(is_the_app(&client.code(&form, &code)));
    let thief = Client::new(&gateway);
    let seen_before = recorder.seen().len();
    let form = thief.password(app, demo, &demo.password);
    assert!(!is_the_app(&thief.code(&form, &code)));
    assert_eq!(thief.open(app).status, 303);
    assert_eq!(recorder.seen().len(), seen_before);
    let form = thief.password(app, demo, &demo.password);
    let next = demo.code();
    assert!(is_the_app(&thief.code(&form, &next)));
}

#[test]
fn a_code_of_long_ago_is_refused() {
    let (_recorder, gateway) = demo();
    let demo = &gateway.facts.demo;
    let client = Client::new(&gateway);
    let form = client.password(&gateway.facts.app, demo, &demo.password);
    let old = totp::code_at(&demo.totp_secret, totp::now() - 5 * totp::STEP);
    assert!(!is_the_app(&client.code(&form, &old)));
    let page = client.sign_in(&gateway.facts.app, demo);
    assert!(is_the_app(&page), "{page:?}");
}

#[test]
fn a_guest_is_denied_with_a_code_that_the_journal_knows() {
    let (recorder, gateway) = demo();
    let client = Client::new(&gateway);
    let page = client.sign_in(&gateway.facts.app, &gateway.facts.guest);
    assert_eq!(page.status, 403, "{page:?}");
    let script = client.fetch(&gateway.facts.app);
    assert_eq!(script.status, 403);
    let json = script.json();
    let (code, id) = (&json["code"], json["request_id"].as_str().unwrap());
    assert!(code.as_str().unwrap().starts_with("D-"), "{json}");
    assert!(page.body.contains("D-"), "{}", page.body);
    let record = journal::wait_for(&gateway, "access-decided.1", |r| {
        journal::is(r, "request_id", id)
    });
    assert_eq!(record["outcome"], "deny");
    assert_eq!(record["user"], "guest");
    assert!(record["rule"].is_string(), "{record}");
    assert!(recorder.seen().is_empty());
    let allowed = Client::new(&gateway);
    assert!(is_the_app(
        &allowed.sign_in(&gateway.facts.app, &gateway.facts.demo)
    ));
}

#[test]
fn after_sign_out_neither_the_browser_nor_its_old_cookie_gets_in() {
    let (recorder, gateway) = demo();
    let (client, app) = (Client::new(&gateway), &gateway.facts.app);
    assert!(is_the_app(&client.sign_in(app, &gateway.facts.demo)));
    let cookie = client.cookie(host(app), "__Host-postern").unwrap();
    let with_cookie = |value: &str| {
        let header = format!("Cookie: __Host-postern={value}");
        Client::new(&gateway).send(app, &["-H", &header])
    };
    assert!(is_the_app(&with_cookie(&cookie)));
    let portal = client.follow(&gateway.facts.portal);
    let form = postern_tests::html::forms(&portal.body);
    let form = form.iter().find(|f| f.action.ends_with("/signout"));
    let form = form.unwrap_or_else(|| panic!("no sign-out form: {}", portal.body));
    let answer = client.follow_from(client.submit(&portal, form));
    assert!(answer.status < 400, "{answer:?}");
    let before = recorder.seen().len();
    assert_eq!(client.open(app).status, 303);
    assert_eq!(with_cookie(&cookie).status, 401);
    assert_eq!(recorder.seen().len(), before);
    journal::wait_for(&gateway, "signed-out.1", |r| journal::is(r, "user", "demo"));
}

#[test]
fn every_cookie_is_a_host_cookie_and_no_url_holds_a_session() {
    let (_recorder, gateway) = demo();
    let client = Client::new(&gateway);
    assert!(is_the_app(
        &client.sign_in(&gateway.facts.app, &gateway.facts.demo)
    ));
    let session = client.cookie(host(&gateway.facts.app), "__Host-postern");
    let portal = client.cookie(host(&gateway.facts.portal), "__Host-postern");
    let (session, portal) = (session.unwrap(), portal.unwrap());
    assert_ne!(session, portal, "one cookie per host");
    let history = client.history();
    let mut count = 0;
    for answer in &history {
        assert!(!answer.url.contains(&session) && !answer.url.contains(&portal));
        for cookie in answer.headers_named("set-cookie") {
            count += 1;
            let parts: Vec<_> = cookie.split(';').map(|p| p.trim().to_lowercase()).collect();
            assert!(cookie.starts_with("__Host-"), "{cookie}");
            for wanted in ["secure", "httponly", "path=/", "samesite=lax"] {
                assert!(parts.iter().any(|p| p == wanted), "{wanted}: {cookie}");
            }
            assert!(!parts.iter().any(|p| p.starts_with("domain")), "{cookie}");
        }
    }
    assert!(count >= 2, "sign-in sets cookies: {history:?}");
}

#[test]
fn an_app_can_set_its_own_cookies_but_neither_ours_nor_wide_ones() {
    let (_recorder, gateway) = demo();
    let client = Client::new(&gateway);
    assert!(is_the_app(
        &client.sign_in(&gateway.facts.app, &gateway.facts.demo)
    ));
    let answer = client.fetch(&format!("{}set-cookie", gateway.facts.app));
    let cookies = answer.headers_named("set-cookie").join("\n");
    assert!(cookies.contains("theirs=1"), "{cookies}");
    assert!(!cookies.contains("__Host-postern"), "{cookies}");
    assert!(!cookies.to_lowercase().contains("domain="), "{cookies}");
    assert_eq!(
        answer
            .header("strict-transport-security")
            .map(|v| v.contains("max-age=300")),
        Some(true)
    );
}

#[test]
fn answers_carry_each_security_header_once() {
    let (_recorder, gateway) = demo();
    let client = Client::new(&gateway);
    let app = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    let portal = client.follow(&gateway.facts.portal);
    for answer in [&app, &portal] {
        for (name, part) in [
            ("strict-transport-security", "max-age=300"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", ""),
            ("x-frame-options", ""),
        ] {
            let value = answer.header(name);
            let value = value.unwrap_or_else(|| panic!("{} lacks {name}", answer.url));
            assert!(value.contains(part), "{name}: {value}");
        }
    }
    assert!(portal.header("content-security-policy").is_some());
    assert!(portal.header("cache-control").unwrap().contains("no-store"));
}

#[test]
fn a_sign_in_without_its_token_or_from_another_origin_is_refused() {
    let (_recorder, gateway) = demo();
    let demo = &gateway.facts.demo;
    let client = Client::new(&gateway);
    let page = client.follow(&gateway.facts.portal);
    let mut form = page.form("password");
    form.set("username", &demo.user);
    form.set("password", &demo.password);
    let mut forged = form.clone();
    forged.set("csrf", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let answer = client.submit(&page, &forged);
    assert!(answer.status >= 400, "{answer:?}");
    let body = format!(
        "csrf={}&username={}&password={}",
        form.value("csrf").unwrap(),
        demo.user,
        demo.password
    );
    let signin = format!("{}{}", origin(&page.url), form.action);
    for from in [
        ["-H", "Origin: https://evil.test"],
        ["-H", "Origin: null"],
        ["-H", "Sec-Fetch-Site: cross-site"],
    ] {
        let answer = client.send(&signin, &[from[0], from[1], "-d", &body]);
        assert!(answer.status >= 400, "{from:?}: {answer:?}");
    }
    let next = client.follow_from(client.submit(&page, &form));
    assert!(next.body.contains("name=\"code\""), "{next:?}");
}

#[test]
fn a_rate_ends_in_429_for_one_person_and_not_for_another() {
    let (recorder, gateway) = demo();
    let text = policy::two_apps(&recorder.url(), "").replace(
        "allow.people = { who = [\"demo\", \"guest\"] }",
        "allow.people = { who = [\"demo\", \"guest\"], rate = \"tiny\" }",
    );
    gateway.set_policy(&format!("{text}\n[rate]\ntiny = \"5/m\"\n"));
    let (demo, guest) = (Client::new(&gateway), Client::new(&gateway));
    let app = &gateway.facts.app;
    assert!(is_the_app(&demo.sign_in(app, &gateway.facts.demo)));
    assert!(is_the_app(&guest.sign_in(app, &gateway.facts.guest)));
    let answers: Vec<_> = (0..12).map(|_| demo.fetch(app)).collect();
    let limited: Vec<_> = answers.iter().filter(|a| a.status == 429).collect();
    assert!(answers.iter().all(|a| [200, 429].contains(&a.status)));
    assert!(limited.len() >= 6, "{} of 12 were limited", limited.len());
    let wait: u64 = limited[0].header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let told = |answer: &Answer, name: &str| -> u64 {
        let value = answer
            .header(name)
            .unwrap_or_else(|| panic!("{name}: {answer:?}"));
        value.parse().unwrap()
    };
    for answer in &answers {
        assert_eq!(told(answer, "ratelimit-limit"), 5);
        assert!(told(answer, "ratelimit-remaining") < 5);
        assert!((1..=90).contains(&told(answer, "ratelimit-reset")));
    }
    let left: Vec<u64> = answers
        .iter()
        .map(|a| told(a, "ratelimit-remaining"))
        .collect();
    assert!(left.is_sorted_by(|a, b| a >= b), "{left:?}");
    assert!(limited.iter().all(|a| told(a, "ratelimit-remaining") == 0));
    assert!(recorder.seen().len() <= 8);
    assert!(is_the_app(&guest.fetch(app)));
    journal::wait_for(&gateway, "limited.1", |r| journal::is(r, "user", "demo"));
}

#[test]
fn guessing_passwords_is_slowed_down_for_the_pair_only() {
    let (_recorder, gateway) = demo();
    let (demo, guest) = (&gateway.facts.demo, &gateway.facts.guest);
    let client = Client::new(&gateway);
    let statuses: Vec<_> = (0..7)
        .map(|_| client.password(&gateway.facts.portal, demo, "wrong guess number n"))
        .map(|answer| answer.status)
        .collect();
    assert!(statuses[..4].iter().all(|s| *s != 429), "{statuses:?}");
    assert_eq!(statuses[6], 429, "{statuses:?}");
    let right = client.password(&gateway.facts.portal, demo, &demo.password);
    assert_eq!(right.status, 429);
    assert!(right.header("retry-after").is_some());
    let other = client.password(&gateway.facts.portal, guest, &guest.password);
    assert!(other.body.contains("name=\"code\""), "{other:?}");
}

#[test]
fn plain_http_only_leads_to_https() {
    let (recorder, gateway) = demo();
    let client = Client::new(&gateway);
    let plain = format!("http://app.gate.localhost:{}/x?y=1", gateway.http_port());
    let answer = client.open(&plain);
    assert!([301, 307, 308].contains(&answer.status), "{answer:?}");
    let target = format!("https://app.gate.localhost:{}/x?y=1", gateway.https_port());
    assert_eq!(answer.location().unwrap(), target);
    assert!(answer.headers_named("set-cookie").is_empty());
    let post = client.send(&plain, &["-d", "password=x"]);
    assert!((400..500).contains(&post.status), "{post:?}");
    let foreign = client.send(&plain, &["-H", "Host: evil.test"]);
    assert!((400..500).contains(&foreign.status), "{foreign:?}");
    assert!(recorder.seen().is_empty());
}

#[test]
fn both_http_versions_and_both_tls_versions_serve_and_older_ones_do_not() {
    let (_recorder, gateway) = demo();
    let (client, app) = (Client::new(&gateway), &gateway.facts.app);
    assert!(is_the_app(&client.sign_in(app, &gateway.facts.demo)));
    for (args, version) in [
        (["--http1.1", "--tlsv1.2"], "1.1"),
        (["--http2", "--tlsv1.3"], "2"),
    ] {
        let answer = client.send(app, &args);
        assert!(is_the_app(&answer));
        assert_eq!(answer.version, version);
    }
    let two = ["--tls-max", "1.2", "--tlsv1.2"];
    assert!(is_the_app(&client.send(app, &two)));
    let one = [
        "--tls-max",
        "1.1",
        "--tlsv1.0",
        "--ciphers",
        "DEFAULT@SECLEVEL=0",
    ];
    assert!(client.try_send(app, &one).is_err());
}

#[test]
fn a_host_is_served_under_its_own_certificate_only() {
    let (recorder, gateway) = demo();
    let addr = ([127, 0, 0, 1], gateway.https_port()).into();
    let root = &gateway.facts.ca_root;
    let ask = |sni: &str, host: &str| {
        let mut tls = raw::tls(addr, sni, root, Duration::from_secs(5));
        let port = gateway.https_port();
        let text = format!(
            "GET /.postern/icon.svg HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
        );
        raw::exchange(&mut tls, text.as_bytes()).status()
    };
    assert_eq!(ask("gate.localhost", "gate.localhost"), Some(200));
    assert_eq!(ask("app.gate.localhost", "app.gate.localhost"), Some(200));
    assert_eq!(ask("gate.localhost", "app.gate.localhost"), Some(421));
    assert_eq!(ask("gate.localhost", "unknown.localhost"), Some(421));
    assert!(recorder.seen().is_empty());
}

#[test]
fn health_is_public_and_metrics_are_not() {
    let (_recorder, gateway) = demo();
    let client = Client::new(&gateway);
    let portal = &gateway.facts.portal;
    assert_eq!(client.fetch(&format!("{portal}healthz")).status, 200);
    for url in [portal, &gateway.facts.app] {
        let answer = client.fetch(&format!("{url}metrics"));
        assert!(!answer.body.contains("# TYPE"), "{answer:?}");
        assert_ne!(answer.status, 200);
    }
    let inside = format!("http://127.0.0.1:{}/metrics", gateway.admin_port());
    let metrics = client.fetch(&inside);
    assert_eq!(metrics.status, 200);
    assert!(metrics.body.contains("# TYPE"), "{}", metrics.body);
}

/// An app's own health page stands behind the rules of its area like all it has; the gateway's is on the hosts where
/// people sign in, and nowhere else.
#[test]
fn an_apps_own_health_page_is_reached_by_its_rules_and_by_nothing_else() {
    let (recorder, gateway) = demo();
    let app = gateway.facts.app.clone();
    let url = format!("{app}healthz");
    let open =
        "[app.app.\"=/healthz\"]\npublic = \"its monitor\"\nallow.all = { who = \"anyone\" }";
    let stranger = Client::new(&gateway);
    let refused = stranger.fetch(&url);
    assert_eq!(refused.status, 401, "{refused:?}");
    assert!(recorder.seen().is_empty());
    gateway.open_policy(&policy::two_apps(&recorder.url(), open));
    let answer = stranger.fetch(&url);
    assert!(is_the_app(&answer), "{answer:?}");
    assert_eq!(recorder.last().target(), "/healthz");
    // the twins: what lies beside it is not open, and another app's is not either
    let seen = recorder.seen().len();
    for beside in [
        format!("{url}/x"),
        format!("{}healthz", policy::second_app(&gateway)),
    ] {
        assert_eq!(stranger.fetch(&beside).status, 401, "{beside}");
    }
    assert_eq!(recorder.seen().len(), seen);
    let own = stranger.fetch(&format!("{}healthz", gateway.facts.portal));
    assert_eq!(
        (own.status, own.json()["status"].as_str()),
        (200, Some("up"))
    );
}

#[test]
fn the_app_gets_a_statement_that_the_public_keys_verify() {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use data_encoding::BASE64URL_NOPAD;
    let (recorder, gateway) = demo();
    let client = Client::new(&gateway);
    assert!(is_the_app(
        &client.sign_in(&gateway.facts.app, &gateway.facts.demo)
    ));
    let seen = recorder.last();
    let token = seen.values("x-postern-jwt")[0].to_owned();
    let parts: Vec<_> = token.split('.').collect();
    let decode = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    let json = |text: &str| serde_json::from_slice::<serde_json::Value>(&decode(text)).unwrap();
    let (head, claims) = (json(parts[0]), json(parts[1]));
    let keys = format!("{}.well-known/postern/jwks.json", gateway.facts.portal);
    let keys = client.fetch(&keys).json();
    let keys = keys["keys"].as_array().unwrap();
    let key = keys.iter().find(|k| k["kid"] == head["kid"]).unwrap();
    let mut point = vec![4];
    point.extend(decode(key["x"].as_str().unwrap()));
    point.extend(decode(key["y"].as_str().unwrap()));
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    let signed = format!("{}.{}", parts[0], parts[1]);
    assert!(key.verify(signed.as_bytes(), &decode(parts[2])).is_ok());
    assert!(key.verify(b"something else", &decode(parts[2])).is_err());
    assert_eq!(
        (&head["alg"], &claims["sub"]),
        (&"ES256".into(), &"demo".into())
    );
    let life = claims["exp"].as_u64().unwrap() - totp::now();
    assert!(life <= 61, "{claims}");
    assert!(
        gateway
            .facts
            .app
            .starts_with(claims["aud"].as_str().unwrap()),
        "{claims}"
    );
}
