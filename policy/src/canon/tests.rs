//! Tables of paths, hosts and methods; every refusal stands beside what is allowed.

use proptest::prelude::*;

use super::{PathOpts, decoded_eq, host, method, path, path_with, segments};
use crate::naive::tests::long;

/// Raw path, and its canonical form or the reason of the refusal.
const PATHS: &[(&str, Result<&str, &str>)] = &[
    ("/", Ok("/")),
    ("/a", Ok("/a")),
    ("/a/", Ok("/a/")),
    ("/a/b.c", Ok("/a/b.c")),
    ("/.well-known/x", Ok("/.well-known/x")),
    ("/a/...", Ok("/a/...")),
    ("/a..b/.c", Ok("/a..b/.c")),
    // query and fragment
    ("/a?x=/../b", Ok("/a")),
    ("/a#frag", Ok("/a")),
    ("/a?x#y", Ok("/a")),
    ("/?", Ok("/")),
    ("/a%3Fb", Ok("/a%3Fb")),
    ("/a%23b", Ok("/a%23b")),
    // not a path
    ("", Err("path-not-absolute")),
    ("a", Err("path-not-absolute")),
    ("*", Err("path-not-absolute")),
    ("?x", Err("path-not-absolute")),
    ("http://h/a", Err("path-not-absolute")),
    // slashes
    ("//", Ok("/")),
    ("//a", Ok("/a")),
    ("/a//b", Ok("/a/b")),
    ("/a///", Ok("/a/")),
    ("/a%2Fb", Err("path-encoded-delimiter")),
    ("/a%2fb", Err("path-encoded-delimiter")),
    ("/a\\b", Err("path-backslash")),
    ("/a%5Cb", Err("path-encoded-delimiter")),
    ("/a%5cb", Err("path-encoded-delimiter")),
    // dots
    ("/.", Ok("/")),
    ("/a/.", Ok("/a/")),
    ("/a/./b", Ok("/a/b")),
    ("/a/..", Ok("/")),
    ("/a/../b", Ok("/b")),
    ("/a/b/../../c", Ok("/c")),
    ("/a/b/..", Ok("/a/")),
    ("/a//../b", Ok("/b")),
    ("/..", Err("path-above-root")),
    ("/../a", Err("path-above-root")),
    ("/a/../../b", Err("path-above-root")),
    ("/a/..;/b", Err("path-parameters")),
    ("/%2e", Err("path-encoded-delimiter")),
    ("/a/%2E%2E/b", Err("path-encoded-delimiter")),
    ("/a/.%2e/b", Err("path-encoded-delimiter")),
    ("/a/%252e%252e/b", Err("path-double-encoding")),
    // escapes
    ("/%61dmin", Ok("/admin")),
    ("/%41%7E%5F%2D", Ok("/A~_-")),
    ("/a%20b", Ok("/a%20b")),
    ("/a%28b%29", Ok("/a%28b%29")),
    ("/a(b)", Ok("/a(b)")),
    ("/a%c3%a9", Ok("/a%C3%A9")),
    ("/100%25", Ok("/100%25")),
    ("/100%25/x", Ok("/100%25/x")),
    ("/a%2525", Err("path-double-encoding")),
    ("/a%2561", Err("path-double-encoding")),
    ("/a%25%36%31", Err("path-double-encoding")),
    ("/a%", Err("path-bad-escape")),
    ("/a%2", Err("path-bad-escape")),
    ("/a%zz", Err("path-bad-escape")),
    ("/a%u002f", Err("path-bad-escape")),
    ("/a%+1", Err("path-bad-escape")),
    // control characters
    ("/a b", Err("path-control")),
    ("/a\tb", Err("path-control")),
    ("/a\r\nb", Err("path-control")),
    ("/a\0b", Err("path-control")),
    ("/a\u{7f}b", Err("path-control")),
    ("/a%00b", Err("path-encoded-control")),
    ("/a%0d%0ab", Err("path-encoded-control")),
    ("/a%7F", Err("path-encoded-control")),
    ("/a%C2%85", Err("path-encoded-control")),
    // parameters
    ("/a;b", Err("path-parameters")),
    ("/a%3Bb", Err("path-encoded-delimiter")),
    ("/a,b=c", Ok("/a,b=c")),
    // unicode
    ("/%C3%A9t%C3%A9", Ok("/%C3%A9t%C3%A9")),
    ("/é", Err("path-not-ascii")),
    ("/e%CC%81", Err("path-not-nfkc")),
    ("/%EF%BC%8E%EF%BC%8E", Err("path-not-nfkc")),
    ("/%EF%BC%8F", Err("path-not-nfkc")),
    ("/%E2%80%A5", Err("path-not-nfkc")),
    ("/%E6%97%A5", Ok("/%E6%97%A5")),
    ("/%C0%AF", Err("path-not-utf8")),
    ("/%C0%AE", Err("path-not-utf8")),
    ("/%FF", Err("path-not-utf8")),
    ("/%E9", Err("path-not-utf8")),
    ("/%ED%A0%80", Err("path-not-utf8")),
    // left as they are
    ("/a*b", Ok("/a*b")),
    ("/a%2Ab", Ok("/a%2Ab")),
    ("/a:b@c", Ok("/a:b@c")),
    ("/a|b", Ok("/a|b")),
];

