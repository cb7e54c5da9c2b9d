//! Permissions as the contract writes them.

/// `644`, `0644` or `0o644`. None for an empty text, which leaves permissions as they are.
pub fn parse(text: &str) -> Result<Option<u32>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let digits = text.strip_prefix("0o").unwrap_or(text);
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if matches!(digits.len(), 3 | 4) && !digits.starts_with('+') => Ok(Some(mode)),
        _ => Err(format!("`{text}` are no permissions; write three or four octal digits, as \"0644\"")),
    }
}

/// Permissions of a directory: who may read it may also enter it.
pub fn of_directory(mode: u32) -> u32 {
    mode | (mode & 0o444) >> 2
}

#[cfg(test)]
mod tests {
    use super::{of_directory, parse};

    #[test]
    fn permissions_are_three_or_four_octal_digits() {
        assert_eq!(parse("644"), Ok(Some(0o644)));
        assert_eq!(parse("0o1777"), Ok(Some(0o1777)));
        assert_eq!(parse("2755"), Ok(Some(0o2755)));
        assert_eq!(parse(""), Ok(None));
        for wrong in ["64", "00644", "rw", "888", "+644", "0x1ff", "-644"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn who_may_read_a_directory_may_enter_it() {
        assert_eq!(of_directory(0o640), 0o750);
        assert_eq!(of_directory(0o0600), 0o700);
        assert_eq!(of_directory(0o2664), 0o2775);
        assert_eq!(of_directory(0o222), 0o222);
    }
}
