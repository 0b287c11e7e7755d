//! Schedules: whether they hold at an instant, and when that changes. Offsets are looked up once, at compile time.

use std::collections::{BTreeMap, HashMap};

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

use crate::ir;

/// Offsets are known from 1970 to this instant (2200-01-01); behind it the last one stays.
const LAST: i64 = 7_258_118_400;
const DAY: i64 = 86_400;

/// The instant of a request, as far as schedules care. The default is "not known": rules with `when` refuse then,
/// and guards with a schedule bind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TimeClass(Option<i64>);

impl TimeClass {
    pub(crate) fn at(unix: i64) -> Self {
        Self(Some(unix))
    }

    pub(crate) fn unix(self) -> Option<i64> {
        self.0
    }
}

/// The offsets of one time zone, in seconds east of UTC.
#[derive(Debug)]
struct Offsets {
    first: i64,
    steps: Vec<(i64, i64)>,
}

#[derive(Debug)]
struct Schedule {
    zone: usize,
    /// Bit 0 is Monday.
    days: u8,
    /// Seconds of the local day, sorted, disjoint.
    times: Vec<(i64, i64)>,
    /// First and last local day since 1970-01-01.
    between: (i64, i64),
}

/// All schedules, and the interned lists of them. List 0 stands for "no condition".
#[derive(Debug, Default)]
pub(crate) struct Times {
    zones: Vec<Offsets>,
    schedules: Vec<Schedule>,
    lists: Vec<Vec<u32>>,
    known: HashMap<Vec<u32>, u32>,
}

impl Times {
    pub(super) fn new(schedules: &[ir::Schedule]) -> Result<Self, String> {
        let mut times = Self::default();
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        for schedule in schedules {
            let zone = match known.get(schedule.tz.as_str()) {
                Some(&zone) => zone,
                None => {
                    times.zones.push(offsets(&zone_of(&schedule.tz)?)?);
                    known.insert(&schedule.tz, times.zones.len() - 1);
                    times.zones.len() - 1
                }
            };
            times.schedules.push(Schedule {
                zone,
                days: schedule.days.as_ref().map_or(0x7f, |days| {
                    days.iter().fold(0, |mask, day| mask | 1 << day)
                }),
                times: schedule.times.as_ref().map_or_else(
                    || vec![(0, DAY)],
                    |list| {
                        let secs = |&(a, b): &(u16, u16)| (i64::from(a) * 60, i64::from(b) * 60);
                        list.iter().map(secs).collect()
                    },
                ),
                between: match &schedule.between {
                    Some((from, to)) => (day_number(from)?, day_number(to)?),
                    None => (i64::MIN, i64::MAX),
                },
            });
        }
        Ok(times)
    }

    /// Interns a list of schedules; `None` is list 0.
    pub(super) fn intern(&mut self, when: Option<&[u32]>) -> u32 {
        let Some(when) = when else { return 0 };
        if let Some(&known) = self.known.get(when) {
            return known;
        }
        self.lists.push(when.to_vec());
        let list = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
        self.known.insert(when.to_vec(), list);
        list
    }

    /// The schedules of an interned list; none for list 0.
    pub(crate) fn list(&self, list: u32) -> &[u32] {
        let at = list.checked_sub(1).map(|at| at as usize);
        at.and_then(|at| self.lists.get(at))
            .map_or(&[], Vec::as_slice)
    }

    /// Whether any schedule of a list holds. List 0 always does; an unknown time never satisfies another.
    #[inline]
    pub(crate) fn any(&self, list: u32, time: TimeClass) -> bool {
        list == 0
            || time.0.is_some_and(|unix| {
                let mut list = self.list(list).iter();
                list.any(|&schedule| self.holds(schedule, unix))
            })
    }

    /// Whether one schedule holds at an instant.
    pub(crate) fn holds(&self, schedule: u32, unix: i64) -> bool {
        let Some(schedule) = self.schedules.get(schedule as usize) else {
            return false;
        };
        let (day, second) = self.local(schedule, unix);
        let weekday = (day + 3).rem_euclid(7);
        schedule.days >> weekday & 1 == 1
            && (schedule.between.0..=schedule.between.1).contains(&day)
            && schedule
                .times
                .iter()
                .any(|&(from, to)| from <= second && second < to)
    }