#[test]
fn paths_have_one_form_or_none() {
    for (raw, want) in PATHS {
        let got = path(raw.as_bytes());
        let got = got
            .as_ref()
            .map(|path| path.as_str())
            .map_err(|reject| reject.reason());
        assert_eq!(got, *want, "{raw:?}");
    }
    assert!(PATHS.len() >= 60);
}

/// What is matched and forwarded, or the reason of the refusal.
type Both = Result<(&'static str, &'static str), &'static str>;

/// Raw path, and what becomes of it where an app takes parameters.
const WITH_PARAMS: &[(&str, Both)] = &[
    ("/a", Ok(("/a", "/a"))),
    ("/a;b", Ok(("/a", "/a;b"))),
    ("/a;", Ok(("/a", "/a;"))),
    ("/a;b;c=d/e;f/", Ok(("/a/e/", "/a;b;c=d/e;f/"))),
    ("/a;jsessionid=1.2?x;y", Ok(("/a", "/a;jsessionid=1.2"))),
    ("/a;%61%2a", Ok(("/a", "/a;a%2A"))),
    ("//a;b//c", Ok(("/a/c", "/a;b/c"))),
    ("/a;b/./c", Ok(("/a/c", "/a;b/c"))),
    ("/a;b/../c", Ok(("/c", "/c"))),
    ("/a;/../c;d/..", Ok(("/", "/"))),
    ("/a;../b", Ok(("/a/b", "/a;../b"))),
    ("/a/..;/b", Err("path-parameters")),
    ("/admin;x/..;/y", Err("path-parameters")),
    ("/a/..;x/b", Err("path-parameters")),
    ("/a/.;/b", Err("path-parameters")),
    ("/a/;/b", Err("path-parameters")),
    ("/;", Err("path-parameters")),
    ("/a/;b", Err("path-parameters")),
    ("/a;b/../..", Err("path-above-root")),
    ("/a%3bb", Err("path-encoded-delimiter")),
    ("/a;%2e%2e/b", Err("path-encoded-delimiter")),
    ("/a;%2f", Err("path-encoded-delimiter")),
    ("/a;%2561", Err("path-double-encoding")),
    ("/a;\\", Err("path-backslash")),
    ("/a;\r\n", Err("path-control")),
    ("/a;%0d", Err("path-encoded-control")),
    ("/a;%EF%BC%8F", Err("path-not-nfkc")),
    ("a;b", Err("path-not-absolute")),
];

type Kept = (
    &'static str,
    Result<(&'static str, &'static str), &'static str>,
);

const BOTH: PathOpts = PathOpts {
    params: false,
    slashes: true,
    empties: true,
};

/// What is matched and what is forwarded, for an app that takes `%2F` and `//`.
const KEPT: &[Kept] = &[
    ("/a/b", Ok(("/a/b", "/a/b"))),
    ("/a%2fb?x=%2F", Ok(("/a/b", "/a%2Fb"))),
    ("/a%2Fb%2Fc/d/", Ok(("/a/b/c/d/", "/a%2Fb%2Fc/d/"))),
    ("/a%2F%62", Ok(("/a/b", "/a%2Fb"))),
    ("/a//b", Ok(("/a/b", "/a//b"))),
    ("/a//", Ok(("/a/", "/a//"))),
    ("/a///b/", Ok(("/a/b/", "/a///b/"))),
    // the first segment is never empty: `//x` is the address of a host to some
    ("//a/b", Ok(("/a/b", "/a/b"))),
    ("///a//b", Ok(("/a/b", "/a//b"))),
    ("//", Ok(("/", "/"))),
    ("//a%2Fb", Ok(("/a/b", "/a%2Fb"))),
    ("/a/./b/../c", Ok(("/a/c", "/a/c"))),
    ("/..", Err("path-above-root")),
    ("/a%2F..%2Fb", Err("path-encoded-delimiter")),
    ("/a/..%2Fb", Err("path-encoded-delimiter")),
    ("/a%2Fb/..", Err("path-encoded-delimiter")),
    ("/a%2Fb/./c", Err("path-encoded-delimiter")),
    ("/%2Fadmin", Err("path-encoded-delimiter")),
    ("/a%2F", Err("path-encoded-delimiter")),
    ("/a%2F%2Fb", Err("path-encoded-delimiter")),
    ("/a%2F/b", Err("path-encoded-delimiter")),
    ("/a%2Fb//c", Err("path-encoded-delimiter")),
    ("/a//../b", Err("path-empty-segment")),
    ("/a/..//b", Err("path-empty-segment")),
    ("/a//./b", Err("path-empty-segment")),
    ("/a%5Cb", Err("path-encoded-delimiter")),
    ("/a%2Eb", Err("path-encoded-delimiter")),
    ("/a%252Fb", Err("path-double-encoding")),
    ("/a%EF%BC%8Fb", Err("path-not-nfkc")),
    ("/a;b", Err("path-parameters")),
];

