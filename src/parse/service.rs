//! Services and jobs, typed.
//!
//! In: a mapping whose expressions have been evaluated. Out: what it says, with places for whatever the rest of the site
//! has to confirm: hosts, dependencies, files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::certificate::Part;
use crate::model::desired::{Dependency, DependencyTarget, Hook, Hooks, Need, OnFailure, Rollout, Unhealthy};
use crate::model::file::{OnChange, Owner};
use crate::model::job::{DEFAULT_TIMEOUT, JobRun, RECHECK_EVERY, Recheck, Schedule};
use crate::model::probe::{Probe, Readiness};
use crate::model::time::Span;

use super::container::{ContainerSpec, read_container};
use super::diagnostic::Diagnostic;
use super::keys::container::CONTAINER;
use super::kolla::{KollaSpec, read_kolla};
use super::node::{Node, Value};
use super::read::{At, Reader};
use super::scalars;
use super::site::Provided;
use super::source::Place;

/// A service.
#[derive(Clone, Debug)]
pub struct ServiceSpec {
    /// The container.
    pub container: ContainerSpec,
    /// Files.
    pub files: Vec<FileEntry>,
    /// What the start program of one of Kolla's images does.
    pub kolla: Option<KollaSpec>,
    /// `reload` as written for the service as a whole.
    pub reload: crate::model::file::Reload,
    /// Beyond running and healthy.
    pub ready: Option<Readiness>,
    /// How a change proceeds.
    pub rollout: Rollout,
    /// What it waits for, with places.
    pub depends_on: BTreeMap<String, At<WrittenDependency>>,
    /// What an unhealthy container means.
    pub unhealthy: Unhealthy,
    /// Keys whose drift is left alone.
    pub drift_ignore: BTreeSet<String>,
    /// Commands after start and before stop.
    pub hooks: Hooks,
    /// Whether secrets may be seen.
    pub expose_secrets: bool,
}

/// A job.
#[derive(Clone, Debug)]
pub struct JobSpec {
    /// The container.
    pub container: ContainerSpec,
    /// Files.
    pub files: Vec<FileEntry>,
    /// What the start program of one of Kolla's images does.
    pub kolla: Option<KollaSpec>,
    /// Where and how often.
    pub run: JobRun,
    /// What it waits for, with places.
    pub depends_on: BTreeMap<String, At<WrittenDependency>>,
    /// How to find out whether it is done.
    pub done_when: Option<WrittenDoneWhen>,
    /// How to find out whether it still is.
    pub recheck: Option<Recheck>,
    /// How long it may take.
    pub timeout: Span,
    /// By the clock.
    pub schedule: Option<Schedule>,
    /// What else makes it run again.
    pub inputs: serde_json::Value,
    /// Whether secrets may be seen.
    pub expose_secrets: bool,
}

/// A dependency; whether its target is a service or a job is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenDependency {
    /// `condition`, if it was given.
    pub condition: Option<DependencyTarget>,
    /// Whether only the name was given: as in Compose, that waits for a start and not for health.
    pub short: bool,
    /// How many.
    pub need: Need,
    /// Whether a missing one is an obstacle.
    pub required: bool,
    /// Whether to restart after the other was replaced.
    pub restart: bool,
}

impl WrittenDependency {
    /// Once it is known whether it is on a job.
    pub fn resolve(&self, on_job: bool) -> Dependency {
        let default = match (on_job, self.short) {
            (true, _) => DependencyTarget::Done,
            (false, true) => DependencyTarget::Started,
            (false, false) => DependencyTarget::Ready,
        };
        Dependency {
            on: self.condition.unwrap_or(default),
            need: self.need,
            required: self.required,
            restart: self.restart,
        }
    }
}

/// `done_when` as written.
#[derive(Clone, Debug)]
pub enum WrittenDoneWhen {
    /// A probe of a service.
    Service(At<String>, Probe),
    /// A command in a container like the job's.
    Command(Vec<String>),
}

/// A file as written.
#[derive(Clone, Debug)]
pub struct FileEntry {
    /// Where the content comes from.
    pub content: FileContent,
    /// Where it goes, a slash at the end kept.
    pub target: At<String>,
    /// Its name in the directory, if it was given.
    pub name: Option<At<String>>,
    /// Permissions.
    pub mode: u32,
    /// User.
    pub owner: Owner,
    /// Group.
    pub group: Owner,
    /// `template`, if it was given.
    pub template: Option<bool>,
    /// What a change needs.
    pub on_change: At<OnChange>,
    /// Signal of its own `on_change`.
    pub signal: Option<String>,
    /// Command of its own `on_change`.
    pub exec: Option<Vec<String>>,
    /// Check of its own.
    pub validate: Option<Vec<String>>,
    /// How it is laid over others of its kind, if that was said; else the first one found is taken as a whole.
    pub format: Option<Format>,
    /// Whether a missing source is no error: there is no file then.
    pub optional: bool,
    /// Where the entry is.
    pub place: Place,
}

