//! The start program of our images: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    mastic::edge::start::main()
}
