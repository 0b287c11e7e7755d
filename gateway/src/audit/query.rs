//! Reading the journal: the last records, and those that match a filter.
