//! What the trial tells once everything listens.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::files::{APP, Ports, SIGN_IN};
use super::people::{People, Person};
use crate::cli::out;
use crate::config::Config;

/// The one line of `postern demo --json`; the keys are a contract with scripts.
#[derive(Serialize)]
pub(super) struct Banner {
    portal: String,
    app: String,
    tunnel_portal: String,
    user: String,
    password: String,
    totp_secret: String,
    otpauth: String,
    guest: Guest,
    ca_root: String,
    config: String,
    policy: String,
    data: String,
    wg_config: Option<String>,
    wg_endpoint: Option<String>,
    pid: u32,
}

#[derive(Serialize)]
struct Guest {
    user: String,
    password: String,
    totp_secret: String,
}

impl Banner {
    /// Puts together what is known before the start.
    pub(super) fn new(config: &Config, ports: &Ports, people: People, dir: &Path) -> Self {
        let port = ports.https.port();
        let [gate, inside] = SIGN_IN;
        let [app, _] = APP;
        let path = |path: &Path| path.display().to_string();
        let Person {
            user,
            password,
            totp_secret,
            otpauth,
        } = people.demo;
        Self {
            portal: format!("https://{gate}:{port}/"),
            app: format!("https://{app}:{port}/"),
            tunnel_portal: format!("https://{inside}/"),
            user,
            password,
            totp_secret,
            otpauth,
            guest: Guest {
                user: people.guest.user,
                password: people.guest.password,
                totp_secret: people.guest.totp_secret,
            },
            ca_root: path(&config.data.join("ca/root.pem")),
            config: path(&config.file),
            policy: path(&config.policy_dir),
            data: path(&config.data),
            wg_config: Some(path(&dir.join("laptop.conf"))),
            wg_endpoint: Some(ports.endpoint().to_string()),
            pid: std::process::id(),
        }
    }

    /// Says that no device can connect.
    pub(super) fn without_tunnel(&mut self) {
        self.wg_config = None;
        self.wg_endpoint = None;
    }

    /// Writes it for people.
    pub(super) fn text(&self, keeps: bool) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "Postern demo is running. Ctrl-C ends it.\n");
        let _ = writeln!(text, "  sign in     {}", self.portal);
        let _ = writeln!(text, "  the app     {}", self.app);
        let _ = writeln!(text, "  name        {}", self.user);
        let _ = writeln!(text, "  password    {}", self.password);
        let _ = writeln!(text, "  code        scan this, or use {}", self.totp_secret);
        if let Some(drawn) = out::qr(&self.otpauth) {
            let _ = writeln!(text, "\n{drawn}\n");
        }
        let _ = writeln!(text, "  {}", self.otpauth);
        let guest = &self.guest;
        let _ = writeln!(
            text,
            "\n  {} may sign in and open nothing: password {}, code {}",
            guest.user, guest.password, guest.totp_secret
        );
        let _ = writeln!(text, "\nWhat to do next");
        let _ = writeln!(
            text,
            "  1. Open {} in a browser. The certificate is from",
            self.app
        );
        let _ = writeln!(text, "     {}: import it, or accept it.", self.ca_root);
        let _ = writeln!(
            text,
            "  2. Sign in. You come back to the app, and it knows your name."
        );
        match &self.wg_config {
            Some(path) => {
                let _ = writeln!(text, "  3. Tunnel: import {path} into a WireGuard app,");
                let _ = writeln!(text, "     then open {} and sign in.", self.tunnel_portal);
            }
            None => text.push_str("  3. The tunnel is not open; the reason stands above.\n"),
        }
        let _ = writeln!(text, "  4. Change a rule in {}, then:", self.policy);
        let _ = writeln!(text, "     postern reload --config {}", self.config);
        let _ = writeln!(text, "     postern audit tail --config {}", self.config);
        if !keeps {
            text.push_str(
                "\nAll of it is in a temporary folder and goes when this ends (--dir keeps it).\n",
            );
        }
        text
    }
}
