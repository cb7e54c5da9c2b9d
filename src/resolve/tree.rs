//! A site as far as it is the same for all hosts: read, checked, with groups and placements worked out.

use std::path::PathBuf;
use std::sync::OnceLock;

use indexmap::IndexMap;

use crate::model::names::{HostName, JobName, ServiceName};
use crate::parse::diagnostic::{Diagnostic, Diagnostics};
use crate::parse::keys::site::SITE;

use crate::parse::node::Node;
use crate::parse::read::Reader;
use crate::parse::shape;
use crate::parse::site::{Site, read_site};
use crate::parse::source::{Place, Sources};
use crate::parse::suggest::did_you_mean;
use crate::port::site_files::SiteFiles;
use crate::render::variables::SharedData;

use super::addresses;
use super::changes::{self, SiteChange};
use super::compile::CompileRequest;
use super::hosts::Groups;
use super::load::{Loaded, load};
use super::namespaces;
use super::roles;
use super::roles::facts::{Facts, facts};
use super::roles::find::{Finder, search_path};
use super::variables::{SiteData, check_names};

/// A site, read.
#[derive(Debug)]
pub struct Tree {
    /// What it declares.
    pub site: Site,
    /// Who belongs where.
    pub groups: Groups,
    /// Hosts of each service.
    pub services: IndexMap<ServiceName, Vec<HostName>>,
    /// Hosts of each job.
    pub jobs: IndexMap<JobName, Vec<HostName>>,
    /// What changes of its roles mean.
    pub changes: Vec<SiteChange>,
    /// All texts.
    pub sources: Sources,
    /// What relative paths are relative to.
    pub directory: PathBuf,
    /// The site's own files.
    pub files: Vec<PathBuf>,
    /// What is wrong so far.
    pub errors: Vec<Diagnostic>,
    /// Whether addresses are not declared, so that machines have to be asked for them.
    pub needs_facts: bool,
    /// What roles know of each other; worked out when it is first asked for.
    facts: OnceLock<Facts>,
    data: OnceLock<SiteData>,
    known: OnceLock<SharedFacts>,
}

/// What roles know of each other, as templates see it.
#[derive(Debug)]
pub struct SharedFacts {
    /// `placement`.
    pub placement: SharedData,
    /// `endpoints`.
    pub endpoints: SharedData,
    /// `provides`.
    pub provides: SharedData,
}

impl Tree {
    /// What roles know of each other.
    pub fn facts(&self, request: &CompileRequest) -> &Facts {
        self.facts.get_or_init(|| facts(self, request))
    }

    /// The same for templates.
    pub fn shared_facts(&self, request: &CompileRequest) -> &SharedFacts {
        self.known.get_or_init(|| {
            let facts = self.facts(request);
            SharedFacts {
                placement: SharedData::new(&facts.placement),
                endpoints: SharedData::new(&facts.endpoints),
                provides: SharedData::new(&facts.provides),
            }
        })
    }

    /// What templates of all hosts see alike.
    pub fn data(&self) -> &SiteData {
        self.data.get_or_init(|| SiteData::new(&self.site, &self.groups))
    }
}

/// Reads a site. Only what leaves nothing to go on with is an `Err`; everything else is in `errors`.
pub fn read(request: &CompileRequest, files: &dyn SiteFiles) -> Result<Tree, Diagnostics> {
    let Loaded { root, mut sources, directory, files: read, mut errors } = load(&request.paths, files)?;
    shape::check(&root, root.place, &crate::parse::shape::Shape::Object(&SITE), &mut errors);
    let mut reader = Reader::default();
    let site = read_site(&root, &mut reader);
    errors.append(&mut reader.errors);
    let Some(mut site) = site else { return Err(Diagnostics::new(sources, errors)) };
    if site.spec.get("roles").is_some() {
        let directories = search_path(Some(&directory), &request.role_directories);
        roles::add(&mut site, &mut Finder::new(files, directories, &mut sources), &mut errors);
        roles::objects::add(&mut site, &mut errors);
        super::layered::check(&site, &directory, files, &mut errors);
    }
    let needs_facts = addresses::derive(&mut site, &request.facts, request.assume_facts);
    let site = site;
    let groups = Groups::new(&site, &mut errors);
    check_names(&site, &request.extra_vars, &mut errors);
    let services = site.services.iter().map(|(name, written)| {
        let what = format!("the service `{name}`");
        (name.clone(), groups.placement(&site, &written.node, written.key_place, &what, &mut errors))
    });
    let services: IndexMap<ServiceName, Vec<HostName>> = services.collect();
    let jobs = site.jobs.iter().map(|(name, written)| {
        let like = written.node.get("like").and_then(Node::as_text).and_then(|like| services.get(like));
        let hosts = match (like, written.node.get("hosts")) {
            (Some(hosts), None) => hosts.clone(),
            _ => groups.placement(&site, &written.node, written.key_place, &format!("the job `{name}`"), &mut errors),
        };
        // What has to be done once is pinned to the first host: who does it must not depend on who can be reached.
        let once = written.node.get("run").and_then(Node::as_text) != Some("each");
        let most = if once { 1 } else { hosts.len() };
        (name.clone(), hosts.into_iter().take(most).collect())
    });
    let jobs = jobs.collect();
    check_references(&site, &mut errors);
    for (name, entry) in site.spec.get("budgets").into_iter().flat_map(Node::entries) {
        if let Err(help) = groups.hosts(&site, name) {
            let message = format!("`budgets` names `{name}`, which is neither a host nor a group");
            errors.push(Diagnostic::error("R001", entry.key_place, message).maybe_help(help));
        }
    }
    let changes = changes::read(&site, &mut errors);
    check_cycles(&site, &changes, &mut errors);
    Ok(Tree {
        site,
        groups,
        services,
        jobs,
        changes,
        sources,
        directory,
        files: read,
        errors,
        needs_facts,
        facts: OnceLock::new(),
        data: OnceLock::new(),
        known: OnceLock::new(),
    })
}

