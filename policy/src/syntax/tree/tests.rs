//! What is read plainly is read alike by the `toml` crate.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::{Table, Value, plain, read_whole};
use crate::source::FileId;

fn shown(table: Table<'_>, out: &mut String) {
    for entry in table.entries() {
        *out += &format!("{:?} {:?} ", entry.key, entry.span);
        shown_value(entry.value, out);
    }
}

fn shown_value(value: Value<'_>, out: &mut String) {
    *out += &format!("{} {:?} ", value.type_str(), value.span());
    let text = (value.as_str(), value.as_bool(), value.as_integer());
    *out += &format!("{text:?}\n");
    for item in value.as_array().into_iter().flatten() {
        shown_value(item, out);
    }
    if let Some(table) = value.as_table() {
        *out += "(\n";
        shown(table, out);
        *out += ")\n";
    }
}

/// Whether a text is read plainly; panics when the `toml` crate reads it otherwise or refuses it.
fn same(text: &str) -> bool {
    let file = FileId::default();
    let Some(tree) = plain::read(file, text) else {
        return false;
    };
    let (whole, errors) = read_whole(file, text);
    assert!(errors.is_empty(), "{errors:?}\n{text}");
    let (mut ours, mut theirs) = (String::new(), String::new());
    shown(tree.root(), &mut ours);
    shown(whole.root(), &mut theirs);
    assert_eq!(ours, theirs, "{text}");
    true
}

#[expect(
    clippy::disallowed_methods,
    reason = "these are the files of tests and examples"
)]
fn files(folder: &Path, out: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|end| end == "toml") {
            out.extend(std::fs::read_to_string(&path));
        }
    }
}

static CORPUS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut out = Vec::new();
    files(&own.join("tests"), &mut out);
    files(&own.join("../deploy/examples"), &mut out);
    out
});

#[test]
fn the_files_of_examples_and_tests_are_read_alike_and_nearly_all_plainly() {
    let texts = &*CORPUS;
    let plain = texts.iter().filter(|text| same(text)).count();
    assert!(
        plain * 10 > texts.len() * 9,
        "{plain} of {} files are plain",
        texts.len()
    );
}

#[test]
fn what_is_unusual_is_left_to_the_toml_crate_and_its_plain_twin_is_not() {
    for (unusual, plain) in [
        ("a = \"\\u0041\"", "a = \"A\""),
        ("a = \"\"\"b\"\"\"", "a = \"b\""),
        ("a = ''''''", "a = ''"),
        ("a = 0x10", "a = 16"),
        ("a = 01", "a = 1"),
        ("a = 1_000", "a = 1000"),
        ("a = -1", "a = 1"),
        ("a = 1.5", "a = 1"),
        ("a = 2026-01-01", "a = \"2026-01-01\""),
        ("a = 1\nb = 2 c = 3", "a = 1\nb = 2 # c = 3"),
        ("a = 1\r\nb = 2", "a = 1\nb = 2"),
        ("a = 1 # \u{7f}", "a = 1 # \u{e9}"),
        ("a = 1\na = 2", "a = 1\nb = 2"),
        ("a = 1\n\"a\" = 2", "a = 1\n\"b\" = 2"),
        ("[a]\n[a]", "[a]\n[b]"),
        ("[a.b]\n[a]", "[a]\n[a.b]"),
        ("[a]\nb.c = 1\n[a.b]", "[a]\nb.c = 1\n[a.d]"),
        ("[a.b]\n[a]\nb.c = 1", "[a]\nb.c = 1\nb.d = 2"),
        ("a = { b = 1 }\na.c = 1", "a.b = 1\na.c = 1"),
        ("a = { b = 1 }\n[a.c]", "b = { b = 1 }\n[a.c]"),
        ("a = { b = 1, b = 2 }", "a = { b = 1, c = 2 }"),
        ("a = [1]\n[[a]]", "[[a]]\n[[a]]"),
        ("[[a]]\n[a]", "[[a]]\n[a.b]\n[[a]]\n[a.b]"),
        ("[a]\n[[a]]", "[a]\n[[b]]"),
        ("a = [1,,2]", "a = [1,2,]"),
        ("a = [1 2]", "a = [ # list\n1 # one\n, 2\n]"),
        ("a = {b = 1 c = 2}", "a = {b=1,c='2'}"),
        ("a = tru", "a = true"),
        ("a = truefalse", "a = [true,false]"),
        ("a", "a = ''"),
        ("= 1", "\"\" = 1"),
        ("[ [a]]", "[[a]]"),
        ("[a] b = 1", "[a] # b = 1"),
    ] {
        assert!(!same(unusual), "{unusual}");
        assert!(same(plain), "{plain}");
    }
}

#[test]
fn a_key_is_found_again_among_many() {
    let many: String = (0..40).map(|at| format!("k{at} = {at}\n")).collect();
    assert!(same(&many));
    assert!(!same(&format!("{many}k7 = 1\n")));
    let tables: String = (0..40).map(|at| format!("[t.k{at}]\na = 1\n")).collect();
    assert!(same(&format!("{tables}[t.k3.b]\n[[t.k5.c]]\n")));
    assert!(!same(&format!("{tables}[t.k3]\n")));
}

const PIECES: [&str; 40] = [
    "a", "b", "c.d", "a.b", "\"a\"", "'b'", " = ", "=", "1", "0", "20", "01", "1.0", "true",
    "false", "\"x\"", "'y'", "''", "\"\"", "[", "]", "[[", "]]", "{", "}", ",", ", ", "\n", "\n",
    "\n", " ", "# c\n", "\t", "[a]\n", "[a.b]\n", "[[a]]\n", "[b]\n", "a = 1\n", "\"é\"", "\\",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn no_mix_of_pieces_is_read_in_two_ways(
        pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..14)
    ) {
        same(&pieces.concat());
    }

    #[test]
    fn no_lines_are_read_in_two_ways(
        lines in proptest::collection::vec("(\\[a(\\.b){0,2}\\]|\\[\\[a(\\.b)?\\]\\]|[ab](\\.[ab]){0,2} ?= ?(1|'x'|\\[1, \"a\"\\]|\\{ a = 1(, b = \\[\\])? \\})( #.{0,3})?)", 0..8)
    ) {
        same(&lines.join("\n"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_file_with_a_slip_is_read_in_two_ways(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        cut in 0usize..3,
        piece in proptest::sample::select(&PIECES[..]),
    ) {
        let texts = &*CORPUS;
        let text = &texts[which.index(texts.len())];
        let chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len() + 1);
        let mut slipped: String = chars[..at].iter().collect();
        slipped += piece;
        slipped.extend(chars.iter().skip(at + cut));
        same(&slipped);
    }
}
