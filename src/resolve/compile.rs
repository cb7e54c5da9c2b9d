//! From paths to what a host should have: the entry point.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::change::ChangeDesired;
use crate::model::desired::{HostDesired, RegistryLogin};
use crate::model::facts::{SiteFacts, Waits};
use crate::model::names::{HostName, NetworkName, RoleName, ServiceName, VolumeName};
use crate::model::network::{NetworkSpec, VolumeSpec};
use crate::model::procedure::Behaviour;
use crate::model::secret::Sensitive;
use crate::parse::container::over_defaults;
use crate::parse::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::parse::keys::ours::{JOB, SERVICE};
use crate::parse::node::Node;
use crate::parse::shape::{self, Shape};
use crate::parse::site::{Connection, Written};
use crate::parse::source::{Place, Sources};
use crate::port::site_files::SiteFiles;

use super::addresses;
use super::check;
use super::expand::{Expander, needs};
use super::filesets::ReadFileset;
use super::hosts::choose;
use super::instance::over_service;
use super::layered::LayeredFile;
use super::reader::SiteReader;
use super::scope::Scope;
use super::secrets::read_secrets;
use super::tree::{Tree, read};

/// What to compile, and all that the outcome depends on besides the files.
#[derive(Clone, Default)]
pub struct CompileRequest {
    /// As given with `-f`.
    pub paths: Vec<PathBuf>,
    /// As given with `--host`.
    pub host: Option<String>,
    /// Name of this machine.
    pub hostname: String,
    /// As given with `-e`.
    pub extra_vars: Vec<(String, String)>,
    /// The process's environment: secrets and configs may come from it, and `PWD` makes relative paths absolute.
    pub environment: BTreeMap<String, String>,
    /// Directories of roles besides the site's own, as given with `--roles`.
    pub role_directories: Vec<PathBuf>,
    /// Key of the hashes.
    pub site_key: Vec<u8>,
    /// What is known of the machines.
    pub facts: Arc<SiteFacts>,
    /// Whether something is made up for machines of which nothing is known: for those who only want to know whether the
    /// site can be compiled, and what of.
    pub assume_facts: bool,
}

impl std::fmt::Debug for CompileRequest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Environment, variables and key may hold secrets.
        formatter
            .debug_struct("CompileRequest")
            .field("paths", &self.paths)
            .field("host", &self.host)
            .field("hostname", &self.hostname)
            .finish_non_exhaustive()
    }
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// What the host should have; generation 0.
    pub desired: HostDesired,
    /// How its engine is reached.
    pub connection: Connection,
    /// What paths of the connection are relative to.
    pub directory: PathBuf,
    /// All hosts of the site in the order of the file.
    pub hosts: Vec<HostName>,
    /// What is odd, though it can be used.
    pub warnings: Diagnostics,
    /// All texts, for snippets.
    pub sources: Sources,
    /// All files that were read or asked for: what to watch.
    pub files: Vec<PathBuf>,
    /// Files that were put together from layers.
    pub layered: Vec<LayeredFile>,
    /// Files that hold a secret as it is: nobody publishes them.
    pub private: Vec<PathBuf>,
    /// Whether machines have to be asked what they are.
    pub needs_facts: bool,
    /// Addresses that no machine has for its own.
    pub moving: BTreeSet<IpAddr>,
}

/// Compiles the site for one host.
pub fn compile(request: &CompileRequest, files: &dyn SiteFiles) -> Result<Compiled, Diagnostics> {
    let tree = read(request, files)?;
    match choose(&tree.site, request.host.as_deref(), &request.hostname) {
        Ok(host) => {
            let mut errors = tree.errors.clone();
            let (compiled, sources) = compile_host(&tree, &host, request, files, &mut errors);
            finish(compiled.into_iter().collect(), sources, errors)?.pop().ok_or_else(Diagnostics::default)
        }
        Err(error) => {
            // Whatever else is wrong comes along; if nothing is, the host is.
            let errors = tree.errors.iter().cloned().chain([error]).collect();
            Err(Diagnostics::new(tree.sources, errors))
        }
    }
}