/// How files of one kind are laid over each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Key by key, as oslo.config reads them.
    Ini,
    /// Mappings key by key.
    Yaml,
}

/// Where the content of a file comes from.
#[derive(Clone, Debug)]
pub enum FileContent {
    /// A path in the site.
    Source(At<String>),
    /// Text in the site, as written: it is rendered like a template.
    Inline(At<String>),
    /// A part of a certificate of the site.
    Certificate(At<String>, Part),
    /// What a program that keeps objects is told of the way to its server. No site can write this.
    ConnectionOf(Arc<Provided>),
    /// The program that keeps objects; no file where the image brings it along. No site can write this.
    ProgramOf(Arc<Provided>),
}

/// Reads a service.
pub fn read_service(node: &Node, r: &mut Reader) -> ServiceSpec {
    let ready = node.get("ready");
    ServiceSpec {
        container: read_container(node, r),
        files: read_files(node, r),
        kolla: read_kolla(node, r),
        reload: node.get("reload").map_or_else(Default::default, |reload| crate::model::file::Reload {
            validate: r.command(reload, "validate"),
            exec: r.command(reload, "exec"),
            signal: r.scalar(reload, "signal", scalars::signal),
        }),
        ready: ready.and_then(|ready| read_ready(ready, r)),
        rollout: read_rollout(node.get("rollout"), ready, r),
        depends_on: read_depends_on(node, r),
        unhealthy: node.get("unhealthy").map_or(Unhealthy::Report, |unhealthy| read_unhealthy(unhealthy, r)),
        drift_ignore: read_drift(node, r),
        hooks: Hooks { post_start: read_hooks(node, "post_start", r), pre_stop: read_hooks(node, "pre_stop", r) },
        expose_secrets: r.boolean(node, "expose_secrets").unwrap_or(false),
    }
}

/// Reads a job.
pub fn read_job(node: &Node, r: &mut Reader) -> JobSpec {
    let schedule = node.get("schedule").and_then(|schedule| {
        Some(Schedule {
            cron: r.text(schedule, "cron")?,
            timezone: r.text(schedule, "tz").unwrap_or_else(|| "UTC".to_owned()),
            run_missed: r.text(schedule, "missed").as_deref() == Some("run"),
        })
    });
    if let (Some(_), Some(run)) = (&schedule, node.get("run").filter(|run| run.as_text() == Some("once"))) {
        r.error(Diagnostic::error("V002", run.place, "a job with a schedule runs again and again, so not `once`"));
    }
    JobSpec {
        container: read_container(node, r),
        files: read_files(node, r),
        kolla: read_kolla(node, r),
        run: match node.get("run").and_then(Node::as_text) {
            Some("each") => JobRun::Each,
            Some("once") => JobRun::Once,
            _ => JobRun::One,
        },
        depends_on: read_depends_on(node, r),
        done_when: node.get("done_when").and_then(|done_when| read_done_when(done_when, r)),
        recheck: node.get("recheck").and_then(|recheck| {
            let every = r.scalar(recheck, "every", scalars::duration).unwrap_or(RECHECK_EVERY);
            let command = r.command(recheck, "command").filter(|words| !words.is_empty())?;
            Some(Recheck { every, command })
        }),
        timeout: r.scalar(node, "timeout", scalars::duration).unwrap_or(DEFAULT_TIMEOUT),
        schedule,
        inputs: node.get("inputs").map_or(serde_json::Value::Null, Node::to_json),
        expose_secrets: r.boolean(node, "expose_secrets").unwrap_or(false),
    }
}

