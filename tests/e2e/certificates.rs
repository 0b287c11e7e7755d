//! The internal authority before strict verifiers that are not ours.

use std::process::Command;

use certs::{DAY, Root};
use postern_tests::gateway::Gateway;
use postern_tests::temp::Temp;
use postern_tests::totp::now;

fn openssl_accepts(dir: &Temp, host: &str) -> bool {
    let file = |name: &str| dir.path().join(name).display().to_string();
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-purpose", "sslserver"])
        .args(["-verify_hostname", host])
        .args([
            "-CAfile",
            &file("root.pem"),
            "-untrusted",
            &file("chain.pem"),
        ])
        .arg(file("chain.pem"))
        .output()
        .unwrap();
    output.status.success()
}

#[test]
fn openssl_accepts_a_leaf_strictly_for_its_own_name_only() {
    let now = i64::try_from(now()).unwrap();
    let root = Root::create("Strict root", now).unwrap();
    let ca = root.intermediate("Strict intermediate", now).unwrap();
    let leaf = ca.issue(&["gate.test"], now, 90 * DAY).unwrap();
    let dir = Temp::new();
    dir.write("root.pem", ca.root_pem());
    dir.write("chain.pem", &leaf.chain_pem);
    assert!(openssl_accepts(&dir, "gate.test"));
    assert!(!openssl_accepts(&dir, "app.test"));
    let other = Root::create("Strict root", now).unwrap();
    dir.write("root.pem", other.pem());
    assert!(!openssl_accepts(&dir, "gate.test"));
}

const PYTHON: &str = r"
import socket, ssl, sys
host, port, root = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cafile=root)
context.verify_flags |= ssl.VERIFY_X509_STRICT
with socket.create_connection(('127.0.0.1', port)) as tcp:
    with context.wrap_socket(tcp, server_hostname=host) as tls:
        print(tls.version())
";

fn python(gateway: &Gateway, host: &str) -> Result<String, String> {
    let output = Command::new("python3")
        .args(["-c", PYTHON, host, &gateway.https_port().to_string()])
        .arg(&gateway.facts.ca_root)
        .output()
        .unwrap();
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn python_verifies_the_demo_strictly_and_refuses_a_name_that_is_not_ours() {
    let gateway = Gateway::demo();
    for host in [
        "gate.localhost",
        "app.gate.localhost",
        "gate.postern.internal",
        "app.gate.postern.internal",
    ] {
        assert_eq!(python(&gateway, host).as_deref(), Ok("TLSv1.3"), "{host}");
    }
    let error = python(&gateway, "other.localhost").unwrap_err();
    assert!(error.contains("CERTIFICATE_VERIFY_FAILED"), "{error}");
}
