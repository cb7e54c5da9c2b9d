//! A service becomes the spec of its instance on a host, and a job what is run there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::model::desired::{InstanceDesired, JobDesired, Rollout};
use crate::model::file::Reload;
use crate::model::fileset::FilesetMount;
use crate::model::image::ImageRef;
use crate::model::job::DoneWhen;
use crate::model::names::{ContainerName, JobName, NetworkName, ServiceName};
use crate::model::network::Attachment;
use crate::model::settings::{ContainerSettings, Logging, Mount, RestartPolicy};
use crate::parse::container::{ContainerSpec, MountEntry};
use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::Node;
use crate::parse::read::{At, Reader};
use crate::parse::service::{FileEntry, ServiceSpec, WrittenDependency, WrittenDoneWhen, read_job, read_service};
use crate::parse::site::{Connection, Written};
use crate::parse::source::Place;
use crate::render::seal::{seal_instance, seal_job};

use super::compile::HostCompiler;
use super::files::Placed;
use super::namespaces;
use super::roles::objects;

/// An instance with the places that checks across instances point at.
#[derive(Debug)]
pub struct Built<T> {
    /// What is desired.
    pub desired: T,
    /// Where the container's name comes from.
    pub name_place: Place,
    /// Published ports with their places.
    pub ports: Vec<At<crate::model::settings::Port>>,
    /// Services whose mounts it takes.
    pub volumes_from: Vec<At<String>>,
    /// The keys that name a container whose namespaces it shares, with what they say.
    pub shares: Vec<(&'static str, At<String>)>,
    /// What makes a job run again, if it says so.
    pub inputs: Option<serde_json::Value>,
}

/// The container part, resolved.
struct Container {
    image: ImageRef,
    name: ContainerName,
    name_place: Place,
    settings: ContainerSettings,
    networks: BTreeMap<NetworkName, Attachment>,
    placed: Placed,
    filesets: Vec<FilesetMount>,
}

impl HostCompiler<'_> {
    /// Builds the instance of a service from its effective tree.
    pub fn instance(&mut self, name: &ServiceName, written: &Written, node: &Node) -> Option<Built<InstanceDesired>> {
        let mut reader = Reader::default();
        let mut spec = read_service(node, &mut reader);
        let complete = reader.errors.is_empty();
        self.errors.append(&mut reader.errors);
        if let Some(kolla) = spec.kolla.take() {
            self.kolla(&kolla, name.as_str(), node, &mut spec.container, &mut spec.files);
        }
        let mut container =
            self.container(name.as_str(), written.key_place, node, &spec.container, &spec.files, false)?;
        container.settings.restart.get_or_insert(RestartPolicy::UnlessStopped);
        let reload = self.reload(&spec);
        self.check_reload(&container.filesets, &reload);
        let mut desired = InstanceDesired {
            service: name.clone(),
            role: written.role.as_ref().map(|used| used.name.clone()),
            container_name: container.name,
            image: container.image,
            pull_policy: spec.container.pull_policy,
            settings: container.settings,
            networks: container.networks,
            files: container.placed.files,
            filesets: container.filesets,
            reload,
            ready: spec.ready,
            rollout: self.waves(spec.rollout, node),
            depends_on: self.dependencies(&spec.depends_on),
            steps: Vec::new(),
            unhealthy: spec.unhealthy,
            drift_ignore: spec.drift_ignore,
            hooks: spec.hooks,
            sensitive: std::mem::take(&mut self.exposed),
            create_hash: String::new(),
            input_hash: String::new(),
        };
        if complete {
            seal_instance(&mut desired, &self.request.site_key);
        }
        Some(Built {
            desired,
            name_place: container.name_place,
            ports: spec.container.ports,
            volumes_from: spec.container.volumes_from,
            shares: namespaces::shared(node),
            inputs: None,
        })
    }