fn read_probe(node: &Node, what: &str, r: &mut Reader) -> Option<Probe> {
    let given: Vec<&str> = ["http", "tcp", "exec"].into_iter().filter(|key| node.get(key).is_some()).collect();
    match given.as_slice() {
        ["http"] => {
            let http = node.get("http")?;
            let path = r.text(http, "path").unwrap_or_else(|| "/".to_owned());
            if !path.starts_with('/') {
                r.error(Diagnostic::error(
                    "V002",
                    http.get("path")?.place,
                    format!("the path `{path}` must start with `/`"),
                ));
            }
            Some(Probe::Http {
                host: r.text(http, "host"),
                port: r.scalar(http, "port", scalars::port)?,
                path,
                status: r
                    .scalar(http, "status", |s| scalars::integer(s, 100, 599))
                    .and_then(|status| u16::try_from(status).ok()),
            })
        }
        ["tcp"] => {
            let tcp = node.get("tcp")?;
            Some(Probe::Tcp { host: r.text(tcp, "host"), port: r.scalar(tcp, "port", scalars::port)? })
        }
        ["exec"] => {
            let command = r.command(node, "exec")?;
            if command.is_empty() {
                r.error(Diagnostic::error("V002", node.get("exec")?.place, "the command is empty"));
            }
            Some(Probe::Exec { command })
        }
        [] => {
            r.error(Diagnostic::error("K003", node.place, format!("{what} needs one of `http`, `tcp`, `exec`")));
            None
        }
        several => {
            let place = node.get(several.last()?)?.place;
            let message = format!("{what} takes one of `http`, `tcp`, `exec`, and there are {}", several.len());
            r.error(Diagnostic::error("V002", place, message));
            None
        }
    }
}

fn read_ready(node: &Node, r: &mut Reader) -> Option<Readiness> {
    let probe = read_probe(node, "ready", r)?;
    // Often enough that a fast service is not kept waiting, seldom enough that a slow one does not feel it.
    let every = r.scalar(node, "every", scalars::duration).unwrap_or(Span::seconds(1));
    let timeout = r.scalar(node, "timeout", scalars::duration).unwrap_or(Span::seconds(3));
    for (key, span) in [("every", every), ("timeout", timeout)] {
        if span == Span::ZERO {
            let place = node.get(key).map_or(node.place, |node| node.place);
            r.error(Diagnostic::error("V002", place, format!("`{key}` must be more than nothing")));
        }
    }
    Some(Readiness { probe, every, timeout })
}

fn read_rollout(rollout: Option<&Node>, ready: Option<&Node>, r: &mut Reader) -> Rollout {
    let default = Rollout::default();
    let span = |key: &str, r: &mut Reader| {
        let in_rollout = rollout.and_then(|node| r.at(node, key, scalars::duration));
        let in_ready = ready.and_then(|node| r.at(node, key, scalars::duration));
        if let (Some(first), Some(second)) = (&in_rollout, &in_ready)
            && first.value != second.value
        {
            let message = format!("`{key}` is given under `ready` and otherwise under `rollout`");
            r.error(Diagnostic::error("V003", second.place, message).also(first.place, "here it is different"));
        }
        in_rollout.or(in_ready).map(|at| at.value)
    };
    let min_ready = span("min_ready", r).unwrap_or(default.min_ready);
    let deadline = span("deadline", r).unwrap_or(default.deadline);
    if deadline <= min_ready {
        let place = rollout.or(ready).map_or(Place::default(), |node| node.place);
        let message = format!("with `min_ready` {min_ready}, nothing can be ready within the `deadline` of {deadline}");
        r.error(Diagnostic::error("V002", place, message));
    }
    let Some(node) = rollout else { return Rollout { min_ready, deadline, ..default } };
    Rollout {
        max_unavailable: r
            .scalar(node, "max_unavailable", |s| scalars::integer(s, 1, i64::from(i32::MAX)))
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(default.max_unavailable),
        min_ready,
        deadline,
        on_failure: match node.get("on_failure").and_then(Node::as_text) {
            Some("halt") => OnFailure::Halt,
            Some("rollback-all") => OnFailure::RollbackAll,
            _ => OnFailure::Rollback,
        },
        canary: r.boolean(node, "canary").unwrap_or(default.canary),
        pause_after: r.scalar(node, "pause_after", scalars::duration).unwrap_or(default.pause_after),
        quorum: r
            .scalar(node, "quorum", |s| scalars::integer(s, 1, i64::from(i32::MAX)))
            .and_then(|count| u32::try_from(count).ok()),
        waves: node.get("waves").map(|waves| waves.items().iter().map(names).collect()).unwrap_or_default(),
    }
}

/// A wave: one name, or a list of them.
fn names(wave: &Node) -> Vec<String> {
    wave.items().iter().filter_map(Node::as_text).map(str::to_owned).collect()
}

