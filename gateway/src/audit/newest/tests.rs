use std::path::Path;
use std::time::Duration;

use super::{Bounds, Found, Judged, Place, newest};
use crate::config::tests::Folder;

const WIDE: Bounds = Bounds {
    bytes: 1 << 30,
    time: Duration::from_secs(60),
};

fn folder(segments: &[(&str, &str)]) -> Folder {
    let folder = Folder::new();
    for (name, text) in segments {
        folder.write(name, text);
    }
    folder
}

fn texts(found: &Found) -> Vec<String> {
    let lines = found.lines.iter();
    lines
        .map(|line| String::from_utf8(line.clone()).unwrap())
        .collect()
}

fn page(dir: &Path, before: Option<&Place>, most: usize) -> Found {
    newest(dir, before, most, WIDE, &mut |_| Judged::Take).unwrap()
}

#[test]
fn pages_hold_every_whole_line_once_from_the_newest_to_the_oldest() {
    let folder = folder(&[
        ("2026-01-01.jsonl", "a\nb\n"),
        ("2026-01-02.jsonl", ""),
        ("2026-01-03.jsonl", "c\n\nd\n"),
        ("2026-01-03_0001.jsonl", "e\nf\ntorn"),
        ("notes.txt", "x\n"),
    ]);
    for most in 1..8 {
        let (mut all, mut before) = (Vec::new(), None);
        for _ in 0..10 {
            let found = page(folder.path(), before.as_ref(), most);
            assert!(found.lines.len() <= most && !found.cut);
            all.extend(texts(&found));
            before = found.older;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(before, None, "{most}");
        assert_eq!(all, ["f", "e", "d", "c", "b", "a"], "{most}");
    }
}

#[test]
fn a_reading_stops_at_its_bounds_and_goes_on_where_it_stopped() {
    let long: String = (0..60_000).map(|at| format!("{at:019}\n")).collect();
    let folder = folder(&[("2026-01-01.jsonl", &long)]);
    let tight = Bounds { bytes: 1, ..WIDE };
    let hurried = Bounds {
        time: Duration::ZERO,
        ..WIDE
    };
    for bounds in [tight, hurried] {
        let (mut steps, mut seen, mut before) = (0, 0, None);
        let found = loop {
            let mut judge = |line: &[u8]| {
                seen += 1;
                match line.starts_with(b"0000000000000000000") {
                    true => Judged::Take,
                    false => Judged::Pass,
                }
            };
            let found = newest(folder.path(), before.as_ref(), 1, bounds, &mut judge).unwrap();
            steps += 1;
            if !found.cut {
                break found;
            }
            before = found.older;
        };
        assert_eq!(texts(&found), ["0000000000000000000"]);
        assert_eq!(found.older, None);
        assert_eq!(seen, 60_000);
        assert!((4..=6).contains(&steps), "{steps}");
    }
    assert!(!page(folder.path(), None, 5).cut);
}

#[test]
fn who_says_stop_sees_nothing_older() {
    let folder = folder(&[
        ("2026-01-01.jsonl", "a\nb\n"),
        ("2026-01-02.jsonl", "c\nd\n"),
    ]);
    let mut seen = 0;
    let found = newest(folder.path(), None, 9, WIDE, &mut |line| {
        seen += 1;
        match line {
            b"c" => Judged::Stop,
            _ => Judged::Take,
        }
    });
    let found = found.unwrap();
    assert_eq!(
        (texts(&found), found.older, seen),
        (vec!["d".to_owned()], None, 2)
    );
}

#[test]
fn a_line_that_is_too_long_is_passed_over_wherever_it_lies() {
    let monster = "x".repeat(900_000);
    let folder = folder(&[("2026-01-01.jsonl", &format!("a\n{monster}\nb\n{monster}"))]);
    let mut bounds = WIDE;
    assert_eq!(texts(&page(folder.path(), None, 9)), ["b", "a"]);
    bounds.bytes = 1;
    let (mut before, mut all) = (None, Vec::new());
    for _ in 0..20 {
        let found = newest(folder.path(), before.as_ref(), 9, bounds, &mut |_| {
            Judged::Take
        });
        let found = found.unwrap();
        all.extend(texts(&found));
        before = found.older;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(all, ["b", "a"]);
}

#[test]
fn a_place_is_written_as_it_is_read() {
    for text in ["2026-01-31:0", "2026-01-31_0001:4096"] {
        assert_eq!(Place::parse(text).unwrap().to_string(), text);
    }
    for text in [
        "",
        "2026-01-31",
        "2026-01-31:",
        "2026-01-31:-1",
        "2026-01-31:+1",
        "../2026-01-31:1",
        "2026-01-31_1:1",
        "2026-01-31:99999999999999999999",
    ] {
        assert_eq!(Place::parse(text), None, "{text}");
    }
}

#[test]
fn a_place_that_is_not_there_any_more_gives_what_is_older() {
    let folder = folder(&[("2026-01-01.jsonl", "a\nb\n"), ("2026-01-03.jsonl", "c\n")]);
    let gone = Place::parse("2026-01-02:77").unwrap();
    assert_eq!(texts(&page(folder.path(), Some(&gone), 9)), ["b", "a"]);
    let beyond = Place::parse("2026-01-01:7777").unwrap();
    assert_eq!(texts(&page(folder.path(), Some(&beyond), 9)), ["b", "a"]);
    let within = Place::parse("2026-01-01:3").unwrap();
    assert_eq!(texts(&page(folder.path(), Some(&within), 9)), ["a"]);
}