/// Compiles the site for all its hosts: what `validate` does.
pub fn compile_all(request: &CompileRequest, files: &dyn SiteFiles) -> Result<Vec<Compiled>, Diagnostics> {
    let mut tree = read(request, files)?;
    let mut errors = tree.errors.clone();
    if let Err(error) = choose(&tree.site, None, "").map(drop)
        && tree.site.hosts.is_empty()
    {
        errors.push(error);
    }
    let mut all = Vec::new();
    let hosts: Vec<HostName> = tree.site.hosts.keys().cloned().collect();
    for host in hosts {
        let (compiled, sources) = compile_host(&tree, &host, request, files, &mut errors);
        all.extend(compiled);
        tree.sources = sources;
    }
    finish(all, tree.sources, errors)
}

fn finish(compiled: Vec<Compiled>, sources: Sources, errors: Vec<Diagnostic>) -> Result<Vec<Compiled>, Diagnostics> {
    let found = Diagnostics::new(sources, errors);
    if found.has_errors() {
        return Err(found);
    }
    Ok(compiled
        .into_iter()
        .map(|one| Compiled { warnings: found.clone(), sources: found.sources().clone(), ..one })
        .collect())
}

/// Compiles one host; its parts are in the other modules of this room.
pub struct HostCompiler<'a> {
    /// The site.
    pub tree: &'a Tree,
    /// What was asked.
    pub request: &'a CompileRequest,
    /// Files.
    pub reader: &'a SiteReader<'a>,
    /// How the engine is reached.
    pub connection: Connection,
    /// What templates see, and which they may include: the site's own, or those of the role at hand.
    pub scope: Scope,
    /// The scopes that are not in use, by role; the site's own is nobody's.
    pub scopes: BTreeMap<Option<RoleName>, Scope>,
    /// The host.
    pub host: HostName,
    /// The service or job at hand.
    pub subject: String,
    /// Files that were put together from layers.
    pub layered: Vec<LayeredFile>,
    /// Sections of the site with their expressions evaluated.
    pub sections: BTreeMap<&'static str, Node>,
    /// Secrets.
    pub secrets: BTreeMap<String, Sensitive>,
    /// Networks that something on this host needs.
    pub networks: BTreeMap<NetworkName, NetworkSpec>,
    /// Volumes that something on this host needs.
    pub volumes: BTreeMap<VolumeName, VolumeSpec>,
    /// Fields of the service at hand that hold a secret on purpose.
    pub exposed: BTreeSet<String>,
    /// What roles say of services of this host beyond their containers.
    pub behaviours: BTreeMap<ServiceName, Behaviour>,
    /// Files of it that are born at run time.
    pub filesets: Vec<ReadFileset>,
    /// What waits for facts.
    pub waits: Waits,
    /// All texts.
    pub sources: Sources,
    /// What is wrong.
    pub errors: Vec<Diagnostic>,
}

impl std::fmt::Debug for HostCompiler<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("HostCompiler")
    }
}

fn compile_host(
    tree: &Tree,
    host: &HostName,
    request: &CompileRequest,
    files: &dyn SiteFiles,
    errors: &mut Vec<Diagnostic>,
) -> (Option<Compiled>, Sources) {
    let reader = SiteReader::new(files, tree.directory.clone());
    let connection = tree.site.hosts.get(host).map_or(Connection::Local, |host| host.connection.clone());
    let secrets = read_secrets(tree, request, &reader, errors);
    let (scope, mut wrong) = Scope::new(tree, host, request, None, &secrets);
    let mut compiler = HostCompiler {
        tree,
        request,
        reader: &reader,
        connection: connection.clone(),
        scope,
        scopes: BTreeMap::new(),
        host: host.clone(),
        subject: String::new(),
        layered: Vec::new(),
        sections: BTreeMap::new(),
        secrets,
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        exposed: BTreeSet::new(),
        behaviours: BTreeMap::new(),
        filesets: Vec::new(),
        waits: Waits::default(),
        sources: tree.sources.clone(),
        errors: Vec::new(),
    };
    for (_, source) in tree.sources.iter() {
        reader.note(&source.path, source.text.as_bytes());
    }
    compiler.errors.append(&mut wrong);
    compiler.expand_sections();
    compiler.read_filesets();
    let (services, jobs) = compiler.build(host);
    let procedures = compiler.procedures(&services);
    let filesets = compiler.filesets_of(host);
    let (services, jobs) = compiler.hold_back_all(services, jobs);
    check::host(&services, &jobs, &mut compiler.errors);
    let registries = compiler.registries();
    let (mut services, mut jobs) = (services, jobs);
    compiler.volumes_from(&mut services);
    compiler.share_namespaces(&mut services, &mut jobs);
    let changes = compiler.changes(&mut services, &mut jobs);
    let mut asked = tree.files.clone();
    asked.extend(reader.asked());
    asked.sort();
    asked.dedup();
    let placement = placement(tree, host, &services, &jobs, &changes);
    let outcome = Compiled {
        desired: HostDesired {
            site: tree.site.name.clone(),
            host: host.clone(),
            generation: 0,
            source_digest: reader.digest(),
            services: services
                .into_iter()
                .map(|built| (built.desired.service.clone(), Arc::new(built.desired)))
                .collect(),
            jobs: jobs.into_iter().map(|built| (built.desired.job.clone(), Arc::new(built.desired))).collect(),
            networks: std::mem::take(&mut compiler.networks),
            volumes: std::mem::take(&mut compiler.volumes),
            registries,
            sync: tree.site.sync.clone(),
            placement,
            budgets: super::hosts::budgets(&tree.site, &tree.groups, host),
            behaviours: std::mem::take(&mut compiler.behaviours),
            procedures,
            changes,
            filesets,
            waits: std::mem::take(&mut compiler.waits),
            secrets: compiler.secrets.values().cloned().collect(),
        },
        connection,
        directory: tree.directory.clone(),
        hosts: tree.site.hosts.keys().cloned().collect(),
        warnings: Diagnostics::default(),
        sources: Sources::default(),
        files: asked,
        layered: std::mem::take(&mut compiler.layered),
        private: reader.private(),
        needs_facts: tree.needs_facts || !request.facts.is_empty(),
        moving: addresses::moving(&tree.site),
    };
    let outcome = Compiled { needs_facts: outcome.needs_facts || !outcome.desired.waits.is_empty(), ..outcome };
    let failed = compiler.errors.iter().any(|error| error.severity == Severity::Error);
    errors.append(&mut compiler.errors);
    (Some(outcome).filter(|_| !failed), compiler.sources)
}