#[test]
fn encoded_slashes_and_empty_segments_are_matched_as_slashes_and_forwarded_as_they_are() {
    for (raw, want) in KEPT {
        let got = path_with(raw.as_bytes(), BOTH);
        let told = got
            .as_ref()
            .map(|path| (path.as_str(), path.forward()))
            .map_err(|reject| reject.reason());
        assert_eq!(told, *want, "{raw:?}");
        let Ok(path) = got else { continue };
        assert_eq!(path.recorded(), path.forward());
        let again = path_with(path.forward().as_bytes(), BOTH).unwrap();
        assert_eq!(again, path, "{raw:?}");
        let bare = super::path(path.as_str().as_bytes()).unwrap();
        assert_eq!(bare.forward(), path.as_str(), "{raw:?}");
    }
    let only = |slashes, empties| PathOpts {
        params: false,
        slashes,
        empties,
    };
    let forward = |raw: &str, opts| {
        let path = path_with(raw.as_bytes(), opts).map(|path| path.forward().to_owned());
        path.map_err(|reject| reject.reason())
    };
    assert_eq!(forward("/a//b", only(true, false)).as_deref(), Ok("/a/b"));
    assert_eq!(forward("/a//b", only(false, true)).as_deref(), Ok("/a//b"));
    assert_eq!(
        forward("/a%2Fb", only(true, false)).as_deref(),
        Ok("/a%2Fb")
    );
    assert_eq!(
        forward("/a%2Fb", only(false, true)),
        Err("path-encoded-delimiter")
    );
    assert_eq!(forward("/a//b", only(false, false)).as_deref(), Ok("/a/b"));
}

#[test]
fn parameters_are_matched_without_and_forwarded_with() {
    for (raw, want) in WITH_PARAMS {
        let got = path_with(
            raw.as_bytes(),
            PathOpts {
                params: true,
                ..PathOpts::default()
            },
        );
        let got = got
            .as_ref()
            .map(|path| (path.as_str(), path.forward()))
            .map_err(|reject| reject.reason());
        assert_eq!(got, *want, "{raw:?}");
        let bare = path(raw.as_bytes());
        let carries = raw.split('?').next().is_some_and(|path| path.contains(';'));
        assert!(!carries || bare.is_err(), "{raw:?}");
    }
}

const HOSTS: &[(&str, Result<&str, &str>)] = &[
    ("paie.example", Ok("paie.example")),
    ("PAIE.Example", Ok("paie.example")),
    ("paie.example.", Ok("paie.example")),
    ("paie.example..", Err("host-bad-name")),
    (".paie.example", Err("host-bad-name")),
    ("paie..example", Err("host-bad-name")),
    ("", Err("host-empty")),
    (".", Err("host-bad-name")),
    ("localhost", Ok("localhost")),
    ("gate.localhost", Ok("gate.localhost")),
    ("été.example", Ok("xn--t-9fab.example")),
    ("xn--t-9fab.example", Ok("xn--t-9fab.example")),
    ("XN--T-9FAB.example", Ok("xn--t-9fab.example")),
    ("xn--a.example", Err("host-bad-name")),
    ("paie.example:443", Err("host-bad-name")),
    ("paie example", Err("host-bad-name")),
    ("paie.example,evil.test", Err("host-bad-name")),
    ("user@paie.example", Err("host-bad-name")),
    ("paie.example/x", Err("host-bad-name")),
    ("paie%2eexample", Err("host-bad-name")),
    ("paie_1.example", Err("host-bad-name")),
    ("-a.example", Err("host-bad-name")),
    ("a-.example", Err("host-bad-name")),
    ("a--b.example", Ok("a--b.example")),
    ("a\u{3002}example", Ok("a.example")),
    ("a\0.example", Err("host-bad-name")),
    ("192.168.1.1", Ok("192.168.1.1")),
    ("192.168.1.1.", Ok("192.168.1.1")),
    ("192.168.1", Err("host-bad-address")),
    ("192.168.1.256", Err("host-bad-address")),
    ("0x7f.1", Err("host-bad-address")),
    ("1.0x7f", Err("host-bad-address")),
    ("[::1]", Ok("[::1]")),
    ("[0:0::1]", Ok("[::1]")),
    ("[::1", Err("host-bad-address")),
    ("[::1%25eth0]", Err("host-bad-address")),
    ("::1", Err("host-bad-name")),
];

