//! The HTTP plane.
