use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Journal;
use crate::audit::chain::ChainKey;
use crate::audit::record::{Record, Stamped};
use crate::audit::verify::{Fault, Report, verify};
use crate::audit::{AuditError, Event, reason};
use crate::ids;

const KEY: [u8; 32] = [7; 32];
/// 2023-11-14T22:13:20Z.
const T: u64 = 1_700_000_000_000;
const DAY: u64 = 24 * 60 * 60 * 1000;

/// A folder that goes away with the test.
pub(in crate::audit) struct Scratch(PathBuf);

impl Scratch {
    pub(in crate::audit) fn new() -> Self {
        let name = format!("postern-audit-{}", ids::token());
        Self(std::env::temp_dir().join(name))
    }

    pub(in crate::audit) fn path(&self) -> &Path {
        &self.0
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.file(name)).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn put(&self, name: &str, lines: &[String]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(self.file(name), text).unwrap();
    }

    fn verify(&self) -> Report {
        verify(self.path(), &[Zeroizing::new(KEY)]).unwrap()
    }

    fn faults(&self) -> Vec<Fault> {
        self.verify().faults
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
        drop(std::fs::remove_file(&self.0));
    }
}

const TODAY: &str = "2023-11-14.jsonl";
const SECOND: &str = "2023-11-14_0001.jsonl";
const TOMORROW: &str = "2023-11-15.jsonl";

fn open(dir: &Scratch) -> Journal {
    Journal::open(dir.path(), ChainKey::new(&KEY), T).unwrap()
}

fn record(at: u64) -> Stamped {
    Stamped::new(at, Record::new(Event::SignedIn, "ok", reason::RULE))
}

fn write(journal: &mut Journal, at: u64, count: usize) {
    let records: Vec<_> = (0..count).map(|_| record(at)).collect();
    journal.append(&records).unwrap();
    journal.sync().unwrap();
    journal.seal().unwrap();
}

/// A closed journal of ten records.
fn ten() -> Scratch {
    let dir = Scratch::new();
    write(&mut open(&dir), T, 10);
    dir
}

#[test]
fn a_new_journal_is_private_and_whole() {
    let dir = ten();
    let mode = |path: &Path| path.metadata().unwrap().mode() & 0o7777;
    assert_eq!(mode(dir.path()), 0o700);
    assert_eq!(mode(&dir.file(TODAY)), 0o600);
    assert_eq!(mode(&dir.file("head")), 0o600);
    let report = dir.verify();
    assert!(report.ok, "{report:?}");
    assert_eq!((report.records, report.last), (10, 10));
}

#[test]
fn the_sequence_goes_on_over_restarts_and_days() {
    let dir = ten();
    write(&mut open(&dir), T, 3);
    let mut journal = open(&dir);
    write(&mut journal, T + DAY, 2);
    // a clock that goes back does not open an old segment again
    write(&mut journal, T, 1);
    drop(journal);
    let mut journal = open(&dir);
    assert_eq!(journal.seq(), 16);
    write(&mut journal, T + DAY, 1);
    assert_eq!(dir.lines(TODAY).len(), 13);
    assert_eq!(dir.lines(TOMORROW).len(), 4);
    let report = dir.verify();
    assert!(report.ok, "{report:?}");
    assert_eq!((report.files, report.last), (2, 17));
}

#[test]
fn a_batch_over_midnight_is_split() {
    let dir = Scratch::new();
    let mut journal = open(&dir);
    let midnight = T - T % DAY + DAY;
    journal
        .append(&[record(midnight - 1), record(midnight)])
        .unwrap();
    journal.sync().unwrap();
    assert_eq!(dir.lines(TODAY).len(), 1);
    assert_eq!(dir.lines(TOMORROW).len(), 1);
    assert!(dir.faults().is_empty());
}

