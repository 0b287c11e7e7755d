use super::{HeaderMap, MAX_HEAD, MAX_LINE, Refused, end_of_head, scan, scan_h2, target};
use http::HeaderValue;
use policy::canon::PathOpts;

fn judged(head: &str) -> Result<(), &'static str> {
    scan(head.as_bytes()).map_err(|Refused { reason, .. }| reason)
}

#[test]
fn ordinary_heads_pass() {
    for head in [
        "GET / HTTP/1.1\r\nHost: app.example\r\n\r\n",
        "GET /a?b=c HTTP/1.0\r\nHost: app.example\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX_Other: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a_b-c.example:8443\r\n\r\n",
    ] {
        assert_eq!(judged(head), Ok(()), "{head:?}");
    }
}

#[test]
fn ambiguous_framing_is_refused() {
    for (fields, reason) in [
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "length-and-transfer-encoding",
        ),
        (
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "duplicate-content-length",
        ),
        ("Content-Length: 5, 5\r\n", "bad-content-length"),
        ("Content-Length: +5\r\n", "bad-content-length"),
        ("Content-Length: 0x5\r\n", "bad-content-length"),
        ("Content-Length:\r\n", "bad-content-length"),
        ("Content_Length: 5\r\n", "underscore-twin"),
        (
            "Transfer-Encoding: gzip, chunked\r\n",
            "bad-transfer-encoding",
        ),
        ("Transfer-Encoding: identity\r\n", "bad-transfer-encoding"),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "duplicate-transfer-encoding",
        ),
        ("Transfer_Encoding: chunked\r\n", "underscore-twin"),
        (
            "Upgrade: websocket\r\nContent-Length: 1\r\n",
            "upgrade-with-body",
        ),
        (
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            "bad-upgrade",
        ),
        ("Expect: 200-ok\r\n", "bad-expect"),
        ("A : b\r\n", "bad-field-name"),
        ("A: b\r\n c: folded\r\n", "bad-field-name"),
        ("no colon\r\n", "bad-field"),
        (": b\r\n", "bad-field-name"),
        ("A: b\x01\r\n", "control-byte"),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        assert_eq!(judged(&head), Err(reason), "{fields:?}");
    }
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(judged(old), Err("transfer-encoding-in-1-0"));
}

/// A 101 opens a tunnel in which nothing is judged any more.
/// Source: RFC 9110 section 7.8, RFC 6455 section 4.1; security.md R-PX-12, R-PX-13.
#[test]
fn only_a_websocket_of_the_version_there_is_may_be_asked_for() {
    let head = |method: &str, version: &str, fields: &str| {
        let usual = "Host: a\r\nConnection: upgrade\r\n";
        judged(&format!(
            "{method} /ws HTTP/{version}\r\n{usual}{fields}\r\n"
        ))
    };
    let version = "Sec-WebSocket-Version: 13\r\n";
    for right in ["Upgrade: websocket\r\n", "upgrade: WebSocket\r\n"] {
        assert_eq!(head("GET", "1.1", &format!("{right}{version}")), Ok(()));
    }
    let right = format!("Upgrade: websocket\r\n{version}");
    assert_eq!(head("POST", "1.1", &right), Err("bad-upgrade"));
    assert_eq!(head("GET", "1.0", &right), Err("bad-upgrade"));
    for wrong in [
        "Upgrade: h2c\r\n",
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Upgrade: TLS/1.2\r\n",
        "Upgrade: websocket, h2c\r\n",
        "Upgrade: websocket\r\nUpgrade: h2c\r\n",
        "Upgrade: websocket\r\nUpgrade: websocket\r\n",
        "Upgrade: websocket/13\r\n",
        "Upgrade:\r\n",
        "Up_grade: websocket\r\nUpgrade: x\r\n",
    ] {
        let wrong = format!("{wrong}{version}");
        assert_eq!(head("GET", "1.1", &wrong), Err("bad-upgrade"), "{wrong:?}");
    }
    for wrong in [
        "",
        "Sec-WebSocket-Version: 8\r\n",
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 8\r\n",
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Version: 13\r\n",
    ] {
        let wrong = format!("Upgrade: websocket\r\n{wrong}");
        assert_eq!(head("GET", "1.1", &wrong), Err("bad-upgrade"), "{wrong:?}");
    }
}

#[test]
fn bad_lines_are_refused() {
    for (head, reason) in [
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", "bare-line-end"),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", "bad-target-byte"),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", "bare-line-end"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", "bare-line-end"),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "bad-request-line"),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "bad-request-line"),
        ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "bad-request-line"),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", "bad-version"),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", "bad-target-byte"),
        (
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "bad-target-form",
        ),
        ("GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n", "bad-target-form"),
        ("GET / HTTP/1.1\r\nHost: b@a\r\n\r\n", "bad-host"),
        ("GET / HTTP/1.1\r\nHost: a, a\r\n\r\n", "bad-host"),
        ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "method-not-allowed"),
        (
            "CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
            "method-not-allowed",
        ),
        ("get / HTTP/1.1\r\nHost: a\r\n\r\n", "method-not-allowed"),
        ("G\u{1}T / HTTP/1.1\r\nHost: a\r\n\r\n", "bad-method"),
        ("GET / HTTP/1.1\r\n\r\n", "no-host"),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "duplicate-host",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHo\rst: a\r\n\r\n",
            "control-byte",
        ),
    ] {
        assert_eq!(judged(head), Err(reason), "{head:?}");
    }
}

