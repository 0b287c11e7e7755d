//! One decision, one record, one permit.