fn read_unhealthy(node: &Node, r: &mut Reader) -> Unhealthy {
    let action = node.as_text().or_else(|| node.get("action")?.as_text());
    if action != Some("restart") {
        if let Some(after) = node.get("after") {
            r.error(Diagnostic::error("V002", after.place, "`after` is for `action: restart`"));
        }
        return Unhealthy::Report;
    }
    Unhealthy::RestartAfter(r.scalar(node, "after", scalars::duration).unwrap_or(Span::ZERO))
}

fn read_drift(node: &Node, r: &mut Reader) -> BTreeSet<String> {
    let mut ignore = BTreeSet::new();
    for key in node.get("drift").map(|drift| r.texts_at(drift, "ignore")).unwrap_or_default() {
        let known = || CONTAINER.iter().map(|key| key.name).chain(["image", "files", "restart"]);
        if known().any(|name| name == key.value) {
            ignore.insert(key.value);
        } else {
            let error = Diagnostic::error("V002", key.place, format!("`{}` is no key of a container", key.value));
            r.error(error.maybe_help(super::suggest::did_you_mean(&key.value, known())));
        }
    }
    ignore
}

fn read_hooks(node: &Node, key: &str, r: &mut Reader) -> Vec<Hook> {
    let mut hooks = Vec::new();
    for item in node.get(key).map(Node::items).unwrap_or_default() {
        let command = r.command(item, "command").unwrap_or_default();
        if command.is_empty() {
            if item.get("command").is_some() {
                r.error(Diagnostic::error("V002", item.place, "the command is empty"));
            }
            continue;
        }
        hooks.push(Hook {
            command,
            user: r.text(item, "user").unwrap_or_default(),
            privileged: r.boolean(item, "privileged").unwrap_or(false),
            working_dir: r.text(item, "working_dir").unwrap_or_default(),
            environment: r.pairs(item, "environment").unwrap_or_default(),
        });
    }
    hooks
}

fn read_depends_on(node: &Node, r: &mut Reader) -> BTreeMap<String, At<WrittenDependency>> {
    let plain = WrittenDependency { condition: None, short: true, need: Need::Any, required: true, restart: false };
    let mut all: BTreeMap<String, At<WrittenDependency>> = BTreeMap::new();
    let Some(node) = node.get("depends_on") else { return all };
    for item in node.as_sequence().unwrap_or_default() {
        let Some(name) = item.as_text() else { continue };
        if let Some(first) = all.insert(name.to_owned(), At::new(plain.clone(), item.place)) {
            let error = Diagnostic::error("R003", item.place, format!("`{name}` is named twice"));
            r.error(error.also(first.place, "here first"));
        }
    }
    for (name, entry) in node.entries() {
        let value = &entry.value;
        let dependency = WrittenDependency {
            condition: match value.get("condition").and_then(Node::as_text) {
                Some("service_started") => Some(DependencyTarget::Started),
                Some("service_healthy") => Some(DependencyTarget::Ready),
                Some("service_completed_successfully") => Some(DependencyTarget::Done),
                _ => None,
            },
            short: false,
            need: match value.get("need").and_then(Node::as_text) {
                Some("quorum") => Need::Quorum,
                Some("all") => Need::All,
                Some("same-host") => Need::SameHost,
                _ => Need::Any,
            },
            required: r.boolean(value, "required").unwrap_or(true),
            restart: r.boolean(value, "restart").unwrap_or(false),
        };
        all.insert(name.to_owned(), At::new(dependency, entry.key_place));
    }
    all
}

fn read_done_when(node: &Node, r: &mut Reader) -> Option<WrittenDoneWhen> {
    match (node.get("service"), node.get("command")) {
        (Some(service), None) => {
            let name = At::new(service.as_text()?.to_owned(), service.place);
            Some(WrittenDoneWhen::Service(name, read_probe(node, "done_when", r)?))
        }
        (None, Some(command)) => {
            let words = r.command(node, "command")?;
            if words.is_empty() {
                r.error(Diagnostic::error("V002", command.place, "the command is empty"));
            }
            for key in ["http", "tcp", "exec"] {
                if let Some(probe) = node.get(key) {
                    r.error(Diagnostic::error(
                        "V002",
                        probe.place,
                        format!("`{key}` goes with `service`, not with `command`"),
                    ));
                }
            }
            Some(WrittenDoneWhen::Command(words))
        }
        _ => {
            r.error(Diagnostic::error(
                "K003",
                node.place,
                "done_when needs either `service` with a probe, or `command`",
            ));
            None
        }
    }
}

