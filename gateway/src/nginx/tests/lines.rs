//! Single lines, each with what became of it.

use super::super::Verdict;
use super::{import, row, site};

/// Lines of a server and of its location, and what stands in the policy, or what is said of what does not.
#[test]
fn lines_are_carried_over_and_what_is_none_is_said_not_to_be() {
    use Verdict::{Carried, Differs, Done, NotUnderstood};
    for (own, inner, name, verdict, holds) in [
        (
            "client_max_body_size 0;",
            "",
            "client_max",
            Carried,
            "body-max = \"1024GiB\"",
        ),
        (
            "client_max_body_size much;",
            "",
            "client_max",
            NotUnderstood,
            "body-max = \"1MiB\"",
        ),
        (
            "",
            "proxy_read_timeout 5m;",
            "proxy_read",
            Carried,
            "timeout.head = \"5m\"",
        ),
        (
            "",
            "proxy_read_timeout soon;",
            "proxy_read",
            NotUnderstood,
            "websocket = false",
        ),
        (
            "",
            "proxy_connect_timeout 9s;",
            "proxy_connect",
            Carried,
            "timeout.connect = \"9s\"",
        ),
        (
            "",
            "proxy_set_header Upgrade $http_upgrade;",
            "proxy_set",
            Carried,
            "websocket = true",
        ),
        (
            "",
            "proxy_set_header Upgrade other;",
            "proxy_set",
            NotUnderstood,
            "websocket = false",
        ),
        (
            "",
            "proxy_set_header X-Remote-User $remote_user;",
            "proxy_set",
            Carried,
            "X-Remote-User = \"{user}\"",
        ),
        (
            "",
            "proxy_set_header X-Real-IP $remote_addr;",
            "proxy_set",
            Done,
            "upstream",
        ),
        (
            "",
            "proxy_set_header Host x;",
            "proxy_set",
            Differs,
            "upstream",
        ),
        (
            "add_header X-Own \"a 'b'\";",
            "",
            "add_header",
            Carried,
            "set = { X-Own = \"a 'b'\" }",
        ),
        (
            "add_header X-Own $host;",
            "",
            "add_header",
            NotUnderstood,
            "upstream",
        ),
        (
            "add_header Set-Cookie a=b;",
            "",
            "add_header",
            NotUnderstood,
            "upstream",
        ),
        (
            "add_header X-Frame-Options DENY;",
            "",
            "add_header",
            Carried,
            "keep-app = [\"x-frame-options\"]",
        ),
        (
            "add_header Strict-Transport-Security max-age=9;",
            "",
            "add_header",
            Differs,
            "upstream",
        ),
        (
            "add_header Access-Control-Allow-Origin https://b.example;",
            "",
            "add_header",
            Carried,
            "cors = { origins = [\"https://b.example\"] }",
        ),
        (
            "add_header Access-Control-Allow-Origin *;",
            "",
            "add_header",
            Differs,
            "upstream",
        ),
        (
            "expires 1h;",
            "",
            "expires",
            Carried,
            "set = { Cache-Control = \"max-age=3600\" }",
        ),
        ("expires never;", "", "expires", NotUnderstood, "upstream"),
        (
            "proxy_hide_header X-Powered-By;",
            "",
            "proxy_hide",
            Carried,
            "remove = [\"x-powered-by\"]",
        ),
        (
            "gzip on; gzip_min_length 1k;",
            "",
            "gzip",
            Carried,
            "compress = { types = [\"text/html\"], min = \"1KiB\", level = 1 }",
        ),
        (
            "gzip on; gzip_types *;",
            "",
            "gzip_types",
            Differs,
            "types = [\"text/html\"]",
        ),
        (
            "gzip on; gzip_comp_level 0;",
            "",
            "gzip_comp",
            NotUnderstood,
            "level = 1",
        ),
        (
            "allow 10.1.2.3/8; deny all;",
            "",
            "allow",
            Carried,
            "net-1 = \"10.0.0.0/8\"",
        ),
        (
            "deny 10.1.2.3; allow all;",
            "",
            "deny",
            NotUnderstood,
            "# allow.a = { who = \"@a\" }",
        ),
        (
            "",
            "if ($arg_a) { return 403; }",
            "if",
            NotUnderstood,
            "# allow.a = { who = \"@a\" }",
        ),
        (
            "",
            "if ($request_method !~ ^(GET|POST)$) { return 405; }",
            "if",
            Carried,
            "methods = [\"GET\", \"POST\"]",
        ),
        (
            "",
            "limit_except GET { deny all; }",
            "limit_except",
            Carried,
            "methods = [\"GET\"]",
        ),
        (
            "",
            "limit_except GET { allow 10.0.0.1; deny all; }",
            "limit_except",
            NotUnderstood,
            "# allow.a",
        ),
        ("auth_basic x;", "", "auth_basic", Differs, "allow.a"),
        (
            "auth_basic_user_file /f;",
            "",
            "auth_basic_user",
            Differs,
            "allow.a",
        ),
        (
            "error_page 502 /x.html;",
            "",
            "error_page",
            Differs,
            "allow.a",
        ),
        (
            "",
            "rewrite ^/(.*)$ /base/$1 break;",
            "rewrite",
            Carried,
            "add-prefix = \"/base\"",
        ),
        (
            "",
            "rewrite ^/a(b)$ /$1 break;",
            "rewrite",
            NotUnderstood,
            "allow.a",
        ),
        (
            "ssl_verify_client on;",
            "",
            "ssl_verify",
            NotUnderstood,
            "upstream",
        ),
    ] {
        let import = import(&site(own, inner));
        let row = row(&import, name);
        assert_eq!(row.verdict, verdict, "{own}{inner}: {row:?}");
        assert!(import.text.contains(holds), "{own}{inner}\n{}", import.text);
    }
}

