//! The example policy: it loads, its tests pass, and its access matrix is written down.
use policy::{QueryText, Severity, Sources};

use crate::support;

fn office() -> Sources {
    support::folder(&support::root().join("../deploy/examples/office"))
}

#[test]
fn the_office_example_loads_without_a_finding_and_its_tests_pass() {
    let sources = office();
    let loaded = policy::load(&sources).unwrap_or_else(|diags| {
        let lines: Vec<String> = diags.iter().map(|d| d.one_line(&sources)).collect();
        panic!("{}", lines.join("\n"))
    });
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.tests_passed, 16);
    assert_eq!(loaded.policy.users().count(), 15);
}

#[test]
fn a_failing_test_is_an_error_that_points_at_the_test() {
    let mut sources = office();
    let text =
        "postern = 1\n\n[[test]]\nas = { user = \"ines\" }\nto = \"admin\"\nexpect = \"allow\"\n";
    sources.add("zz.toml", text.to_owned());
    let diags = policy::load(&sources).unwrap_err();
    let [only] = diags.as_slice() else {
        panic!("{diags:?}")
    };
    assert_eq!((only.code, only.severity), ("test-failed", Severity::Error));
    assert_eq!(sources.locate(&only.span).to_string(), "zz.toml:3:1");
    let checked = policy::check(&sources).unwrap();
    assert_eq!(checked.tests.iter().filter(|test| !test.passed).count(), 1);
}

/// Every user and a stranger, every resource, every zone and code state: one glyph each.
#[test]
fn the_access_matrix_of_the_office_is_as_written_down() {
    let sources = office();
    let policy = policy::load(&sources).unwrap().policy;
    let resources = [
        ("app.paie/", "https://paie.cabinet.example/"),
        ("app.paie/admin", "https://paie.cabinet.example/admin"),
        (
            "app.paie=/_stcore/health",
            "https://paie.cabinet.example/_stcore/health",
        ),
        ("app.netdata/", "https://supervision.cabinet.example/"),
        ("net.app-ssh", "tcp://192.168.1.100:22"),
        ("net.backup-postgres", "tcp://192.168.1.110:5432"),
        ("admin", "admin"),
    ];
    let mut named: Vec<String> = resources.iter().map(|(id, _)| (*id).to_owned()).collect();
    named.sort();
    assert_eq!(
        named,
        policy.resource_ids(),
        "a resource has no row in the matrix"
    );
    let users: Vec<Option<String>> = std::iter::once(None)
        .chain(policy.users().map(|user| Some(user.name.to_string())))
        .collect();
    let mut out = String::from(
        "A allow, S step-up, L login, - deny; four columns a zone: any device with no code, code 20m old, fresh code; managed device with fresh code\n",
    );
    for (id, to) in resources {
        out.push_str(&format!("\n{id:<26} office tunnel internet\n"));
        for user in &users {
            out.push_str(&format!("  {:<24}", user.as_deref().unwrap_or("(nobody)")));
            for from in ["office", "tunnel", "internet"] {
                out.push(' ');
                for (mfa, device) in [
                    ("none", "any"),
                    ("20m", "any"),
                    ("0s", "any"),
                    ("0s", "managed"),
                ] {
                    let query = QueryText {
                        user: user.clone(),
                        from: Some(from.to_owned()),
                        mfa: Some(mfa.to_owned()),
                        device: Some(device.to_owned()),
                        to: to.to_owned(),
                        ..QueryText::default()
                    };
                    let query = policy.query(&query).unwrap();
                    let explained = policy.explain(&query);
                    let reached = explained.area.or(explained.app);
                    assert_eq!(
                        reached.as_deref(),
                        Some(id),
                        "the row asks for something else"
                    );
                    out.push(match explained.outcome.as_str() {
                        "allow" => 'A',
                        "step-up" => 'S',
                        "login" => 'L',
                        _ => '-',
                    });
                }
            }
            out.push('\n');
        }
    }
    support::golden(
        &support::root().join("tests/golden/office-matrix.txt"),
        &out,
    )
    .unwrap();
}
