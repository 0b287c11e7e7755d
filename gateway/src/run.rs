//! Serving: from a checked configuration to a clean stop.
