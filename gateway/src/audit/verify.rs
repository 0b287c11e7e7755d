//! Checking the journal: every record, its number and its chain value.
