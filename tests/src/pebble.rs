//! Debian's test directory `pebble` with its DNS, and a gateway that orders there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use certs::{DAY, Root};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::gateway::{binary, run_with_config};
use crate::ports::{Offset, free_tcp};
use crate::process::{Program, after, find};
use crate::temp::Temp;
use crate::{totp, wait};

const LIMIT: Duration = crate::wait::PATIENCE;

/// How a directory is started.
///
/// What pebble can be made to fail at by itself: `PEBBLE_WFE_NONCEREJECT` refuses good nonces, and
/// `PEBBLE_AUTHZREUSE` decides how often a valid authorization is used again rather than proved anew,
/// both in percent. Zero percent of the latter is still one order in a hundred (pebble draws a number
/// below 100 and compares by "greater than"): who wants everything proved takes a new account, see
/// [`Site::forget_account`]. `PEBBLE_VA_NOSLEEP` leaves out the random wait before a validation, and
/// `PEBBLE_VA_ALWAYS_VALID`, which would validate nothing, is never set. Validations fail by what
/// they find: tests spoil the DNS, the port or the answer.
#[derive(Debug)]
pub struct Setup {
    /// How many of a hundred good nonces are refused.
    pub nonce_reject: u8,
    /// How many of a hundred valid authorizations are used again; pebble's own default is 50.
    pub reuse: u8,
    /// Seconds that its certificates are valid.
    pub validity: u64,
    /// An external account: identifier and key in base64url.
    pub external: Option<(String, String)>,
    /// The port of loopback whose DNS it asks; its own DNS answers everything with loopback.
    pub dns: Option<u16>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            // a directory may always do so. Source: RFC 8555 section 6.5
            nonce_reject: 20,
            reuse: 50,
            validity: 90 * 86_400,
            external: None,
            dns: None,
        }
    }
}

/// A running directory with a DNS of its own.
#[derive(Debug)]
pub struct Pebble {
    dir: Temp,
    pub port: u16,
    management: u16,
    dns_port: u16,
    dns_management: u16,
    _dns: Program,
    _pebble: Program,
}

impl Pebble {
    /// Starts a directory that looks at challenges on the ports of `site`.
    #[must_use]
    pub fn start(site: &Site, setup: &Setup) -> Self {
        let dir = Temp::new();
        let [port, management, dns_port, dns_management] = [(); 4].map(|()| free_tcp());
        let dns = start_dns(&dir, dns_port, dns_management);
        own_certificate(&dir);
        let asked = setup.dns.unwrap_or(dns_port);
        let external = setup.external.as_ref();
        let keys = external.map_or(json!({}), |(kid, key)| json!({ kid: key }));
        let config = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": dir.path().join("ca-chain.pem"),
            "privateKey": dir.path().join("ca.key"),
            "httpPort": site.http,
            "tlsPort": site.https,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": external.is_some(),
            "externalAccountMACKeys": keys,
            "certificateValidityPeriod": setup.validity,
        }});
        let config = dir.write("pebble.json", config.to_string());
        let mut command = Command::new(find(&["pebble"]));
        command.arg("-config").arg(config);
        command.args(["-strict=false", "-dnsserver", &format!("127.0.0.1:{asked}")]);
        command.env("PEBBLE_VA_NOSLEEP", "1");
        command.env("PEBBLE_WFE_NONCEREJECT", setup.nonce_reject.to_string());
        command.env("PEBBLE_AUTHZREUSE", setup.reuse.to_string());
        let mut pebble = Program::start(command, dir.path(), "pebble");
        for port in [port, management, dns_management] {
            pebble.listens(port);
        }
        Self {
            dir,
            port,
            management,
            dns_port: asked,
            dns_management,
            _dns: dns,
            _pebble: pebble,
        }
    }

    /// Returns what `[[acme.directory]]` says of it.
    #[must_use]
    pub fn entry(&self) -> String {
        let roots = self.dir.path().join("ca-root.pem");
        format!(
            "[[acme.directory]]\nurl = \"https://localhost:{}/dir\"\nroots = \"{}\"\n",
            self.port,
            roots.display()
        )
    }

    /// Returns the file of the root that its certificates stand under.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        let url = format!("https://127.0.0.1:{}/roots/0", self.management);
        let output = Command::new("curl").args(["-sSk", &url]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        self.dir.write("issuing-root.pem", output.stdout)
    }

    /// Returns the resolver, as `[tunnel] dns` names it.
    #[must_use]
    pub fn resolver(&self) -> String {
        format!("127.0.0.1:{}", self.dns_port)
    }

    /// Tells the DNS something, such as `set-txt`.
    pub fn dns(&self, what: &str, body: &Value) {
        let url = format!("http://127.0.0.1:{}/{what}", self.dns_management);
        let output = Command::new("curl")
            .args(["-sSf", "-d", &body.to_string(), &url])
            .output()
            .unwrap();
        assert!(output.status.success(), "{what}: {output:?}");
    }

    /// Writes a hook program that sets records at this DNS; `value` stands for `$3`.
    #[must_use]
    pub fn hook(&self, value: &str) -> PathBuf {
        let url = format!("http://127.0.0.1:{}", self.dns_management);
        let text = format!(
            "#!/bin/sh\ncase $1 in\n\
             present) curl -sSf -d '{{\"host\":\"'\"$2\"'.\",\"value\":\"'\"{value}\"'\"}}' {url}/set-txt;;\n\
             cleanup) curl -sSf -d '{{\"host\":\"'\"$2\"'.\"}}' {url}/clear-txt;;\nesac\n"
        );
        let path = self.dir.write("hook", text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    /// Returns a folder for other files of a test.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.dir.path()
    }
}

