//! Started.