#[test]
fn too_much_is_refused_with_its_own_status() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9000));
    assert_eq!(scan(long.as_bytes()).unwrap_err().status, 414);
    let many = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "A: b\r\n".repeat(101)
    );
    assert_eq!(scan(many.as_bytes()).unwrap_err().status, 431);
    let big = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n",
        "b".repeat(MAX_HEAD)
    );
    assert_eq!(scan(big.as_bytes()).unwrap_err().status, 431);
}

#[test]
fn the_end_of_a_head_is_found_across_reads() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody";
    for seen in 0..27 {
        assert_eq!(end_of_head(head, seen), Some(27), "{seen}");
    }
    assert_eq!(end_of_head(&head[..26], 0), None);
    assert_eq!(end_of_head(b"GET / HTTP/1.1\n\nx", 0), Some(16));
}

fn host(value: &'static str) -> HeaderMap {
    let mut map = HeaderMap::new();
    map.insert("host", HeaderValue::from_static(value));
    map
}

#[test]
fn targets_are_canonical() {
    let read = |raw: &str, h| {
        target(raw.as_bytes(), None, &host(h), |_| PathOpts::default()).map_err(|r| r.reason)
    };
    let t = read("/a/./b/../c%7e?q=/../", "App.Example.:8443").unwrap();
    assert_eq!(t.host.as_str(), "app.example");
    assert_eq!(t.port, Some(8443));
    assert_eq!(t.path.as_str(), "/a/c~");
    assert_eq!(t.path_and_query(), "/a/c~?q=/../");
    for (raw, h, reason) in [
        ("http://app.example/", "app.example", "bad-target-form"),
        ("app.example:443", "app.example", "bad-target-form"),
        ("*", "app.example", "bad-target-form"),
        ("/a%2fb", "app.example", "ambiguous-path"),
        ("/a%252fb", "app.example", "ambiguous-path"),
        ("/..", "app.example", "ambiguous-path"),
        ("/a#b", "app.example", "bad-target-byte"),
        ("/", "", "bad-host"),
        ("/", "a b", "bad-host"),
        ("/", "a,b", "bad-host"),
        ("/", "user@a", "bad-host"),
        ("/", "a:0", "bad-host"),
        ("/", "a:99999", "bad-host"),
        ("/", "a:", "bad-host"),
        ("/", "a/b", "bad-host"),
        ("/", "a%41", "bad-host"),
    ] {
        assert_eq!(read(raw, h), Err(reason), "{raw} {h}");
    }
}

#[test]
fn an_http2_authority_must_equal_host() {
    let map = host("b.example");
    let differs = target(b"/", Some("a.example"), &map, |_| PathOpts::default()).unwrap_err();
    assert_eq!(differs.reason, "host-differs-from-authority");
    assert!(target(b"/", Some("b.example"), &map, |_| PathOpts::default()).is_ok());
}

#[test]
fn http2_heads_carry_no_framing_fields() {
    let scan_h2 = |method: &str, map: &HeaderMap| scan_h2(method, b"/", map, false);
    let mut map = HeaderMap::new();
    assert_eq!(scan_h2("GET", &map), Ok(()));
    map.insert("content-length", HeaderValue::from_static("5"));
    assert_eq!(scan_h2("POST", &map), Ok(()));
    map.append("content-length", HeaderValue::from_static("5"));
    assert!(scan_h2("POST", &map).is_err());
    let mut te = HeaderMap::new();
    te.insert("transfer-encoding", HeaderValue::from_static("chunked"));
    assert!(scan_h2("POST", &te).is_err());
    assert_eq!(scan_h2("TRACE", &HeaderMap::new()).unwrap_err().status, 405);
}

#[test]
fn http2_heads_have_the_same_bounds_and_expectations() {
    let none = HeaderMap::new();
    let target = |length: usize| format!("/{}", "a".repeat(length - 1)).into_bytes();
    assert_eq!(scan_h2("GET", &target(MAX_LINE), &none, true), Ok(()));
    let long = scan_h2("GET", &target(MAX_LINE + 1), &none, true);
    assert_eq!(long.unwrap_err().status, 414);
    let expects = |value: &'static str, ends: bool| {
        let mut map = HeaderMap::new();
        map.insert("expect", HeaderValue::from_static(value));
        scan_h2("POST", b"/", &map, ends).map_err(|refused| refused.status)
    };
    assert_eq!(expects("100-Continue", false), Ok(()));
    assert_eq!(expects("100-continue", true), Err(417), "nothing follows");
    assert_eq!(expects("foo", false), Err(417));
    assert_eq!(expects("", false), Err(417));
}

/// Source: RFC 9110 section 10.1.1.
#[test]
fn only_a_request_with_a_body_may_expect_a_100() {
    let head = |version: &str, fields: &str| {
        judged(&format!(
            "POST / HTTP/{version}\r\nHost: a\r\nExpect: 100-continue\r\n{fields}\r\n"
        ))
    };
    for body in ["Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"] {
        assert_eq!(head("1.1", body), Ok(()));
    }
    for none in ["", "Content-Length: 0\r\n"] {
        assert_eq!(head("1.1", none), Err("bad-expect"));
        assert_eq!(head("1.0", none), Ok(()), "it is ignored");
    }
}
