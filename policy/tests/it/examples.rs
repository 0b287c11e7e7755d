//! The example policy: it loads, its tests pass, and its access matrix is written down.
use std::collections::BTreeMap;

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
    assert_eq!(loaded.tests_passed, 19);
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
    let policy = policy::load(&office()).unwrap().policy;
    let users: Vec<String> = policy.users().map(|user| user.name.to_string()).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    matrix(
        "office",
        &policy,
        &resources,
        &users,
        &["office", "tunnel", "internet"],
        &["tue 10:00", "sun 10:00"],
    );
}

/// One person of each kind stands for the others: the rules tell no more of them apart.
#[test]
fn the_access_matrix_of_the_firm_is_as_written_down() {
    let sources = support::folder(&support::root().join("../deploy/examples/firm500"));
    let loaded = policy::load(&sources).unwrap_or_else(|diags| {
        let lines: Vec<String> = diags.iter().map(|d| d.one_line(&sources)).collect();
        panic!("{}", lines.join("\n"))
    });
    let lines = loaded.warnings.iter().map(|d| d.one_line(&sources));
    assert_eq!(lines.collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(loaded.policy.users().count(), 500);
    assert_eq!(loaded.tests_passed, 6);
    let policy = loaded.policy;
    let resources = [
        ("app.intranet/", "https://intranet.firm.example/"),
        ("app.erp/", "https://erp.firm.example/"),
        ("app.erp/admin", "https://erp.firm.example/Admin"),
        ("app.erp/export", "https://erp.firm.example/export/x"),
        ("app.sirh/", "https://rh.firm.example/"),
        ("app.sirh/me", "https://rh.firm.example/me"),
        ("app.compta/", "https://compta.firm.example/"),
        ("app.git/", "https://git.firm.example/"),
        ("app.git/admin", "https://git.firm.example/admin"),
        ("net.servers-ssh", "tcp://10.20.0.41:22"),
        ("net.bastion-ssh", "tcp://10.20.0.40:22"),
        ("net.pg-main", "tcp://10.20.5.10:5432"),
        ("admin", "admin"),
    ];
    let first = |group: &str| {
        let member = |user: &&policy::User| user.groups.iter().any(|held| &**held == group);
        policy.users().find(member).unwrap().name.to_string()
    };
    let mut users: Vec<String> = ["finance", "hr", "production", "dev", "sysadmin"]
        .map(first)
        .to_vec();
    users.extend(["c.dubois", "p.nguyen", "s.okafor", "m.rossi", "x.atos1"].map(str::to_owned));
    users.sort();
    users.dedup();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    matrix(
        "firm500",
        &policy,
        &resources,
        &users,
        &["hq", "plant", "tunnel", "internet"],
        &["2026-10-12 10:00", "2026-10-11 10:00"],
    );
}

fn saas() -> Sources {
    support::folder(&support::root().join("../deploy/examples/saas"))
}

#[test]
fn the_saas_example_loads_without_a_finding_and_its_tests_pass() {
    let sources = saas();
    let loaded = policy::load(&sources).unwrap_or_else(|diags| {
        let lines: Vec<String> = diags.iter().map(|d| d.one_line(&sources)).collect();
        panic!("{}", lines.join("\n"))
    });
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.tests_passed, 12);
    let hosts = loaded
        .policy
        .apps()
        .flat_map(|(_, app)| app.exact_hosts().map(str::to_owned));
    assert!(
        hosts
            .into_iter()
            .any(|host| host == "garanties.acme-batiment.example")
    );
}

/// Operators, support and the people of two customers; each reaches its own and nothing of the other.
#[test]
fn the_access_matrix_of_the_saas_is_as_written_down() {
    let resources = [
        ("acme/app.docs/", "https://chantier-12.acme.gmah.example/"),
        ("acme/app.portail/", "https://acme.gmah.example/"),
        ("acme/app.portail/admin", "https://acme.gmah.example/admin"),
        (
            "acme/app.portail/api/v1/guarantees",
            "https://garanties.acme-batiment.example/api/v1/guarantees/7",
        ),
        (
            "acme/app.portail/webhooks/bank",
            "POST https://acme.gmah.example/webhooks/bank",
        ),
        ("admin", "admin"),
        ("app.grafana/", "https://grafana.ops.gmah.example/"),
        ("app.status/", "https://status.gmah.example/"),
        ("durand/app.actes/", "https://durand.gmah.example/"),
        (
            "durand/app.actes/minutes",
            "https://durand.gmah.example/minutes",
        ),
        ("net.tenant-postgres", "tcp://10.60.0.20:5432"),
    ];
    let policy = policy::load(&saas()).unwrap().policy;
    let users: Vec<String> = policy.users().map(|user| user.name.to_string()).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    matrix(
        "saas",
        &policy,
        &resources,
        &users,
        &["ops-office", "acme/bank", "blocklist", "tunnel", "internet"],
        &["2026-10-12 10:00", "2026-10-11 10:00"],
    );
}

