//! Compose's short syntaxes for mounts and devices.

use crate::model::settings::Mount;

use super::leaves::absolute;
use super::node::Scalar;
use super::scalars;

/// A mount as written: the source may still be a path relative to the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShortMount {
    /// A path (absolute, or starting with `.` or `~`), the name of a volume, or nothing for an anonymous volume.
    pub source: Option<String>,
    /// Path in the container.
    pub target: String,
    /// Whether it is read only.
    pub read_only: bool,
    /// `rprivate` and the like.
    pub propagation: Option<String>,
    /// Whether a new volume is not filled from the image.
    pub nocopy: bool,
}

/// Whether a source is a path of the host and no name of a volume.
pub fn is_path(source: &str) -> bool {
    source.starts_with(['/', '.', '~'])
}

/// `[SOURCE:]TARGET[:OPTIONS]`.
pub fn parse_short(text: &str) -> Result<ShortMount, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] if target.starts_with('/') => (Some(*source), *target, ""),
        [target, options] if target.starts_with('/') && !options.starts_with('/') => (None, *target, *options),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return Err(format!("`{text}` has too many colons; the long syntax takes paths with colons")),
    };
    absolute(target)?;
    if target.trim_end_matches('/').is_empty() {
        return Err(format!("`{text}` would hide the whole file system of the container"));
    }
    let mut mount = ShortMount {
        source: source.map(str::to_owned),
        target: normal_target(target),
        read_only: false,
        propagation: None,
        nocopy: false,
    };
    if source.is_some_and(str::is_empty) {
        return Err(format!("`{text}` has nothing before the colon"));
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "rw" => {}
            "ro" => mount.read_only = true,
            "nocopy" => mount.nocopy = true,
            "shared" | "slave" | "private" | "rshared" | "rslave" | "rprivate" => {
                mount.propagation = Some(option.to_owned());
            }
            "z" | "Z" => {
                return Err(format!(
                    "`{option}` in `{text}` is not taken: label the directory with chcon, or set `security_opt: [label=disable]`"
                ));
            }
            "cached" | "delegated" | "consistent" => {
                return Err(format!(
                    "`{option}` in `{text}` is not taken: it means something on Docker Desktop only; leave it out"
                ));
            }
            other => {
                return Err(format!(
                    "`{other}` in `{text}` is no option; `ro`, `rw`, `nocopy` and the propagations are"
                ));
            }
        }
    }
    let path = mount.source.as_deref().is_some_and(is_path);
    if mount.propagation.is_some() && !path {
        return Err(format!("`{text}`: propagation is for paths of the host, not for volumes"));
    }
    if mount.nocopy && path {
        return Err(format!("`{text}`: `nocopy` is for volumes, not for paths of the host"));
    }
    Ok(mount)
}

/// `PATH[:OPTIONS]` with the options of mount(8).
pub fn parse_tmpfs(text: &str) -> Result<(String, Mount), String> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    absolute(target)?;
    let (mut size, mut mode, mut rest) = (None, None, Vec::new());
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => size = Some(scalars::bytes(&Scalar::plain(value))?),
            Some(("mode", value)) => {
                mode =
                    Some(u32::from_str_radix(value, 8).map_err(|_| format!("`{value}` are no permissions in octal"))?);
            }
            _ => rest.push(option.to_owned()),
        }
    }
    rest.sort();
    Ok((normal_target(target), Mount::Tmpfs { size, mode, options: rest }))
}

/// `HOST[:CONTAINER[:PERMISSIONS]]` in full.
pub fn parse_device(text: &str) -> Result<String, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, permissions) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, container] if container.starts_with('/') => (*host, *container, "rwm"),
        [host, permissions] => (*host, *host, *permissions),
        [host, container, permissions] => (*host, *container, *permissions),
        _ => return Err(format!("`{text}` is no device such as `/dev/kvm`")),
    };
    device(host, container, permissions)
}

/// A device in full.
pub fn device(host: &str, container: &str, permissions: &str) -> Result<String, String> {
    if !host.starts_with('/') {
        return Err(format!("`{host}` is no device: it must be a path such as `/dev/kvm`"));
    }
    absolute(container)?;
    if permissions.is_empty() || !permissions.bytes().all(|b| matches!(b, b'r' | b'w' | b'm')) {
        return Err(format!("`{permissions}` are no permissions of a device; write some of `r`, `w`, `m`"));
    }
    Ok(format!("{host}:{container}:{permissions}"))
}

/// Without a slash at the end and without doubled ones: two spellings of one target are one.
pub fn normal_target(target: &str) -> String {
    let parts: Vec<&str> = target.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn short_mounts() {
        let mount = parse_short("./conf:/etc/app/:ro,rslave").unwrap();
        assert_eq!(
            (mount.source.as_deref(), mount.target.as_str(), mount.read_only),
            (Some("./conf"), "/etc/app", true)
        );
        assert_eq!(mount.propagation.as_deref(), Some("rslave"));
        assert_eq!(parse_short("/data").unwrap().source, None);
        assert_eq!(parse_short("data:/data:nocopy").unwrap().source.as_deref(), Some("data"));
        for wrong in ["data", "data:data", ":/x", "a:/", "a:/x:z", "a:/x:rshared", "/a:/x:nocopy", "a:/../x", "a:b:c:d"]
        {
            assert!(parse_short(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn devices_and_memory() {
        assert_eq!(parse_device("/dev/kvm").unwrap(), "/dev/kvm:/dev/kvm:rwm");
        assert_eq!(parse_device("/dev/sda:/dev/x:r").unwrap(), "/dev/sda:/dev/x:r");
        assert!(parse_device("nvidia.com/gpu=all").is_err());
        let (target, mount) = parse_tmpfs("/run:size=64m,noexec,mode=1777").unwrap();
        assert_eq!(target, "/run");
        assert_eq!(
            mount,
            Mount::Tmpfs { size: Some(64 << 20), mode: Some(0o1777), options: vec!["noexec".to_owned()] }
        );
    }
}
