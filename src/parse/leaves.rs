//! The kinds of leaves that a site has, each with its check and its JSON Schema.

use core::net::IpAddr;

use crate::model::image::ImageRef;
use crate::model::names::ServiceName;

use super::node::{Scalar, ScalarKind};
use super::shape::{ScalarShape, Shape};
use super::{mounts, ports, scalars};

macro_rules! leaf {
    ($(#[$doc:meta])* $name:ident, $words:literal, $check:expr, $schema:literal) => {
        $(#[$doc])*
        pub const $name: Shape = Shape::Scalar(&ScalarShape { name: $words, check: $check, schema: $schema, private: false });
    };
}

#[allow(clippy::unnecessary_wraps, reason = "one check of many, which may fail")]
const fn fine(_: &Scalar) -> Result<(), String> {
    Ok(())
}

fn checked<T>(result: Result<T, String>) -> Result<(), String> {
    result.map(|_| ())
}

leaf!(
    /// Any text; numbers and booleans count as how they are written.
    TEXT, "a text", fine, r#"{"type": ["string", "number", "boolean"]}"#
);
leaf!(
    /// A number or a text that is one.
    NUMBER_TEXT, "a number", |s| checked(scalars::integer(s, i64::MIN, i64::MAX)), r#"{"type": ["integer", "string"]}"#
);
leaf!(
    /// `true` or `false`.
    BOOLEAN, "`true` or `false`", |s| checked(scalars::boolean(s)),
    r#"{"anyOf": [{"type": "boolean"}, {"enum": ["true", "false"]}]}"#
);
leaf!(
    /// A length of time.
    DURATION, "a duration such as `30s`", |s| checked(scalars::duration(s)),
    r#"{"type": ["string", "integer"], "pattern": "^(0|([0-9.]+(ns|us|µs|ms|s|m|h|d|w))+)$", "maximum": 0, "minimum": 0}"#
);
leaf!(
    /// A size.
    BYTES, "a size such as `64m`", |s| checked(scalars::bytes(s)),
    r#"{"type": ["string", "number"], "minimum": 0, "pattern": "^[0-9.]+ *([kKmMgGtT]([iI]?[bB])?|[bB])?$"}"#
);
leaf!(
    /// A size or no limit.
    BYTES_OR_UNLIMITED, "a size such as `64m`, or `-1`", |s| checked(scalars::bytes_or_unlimited(s)),
    r#"{"type": ["string", "number"], "minimum": -1, "pattern": "^(-1|[0-9.]+ *([kKmMgGtT]([iI]?[bB])?|[bB])?)$"}"#
);
leaf!(
    /// A memory limit; Docker takes none below 6 MB.
    MEMORY, "a size such as `64m`",
    |s| match scalars::bytes(s)? {
        few if few < 6 << 20 && few != 0 => Err(format!("`{}` is too small; Docker gives a container 6m at least", s.text)),
        _ => Ok(()),
    },
    r#"{"type": ["string", "number"], "minimum": 0, "pattern": "^[0-9.]+ *([kKmMgGtT]([iI]?[bB])?|[bB])?$"}"#
);
leaf!(
    /// Cores.
    CPUS, "a number of cores such as `0.5`", |s| checked(scalars::nano_cpus(s)),
    r#"{"type": ["number", "string"], "exclusiveMinimum": 0, "pattern": "^[0-9.]+$"}"#
);
leaf!(
    /// Permissions.
    MODE, "permissions such as `\"0644\"`", |s| checked(scalars::mode(s)),
    r#"{"type": ["string", "integer"], "pattern": "^(0o)?[0-7]{1,5}$"}"#
);
leaf!(
    /// A port.
    PORT, "a port", |s| checked(scalars::port(s)), r#"{"type": ["integer", "string"], "minimum": 1, "maximum": 65535}"#
);
leaf!(
    /// A status of HTTP.
    STATUS, "a status of HTTP such as `204`", |s| checked(scalars::integer(s, 100, 599)),
    r#"{"type": ["integer", "string"], "minimum": 100, "maximum": 599}"#
);
leaf!(
    /// From 0 on.
    COUNT, "a whole number", |s| checked(scalars::integer(s, 0, i64::from(i32::MAX))),
    r#"{"type": ["integer", "string"], "minimum": 0}"#
);
leaf!(
    /// From 1 on.
    POSITIVE, "a whole number from 1 on", |s| checked(scalars::integer(s, 1, i64::from(i32::MAX))),
    r#"{"type": ["integer", "string"], "minimum": 1}"#
);
leaf!(
    /// 0 to 100.
    PERCENT, "a number from 0 to 100", |s| checked(scalars::integer(s, 0, 100)),
    r#"{"type": ["integer", "string"], "minimum": 0, "maximum": 100}"#
);
leaf!(
    /// -1 is without limit.
    LIMIT, "a whole number, or `-1` for no limit", |s| checked(scalars::integer(s, -1, i64::MAX)),
    r#"{"type": ["integer", "string"], "minimum": -1}"#
);
leaf!(
    /// -1000 to 1000.
    OOM_SCORE, "a number from -1000 to 1000", |s| checked(scalars::integer(s, -1000, 1000)),
    r#"{"type": ["integer", "string"], "minimum": -1000, "maximum": 1000}"#
);
leaf!(
    /// Relative share of cores.
    CPU_SHARES, "a number from 2 to 262144", |s| checked(scalars::integer(s, 2, 262_144)),
    r#"{"type": ["integer", "string"], "minimum": 2, "maximum": 262144}"#
);
leaf!(
    /// Microseconds, or a duration.
    CPU_PERIOD, "a number of microseconds from 1000 to 1000000", |s| checked(scalars::integer(s, 1000, 1_000_000)),
    r#"{"type": ["integer", "string"], "minimum": 1000, "maximum": 1000000}"#
);
leaf!(
    /// Microseconds.
    CPU_QUOTA, "a number of microseconds from 1000 on, or `-1`",
    |s| if s.text.trim() == "-1" { Ok(()) } else { checked(scalars::integer(s, 1000, i64::MAX)) },
    r#"{"type": ["integer", "string"], "minimum": -1}"#
);
leaf!(
    /// 10 to 1000.
    BLKIO_WEIGHT, "a number from 10 to 1000", |s| checked(scalars::integer(s, 10, 1000)),
    r#"{"type": ["integer", "string"], "minimum": 10, "maximum": 1000}"#
);
leaf!(
    /// -1 is all.
    DEVICE_COUNT, "a whole number or `all`",
    |s| if s.text == "all" { Ok(()) } else { checked(scalars::integer(s, -1, 1000)) },
    r#"{"type": ["integer", "string"], "minimum": -1}"#
);
leaf!(
    /// What the site calls something.
    NAME, "a name", |s| ServiceName::new(s.text.as_str()).map(|_| ()).map_err(|why| format!("`{}`: {why}", s.text)),
    r#"{"type": ["string", "integer"], "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$", "maxLength": 200}"#
);
leaf!(
    /// An image.
    IMAGE, "an image such as `busybox:1`", |s| ImageRef::new(s.text.as_str()).map(|_| ()).map_err(|why| why.to_string()),
    r#"{"type": "string", "minLength": 1}"#
);
leaf!(
    /// When an image is fetched.
    PULL_POLICY, "`always`, `missing` or `never`", |s| pull_policy(&s.text),
    r#"{"enum": ["always", "missing", "if_not_present", "never"]}"#
);
leaf!(
    /// When the engine starts a container again.
    RESTART, "`no`, `always`, `unless-stopped` or `on-failure[:N]`", |s| checked(restart(s)),
    r#"{"anyOf": [{"type": "string", "pattern": "^(no|always|unless-stopped|on-failure(:[0-9]+)?)$"}, {"const": false}]}"#
);
leaf!(
    /// A network in CIDR notation.
    CIDR, "a network such as `10.0.0.0/24`", |s| checked(cidr(&s.text)), r#"{"type": "string", "pattern": "/[0-9]+$"}"#
);
leaf!(
    /// An address.
    ADDRESS, "an address such as `10.0.0.11`",
    |s| s.text.parse::<IpAddr>().map(|_| ()).map_err(|_| format!("`{}` is no address such as `10.0.0.11`", s.text)),
    r#"{"type": "string", "pattern": "^[0-9a-fA-F:.]+$"}"#
);
leaf!(
    /// A hardware address.
    MAC_ADDRESS, "an address such as `02:42:ac:11:00:02`", |s| mac_address(&s.text),
    r#"{"type": "string", "pattern": "^([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}$"}"#
);
leaf!(
    /// A path in a container.
    ABSOLUTE_PATH, "a path that starts with `/`", |s| absolute(&s.text), r#"{"type": "string", "pattern": "^/"}"#
);
leaf!(
    /// A name of a file.
    FILE_NAME, "the name of a file",
    |s| if s.text.is_empty() || s.text.contains('/') || matches!(s.text.as_str(), "." | "..") {
        Err(format!("`{}` is no name of a file", s.text))
    } else {
        Ok(())
    },
    r#"{"type": "string", "pattern": "^[^/]+$"}"#
);
leaf!(
    /// A user or group.
    OWNER, "a number or a name",
    |s| if s.text.is_empty() { Err("a user or group must not be empty".to_owned()) } else { Ok(()) },
    r#"{"type": ["integer", "string"]}"#
);
leaf!(
    /// A capability.
    CAPABILITY, "a capability such as `NET_ADMIN`", |s| checked(scalars::capability(s)), r#"{"type": "string"}"#
);
leaf!(
    /// A signal.
    SIGNAL, "a signal such as `SIGHUP`", |s| checked(scalars::signal(s)), r#"{"type": ["string", "integer"]}"#
);
leaf!(
    /// Compose's short syntax.
    PORT_MAPPING, "a port such as `8080:80`", |s| checked(ports::parse(&s.text)), r#"{"type": ["string", "integer"]}"#
);
leaf!(
    /// Published port or range.
    PUBLISHED, "a port or a range such as `8000-8010`", |s| checked(ports::range(&s.text)),
    r#"{"type": ["string", "integer"]}"#
);
leaf!(
    /// `8080`, `8080/udp`, `3000-3005`.
    EXPOSE, "a port such as `8080` or `8080/udp`", |s| checked(ports::parse_exposed(&s.text)),
    r#"{"type": ["string", "integer"]}"#
);
leaf!(
    /// Compose's short syntax.
    VOLUME, "a mount such as `data:/data`", |s| checked(mounts::parse_short(&s.text)), r#"{"type": "string"}"#
);
leaf!(
    /// Compose's short syntax.
    TMPFS, "a path such as `/run` or `/run:size=64m`", |s| checked(mounts::parse_tmpfs(&s.text)), r#"{"type": "string"}"#
);
leaf!(
    /// Compose's short syntax.
    DEVICE, "a device such as `/dev/kvm`", |s| checked(mounts::parse_device(&s.text)), r#"{"type": "string"}"#
);
leaf!(
    /// `name:address` or `name=address`.
    EXTRA_HOST, "a host such as `db:10.0.0.5`", |s| checked(extra_host(&s.text)), r#"{"type": "string"}"#
);
leaf!(
    /// `NAME=VALUE`.
    ASSIGNMENT, "`NAME=VALUE`", |s| checked(assignment(&s.text)), r#"{"type": "string", "pattern": "^[^=]+="}"#
);
leaf!(
    /// A command line.
    COMMAND_LINE, "a command", |s| checked(scalars::words(&s.text)), r#"{"type": ["string", "number"]}"#
);
leaf!(
    /// What `network_mode` may be.
    NETWORK_MODE, "`bridge`, `host`, `none`, `service:NAME` or `container:NAME`", |s| network_mode(&s.text), r#"{"type": "string"}"#
);
leaf!(
    /// What `pid` may be.
    PID, "`host`, `service:NAME` or `container:NAME`", |s| shared_namespace(&s.text, &["host"]),
    r#"{"type": "string", "pattern": "^(host|(service|container):.+)?$"}"#
);
leaf!(
    /// What `ipc` may be.
    IPC, "`host`, `none`, `private`, `shareable`, `service:NAME` or `container:NAME`", |s| shared_namespace(&s.text, &["host", "none", "private", "shareable"]),
    r#"{"type": "string", "pattern": "^(host|none|private|shareable|(service|container):.+)?$"}"#
);
leaf!(
    /// Five fields of cron.
    CRON, "five fields such as `17 2 * * *`", |s| cron(&s.text), r#"{"type": "string"}"#
);
leaf!(
    /// A time zone by its IANA name.
    TIMEZONE, "a time zone such as `Europe/Berlin`", |s| timezone(&s.text),
    r#"{"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_+/-]*$"}"#
);
leaf!(
    /// Where a Docker engine listens.
    ENGINE, "`unix:///PATH` or `tcp://HOST:PORT`", |s| engine(&s.text), r#"{"type": "string", "pattern": "^(unix|tcp)://"}"#
);

fn pull_policy(text: &str) -> Result<(), String> {
    match text {
        "always" | "missing" | "if_not_present" | "never" => Ok(()),
        "build" => Err("`build` is not taken: images are built beforehand; use `missing` or `never`".to_owned()),
        _ if ["daily", "weekly", "refresh"].contains(&text) || text.starts_with("every_") => Err(format!(
            "`{text}` is not taken: an image must not change because time passes; use `always`, which looks for a newer one on each rollout"
        )),
        _ => Err(format!("`{text}` is none of `always`, `missing`, `never`")),
    }
}

/// The engine's restart policy.
pub fn restart(scalar: &Scalar) -> Result<crate::model::settings::RestartPolicy, String> {
    use crate::model::settings::RestartPolicy;
    if scalar.kind == ScalarKind::Boolean(false) {
        return Ok(RestartPolicy::No);
    }
    match scalar.text.as_str() {
        "no" => Ok(RestartPolicy::No),
        "always" => Ok(RestartPolicy::Always),
        "unless-stopped" => Ok(RestartPolicy::UnlessStopped),
        "on-failure" => Ok(RestartPolicy::OnFailure(0)),
        text => match text.strip_prefix("on-failure:").map(str::parse::<u16>) {
            Some(Ok(times)) => Ok(RestartPolicy::OnFailure(times.into())),
            Some(Err(_)) => Err(format!("`{text}`: what follows the colon is the greatest number of restarts")),
            None => {
                let words = ["no", "always", "unless-stopped", "on-failure"];
                let hint = super::suggest::did_you_mean(text, words).map(|hint| format!("; {hint}"));
                Err(format!(
                    "`{text}` is none of `no`, `always`, `unless-stopped`, `on-failure[:N]`{}",
                    hint.unwrap_or_default()
                ))
            }
        },
    }
}

/// A network and the length of its prefix.
pub fn cidr(text: &str) -> Result<(IpAddr, u8), String> {
    let fail = || format!("`{text}` is no network such as `10.0.0.0/24`");
    let (address, length) = text.split_once('/').ok_or_else(fail)?;
    let address: IpAddr = address.parse().map_err(|_| fail())?;
    let length: u8 = length.parse().map_err(|_| fail())?;
    if length > if address.is_ipv4() { 32 } else { 128 } {
        return Err(fail());
    }
    Ok((address, length))
}

/// Whether an address lies in a network.
pub fn is_within(address: IpAddr, (network, length): (IpAddr, u8)) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            u32::from(address) & mask == u32::from(network) & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            u128::from(address) & mask == u128::from(network) & mask
        }
        _ => false,
    }
}

