//! A browser without scripts, made of real curl: cookies, redirects, forms.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::gateway::{Gateway, Person};
use crate::html::{self, Form};
use crate::temp::Temp;

const MAX_HOPS: usize = 12;

/// An answer with the address it came from.
#[derive(Clone, Debug)]
pub struct Answer {
    pub url: String,
    pub status: u16,
    /// `1.1` or `2`.
    pub version: String,
    /// Names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// Returns the value of a header; panics when it came more than once.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.headers_named(name);
        assert!(all.len() < 2, "{name} came more than once: {all:?}");
        all.first().copied()
    }

    #[must_use]
    pub fn headers_named(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(n, _)| n == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Returns the body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let parsed = serde_json::from_str(&self.body);
        parsed.unwrap_or_else(|e| panic!("no JSON from {}: {e}\n{}", self.url, self.body))
    }

    /// Returns the form with this field; panics when the page has none.
    #[must_use]
    pub fn form(&self, field: &str) -> Form {
        html::form_with(&self.body, field).unwrap_or_else(|| {
            panic!(
                "{} ({}) has no form with {field}:\n{}",
                self.url, self.status, self.body
            )
        })
    }

    /// Returns the absolute address that the answer redirects to.
    #[must_use]
    pub fn location(&self) -> Option<String> {
        let is_redirect = matches!(self.status, 301 | 302 | 303 | 307 | 308);
        let target = self.header("location").filter(|_| is_redirect)?;
        Some(resolve(&self.url, target))
    }
}

/// A client with a cookie jar of its own.
#[derive(Debug)]
pub struct Client {
    dir: Temp,
    wrap: Vec<String>,
    source: Option<String>,
    root: PathBuf,
    resolve: Vec<String>,
    next: AtomicU32,
    history: Mutex<Vec<Answer>>,
}

impl Client {
    /// Makes a client of the web door of a demo.
    #[must_use]
    pub fn new(gateway: &Gateway) -> Self {
        let ports = [gateway.https_port(), gateway.http_port()];
        let resolve = ports.map(|port| format!("*:{port}:127.0.0.1"));
        Self::with(&gateway.facts.ca_root, &resolve, &[])
    }

    /// Makes a client of the web door of a demo that comes from an address of its own in 127.0.0.0/8.
    #[must_use]
    pub fn at(gateway: &Gateway, source: &str) -> Self {
        Self {
            source: Some(source.to_owned()),
            ..Self::new(gateway)
        }
    }

    /// Makes a client with `resolve` entries as curl takes them and words before curl.
    #[must_use]
    pub fn with(root: &Path, resolve: &[String], wrap: &[String]) -> Self {
        Self {
            dir: Temp::new(),
            wrap: wrap.to_vec(),
            source: None,
            root: root.to_owned(),
            resolve: resolve.to_vec(),
            next: AtomicU32::new(0),
            history: Mutex::new(Vec::new()),
        }
    }

    /// Opens an address as a browser's tab does, without following redirects.
    #[must_use]
    pub fn open(&self, url: &str) -> Answer {
        self.send(url, &NAVIGATION)
    }

    /// Opens an address and follows redirects.
    #[must_use]
    pub fn follow(&self, url: &str) -> Answer {
        self.follow_from(self.open(url))
    }

    /// Asks as a script does: no cookie-less redirect is expected.
    #[must_use]
    pub fn fetch(&self, url: &str) -> Answer {
        self.send(url, &[])
    }

    /// Opens an address as [`Client::open`] does.
    ///
    /// # Errors
    /// What curl says when no answer came.
    pub fn try_open(&self, url: &str) -> Result<Answer, String> {
        self.try_send(url, &NAVIGATION)
    }

    /// Sends a form from the page it stands on, without following redirects.
    #[must_use]
    pub fn submit(&self, page: &Answer, form: &Form) -> Answer {
        self.try_submit(page, form)
            .unwrap_or_else(|e| panic!("no answer to {form:?} of {}: {e}", page.url))
    }

    /// Sends a form as [`Client::submit`] does.
    ///
    /// # Errors
    /// What curl says when no answer came.
    pub fn try_submit(&self, page: &Answer, form: &Form) -> Result<Answer, String> {
        let origin = format!("Origin: {}", origin(&page.url));
        let mut args = NAVIGATION.to_vec();
        args.extend(["-H", &origin, "-H", "Sec-Fetch-Site: same-origin"]);
        let fields: Vec<String> = form
            .fields
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        args.extend(["-X", "POST"]);
        for field in &fields {
            args.extend(["--data-urlencode", field]);
        }
        self.try_send(&resolve(&page.url, &form.action), &args)
    }

    /// Signs in from `url` with a fresh code and returns the page that was asked for.
    pub fn sign_in(&self, url: &str, person: &Person) -> Answer {
        let page = self.password(url, person, &person.password);
        let code = person.code();
        self.code(&page, &code)
    }

    /// Sends the first form and returns the page after it.
    #[must_use]
    pub fn password(&self, url: &str, person: &Person, password: &str) -> Answer {
        let page = self.follow(url);
        let mut form = page.form("password");
        form.set("username", &person.user);
        form.set("password", password);
        self.follow_from(self.submit(&page, &form))
    }

    /// Sends the second form and returns the page after it.
    #[must_use]
    pub fn code(&self, page: &Answer, code: &str) -> Answer {
        let mut form = page.form("code");
        form.set("code", code);
        self.follow_from(self.submit(page, &form))
    }

