//! What differs, why, and the one next step of each instance. Pure.
