//! `kolla` becomes what every service has: files, environment and a command.
//!
//! `config.json` and the files that it names lie in `/var/lib/kolla/config_files/` of the container. Where a change of them
//! is a reload or a restart, that directory is a live one; else each file is mounted alone, and a change replaces the
//! container.

use crate::model::file::{OnChange, Owner};
use crate::model::kolla::{
    CONFIG_FILES, Contract, SERVICE_NAME_VARIABLE, START, STRATEGY_VARIABLE, command_line, user_and_group,
};
use crate::parse::container::ContainerSpec;
use crate::parse::diagnostic::Diagnostic;
use crate::parse::kolla::{KollaFile, KollaSpec};
use crate::parse::node::{Layer, Node};
use crate::parse::read::At;
use crate::parse::service::{FileContent, FileEntry};
use crate::parse::source::Place;
use crate::render::kolla::{Entry, render};

use super::compile::HostCompiler;
use super::files::file_name;

/// The file that is the contract itself.
const CONFIG: &str = "config.json";

impl HostCompiler<'_> {
    /// Puts what `kolla` asks for into the container and its files.
    pub fn kolla(
        &mut self,
        kolla: &KollaSpec,
        name: &str,
        node: &Node,
        container: &mut ContainerSpec,
        files: &mut Vec<FileEntry>,
    ) {
        let Some(words) = self.kolla_command(kolla, node, container) else { return };
        let contract = Contract {
            // Words with blanks reach our start program as arguments; no other can be given them.
            command: command_line(&words)
                .or_else(|| shlex::try_join(words.iter().map(String::as_str)).ok())
                .unwrap_or_default(),
            permissions: kolla.permissions.clone(),
            directories: kolla.directories.clone(),
            ..Contract::default()
        };
        let entries = kolla.config_files.iter().map(|entry| Entry { file: entry.file.clone(), wanted: wanted(entry) });
        let rendered = render(contract, entries.collect());
        files.push(config_file(kolla, rendered.config));
        for (entry, name) in kolla.config_files.iter().zip(rendered.names) {
            if let (Some(name), Some(content)) = (name, &entry.content) {
                files.push(staged(kolla, entry, content, &name));
            }
        }
        if container.settings.entrypoint.is_none() {
            // Kolla's own program takes no arguments and runs what the file says, which is the same.
            container.settings.command = Some([START.to_owned()].into_iter().chain(words).collect());
        }
        let own_name = container.container_name.as_ref().map_or(name, |at| at.value.as_str()).replace('_', "-");
        let environment = container.settings.environment.get_or_insert_default();
        environment.entry(STRATEGY_VARIABLE.to_owned()).or_insert_with(|| kolla.strategy.as_str().to_owned());
        environment.entry(SERVICE_NAME_VARIABLE.to_owned()).or_insert(own_name);
    }

    /// The words that run in the end: the container's own command or that of `kolla`, whichever was said on the higher
    /// layer. So the command of a job wins over what it has from its service, and neither is lost to a default.
    fn kolla_command(&mut self, kolla: &KollaSpec, node: &Node, container: &ContainerSpec) -> Option<Vec<String>> {
        let own = container.settings.command.as_ref().filter(|words| !words.is_empty());
        let layer = node.get("command").map_or(Layer::Defaults, |command| command.layer);
        match (own, &kolla.command) {
            (Some(own), Some((_, other))) if layer >= *other => Some(own.clone()),
            (_, Some((words, _))) if !words.value.is_empty() => Some(words.value.clone()),
            (Some(own), _) => Some(own.clone()),
            (None, _) => {
                let error = Diagnostic::error("K003", kolla.place, "kolla needs a command");
                self.errors.push(error.help("add `command`, here or to the service: what is run in the end"));
                None
            }
        }
    }
}

/// The base name that a file would like: that of its source, and for a content that of its destination.
fn wanted(entry: &KollaFile) -> Option<String> {
    match entry.content.as_ref()? {
        FileContent::Source(source) => file_name(&source.value),
        _ => file_name(entry.file.dest.trim_end_matches('/')),
    }
    .or_else(|| Some("file".to_owned()))
}

fn config_file(kolla: &KollaSpec, config: String) -> FileEntry {
    let content = FileContent::Inline(At::new(config, kolla.place));
    let entry = entry(kolla, content, CONFIG, kolla.place);
    FileEntry { template: Some(false), ..entry }
}

/// The file as the start program finds it: whoever is to own the copy may read it, and nobody may write it.
fn staged(kolla: &KollaSpec, written: &KollaFile, content: &FileContent, name: &str) -> FileEntry {
    let owner = |name: &str| if name == "root" { Owner::Id(0) } else { Owner::Name(name.to_owned()) };
    let (user, group) = written.file.owner.as_deref().map_or(("root", "root"), user_and_group);
    let mode = match (written.mode, written.file.preserve_properties) {
        // The copy takes it over as it is.
        (mode, true) => mode.unwrap_or(0o644),
        (mode, false) => mode.unwrap_or(0o400) & 0o444 | 0o400,
    };
    FileEntry {
        mode,
        owner: owner(user),
        group: owner(group),
        template: written.template,
        format: written.format,
        optional: written.file.optional,
        ..entry(kolla, content.clone(), name, written.place)
    }
}

fn entry(kolla: &KollaSpec, content: FileContent, name: &str, place: Place) -> FileEntry {
    let live = kolla.on_change.is_live();
    let target = if live { format!("{CONFIG_FILES}/") } else { format!("{CONFIG_FILES}/{name}") };
    let reload = kolla.on_change == OnChange::Reload;
    FileEntry {
        content,
        target: At::new(target, place),
        name: live.then(|| At::new(name.to_owned(), place)),
        mode: 0o644,
        owner: Owner::Id(0),
        group: Owner::Id(0),
        template: None,
        on_change: At::new(kolla.on_change, kolla.place),
        signal: kolla.signal.clone().filter(|_| reload),
        exec: kolla.exec.clone().filter(|_| reload),
        validate: kolla.validate.clone().filter(|_| reload),
        format: None,
        optional: false,
        place,
    }
}
