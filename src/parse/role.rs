//! A role, typed: what it declares stays a tree until it is placed in a site.

use std::path::PathBuf;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::model::names::RoleName;

use super::diagnostic::Diagnostic;
use super::node::Node;
use super::read::{At, Reader};
use super::site::Written;
use super::source::Place;
use super::suggest::did_you_mean;

/// A role.
#[derive(Debug)]
pub struct Role {
    /// Its name.
    pub name: RoleName,
    /// Its version.
    pub version: Option<String>,
    /// What it is, in one line.
    pub description: Option<String>,
    /// Its folder.
    pub directory: PathBuf,
    /// Its variables.
    pub vars: IndexMap<String, Declared>,
    /// The secrets that it needs.
    pub secrets: IndexMap<String, NeededSecret>,
    /// Roles that come along.
    pub includes: Vec<At<String>>,
    /// Networks of the engine.
    pub networks: IndexMap<String, Written>,
    /// Named volumes.
    pub volumes: IndexMap<String, Written>,
    /// Services.
    pub services: IndexMap<String, Written>,
    /// Jobs.
    pub jobs: IndexMap<String, Written>,
    /// Files that are born at run time.
    pub filesets: IndexMap<String, Written>,
    /// What others reach.
    pub provides: IndexMap<String, Written>,
    /// Kinds of objects that it keeps for others.
    pub providers: IndexMap<String, Written>,
    /// Objects that others keep for it.
    pub objects: IndexMap<String, Written>,
    /// Questions whose answers are values.
    pub probes: IndexMap<String, Written>,
    /// What is done about a service as a whole.
    pub procedures: IndexMap<String, Written>,
    /// What a change means.
    pub changes: IndexMap<String, Written>,
}

/// A role as it is used in a site.
#[derive(Debug)]
pub struct RoleUse {
    /// The role.
    pub role: Arc<Role>,
    /// What it is called here.
    pub name: RoleName,
    /// Where the site names it.
    pub place: Place,
    /// Variables for this use alone.
    pub vars: Option<Node>,
    /// Names of its services, jobs, objects and volumes here, by those that the role gives them.
    pub names: IndexMap<String, String>,
    /// What the site leaves out.
    pub without: Vec<String>,
}

impl RoleUse {
    /// What something of the role is called in this use of it.
    pub fn name_of(&self, own: &str) -> String {
        self.names.get(own).cloned().unwrap_or_else(|| own.to_owned())
    }
}

/// A variable of a role.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Where its name is.
    pub place: Place,
    /// Its type, one of [`super::keys::role::TYPES`].
    pub kind: String,
    /// Its default.
    pub default: Option<Node>,
    /// What it is for.
    pub help: Option<String>,
    /// Whether the site has to set it.
    pub required: bool,
    /// The only values that it may have.
    pub choices: Vec<String>,
    /// The least number.
    pub minimum: Option<i64>,
    /// The largest number.
    pub maximum: Option<i64>,
    /// What all of its text must match.
    pub pattern: Option<String>,
}

/// A secret that a role needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededSecret {
    /// Where its name is.
    pub place: Place,
    /// How it is made, one of [`super::keys::role::GENERATORS`].
    pub generate: String,
    /// Its length, where the kind has one.
    pub length: Option<usize>,
    /// What it is for.
    pub help: Option<String>,
}

