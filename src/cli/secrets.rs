//! `mastic secrets`: the store of secrets, made, looked at and changed. Values are shown by `show` and `decrypt` alone.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::edge::secret_maker::make;
use crate::edge::secret_store::{SecretStore, make_identity};
use crate::edge::site_files::DiskSiteFiles;
use crate::model::certificate::PREFIX;
use crate::model::recipe::{PUBLIC, Recipe};
use crate::model::secret::Sensitive;
use crate::parse::secret_store::Store;
use crate::parse::suggest::did_you_mean;
use crate::resolve::secrets::{StorePaths, Survey, survey};

use super::args::Global;
use super::error::{CommandError, Exit};
use super::output;
use super::secrets_edit::edit;
use super::validate::no_site;

/// Options of `secrets`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic secrets generate\n  mastic secrets list\n  mastic secrets edit\n  mastic secrets rotate keystone_admin\n  mastic secrets show keystone_admin\n  mastic secrets encrypt passwords.yaml"
)]
pub struct Options {
    /// What to do with them.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do with secrets.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Make what the site and its roles need and the store lacks; what is there stays as it is
    Generate,
    /// List all secrets by name: where each comes from, and whether it is there
    List,
    /// Open the store in $VISUAL or $EDITOR, and encrypt it again
    Edit,
    /// Make the store from a YAML mapping of names to values
    Encrypt {
        /// The file; `-` is the standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Even if there is a store already, which is lost then
        #[arg(long)]
        replace: bool,
    },
    /// Write all of the store to the standard output
    Decrypt,
    /// Make a new value for a secret; a running agent rolls it out
    Rotate {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Write the value of a secret to the standard output
    Show {
        /// Its name
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Serialize)]
struct Made {
    names: Vec<String>,
    /// Made as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<PathBuf>,
    store: PathBuf,
}

#[derive(Serialize)]
struct Listed {
    name: String,
    from: &'static str,
    present: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    roles: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

/// Works on the store that the site names.
pub async fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let Some(request) = global.request() else { return Err(no_site()) };
    let survey = survey(&request, &DiskSiteFiles::new()).map_err(CommandError::invalid_site)?;
    let Some(paths) = survey.store.clone() else {
        return Err(CommandError::failed("the site declares no store of secrets")
            .hinted("add `secret_store: {file: secrets.age, identity: secrets.key}` to its spec"));
    };
    match &options.verb {
        Verb::Generate => generate(global, &survey, &paths),
        Verb::List => list(global, &survey, &paths),
        Verb::Edit => edit(open(&paths)?).await,
        Verb::Encrypt { file, replace } => encrypt(&paths, file, *replace),
        Verb::Decrypt => {
            output::print_bytes(existing(&paths)?.text().expose())?;
            Ok(Exit::Done)
        }
        Verb::Rotate { name } => rotate(global, &survey, &paths, name),
        Verb::Show { name } => show(global, &paths, name),
    }
}

fn open(paths: &StorePaths) -> Result<SecretStore, CommandError> {
    Ok(SecretStore::open(paths)?)
}

fn existing(paths: &StorePaths) -> Result<SecretStore, CommandError> {
    let store = open(paths)?;
    if store.exists() {
        return Ok(store);
    }
    Err(CommandError::failed(format!("there is no store of secrets at {}", paths.file.display()))
        .hinted("`mastic secrets generate` or `mastic secrets encrypt FILE` makes it"))
}

/// Makes the identity if it is ours to make. A store without its identity is lost; a new one would hide that.
fn identity(paths: &StorePaths) -> Result<bool, CommandError> {
    if paths.identity.exists() {
        return Ok(false);
    }
    if paths.is_credential || paths.file.exists() {
        return Err(CommandError::failed(format!("there is no identity at {}", paths.identity.display()))
            .hinted("bring the identity that opens the store; age-keygen makes one for a new store"));
    }
    Ok(make_identity(&paths.identity)?)
}

fn generate(global: &Global, survey: &Survey, paths: &StorePaths) -> Result<Exit, CommandError> {
    let new_identity = identity(paths)?.then(|| paths.identity.clone());
    let mut store = open(paths)?;
    let known = store.read()?;
    let mut values = Vec::new();
    for (name, wanted) in &survey.wanted {
        if !known.contains_key(name) {
            values.extend(new(name, wanted.recipe, &known)?);
        }
    }
    if !values.is_empty() || !store.exists() {
        store.set(&values)?;
    }
    let made = Made {
        names: values.into_iter().map(|(name, _)| name).collect(),
        identity: new_identity,
        store: paths.file.clone(),
    };
    output::show(global, &made, || made.to_string())?;
    Ok(Exit::Done)
}

impl std::fmt::Display for Made {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(identity) = &self.identity {
            writeln!(
                formatter,
                "made the identity {}: without it the store cannot be opened; keep a copy, and no copy in the repository",
                identity.display()
            )?;
        }
        match self.names.as_slice() {
            [] => writeln!(formatter, "nothing is missing in {}", self.store.display()),
            made => writeln!(formatter, "made {} in {}: {}", made.len(), self.store.display(), made.join(", ")),
        }
    }
}

