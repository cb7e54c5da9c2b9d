//! Leaves with a meaning: durations, sizes, cores, permissions, booleans.
//!
//! In: a scalar as written. Out: its value, or why it is none, worded for the person who wrote it.

use crate::model::time::Span;

use super::node::{Scalar, ScalarKind};

/// A value, or why it is none.
pub type Read<T> = Result<T, String>;

/// `1h30m`, `5s`, `250ms`, `1.5s`.
pub fn duration(scalar: &Scalar) -> Read<Span> {
    nanoseconds(scalar).map(|nanoseconds| Span(nanoseconds.unsigned_abs() / 1_000_000))
}

/// A duration in nanoseconds.
pub fn nanoseconds(scalar: &Scalar) -> Read<i64> {
    let text = scalar.text.trim();
    if text == "0" {
        return Ok(0);
    }
    let fail = || format!("`{text}` is no duration; write `30s`, `1h30m` or `250ms`");
    if text.parse::<f64>().is_ok() {
        return Err(format!("the duration `{text}` has no unit; write `{text}s` for seconds"));
    }
    let mut total = 0.0_f64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(fail)?;
        let number: f64 = rest[..digits].parse().map_err(|_| fail())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let size = match &rest[..unit] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3_600e9,
            "d" => 86_400e9,
            "w" => 604_800e9,
            _ => return Err(fail()),
        };
        total += number * size;
        rest = &rest[unit..];
    }
    // Beyond a hundred years it is a slip, and near the end of what fits.
    if text.is_empty() || !total.is_finite() || total > 3.2e18 {
        return Err(fail());
    }
    #[allow(clippy::cast_possible_truncation, reason = "checked to be far below i64::MAX")]
    Ok(total.round() as i64)
}

/// `64m`, `1.5g`, `512kb`, `1073741824`.
pub fn bytes(scalar: &Scalar) -> Read<i64> {
    let text = scalar.text.trim().to_ascii_lowercase();
    let fail = || format!("`{text}` is no size; write `64m`, `1g` or a number of bytes");
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let factor = match text[digits..].trim() {
        "" | "b" => 1.0,
        "k" | "kb" | "kib" => 1024.0,
        "m" | "mb" | "mib" => 1024.0 * 1024.0,
        "g" | "gb" | "gib" => 1024.0 * 1024.0 * 1024.0,
        "t" | "tb" | "tib" => 1024.0_f64.powi(4),
        _ => return Err(fail()),
    };
    let number: f64 = text[..digits].parse().map_err(|_| fail())?;
    let total = number * factor;
    if !total.is_finite() || total > 9e18 {
        return Err(format!("the size `{text}` is larger than any machine"));
    }
    #[allow(clippy::cast_possible_truncation, reason = "checked to be below i64::MAX")]
    Ok(total.round() as i64)
}

/// Like [`bytes()`], and `-1` for no limit.
pub fn bytes_or_unlimited(scalar: &Scalar) -> Read<i64> {
    if scalar.text.trim() == "-1" { Ok(-1) } else { bytes(scalar) }
}

/// `1.5` cores, in units of 1e-9.
pub fn nano_cpus(scalar: &Scalar) -> Read<i64> {
    let text = scalar.text.trim();
    match text.parse::<f64>() {
        Ok(cores) if cores.is_finite() && (0.01..=100_000.0).contains(&cores) => {
            #[allow(clippy::cast_possible_truncation, reason = "checked to be below 1e14")]
            let nano = (cores * 1e9).round() as i64;
            Ok(nano)
        }
        Ok(_) => Err(format!("`{text}` cores cannot be had; the least is 0.01")),
        Err(_) => Err(format!("`{text}` is no number of cores; write `0.5` or `2`")),
    }
}

/// Permissions in octal: `"0644"`.
pub fn mode(scalar: &Scalar) -> Read<u32> {
    let text = scalar.text.trim();
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let number = matches!(scalar.kind, ScalarKind::Integer(_));
    if number && !text.starts_with('0') {
        return Err(format!("`{text}` is a decimal number here; write permissions in octal and quoted: `\"0{text}\"`"));
    }
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if mode <= 0o7777 && digits.len() <= 5 => Ok(mode),
        _ => Err(format!("`{text}` are no permissions; write them in octal and quoted, as `\"0644\"`")),
    }
}

/// `true` or `false`.
pub fn boolean(scalar: &Scalar) -> Read<bool> {
    match (scalar.kind, scalar.text.as_str()) {
        (ScalarKind::Boolean(value), _) => Ok(value),
        (ScalarKind::Text, "true") => Ok(true),
        (ScalarKind::Text, "false") => Ok(false),
        (ScalarKind::Text, text @ ("yes" | "on" | "y" | "Yes" | "On" | "YES" | "ON")) => {
            Err(format!("`{text}` is a text in YAML 1.2; write `true`"))
        }
        (ScalarKind::Text, text @ ("no" | "off" | "n" | "No" | "Off" | "NO" | "OFF")) => {
            Err(format!("`{text}` is a text in YAML 1.2; write `false`"))
        }
        (_, text) => Err(format!("`{text}` is neither `true` nor `false`")),
    }
}