#[test]
fn locations_are_areas_where_a_path_of_whole_segments_says_it() {
    use Verdict::{Carried, Differs, NotUnderstood};
    for (line, verdict, holds) in [
        (
            "location /b/ { proxy_pass http://h:1/; }",
            Carried,
            "[app.a.\"/b\"]\nstrip-prefix = \"/b\"\nupstream = \"http://h:1\"\nallow.a",
        ),
        (
            "location /b/ { proxy_pass http://h:1/c/; }",
            Carried,
            "add-prefix = \"/c\"\nstrip-prefix = \"/b\"",
        ),
        (
            "location = /b { proxy_pass http://h:1; }",
            Carried,
            "[app.a.\"=/b\"]\nupstream = \"http://h:1\"",
        ),
        (
            "location ^~ /b { proxy_pass ftp://h:1; }",
            Carried,
            "nobody may go here",
        ),
        (
            "location /b { grpc_pass grpc://h:1; }",
            Carried,
            "upstream = \"h2c://h:1\"",
        ),
        (
            "location /b { proxy_pass http://unix:/run/s:/; }",
            Carried,
            "upstream = \"unix:/run/s\"",
        ),
        (
            "location /b { proxy_pass http://$up; }",
            Carried,
            "nobody may go here",
        ),
        (
            "location ~ ^/b/ { proxy_pass http://h:1; }",
            Carried,
            "[app.a.\"/b\"]",
        ),
        (
            "location ~ ^/b$ { proxy_pass http://h:1; }",
            Carried,
            "[app.a.\"=/b\"]",
        ),
        (
            "location ~* \\.js$ { expires 1d; }",
            NotUnderstood,
            "#   site.conf:2  location",
        ),
        (
            "location ~ \\.php$ { fastcgi_pass h:1; }",
            NotUnderstood,
            "# allow.a = { who = \"@a\" }",
        ),
        (
            "location ~ b { deny all; }",
            NotUnderstood,
            "# allow.a = { who = \"@a\" }",
        ),
        ("location ~ /\\.ht { deny all; }", Differs, "upstream"),
        ("location /b%2Fc { deny all; }", NotUnderstood, "# allow.a"),
        (
            "location /b { deny all; }",
            Carried,
            "# nobody may go here: site.conf:2 denies all",
        ),
        (
            "location /b { internal; }",
            Carried,
            "# nobody may go here: nginx answers only its own",
        ),
        (
            "location /b { return 301 /c; }",
            Carried,
            "redirect = { to = \"/c\", status = 301 }",
        ),
        (
            "location /b { return 302 https://c.example$request_uri; }",
            Carried,
            "to = \"https://c.example/b/*\", status = 302",
        ),
        (
            "location /b { return 301 https://$host$request_uri; }",
            Carried,
            "# nobody may go here",
        ),
        (
            "location /b { return 200 ok; }",
            Carried,
            "# nobody may go here",
        ),
        (
            "location /b { alias /srv/b/; try_files $uri /b/i.html; }",
            Carried,
            "static = { root = \"/srv/b\", fallback = \"i.html\" }",
        ),
        (
            "location /b { root /srv; index x.html; }",
            Carried,
            "static = { root = \"/srv/b\", index = \"x.html\" }",
        ),
        (
            "location /b { alias /srv/$b; }",
            Carried,
            "# nobody may go here",
        ),
        (
            "location = /b { root /srv; }",
            NotUnderstood,
            "# nobody may go here",
        ),
        (
            "location /b { fastcgi_pass h:1; }",
            Carried,
            "# nobody may go here",
        ),
        (
            "location /b { expires 1d; }",
            Differs,
            "set = { Cache-Control = \"max-age=86400\" }",
        ),
        (
            "location /b { try_files $uri @c; } location @c { proxy_pass http://h:1; }",
            Carried,
            "upstream = \"http://h:1\"",
        ),
        (
            "location /b { location /b/c { proxy_pass http://h:1; } }",
            Differs,
            "[app.a.\"/b/c\"]",
        ),
    ] {
        let text = site("", "").replace("\nlocation / ", &format!("\n{line}\nlocation / "));
        let import = import(&text);
        let row = row(&import, "location");
        assert_eq!(row.verdict, verdict, "{line}: {row:?}");
        assert!(import.text.contains(holds), "{line}\n{}", import.text);
    }
}