fn start_dns(dir: &Temp, port: u16, management: u16) -> Program {
    let mut command = Command::new(find(&["pebble-challtestsrv"]));
    command.args(["-http01", "", "-https01", "", "-tlsalpn01", ""]);
    command.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
    command.arg("-dns01").arg(format!("127.0.0.1:{port}"));
    command
        .arg("-management")
        .arg(format!("127.0.0.1:{management}"));
    Program::start(command, dir.path(), "dns")
}

/// Makes the directory's own HTTPS certificate.
fn own_certificate(dir: &Temp) {
    let now = i64::try_from(totp::now()).unwrap();
    let root = Root::create("Directory root", now).unwrap();
    let ca = root.intermediate("Directory", now).unwrap();
    let leaf = ca.issue(&["localhost"], now, 30 * DAY).unwrap();
    dir.write("ca-root.pem", ca.root_pem());
    dir.write("ca-chain.pem", &leaf.chain_pem);
    dir.write("ca.key", leaf.key_pem.as_bytes());
}

/// Returns the section `[acme]` with more of its keys, and its directories.
#[must_use]
pub fn acme(more: &str, directories: &[&str]) -> String {
    format!(
        "[acme]\nagree-to-terms = true\n{more}\n{}",
        directories.concat()
    )
}

/// A gateway on free ports, with its own configuration.
#[derive(Debug)]
pub struct Site {
    dir: Temp,
    _offset: Offset,
    pub https: u16,
    pub http: u16,
    pub admin: u16,
}

impl Site {
    /// Makes a site with the sign-in host `gate.example.test` and this policy besides its people.
    #[must_use]
    pub fn new(policy: &str) -> Self {
        let (dir, offset) = (Temp::new(), Offset::reserve());
        let path = dir.path().join("site");
        let output = Command::new(binary())
            .args(["init", "--domain", "gate.example.test", "--yes", "--dir"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let file = path.join("policy/policy.toml");
        let written = fs::read_to_string(&file).unwrap();
        fs::write(file, format!("{written}\n{policy}")).unwrap();
        Self {
            dir,
            https: 8443 + offset.value,
            http: 8080 + offset.value,
            admin: 8444 + offset.value,
            _offset: offset,
        }
    }

    /// Writes the configuration: `[acme]` and what follows stands in `acme`.
    pub fn configure(&self, resolver: &str, internal: bool, acme: &str) {
        let (https, http, admin) = (self.https, self.http, self.admin);
        let text = format!(
            "data = \"data\"\npolicy = \"policy\"\nmaster-key = \"keys/master.key\"\n\
             [http]\nhttps = [\"127.0.0.1:{https}\"]\nhttp = [\"127.0.0.1:{http}\"]\n\
             sign-in = [\"gate.example.test\"]\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
             [tunnel]\nenabled = false\ndns = [\"{resolver}\"]\n[tls]\ninternal-ca = {internal}\n\
             {acme}\n"
        );
        fs::write(self.config(), text).unwrap();
    }

    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.path().join("site/postern.toml")
    }

    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("site").join(name)
    }

    /// Takes the accounts at directories from a stopped gateway, and what they have proved with them.
    pub fn forget_account(&self) {
        for entry in fs::read_dir(self.path("data/acme")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if name.starts_with("account-") {
                fs::remove_file(path).unwrap();
            }
        }
    }

    /// Starts the gateway and waits until it listens.
    #[must_use]
    pub fn start(&self) -> Program {
        self.start_after(&[])
    }

    /// As [`Site::start`], with words before the program.
    #[must_use]
    pub fn start_after(&self, words: &[String]) -> Program {
        let mut command = after(words, binary());
        command.arg("run").arg("--config").arg(self.config());
        let mut program = Program::start(command, self.dir.path(), "gateway");
        wait::until_true(LIMIT, "the gateway listens", || {
            if let Some(status) = program.ended() {
                panic!("the gateway ended with {status}:\n{}", program.stderr());
            }
            self.path("data/control.sock").exists()
                && std::net::TcpStream::connect(("127.0.0.1", self.http)).is_ok()
        });
        program
    }

    /// Runs a command of the program.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Output {
        run_with_config(&self.config(), args)
    }

