//! Objects that one role keeps for another (databases, users, entries of a catalogue) become jobs.
//!
//! A set of objects is a job like the service in which the provider's program lives: it runs when the objects, their secrets
//! or the way to the server change, after what both roles say comes before. The program reads before it writes and
//! changes only what differs, so that running it once more does no harm. It gets one JSON document on its standard input:
//! `{"connection": ..., "items": [...]}`. Both parts are files of the job, readable in its container alone: nothing of
//! them is in arguments, environment or labels. From time to time the program is asked whether all is still so.
//!
//! A set that says who uses it has a second job: the first one leaves what is there good beside what is new (`"overlap": true`),
//! and the second, once all who use it are as the site wants them, does not. So a password changes without anybody being refused, and
//! where that stands is nowhere written down.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::{Entry, Layer, Mapping, Node, Scalar, ScalarKind, Value};
use crate::parse::read::At;
use crate::parse::role::RoleUse;
use crate::parse::service::{FileContent, FileEntry};
use crate::parse::site::{Provided, Site, Written};
use crate::parse::source::Place;
use crate::parse::suggest::did_you_mean;

use crate::model::file::{OnChange, Owner};
use crate::model::names::JobName;

/// Where the parts of the document lie.
const CONNECTION: &str = "/run/mastic/objects/connection.json";
const ITEMS: &str = "/run/mastic/objects/items.json";

/// Puts the document together and gives it to the program; a failed program fails the job.
const SCRIPT: &str = "{ printf '{\"connection\":'; cat /run/mastic/objects/connection.json; printf ',\"items\":'; \
                      cat /run/mastic/objects/items.json; printf '}'; } | \"$@\"";
const OVERLAPPING: &str = "{ printf '{\"overlap\":true,\"connection\":'; cat /run/mastic/objects/connection.json; printf ',\"items\":'; \
                           cat /run/mastic/objects/items.json; printf '}'; } | \"$@\"";

/// The end of the name of the job that ends an overlap.
const SETTLED: &str = "-settled";

/// Which job of a set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The only one.
    Whole,
    /// What was good before stays good.
    Overlap,
    /// It is no longer, once nobody needs it.
    Settled,
}

/// Makes a job of every set of objects.
pub fn add(site: &mut Site, errors: &mut Vec<Diagnostic>) {
    for used in site.roles.clone() {
        for (own, written) in &used.role.objects {
            if used.without.contains(own) {
                continue;
            }
            let Some(provider) = written.node.get("provider").and_then(Node::as_text) else { continue };
            // One that is not there has been reported.
            let Some(provided) = find(&site.roles, provider) else { continue };
            let provided = Arc::new(provided);
            let users = written.node.get("used_by").map(Node::items).unwrap_or_default();
            for user in users {
                if user.as_text().is_some_and(|user| !used.role.services.contains_key(user)) {
                    let message = format!("`{}` is no service of this role", user.as_text().unwrap_or_default());
                    let known = used.role.services.keys().map(String::as_str);
                    let error = Diagnostic::error("R001", user.place, message);
                    errors.push(error.maybe_help(did_you_mean(user.as_text().unwrap_or_default(), known)));
                }
            }
            let phases: &[Phase] = if users.is_empty() { &[Phase::Whole] } else { &[Phase::Overlap, Phase::Settled] };
            for phase in phases {
                put(site, &used, own, written, &provided, *phase, errors);
            }
        }
    }
}

fn put(
    site: &mut Site,
    used: &Arc<RoleUse>,
    own: &str,
    written: &Written,
    provided: &Arc<Provided>,
    phase: Phase,
    errors: &mut Vec<Diagnostic>,
) {
    let name = used.name_of(own) + if phase == Phase::Settled { SETTLED } else { "" };
    let Ok(key) = JobName::new(name.as_str()) else {
        errors.push(Diagnostic::error("N001", written.key_place, format!("`{name}` is no name of a job")));
        return;
    };
    let node = job(used, own, written, provided, phase);
    if let Some(other) = site.jobs.get(&key) {
        let error = Diagnostic::error("R003", written.key_place, format!("`{name}` is a job already"));
        errors.push(error.also(other.key_place, "the job"));
        return;
    }
    let (role, provider) = (Some(used.clone()), Some(provided.clone()));
    site.jobs.insert(key, Written { key_place: written.key_place, node, role, provider });
}

/// A provider by ROLE/KIND.
fn find(roles: &[Arc<RoleUse>], provider: &str) -> Option<Provided> {
    let (role, kind) = provider.split_once('/')?;
    let used = roles.iter().find(|used| used.name.as_str() == role)?;
    Some(Provided { role: used.clone(), declared: used.role.providers.get(kind)?.node.clone() })
}