fn mac_address(text: &str) -> Result<(), String> {
    let parts: Vec<&str> = text.split(':').collect();
    if parts.len() == 6 && parts.iter().all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit())) {
        Ok(())
    } else {
        Err(format!("`{text}` is no hardware address such as `02:42:ac:11:00:02`"))
    }
}

/// A path in a container: absolute, without `..`.
pub fn absolute(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err(format!("`{text}` is no path in the container: it must start with `/`"));
    }
    if text.split('/').any(|part| part == "..") || text.contains('\0') {
        return Err(format!("the path `{text}` must not contain `..`"));
    }
    Ok(())
}

/// `name:address`, also written `name=address`.
pub fn extra_host(text: &str) -> Result<(String, String), String> {
    let fail = || format!("`{text}` is no entry such as `db:10.0.0.5`");
    let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(fail)?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err(fail());
    }
    if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
        return Err(format!("`{address}` in `{text}` is no address"));
    }
    Ok((name.to_owned(), address.to_owned()))
}

/// `NAME=VALUE`, split.
pub fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, _)) if name.trim().is_empty() => Err(format!("`{text}` has no name before `=`")),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(format!(
            "`{text}` has no value: Mastic passes on nothing of its own environment; write `{text}=VALUE`, or take it from a variable"
        )),
    }
}

