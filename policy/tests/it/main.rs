//! The policy crate from outside: examples, mistakes, meaning.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests stop the test"
)]

mod answers;
mod bad;
mod changes;
mod console;
mod examples;
mod flips;
mod front;
mod fronts;
mod hostile;
mod lanes;
mod limits;
mod matrix;
mod meaning;
mod mistakes;
mod past;
mod reach;
mod readings;
mod scale;
mod schedules;
mod show;
mod support;