fn job(used: &RoleUse, own: &str, written: &Written, provided: &Provided, phase: Phase) -> Node {
    let (serving, declared) = (&provided.role, &provided.declared);
    let (place, layer) = (written.key_place, written.node.layer);
    let make = Maker { place, layer };
    let program = command(declared);
    let script = if phase == Phase::Overlap { OVERLAPPING } else { SCRIPT };
    let words = ["/bin/sh", "-c", script, "objects"].map(|word| make.text(word));
    let entrypoint = words.into_iter().chain(program.iter().cloned()).collect();
    let verb = |verb: &str| make.list(vec![make.text(verb)]);
    let mut recheck = vec![("command", verb("check"))];
    recheck.extend(written.node.get("check_every").map(|every| ("every", every.clone())));
    let items = written.node.get("items").map_or_else(|| "[]".to_owned(), json_template);
    let content =
        make.mapping([("content", make.text(&items)), ("target", make.text(ITEMS)), ("mode", make.text("0444"))]);
    let service = declared.get("in").and_then(Node::as_text).unwrap_or_default();
    let mut pairs = vec![
        ("like", make.text(&serving.name_of(service))),
        ("entrypoint", make.list(entrypoint)),
        ("command", verb("apply")),
        ("recheck", make.mapping(recheck)),
        ("kolla", make.null()),
        ("files", make.list(vec![content])),
    ];
    // As a mapping: a service is waited for until it is ready, a job until it is done.
    let before = |node: &Node, used: &RoleUse| -> Vec<(String, Node)> {
        let names = node.get("depends_on").map(Node::items).unwrap_or_default();
        names.iter().filter_map(|name| Some((used.name_of(name.as_text()?), make.mapping([])))).collect()
    };
    let mut after = before(declared, serving);
    if phase == Phase::Settled {
        let users = written.node.get("used_by").map(Node::items).unwrap_or_default();
        let users = users.iter().filter_map(Node::as_text).filter(|user| !used.without.iter().any(|left| left == user));
        let all = || make.mapping([("need", make.text("all"))]);
        after.push((used.name_of(own), make.mapping([])));
        after.extend(users.map(|user| (used.name_of(user), all())));
    } else {
        after.extend(before(&written.node, used));
    }
    if !after.is_empty() {
        pairs.push(("depends_on", make.mapping(after.iter().map(|(name, node)| (name.as_str(), node.clone())))));
    }
    make.mapping(pairs)
}

fn command(declared: &Node) -> &[Node] {
    declared.get("command").map(Node::items).unwrap_or_default()
}

/// The files of a job that come from the role that keeps its objects, beside what its own role asks for.
pub fn files(provided: &Arc<Provided>, place: Place) -> Vec<FileEntry> {
    let connection = file(FileContent::ConnectionOf(provided.clone()), CONNECTION, 0o444, place);
    let path = command(&provided.declared).first().and_then(Node::as_text).filter(|path| path.starts_with('/'));
    let program = path.map(|path| file(FileContent::ProgramOf(provided.clone()), path, 0o555, place));
    [connection].into_iter().chain(program).collect()
}

fn file(content: FileContent, target: &str, mode: u32, place: Place) -> FileEntry {
    FileEntry {
        content,
        target: At::new(target.to_owned(), place),
        name: None,
        mode,
        owner: Owner::Id(0),
        group: Owner::Id(0),
        template: None,
        on_change: At::new(OnChange::Replace, place),
        signal: None,
        exec: None,
        validate: None,
        format: None,
        optional: false,
        place,
    }
}

/// The path of a provider's program in its role; programs that an image brings along are not there.
pub fn program(provided: &Provided) -> Option<PathBuf> {
    let path = command(&provided.declared).first()?.as_text()?;
    Some(provided.role.role.directory.join("objects").join(Path::new(path).file_name()?))
}

/// What a provider's programs are told about the way to the server, as a template.
pub fn connection_template(provided: &Provided) -> String {
    provided.declared.get("connection").map_or_else(|| "{}".to_owned(), json_template)
}

/// A tree as a template of JSON: values keep their types, and any text survives.
fn json_template(node: &Node) -> String {
    let mut statements = String::new();
    let expression = expression(node, &mut statements);
    format!("{statements}{{{{ {expression} | tojson }}}}")
}

/// A tree as one expression. What is more than expressions (a loop) is captured by a statement before it.
fn expression(node: &Node, statements: &mut String) -> String {
    match &node.value {
        Value::Mapping(mapping) => {
            let mut pairs = Vec::new();
            for (key, entry) in mapping {
                pairs.push(format!("({}): {}", text_expression(key), expression(&entry.value, statements)));
            }
            format!("{{{}}}", pairs.join(", "))
        }
        Value::Sequence(items) => {
            let items: Vec<String> = items.iter().map(|item| expression(item, statements)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Scalar(Scalar { text, kind }) => match kind {
            ScalarKind::Null => "none".to_owned(),
            ScalarKind::Boolean(truth) => truth.to_string(),
            ScalarKind::Integer(number) => number.to_string(),
            ScalarKind::Float(_) => text.clone(),
            ScalarKind::Text if text.contains("{%") => {
                let name = format!("captured_{}", statements.matches("{% endset %}").count());
                statements.push_str(&format!("{{% set {name} %}}{text}{{% endset %}}"));
                format!("({name} ~ \"\")")
            }
            ScalarKind::Text => text_expression(text),
        },
    }
}

/// `a{{ b }}c` as `"a" ~ (b) ~ "c"`; a lone `{{ b }}` keeps its type.
fn text_expression(text: &str) -> String {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inside, behind)) = after.split_once("}}") else { break };
        if !before.is_empty() {
            parts.push(quoted(before));
        }
        parts.push(format!("({})", inside.trim_matches('-').trim()));
        rest = behind;
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(quoted(rest));
    }
    parts.join(" ~ ")
}

