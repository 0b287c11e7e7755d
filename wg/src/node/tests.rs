//! The node against a second boringtun, all in memory.
