use super::read;
use crate::config::tests::Folder;
use crate::reload::{Finding, Rejected, compile, read_policy};
use crate::snapshot::files::FileError;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn load_policy(dir: &Path) -> Result<(policy::Loaded, Vec<Finding>), Rejected> {
    compile(&read_policy(dir)?)
}

#[test]
fn toml_files_are_read_in_order_and_others_skipped() {
    let folder = Folder::new();
    for name in [
        "b.toml",
        "a.toml",
        "notes.txt",
        ".a.toml.swp",
        ".hidden.toml",
    ] {
        folder.write(name, name);
    }
    let texts: Vec<String> = read(folder.path())
        .unwrap()
        .files
        .into_iter()
        .map(|f| f.text)
        .collect();
    assert_eq!(texts, ["a.toml", "b.toml"]);
}

#[test]
fn a_sub_folder_is_refused() {
    let folder = Folder::new();
    folder.write("a.toml", "");
    assert!(read(folder.path()).is_ok());
    std::fs::create_dir(folder.path().join("more")).unwrap();
    let error = read(folder.path()).unwrap_err().first;
    assert!(matches!(error, FileError::Refused { .. }));
}

#[test]
fn a_folder_everybody_can_write_is_refused_sticky_or_not() {
    let folder = Folder::new();
    folder.write("f.toml", "");
    for (mode, good) in [
        (0o755, true),
        (0o775, true),
        (0o1775, true),
        (0o777, false),
        (0o1777, false),
    ] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path(), mode).unwrap();
        let read = read(folder.path());
        assert_eq!(read.is_ok(), good, "{read:?}");
        let writable = matches!(&read, Err(e) if matches!(e.first, FileError::Writable { .. }));
        assert_eq!(writable, !good);
    }
}

const ROOT: &str = r#"postern = 1
[group]
it = ["ann"]
[admin]
allow.it = { who = "@it" }
[zone-file]
block = "lists/block.txt"
[deny.blocked]
from = "block"
reason = "on the list"
[tenant.acme]
dir = "tenants/acme"
domains = ["acme.example"]
"#;

const ACME: &str = r#"postern = 1
[group]
team = ["paul"]
[app.web]
host = "acme.example"
upstream = "http://10.0.0.1"
allow.team = { who = "@team" }
"#;

fn tenants() -> Folder {
    let folder = Folder::new();
    for below in ["tenants", "tenants/acme", "lists"] {
        std::fs::create_dir(folder.path().join(below)).unwrap();
    }
    folder.write("policy.toml", ROOT);
    folder.write("tenants/acme/policy.toml", ACME);
    folder.write("lists/block.txt", "192.0.2.0/24\n");
    folder
}

#[test]
fn folders_of_tenants_and_lists_are_read_and_loaded() {
    let folder = tenants();
    let found = read(folder.path()).unwrap();
    let names: Vec<(&str, bool)> = found.files.iter().map(|f| (&*f.relative, f.list)).collect();
    let wanted = [
        ("policy.toml", false),
        ("tenants/acme/policy.toml", false),
        ("lists/block.txt", true),
    ];
    assert_eq!(names, wanted);
    let below = ["", "lists", "tenants", "tenants/acme"].map(|b| match b {
        "" => folder.path().to_owned(),
        b => folder.path().join(b),
    });
    assert_eq!(found.folders, below);
    let (loaded, warnings) = load_policy(folder.path()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let before = loaded.policy.digest().to_owned();
    folder.write("lists/block.txt", "192.0.2.0/24\n198.51.100.7 # one more\n");
    let (loaded, _) = load_policy(folder.path()).unwrap();
    assert_ne!(loaded.policy.digest(), before);
}

#[test]
fn what_nobody_names_below_the_folder_is_refused() {
    let cases = [
        "more",
        "tenants/other",
        "tenants/acme/deeper",
        "lists/deeper",
    ];
    for below in cases {
        let folder = tenants();
        std::fs::create_dir(folder.path().join(below)).unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(below) && error.contains("names this sub-folder"),
            "{error}"
        );
    }
    for stray in ["tenants/stray.toml", "lists/stray.toml"] {
        let folder = tenants();
        folder.write(stray, "postern = 1\n");
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains(stray) && error.contains("no tenant has"),
            "{error}"
        );
    }
    let folder = tenants();
    for fine in [
        "notes.txt",
        "lists/old.txt",
        "tenants/acme/notes.md",
        "tenants/.git",
    ] {
        folder.write(fine, "");
    }
    assert_eq!(read(folder.path()).unwrap().files.len(), 3);
}

#[test]
fn folders_and_lists_are_not_reached_by_links() {
    for (real, link) in [
        ("tenants/acme", "tenants/acme"),
        ("tenants", "tenants"),
        ("lists", "lists"),
        ("lists/block.txt", "lists/block.txt"),
        ("tenants/acme/policy.toml", "tenants/acme/policy.toml"),
    ] {
        let folder = tenants();
        let other = Folder::new();
        assert!(read(folder.path()).is_ok());
        let (real, link) = (folder.path().join(real), folder.path().join(link));
        let moved = other.path().join("moved");
        std::fs::rename(&real, &moved).unwrap();
        symlink(&moved, &link).unwrap();
        assert!(read(folder.path()).is_err(), "{}", link.display());
    }
}