fn quoted(text: &str) -> String {
    // What JSON escapes, the template language reads the same way.
    serde_json::Value::from(text).to_string()
}

struct Maker {
    place: Place,
    layer: Layer,
}

impl Maker {
    fn text(&self, text: &str) -> Node {
        Node::text(text, self.place, self.layer)
    }

    fn null(&self) -> Node {
        Node::scalar(Scalar { text: String::new(), kind: ScalarKind::Null }, self.place, self.layer)
    }

    fn list(&self, items: Vec<Node>) -> Node {
        Node { place: self.place, layer: self.layer, value: Value::Sequence(items), replaced: Vec::new() }
    }

    fn mapping<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, Node)>) -> Node {
        let pairs = pairs.into_iter().map(|(key, value)| (key.to_owned(), Entry { key_place: self.place, value }));
        let mapping: Mapping = pairs.collect();
        Node { place: self.place, layer: self.layer, value: Value::Mapping(mapping), replaced: Vec::new() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::text_expression;
    use crate::model::desired::{DependencyTarget, Need};
    use crate::resolve::compile::compile;
    use crate::resolve::testing::{Memory, request};

    const STORE: &str = "apiVersion: mastic/v1\nkind: Role\nmetadata: {name: store}\nspec:\n  services: {store: {image: 'a:1'}}\n  \
                         providers: {row: {in: store, command: [keep, row], depends_on: [store]}}\n";

    fn jobs(set: &str) -> Result<Vec<String>, String> {
        let app = format!(
            "apiVersion: mastic/v1\nkind: Role\nmetadata: {{name: app}}\nspec:\n  services: {{app: {{image: 'a:1'}}}}\n  objects:\n    \
             rows: {{provider: store/row, items: [{{name: one}}]{set}}}\n"
        );
        let site = "apiVersion: mastic/v1\nkind: Site\nmetadata: {name: s}\nspec:\n  hosts: {here: {}}\n  \
                    roles: [{role: store}, {role: app, name: web}]\n";
        let files = Memory::new(&[
            ("site.yaml", site),
            ("roles/store/role.yaml", STORE),
            ("roles/app/role.yaml", app.as_str()),
        ]);
        let compiled = compile(&request(&["site.yaml"]), &files).map_err(|errors| errors.render(false))?;
        let line = |job: &crate::model::desired::JobDesired| {
            let settings = &job.settings;
            let overlaps = settings.entrypoint.iter().flatten().any(|word| word.contains("overlap"));
            let after = job.depends_on.iter().map(|(name, on)| {
                let all = if on.need == Need::All { "all " } else { "" };
                let ready = if on.on == DependencyTarget::Started { " started" } else { "" };
                format!("{all}{name}{ready}")
            });
            let recheck = job.recheck.as_ref().unwrap();
            format!(
                "{} {} overlap={overlaps} after {:?} every {} {}",
                job.job,
                settings.command.clone().unwrap_or_default().join(" "),
                after.collect::<Vec<_>>(),
                recheck.every,
                recheck.command.join(" ")
            )
        };
        Ok(compiled.desired.jobs.values().map(|job| line(job)).collect())
    }

    #[test]
    fn a_set_is_a_job_and_one_that_says_who_uses_it_is_two() {
        assert_eq!(jobs("").unwrap(), ["web-rows apply overlap=false after [\"store\"] every 15m check"]);
        assert_eq!(
            jobs(", used_by: [app], check_every: 1h").unwrap(),
            [
                "web-rows apply overlap=true after [\"store\"] every 1h check",
                "web-rows-settled apply overlap=false after [\"store\", \"all web\", \"web-rows\"] every 1h check",
            ]
        );
        let unknown = jobs(", used_by: [ap]").unwrap_err();
        assert!(
            unknown.contains("`ap` is no service of this role") && unknown.contains("did you mean `app`"),
            "{unknown}"
        );
    }

    #[test]
    fn a_text_with_expressions_becomes_one_expression() {
        assert_eq!(text_expression("{{ secrets.a }}"), "(secrets.a)");
        assert_eq!(text_expression("a\"{{ b }}/{{c}}d"), r#""a\"" ~ (b) ~ "/" ~ (c) ~ "d""#);
        assert_eq!(text_expression("plain"), "\"plain\"");
        assert_eq!(text_expression(""), "\"\"");
    }
}
