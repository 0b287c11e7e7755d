//! Reading the journal: the last records, new ones as they come, and those that match a filter.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::event::Event;
use super::files::{SegmentName, day, segments};
use super::lines::{Lines, Read};
use super::record::is_deceptive;
use crate::clock;

/// Takes a line of the journal, without its line feed.
pub(crate) type Sink<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

/// What a search asks for; `None` asks for nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) user: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) outcome: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) request: Option<String>,
    pub(crate) event: Option<Event>,
    /// Wall time, ms since the UNIX epoch.
    pub(crate) since: Option<u64>,
    /// The newest so many.
    pub(crate) limit: Option<usize>,
}

/// Gives the records that match to `sink`, oldest first.
///
/// # Errors
/// If the folder or a segment cannot be read, and those of `sink`.
pub(crate) fn search(dir: &Path, filter: &Filter, sink: &mut Sink<'_>) -> io::Result<()> {
    let Some(limit) = filter.limit else {
        return scan(dir, filter, sink);
    };
    let mut newest = VecDeque::new();
    scan(dir, filter, &mut |line| {
        if newest.len() >= limit {
            newest.pop_front();
        }
        if limit > 0 {
            newest.push_back(line.to_owned());
        }
        Ok(())
    })?;
    newest.iter().try_for_each(|line| sink(line))
}

fn scan(dir: &Path, filter: &Filter, sink: &mut Sink<'_>) -> io::Result<()> {
    each_line(dir, filter.since, &mut |line| {
        if filter.takes(line) {
            sink(line)
        } else {
            Ok(())
        }
    })
}

/// Gives every line of the journal to `sink`, oldest first; of records only those not older than
/// `since`, ms since the UNIX epoch.
///
/// # Errors
/// If the folder or a segment cannot be read, and those of `sink`.
pub(crate) fn each_line(dir: &Path, since: Option<u64>, sink: &mut Sink<'_>) -> io::Result<()> {
    let first_day = since.map(day).unwrap_or_default();
    for name in segments(dir)? {
        if name.day >= first_day {
            each_line_of(&dir.join(name.to_string()), since, sink)?;
        }
    }
    Ok(())
}

/// Does what [`each_line`] does for one segment, wherever it lies.
///
/// # Errors
/// If the file cannot be read, and those of `sink`.
pub(crate) fn each_line_of(
    segment: &Path,
    since: Option<u64>,
    sink: &mut Sink<'_>,
) -> io::Result<()> {
    let since = since.map(clock::rfc3339);
    let mut lines = Lines::open(segment, 0)?;
    while let Read::Line(line) = lines.next()? {
        let old = since.as_deref().is_some_and(|since| is_older(line, since));
        if !old {
            sink(line)?;
        }
    }
    Ok(())
}

/// Finds the record with a number.
///
/// # Errors
/// If the folder or a segment cannot be read.
pub(crate) fn by_seq(dir: &Path, seq: u64) -> io::Result<Option<Vec<u8>>> {
    let start = format!("{{\"seq\":{seq},");
    newest(dir, &|line| line.starts_with(start.as_bytes()))
}

/// Finds the decision whose page showed a code such as `D-7K3QXN2A`, the newest if there are several.
///
/// # Errors
/// If the folder or a segment cannot be read.
pub(crate) fn by_code(dir: &Path, code: &str) -> io::Result<Option<Vec<u8>>> {
    #[derive(Deserialize)]
    struct Shown<'a> {
        #[serde(borrow)]
        code: Option<Text<'a>>,
        #[serde(borrow)]
        detail: Option<Text<'a>>,
    }
    let quoted = format!("\"{code}\"");
    newest(dir, &|line| {
        let named = line
            .windows(quoted.len())
            .any(|part| part == quoted.as_bytes());
        // before records had a field for it, the code was their detail
        named
            && serde_json::from_slice::<Shown<'_>>(line).is_ok_and(|shown| {
                let fields = [shown.code, shown.detail];
                fields.iter().flatten().any(|text| text.0 == code)
            })
    })
}

