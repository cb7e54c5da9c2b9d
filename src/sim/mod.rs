//! A simulated world: engine, files, clock, faults.