    /// Runs a command and returns its exit code with what it says.
    #[must_use]
    pub fn code(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.run(args);
        let said = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&said).into_owned();
        (output.status.code(), text)
    }

    /// Runs a command with `--json` and returns its lines, whatever its exit code.
    #[must_use]
    pub fn json(&self, args: &[&str]) -> Vec<Value> {
        let output = self.run(&[args, &["--json"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(serde_json::from_str);
        lines
            .collect::<Result<_, _>>()
            .unwrap_or_else(|e| panic!("{args:?}: {e}: {text}"))
    }

    /// Returns the line of `cert list` for a name.
    #[must_use]
    pub fn certificate(&self, name: &str) -> Option<Value> {
        let named = |line: &Value| {
            let names = line["names"].as_array().unwrap();
            names.iter().any(|n| n == name)
        };
        self.json(&["cert", "list"]).into_iter().find(named)
    }

    /// Waits until a directory's certificate is in use for a name.
    pub fn wait_for(&self, name: &str) {
        wait::until_ok(
            LIMIT,
            "a certificate of the directory is in use",
            || match self.certificate(name) {
                Some(line) if line["source"] == "directory" => Ok(()),
                other => Err(format!("{other:?}")),
            },
        );
    }

    /// Waits until the last order for a name has failed, and returns its line.
    #[must_use]
    pub fn wait_for_failure(&self, name: &str) -> Value {
        wait::until(LIMIT, "an order fails", || {
            let line = self.certificate(name)?;
            line["cause"].is_string().then_some(line)
        })
    }

    /// Orders a certificate by command and returns what became of it.
    #[must_use]
    pub fn renew(&self, name: &str) -> Value {
        let lines = self.json(&["cert", "renew", "--force", name]);
        lines.into_iter().next().expect("one line for one name")
    }

    /// Opens a page with curl under a root; the status, or what curl says.
    pub fn get(&self, root: &Path, host: &str, path: &str) -> Result<u16, String> {
        self.get_with(root, host, path, &[])
    }

    /// As [`Site::get`], with more words for curl.
    pub fn get_with(
        &self,
        root: &Path,
        host: &str,
        path: &str,
        more: &[&str],
    ) -> Result<u16, String> {
        let url = format!("https://{host}:{}{path}", self.https);
        let root = root.display().to_string();
        self.curl(&url, &[&["--cacert", &root], more].concat())
    }

    /// Opens a page of the plain listener.
    pub fn plain(&self, host: &str, path: &str, args: &[&str]) -> Result<u16, String> {
        self.curl(&format!("http://{host}:{}{path}", self.http), args)
    }

    /// As [`Site::get`], of a client whose wall clock is another.
    pub fn get_at(
        &self,
        clock: &Clock,
        root: &Path,
        host: &str,
        path: &str,
    ) -> Result<u16, String> {
        let url = format!("https://{host}:{}{path}", self.https);
        let root = root.display().to_string();
        self.curl_after(&clock.wrap(), &url, &["--cacert", &root])
    }

    fn curl(&self, url: &str, args: &[&str]) -> Result<u16, String> {
        self.curl_after(&[], url, args)
    }

    fn curl_after(&self, words: &[String], url: &str, args: &[&str]) -> Result<u16, String> {
        let output = after(words, "curl")
            .args(["-sS", "-q", "--max-time", "20", "-o", "/dev/null"])
            .args(["-w", "%{http_code}", "--resolve"])
            .arg(format!("*:{}:127.0.0.1", self.https))
            .arg("--resolve")
            .arg(format!("*:{}:127.0.0.1", self.http))
            .args(args)
            .arg(url)
            .output()
            .unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap().parse().unwrap()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Returns the certificate that a handshake shows, in DER.
    #[must_use]
    pub fn shown(&self, host: &str) -> Vec<u8> {
        let output = Command::new("openssl")
            .args(["s_client", "-servername", host, "-connect"])
            .arg(format!("127.0.0.1:{}", self.https))
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        output
            .stdout
            .split(|b| *b == b'\n')
            .skip_while(|line| !line.starts_with(b"-----BEGIN CERTIFICATE"))
            .take_while(|line| !line.starts_with(b"-----END CERTIFICATE"))
            .collect::<Vec<_>>()
            .concat()
    }
}
