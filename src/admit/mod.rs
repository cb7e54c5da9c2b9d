//! Which of the planned steps may start now. Pure.