#[test]
fn only_the_first_record_of_a_segment_names_what_it_follows() {
    let dir = ten();
    write(&mut open(&dir), T + DAY, 2);
    let has_prev: Vec<_> = [TODAY, TOMORROW]
        .iter()
        .flat_map(|name| dir.lines(name))
        .map(|line| line.contains("\"prev\":"))
        .collect();
    let expected: Vec<_> = (0..12).map(|n| n == 0 || n == 10).collect();
    assert_eq!(has_prev, expected);
}

#[test]
fn a_torn_last_line_is_cut_and_noted() {
    for torn in ["{\"seq\":11,\"ti", "\0\0\0\0", "{\"seq\":11\0\0\0\n\0"] {
        let dir = ten();
        let mut file = std::fs::File::options()
            .append(true)
            .open(dir.file(TODAY))
            .unwrap();
        file.write_all(torn.as_bytes()).unwrap();
        let mut journal = open(&dir);
        write(&mut journal, T, 1);
        let lines = dir.lines(TODAY);
        assert_eq!(lines.len(), 12, "{torn:?}");
        assert!(lines[10].contains("\"reason\":\"journal-repaired\""));
        assert!(lines[10].contains(&format!("cut {} torn bytes after record 10", torn.len())));
        assert!(dir.faults().is_empty());
    }
}

#[test]
fn an_untorn_journal_is_opened_without_a_note() {
    let dir = ten();
    drop(open(&dir));
    assert_eq!(dir.lines(TODAY).len(), 10);
}

#[test]
fn a_flipped_byte_is_named_with_file_line_and_record() {
    let dir = ten();
    let mut lines = dir.lines(TODAY);
    lines[4] = lines[4].replace("\"ok\"", "\"oj\"");
    dir.put(TODAY, &lines);
    let faults = dir.faults();
    assert_eq!(faults.len(), 1);
    let (file, line, seq) = (faults[0].file.as_str(), faults[0].line, faults[0].seq);
    assert_eq!((file, line, seq), (TODAY, 5, Some(5)));
    assert!(
        faults[0]
            .to_string()
            .starts_with("2023-11-14.jsonl:5: record 5: ")
    );
}

#[test]
fn every_single_changed_byte_is_noticed() {
    let dir = ten();
    let whole = std::fs::read(dir.file(TODAY)).unwrap();
    let third = whole
        .split(|b| *b == b'\n')
        .take(2)
        .map(|l| l.len() + 1)
        .sum::<usize>();
    for at in third..third + 420 {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(dir.file(TODAY), bytes).unwrap();
        assert!(!dir.faults().is_empty(), "byte {at}");
    }
}

#[test]
fn a_deleted_line_is_noticed() {
    let dir = ten();
    let mut lines = dir.lines(TODAY);
    lines.remove(3);
    dir.put(TODAY, &lines);
    let faults = dir.faults();
    assert_eq!((faults[0].line, faults[0].seq), (4, Some(5)));
    assert!(faults[0].what.contains("records 4 to 4"));
}

#[test]
fn swapped_and_repeated_lines_are_noticed() {
    let dir = ten();
    let whole = dir.lines(TODAY);
    let mut lines = whole.clone();
    lines.swap(3, 4);
    dir.put(TODAY, &lines);
    assert_eq!(dir.faults()[0].line, 4);
    let mut lines = whole;
    lines.insert(4, lines[3].clone());
    dir.put(TODAY, &lines);
    let faults = dir.faults();
    assert_eq!((faults[0].line, faults[0].seq), (5, Some(4)));
}

#[test]
fn a_cut_tail_is_noticed_and_stays_noticed() {
    let dir = ten();
    let mut lines = dir.lines(TODAY);
    lines.truncate(8);
    dir.put(TODAY, &lines);
    assert!(dir.faults()[0].what.contains("head names record 10"));
    write(&mut open(&dir), T, 1);
    let second = dir.lines(SECOND);
    assert!(second[0].contains("\"seq\":11,"));
    assert!(second[0].contains("\"reason\":\"journal-cut\""));
    let faults = dir.faults();
    assert_eq!((faults.len(), faults[0].file.as_str()), (1, SECOND));
    assert!(faults[0].what.contains("records 9 to 10"));
}

