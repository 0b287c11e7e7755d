//! A gateway whose web door listens to a stranger and to an office, each in a namespace of its own: of loopback
//! addresses much is forgiven.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::curl::Client;
use crate::gateway::{Gateway, Setup, binary};
use crate::netns::{Namespace, join};
use crate::process::Program;
use crate::upstream::Recorder;
use crate::wait::PATIENCE;
use crate::{policy, wait};

pub const STRANGER: &str = "10.79.0.2";
pub const OFFICE: &str = "10.79.1.2";
/// What each of them calls the gateway.
pub const TO_STRANGER: &str = "10.79.0.1";
pub const TO_OFFICE: &str = "10.79.1.1";

/// The edge with its two neighbours; dropped in the order of the fields.
#[derive(Debug)]
pub struct Edge {
    pub program: Program,
    pub gateway: Gateway,
    pub recorder: Recorder,
    pub stranger: Namespace,
    pub office: Namespace,
    pub edge: Namespace,
}

impl Edge {
    /// Starts a gateway that listens to both, with these sections at the end of its configuration.
    #[must_use]
    pub fn new(more: &str) -> Self {
        let stranger = Namespace::new("strange");
        let (office, edge) = (Namespace::new("office"), Namespace::new("edge"));
        join(
            &stranger,
            &format!("{STRANGER}/24"),
            &edge,
            &format!("{TO_STRANGER}/24"),
        );
        join(
            &office,
            &format!("{OFFICE}/24"),
            &edge,
            &format!("{TO_OFFICE}/24"),
        );
        let recorder = edge.enter(Recorder::new);
        let mut gateway = Gateway::start(Setup {
            upstream: Some(recorder.url()),
            wrap: edge.wrap(),
            ..Setup::default()
        });
        gateway.set_policy(&policy::two_apps(&recorder.url(), ""));
        gateway.stop();
        // the web door listens to everybody, the rest stays as it is
        gateway.edit_config(|text| {
            for door in ["https", "http"] {
                let (own, all) = ("[\"127.0.0.1", "[\"0.0.0.0");
                *text = text.replace(&format!("{door} = {own}"), &format!("{door} = {all}"));
            }
            *text += &format!("\n{more}");
        });
        let program = run(&gateway, &edge);
        Self {
            program,
            gateway,
            recorder,
            stranger,
            office,
            edge,
        }
    }

    /// Ends the gateway as an administrator does.
    pub fn stop(&mut self) {
        self.program.signal(Signal::SIGTERM);
        self.program.wait(Duration::from_secs(20));
    }

    /// Starts it again; it must have ended.
    pub fn start_again(&mut self) {
        self.program = run(&self.gateway, &self.edge);
    }

    pub fn restart(&mut self) {
        self.stop();
        self.start_again();
    }

    #[must_use]
    pub fn client(&self, from: &Namespace) -> Client {
        let ports = [self.gateway.https_port(), self.gateway.http_port()];
        let to = if from.name() == self.office.name() {
            TO_OFFICE
        } else {
            TO_STRANGER
        };
        let resolve = ports.map(|port| format!("*:{port}:{to}"));
        Client::with(&self.gateway.facts.ca_root, &resolve, &from.wrap())
    }

    #[must_use]
    pub fn portal(&self) -> String {
        let port = self.gateway.https_port();
        format!("https://gate.postern.internal:{port}/")
    }

    #[must_use]
    pub fn app(&self) -> String {
        let port = self.gateway.https_port();
        format!("https://app.gate.postern.internal:{port}/")
    }

    #[must_use]
    pub fn metrics(&self) -> String {
        let url = format!("http://127.0.0.1:{}/metrics", self.gateway.admin_port());
        let output = self.edge.command("curl").args(["-sS", &url]).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }
}

fn run(gateway: &Gateway, edge: &Namespace) -> Program {
    let words = edge.wrap();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).arg(binary()).arg("run");
    command.arg("--config").arg(&gateway.facts.config);
    let mut program = Program::start(command, gateway.dir(), "run");
    wait::until_true(PATIENCE, "the gateway answers its operator", || {
        if let Some(status) = program.ended() {
            panic!("it ended with {status}: {}", program.stderr());
        }
        gateway.run(&["status"]).status.success()
    });
    program
}
