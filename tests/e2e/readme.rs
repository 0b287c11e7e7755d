//! What the README says is what the program does.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use postern_tests::gateway::binary;
use postern_tests::ports::Offset;
use postern_tests::process::Program;
use postern_tests::temp::Temp;
use postern_tests::wait;

const README: &str = include_str!("../../README.md");
const GUIDE: &str = include_str!("../../deploy/guide.md");
const UNIT: &str = include_str!("../../deploy/postern.service");

/// Returns the commands in the code blocks, without the words that start the program.
fn commands() -> Vec<Vec<String>> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in README.lines().chain(GUIDE.lines()) {
        if line.starts_with("```") {
            inside = !inside;
            continue;
        }
        let rest = line
            .strip_prefix("cargo run --release -- ")
            .or_else(|| line.strip_prefix("postern "));
        let rest = rest.filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
        if let (true, Some(rest)) = (inside, rest) {
            let rest = rest.split(" > ").next().unwrap_or_default();
            found.push(rest.split_whitespace().map(str::to_owned).collect());
        }
    }
    for line in UNIT.lines() {
        if let Some((_, rest)) = line.split_once("=/usr/bin/postern ") {
            found.push(rest.split_whitespace().map(str::to_owned).collect());
        }
    }
    found
}

#[test]
fn every_command_of_readme_guide_and_unit_exists_with_its_options() {
    let commands = commands();
    assert!(commands.len() >= 12, "{commands:?}");
    for words in commands {
        let verbs = words.iter().take_while(|w| !w.starts_with('-'));
        let output = Command::new(binary()).args(verbs).arg("--help").output();
        let output = output.unwrap();
        assert!(output.status.success(), "{words:?}");
        let help = String::from_utf8(output.stdout).unwrap();
        for option in words.iter().filter(|w| w.starts_with("--")) {
            assert!(help.contains(option.as_str()), "{words:?}: no {option}");
        }
    }
}

#[test]
fn the_first_command_starts_a_demo_that_says_what_to_do_next() {
    assert!(README.contains("cargo run --release -- demo\n"));
    let (dir, offset) = (Temp::new(), Offset::reserve());
    let mut command = Command::new(binary());
    // another run of the tests may hold the ports of the bare command
    command.args(["demo", "--port-offset", &offset.value.to_string()]);
    command.env("TMPDIR", dir.path());
    let mut program = Program::start(command, dir.path(), "demo");
    let port = (8443 + offset.value).to_string();
    let text = wait::until(Duration::from_secs(30), "the demo prints its links", || {
        assert!(program.ended().is_none(), "{}", program.stderr());
        let text = program.stdout() + &program.stderr();
        let ready = text.contains(&format!("https://gate.localhost:{port}/"));
        ready.then_some(text)
    });
    for word in ["demo", "guest", "otpauth://totp/", "app.gate.localhost"] {
        assert!(text.contains(word), "no {word} in: {text}");
    }
    program.signal(Signal::SIGINT);
    assert!(program.wait(Duration::from_secs(20)).success());
}