fn network_mode(text: &str) -> Result<(), String> {
    match text {
        "bridge" | "host" | "none" | "" => Ok(()),
        _ if names_a_container(text) => Ok(()),
        _ => Err(format!("`{text}` is none of `bridge`, `host`, `none`; a network of the site goes under `networks`")),
    }
}

/// `service:NAME` or `container:NAME`.
fn names_a_container(text: &str) -> bool {
    let name = text.strip_prefix("service:").or_else(|| text.strip_prefix("container:"));
    name.is_some_and(|name| !name.is_empty())
}

fn shared_namespace(text: &str, words: &[&str]) -> Result<(), String> {
    if text.is_empty() || words.contains(&text) || names_a_container(text) {
        Ok(())
    } else {
        Err(format!(
            "`{text}` is none of {}, `service:NAME`, `container:NAME`",
            words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        ))
    }
}

fn cron(text: &str) -> Result<(), String> {
    if text.split_whitespace().count() != 5 {
        return Err(format!("`{text}` is no schedule: cron has five fields, minute, hour, day, month, weekday"));
    }
    text.parse::<croner::Cron>().map(|_| ()).map_err(|why| format!("`{text}` is no schedule: {why}"))
}

fn timezone(text: &str) -> Result<(), String> {
    let valid = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'-' | b'+'));
    if valid { Ok(()) } else { Err(format!("`{text}` is no time zone such as `UTC` or `Europe/Berlin`")) }
}

fn engine(text: &str) -> Result<(), String> {
    match text.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(()),
        Some(("tcp", rest))
            if rest.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) =>
        {
            Ok(())
        }
        Some(("tcp", _)) => Err(format!("`{text}` has no port; 2376 is usual with TLS, 2375 without")),
        _ => Err(format!("`{text}` is neither `unix:///PATH` nor `tcp://HOST:PORT`")),
    }
}
