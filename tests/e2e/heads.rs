//! Requests that other software reads in two ways: none may reach the app, and each has a twin
//! that does.

use std::io::Write;
use std::time::{Duration, Instant};

use postern_tests::strict::{END, Scene, get, post, replace, with};
use postern_tests::websocket::read_head;
use postern_tests::{journal, raw};

#[test]
fn a_body_of_two_lengths_is_refused_and_one_of_one_length_passes() {
    let scene = Scene::new();
    let seen = scene.passes("one length", &post("Content-Length: 5\r\n", "hello"));
    assert_eq!(seen.body, b"hello");
    let chunked = "5\r\nhello\r\n0\r\n\r\n";
    let seen = scene.passes("chunked", &post("Transfer-Encoding: chunked\r\n", chunked));
    assert_eq!(seen.body, b"hello");
    for (name, fields, body) in [
        (
            "length and chunked",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            chunked,
        ),
        (
            "chunked and length",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            chunked,
        ),
        (
            "two equal lengths",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "hello",
        ),
        (
            "two lengths",
            "Content-Length: 5\r\nContent-Length: 0\r\n",
            "hello",
        ),
        ("a list of lengths", "Content-Length: 5, 5\r\n", "hello"),
        ("a signed length", "Content-Length: +5\r\n", "hello"),
        ("a hexadecimal length", "Content-Length: 0x5\r\n", "hello"),
        (
            "two codings",
            "Transfer-Encoding: gzip, chunked\r\n",
            chunked,
        ),
        (
            "chunked twice",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            chunked,
        ),
        (
            "an unknown coding",
            "Transfer-Encoding: xchunked\r\n",
            chunked,
        ),
        ("identity", "Transfer-Encoding: identity\r\n", "hello"),
        (
            "a coding with a control byte",
            "Transfer-Encoding: \x0bchunked\r\n",
            chunked,
        ),
        (
            "a space before the colon",
            "Transfer-Encoding : chunked\r\n",
            chunked,
        ),
    ] {
        scene.refuses(name, &post(fields, body));
    }
}

#[test]
fn a_second_request_in_the_body_of_the_first_never_reaches_the_app() {
    let scene = Scene::new();
    let hidden = "0\r\n\r\nGET /hidden HTTP/1.1\r\nHOSTCOOKIEX: ";
    let fields = "Content-Length: 200\r\nTransfer-Encoding: chunked\r\n";
    scene.refuses("smuggled", &post(fields, hidden));
    let seen = scene.recorder.seen();
    assert!(seen.iter().all(|s| s.target() != "/hidden"), "{seen:?}");
}

#[test]
fn a_host_that_is_missing_doubled_or_odd_is_refused() {
    let scene = Scene::new();
    scene.passes("the usual host", &get("/p"));
    let upper = "GET /p HTTP/1.1\r\nHost: APP.Gate.localhost:";
    let upper = format!("{upper}{}\r\nCOOKIE{END}", scene.gateway.https_port());
    let seen = scene.passes("case", upper.as_bytes());
    assert_eq!(seen.values("host"), [scene.authority()]);
    for (name, hosts) in [
        ("no host", String::new()),
        ("an empty host", "Host: \r\n".to_owned()),
        ("two equal hosts", "HOSTHOST".to_owned()),
        ("two hosts", "HOSTHost: other.test\r\n".to_owned()),
        ("user information", "Host: a@AUTHORITY\r\n".to_owned()),
        ("a path", "Host: AUTHORITY/x\r\n".to_owned()),
        ("a list", "Host: AUTHORITY, AUTHORITY\r\n".to_owned()),
        ("a space", "Host: app gate.localhost\r\n".to_owned()),
        ("percent", "Host: app%2egate.localhost\r\n".to_owned()),
        ("unknown", "Host: other.test\r\n".to_owned()),
        ("an address", "Host: 127.0.0.1\r\n".to_owned()),
    ] {
        let text = format!("GET /p HTTP/1.1\r\n{hosts}COOKIE{END}");
        scene.refuses(name, text.as_bytes());
    }
}

