//! One way to write what Docker takes in several, for what an engine reports. Where it echoes what it was asked for,
//! the echo is left as it is: then both sides are equal without agreeing on more than necessary.

/// Signals by number, from 1; Linux on x86 and ARM agree on these.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];

/// `SIGTERM` for `15`, `term`, `SIGTERM`. A number without a name stays a number.
pub(super) fn signal(text: &str) -> String {
    let text = text.trim();
    if let Ok(number) = text.parse::<usize>() {
        return match number.checked_sub(1).and_then(|index| SIGNALS.get(index)) {
            Some(name) => format!("SIG{name}"),
            None => text.to_owned(),
        };
    }
    let upper = text.to_ascii_uppercase();
    if upper.is_empty() || upper.starts_with("SIG") { upper } else { format!("SIG{upper}") }
}

/// `NET_ADMIN` for `net_admin` and `CAP_NET_ADMIN`.
pub(super) fn capability(text: &str) -> String {
    let upper = text.trim().to_ascii_uppercase();
    upper.strip_prefix("CAP_").map_or(upper.clone(), str::to_owned)
}

/// `name:address` for `name=address` and `name:[address]`.
pub(super) fn extra_host(text: &str) -> String {
    match text.trim().split_once(['=', ':']) {
        Some((name, address)) => {
            let address = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
            format!("{name}:{address}")
        }
        None => text.trim().to_owned(),
    }
}

/// A path in a container without `.`, doubled and trailing slashes, as the engine reports it.
pub(super) fn path(text: &str) -> String {
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Bytes of `64m`, `1g`, `512k`, `100`, `2gb`, `1gib`, in binary units as Docker has them; none if it is no size.
pub(super) fn bytes(text: &str) -> Option<i64> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(digits);
    let shift = match unit.trim() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(1_i64 << shift);
    }
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "`1.5g` has no exact meaning")]
    number.parse::<f64>().ok().map(|part| (part * (1_i64 << shift) as f64) as i64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn each_writing_has_one_form() {
        for text in ["15", "TERM", "term", "SIGTERM", "sigterm"] {
            assert_eq!(signal(text), "SIGTERM");
        }
        assert_eq!(signal("SIGRTMIN+3"), "SIGRTMIN+3");
        assert_eq!(signal("37"), "37");
        assert_eq!(signal("0"), "0");
        assert_eq!(signal(""), "");
        assert_eq!(capability("cap_net_admin"), "NET_ADMIN");
        assert_eq!(capability("all"), "ALL");
        assert_eq!(extra_host("a=::1"), "a:::1");
        assert_eq!(extra_host("a:[::1]"), "a:::1");
        assert_eq!(path("/a//b/./c/../d/"), "/a/b/d");
        assert_eq!(path("/"), "/");
        assert_eq!(bytes("64m"), Some(64 << 20));
        assert_eq!(bytes("1.5g"), Some(3 << 29));
        assert_eq!(bytes("2gb"), Some(2 << 30));
        assert_eq!(bytes("x"), None);
        assert_eq!(bytes("50%"), None);
    }
}
