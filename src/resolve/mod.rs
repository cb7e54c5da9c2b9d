//! Site, variables and host become what each host should have.