#[test]
fn a_target_that_is_no_plain_path_is_refused() {
    let scene = Scene::new();
    for (target, seen) in [
        ("/p?a=%2F..", "/p?a=%2F.."),
        ("/a/../b", "/b"),
        ("/a/./b", "/a/b"),
        ("//a//b", "/a/b"),
        ("/%61", "/a"),
        ("/%C3%A9", "/%C3%A9"),
        ("/%c3%a9", "/%C3%A9"),
    ] {
        let arrived = scene.passes(target, &get(target));
        assert_eq!(arrived.target(), seen, "{target}");
    }
    for target in [
        "https://AUTHORITY/p",
        "http://AUTHORITY/p",
        "https://other.test/p",
        "AUTHORITY",
        "p",
        "*",
        "@other.test/",
        "/../p",
        "/a/../../p",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/%2e%2e/p",
        "/a/%2e%2e/p",
        "/a%00b",
        "/a%252e",
        "/a%zz",
        "/a%2",
        "/a;b=1/c",
        "/a%3bb",
        "/a b",
        "/\u{e9}",
        "/%EF%BC%8E%EF%BC%8E/p",
        "/%ff",
        "/a\tb",
        "/p#fragment",
        "/p?a#",
    ] {
        scene.refuses(target, &get(target));
    }
}

#[test]
fn line_ends_and_fields_that_bend_the_grammar_are_refused() {
    let scene = Scene::new();
    scene.passes("a plain field", &with("X-Plain: yes\r\n"));
    for (name, fields) in [
        ("a bare LF", "X-A: 1\nX-B: 2\r\n"),
        ("a bare CR", "X-A: 1\rX-B: 2\r\n"),
        ("a NUL", "X-A: 1\x002\r\n"),
        ("a folded line", "X-A: 1\r\n 2\r\n"),
        ("a space before the colon", "X-A : 1\r\n"),
        ("a field without a name", ": 1\r\n"),
        ("a line without a colon", "X-A\r\n"),
    ] {
        scene.refuses(name, &with(fields));
    }
    let all_lf = replace(&with(""), b"\r\n", b"\n");
    scene.refuses("bare LF only", &all_lf);
    for (name, line) in [
        ("two spaces", "GET  /p HTTP/1.1"),
        ("no version", "GET /p"),
        ("an unknown version", "GET /p HTTP/1.2"),
        ("a lower-case protocol", "GET /p http/1.1"),
        ("a tab", "GET\t/p HTTP/1.1"),
    ] {
        let text = format!("{line}\r\nHOSTCOOKIE{END}");
        scene.refuses(name, text.as_bytes());
    }
}

#[test]
fn methods_that_no_rule_names_are_refused() {
    let scene = Scene::new();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let text = format!("{method} /p HTTP/1.1\r\nHOSTCOOKIEContent-Length: 0\r\n{END}");
        scene.passes(method, text.as_bytes());
    }
    for method in ["TRACE", "TRACK", "CONNECT", "get", "G@T"] {
        let text = format!("{method} /p HTTP/1.1\r\nHOSTCOOKIE{END}");
        let before = scene.recorder.seen().len();
        let answer = scene.send(text.as_bytes());
        let refused = answer
            .status()
            .is_none_or(|s| (400..502).contains(&s) && s != 500);
        assert!(refused, "{method}: {:?}", answer.status());
        assert_eq!(scene.recorder.seen().len(), before, "{method}");
    }
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let scene = Scene::new();
    let field = |count: usize, size: usize| -> String {
        let value = "v".repeat(size);
        (0..count).map(|n| format!("X-{n}: {value}\r\n")).collect()
    };
    scene.passes("eight large fields", &with(&field(8, 1000)));
    scene.refuses("64 KiB in one field", &with(&field(1, 65_536)));
    scene.refuses("64 KiB in many fields", &with(&field(64, 1024)));
    scene.refuses("1000 fields", &with(&field(1000, 10)));
    let long = format!("/{}", "p".repeat(65_536));
    scene.refuses("a long target", &get(&long));
    // Host, Cookie and Connection are fields too
    scene.passes("100 fields", &with(&field(97, 10)));
    scene.refuses("101 fields", &with(&field(98, 10)));
    let sized = |size: usize| {
        let fields = field(8, 3800);
        let usual = scene.whole(&with(&fields)).len();
        with(&format!(
            "{fields}X-Rest: {}\r\n",
            "v".repeat(size - usual - 10)
        ))
    };
    assert_eq!(scene.whole(&sized(32 * 1024)).len(), 32 * 1024);
    scene.passes("a head of 32 KiB", &sized(32 * 1024));
    scene.refuses("one byte more", &sized(32 * 1024 + 1));
}

