//! Files read in parts come to what they come to when they are read whole.

use std::fmt::Write as _;

use crate::{Read, Sources, read_in_parts, read_whole};

/// Sizes at which files are cut, down to every app apart.
const SIZES: [usize; 4] = [1, 90, 700, 3000];

/// Apps with areas, warnings and reasons, in an order that is not that of their names.
fn text(apps: usize) -> String {
    let mut text =
        "postern = 1\n[group]\nit = [\"ann\", \"bob\"]\n[group-optional]\nempty = []\n".to_owned();
    text.push_str("[app]\n");
    for app in 0..apps {
        let name = app * 7 % 1000;
        write!(
            text,
            "[app.a{name}]\nhost = \"a{name}.example\"\nupstream = \"http://10.0.0.1:{}\"\n\
             allow.a = {{ who = \"@it\", from = [\n  \"tunnel\",\n] }}\nallow.b = {{ who = \"@empty\" }}\n\
             [app.a{name}.\"/x{}\"]\npublic = \"é\"\nallow.c = {{ who = \"any-user\", methods = [\"read\"] }}\n\
             [app.\"q{name}\"]\nhost = \"q{name}.example\"\nupstream = \"http://10.0.0.2:1\"\n",
            app % 3 + 1,
            app % 5,
        )
        .unwrap();
    }
    text
}

fn sources(text: &str) -> Sources {
    let mut sources = Sources::new();
    sources.add(
        "users.toml",
        "postern = 1\n[user.ann]\n[user.bob]\n".to_owned(),
    );
    sources.add("policy.toml", text.to_owned());
    sources
}

/// All that is to be known of what was read.
fn seen(read: Read, sources: &Sources) -> (String, String) {
    let diags = format!("{:?}", crate::sorted(read.diags));
    let policy = crate::compile::compile(read.ir, read.invariants, sources).unwrap();
    let fronts: Vec<_> = policy.apps().map(|(_, app)| &app.fronts).collect();
    let all = format!("{} {:?} {fronts:?}", policy.digest(), policy.rules);
    (all, diags)
}

fn assert_alike(sources: &Sources, size: usize) -> bool {
    let Some(parts) = read_in_parts(sources, size) else {
        return false;
    };
    let whole = read_whole(sources).unwrap_or_else(|diags| panic!("{size}: {diags:?}"));
    assert_eq!(seen(parts, sources), seen(whole, sources), "{size}");
    true
}

#[test]
fn what_is_read_in_parts_is_what_is_read_whole() {
    let sources = sources(&text(60));
    for size in SIZES {
        assert!(assert_alike(&sources, size), "{size}");
    }
    assert!(read_in_parts(&sources, 1 << 20).is_none());
    let whole = read_whole(&sources).unwrap();
    assert!(!whole.diags.is_empty(), "warnings are compared too");
}

#[test]
fn what_cannot_be_cut_or_is_wrong_is_read_whole() {
    let app = |name: &str, host: &str| {
        format!(
            "\n[app.{name}]\nhost = \"{host}\"\nupstream = \"http://10.0.0.1:1\"\nallow.a = {{ who = \"@it\" }}\n"
        )
    };
    let base = text(3);
    let last = app("z", "z.example");
    assert!(read_in_parts(&sources(&(base.clone() + &last)), 90).is_some());
    for end in [
        // an app and a host that stand in two parts
        app("a7", "z.example"),
        app("z", "a7.example"),
        // an area of an app of another part
        "[app.z1]\n[app.a7.\"/y\"]\n".to_owned(),
        // an unknown name, an unknown key and a mistake in the spelling
        last.replace("@it", "@itt"),
        last.replace("who =", "whom ="),
        last.replace("{ who", "{{ who"),
        // what is no app behind one
        last.clone() + "[rate]\na = \"1/s\"\n",
        // what looks like a header and is part of a list
        last.clone() + "[app.y]\nhost = [\n[app.x]\n]\n",
        // what is written in an unusual way
        last.replace("\"@it\"", "\"\"\"@it\"\"\""),
    ] {
        let sources = sources(&(base.clone() + &end));
        for size in SIZES {
            assert!(read_in_parts(&sources, size).is_none(), "{size}: {end}");
        }
    }
    let unopened = base.replace("[app]\n", "app.b.host = \"b.example\"\n");
    assert!(read_in_parts(&sources(&unopened), 90).is_none());
    let tenants = base.replace("[app]\n", "[tenant.t]\ndomains = [\"t.example\"]\n[app]\n");
    assert!(read_in_parts(&sources(&tenants), 90).is_none());
}