/// Where else the services and jobs of a host are, and those that they depend on.
fn placement(
    tree: &Tree,
    host: &HostName,
    services: &[super::instance::Built<crate::model::desired::InstanceDesired>],
    jobs: &[super::instance::Built<crate::model::desired::JobDesired>],
    changes: &[Arc<ChangeDesired>],
) -> BTreeMap<String, Vec<HostName>> {
    let of_services = services.iter().map(|built| (built.desired.service.as_str(), &built.desired.depends_on));
    let of_jobs = jobs.iter().map(|built| (built.desired.job.as_str(), &built.desired.depends_on));
    let names: BTreeSet<&str> = of_services
        .chain(of_jobs)
        .flat_map(|(name, needs)| std::iter::once(name).chain(needs.keys().map(String::as_str)))
        .chain(changes.iter().flat_map(|change| change.steps.iter().map(|step| step.what.name())))
        .collect();
    let placed = |name: &str| tree.services.get(name).or_else(|| tree.jobs.get(name));
    names
        .into_iter()
        .filter_map(|name| Some((name, placed(name)?)))
        .filter(|(_, hosts)| hosts.iter().any(|other| other != host))
        .map(|(name, hosts)| (name.to_owned(), hosts.clone()))
        .collect()
}

/// One newline at the end is the editor's, not the password's.
pub(super) fn without_newline(secret: &Sensitive) -> Sensitive {
    let bytes = secret.expose();
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    Sensitive::new(bytes.strip_suffix(b"\r").unwrap_or(bytes))
}