fn matrix(
    name: &str,
    policy: &policy::Policy,
    resources: &[(&str, &str)],
    users: &[&str],
    zones: &[&str],
    times: &[&str],
) {
    let mut named: Vec<String> = resources.iter().map(|(id, _)| (*id).to_owned()).collect();
    named.sort();
    assert_eq!(
        named,
        policy.resource_ids(),
        "a resource has no row in the matrix"
    );
    let users: Vec<Option<&str>> = std::iter::once(None)
        .chain(users.iter().map(|user| Some(*user)))
        .collect();
    let mut out = String::from(
        "A allow, S step-up, L login, - deny; four columns a zone: any device with no code, code 20m old, fresh code; managed device with fresh code\n",
    );
    for (id, to) in resources {
        for at in times {
            out.push_str(&format!("\n{id:<26} {} ({at})\n", zones.join(" ")));
            for user in &users {
                out.push_str(&format!("  {:<24}", user.unwrap_or("(nobody)")));
                for from in zones {
                    out.push(' ');
                    for (mfa, device) in [
                        ("none", "any"),
                        ("20m", "any"),
                        ("0s", "any"),
                        ("0s", "managed"),
                    ] {
                        let query = QueryText {
                            user: user.map(str::to_owned),
                            from: Some((*from).to_owned()),
                            at: Some((*at).to_owned()),
                            mfa: Some(mfa.to_owned()),
                            device: Some(device.to_owned()),
                            to: (*to).to_owned(),
                            ..QueryText::default()
                        };
                        out.push(glyph(policy, &query, id));
                    }
                }
                out.push('\n');
            }
        }
    }
    let golden = support::root().join(format!("tests/golden/{name}-matrix.txt"));
    support::golden(&golden, &out).unwrap();
}

fn glyph(policy: &policy::Policy, query: &QueryText, id: &str) -> char {
    let explained = policy.explain(&policy.query(query).unwrap());
    let reached = explained.area.or(explained.app);
    assert_eq!(
        reached.as_deref(),
        Some(id),
        "the row asks for something else"
    );
    match explained.outcome.as_str() {
        "allow" => 'A',
        "step-up" => 'S',
        "login" => 'L',
        _ => '-',
    }
}

/// For each example: who can reach what, by which rule, in which contexts. Every resource has its part.
#[test]
fn who_can_reach_what_in_each_example_is_as_written_down() {
    let mut differ = Vec::new();
    let mut examples = 0;
    for dir in support::listed(&support::root().join("../deploy/examples")) {
        let sources = support::folder(&dir);
        let policy = policy::load(&sources)
            .unwrap_or_else(|diags| {
                let lines: Vec<String> = diags.iter().map(|d| d.one_line(&sources)).collect();
                panic!("{}", lines.join("\n"))
            })
            .policy;
        let mut out = String::new();
        for id in policy.resource_ids() {
            out.push_str(&format!("{id}\n"));
            let mut rules: BTreeMap<(String, Vec<String>), Vec<String>> = BTreeMap::new();
            for user in policy.who_can(&id).unwrap().users {
                let names = rules.entry((user.rule, user.contexts)).or_default();
                names.push(user.name);
            }
            for ((rule, contexts), names) in rules {
                let some: Vec<&str> = names.iter().take(8).map(String::as_str).collect();
                let count = names.len();
                out.push_str(&format!("  {rule}: {count} ({})\n", some.join(", ")));
                for context in contexts {
                    out.push_str(&format!("    {context}\n"));
                }
            }
        }
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        let golden = support::root().join(format!("tests/golden/{name}-who-can.txt"));
        differ.extend(support::golden(&golden, &out).err());
        examples += 1;
    }
    assert!(examples >= 4, "only {examples} examples");
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