/// Finds the last line that is wanted, in the newest segment that has one.
fn newest(dir: &Path, wanted: &dyn Fn(&[u8]) -> bool) -> io::Result<Option<Vec<u8>>> {
    for name in segments(dir)?.into_iter().rev() {
        let mut found = None;
        each_line_of(&dir.join(name.to_string()), None, &mut |line| {
            if wanted(line) {
                found = Some(line.to_owned());
            }
            Ok(())
        })?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Tells whether a record's time is before another in the same form. The journal writes the number
/// and the time first.
fn is_older(line: &[u8], since: &str) -> bool {
    let name: &[u8] = b",\"time\":\"";
    let mut parts = line.splitn(2, |b| *b == b',');
    let rest = parts.next().and_then(|head| line.get(head.len()..));
    let time = rest.and_then(|rest| rest.strip_prefix(name));
    time.and_then(|time| time.get(..since.len()))
        .is_some_and(|time| time < since.as_bytes())
}

impl Filter {
    /// Tells whether a line matches; what is no record matches nothing.
    fn takes(&self, line: &[u8]) -> bool {
        let Ok(fields) = serde_json::from_slice::<Fields<'_>>(line) else {
            return false;
        };
        let is = |wanted: &Option<String>, found: &Option<Text<'_>>| {
            let found = found.as_ref().map(|text| text.0.as_ref());
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        is(&self.user, &fields.user)
            && is(&self.host, &fields.host)
            && is(&self.outcome, &fields.outcome)
            && is(&self.reason, &fields.reason)
            && is(&self.request, &fields.request_id)
            && self
                .event
                .is_none_or(|event| fields.event.0 == event.name())
    }
}

/// The fields of a line that a filter looks at and a listing shows.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    time: Text<'a>,
    #[serde(borrow)]
    event: Text<'a>,
    #[serde(borrow)]
    outcome: Option<Text<'a>>,
    #[serde(borrow)]
    reason: Option<Text<'a>>,
    #[serde(borrow)]
    rule: Option<Text<'a>>,
    #[serde(borrow)]
    user: Option<Text<'a>>,
    #[serde(borrow)]
    device: Option<Text<'a>>,
    #[serde(borrow)]
    source: Option<Text<'a>>,
    #[serde(borrow)]
    host: Option<Text<'a>>,
    #[serde(borrow)]
    method: Option<Text<'a>>,
    #[serde(borrow)]
    path: Option<Text<'a>>,
    status: Option<u16>,
    #[serde(borrow, default)]
    request_id: Option<Text<'a>>,
    #[serde(borrow)]
    inputs: Option<Would<'a>>,
    #[serde(borrow)]
    detail: Option<Text<'a>>,
    #[serde(borrow, default)]
    justification: Option<Text<'a>>,
    count: Option<u64>,
}

/// What of the inputs of a decision is shown.
#[derive(Deserialize)]
struct Would<'a> {
    #[serde(borrow)]
    shadow: Option<Said<'a>>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    outcome: Text<'a>,
    #[serde(borrow)]
    rule: Text<'a>,
}

/// A string that is borrowed where JSON allows it, inside an `Option` too.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// Writes a record for the eye; characters that could deceive it are escaped.
pub(crate) fn show(line: &[u8]) -> String {
    let Ok(fields) = serde_json::from_slice::<Fields<'_>>(line) else {
        return plain(&String::from_utf8_lossy(line));
    };
    let mut text = fields.time.0.into_owned();
    for word in [Some(fields.event), fields.outcome, fields.reason] {
        text.push_str("  ");
        text.push_str(word.as_ref().map_or("-", |word| &word.0));
    }
    let status = fields.status.map(|status| Text(status.to_string().into()));
    let count = fields.count.map(|count| Text(count.to_string().into()));
    let would = fields.inputs.and_then(|inputs| inputs.shadow);
    let shadow =
        would.map(|Said { outcome, rule }| Text(format!("{} by {}", outcome.0, rule.0).into()));
    for (name, value) in [
        ("user", fields.user),
        ("device", fields.device),
        ("source", fields.source),
        ("host", fields.host),
        ("method", fields.method),
        ("path", fields.path),
        ("status", status),
        ("rule", fields.rule),
        ("shadow", shadow),
        ("detail", fields.detail),
        ("justification", fields.justification),
        ("count", count),
    ] {
        if let Some(value) = value {
            text.push_str("  ");
            text.push_str(name);
            text.push('=');
            text.push_str(&value.0);
        }
    }
    plain(&text)
}

fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_deceptive(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// A place in the journal that moves forward as records are written.
#[derive(Debug)]
pub(crate) struct Cursor {
    dir: PathBuf,
    name: Option<SegmentName>,
    offset: u64,
}

impl Cursor {
    /// Stands before the last `n` records.
    ///
    /// # Errors
    /// If the folder or a segment cannot be read.
    pub(crate) fn before_last(dir: &Path, n: usize) -> io::Result<Self> {
        let mut cursor = Self {
            dir: dir.to_owned(),
            name: None,
            offset: 0,
        };
        let mut wanted = n;
        for name in segments(dir)?.into_iter().rev() {
            let file = Lines::open(&dir.join(name.to_string()), 0)?.into_file();
            let (offset, found) = back(&file, wanted)?;
            wanted -= found;
            cursor.offset = offset;
            cursor.name = Some(name);
            if wanted == 0 {
                break;
            }
        }
        Ok(cursor)
    }

    /// Gives the whole lines from here on to `sink` and moves behind them.
    ///
    /// # Errors
    /// If the folder or a segment cannot be read, and those of `sink`.
    pub(crate) fn advance(&mut self, sink: &mut Sink<'_>) -> io::Result<()> {
        loop {
            // listed before reading: a segment is never appended to once a later one exists
            let next = segments(&self.dir)?
                .into_iter()
                .find(|name| self.name.as_ref().is_none_or(|ours| name > ours));
            if let Some(name) = &self.name {
                let mut lines = Lines::open(&self.dir.join(name.to_string()), self.offset)?;
                while let Read::Line(line) = lines.next()? {
                    sink(line)?;
                }
                self.offset = lines.offset();
            }
            if next.is_none() {
                return Ok(());
            }
            self.name = next;
            self.offset = 0;
        }
    }
}

/// Finds where the last `n` whole lines of a file start, and how many there are.
fn back(file: &File, n: usize) -> io::Result<(u64, usize)> {
    let mut end = file.metadata()?.len();
    let mut block = [0; 64 * 1024];
    let mut feeds = 0;
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let len = usize::try_from(end - start).unwrap_or_default();
        let Some(part) = block.get_mut(..len) else {
            break;
        };
        file.read_exact_at(part, start)?;
        for (byte, at) in part.iter().rev().zip((start..end).rev()) {
            if *byte == b'\n' {
                feeds += 1;
            }
            if feeds > n {
                return Ok((at + 1, n));
            }
        }
        end = start;
    }
    Ok((0, feeds))
}

/// Reads `--since`: RFC 3339, a day, or an age such as `30s`, `15m`, `2h`, `1d`, `1w`.
pub(crate) fn since(text: &str, now: u64) -> Option<u64> {
    if let Some(ms) = age(text) {
        return Some(now.saturating_sub(ms));
    }
    let whole = format!("{text}T00:00:00Z");
    let time = [text, &whole].iter().find_map(|text| text.parse().ok());
    time.and_then(|time: jiff::Timestamp| u64::try_from(time.as_millisecond()).ok())
}

fn age(text: &str) -> Option<u64> {
    let (at, unit) = text.char_indices().next_back()?;
    let number: u64 = text.get(..at)?.parse().ok()?;
    let ms = match unit {
        's' => 1_000,
        'm' => 60_000,
        'h' => 3_600_000,
        'd' => 86_400_000,
        'w' => 7 * 86_400_000,
        _ => return None,
    };
    number.checked_mul(ms)
}
