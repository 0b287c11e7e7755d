//! Checking the journal: every record, its number and its chain value.

use std::io;
use std::path::Path;

use serde::Serialize;
use zeroize::Zeroizing;

use super::chain::{ChainKey, Position, Sealed};
use super::files::segments;
use super::head::{self, Head};
use super::lines::{Lines, Read};
use super::tail::prev_field;

/// Faults that a report lists; further ones are counted.
const LISTED: usize = 100;

/// What a check found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) ok: bool,
    pub(crate) files: usize,
    pub(crate) records: u64,
    /// Number of the last record; 0 when there is none.
    pub(crate) last: u64,
    /// Bytes of an unfinished last line: being written just now, or torn by a crash and repaired
    /// at the next start.
    pub(crate) torn: usize,
    /// In the order of the journal, at most 100.
    pub(crate) faults: Vec<Fault>,
    pub(crate) faults_in_all: u64,
}

/// One fault and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    pub(crate) file: String,
    /// From 1; 0 for the file as a whole.
    pub(crate) line: u64,
    /// The number the record says it has.
    pub(crate) seq: Option<u64>,
    pub(crate) what: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if let Some(seq) = self.seq {
            write!(f, "record {seq}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// Checks the journal in `dir` from its first record to its head.
///
/// # Errors
/// If the folder or a segment cannot be read.
pub(crate) fn verify(dir: &Path, keys: &[Zeroizing<[u8; 32]>]) -> io::Result<Report> {
    let key = ChainKey::ring(keys);
    // the head first: a running gateway only ever adds records after it
    let head = Head::load(dir, &key);
    let mut check = Check {
        key,
        maker: usize::MAX,
        head,
        head_met: head == Head::At(Position::START),
        at: Position::START,
        file: String::new(),
        line: 0,
        report: Report::default(),
    };
    for name in segments(dir)? {
        check.file = name.to_string();
        check.segment(dir)?;
    }
    check.end();
    Ok(check.report)
}

struct Check {
    key: ChainKey,
    /// The key of the record before, by its place; none older than it may follow.
    maker: usize,
    head: Head,
    head_met: bool,
    at: Position,
    file: String,
    line: u64,
    report: Report,
}

impl Check {
    fn segment(&mut self, dir: &Path) -> io::Result<()> {
        self.line = 0;
        self.report.files += 1;
        if self.report.torn > 0 {
            let what = "the file before ends in an unfinished line";
            self.fault(None, what.to_owned());
            self.report.torn = 0;
        }
        let mut lines = Lines::open(&dir.join(&self.file), 0)?;
        loop {
            match lines.next()? {
                Read::Line(line) => {
                    self.line += 1;
                    self.record(line);
                }
                Read::Torn(len) => self.report.torn = len,
                Read::End => return Ok(()),
            }
            if self.report.torn > 0 {
                return Ok(());
            }
        }
    }

    fn record(&mut self, line: &[u8]) {
        let Some(sealed) = Sealed::parse(line) else {
            return self.fault(None, "not a record".to_owned());
        };
        let seq = Some(sealed.seq);
        let next = self.at.seq + 1;
        if sealed.seq > next {
            let last = sealed.seq - 1;
            self.fault(
                seq,
                format!("records {next} to {last} before it are missing"),
            );
        } else if sealed.seq < next {
            let what = format!("out of order, record {next} was expected");
            self.fault(seq, what);
        } else {
            match sealed.maker(&self.at.link, &self.key) {
                Some(maker) if maker <= self.maker => self.maker = maker,
                Some(_) => self.fault(seq, "written with a key that was replaced".to_owned()),
                None => self.fault(
                    seq,
                    "changed, or not the one that was written here".to_owned(),
                ),
            }
        }
        if sealed.seq != next && self.line == 1 && !self.stands_alone(&sealed) {
            self.fault(seq, "changed".to_owned());
        }
        self.at = sealed.position();
        self.report.records += 1;
        if self.head == Head::At(self.at) {
            self.head_met = true;
        }
    }

    /// Tells whether the first record of a segment is unchanged whatever came before it.
    fn stands_alone(&self, sealed: &Sealed<'_>) -> bool {
        prev_field(sealed.body).is_some_and(|prev| sealed.follows(&prev, &self.key))
    }

    fn end(&mut self) {
        self.report.last = self.at.seq;
        let what = match self.head {
            Head::At(head) if head.seq > self.at.seq => Some(format!(
                "the head names record {}, the last one here is {}: the end is missing",
                head.seq, self.at.seq
            )),
            Head::At(head) if !self.head_met => Some(format!(
                "record {} is not the one that the head names",
                head.seq
            )),
            Head::At(_) => None,
            Head::Missing if self.report.files == 0 => None,
            Head::Missing => Some("missing".to_owned()),
            Head::Bad => Some("changed, or not of this journal's key".to_owned()),
        };
        if let Some(what) = what {
            if !matches!(self.head, Head::At(_)) || self.report.files == 0 {
                head::NAME.clone_into(&mut self.file);
                self.line = 0;
            }
            self.fault(None, what);
        }
        self.report.ok = self.report.faults.is_empty();
    }

    fn fault(&mut self, seq: Option<u64>, what: String) {
        self.report.faults_in_all += 1;
        if self.report.faults.len() < LISTED {
            self.report.faults.push(Fault {
                file: self.file.clone(),
                line: self.line,
                seq,
                what,
            });
        }
    }
}
