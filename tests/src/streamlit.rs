//! A real Streamlit app.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::ports::free_tcp;
use crate::process::{Program, installed};
use crate::temp::Temp;

/// Streamlit from PyPI with one app.
#[derive(Debug)]
pub struct Streamlit {
    pub url: String,
    program: Program,
    _dir: Temp,
}

impl Streamlit {
    /// Starts it with this script.
    #[must_use]
    pub fn start(script: &str) -> Self {
        let (dir, port) = (Temp::new(), free_tcp());
        let app = dir.write("app.py", script);
        let mut command = Command::new(streamlit());
        command.arg("run").arg(app).args([
            "--server.address=127.0.0.1",
            &format!("--server.port={port}"),
            "--server.headless=true",
            "--server.fileWatcherType=none",
            "--browser.gatherUsageStats=false",
        ]);
        command.env("HOME", dir.path()).current_dir(dir.path());
        let mut program = Program::start(command, dir.path(), "streamlit");
        program.listens(port);
        Self {
            url: format!("http://127.0.0.1:{port}"),
            program,
            _dir: dir,
        }
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        self.program.kill();
    }
}

/// Returns the program that tests/run has installed.
fn streamlit() -> PathBuf {
    let path = installed("POSTERN_VENV").join("bin/streamlit");
    assert!(fs::exists(&path).unwrap(), "{} is missing", path.display());
    path
}