/// A whole number within bounds.
pub fn integer(scalar: &Scalar, least: i64, most: i64) -> Read<i64> {
    let text = scalar.text.trim();
    let value = match scalar.kind {
        ScalarKind::Integer(value) => Ok(value),
        ScalarKind::Text => text.parse::<i64>().map_err(|_| ()),
        _ => Err(()),
    };
    match value {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        Ok(value) if value < least => Err(format!("`{value}` is too small; the least is {least}")),
        Ok(value) => Err(format!("`{value}` is too large; the most is {most}")),
        Err(()) => Err(format!("`{text}` is no whole number")),
    }
}

/// A port, from 1 to 65535.
pub fn port(scalar: &Scalar) -> Read<u16> {
    integer(scalar, 1, 65535).and_then(|port| u16::try_from(port).map_err(|_| format!("`{port}` is no port")))
}

/// A capability in upper case without `CAP_`.
pub fn capability(scalar: &Scalar) -> Read<String> {
    let upper = scalar.text.trim().to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
        return Err(format!("`{}` is no capability such as `NET_ADMIN`", scalar.text));
    }
    Ok(name.to_owned())
}

/// A signal as `SIGHUP`.
pub fn signal(scalar: &Scalar) -> Read<String> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    let upper = scalar.text.trim().to_ascii_uppercase();
    if let Ok(number) = upper.parse::<usize>() {
        if let Some(name) = number.checked_sub(1).and_then(|index| NAMES.get(index)) {
            return Ok(format!("SIG{name}"));
        }
        if (34..=64).contains(&number) {
            return Ok(number.to_string());
        }
        return Err(format!("`{number}` is no signal"));
    }
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if NAMES.contains(&name) || name.starts_with("RTMIN") || name.starts_with("RTMAX") {
        Ok(format!("SIG{name}"))
    } else {
        let hint = super::suggest::closest(name, NAMES).map(|name| format!("; did you mean `SIG{name}`?"));
        Err(format!("`{}` is no signal{}", scalar.text, hint.unwrap_or_default()))
    }
}

/// The words of a command line, as a shell would split it.
pub fn words(text: &str) -> Read<Vec<String>> {
    shlex::split(text).ok_or_else(|| format!("`{text}` has a quote that is not closed"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn plain(text: &str) -> Scalar {
        Scalar::plain(text)
    }

    fn quoted(text: &str) -> Scalar {
        Scalar { text: text.to_owned(), kind: ScalarKind::Text }
    }

    #[test]
    fn durations() {
        assert_eq!(duration(&plain("1h30m")).unwrap(), Span::seconds(5400));
        assert_eq!(duration(&plain("250ms")).unwrap(), Span(250));
        assert_eq!(duration(&plain("1.5s")).unwrap(), Span(1500));
        assert_eq!(duration(&plain("0")).unwrap(), Span::ZERO);
        for wrong in ["", "5", "5x", "s", "1e400s", "-5s", "99999999w", "1..2s"] {
            assert!(duration(&plain(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes(&plain("64m")).unwrap(), 64 << 20);
        assert_eq!(bytes(&plain("1.5G")).unwrap(), 3 << 29);
        assert_eq!(bytes(&plain("4096")).unwrap(), 4096);
        assert_eq!(bytes_or_unlimited(&plain("-1")).unwrap(), -1);
        for wrong in ["", "m", "-5m", "5q", "1e9999", "99999999t"] {
            assert!(bytes(&plain(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn permissions() {
        assert_eq!(mode(&quoted("0644")).unwrap(), 0o644);
        assert_eq!(mode(&quoted("644")).unwrap(), 0o644);
        assert_eq!(mode(&plain("0440")).unwrap(), 0o440);
        assert_eq!(mode(&plain("0o755")).unwrap(), 0o755);
        assert!(mode(&plain("644")).unwrap_err().contains("\"0644\""));
        for wrong in ["0888", "", "rw", "99999"] {
            assert!(mode(&quoted(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn booleans_are_those_of_yaml_1_2() {
        assert!(boolean(&plain("true")).unwrap());
        assert!(!boolean(&quoted("false")).unwrap());
        assert!(boolean(&plain("yes")).unwrap_err().contains("write `true`"));
    }

    #[test]
    fn signals_and_cores() {
        assert_eq!(signal(&plain("hup")).unwrap(), "SIGHUP");
        assert_eq!(signal(&plain("SIGTERM")).unwrap(), "SIGTERM");
        assert_eq!(signal(&plain("9")).unwrap(), "SIGKILL");
        assert!(signal(&plain("SIGHPU")).unwrap_err().contains("SIGHUP"));
        assert_eq!(nano_cpus(&plain("0.5")).unwrap(), 500_000_000);
        assert!(nano_cpus(&plain("0")).is_err());
        assert_eq!(capability(&plain("cap_net_admin")).unwrap(), "NET_ADMIN");
    }
}
