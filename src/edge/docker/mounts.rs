//! Mounts, to and from the API.
//!
//! In and out: `settings.volumes` by target. Binds, volumes and memory go through the API's `Mounts`, because `Binds`
//! makes a missing source into a directory of root. `Binds` are used where just that is asked for
//! (`create_host_path`), and for anonymous volumes that are carried over without being asked for, which so can be
//! told from those that were. Memory goes through `Tmpfs`: `Mounts` knows size
//! and mode only, and Docker 20.10 refuses `volumes_from` a container that has memory among its `Mounts`.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    HostConfig, Mount as ApiMount, MountBindOptions, MountBindOptionsPropagationEnum, MountType, MountVolumeOptions,
};

use super::{normal, wire};
use crate::model::settings::Mount;
use crate::port::engine::EngineError;

/// Key and path of a source of ours.
pub(super) type Managed<'a> = &'a (dyn Fn(&str) -> Option<(String, String)> + Send + Sync);

/// Puts the mounts into what a container is created from.
pub(super) fn write(
    volumes: &BTreeMap<String, Mount>,
    carried: &BTreeMap<String, String>,
    host: &mut HostConfig,
) -> Result<(), EngineError> {
    let mut mounts = Vec::new();
    let mut binds = Vec::new();
    let mut tmpfs = HashMap::new();
    for (target, mount) in volumes {
        match mount {
            Mount::Bind { source, read_only, propagation, create_host_path: true } => {
                binds.push(bind_text(source, target, *read_only, propagation.as_deref())?);
            }
            Mount::Bind { source, read_only, propagation, create_host_path: false } => mounts.push(ApiMount {
                target: Some(target.clone()),
                source: Some(source.clone()),
                typ: Some(MountType::BIND),
                read_only: Some(*read_only),
                bind_options: propagation.as_deref().map(bind_options).transpose()?,
                ..ApiMount::default()
            }),
            Mount::Volume { source, read_only, nocopy } => mounts.push(ApiMount {
                target: Some(target.clone()),
                source: source.clone().or_else(|| carried.get(target).cloned()),
                typ: Some(MountType::VOLUME),
                read_only: Some(*read_only),
                volume_options: nocopy
                    .then(|| MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
                ..ApiMount::default()
            }),
            Mount::Tmpfs { size, mode, options } => {
                tmpfs.insert(target.clone(), tmpfs_text(*size, *mode, options));
            }
            Mount::Managed { path } => {
                return Err(EngineError::Refused(format!("{target}: nobody said where `{path}` lies on the host")));
            }
        }
    }
    for (target, volume) in carried {
        if !volumes.contains_key(target) {
            binds.push(format!("{volume}:{target}"));
        }
    }
    host.mounts = (!mounts.is_empty()).then_some(mounts);
    host.binds = (!binds.is_empty()).then_some(binds);
    host.tmpfs = (!tmpfs.is_empty()).then_some(tmpfs);
    Ok(())
}

fn bind_text(source: &str, target: &str, read_only: bool, propagation: Option<&str>) -> Result<String, EngineError> {
    if source.contains(':') || target.contains(':') {
        return Err(EngineError::Refused(format!(
            "{source}: a path with a colon cannot be made on the host by the engine; make it first and set create_host_path: false"
        )));
    }
    let options: Vec<&str> = read_only.then_some("ro").into_iter().chain(propagation).collect();
    let end = if options.is_empty() { String::new() } else { format!(":{}", options.join(",")) };
    Ok(format!("{source}:{target}{end}"))
}

fn bind_options(propagation: &str) -> Result<MountBindOptions, EngineError> {
    let propagation = propagation
        .parse::<MountBindOptionsPropagationEnum>()
        .map_err(|_| EngineError::Refused(format!("`{propagation}` is no propagation of mounts")))?;
    Ok(MountBindOptions { propagation: Some(propagation), ..MountBindOptions::default() })
}

fn tmpfs_text(size: Option<i64>, mode: Option<u32>, options: &[String]) -> String {
    let size = size.map(|size| format!("size={size}"));
    let mode = mode.map(|mode| format!("mode={mode:o}"));
    let mut parts: Vec<String> = size.into_iter().chain(mode).collect();
    parts.extend(options.iter().cloned());
    parts.join(",")
}

/// What is found of mounts in a container.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// By target: what was asked for when the container was created.
    pub(super) volumes: BTreeMap<String, Mount>,
    /// Volume by target.
    pub(super) anonymous: BTreeMap<String, String>,
    /// The create-hash whose directory managed mounts point at.
    pub(super) managed_hash: Option<String>,
}

