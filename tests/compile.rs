//! What the compiler refuses: a session from one proof, a proof out of nothing, a proof used twice.
//!
//! `gateway/src/identity/login.rs` is compiled as it stands, with plain stand-ins for the few
//! types around it; each attempt of `compile/` is put beside it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use postern_tests::temp::Temp;

/// An attempt, and the error it must end in.
const ATTEMPTS: [(&str, &str); 9] = [
    ("a_session_from_the_password", "E0308"),
    ("a_session_from_the_code", "E0308"),
    ("a_session_from_a_recovery", "E0308"),
    ("both_proofs_made_by_hand", "E0451"),
    ("a_password_proof_made_by_hand", "E0603"),
    ("a_code_proof_made_by_hand", "E0451"),
    ("a_code_proof_copied", "E0599"),
    ("a_half_way_sign_in_used_twice", "E0382"),
    ("both_proofs_used_twice", "E0382"),
];

fn gateway() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/src")
}

/// The compiler beside the cargo that runs the tests.
fn rustc(dir: &Temp, args: &[&str]) -> Output {
    let cargo = PathBuf::from(std::env::var_os("CARGO").unwrap());
    let mut command = Command::new(cargo.with_file_name("rustc"));
    command.args(["--edition", "2024", "--emit", "metadata", "--out-dir"]);
    command.arg(dir.path()).arg("-L").arg(dir.path()).args(args);
    command.current_dir(dir.path()).output().unwrap()
}

/// A folder with the stand-ins of the two crates that login.rs uses.
fn folder() -> Temp {
    let dir = Temp::new();
    for name in ["parking_lot", "unicode_normalization"] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("compile/{name}.rs"));
        let source = source.display().to_string();
        let output = rustc(
            &dir,
            &["--crate-type", "rlib", "--crate-name", name, &source],
        );
        assert!(output.status.success(), "{name}: {output:?}");
    }
    dir
}

fn compile(dir: &Temp, attempt: &str) -> (bool, String) {
    let file = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("compile")
            .join(name)
    };
    let read = |path: PathBuf| std::fs::read(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    for real in [
        "audit/reason.rs",
        "identity/login.rs",
        "identity/login/halves.rs",
    ] {
        dir.write(real, read(gateway().join(real)));
    }
    dir.write("identity/attempt.rs", read(file(&format!("{attempt}.rs"))));
    let path = dir.write("root.rs", read(file("root.rs")));
    let path = path.display().to_string();
    let output = rustc(dir, &["--crate-type", "lib", &path]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), said)
}

#[test]
fn a_session_is_not_made_from_one_proof() {
    let dir = folder();
    let (compiles, said) = compile(&dir, "a_session_from_both_proofs");
    assert!(compiles, "the twin that must compile:\n{said}");
    for (attempt, code) in ATTEMPTS {
        let (compiles, said) = compile(&dir, attempt);
        assert!(!compiles, "{attempt} compiles");
        let errors: Vec<_> = said.lines().filter(|l| l.starts_with("error[")).collect();
        assert_eq!(errors.len(), 1, "{attempt}: {said}");
        assert!(
            errors[0].starts_with(&format!("error[{code}]")),
            "{attempt}: {said}"
        );
    }
}

/// The stand-in of `Sessions::open` says what the real one says.
#[test]
fn the_one_place_that_keeps_a_new_session_takes_both_proofs() {
    let mut found = Vec::new();
    sources(&gateway(), &mut found);
    let callers: Vec<_> = found
        .iter()
        .filter(|(_, text)| text.contains(".put_session("))
        .collect();
    let [(path, text)] = callers.as_slice() else {
        panic!(
            "{:?}",
            callers.iter().map(|(path, _)| path).collect::<Vec<_>>()
        )
    };
    assert!(path.ends_with("identity/session.rs"), "{path:?}");
    let (before, _) = text.split_once(".put_session(").unwrap();
    let head = &before[before.rfind("pub(crate) async fn ").unwrap()..];
    assert!(
        head.contains("fn open(") && head.contains("who: Authenticated,"),
        "{head}"
    );
    assert_eq!(text.matches(".put_session(").count(), 1);
}

/// The sources of the program, without those of its tests.
fn sources(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap();
        if name == "tests" {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let own = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap();
            found.push((path, own.to_owned()));
        }
    }
}
