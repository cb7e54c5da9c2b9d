//! Where a value comes from: its place, its layer, and what it was laid over.

use serde_json::{Value as Json, json};

use crate::model::names::HostName;
use crate::parse::diagnostic::{Diagnostic, Diagnostics};
use crate::parse::layering::over_defaults;
use crate::parse::node::{Layer, Node, Provenance};
use crate::parse::suggest::did_you_mean;
use crate::port::site_files::SiteFiles;

use super::compile::{CompileRequest, compile};
use super::hosts::choose;
use super::instance::over_service;
use super::tree::{Tree, read};
use super::variables::layers;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// As it was asked for.
    pub path: String,
    /// The value as written, expressions included; a secret never stands in the site.
    pub written: Json,
    /// Where it counts from.
    pub source: Source,
    /// What it was laid over, the most recent last.
    pub overridden: Vec<(Source, Json)>,
}

/// A place with its layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// As `site`, `overlay 1`, `defaults.container`, `group web`, `-e`, `built in`.
    pub layer: String,
    /// As `site.yaml:3:7`; none where it was written in no file.
    pub place: Option<String>,
}

impl Explanation {
    /// For machines.
    pub fn to_json(&self) -> Json {
        let source = |source: &Source| json!({"layer": source.layer, "place": source.place});
        json!({
            "path": self.path,
            "value": self.written,
            "source": source(&self.source),
            "overridden": self.overridden.iter()
                .map(|(from, value)| json!({"source": source(from), "value": value})).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let describe = |source: &Source| match &source.place {
            Some(place) => format!("{place} ({})", source.layer),
            None => source.layer.clone(),
        };
        let show = |value: &Json| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut text = format!("{} = {}\n  from {}\n", self.path, show(&self.written), describe(&self.source));
        for (source, value) in self.overridden.iter().rev() {
            text = format!("{text}  over {} from {}\n", show(value), describe(source));
        }
        text
    }
}

/// Explains `services.web.image`, `jobs.dump.timeout`, `vars.debug`, or any other path below `spec`.
pub fn explain(request: &CompileRequest, files: &dyn SiteFiles, path: &str) -> Result<Explanation, Diagnostics> {
    let tree = read(request, files)?;
    if tree.errors.iter().any(|error| error.severity == crate::parse::diagnostic::Severity::Error) {
        // The same errors, and those that only show later.
        compile(request, files)?;
    }
    let fail = |error: Diagnostic| Diagnostics::new(tree.sources.clone(), vec![error]);
    let host = choose(&tree.site, request.host.as_deref(), &request.hostname).map_err(fail)?;
    let path = path.strip_prefix("spec.").unwrap_or(path);
    if let Some(name) = path.strip_prefix("vars.") {
        return variable(&tree, request, &host, path, name).map_err(fail);
    }
    let root = effective(&tree);
    let mut node = &root;
    let mut walked = String::new();
    for part in parts(path) {
        let next = match node.as_sequence() {
            Some(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
            None => node.as_mapping().and_then(|mapping| mapping.get(part)).map(|entry| &entry.value),
        };
        node = match next {
            Some(next) => next,
            None => return built_in(path).ok_or_else(|| fail(unknown(node, part, &walked))),
        };
        walked = if walked.is_empty() { part.to_owned() } else { format!("{walked}.{part}") };
    }
    let source = |from: Provenance| Source {
        layer: match from.layer {
            Layer::Defaults => "defaults.container".to_owned(),
            Layer::Role => "role".to_owned(),
            Layer::Site => "site".to_owned(),
            Layer::Overlay(number) => format!("overlay {number}"),
        },
        place: Some(tree.sources.describe(from.place)),
    };
    let overridden = node.replaced.iter().map(|from| (source(*from), written_at(&tree, *from)));
    Ok(Explanation {
        path: path.to_owned(),
        written: node.to_json(),
        source: source(node.provenance()),
        overridden: overridden.collect(),
    })
}

/// `a.b[0].c` as a, b, 0, c.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[']).map(|part| part.trim_end_matches(']')).filter(|part| !part.is_empty())
}

/// The site with each service as it counts: over the defaults, jobs over what they are like.
fn effective(tree: &Tree) -> Node {
    let mut root = tree.site.spec.clone();
    let with_defaults = |node: &Node| match &tree.site.defaults {
        Some(defaults) if node.as_mapping().is_some() => over_defaults(defaults, node),
        _ => node.clone(),
    };
    let crate::parse::node::Value::Mapping(spec) = &mut root.value else { return root };
    for section in ["services", "jobs"] {
        let Some(crate::parse::node::Value::Mapping(named)) = spec.get_mut(section).map(|entry| &mut entry.value.value)
        else {
            continue;
        };
        for entry in named.values_mut() {
            let like = entry.value.get("like").and_then(Node::as_text).and_then(|like| tree.site.services.get(like));
            entry.value = match like.filter(|_| section == "jobs") {
                Some(like) => over_service(&with_defaults(&like.node), &entry.value),
                None => with_defaults(&entry.value),
            };
        }
    }
    root
}

/// The text at a place, as it was written.
fn written_at(tree: &Tree, from: Provenance) -> Json {
    let text = tree.sources.get(from.place.file).map(|file| {
        let range = file.first_line(from.place);
        file.text.get(range).unwrap_or("").to_owned()
    });
    json!(text.unwrap_or_default())
}

fn variable(
    tree: &Tree,
    request: &CompileRequest,
    host: &HostName,
    path: &str,
    name: &str,
) -> Result<Explanation, Diagnostic> {
    let layers = layers(&tree.site, &tree.groups, host, &request.extra_vars, None);
    let name = parts(name).next().unwrap_or(name);
    let mut found: Vec<(Source, Json)> = Vec::new();
    for layer in &layers {
        for (_, value, place) in layer.variables.iter().filter(|(variable, ..)| variable == name) {
            let place = place.map(|place| tree.sources.describe(place));
            found.push((Source { layer: layer.name.clone(), place }, value.clone()));
        }
    }
    match found.pop() {
        Some((source, written)) => Ok(Explanation { path: path.to_owned(), written, source, overridden: found }),
        None => {
            let known = layers.iter().flat_map(|layer| layer.variables.iter().map(|(name, ..)| name.as_str()));
            Err(Diagnostic::general("E001", format!("`{host}` has no variable `{name}`"))
                .maybe_help(did_you_mean(name, known)))
        }
    }
}

/// Values that nobody wrote.
fn built_in(path: &str) -> Option<Explanation> {
    let all: Vec<&str> = parts(path).collect();
    let value = match all.as_slice() {
        ["services", _, "restart"] => json!("unless-stopped"),
        ["services" | "jobs", _, "logging", ..] => json!("json-file with max-size 50m and max-file 3"),
        ["services", _, "rollout" | "ready", "deadline"] => json!("5m"),
        ["services", _, "rollout" | "ready", "min_ready"] => json!("0s"),
        ["services", _, "rollout", "max_unavailable"] => json!(1),
        ["services", _, "rollout", "on_failure"] => json!("rollback"),
        ["services", _, "unhealthy"] => json!("report"),
        ["services" | "jobs", _, "pull_policy"] => json!("missing"),
        ["services" | "jobs", name, "container_name"] => json!(name),
        ["jobs", _, "timeout"] => json!("1h"),
        ["jobs", _, "run"] => json!("one"),
        _ => return None,
    };
    let source = Source { layer: "built in".to_owned(), place: None };
    Some(Explanation { path: path.to_owned(), written: value, source, overridden: Vec::new() })
}

fn unknown(node: &Node, part: &str, walked: &str) -> Diagnostic {
    let at = if walked.is_empty() { "the site".to_owned() } else { format!("`{walked}`") };
    Diagnostic::general("E001", format!("{at} has no `{part}`"))
        .maybe_help(did_you_mean(part, node.entries().map(|(key, _)| key)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::resolve::testing::{Memory, request, spec};

    #[test]
    fn a_value_is_followed_through_its_layers() {
        let site = spec(
            "
  hosts: {here: {groups: [web], vars: {port: 3}}}
  groups: {web: {vars: {port: 2}}}
  vars: {port: 1}
  defaults: {container: {mem_limit: 32m, environment: {A: low}}}
  services: {hello: {image: 'busybox:1', environment: [A=high]}}
",
        );
        let files =
            Memory::new(&[("site.yaml", &site), ("over.yaml", "spec: {services: {hello: {image: 'busybox:2'}}}")]);
        let show = |path: &str| match explain(&request(&["site.yaml", "over.yaml"]), &files, path) {
            Ok(explanation) => explanation.to_text(),
            Err(why) => why.render(false),
        };
        let paths = [
            "services.hello.image",
            "services.hello.mem_limit",
            "services.hello.environment.A",
            "services.hello.restart",
            "vars.port",
            "services.helo.image",
        ];
        insta::assert_snapshot!(paths.map(show).join("\n"), @"
        services.hello.image = busybox:2
          from over.yaml:1:34 (overlay 1)
          over 'busybox:1' from site.yaml:9:29 (site)

        services.hello.mem_limit = 32m
          from site.yaml:8:37 (defaults.container)

        services.hello.environment.A = high
          from site.yaml:9:56 (site)
          over low from site.yaml:8:59 (defaults.container)

        services.hello.restart = unless-stopped
          from built in

        vars.port = 3
          from site.yaml:5:40 (host here)
          over 2 from site.yaml:6:25 (group web)
          over 1 from site.yaml:7:10 (site)

        error[E001]: `services` has no `helo`
         |
         = help: did you mean `hello`?
        ");
    }
}