    /// Builds a job from its effective tree.
    pub fn job(&mut self, name: &JobName, written: &Written, node: &Node) -> Option<Built<JobDesired>> {
        let mut reader = Reader::default();
        let mut spec = read_job(node, &mut reader);
        self.errors.append(&mut reader.errors);
        if let Some(provided) = &written.provider {
            spec.files.extend(objects::files(provided, written.key_place));
        }
        if let Some(kolla) = spec.kolla.take() {
            self.kolla(&kolla, name.as_str(), node, &mut spec.container, &mut spec.files);
        }
        let mut container =
            self.container(name.as_str(), written.key_place, node, &spec.container, &spec.files, true)?;
        container.settings.restart = Some(RestartPolicy::No);
        let done_when = match spec.done_when {
            Some(WrittenDoneWhen::Service(service, probe)) => {
                ServiceName::new(service.value).ok().map(|service| DoneWhen::Service { service, probe })
            }
            Some(WrittenDoneWhen::Command(command)) => Some(DoneWhen::Container { command }),
            None => None,
        };
        let mut desired = JobDesired {
            job: name.clone(),
            role: written.role.as_ref().map(|used| used.name.clone()),
            container_name: container.name,
            image: container.image,
            pull_policy: spec.container.pull_policy,
            settings: container.settings,
            networks: container.networks,
            files: container.placed.files,
            filesets: container.filesets,
            run: spec.run,
            depends_on: self.dependencies(&spec.depends_on),
            step: None,
            done_when,
            timeout: spec.timeout,
            schedule: spec.schedule,
            input_hash: String::new(),
        };
        let inputs = Some(&spec.inputs).filter(|inputs| !inputs.is_null());
        seal_job(&mut desired, inputs, &self.request.site_key);
        Some(Built {
            desired,
            name_place: container.name_place,
            ports: spec.container.ports,
            volumes_from: spec.container.volumes_from,
            shares: namespaces::shared(node),
            inputs: inputs.cloned(),
        })
    }

    fn container(
        &mut self,
        name: &str,
        key: Place,
        node: &Node,
        spec: &ContainerSpec,
        files: &[FileEntry],
        is_job: bool,
    ) -> Option<Container> {
        let mut settings = spec.settings.clone();
        self.read_variables(spec, &mut settings);
        let networks = self.attach(spec.networks.as_deref(), &mut settings, name, node);
        let mut placed = self.place_files(files, &spec.configs, &spec.secrets, is_job);
        let filesets = self.mount_filesets(name, &mut placed);
        settings.volumes = self.mounts(&spec.mounts, &placed);
        settings.logging.get_or_insert_with(default_logging);
        super::check::settings(node, key, &settings, &mut self.errors);
        if spec.image.is_none() && node.get("image").is_none() {
            let error = Diagnostic::error("K003", key, format!("`{name}` has no image"));
            self.errors.push(error.help("add `image: NAME:TAG`"));
        }
        let name_at = match &spec.container_name {
            Some(at) => Some((at.value.clone(), at.place)),
            None => ContainerName::new(name).ok().map(|name| (name, key)),
        };
        let (container_name, name_place) = name_at?;
        Some(Container {
            image: spec.image.clone()?.value,
            name: container_name,
            name_place,
            settings,
            networks,
            placed,
            filesets,
        })
    }

    /// `env_file` and `label_file`, below `environment` and `labels`.
    fn read_variables(&mut self, spec: &ContainerSpec, settings: &mut ContainerSettings) {
        let mut environment = BTreeMap::new();
        for file in &spec.env_files {
            environment.extend(self.pairs_of(&file.path, file.required, file.raw));
        }
        let mut labels = BTreeMap::new();
        for path in &spec.label_files {
            let pairs = self.pairs_of(path, true, false);
            if let Some((label, _)) = pairs.iter().find(|(label, _)| label.starts_with(crate::model::labels::PREFIX)) {
                let message =
                    format!("`{}` sets the label `{label}`, and `mastic.` marks what Mastic made", path.value);
                self.errors.push(Diagnostic::error("N001", path.place, message));
            }
            labels.extend(pairs);
        }
        for (below, setting) in [(environment, &mut settings.environment), (labels, &mut settings.labels)] {
            if below.is_empty() {
                continue;
            }
            let own = setting.take().unwrap_or_default();
            *setting = Some(below.into_iter().chain(own).collect());
        }
    }

