//! `[schedule.*]`: days, times of day and dates of one time zone.

use jiff::civil::Date;
use jiff::tz::TimeZoneDatabase;

use super::settings::bad;
use super::{empty_list, limit, unique};
use crate::diag::{Diagnostic, Meant, nearest, show};
use crate::ir::{DAYS, Schedule};
use crate::syntax::{Def, ScheduleAst, Sp, Word};

/// Most schedules of one policy.
const MAX_SCHEDULES: usize = 65_536;

/// Resolves the schedules, sorted by name.
pub(super) fn schedules(defs: &[Def<ScheduleAst>], diags: &mut Vec<Diagnostic>) -> Vec<Schedule> {
    let defs = unique(defs, "schedule", diags);
    if let Some(last) = defs.last() {
        diags.extend(limit("schedules", defs.len(), MAX_SCHEDULES, &last.name));
    }
    defs.into_iter().map(|def| schedule(def, diags)).collect()
}

fn schedule(def: &Def<ScheduleAst>, diags: &mut Vec<Diagnostic>) -> Schedule {
    let ast = &def.body;
    if ast.days.is_none() && ast.time.is_none() && ast.between.is_none() {
        diags.push(
            Diagnostic::error(
                "always",
                def.name.span,
                format!("schedule.{} always holds", show(&def.name.v)),
            )
            .help("add days, time or between, or leave `when` out where it is used"),
        );
    }
    let days = ast.days.as_ref().map(|list| days(list, diags));
    let times = ast.time.as_ref().map(|list| times(list, diags));
    if let (Some(list), true) = (&ast.time, ast.days.is_some())
        && list.v.iter().any(|word| wraps(&word.v))
    {
        diags.push(
            Diagnostic::warning(
                "wraps-midnight",
                list.span,
                format!("schedule.{} wraps midnight on chosen days", show(&def.name.v)),
            )
            .help("both parts count on the same calendar day: with days = \"fri\", 22:00-06:00 is friday 00:00-06:00 and friday 22:00-24:00"),
        );
    }
    Schedule {
        name: def.name.v.to_string(),
        days,
        times,
        between: ast.between.as_ref().and_then(|word| between(word, diags)),
        tz: ast
            .tz
            .as_ref()
            .map(|word| zone(word, diags))
            .unwrap_or_default(),
        span: def.name.span,
    }
}

/// Weekdays as numbers from Monday 0; ranges may wrap the week.
fn days(list: &Sp<Vec<Word>>, diags: &mut Vec<Diagnostic>) -> Vec<u8> {
    if list.v.is_empty() {
        diags.push(empty_list(list.span, "days"));
    }
    let number = |name: &str| (0u8..).zip(DAYS).find(|(_, day)| *day == name);
    let mut out = Vec::new();
    for word in &list.v {
        let (first, last) = word.v.split_once('-').unwrap_or((&word.v, &word.v));
        let (Some((first, _)), Some((last, _))) = (number(first), number(last)) else {
            let near = nearest(&word.v.to_lowercase(), DAYS);
            diags.push(
                bad(word, "a day")
                    .help("write mon, tue, wed, thu, fri, sat, sun or a range such as mon-fri")
                    .meant(near.map(|day| Meant::name(&word.v, day))),
            );
            continue;
        };
        let mut day = first;
        loop {
            out.push(day);
            if day == last {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// Minutes of the day, sorted and disjoint; a range that wraps midnight is split.
fn times(list: &Sp<Vec<Word>>, diags: &mut Vec<Diagnostic>) -> Vec<(u16, u16)> {
    if list.v.is_empty() {
        diags.push(empty_list(list.span, "time"));
    }
    let mut parts: Vec<(u16, u16)> = Vec::new();
    for word in &list.v {
        match range(&word.v) {
            Some((from, to)) if from < to => parts.push((from, to)),
            Some((from, to)) if to < from => {
                parts.push((from, 24 * 60));
                parts.extend((to > 0).then_some((0, to)));
            }
            Some(_) => diags.push(
                Diagnostic::error(
                    "never-true",
                    word.span,
                    format!("`{}` is no time at all", show(&word.v)),
                )
                .help("for the whole day write 00:00-24:00 or leave `time` out"),
            ),
            None => diags.push(
                bad(word, "a range of times")
                    .help("write 07:00-21:00, or 22:00-06:00 over midnight"),
            ),
        }
    }
    parts.sort_unstable();
    let mut out: Vec<(u16, u16)> = Vec::new();
    for (from, to) in parts {
        match out.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => out.push((from, to)),
        }
    }
    out
}

fn wraps(text: &str) -> bool {
    range(text).is_some_and(|(from, to)| to < from && to > 0)
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-')?;
    Some((minute(from)?, minute(to)?))
}

/// `HH:MM`, up to 24:00.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (two(hour)?, two(minute)?);
    let all = hour * 60 + minute;
    (minute < 60 && all <= 24 * 60).then_some(all)
}

/// Two dates, both included.
fn between(word: &Word, diags: &mut Vec<Diagnostic>) -> Option<(String, String)> {
    let dates = word.v.split_once("..").and_then(|(from, to)| {
        let whole = |text: &str| text.len() == 10;
        let date = |text: &str| {
            text.parse::<Date>()
                .ok()
                .filter(|date| date.year() >= 1970 && date.year() < 2200)
        };
        (whole(from) && whole(to)).then_some((date(from)?, date(to)?))
    });
    match dates {
        Some((from, to)) if from <= to => Some((from.to_string(), to.to_string())),
        Some(_) => {
            diags.push(
                Diagnostic::error(
                    "never-true",
                    word.span,
                    format!("`{}` ends before it begins", show(&word.v)),
                )
                .help("write the earlier date first"),
            );
            None
        }
        None => {
            diags.push(
                bad(word, "two dates").help("write 2026-09-01..2026-12-31, both days included"),
            );
            None
        }
    }
}

fn zone(word: &Word, diags: &mut Vec<Diagnostic>) -> String {
    let bundled = TimeZoneDatabase::bundled();
    let known = bundled.available().any(|name| word.v == name.as_str());
    if !known {
        let names: Vec<String> = bundled
            .available()
            .map(|name| name.as_str().to_owned())
            .collect();
        diags.push(
            bad(word, "a time zone")
                .help("write an IANA name such as Europe/Paris or UTC")
                .meant(Meant::near(&word.v, names)),
        );
    }
    word.v.to_string()
}
