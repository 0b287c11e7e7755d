//! The three nginx blocks of common deployment guides, each beside a policy that says the same.

use std::path::Path;

/// One guide's block, and the policy in its place.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub name: &'static str,
    /// What stands outside the server, and inside it.
    pub nginx: [&'static str; 2],
    pub app: &'static str,
    pub areas: &'static str,
    /// What its server of port 80 does, where it has one.
    pub plain: Option<&'static str>,
    /// Requests of its own, as those of [`FIELDS`]; a `METHOD` may stand before them.
    pub more: &'static [&'static str],
}

const PROXY: &str = "proxy_pass http://127.0.0.1:APP_PORT;
        proxy_set_header Host $host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;";

const ONWARD: &str = "return 301 https://$server_name$request_uri;";

/// Pay, by Streamlit.
pub const PAYROLL: Block = Block {
    name: "payroll",
    nginx: [
        "limit_req_zone $binary_remote_addr zone=login:10m rate=5r/m;",
        r#"
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_ciphers HIGH:!aNULL:!MD5;
    ssl_prefer_server_ciphers on;
    add_header Strict-Transport-Security "max-age=31536000; includeSubDomains" always;
    add_header X-Frame-Options "SAMEORIGIN" always;
    add_header X-Content-Type-Options "nosniff" always;
    add_header X-XSS-Protection "1; mode=block" always;
    location / {
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection "upgrade";
        PROXY
        proxy_read_timeout 86400;
    }
    client_max_body_size 100M;
    location /login {
        limit_req zone=login burst=5;
    }"#,
    ],
    app: "preset = \"dashboard\"\nbody-max = \"100MiB\"\nwebsocket = true\ntimeout = { stream = \"24h\" }",
    areas: "",
    plain: Some(ONWARD),
    more: &["/login", "POST /login", "/login/other"],
};

/// A workshop's orders.
pub const ERP: Block = Block {
    name: "erp",
    nginx: ["", "\n    location / {\n        PROXY\n    }"],
    app: "preset = \"none\"\nbody-max = \"1MiB\"",
    areas: "",
    plain: None,
    more: &[],
};

/// Figures, with a cache.
pub const KPI: Block = Block {
    name: "kpi",
    nginx: [
        "proxy_cache_path DIR/cache levels=1:2 keys_zone=api_cache:10m;
    gzip on;
    gzip_vary on;
    gzip_proxied any;
    gzip_comp_level 6;
    gzip_types text/plain text/css text/xml text/javascript application/json application/javascript application/xml+rss application/rss+xml font/truetype font/opentype application/vnd.ms-fontobject image/svg+xml;",
        r#"
    add_header X-Frame-Options "SAMEORIGIN" always;
    add_header X-Content-Type-Options "nosniff" always;
    add_header X-XSS-Protection "1; mode=block" always;
    add_header Referrer-Policy "no-referrer-when-downgrade" always;
    add_header Content-Security-Policy "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';" always;
    location / {
        PROXY
    }
    location /api {
        proxy_cache api_cache;
        proxy_cache_valid 200 5m;
        proxy_cache_use_stale error timeout updating http_500 http_502 http_503 http_504;
        proxy_cache_background_update on;
        proxy_cache_lock on;
        PROXY
    }
    location /static {
        expires 1y;
        add_header Cache-Control "public, immutable";
        PROXY
    }"#,
    ],
    app: "preset = \"spa\"\nbody-max = \"1MiB\"\ncompress = { types = [\"text/plain\", \"text/html\", \"text/css\", \"text/xml\", \"text/javascript\", \
          \"application/json\", \"application/javascript\", \"application/xml+rss\", \"application/rss+xml\", \
          \"font/truetype\", \"font/opentype\", \"application/vnd.ms-fontobject\", \"image/svg+xml\"], min = \"20B\", level = 6 }",
    areas: "[app.app.\"/api\"]\ncache = { ttl = \"5m\", stale = \"1h\", shared = \"figures are the same for all\" }\n\
            allow.people = { who = [\"demo\"] }\n\
            [app.app.\"/static\"]\nset = { Cache-Control = \"public, max-age=31536000, immutable\" }\n\
            allow.people = { who = [\"demo\"] }\n",
    plain: Some(ONWARD),
    more: &[
        "/api/counted",
        "/api/counted",
        "/api/counted?a=1",
        "HEAD /api/counted",
        "POST /api/counted",
        "/api/data Accept-Encoding: gzip",
        "/api/status/404",
        "/kind/application/xml+rss Accept-Encoding: gzip",
        "/kind/application/rss+xml Accept-Encoding: gzip",
        "/kind/font/truetype Accept-Encoding: gzip",
        "/kind/font/opentype Accept-Encoding: gzip",
        "/kind/application/vnd.ms-fontobject Accept-Encoding: gzip",
        "/kind/font/woff2 Accept-Encoding: gzip",
        "/kind/application/rss+xml",
        "/static/style",
        "/static/style Accept-Encoding: gzip",
        "/static/picture",
        "/static/status/404",
        "POST /static/style",
    ],
};

/// Returns the block as nginx's http block has it: what stands outside, then the server.
#[must_use]
pub fn server(block: &Block, dir: &Path, port: u16, origin: u16, name: &str) -> String {
    let [outside, inside] = block.nginx;
    let text = format!(
        "{outside}\n server {{\n listen 127.0.0.1:{port} ssl http2;\n server_name {name};\n \
         ssl_certificate DIR/chain.pem;\n ssl_certificate_key DIR/key.pem;\n{inside}\n}}"
    );
    let text = text.replace("PROXY", PROXY);
    let text = text.replace("APP_PORT", &origin.to_string());
    text.replace("DIR", &dir.display().to_string())
}

/// Returns its server of port 80, where it has one.
#[must_use]
pub fn onward(block: &Block, port: u16, name: &str) -> String {
    let server =
        |does| format!("server {{\n listen 127.0.0.1:{port};\n server_name {name};\n {does}\n}}\n");
    block.plain.map(server).unwrap_or_default()
}
