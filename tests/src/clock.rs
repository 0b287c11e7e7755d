//! A wall clock for one program, set while it runs.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::temp::Temp;

/// A wall clock, and no other clock, that a file sets for a program.
#[derive(Debug)]
pub struct Clock {
    file: PathBuf,
    _dir: Temp,
    off: AtomicI64,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// Makes a clock that is right.
    #[must_use]
    pub fn new() -> Self {
        let dir = Temp::new();
        let file = dir.path().join("clock");
        fs::write(&file, "+0s\n").unwrap();
        Self {
            file,
            _dir: dir,
            off: AtomicI64::new(0),
        }
    }

    /// Returns the words to put before the program.
    #[must_use]
    pub fn wrap(&self) -> Vec<String> {
        let words = [
            "env",
            &format!("LD_PRELOAD={}", library().display()),
            &format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()),
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "DONT_FAKE_MONOTONIC=1",
            "NO_FAKE_STAT=1",
        ];
        words.map(str::to_owned).to_vec()
    }

    /// Sets it so many seconds off the right time.
    pub fn set(&self, off: i64) {
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{off:+}s\n")).unwrap();
        fs::rename(&next, &self.file).unwrap();
        self.off.store(off, Ordering::SeqCst);
    }

    /// Returns how many seconds it is off.
    #[must_use]
    pub fn off(&self) -> i64 {
        self.off.load(Ordering::SeqCst)
    }
}

/// Where Debian keeps the library that tells a program another time.
fn library() -> PathBuf {
    let held = fs::read_dir("/usr/lib").unwrap();
    let mut found = held
        .map(|entry| entry.unwrap().path().join("faketime/libfaketimeMT.so.1"))
        .filter(|path| path.exists());
    found
        .next()
        .expect("libfaketime is not installed: run tests/run")
}