#[test]
fn what_says_who_or_from_where_is_ours_alone() {
    let scene = Scene::new();
    let forged = concat!(
        "X-Postern-User: root\r\nX-Postern-Groups: admins\r\nX-Postern-Jwt: e30.e30.\r\n",
        "x-postern-rule: forged\r\nX_Postern_User: root\r\nX_Auth_User: root\r\n",
        "Remote-User: root\r\nX-Remote-User: root\r\nX-Forwarded-User: root\r\n",
        "X-Auth-Request-User: root\r\nForwarded: for=10.0.0.1\r\nX-Real-IP: 10.0.0.1\r\n",
        "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: http\r\n",
        "X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\nProxy: evil\r\n",
        "Proxy-Authorization: Basic eA==\r\nX-Mine: kept\r\n"
    );
    let seen = scene.passes("forged", &with(forged));
    assert_eq!(seen.values("x-postern-user"), ["demo"]);
    assert_eq!(seen.values("x-mine"), ["kept"]);
    assert_eq!(seen.values("x-forwarded-host"), [scene.authority()]);
    assert_eq!(seen.values("x-forwarded-proto"), ["https"]);
    let text = format!("{seen:?}");
    for trace in ["root", "10.0.0.1", "evil", "/admin", "forged", "e30.e30."] {
        assert!(!text.contains(trace), "{trace} reached the app: {text}");
    }
    assert!(seen.headers.iter().all(|(name, _)| !name.contains('_')));
}

#[test]
fn a_cookie_of_ours_is_taken_once_and_never_passed_on() {
    let scene = Scene::new();
    let beside = format!("Cookie: theirs=1; {}; more=2\r\n", scene.cookie);
    let text = format!("GET /p HTTP/1.1\r\nHOST{beside}{END}");
    let seen = scene.passes("beside another", text.as_bytes());
    let cookies = seen.values("cookie").join("; ");
    assert!(cookies.contains("theirs=1") && cookies.contains("more=2"));
    assert!(!cookies.contains("__Host-postern"), "{cookies}");
    let before = scene.recorder.seen().len();
    for twice in [
        format!("Cookie: {}; __Host-postern=x\r\n", scene.cookie),
        format!("Cookie: {}\r\nCookie: __Host-postern=x\r\n", scene.cookie),
        format!("Cookie: {}x\r\n", scene.cookie),
        "Cookie: __host-postern=x\r\n".to_owned(),
    ] {
        let text = format!("GET /p HTTP/1.1\r\nHOST{twice}{END}");
        let status = scene.send(text.as_bytes()).status();
        assert!(matches!(status, Some(400 | 401)), "{twice}: {status:?}");
    }
    assert_eq!(scene.recorder.seen().len(), before);
}

#[test]
fn a_second_request_behind_the_first_is_not_answered_from_one_read() {
    let scene = Scene::new();
    let one = "GET /one HTTP/1.1\r\nHOSTCOOKIE\r\n";
    let two = format!("GET /two HTTP/1.1\r\nHOSTCOOKIE{END}");
    let answer = scene.send(format!("{one}{two}").as_bytes());
    let answers = answer.count();
    let seen = scene.recorder.seen();
    let reached = seen
        .iter()
        .filter(|s| ["/one", "/two"].contains(&s.target()));
    assert_eq!(reached.count(), answers, "as many answers as requests seen");
    assert!(answers >= 1);
}

/// The only test that has to take its time: the limit is ten seconds.
#[test]
fn a_head_that_never_ends_is_cut_after_ten_seconds() {
    let scene = Scene::new();
    let before = scene.recorder.seen().len();
    let mut tls = scene.connect();
    tls.sock
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let start = Instant::now();
    tls.write_all(b"GET /slow HTTP/1.1\r\nX-Slow: ").unwrap();
    let cut = loop {
        assert!(start.elapsed() < Duration::from_secs(20), "never cut");
        let answer = raw::exchange(&mut tls, b"a");
        if answer.closed || !answer.bytes.is_empty() {
            break start.elapsed();
        }
    };
    let expected = Duration::from_secs(9)..Duration::from_secs(13);
    assert!(expected.contains(&cut), "cut after {cut:?}");
    assert_eq!(scene.recorder.seen().len(), before);
    scene.passes("a quick one", &get("/p"));
}