#[test]
fn a_missing_segment_is_noticed() {
    let dir = ten();
    let mut journal = open(&dir);
    write(&mut journal, T + DAY, 2);
    write(&mut journal, T + 2 * DAY, 2);
    std::fs::remove_file(dir.file(TOMORROW)).unwrap();
    let faults = dir.faults();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].what.contains("records 11 to 12"));
    std::fs::remove_file(dir.file(TODAY)).unwrap();
    assert!(dir.faults()[0].what.contains("records 1 to 12"));
    drop(journal);
    std::fs::remove_file(dir.file("2023-11-16.jsonl")).unwrap();
    assert!(dir.faults()[0].what.contains("head names record 14"));
    write(&mut open(&dir), T, 1);
    assert!(dir.lines(TODAY)[0].contains("\"seq\":15,"));
}

#[test]
fn a_missing_or_foreign_head_is_noticed() {
    let dir = ten();
    let head = std::fs::read_to_string(dir.file("head")).unwrap();
    std::fs::write(dir.file("head"), head.replace("10", "09")).unwrap();
    assert_eq!(dir.faults()[0].file, "head");
    std::fs::remove_file(dir.file("head")).unwrap();
    assert_eq!(dir.faults()[0].file, "head");
    write(&mut open(&dir), T, 1);
    assert!(dir.lines(TODAY)[10].contains("\"reason\":\"journal-head-bad\""));
    assert!(dir.faults().is_empty());
}

#[test]
fn another_key_verifies_nothing() {
    let dir = ten();
    let report = verify(dir.path(), &[Zeroizing::new([8; 32])]).unwrap();
    assert!(!report.ok);
    assert_eq!(report.faults_in_all, 11);
}

#[test]
fn an_unfinished_last_line_is_no_fault_and_elsewhere_is_one() {
    let dir = ten();
    let text = std::fs::read_to_string(dir.file(TODAY)).unwrap();
    std::fs::write(dir.file(TODAY), format!("{text}{{\"seq\"")).unwrap();
    let report = dir.verify();
    assert!(report.ok);
    assert_eq!(report.torn, 6);
    std::fs::write(dir.file(TOMORROW), "").unwrap();
    assert!(!dir.verify().ok);
}

#[test]
fn a_folder_that_others_can_read_is_refused() {
    let dir = ten();
    let mode = |bits| std::fs::Permissions::from_mode(bits);
    std::fs::set_permissions(dir.path(), mode(0o750)).unwrap();
    let refused = Journal::open(dir.path(), ChainKey::new(&KEY), T);
    assert!(matches!(
        refused,
        Err(AuditError::Exposed { mode: 0o750, .. })
    ));
    std::fs::set_permissions(dir.path(), mode(0o700)).unwrap();
    open(&dir);
}

#[test]
fn a_second_writer_is_refused_until_the_first_is_gone() {
    let dir = Scratch::new();
    let first = open(&dir);
    let second = Journal::open(dir.path(), ChainKey::new(&KEY), T);
    assert!(matches!(second, Err(AuditError::Busy { .. })));
    drop(first);
    open(&dir);
}

#[test]
fn a_symbolic_link_is_not_followed() {
    let dir = ten();
    let aside = dir.file("aside");
    std::fs::rename(dir.file(TODAY), &aside).unwrap();
    std::os::unix::fs::symlink(&aside, dir.file(TODAY)).unwrap();
    assert!(verify(dir.path(), &[Zeroizing::new(KEY)]).is_err());
    assert!(Journal::open(dir.path(), ChainKey::new(&KEY), T).is_err());
    let link = Scratch::new();
    std::os::unix::fs::symlink(dir.path(), link.path()).unwrap();
    assert!(Journal::open(link.path(), ChainKey::new(&KEY), T).is_err());
}