impl HostCompiler<'_> {
    /// A section of the site with its expressions evaluated.
    pub fn spec(&self, section: &str) -> Option<&Node> {
        self.sections.get(section)
    }

    fn expand_sections(&mut self) {
        for section in ["networks", "volumes", "configs", "secrets", "images"] {
            let Some(node) = self.tree.site.spec.get(section) else { continue };
            // Contents of configs are rendered like files, and secrets are not templates.
            let node = if needs(node) && !matches!(section, "configs" | "secrets") {
                let mut expander = Expander::new(&self.scope.templates, &self.scope.context, &self.sources);
                let outcome = expander.expand(node, &format!("spec.{section}"));
                for (path, place) in &expander.secrets {
                    self.errors.push(exposed(path, *place, false));
                }
                self.errors.append(&mut expander.errors);
                outcome
            } else {
                node.clone()
            };
            self.sections.insert(section, node);
        }
    }

    fn build(
        &mut self,
        host: &HostName,
    ) -> (
        Vec<super::instance::Built<crate::model::desired::InstanceDesired>>,
        Vec<super::instance::Built<crate::model::desired::JobDesired>>,
    ) {
        let tree = self.tree;
        let mut services = Vec::new();
        for (name, written) in &tree.site.services {
            if !tree.services.get(name).is_some_and(|hosts| hosts.contains(host)) || self.is_broken(written) {
                continue;
            }
            let before = self.errors.len();
            self.enter(written.role.as_ref());
            name.as_str().clone_into(&mut self.subject);
            let node = self.with_defaults(&written.node);
            let node = self.effective(&node, &format!("services.{name}"), written.key_place, &Shape::Object(&SERVICE));
            let built = node.and_then(|mut node| {
                self.name_image(&mut node);
                let built = self.instance(name, written, &node);
                self.behaviour(name, written, &node);
                built
            });
            let missing = self.take_missing(before);
            if missing.is_empty() {
                services.extend(built);
            } else {
                self.behaviours.remove(name);
                self.waits.services.insert(name.clone(), missing);
            }
        }
        let mut jobs = Vec::new();
        for (name, written) in &tree.site.jobs {
            if !tree.jobs.get(name).is_some_and(|hosts| hosts.contains(host)) || self.is_broken(written) {
                continue;
            }
            let before = self.errors.len();
            self.enter(written.role.as_ref());
            name.as_str().clone_into(&mut self.subject);
            let like = written.node.get("like").and_then(Node::as_text).and_then(|like| tree.site.services.get(like));
            let node = match like {
                Some(like) if self.is_broken(like) => continue,
                Some(like) => over_service(&self.with_defaults(&like.node), &written.node),
                None => job_defaults(self.with_defaults(&written.node), &written.node),
            };
            let node = self.effective(&node, &format!("jobs.{name}"), written.key_place, &Shape::Object(&JOB));
            let built = node.and_then(|mut node| {
                self.name_image(&mut node);
                self.job(name, written, &node)
            });
            let missing = self.take_missing(before);
            if missing.is_empty() {
                jobs.extend(built);
            } else {
                self.waits.jobs.insert(name.clone(), missing);
            }
        }
        self.enter(None);
        (services, jobs)
    }

    fn with_defaults(&self, node: &Node) -> Node {
        let empty;
        let node = if node.as_mapping().is_some() {
            node
        } else {
            empty = Node::empty_mapping(node.place, node.layer);
            &empty
        };
        match &self.tree.site.defaults {
            Some(defaults) if defaults.as_mapping().is_some() => over_defaults(defaults, node),
            _ => node.clone(),
        }
    }

    /// Evaluates expressions, and checks the outcome where there were any.
    pub(super) fn effective(&mut self, node: &Node, path: &str, key: Place, shape: &Shape) -> Option<Node> {
        self.exposed.clear();
        if !needs(node) {
            return Some(node.clone());
        }
        let mut expander = Expander::new(&self.scope.templates, &self.scope.context, &self.sources);
        let outcome = expander.expand(node, path);
        let exposes = node.get("expose_secrets").and_then(Node::as_text) == Some("true");
        for (at, place) in &expander.secrets {
            let field = at.strip_prefix(path).unwrap_or(at).trim_start_matches('.');
            let visible = ["environment", "command", "entrypoint", "labels", "annotations", "healthcheck"];
            let allowed = exposes && visible.iter().any(|key| field.starts_with(key));
            if allowed {
                self.exposed.insert(setting(field, &outcome));
            } else {
                self.errors.push(exposed(field, *place, exposes));
            }
        }
        let before = self.errors.len();
        let mut wrong = Vec::new();
        shape::check(&outcome, key, shape, &mut wrong);
        // What could not be evaluated is missing now, which is no second error.
        let within = |inner: Place, outer: Place| {
            inner.file == outer.file && inner.start >= outer.start && inner.end <= outer.end
        };
        wrong.retain(|error| {
            let unknown = expander.errors.iter().filter_map(|other| other.place);
            error.place.is_none_or(|place| !unknown.into_iter().any(|inner| within(inner, place)))
        });
        self.errors.append(&mut expander.errors);
        self.errors.append(&mut wrong);
        (self.errors.len() == before).then_some(outcome)
    }

    /// Whether errors have been found inside a service already, so that reading on would only repeat them.
    fn is_broken(&self, written: &Written) -> bool {
        let own = written.node.place;
        self.tree
            .errors
            .iter()
            .filter(|error| error.severity == Severity::Error && error.code != "R001" && error.code != "R002")
            .any(|error| {
                error.place.is_some_and(|place| {
                    place == written.key_place
                        || place.file == own.file && place.start >= own.start && place.start < own.end
                })
            })
    }

    fn registries(&mut self) -> BTreeMap<String, RegistryLogin> {
        let mut logins = BTreeMap::new();
        let Some(auth) = self.spec("images").and_then(|images| images.get("auth")).cloned() else { return logins };
        for (registry, entry) in auth.entries() {
            let username = entry.value.get("username").and_then(Node::as_text);
            let secret = entry.value.get("password").and_then(|password| password.get("secret"));
            let (Some(username), Some(secret)) = (username, secret) else { continue };
            let Some(name) = secret.as_text() else { continue };
            match self.secrets.get(name).map(without_newline) {
                Some(password) => {
                    logins.insert(registry.to_owned(), RegistryLogin { username: username.to_owned(), password });
                }
                None if self.spec("secrets").is_none_or(|secrets| secrets.get(name).is_none()) => {
                    self.unknown("secret", "secrets", name, secret.place);
                }
                None => {}
            }
        }
        logins
    }

    /// `volumes_from` names services, and the engine wants containers.
    fn volumes_from(&mut self, services: &mut [super::instance::Built<crate::model::desired::InstanceDesired>]) {
        let names: BTreeMap<String, String> = services
            .iter()
            .map(|built| (built.desired.service.as_str().to_owned(), built.desired.container_name.as_str().to_owned()))
            .collect();
        for built in services.iter_mut().filter(|built| !built.volumes_from.is_empty()) {
            let mut from = std::collections::BTreeSet::new();
            for wanted in &built.volumes_from {
                let (name, mode) = wanted.value.split_once(':').unwrap_or((&wanted.value, ""));
                match names.get(name) {
                    Some(container) if matches!(mode, "" | "rw") => drop(from.insert(container.clone())),
                    Some(container) if mode == "ro" => drop(from.insert(format!("{container}:ro"))),
                    Some(_) => self.errors.push(Diagnostic::error(
                        "V002",
                        wanted.place,
                        format!("`{mode}` is neither `ro` nor `rw`"),
                    )),
                    None => self.errors.push(
                        Diagnostic::error("R001", wanted.place, format!("`{name}` is no service of this host"))
                            .maybe_help(crate::parse::suggest::did_you_mean(name, names.keys().map(String::as_str))),
                    ),
                }
            }
            built.desired.settings.volumes_from = Some(from);
            crate::render::seal::seal_instance(&mut built.desired, &self.request.site_key);
        }
    }
}