/// Reads the mounts that a container was created with.
pub(super) fn read(host: &HostConfig, points: &[wire::MountPoint], managed: Managed<'_>) -> Found {
    let mut found = Found::default();
    for point in points {
        if point.kind == "volume" && is_anonymous(&point.name) {
            found.anonymous.insert(normal::path(&point.destination), point.name.clone());
        }
    }
    for text in host.binds.iter().flatten() {
        if let Some((target, mount)) = read_bind(text) {
            found.put(target, mount, managed);
        }
    }
    for (target, text) in host.tmpfs.iter().flatten() {
        found.put(normal::path(target), read_tmpfs(text), managed);
    }
    for mount in host.mounts.iter().flatten() {
        if let Some((target, mount)) = read_mount(mount) {
            found.put(target, mount, managed);
        }
    }
    found
}

impl Found {
    fn put(&mut self, target: String, mount: Mount, managed: Managed<'_>) {
        let mount = match mount {
            Mount::Bind { source, read_only, propagation, create_host_path } => match managed(&source) {
                Some((key, path)) => {
                    let hash = key.rsplit_once('/').map_or(key.as_str(), |(_, hash)| hash);
                    self.managed_hash = Some(hash.to_owned());
                    Mount::Managed { path }
                }
                None => Mount::Bind { source, read_only, propagation, create_host_path },
            },
            other => other,
        };
        self.volumes.insert(target, mount);
    }
}

/// Docker names the volumes that nobody named by 64 random hex digits.
pub(super) fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Nothing for an anonymous volume: in `Binds` it was carried over without being asked for.
fn read_bind(text: &str) -> Option<(String, Mount)> {
    let mut parts = text.splitn(3, ':');
    let source = parts.next()?;
    let target = normal::path(parts.next()?);
    let options: Vec<&str> = parts.next().map(|options| options.split(',').collect()).unwrap_or_default();
    let read_only = options.contains(&"ro");
    if source.starts_with('/') {
        let propagation = options
            .iter()
            .find(|option| !option.is_empty() && option.parse::<MountBindOptionsPropagationEnum>().is_ok());
        Some((
            target,
            Mount::Bind {
                source: source.to_owned(),
                read_only,
                propagation: propagation.map(|text| (*text).to_owned()),
                create_host_path: true,
            },
        ))
    } else if is_anonymous(source) {
        None
    } else {
        let nocopy = options.contains(&"nocopy");
        Some((target, Mount::Volume { source: Some(source.to_owned()), read_only, nocopy }))
    }
}

fn read_tmpfs(text: &str) -> Mount {
    let (mut size, mut mode, mut options) = (None, None, Vec::new());
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) if normal::bytes(value).is_some() => size = normal::bytes(value),
            Some(("mode", value)) if u32::from_str_radix(value, 8).is_ok() => mode = u32::from_str_radix(value, 8).ok(),
            _ => options.push(option.to_owned()),
        }
    }
    options.sort();
    Mount::Tmpfs { size, mode, options }
}

