//! `mastic roles`: which roles there are, what one of them takes, and whether it is sound.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::edge::site_files::DiskSiteFiles;
use crate::parse::read::At;
use crate::parse::source::{Place, Sources};
use crate::resolve::roles::find::{Finder, known, search_path};
use crate::resolve::roles::{alone, reference};

use super::args::Global;
use super::error::{CommandError, Exit};
use super::output;

/// Options of `roles`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic roles\n  mastic roles mariadb\n  mastic roles --check mariadb\n  mastic roles --roles ./roles --check my-role"
)]
pub struct Options {
    /// The role; all of them are listed without
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Check the role, and render all its files with its defaults
    #[arg(long, requires = "name")]
    pub check: bool,
}

/// Lists, describes or checks.
pub fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let files = DiskSiteFiles::new();
    let directories = directories(global);
    let Some(name) = &options.name else { return list(global, &directories, &files) };
    if options.check {
        let compiled = alone::check(name, &directories, &global.vars, &files)
            .map_err(|errors| CommandError { message: String::new(), ..CommandError::invalid_site(errors) })?;
        let desired = compiled.desired;
        let (services, jobs) = (desired.services.len(), desired.jobs.len());
        output::show(global, &json!({"valid": true, "services": services, "jobs": jobs}), || {
            format!("{name}: {services} services, {jobs} jobs\nvalid\n")
        })?;
        return Ok(Exit::Done);
    }
    let mut sources = Sources::default();
    let mut errors = Vec::new();
    let found =
        Finder::new(&files, directories, &mut sources).find(&At::new(name.clone(), Place::default()), &mut errors);
    let Some(role) = found else {
        let errors = crate::parse::diagnostic::Diagnostics::new(sources, errors);
        return Err(CommandError { message: String::new(), ..CommandError::invalid_site(errors) });
    };
    let value = json!({
        "name": role.name.as_str(),
        "version": role.version,
        "description": role.description,
        "directory": role.directory,
        "vars": role.vars.iter().map(|(name, declared)| (name.clone(), json!({
            "type": declared.kind,
            "default": declared.default.as_ref().map(crate::parse::node::Node::to_json),
            "required": declared.required,
            "help": declared.help,
        }))).collect::<serde_json::Map<_, _>>(),
        "secrets": role.secrets.keys().collect::<Vec<_>>(),
        "services": role.services.keys().collect::<Vec<_>>(),
        "jobs": role.jobs.keys().collect::<Vec<_>>(),
    });
    output::show(global, &value, || {
        let description = role.description.as_deref().unwrap_or("");
        let version = role.version.as_deref().map_or_else(String::new, |version| format!(" {version}"));
        format!("{}{version}: {description}\n{}\n\n{}", role.name, role.directory.display(), reference::markdown(&role))
    })?;
    Ok(Exit::Done)
}

fn directories(global: &Global) -> Vec<PathBuf> {
    let of_site = global.request().and_then(|request| {
        let first = request.paths.first()?.clone();
        if first.is_dir() { Some(first) } else { first.parent().map(PathBuf::from) }
    });
    search_path(of_site.as_deref(), &global.role_directories)
}

fn list(global: &Global, directories: &[PathBuf], files: &DiskSiteFiles) -> Result<Exit, CommandError> {
    let mut sources = Sources::default();
    let mut errors = Vec::new();
    let mut finder = Finder::new(files, directories.to_vec(), &mut sources);
    let roles: Vec<_> = known(files, directories)
        .into_iter()
        .map(|name| {
            let role = finder.find(&At::new(name.clone(), Place::default()), &mut errors);
            let version = role.as_ref().and_then(|role| role.version.clone());
            let description = role.as_ref().map_or_else(
                || Some(format!("cannot be read; see `mastic roles {name}`")),
                |role| role.description.clone(),
            );
            json!({"name": name, "version": version, "description": description})
        })
        .collect();
    output::show(global, &roles, || {
        let text = |role: &serde_json::Value, key: &str| role[key].as_str().unwrap_or("").to_owned();
        let lines = roles.iter().map(|role| {
            format!("{:<16} {:<8} {}\n", text(role, "name"), text(role, "version"), text(role, "description"))
        });
        lines.collect()
    })?;
    Ok(Exit::Done)
}