#[test]
fn a_full_disk_breaks_off_and_recovery_goes_on_in_a_new_segment() {
    let dir = ten();
    let mut journal = open(&dir);
    let full = std::fs::File::options().write(true).open("/dev/full");
    let real = std::mem::replace(&mut journal.segment.file, full.unwrap());
    let refused = journal.append(&[record(T)]).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::StorageFull);
    journal.segment.file = real;
    // what a failed write may have left behind
    journal
        .segment
        .file
        .write_all(b"{\"seq\":11,\"half")
        .unwrap();
    journal.recover(T).unwrap();
    assert_eq!(journal.seq(), 10);
    write(&mut journal, T, 2);
    assert_eq!(dir.lines(TODAY).len(), 10);
    assert_eq!(dir.lines(SECOND).len(), 2);
    let report = dir.verify();
    assert!(report.ok, "{report:?}");
    assert_eq!(report.last, 12);
}

#[test]
fn a_segment_cut_or_removed_under_us_is_an_error() {
    let dir = ten();
    let mut journal = open(&dir);
    journal.segment.file.set_len(100).unwrap();
    journal.append(&[record(T)]).unwrap();
    assert!(journal.sync().is_err());
    journal.recover(T).unwrap();
    write(&mut journal, T, 1);
    std::fs::remove_file(dir.file(SECOND)).unwrap();
    journal.append(&[record(T)]).unwrap();
    assert!(journal.sync().is_err());
    journal.recover(T).unwrap();
    write(&mut journal, T, 1);
    assert!(!dir.faults().is_empty());
}

#[test]
fn recovery_waits_for_the_folder() {
    let dir = ten();
    let mut journal = open(&dir);
    std::fs::remove_dir_all(dir.path()).unwrap();
    std::fs::write(dir.path(), "in the way").unwrap();
    journal.append(&[record(T)]).unwrap();
    assert!(journal.sync().is_err());
    assert!(journal.recover(T).is_err());
    std::fs::remove_file(dir.path()).unwrap();
    journal.recover(T).unwrap();
    write(&mut journal, T, 1);
    assert!(dir.faults()[0].what.contains("records 1 to 10"));
}

/// The keys of a journal after one rotation, the newest first.
fn ring() -> [Zeroizing<[u8; 32]>; 2] {
    [Zeroizing::new([9; 32]), Zeroizing::new(KEY)]
}

#[test]
fn a_journal_goes_on_with_a_new_key_and_is_checked_with_both() {
    let dir = ten();
    let mut journal = Journal::open(dir.path(), ChainKey::ring(&ring()), T).unwrap();
    write(&mut journal, T, 5);
    drop(journal);
    let report = verify(dir.path(), &ring()).unwrap();
    assert!(report.ok && report.records == 15, "{report:?}");
    // neither key alone vouches for all of it
    assert!(!dir.verify().ok);
    let newest_only = verify(dir.path(), &ring()[..1]).unwrap();
    assert_eq!(newest_only.faults_in_all, 10);
}

#[test]
fn a_key_that_was_replaced_adds_no_records() {
    let dir = ten();
    let mut journal = Journal::open(dir.path(), ChainKey::ring(&ring()), T).unwrap();
    write(&mut journal, T, 5);
    drop(journal);
    // somebody with the older key and the folder goes on where the gateway stopped
    write(&mut open_with_older(&dir), T, 1);
    let report = verify(dir.path(), &ring()).unwrap();
    let said: Vec<_> = report.faults.iter().map(|f| f.what.as_str()).collect();
    assert!(
        said.contains(&"written with a key that was replaced"),
        "{said:?}"
    );
}

/// Opens a journal as the holder of the older key would: the last record is no obstacle.
fn open_with_older(dir: &Scratch) -> Journal {
    let order = [Zeroizing::new(KEY), Zeroizing::new([9; 32])];
    Journal::open(dir.path(), ChainKey::ring(&order), T).unwrap()
}
