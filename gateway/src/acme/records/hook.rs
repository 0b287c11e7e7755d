//! A hook program: run without a shell, with its deadline, its words bounded.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::Act;

/// How much of what a hook says is kept, in bytes.
const SAID_MAX: u64 = 1000;

/// Runs `PROGRAM present|cleanup NAME VALUE`; it succeeds by exit code 0.
pub(super) async fn run(
    program: &Path,
    act: Act,
    name: &str,
    value: &str,
    limit: Duration,
) -> Result<(), String> {
    let shown = program.display();
    let mut command = Command::new(program);
    command.args([act.word(), name, value]);
    command.env_clear();
    command.env(
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command.kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|e| format!("the hook {shown} cannot be run: {e}"))?;
    let mut stderr = child.stderr.take();
    let work = async {
        let mut said = Vec::new();
        if let Some(pipe) = stderr.as_mut() {
            drop(pipe.take(SAID_MAX).read_to_end(&mut said).await);
        }
        // what it says beyond that is not waited for
        drop(stderr);
        (child.wait().await, said)
    };
    let Ok((status, said)) = timeout(limit, work).await else {
        return Err(format!(
            "the hook {shown} did not end within {} s",
            limit.as_secs()
        ));
    };
    let status = status.map_err(|e| format!("the hook {shown}: {e}"))?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    Err(format!(
        "the hook {shown} ended with {status}: {}",
        said.trim()
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::{Act, run};
    use crate::config::tests::Folder;

    const LONG: Duration = Duration::from_secs(30);

    fn script(folder: &Folder, text: &str) -> std::path::PathBuf {
        folder.write("hook", format!("#!/bin/sh\n{text}\n"));
        let path = folder.path().join("hook");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        path
    }

    #[tokio::test]
    async fn a_hook_gets_its_words_as_they_are_and_no_shell_reads_them() {
        let folder = Folder::new();
        let out = folder.path().join("out");
        let text = format!("printf '%s|' \"$@\" > {}", out.display());
        let hook = script(&folder, &text);
        let value = "$(reboot); `x` 'y'";
        run(&hook, Act::Present, "_acme-challenge.a.test", value, LONG)
            .await
            .unwrap();
        let said = std::fs::read_to_string(out).unwrap();
        assert_eq!(said, format!("present|_acme-challenge.a.test|{value}|"));
    }

    #[tokio::test]
    async fn a_hook_that_fails_says_why() {
        let folder = Folder::new();
        let hook = script(&folder, "echo no such zone >&2; exit 3");
        let error = run(&hook, Act::Cleanup, "n", "v", LONG).await.unwrap_err();
        assert!(
            error.contains("no such zone") && error.contains('3'),
            "{error}"
        );
        let missing = folder.path().join("none");
        assert!(run(&missing, Act::Present, "n", "v", LONG).await.is_err());
    }

    #[tokio::test]
    async fn a_hook_that_hangs_is_ended() {
        let folder = Folder::new();
        let hook = script(&folder, "exec sleep 1000");
        let error = run(&hook, Act::Present, "n", "v", Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(error.contains("did not end"), "{error}");
    }
}