/// Reads a role whose shape has been checked. None where it has no name.
pub fn read_role(root: &Node, directory: PathBuf, r: &mut Reader) -> Option<Role> {
    let metadata = root.get("metadata")?;
    let name =
        r.scalar(metadata, "name", |s| RoleName::new(s.text.as_str()).map_err(|why| format!("`{}`: {why}", s.text)))?;
    if let (Some(folder), Some(node)) = (directory.file_name(), metadata.get("name"))
        && folder.to_string_lossy() != name.as_str()
    {
        let message = format!("the role `{name}` lies in the folder `{}`", folder.to_string_lossy());
        r.error(Diagnostic::error("N001", node.place, message).help("a role is found by its folder: name both alike"));
    }
    let empty = Node::empty_mapping(root.place, root.layer);
    let spec = root.get("spec").unwrap_or(&empty);
    let role = Role {
        version: r.text(metadata, "version"),
        description: r.text(metadata, "description"),
        directory,
        vars: spec
            .get("vars")
            .into_iter()
            .flat_map(Node::entries)
            .map(|(key, entry)| (key.to_owned(), declared(&entry.value, entry.key_place, r)))
            .collect(),
        secrets: spec
            .get("secrets")
            .into_iter()
            .flat_map(Node::entries)
            .map(|(key, entry)| (key.to_owned(), needed(&entry.value, entry.key_place, r)))
            .collect(),
        includes: r.texts_at(spec, "includes"),
        networks: section(spec, "networks"),
        volumes: section(spec, "volumes"),
        services: section(spec, "services"),
        jobs: section(spec, "jobs"),
        filesets: section(spec, "filesets"),
        provides: section(spec, "provides"),
        providers: section(spec, "providers"),
        objects: section(spec, "objects"),
        probes: section(spec, "probes"),
        procedures: section(spec, "procedures"),
        changes: section(spec, "changes"),
        name,
    };
    check(&role, r);
    Some(role)
}

fn section(spec: &Node, name: &str) -> IndexMap<String, Written> {
    spec.get(name)
        .into_iter()
        .flat_map(Node::entries)
        .map(|(key, entry)| (key.to_owned(), Written::new(entry.key_place, entry.value.clone())))
        .collect()
}

fn declared(node: &Node, place: Place, r: &mut Reader) -> Declared {
    Declared {
        place,
        kind: r.text(node, "type").unwrap_or_default(),
        // A default of null is a default.
        default: node.as_mapping().and_then(|mapping| mapping.get("default")).map(|entry| entry.value.clone()),
        help: r.text(node, "help"),
        required: r.boolean(node, "required").unwrap_or(false),
        choices: r.texts(node, "choices").unwrap_or_default(),
        minimum: r.integer(node, "minimum"),
        maximum: r.integer(node, "maximum"),
        pattern: r.text(node, "pattern"),
    }
}

fn needed(node: &Node, place: Place, r: &mut Reader) -> NeededSecret {
    NeededSecret {
        place,
        generate: r.text(node, "generate").unwrap_or_else(|| "password".to_owned()),
        length: r.integer(node, "length").and_then(|length| usize::try_from(length).ok()),
        help: r.text(node, "help"),
    }
}

/// What must hold inside of a role.
fn check(role: &Role, r: &mut Reader) {
    for (name, written) in role.services.iter().chain(&role.jobs) {
        if let Some(hosts) = written.node.get("hosts") {
            let error = Diagnostic::error("K002", hosts.place, format!("`{name}` names hosts, and a role knows none"));
            r.error(error.help("the site places it: `roles: [{role: NAME, hosts: [...], place: {SERVICE: [...]}}]`"));
        }
    }
    for (name, declared) in &role.vars {
        if declared.required && declared.default.is_some() {
            let message = format!("`{name}` is required and has a default, and only one of both can count");
            r.error(Diagnostic::error("V003", declared.place, message));
        }
    }
    for (name, written) in &role.provides {
        let Some(node) = written.node.get("service") else { continue };
        let Some(service) = node.as_text().filter(|service| !role.services.contains_key(*service)) else { continue };
        let error = Diagnostic::error(
            "R001",
            node.place,
            format!("`{name}` is provided by `{service}`, which is no service of this role"),
        );
        r.error(error.maybe_help(did_you_mean(service, role.services.keys().map(String::as_str))));
    }
    for (name, written) in &role.objects {
        let Some(node) = written.node.get("provider") else { continue };
        if node.as_text().is_some_and(|text| text.split('/').count() != 2) {
            let message = format!("the provider of `{name}` is not written as ROLE/KIND");
            r.error(Diagnostic::error("V002", node.place, message).help("as in `provider: mariadb/database`"));
        }
    }
}