#[test]
fn a_folder_or_list_below_that_everybody_can_write_is_refused() {
    for below in ["tenants", "tenants/acme", "lists", "lists/block.txt"] {
        let folder = tenants();
        assert!(read(folder.path()).is_ok());
        let mode = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.path().join(below), mode).unwrap();
        let first = read(folder.path()).unwrap_err().first;
        let writable = matches!(first, FileError::Writable { .. });
        assert!(writable, "{below}");
    }
}

#[test]
fn what_is_named_but_not_there_is_reported_where_it_is_named() {
    let folder = tenants();
    std::fs::remove_dir_all(folder.path().join("tenants")).unwrap();
    std::fs::remove_file(folder.path().join("lists/block.txt")).unwrap();
    let rejected = load_policy(folder.path()).err().unwrap().to_string();
    assert!(
        rejected.contains("policy.toml:11:9: error: no policy file in `tenants/acme`"),
        "{rejected}"
    );
    std::fs::create_dir_all(folder.path().join("tenants/acme")).unwrap();
    folder.write("tenants/acme/policy.toml", ACME);
    let rejected = load_policy(folder.path()).err().unwrap().to_string();
    assert!(
        rejected.contains("policy.toml:7:9: error: no list `lists/block.txt`"),
        "{rejected}"
    );
}

#[test]
fn paths_that_lead_out_of_the_folder_are_never_read() {
    let outside = Folder::new();
    outside.write("block.txt", "192.0.2.0/24\n");
    for path in ["../block.txt", "lists/../../block.txt", "/etc/hosts"] {
        let folder = tenants();
        folder.write("policy.toml", ROOT.replace("lists/block.txt", path));
        let found = read(folder.path()).unwrap();
        assert!(
            found
                .files
                .iter()
                .all(|file| file.relative == "policy.toml"),
            "{path}"
        );
        let rejected = load_policy(folder.path()).err().unwrap().to_string();
        assert!(rejected.contains("policy.toml:7:9: error:"), "{rejected}");
    }
}

#[test]
fn a_broken_root_file_is_reported_before_what_lies_below() {
    let folder = tenants();
    folder.write("policy.toml", "postern = 1\n[tenant.acme\n");
    let rejected = load_policy(folder.path()).err().unwrap().to_string();
    assert!(rejected.contains("policy.toml:2:"), "{rejected}");
}

#[test]
fn the_saas_example_loads_as_a_gateway_loads_it() {
    let folder = Folder::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/saas");
    for below in ["lists", "tenants", "tenants/acme", "tenants/durand"] {
        std::fs::create_dir(folder.path().join(below)).unwrap();
    }
    for name in [
        "policy.toml",
        "lists/blocklist.txt",
        "tenants/acme/policy.toml",
        "tenants/durand/policy.toml",
        "tenants/durand/users.toml",
    ] {
        folder.write(name, std::fs::read(example.join(name)).unwrap());
    }
    let (loaded, warnings) = load_policy(folder.path()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(loaded.tests_passed, 12);
}

#[test]
fn every_file_that_is_not_read_is_told_and_what_is_wrong_in_the_others() {
    let folder = tenants();
    let acme = format!("{ACME}hots = \"m.acme.example\"\n");
    folder.write("tenants/acme/more.toml", "\u{feff}postern = 1\n");
    folder.write("tenants/acme/policy.toml", acme);
    folder.write("lists/block.txt", b"192.0.2.0/24\n\xff");
    std::fs::create_dir(folder.path().join("stray")).unwrap();
    let error = read(folder.path()).unwrap_err();
    let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    for (line, parts) in lines.iter().zip([
        ["stray", "names this sub-folder"],
        ["more.toml:1:1", "byte order mark"],
        ["block.txt:2:1", "not UTF-8"],
        ["acme/policy.toml:8:1", "unknown key `hots`"],
    ]) {
        assert!(parts.iter().all(|part| line.contains(part)), "{lines:#?}");
    }
    // names that stand in files which are not read are not said to be unknown
    assert_eq!(error.found.len(), 1, "{lines:#?}");
}

#[test]
fn no_folder_below_is_refused_while_who_names_it_is_not_read() {
    let folder = tenants();
    folder.write("policy.toml", [ROOT.as_bytes(), b"\xff"].concat());
    folder.write("other.toml", "postern = 1\n[group]\n\"A b\" = 1\n");
    let error = read(folder.path()).unwrap_err();
    assert!(error.more.is_empty(), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("not UTF-8") && text.contains("other.toml:3:"),
        "{text}"
    );
}

#[test]
fn of_a_thousand_files_that_are_not_read_the_first_hundred_are_told() {
    let folder = Folder::new();
    for number in 0..1000 {
        folder.write(&format!("{number:04}.toml"), b"\xff");
    }
    let error = read(folder.path()).unwrap_err();
    let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 101);
    assert!(lines[99].contains("0099.toml"), "{}", lines[99]);
    assert!(lines[100].contains("there is more"), "{}", lines[100]);
}
