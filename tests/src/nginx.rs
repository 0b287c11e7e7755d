//! Debian's nginx, as upstream and as peer.

use std::path::Path;
use std::process::Command;

use crate::ports::free_tcp;
use crate::process::{Program, after, find};
use crate::temp::Temp;

/// A running nginx with one worker.
#[derive(Debug)]
pub struct Nginx {
    pub port: u16,
    program: Program,
    _dir: Temp,
}

impl Nginx {
    /// Starts nginx after `words`, such as those of `taskset`; `body` makes the content of its http block from its
    /// folder and its port.
    #[must_use]
    pub fn start(words: &[String], body: impl FnOnce(&Path, u16) -> String) -> Self {
        let (dir, port) = (Temp::new(), free_tcp());
        let body = body(dir.path(), port);
        let file = dir.write("nginx.conf", config(dir.path(), &body));
        let mut command = after(words, find(&["nginx"]));
        command.arg("-p").arg(dir.path()).arg("-c").arg(file);
        let mut program = Program::start(command, dir.path(), "nginx");
        program.listens(port);
        Self {
            port,
            program,
            _dir: dir,
        }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.program.pid()
    }
}

/// Returns what `nginx -t` has against the content of an http block; `None` when it would start.
#[must_use]
pub fn refusal(body: impl FnOnce(&Path) -> String) -> Option<String> {
    let dir = Temp::new();
    let file = dir.write("nginx.conf", config(dir.path(), &body(dir.path())));
    let mut command = Command::new(find(&["nginx"]));
    command.arg("-t").arg("-p").arg(dir.path()).arg("-c");
    let output = command.arg(file).output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn config(dir: &Path, body: &str) -> String {
    let dir = dir.display();
    // as root, workers would lose the right to enter the folder
    let user = if nix::unistd::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    format!(
        r"{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    keepalive_requests 1000000000;
    keepalive_time 24h;
{body}
}}
"
    )
}