    /// Seconds until a list may hold differently: exact within a week, a safe earlier instant beyond.
    pub(crate) fn edge(&self, list: u32, time: TimeClass) -> Option<u32> {
        if list == 0 {
            return None;
        }
        let unix = time.0?;
        let edges = self.list(list).iter();
        let next = edges.map(|&schedule| self.change(schedule, unix)).min()?;
        Some(u32::try_from(next.saturating_sub(unix).max(1)).unwrap_or(u32::MAX))
    }

    fn change(&self, schedule: u32, unix: i64) -> i64 {
        let held = self.holds(schedule, unix);
        let mut at = unix;
        for _ in 0..24 {
            at = self.step(schedule, at);
            if self.holds(schedule, at) != held {
                break;
            }
        }
        at
    }

    /// The next instant at which a schedule could change: an edge of its times, a midnight, a change of offset.
    pub(crate) fn step(&self, schedule: u32, unix: i64) -> i64 {
        let Some(schedule) = self.schedules.get(schedule as usize) else {
            return unix.saturating_add(DAY);
        };
        let (_, second) = self.local(schedule, unix);
        let edges = schedule.times.iter().flat_map(|&(from, to)| [from, to]);
        let next = edges.filter(|&edge| edge > second).min().unwrap_or(DAY);
        let next = unix.saturating_add(next - second);
        let steps = self.zones.get(schedule.zone).map(|zone| &zone.steps);
        let offset = steps.and_then(|steps| steps.get(steps.partition_point(|s| s.0 <= unix)));
        offset.map_or(next, |&(at, _)| next.min(at))
    }

    /// The first and last instants between which the dates of these schedules lie, with a year to spare.
    pub(crate) fn horizon(&self, schedules: &[u32]) -> (i64, i64) {
        let mut span = (1_735_689_600, 1_988_150_400);
        for schedule in schedules
            .iter()
            .filter_map(|&ix| self.schedules.get(ix as usize))
        {
            let (from, to) = schedule.between;
            if from != i64::MIN {
                span.0 = span.0.min((from - 366) * DAY);
                span.1 = span.1.max((to + 366) * DAY).min(LAST);
            }
        }
        span
    }

    /// The local day and the second of it.
    fn local(&self, schedule: &Schedule, unix: i64) -> (i64, i64) {
        let offset = self
            .zones
            .get(schedule.zone)
            .map_or(0, |zone| zone.at(unix));
        let local = unix.saturating_add(offset);
        (local.div_euclid(DAY), local.rem_euclid(DAY))
    }
}

impl Offsets {
    fn at(&self, unix: i64) -> i64 {
        let after = self.steps.partition_point(|step| step.0 <= unix);
        let step = after.checked_sub(1).and_then(|at| self.steps.get(at));
        step.map_or(self.first, |step| step.1)
    }
}

/// A time zone of the bundled database, by its IANA name.
pub(crate) fn zone_of(name: &str) -> Result<TimeZone, String> {
    TimeZoneDatabase::bundled()
        .get(name)
        .map_err(|_| format!("`{name}` is not a time zone"))
}

fn offsets(zone: &TimeZone) -> Result<Offsets, String> {
    let start = Timestamp::UNIX_EPOCH;
    let last = Timestamp::from_second(LAST).map_err(|error| error.to_string())?;
    let steps = zone.following(start);
    let steps = steps.take_while(|step| step.timestamp() < last);
    Ok(Offsets {
        first: i64::from(zone.to_offset(start).seconds()),
        steps: steps
            .map(|step| {
                (
                    step.timestamp().as_second(),
                    i64::from(step.offset().seconds()),
                )
            })
            .collect(),
    })
}

fn day_number(text: &str) -> Result<i64, String> {
    let date: Date = text
        .parse()
        .map_err(|_| format!("`{text}` is not a date"))?;
    let since: SignedDuration = date.duration_since(Date::constant(1970, 1, 1));
    Ok(since.as_secs().div_euclid(DAY))
}