    /// Follows the redirects of an answer.
    #[must_use]
    pub fn follow_from(&self, mut answer: Answer) -> Answer {
        for _ in 0..MAX_HOPS {
            let Some(next) = answer.location() else {
                return answer;
            };
            answer = self.open(&next);
        }
        panic!("more than {MAX_HOPS} redirects, last {answer:?}");
    }

    /// Returns every answer so far.
    #[must_use]
    pub fn history(&self) -> Vec<Answer> {
        self.history.lock().unwrap().clone()
    }

    /// Returns the value of a cookie that this client holds for a host.
    #[must_use]
    pub fn cookie(&self, host: &str, name: &str) -> Option<String> {
        let jar = fs::read_to_string(self.jar()).unwrap_or_default();
        let mut found = jar.lines().filter_map(|line| {
            let line = line.strip_prefix("#HttpOnly_").unwrap_or(line);
            let parts: Vec<_> = line.split('\t').collect();
            let matches = parts.len() == 7 && parts[0] == host && parts[5] == name;
            matches.then(|| parts[6].to_owned())
        });
        found.next()
    }

    /// Runs curl with further arguments; panics when no answer came.
    #[must_use]
    pub fn send(&self, url: &str, args: &[&str]) -> Answer {
        self.try_send(url, args)
            .unwrap_or_else(|e| panic!("no answer from {url} {args:?}: {e}"))
    }

    /// Runs curl with further arguments.
    ///
    /// # Errors
    /// What curl says when no answer came.
    pub fn try_send(&self, url: &str, args: &[&str]) -> Result<Answer, String> {
        let answer = self.once(url, args);
        match &answer {
            // a server may answer before the body has come and reset the stream (RFC 9113 section 8.1);
            // this curl loses the answer then
            Err(error) if error.starts_with("curl: (92)") => self.once(url, args),
            _ => answer,
        }
    }

    /// Runs curl once, whatever it loses.
    ///
    /// # Errors
    /// What curl says when no answer came.
    pub fn once(&self, url: &str, args: &[&str]) -> Result<Answer, String> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let file = |kind: &str| self.dir.path().join(format!("{number}.{kind}"));
        let (head, body) = (file("head"), file("body"));
        let mut words = self.wrap.clone();
        words.extend(["curl", "-sS", "--max-time", "30", "-q"].map(str::to_owned));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("--cacert").arg(&self.root);
        command.arg("-b").arg(self.jar()).arg("-c").arg(self.jar());
        command.arg("-D").arg(&head).arg("-o").arg(&body);
        if let Some(source) = &self.source {
            command.args(["--interface", source]);
        }
        for entry in &self.resolve {
            command.args(["--resolve", entry]);
        }
        command.args(["-w", "%{http_code} %{http_version}"]);
        let output = command.args(args).arg(url).output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let summary = String::from_utf8(output.stdout).unwrap();
        let (status, version) = summary.split_once(' ').unwrap();
        let answer = Answer {
            url: url.to_owned(),
            status: status.parse().unwrap(),
            version: version.to_owned(),
            headers: last_head(&fs::read_to_string(&head).unwrap_or_default()),
            body: String::from_utf8_lossy(&fs::read(&body).unwrap_or_default()).into_owned(),
        };
        self.history.lock().unwrap().push(answer.clone());
        Ok(answer)
    }

    fn jar(&self) -> PathBuf {
        self.dir.path().join("jar")
    }
}

const NAVIGATION: [&str; 6] = [
    "-H",
    "Accept: text/html,application/xhtml+xml,*/*;q=0.8",
    "-H",
    "Sec-Fetch-Mode: navigate",
    "-H",
    "Sec-Fetch-Dest: document",
];

/// Returns scheme, host and port of an address.
#[must_use]
pub fn origin(url: &str) -> &str {
    let start = url.find("://").unwrap() + 3;
    let end = url[start..].find('/').map_or(url.len(), |i| start + i);
    &url[..end]
}

/// Returns the host of an address, without its port.
#[must_use]
pub fn host(url: &str) -> &str {
    let authority = origin(url).split_once("://").unwrap().1;
    authority.split(':').next().unwrap()
}

fn resolve(base: &str, target: &str) -> String {
    if target.contains("://") {
        return target.to_owned();
    }
    if let Some(rest) = target.strip_prefix("//") {
        return format!("https://{rest}");
    }
    if target.is_empty() {
        return base.to_owned();
    }
    if let Some(query) = target.strip_prefix('?') {
        return format!("{}?{query}", base.split('?').next().unwrap());
    }
    if target.starts_with('/') {
        return format!("{}{target}", origin(base));
    }
    panic!("a relative target is not expected: {target}");
}

fn last_head(text: &str) -> Vec<(String, String)> {
    let text = text.replace("\r\n", "\n");
    let block = text.trim_end().rsplit("\n\n").next().unwrap_or_default();
    let fields = block.lines().skip(1);
    fields
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        .collect()
}
/// Starts a gateway with a policy, and a browser of demo's that is signed in.
#[must_use]
pub fn signed_in(policy: &str) -> (Gateway, Client) {
    let gateway = Gateway::demo();
    gateway.set_policy(policy);
    let client = Client::new(&gateway);
    let page = client.sign_in(&gateway.facts.app, &gateway.facts.demo);
    assert!(page.status < 600, "{page:?}");
    (gateway, client)
}
