//! The policy crate from outside: examples, mistakes, meaning.

mod bad;
mod examples;
mod meaning;
mod support;