    fn pairs_of(&mut self, path: &At<String>, required: bool, raw: bool) -> Vec<(String, String)> {
        let content = match self.reader.source(&path.value) {
            Ok(content) => content,
            Err(crate::port::site_files::ReadError::Missing) if !required => return Vec::new(),
            Err(why) => {
                let shown = self.reader.path(&path.value);
                self.errors.push(Diagnostic::error(
                    "F001",
                    path.place,
                    format!("cannot read `{}`: {why}", shown.display()),
                ));
                return Vec::new();
            }
        };
        let text = String::from_utf8_lossy(&content);
        let mut pairs = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start().strip_prefix("export ").unwrap_or(line.trim_start());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split_once('=') {
                Some((name, value)) if !name.trim().is_empty() => {
                    pairs.push((name.trim().to_owned(), if raw { value.to_owned() } else { unquoted(value) }));
                }
                // The line itself may hold a secret, and is not shown.
                _ => {
                    let message = format!("line {} of `{}` is not `NAME=VALUE`", index + 1, path.value);
                    self.errors.push(Diagnostic::error("F001", path.place, message));
                }
            }
        }
        pairs
    }

    fn mounts(&mut self, written: &[MountEntry], placed: &Placed) -> Option<BTreeMap<String, Mount>> {
        let mut mounts: BTreeMap<String, Mount> = BTreeMap::new();
        for entry in written {
            let mut mount = entry.mount.clone();
            match &mut mount {
                Mount::Bind { source, .. } => match self.host_path(source, entry.place) {
                    Some(path) => *source = path,
                    None => continue,
                },
                Mount::Volume { source: Some(source), .. } => match self.volume(source, entry.place) {
                    Some(name) => name.as_str().clone_into(source),
                    None => continue,
                },
                Mount::Volume { .. } | Mount::Tmpfs { .. } | Mount::Managed { .. } => {}
            }
            mounts.insert(entry.target.clone(), mount);
        }
        for (target, (mount, place)) in &placed.mounts {
            if let Some(other) = written.iter().find(|entry| entry.target == *target) {
                let error = Diagnostic::error("R005", *place, format!("two things are mounted at `{target}`"));
                self.errors.push(error.also(other.place, "here is the other"));
            }
            mounts.insert(target.clone(), mount.clone());
        }
        // The engine would create mount points inside a directory of ours, which is not to hold anything else.
        let live = placed
            .mounts
            .iter()
            .filter(|(_, (mount, _))| matches!(mount, Mount::Managed { path } if path.starts_with("live/")));
        for (directory, (_, place)) in live {
            let inside =
                |target: &str| target.strip_prefix(directory.as_str()).is_some_and(|rest| rest.starts_with('/'));
            let others = written.iter().map(|entry| (&entry.target, entry.place));
            let managed = placed.mounts.iter().map(|(target, (_, place))| (target, *place));
            for (target, other) in others.chain(managed).filter(|(target, _)| inside(target)) {
                self.errors.push(
                    Diagnostic::error("R005", other, format!("`{target}` lies inside of `{directory}`, which Mastic mounts as a whole"))
                        .also(*place, "because of this file")
                        .help("give all files of the directory the same class of `on_change`, or put them into directories of their own"),
                );
            }
        }
        (!mounts.is_empty()).then_some(mounts)
    }

    /// A path of the host, absolute.
    fn host_path(&mut self, written: &str, place: Place) -> Option<String> {
        let path = Path::new(written);
        if path.is_absolute() {
            return Some(plain(path).display().to_string());
        }
        if written.starts_with('~') {
            let error = Diagnostic::error("V002", place, format!("`{written}` depends on who runs Mastic"));
            self.errors.push(error.help("write the path out"));
            return None;
        }
        let is_elsewhere = match &self.connection {
            Connection::Docker { host, .. } => host.starts_with("tcp:"),
            Connection::Ssh(_) => true,
            Connection::Local => false,
        };
        if is_elsewhere {
            let error = Diagnostic::error(
                "V002",
                place,
                format!("`{written}` is a path of this machine, and the engine is on another"),
            );
            self.errors.push(error.help("copy files with `files`, or name an absolute path of that machine"));
            return None;
        }
        let mut base = self.reader.directory.clone();
        if base.is_relative() {
            // The only word of where the program runs that comes in as a value.
            let Some(current) =
                self.request.environment.get("PWD").map(PathBuf::from).filter(|path| path.is_absolute())
            else {
                let error = Diagnostic::error(
                    "V002",
                    place,
                    format!("`{written}` is relative, and so is the path of the site"),
                );
                self.errors.push(error.help("name the site by an absolute path: `-f /path/of/site.yaml`"));
                return None;
            };
            base = current.join(base);
        }
        Some(plain(&base.join(path)).display().to_string())
    }

    /// `reload` of the service with what single files ask for.
    fn reload(&mut self, spec: &ServiceSpec) -> Reload {
        let mut reload = spec.reload.clone();
        let mut from: BTreeMap<&str, Place> = BTreeMap::new();
        for file in &spec.files {
            let own: [(&str, bool); 3] = [
                ("signal", differs(&mut reload.signal, file.signal.as_ref())),
                ("exec", differs(&mut reload.exec, file.exec.as_ref())),
                ("validate", differs(&mut reload.validate, file.validate.as_ref())),
            ];
            for (what, conflict) in own {
                if conflict {
                    let message = format!("a service is reloaded in one way, and here is a second `{what}`");
                    let mut error = Diagnostic::error("V003", file.place, message);
                    if let Some(place) = from.get(what) {
                        error = error.also(*place, "the first");
                    }
                    self.errors.push(error);
                }
            }
            for (what, given) in [
                ("signal", file.signal.is_some()),
                ("exec", file.exec.is_some()),
                ("validate", file.validate.is_some()),
            ] {
                if given {
                    from.entry(what).or_insert(file.place);
                }
            }
        }
        let reloaded = spec.files.iter().find(|file| file.on_change.value == crate::model::file::OnChange::Reload);
        if let (Some(file), None, None) = (reloaded, &reload.signal, &reload.exec) {
            self.errors.push(
                Diagnostic::error("F002", file.on_change.place, "this file is to be reloaded, and nothing says how")
                    .help("add `reload: {signal: HUP}` or `reload: {exec: [...]}` to the service; `on_change: nothing` is for a process that looks by itself"),
            );
        }
        reload
    }

    /// Waves name hosts and groups; from here on, hosts.
    fn waves(&mut self, mut rollout: Rollout, node: &Node) -> Rollout {
        for wave in &mut rollout.waves {
            let mut hosts = Vec::new();
            for name in wave.iter() {
                match self.tree.groups.hosts(&self.tree.site, name) {
                    Ok(named) => hosts.extend(named.iter().map(ToString::to_string)),
                    Err(help) => {
                        let place = node.get("rollout").map_or(node.place, |rollout| rollout.place);
                        let message = format!("`rollout.waves` names `{name}`, which is neither a host nor a group");
                        self.errors.push(Diagnostic::error("R001", place, message).maybe_help(help));
                    }
                }
            }
            *wave = hosts;
        }
        rollout
    }

    fn dependencies(
        &self,
        written: &BTreeMap<String, At<WrittenDependency>>,
    ) -> BTreeMap<String, crate::model::desired::Dependency> {
        let on_job = |name: &str| self.tree.site.jobs.contains_key(name);
        written.iter().map(|(name, at)| (name.clone(), at.value.resolve(on_job(name)))).collect()
    }
}