/// Names in `depends_on`, with their places.
fn dependencies(node: &Node) -> Vec<(&str, Place)> {
    let Some(depends_on) = node.get("depends_on") else { return Vec::new() };
    let listed =
        depends_on.as_sequence().unwrap_or_default().iter().filter_map(|item| Some((item.as_text()?, item.place)));
    let mapped = depends_on.entries().map(|(name, entry)| (name, entry.key_place));
    listed.chain(mapped).collect()
}

fn check_references(site: &Site, errors: &mut Vec<Diagnostic>) {
    let known = || site.services.keys().map(ServiceName::as_str).chain(site.jobs.keys().map(JobName::as_str));
    for (name, job) in &site.jobs {
        if let Some(service) = site.services.get(name.as_str()) {
            let error = Diagnostic::error(
                "R003",
                job.key_place,
                format!("`{name}` is a service already, and cannot be a job as well"),
            );
            errors.push(error.also(service.key_place, "the service"));
        }
        for (key, at) in [
            ("like", job.node.get("like")),
            ("done_when.service", job.node.get("done_when").and_then(|n| n.get("service"))),
        ] {
            let Some((at, wanted)) = at.and_then(|at| Some((at, at.as_text()?))) else { continue };
            if !site.services.contains_key(wanted) {
                errors.push(
                    Diagnostic::error("R001", at.place, format!("`{key}` names `{wanted}`, which is no service"))
                        .maybe_help(did_you_mean(wanted, site.services.keys().map(ServiceName::as_str))),
                );
            }
        }
    }
    let services = site.services.values();
    for written in services.chain(site.jobs.values()) {
        for (wanted, place) in dependencies(&written.node) {
            if !known().any(|name| name == wanted) {
                errors.push(
                    Diagnostic::error("R001", place, format!("`{wanted}` is neither a service nor a job"))
                        .maybe_help(did_you_mean(wanted, known())),
                );
            }
        }
    }
}

fn check_cycles(site: &Site, changes: &[SiteChange], errors: &mut Vec<Diagnostic>) {
    // Whoever shares the namespaces of another waits for it as well.
    fn needs(node: &Node) -> Vec<(&str, Place)> {
        dependencies(node).into_iter().chain(namespaces::providers(node)).collect()
    }
    let services = site.services.iter().map(|(name, written)| (name.as_str(), needs(&written.node)));
    let jobs = site.jobs.iter().map(|(name, written)| (name.as_str(), needs(&written.node)));
    let mut graph: IndexMap<&str, Vec<(&str, Place)>> = services.chain(jobs).collect();
    for (step, before, place) in changes.iter().flat_map(SiteChange::edges) {
        graph.entry(step).or_default().push((before, place));
    }
    let mut done: Vec<&str> = Vec::new();
    for start in graph.keys() {
        let mut path: Vec<(&str, Place)> = Vec::new();
        walk(start, Place::default(), &graph, &mut path, &mut done, errors);
    }
}

fn walk<'a>(
    name: &'a str,
    place: Place,
    graph: &IndexMap<&'a str, Vec<(&'a str, Place)>>,
    path: &mut Vec<(&'a str, Place)>,
    done: &mut Vec<&'a str>,
    errors: &mut Vec<Diagnostic>,
) {
    if done.contains(&name) {
        return;
    }
    if let Some(start) = path.iter().position(|(other, _)| *other == name) {
        let cycle = path.get(start..).unwrap_or_default();
        let chain: Vec<&str> = cycle.iter().map(|(name, _)| *name).chain(std::iter::once(name)).collect();
        let mut error =
            Diagnostic::error("R002", place, format!("services wait for each other: {}", chain.join(" -> ")));
        for (_, place) in cycle.iter().skip(1) {
            error = error.also(*place, "and this");
        }
        errors.push(error.label("because of this"));
        return;
    }
    path.push((name, place));
    for (next, place) in graph.get(name).into_iter().flatten() {
        walk(next, *place, graph, path, done, errors);
    }
    path.pop();
    done.push(name);
}
