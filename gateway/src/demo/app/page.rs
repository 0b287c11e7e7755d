//! The pages of the trial's application.

use super::http::Request;

/// An answer with a body in memory.
pub(super) struct Answer {
    status: &'static str,
    kind: &'static str,
    cookie: Option<String>,
    /// The body.
    pub(super) body: String,
}

impl Answer {
    /// Writes the head.
    pub(super) fn head(&self, closes: bool) -> String {
        let cookie = self.cookie.as_ref().map(|c| format!("Set-Cookie: {c}\r\n"));
        let connection = if closes { "close" } else { "keep-alive" };
        format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{}\
             Connection: {connection}\r\n\r\n",
            self.status,
            self.kind,
            self.body.len(),
            cookie.unwrap_or_default(),
        )
    }
}

/// Answers a request whose body had `received` bytes.
pub(super) fn answer(request: &Request, received: u64) -> Answer {
    match (request.method.as_str(), request.path()) {
        ("GET" | "HEAD", "/") => Answer {
            cookie: Some(visits(request)),
            ..html("200 OK", &front(request))
        },
        ("GET" | "HEAD", "/vault") => html(
            "200 OK",
            "<h1>The vault</h1><p>You gave a code within the last five minutes.</p><p><a href=\"/\">Back</a></p>",
        ),
        ("GET" | "HEAD", "/headers") => json(&fields(request)),
        ("POST" | "PUT" | "PATCH" | "DELETE", path) => json(&serde_json::json!({
            "method": request.method, "path": path, "received": received,
        })),
        _ => html(
            "404 Not Found",
            "<h1>Not here</h1><p><a href=\"/\">Back</a></p>",
        ),
    }
}

/// Counts visits in a cookie of the application's own.
fn visits(request: &Request) -> String {
    let cookies = request.field("cookie").unwrap_or_default();
    let mut pairs = cookies.split("; ").filter_map(|pair| pair.split_once('='));
    let count = pairs
        .find(|(name, _)| *name == "__Host-demo-visits")
        .and_then(|(_, count)| count.parse::<u32>().ok())
        .unwrap_or(0)
        .saturating_add(1);
    format!("__Host-demo-visits={count}; Path=/; Secure; HttpOnly; SameSite=Lax")
}

fn fields(request: &Request) -> serde_json::Value {
    let pair =
        |(name, value): &(String, String)| serde_json::json!([name.to_ascii_lowercase(), value]);
    request.fields.iter().map(pair).collect()
}

fn front(request: &Request) -> String {
    let user = request.field("x-postern-user").unwrap_or("nobody");
    let rows: String = request
        .fields
        .iter()
        .filter(|(name, _)| is_identity(name))
        .map(|(name, value)| format!("<tr><th>{}<td>{}", escape(name), escape(value)))
        .collect();
    format!(
        "<h1>Hello {}</h1><p>This is the application behind the gateway. It has no sign-in of its own; \
         the gateway says who you are:</p><table>{rows}</table>\
         <p><a href=\"/vault\">Vault</a> asks for a fresh code. <a href=\"/headers\">Headers</a> shows all that \
         arrived. <a href=\"/download?bytes=1000000\">Download</a> streams.</p>\
         <form method=\"post\" action=\"/upload\"><button>Post</button></form>\
         <p>WebSocket echo: <code>/ws</code>. Events: <code>/events</code>.</p>",
        escape(user)
    )
}

fn is_identity(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    (name.starts_with("x-postern-") || name.starts_with("x-forwarded-")) && name != "x-postern-jwt"
}

fn html(status: &'static str, inner: &str) -> Answer {
    Answer {
        status,
        kind: "text/html; charset=utf-8",
        cookie: None,
        body: format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>Demo app</title>\
             <style>body{{font:16px system-ui;max-width:44rem;margin:3rem auto;padding:0 1rem}}\
             th{{text-align:left;padding-right:1rem}}</style>{inner}</html>\n"
        ),
    }
}

fn json(value: &serde_json::Value) -> Answer {
    Answer {
        status: "200 OK",
        kind: "application/json",
        cookie: None,
        body: format!("{value}\n"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
