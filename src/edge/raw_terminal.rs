//! The terminal that a person sits at, handed over to a process elsewhere: every key goes there as it is.

use std::io::{self, IsTerminal as _};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::docker::Size;

/// A terminal in raw mode, which is as it was again once this is dropped.
pub struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Switches the terminal of standard input.
    pub fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// The size of the terminal; none where a person does not sit at both standard input and output.
pub fn size() -> Option<Size> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return None;
    }
    let size = tcgetwinsize(io::stdout()).ok()?;
    Some(Size { rows: size.ws_row, columns: size.ws_col })
}

/// Whether standard input may be read without taking keys away from who has the terminal otherwise.
pub fn input_is_no_terminal() -> bool {
    !io::stdin().is_terminal()
}