/// Values for a secret. A public half that somebody has put under its name is not overwritten.
fn new(name: &str, recipe: Recipe, known: &Store) -> Result<Vec<(String, Sensitive)>, CommandError> {
    let public = format!("{name}{PUBLIC}");
    if recipe.kind.is_pair() && known.contains_key(&public) {
        return Err(CommandError::failed(format!("`{public}` is in the store, and `{name}` is not"))
            .hinted("put its private half there, or take it away: `mastic secrets edit`"));
    }
    Ok(make(name, recipe)?)
}

fn list(global: &Global, survey: &Survey, paths: &StorePaths) -> Result<Exit, CommandError> {
    // What is not there yet can be listed all the same.
    let known = if paths.identity.exists() { open(paths)?.read()? } else { Store::new() };
    let mut listed: Vec<Listed> = Vec::new();
    for (name, wanted) in &survey.wanted {
        listed.push(Listed {
            name: name.clone(),
            from: "store",
            present: Some(known.contains_key(name)),
            kind: Some(wanted.recipe.kind.as_str()),
            roles: wanted.roles.clone(),
            help: wanted.help.clone(),
        });
    }
    let plain = |name: &str, from, present| Listed {
        name: name.to_owned(),
        from,
        present,
        kind: None,
        roles: Vec::new(),
        help: None,
    };
    listed.extend(survey.elsewhere.iter().map(|(name, from)| plain(name, from, None)));
    let stored = known.keys().filter(|name| !survey.wanted.contains_key(*name) && !name.starts_with(PREFIX));
    listed.extend(stored.map(|name| plain(name, "store", Some(true))));
    listed.sort_by(|left, right| left.name.cmp(&right.name));
    output::show(global, &listed, || listed.iter().map(Listed::line).collect())?;
    Ok(Exit::Done)
}

impl Listed {
    fn line(&self) -> String {
        let state = match self.present {
            Some(true) => "there",
            Some(false) => "MISSING",
            None => "",
        };
        let line = format!(
            "{:<32} {:<11} {:<8} {:<12} {}",
            self.name,
            self.from,
            state,
            self.kind.unwrap_or(""),
            self.roles.join(", ")
        );
        format!("{}\n", line.trim_end())
    }
}

fn encrypt(paths: &StorePaths, file: &PathBuf, replace: bool) -> Result<Exit, CommandError> {
    let mut text = Vec::new();
    if file.as_os_str() == "-" {
        std::io::stdin().lock().read_to_end(&mut text)?;
    } else {
        text = std::fs::read(file).map_err(|error| {
            CommandError::failed(format!("{}: {}", file.display(), crate::edge::system_words(&error)))
        })?;
    }
    if paths.file.exists() && !replace {
        return Err(CommandError::failed(format!("there is a store of secrets at {}", paths.file.display()))
            .hinted("`mastic secrets edit` changes it; `--replace` throws away what is in it"));
    }
    if identity(paths)? {
        output::note(&format!("made the identity {}: keep a copy of it", paths.identity.display()));
    }
    let mut store = open(paths)?;
    store.save(Sensitive::new(text))?;
    output::note(&format!("encrypted {} secrets to {}", store.read()?.len(), paths.file.display()));
    if file.as_os_str() != "-" {
        output::note(&format!("{} still holds them in the clear: shred -u it", file.display()));
    }
    Ok(Exit::Done)
}

fn rotate(global: &Global, survey: &Survey, paths: &StorePaths, name: &str) -> Result<Exit, CommandError> {
    let Some(wanted) = survey.wanted.get(name) else {
        let hint = match survey.elsewhere.get(name) {
            Some(from) => format!("it comes from its {from}: change it there"),
            None => did_you_mean(name, survey.wanted.keys().map(String::as_str))
                .unwrap_or_else(|| "`mastic secrets edit` changes what nobody has declared".to_owned()),
        };
        return Err(CommandError::failed(format!("nothing says how `{name}` is made")).hinted(hint));
    };
    let mut store = existing(paths)?;
    let values = make(name, wanted.recipe)?;
    store.set(&values)?;
    let made =
        Made { names: values.into_iter().map(|(name, _)| name).collect(), identity: None, store: paths.file.clone() };
    output::show(global, &made, || made.to_string())?;
    Ok(Exit::Done)
}

fn show(global: &Global, paths: &StorePaths, name: &str) -> Result<Exit, CommandError> {
    let known = existing(paths)?.read()?;
    let Some(value) = known.get(name) else {
        return Err(CommandError::failed(format!("there is no `{name}` in {}", paths.file.display())).hinted(
            did_you_mean(name, known.keys().map(String::as_str))
                .unwrap_or_else(|| "`mastic secrets list` shows what there is".to_owned()),
        ));
    };
    let text = String::from_utf8_lossy(value.expose());
    // On a terminal the prompt begins in a line of its own; a pipe gets the value and nothing else.
    let end = if std::io::stdout().is_terminal() && !text.ends_with('\n') { "\n" } else { "" };
    output::show(global, &text, || format!("{text}{end}"))?;
    Ok(Exit::Done)
}