/// The setting that a field belongs to: `environment.NAME` in either syntax, otherwise the key of the service.
fn setting(field: &str, node: &Node) -> String {
    let (key, rest) = field.split_at(field.find(['.', '[']).unwrap_or(field.len()));
    let index = rest.strip_prefix('[').and_then(|rest| rest.split(']').next()?.parse::<usize>().ok());
    let listed =
        index.and_then(|index| node.get(key)?.items().get(index)?.as_text()?.split_once('=').map(|(name, _)| name));
    match (key, listed, rest.strip_prefix('.')) {
        ("environment" | "labels" | "annotations", Some(name), _) => format!("{key}.{name}"),
        ("environment" | "labels" | "annotations", None, Some(name)) => format!("{key}.{name}"),
        _ => key.to_owned(),
    }
}

/// A job takes no restart policy or hooks from `defaults.container`.
fn job_defaults(mut merged: Node, own: &Node) -> Node {
    if let crate::parse::node::Value::Mapping(mapping) = &mut merged.value {
        for key in ["restart", "post_start", "pre_stop"] {
            if own.get(key).is_none() {
                mapping.shift_remove(key);
            }
        }
    }
    merged
}

/// A secret where everybody with access to the engine would read it.
fn exposed(field: &str, place: Place, allowed_elsewhere: bool) -> Diagnostic {
    let key = field.split(['.', '[']).next().unwrap_or(field);
    let error = Diagnostic::error("S001", place, format!("a secret would be seen in `{key}` by everybody who may ask the engine"))
        .label("it holds a secret")
        .help("let the process read it from a file: `secrets: [NAME]` puts it at /run/secrets/NAME, and many images take NAME_FILE=/run/secrets/NAME; or write a file with `files`");
    if allowed_elsewhere {
        error
    } else {
        error.help("`expose_secrets: true` allows it for this service, where an image knows no other way")
    }
}
