//! The journal as an administrator reads it.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::gateway::Gateway;
use crate::wait;

/// What was done is on record after this long: reads and refusals of nobody known are written every 50 ms.
const WRITTEN: Duration = Duration::from_millis(500);

/// Returns the records that `audit search --json` prints for these filters, of all that was done before.
#[must_use]
pub fn search(gateway: &Gateway, filters: &[&str]) -> Vec<Value> {
    thread::sleep(WRITTEN);
    at_once(gateway, filters)
}

fn at_once(gateway: &Gateway, filters: &[&str]) -> Vec<Value> {
    let mut args = vec!["audit", "search", "--json"];
    args.extend(filters);
    records(&gateway.must(&args))
}

/// Reads one JSON record a line.
#[must_use]
pub fn records(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// Waits for a record of `event` for which `is_it` holds.
pub fn wait_for(gateway: &Gateway, event: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let what = format!("a record {event} in the journal");
    wait::until(Duration::from_secs(5), &what, || {
        let mut found = at_once(gateway, &["--event", event]).into_iter();
        found.find(|record| is_it(record))
    })
}

/// Says whether a field of a record holds this text.
#[must_use]
pub fn is(record: &Value, field: &str, text: &str) -> bool {
    record[field].as_str() == Some(text)
}