/// Takes a value over; true where another one is there already.
fn differs<T: Clone + PartialEq>(slot: &mut Option<T>, value: Option<&T>) -> bool {
    match (slot.as_ref(), value) {
        (Some(there), Some(value)) => there != value,
        (None, Some(value)) => {
            *slot = Some(value.clone());
            false
        }
        (_, None) => false,
    }
}

/// Output that does not fill the disk, where the site says nothing of it.
fn default_logging() -> Logging {
    let options = [("max-size", "50m"), ("max-file", "3")];
    Logging {
        driver: "json-file".to_owned(),
        options: options.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
    }
}

/// A path without `.` and `..`, by its text alone.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            other => out.push(other),
        }
    }
    out
}

/// The value of a line of an env_file: quotes around it are taken away, a comment after it is not part of it.
fn unquoted(value: &str) -> String {
    let value = value.trim();
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            let inner = inner.0;
            return if quote == '"' { inner.replace("\\n", "\n").replace("\\\\", "\\") } else { inner.to_owned() };
        }
    }
    value.split(" #").next().unwrap_or(value).trim_end().to_owned()
}

/// Keys of a service that its jobs do not inherit with `like`.
const NOT_INHERITED: [&str; 16] = [
    "container_name",
    "restart",
    "post_start",
    "pre_stop",
    "ready",
    "rollout",
    "reload",
    "unhealthy",
    "drift",
    "hosts",
    "depends_on",
    "ports",
    "healthcheck",
    "expose",
    "variants",
    "hold_unless",
];

/// Lays a job over the service that it is like.
pub fn over_service(service: &Node, job: &Node) -> Node {
    let mut base = service.clone();
    if let crate::parse::node::Value::Mapping(mapping) = &mut base.value {
        let taken: BTreeSet<&str> = NOT_INHERITED.into_iter().collect();
        mapping.retain(|key, _| !taken.contains(key.as_str()));
        // What a job has its image do is not a variation of what its service does, but something else.
        if job.get("kolla").is_some() {
            mapping.shift_remove("kolla");
        }
    }
    crate::parse::container::over_defaults(&base, job)
}
