//! Whatever a file says.

use proptest::prelude::*;

use super::super::files::of_text;
use super::super::translate;
use super::import;

const WORDS: [&str; 64] = [
    "server",
    "location",
    "http",
    "upstream",
    "if",
    "map",
    "{",
    "{",
    "}",
    "}",
    ";",
    ";",
    ";",
    ";",
    "/",
    "=",
    "~",
    "^~",
    "/a",
    "/a/",
    "/a/b",
    "=/a",
    "@x",
    "proxy_pass",
    "http://h:1",
    "http://h/",
    "https://u/x/",
    "server_name",
    "a.example",
    "*.b.example",
    "return",
    "301",
    "404",
    "https://$host$request_uri",
    "/new",
    "rewrite",
    "^/a/(.*)$",
    "/$1",
    "break",
    "root",
    "/srv",
    "alias",
    "try_files",
    "$uri",
    "/index.html",
    "@x",
    "add_header",
    "X-A",
    "Cache-Control",
    "public",
    "expires",
    "1y",
    "client_max_body_size",
    "1m",
    "gzip",
    "on",
    "allow",
    "10.0.0.1",
    "deny",
    "all",
    "limit_req",
    "zone=z",
    "X-Frame-Options",
    "'quoted;'",
];

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}", odd in "[a-c{};#'\"\\\\$ \n]{0,80}") {
        for text in [&text, &odd] {
            if let Ok(read) = of_text("f", text) {
                translate(&read);
            }
        }
    }

    #[test]
    fn whatever_is_read_makes_a_policy_that_loads(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..60)) {
        let inner = words.join(" ");
        let open = inner.matches('{').count().saturating_sub(inner.matches('}').count());
        let text = format!("limit_req_zone $remote_addr zone=z:1m rate=1r/s; server {{ server_name z.example; {inner} ; {} }}", "}".repeat(open));
        if of_text("f", &text).is_ok() {
            import(&text);
        }
    }

    #[test]
    fn whatever_a_block_says_its_policy_loads(
        lines in prop::collection::vec((0_usize..20, prop::sample::select(&WORDS[18..]), prop::sample::select(&WORDS[18..])), 0..12)
    ) {
        const NAMES: [&str; 20] = ["proxy_pass", "return", "rewrite", "root", "alias", "try_files", "add_header", "expires", "allow",
            "deny", "client_max_body_size", "limit_req", "gzip_types", "index", "proxy_set_header", "proxy_hide_header", "internal",
            "proxy_ssl_name", "proxy_cache_valid", "server_name"];
        let mut text = String::from("limit_req_zone $remote_addr zone=z:1m rate=1r/s; server { server_name z.example; ");
        for (at, (name, one, two)) in lines.iter().enumerate() {
            if at % 3 == 0 {
                text += &format!("location {one} {{ ");
            }
            text += &format!("{} {one} {two}; ", NAMES[*name]);
            if at % 3 == 2 {
                text += "} ";
            }
        }
        if lines.len() % 3 != 0 {
            text += "} ";
        }
        text += "}";
        if of_text("f", &text).is_ok() {
            import(&text);
        }
    }
}
