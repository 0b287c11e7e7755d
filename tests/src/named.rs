//! Debian's `named` as the server of one zone that takes signed updates.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use data_encoding::BASE64;

use crate::ports::free_tcp;
use crate::process::{Program, copy_program, find};
use crate::temp::Temp;

/// The zone it holds; every host in it is on loopback.
pub const ZONE: &str = "example.test";
/// The key that may change the zone.
pub const KEY: &str = "acme-key";
/// A key that it knows and that may change nothing.
pub const POWERLESS: &str = "other-key";

/// A running name server.
#[derive(Debug)]
pub struct Named {
    dir: Temp,
    pub port: u16,
    program: Program,
}

impl Named {
    /// Starts it on a free port of loopback.
    #[must_use]
    pub fn start() -> Self {
        let (dir, port) = (Temp::new(), free_tcp());
        dir.write("acme.key", BASE64.encode(&[7; 32]));
        dir.write("wrong.key", BASE64.encode(&[8; 32]));
        for name in ["acme.key", "wrong.key"] {
            let path = dir.path().join(name);
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        dir.write("zone", zone());
        let config = dir.write("named.conf", config(&dir, port));
        // where AppArmor keeps the packaged program to its own folders, a copy is free of that
        let program = dir.path().join("named");
        copy_program(find(&["named"]), &program);
        let mut command = Command::new(program);
        command.args(["-g", "-n", "1", "-c"]).arg(config);
        let mut program = Program::start(command, dir.path(), "dns-server");
        program.listens(port);
        Self { dir, port, program }
    }

    /// Returns what `[acme.dns]` says of it, with a key by its name and the name of its file.
    #[must_use]
    pub fn entry(&self, key: &str, file: &str) -> String {
        format!(
            "[acme.dns]\nserver = \"127.0.0.1:{}\"\nzone = \"{ZONE}\"\nkey-name = \"{key}\"\n\
             key-file = \"{}\"\nwait = \"1s\"\ntimeout = \"20s\"\n",
            self.port,
            self.file(file).display()
        )
    }

    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns how often it has logged a change of a record: `adding` or `deleting`.
    #[must_use]
    pub fn changes(&self, act: &str, record: &str) -> usize {
        let log = self.program.stderr();
        let is_change = |line: &&str| {
            line.contains("updating zone") && line.contains(act) && line.contains(record)
        };
        log.lines().filter(is_change).count()
    }
}

fn zone() -> String {
    format!(
        "$TTL 30\n@ IN SOA ns.{ZONE}. it.{ZONE}. 1 3600 600 86400 30\n@ IN NS ns.{ZONE}.\n\
         @ IN A 127.0.0.1\n* IN A 127.0.0.1\nns IN A 127.0.0.1\n"
    )
}

fn config(dir: &Temp, port: u16) -> String {
    let dir = dir.path().display();
    let secret = BASE64.encode(&[7; 32]);
    let key =
        |name: &str| format!("key \"{name}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n");
    format!(
        "{}{}options {{ directory \"{dir}\"; pid-file \"{dir}/pid\"; session-keyfile \"{dir}/session\";\n\
         listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};\n\
         recursion no; dnssec-validation no; notify no; }};\ncontrols {{ }};\n\
         zone \"{ZONE}\" {{ type primary; file \"{dir}/zone\"; allow-update {{ key \"{KEY}\"; }}; }};\n",
        key(KEY),
        key(POWERLESS)
    )
}