#[test]
fn hosts_have_one_form_or_none() {
    for (raw, want) in HOSTS {
        let got = host(raw);
        let got = got
            .as_ref()
            .map(|host| host.as_str())
            .map_err(|reject| reject.reason());
        assert_eq!(got, *want, "{raw:?}");
    }
    let label = "a".repeat(63);
    assert!(host(&format!("{label}.example")).is_ok());
    assert!(host(&format!("a{label}.example")).is_err());
    let long = [label.as_str(); 4].join(".");
    assert!(host(&long).is_err());
    assert_eq!(
        host(&"a".repeat(2000)).unwrap_err().reason(),
        "host-too-long"
    );
}

#[test]
fn connect_and_trace_are_never_methods_but_unusual_tokens_are() {
    for fine in ["GET", "get", "PROPFIND", "M-SEARCH"] {
        assert!(method(fine).is_ok(), "{fine}");
    }
    for bad in ["CONNECT", "TRACE", "trace"] {
        assert_eq!(method(bad).unwrap_err().reason(), "method-refused");
    }
    for bad in ["", "GET ", "G\u{e9}T", "A\nB", "GET/"] {
        assert_eq!(method(bad).unwrap_err().reason(), "method-not-a-token");
    }
}

#[test]
fn an_escaped_spelling_is_the_same_segment() {
    assert!(decoded_eq("%28x%29", b"(x)"));
    assert!(decoded_eq("(x)", b"(x)"));
    assert!(decoded_eq("%C3%A9", "é".as_bytes()));
    assert!(!decoded_eq("%28x", b"(x)"));
    assert!(!decoded_eq("%28", b"%28"));
}

#[test]
fn a_trailing_slash_is_a_last_empty_segment() {
    let all = |path| segments(path).collect::<Vec<_>>();
    assert!(all("/").is_empty());
    assert_eq!(all("/a"), ["a"]);
    assert_eq!(all("/a/"), ["a", ""]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if long() { 1_000_000 } else { 4000 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_canonical_path_is_its_own_canonical_form(raw in "/([a-zA-Z./~%(|]|%2[0-9a-fA-F]|%[4-7][0-9a-f]|%C3%A9|%25|\\.\\.){0,12}") {
        if let Ok(once) = path(raw.as_bytes()) {
            let twice = path(once.as_str().as_bytes()).unwrap();
            prop_assert_eq!(twice.as_str(), once.as_str());
            let dots = once.as_str().split('/').any(|part| part == "." || part == "..");
            prop_assert!(!dots && !once.as_str().contains("//"));
        }
    }

    #[test]
    fn any_bytes_give_a_path_or_a_reason(raw in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(once) = path(&raw) {
            prop_assert!(once.as_str().starts_with('/'));
            prop_assert_eq!(path(once.as_str().as_bytes()).unwrap(), once.clone());
        }
    }

    #[test]
    fn a_canonical_host_is_its_own_canonical_form(raw in "\\PC{0,20}|[a-zA-Z0-9.é-]{0,20}") {
        if let Ok(once) = host(&raw) {
            prop_assert_eq!(host(once.as_str()).unwrap(), once);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if long() { 1_000_000 } else { 4000 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fast_scan_and_the_long_way_agree(path in "/[a./%2?#;x-]{0,40}") {
        let fast = path_text(path.as_bytes());
        let mut long = path.clone();
        // an escape of a letter sends the same path the long way
        long.insert_str(1, "%61");
        let mut short = path.clone();
        short.insert(1, 'a');
        prop_assert_eq!(path_text(short.as_bytes()), path_text(long.as_bytes()));
        if let Ok(text) = fast {
            prop_assert_eq!(path_text(text.as_bytes()), Ok(text.clone()));
        }
    }
}

fn path_text(raw: &[u8]) -> Result<String, &'static str> {
    path(raw)
        .map(|path| path.to_string())
        .map_err(super::Reject::reason)
}