fn read_mount(mount: &ApiMount) -> Option<(String, Mount)> {
    let target = normal::path(mount.target.as_deref()?);
    let read_only = mount.read_only.unwrap_or_default();
    let source = mount.source.clone().filter(|source| !source.is_empty());
    let mount = match mount.typ? {
        MountType::BIND => {
            let options = mount.bind_options.as_ref();
            let propagation = options.and_then(|options| options.propagation).map(|value| value.to_string());
            Mount::Bind {
                source: source?,
                read_only,
                propagation: propagation.filter(|text| !text.is_empty()),
                create_host_path: options.and_then(|options| options.create_mountpoint).unwrap_or_default(),
            }
        }
        MountType::VOLUME => Mount::Volume {
            source: source.filter(|source| !is_anonymous(source)),
            read_only,
            nocopy: mount.volume_options.as_ref().and_then(|options| options.no_copy).unwrap_or_default(),
        },
        MountType::TMPFS => {
            let options = mount.tmpfs_options.as_ref();
            let mut more: Vec<String> =
                options.and_then(|o| o.options.as_ref()).into_iter().flatten().map(|pair| pair.join("=")).collect();
            more.extend(read_only.then(|| "ro".to_owned()));
            more.sort();
            Mount::Tmpfs {
                size: options.and_then(|options| options.size_bytes).filter(|size| *size != 0),
                mode: options
                    .and_then(|options| options.mode)
                    .filter(|mode| *mode != 0)
                    .and_then(|mode| u32::try_from(mode).ok()),
                options: more,
            }
        }
        _ => return None,
    };
    Some((target, mount))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn round(volumes: &BTreeMap<String, Mount>, carried: &BTreeMap<String, String>) -> Found {
        let mut host = HostConfig::default();
        write(volumes, carried, &mut host).unwrap();
        let host: HostConfig = serde_json::from_value(serde_json::to_value(host).unwrap()).unwrap();
        let managed = |source: &str| {
            source.strip_prefix("/state/files/web/1:abc/").map(|path| ("web/1:abc".to_owned(), path.to_owned()))
        };
        read(&host, &[], &managed)
    }

    #[test]
    fn what_is_asked_for_is_read_back() {
        let bind = |source: &str, read_only, propagation: Option<&str>, create_host_path| Mount::Bind {
            source: source.into(),
            read_only,
            propagation: propagation.map(str::to_owned),
            create_host_path,
        };
        let volumes = BTreeMap::from([
            ("/a".to_owned(), bind("/src", true, None, false)),
            ("/b".to_owned(), bind("/src", false, Some("rslave"), false)),
            ("/b2".to_owned(), bind("/src/", false, Some("rprivate"), false)),
            ("/c".to_owned(), bind("/src", true, Some("shared"), true)),
            ("/d".to_owned(), bind("/src", false, None, true)),
            ("/e".to_owned(), Mount::Volume { source: Some("data".into()), read_only: true, nocopy: true }),
            ("/f".to_owned(), Mount::Volume { source: None, read_only: false, nocopy: false }),
            ("/g".to_owned(), Mount::Tmpfs { size: Some(1 << 20), mode: Some(0o1770), options: vec![] }),
            (
                "/h".to_owned(),
                Mount::Tmpfs { size: Some(5), mode: Some(0o700), options: vec!["noexec".into(), "uid=5".into()] },
            ),
            ("/i".to_owned(), Mount::Tmpfs { size: None, mode: None, options: vec![] }),
        ]);
        assert_eq!(round(&volumes, &BTreeMap::new()).volumes, volumes);
    }

    #[test]
    fn a_carried_volume_is_seen_only_where_it_was_asked_for() {
        let hex = "0123456789abcdef".repeat(4);
        let asked =
            BTreeMap::from([("/asked".to_owned(), Mount::Volume { source: None, read_only: false, nocopy: false })]);
        let carried = BTreeMap::from([("/asked".to_owned(), hex.clone()), ("/of-the-image".to_owned(), hex)]);
        assert_eq!(round(&asked, &carried).volumes, asked);
    }

    #[test]
    fn mounts_of_our_own_files_are_known_again() {
        let volumes = BTreeMap::from([(
            "/etc/x".to_owned(),
            Mount::Bind {
                source: "/state/files/web/1:abc/fixed/0".into(),
                read_only: true,
                propagation: None,
                create_host_path: false,
            },
        )]);
        let found = round(&volumes, &BTreeMap::new());
        assert_eq!(found.volumes["/etc/x"], Mount::Managed { path: "fixed/0".into() });
        assert_eq!(found.managed_hash.as_deref(), Some("1:abc"));
    }

    #[test]
    fn a_colon_in_a_path_is_refused_where_it_would_be_misread() {
        assert!(bind_text("/a:b", "/c", false, None).is_err());
    }
}