/// What a 101 to it would open is judged by nobody.
#[test]
fn an_upgrade_to_anything_but_a_websocket_never_reaches_the_app() {
    let scene = Scene::new();
    let upgrade = |method: &str, fields: &str| {
        format!("{method} /p HTTP/1.1\r\nHOSTCOOKIEConnection: upgrade\r\n{fields}\r\n")
            .into_bytes()
    };
    for (name, method, fields) in [
        ("h2c", "GET", "Upgrade: h2c\r\n"),
        (
            "h2c with settings",
            "GET",
            "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        ),
        ("TLS", "OPTIONS", "Upgrade: TLS/1.2\r\n"),
        (
            "a word of one's own",
            "GET",
            "Upgrade: shell\r\nSec-WebSocket-Version: 13\r\n",
        ),
        (
            "two",
            "GET",
            "Upgrade: websocket\r\nUpgrade: h2c\r\nSec-WebSocket-Version: 13\r\n",
        ),
        (
            "a list",
            "GET",
            "Upgrade: websocket, h2c\r\nSec-WebSocket-Version: 13\r\n",
        ),
        (
            "by another method",
            "DELETE",
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        ),
        ("no version", "GET", "Upgrade: websocket\r\n"),
        (
            "two versions",
            "GET",
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n",
        ),
        (
            "an old version",
            "GET",
            "Upgrade: websocket\r\nSec-WebSocket-Version: 8\r\n",
        ),
    ] {
        scene.refuses(name, &upgrade(method, fields));
    }
    scene.passes("none", &with("Connection: close\r\n"));
}

/// A client that asks first sends nothing that is not wanted, and what it is told to send arrives.
/// Source: RFC 9110 section 10.1.1.
#[test]
fn who_expects_100_is_told_before_the_body_whether_to_send_it() {
    let scene = Scene::new();
    let head = |cookie: &str, length: u64| {
        let authority = scene.authority();
        format!(
            "POST /p HTTP/1.1\r\nHost: {authority}\r\n{cookie}Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let cookie = format!("Cookie: {}\r\n", scene.cookie);
    let first = |head: String| {
        let mut tls = scene.connect();
        tls.write_all(head.as_bytes()).unwrap();
        let head = read_head(&mut tls).unwrap_or_default();
        let line = head.lines().next().map(str::to_owned);
        (tls, line.unwrap_or_default())
    };
    let before = scene.recorder.seen().len();
    let (_, stranger) = first(head("", 5));
    assert!(stranger.starts_with("HTTP/1.1 401"), "{stranger}");
    let (_, large) = first(head(&cookie, 1 << 40));
    assert!(large.starts_with("HTTP/1.1 413"), "{large}");
    assert_eq!(scene.recorder.seen().len(), before);
    let (mut tls, told) = first(head(&cookie, 5));
    assert_eq!(told, "HTTP/1.1 100 Continue");
    tls.write_all(b"hello").unwrap();
    let head = read_head(&mut tls).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(scene.recorder.last().body, b"hello");
}

/// Whoever asks first has a body to send; one of HTTP/1.0 cannot ask, and nobody answers it.
/// Source: RFC 9110 section 10.1.1; security.md R-PX-11.
#[test]
fn an_expectation_without_a_body_is_refused_and_one_of_http_1_0_ignored() {
    let scene = Scene::new();
    let expects = |fields: &str, body: &str| {
        let fields = format!("Expect: 100-continue\r\n{fields}");
        postern_tests::strict::post(&fields, body)
    };
    for fields in ["", "Content-Length: 0\r\n"] {
        let answer = scene.send(&expects(fields, ""));
        assert_eq!(answer.status(), Some(417), "{fields:?}");
        scene.refuses("nothing to send", &expects(fields, ""));
    }
    let old = postern_tests::strict::replace(
        &expects("Content-Length: 5\r\n", "hello"),
        b"HTTP/1.1",
        b"HTTP/1.0",
    );
    let answer = scene.send(&old);
    let shown = String::from_utf8_lossy(&answer.bytes).into_owned();
    let first = shown.lines().next().unwrap_or_default();
    assert!(first.contains(" 200 "), "{shown}");
    let seen = scene.recorder.last();
    assert_eq!(
        (seen.body.as_slice(), seen.values("expect").len()),
        (&b"hello"[..], 0)
    );
}

/// Bytes behind a request for a WebSocket that the app declines are no bytes of a tunnel.
/// Source: CVE-2026-2833; security.md R-PX-12.
#[test]
fn what_stands_behind_a_declined_upgrade_is_judged_like_any_request() {
    let scene = Scene::new();
    let text = postern_tests::policy::two_apps(&scene.recorder.url(), "");
    let secret = "[app.app.\"/secret\"]\nallow.guest = { who = \"guest\" }\n";
    scene.gateway.set_policy(&format!("{text}\n{secret}"));
    let usual = format!(
        "Host: {}\r\nCookie: {}\r\n",
        scene.authority(),
        scene.cookie
    );
    let both = format!(
        "GET /p HTTP/1.1\r\n{usual}Origin: https://{}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n\
         GET /secret HTTP/1.1\r\n{usual}Connection: close\r\n\r\n",
        scene.authority()
    );
    let answer = raw::exchange(&mut scene.connect(), both.as_bytes());
    assert_eq!(answer.status(), Some(200), "the app declines");
    let seen = scene.recorder.seen();
    assert!(seen.iter().all(|r| r.target() != "/secret"), "{seen:?}");
    assert_eq!(seen.last().unwrap().target(), "/p");
    assert!(seen.last().unwrap().body.is_empty());
}

/// Answers that are made before there is a request are answers of the gateway like any: over TLS with HSTS, and with
/// an id that finds their record. Source: security.md R-PX-28.
#[test]
fn what_is_refused_by_its_head_has_hsts_an_id_and_a_record_with_it() {
    let scene = Scene::new();
    let expects = "Expect: 200-maybe\r\nContent-Length: 1\r\n";
    let large: String = (0..40)
        .map(|n| format!("X-{n}: {}\r\n", "v".repeat(1000)))
        .collect();
    let field = |head: &str, name: &str| {
        let named = |line: &&str| line.to_ascii_lowercase().starts_with(name);
        let mut lines = head
            .lines()
            .filter(named)
            .map(|line| line[name.len()..].to_owned());
        let first = lines.next();
        assert_eq!(lines.next(), None, "{head}");
        first
    };
    let judge = |what: &str, answer: &raw::RawAnswer, status: u16, tls: bool| {
        let text = String::from_utf8_lossy(&answer.bytes).into_owned();
        assert_eq!(answer.status(), Some(status), "{what}: {text}");
        let (head, _) = text.split_once("\r\n\r\n").unwrap();
        let hsts = field(head, "strict-transport-security: ");
        assert_eq!(hsts.is_some(), tls, "{what}: {head}");
        assert!(
            hsts.is_none_or(|hsts| hsts.starts_with("max-age=")),
            "{what}: {head}"
        );
        let id = field(head, "x-request-id: ").unwrap();
        let record = journal::wait_for(&scene.gateway, "access-decided.1", |record| {
            journal::is(record, "request_id", &id)
        });
        assert_eq!(record["status"], status, "{what}: {record}");
        assert_eq!(record["outcome"], "deny", "{what}: {record}");
    };
    let line = format!("/{}", "a".repeat(9000));
    for (what, text, status) in [
        (
            "a bare line feed",
            b"GET /p HTTP/1.1\nHOSTCOOKIE\r\n".to_vec(),
            400,
        ),
        ("a method", replace(&get("/p"), b"GET", b"TRACE"), 405),
        ("a long line", get(&line), 414),
        ("an expectation", with(expects), 417),
        ("a large head", with(&large), 431),
        (
            "a version",
            replace(&get("/p"), b"HTTP/1.1", b"HTTP/2.7"),
            505,
        ),
        (
            "a head that never ends",
            b"GET /p HTTP/1.1\r\nX-A: ".to_vec(),
            408,
        ),
    ] {
        judge(what, &scene.send(&text), status, true);
    }
    let plain = std::net::TcpStream::connect(("127.0.0.1", scene.gateway.http_port()));
    let mut plain = plain.unwrap();
    plain
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    let text = scene.whole(&replace(&get("/p"), b"GET", b"TRACE"));
    judge("without TLS", &raw::exchange(&mut plain, &text), 405, false);
    // the twin: what is served has them by the way that serves it
    let served = scene.send(&get("/p"));
    let text = String::from_utf8_lossy(&served.bytes).into_owned();
    assert!(
        field(&text, "strict-transport-security: ").is_some(),
        "{text}"
    );
    assert!(field(&text, "x-request-id: ").is_some(), "{text}");
}