fn read_files(node: &Node, r: &mut Reader) -> Vec<FileEntry> {
    let items = node.get("files").map(Node::items).unwrap_or_default();
    items.iter().filter_map(|item| read_file(item, r)).collect()
}

/// What a file consists of: `source` or `content`, and nothing else.
pub(super) fn read_content(item: &Node, r: &mut Reader) -> Option<FileContent> {
    let as_is = |scalar: &super::node::Scalar| Ok(scalar.text.clone());
    let part = r.text(item, "part").and_then(|word| Part::from_word(&word));
    match (r.at(item, "certificate", as_is), part) {
        (Some(name), Some(part)) if item.get("source").or(item.get("content")).is_none() => {
            return Some(FileContent::Certificate(name, part));
        }
        (None, None) => {}
        _ => {
            let error =
                Diagnostic::error("K003", item.place, "`certificate` and `part` go together, and with nothing else");
            r.error(error.help(format!("`part` is one of {}", Part::WORDS.join(", "))));
            return None;
        }
    }
    match (r.at(item, "source", as_is), r.at(item, "content", as_is)) {
        (Some(source), None) => Some(FileContent::Source(source)),
        (None, Some(content)) => Some(FileContent::Inline(content)),
        (Some(source), Some(content)) => {
            let error = Diagnostic::error("V002", content.place, "a file has either a `source` or a `content`");
            r.error(error.also(source.place, "and here is the other"));
            None
        }
        (None, None) => {
            // An empty text is a content too.
            match item.as_mapping().and_then(|mapping| mapping.get("content")) {
                Some(entry) if entry.value.is_null() => {
                    Some(FileContent::Inline(At::new(String::new(), entry.key_place)))
                }
                _ => {
                    r.error(Diagnostic::error("K003", item.place, "a file needs a `source` or a `content`"));
                    None
                }
            }
        }
    }
}

/// How overrides are laid over a file.
pub(super) fn read_format(item: &Node) -> Option<Format> {
    match item.get("format").and_then(Node::as_text) {
        Some("ini") => Some(Format::Ini),
        Some("yaml") => Some(Format::Yaml),
        _ => None,
    }
}

fn read_file(item: &Node, r: &mut Reader) -> Option<FileEntry> {
    let as_is = |scalar: &super::node::Scalar| Ok(scalar.text.clone());
    let content = read_content(item, r)?;
    // A private key is for its owner.
    let is_secret = matches!(&content, FileContent::Certificate(_, part) if part.is_secret());
    let default_mode = if is_secret { 0o400 } else { 0o644 };
    let owner = |key: &str, r: &mut Reader| {
        let text = r.text(item, key).unwrap_or_else(|| "0".to_owned());
        text.parse().map_or_else(|_| Owner::Name(text), Owner::Id)
    };
    let on_change = item.get("on_change");
    let class = match on_change.map(|node| (node.as_text(), &node.value)) {
        Some((Some("restart"), _)) => OnChange::Restart,
        Some((Some("nothing"), _)) => OnChange::Nothing,
        Some((Some("reload"), _) | (None, Value::Mapping(_))) => OnChange::Reload,
        _ => OnChange::Replace,
    };
    let signal = on_change.and_then(|node| r.scalar(node, "signal", scalars::signal));
    let exec = on_change.and_then(|node| r.command(node, "exec"));
    if let (Some(node), None, None) = (on_change.filter(|node| node.as_mapping().is_some()), &signal, &exec) {
        r.error(Diagnostic::error("K003", node.place, "on_change needs `signal` or `exec`, or is one word"));
    }
    let validate = r.command(item, "validate");
    if let (Some(node), false) = (item.get("validate"), class == OnChange::Reload) {
        let error =
            Diagnostic::error("V002", node.place, "`validate` is run before a reload, and this file is not reloaded");
        r.error(error.help("set `on_change: reload` or `on_change: {signal: HUP}`"));
    }
    Some(FileEntry {
        content,
        target: r.at(item, "target", as_is)?,
        name: r.at(item, "name", as_is),
        mode: r.scalar(item, "mode", scalars::mode).unwrap_or(default_mode),
        owner: owner("owner", r),
        group: owner("group", r),
        template: r.boolean(item, "template"),
        on_change: At::new(class, on_change.map_or(item.place, |node| node.place)),
        signal,
        exec,
        validate,
        format: read_format(item),
        optional: false,
        place: item.place,
    })
}
