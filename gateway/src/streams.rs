//! The table of open streams.
