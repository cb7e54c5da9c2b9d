//! Secrets of a site: from files, from the environment, and from its store; and those that have to be made.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;

use crate::model::fileset;
use crate::model::recipe::{Kind, Recipe};
use crate::model::secret::Sensitive;
use crate::parse::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::parse::node::Node;
use crate::parse::secret_store;
use crate::parse::source::Place;
use crate::port::site_files::{DecryptError, SiteFiles};

use super::compile::CompileRequest;
use super::reader::SiteReader;
use super::tree::{Tree, read};

/// Where the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePaths {
    /// The age file.
    pub file: PathBuf,
    /// The identity that opens it.
    pub identity: PathBuf,
    /// Whether systemd hands the identity over, so that it is not ours to make.
    pub is_credential: bool,
    /// More recipients.
    pub recipients: Vec<String>,
}

/// A secret that the store is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How it is made.
    pub recipe: Recipe,
    /// What it is for.
    pub help: Option<String>,
    /// Roles that need it; none for one of the site's own.
    pub roles: Vec<String>,
    place: Place,
}

/// What a site says of its secrets.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// Where the store is, if there is one.
    pub store: Option<StorePaths>,
    /// What it is to have.
    pub wanted: IndexMap<String, Wanted>,
    /// What comes from elsewhere, with the word for it.
    pub elsewhere: IndexMap<String, &'static str>,
}

/// Looks at the site, and at no secret.
pub fn survey(request: &CompileRequest, files: &dyn SiteFiles) -> Result<Survey, Diagnostics> {
    let tree = read(request, files)?;
    let mut errors = tree.errors.clone();
    let survey = survey_of(&tree, request, &mut errors);
    if errors.iter().any(|error| error.severity == Severity::Error) {
        return Err(Diagnostics::new(tree.sources, errors));
    }
    Ok(survey)
}

fn survey_of(tree: &Tree, request: &CompileRequest, errors: &mut Vec<Diagnostic>) -> Survey {
    let mut survey = Survey { store: store(tree, request, errors).map(|(paths, _)| paths), ..Survey::default() };
    for (name, entry) in tree.site.spec.get("secrets").into_iter().flat_map(Node::entries) {
        let has = |key: &str| entry.value.get(key).is_some();
        match (has("file"), has("environment"), entry.value.get("generate").and_then(Node::as_text)) {
            (true, false, None) => drop(survey.elsewhere.insert(name.to_owned(), "file")),
            (false, true, None) => drop(survey.elsewhere.insert(name.to_owned(), "environment")),
            (false, false, Some(kind)) => {
                let length = entry.value.get("length").and_then(Node::as_text).and_then(|length| length.parse().ok());
                let Ok(kind) = kind.parse() else { continue };
                let wanted = Wanted {
                    recipe: Recipe { kind, length },
                    help: entry.value.get("help").and_then(Node::as_text).map(str::to_owned),
                    roles: Vec::new(),
                    place: entry.key_place,
                };
                survey.wanted.insert(name.to_owned(), wanted);
            }
            _ => {
                let message = format!("the secret `{name}` needs one of `file`, `environment` and `generate`");
                errors.push(Diagnostic::error("K003", entry.key_place, message));
            }
        }
    }
    for used in &tree.site.roles {
        for (name, needed) in &used.role.secrets {
            // What the site says of a name counts.
            if survey.elsewhere.contains_key(name) {
                continue;
            }
            let kind = needed.generate.parse().unwrap_or(Kind::Password);
            let recipe = Recipe { kind, length: needed.length };
            match survey.wanted.get_mut(name) {
                Some(known) => {
                    let differs = known.recipe != recipe && !known.roles.is_empty();
                    if differs {
                        let message = format!("the secret `{name}` is to be made in two ways");
                        let error =
                            Diagnostic::error("R003", needed.place, message).also(known.place, "otherwise here");
                        errors.push(error.help("say under `spec.secrets` which it is"));
                    }
                    if !known.roles.contains(&used.role.name.to_string()) {
                        known.roles.push(used.role.name.to_string());
                    }
                }
                None => {
                    let roles = vec![used.role.name.to_string()];
                    let wanted = Wanted { recipe, help: needed.help.clone(), roles, place: needed.place };
                    survey.wanted.insert(name.clone(), wanted);
                }
            }
        }
    }
    // What hosts agree on about filesets is encrypted with a key of the site.
    if let Some((_, first)) = tree.site.filesets.first()
        && !survey.elsewhere.contains_key(fileset::KEY)
    {
        survey.wanted.entry(fileset::KEY.to_owned()).or_insert_with(|| Wanted {
            recipe: Recipe { kind: Kind::Hex, length: Some(64) },
            help: Some("What filesets are encrypted with outside of the hosts".to_owned()),
            roles: first.role.iter().map(|used| used.role.name.to_string()).collect(),
            place: first.key_place,
        });
    }
    for (name, wanted) in &survey.wanted {
        if let Some(problem) = wanted.recipe.length.and_then(|length| bad_length(wanted.recipe.kind, length)) {
            errors.push(Diagnostic::error("V002", wanted.place, format!("the secret `{name}`: {problem}")));
        }
    }
    survey
}

fn bad_length(kind: Kind, length: usize) -> Option<&'static str> {
    match kind {
        Kind::RsaKey if !matches!(length, 2048 | 3072 | 4096) => Some("an RSA key has 2048, 3072 or 4096 bits"),
        Kind::Password | Kind::Hex if !(8..=1024).contains(&length) => Some("its length is to be from 8 to 1024"),
        _ => None,
    }
}

/// Where the store is, and where the site says so.
fn store(tree: &Tree, request: &CompileRequest, errors: &mut Vec<Diagnostic>) -> Option<(StorePaths, Place)> {
    let node = tree.site.spec.get("secret_store")?;
    let file = node.get("file")?;
    let identity = node.get("identity")?;
    let (path, is_credential) = match (identity.as_text(), identity.get("credential").and_then(Node::as_text)) {
        (Some(path), _) => (tree.directory.join(path), false),
        (None, Some(name)) => {
            let Some(directory) = request.environment.get("CREDENTIALS_DIRECTORY") else {
                let message = format!("the credential `{name}` is not here: there is no $CREDENTIALS_DIRECTORY");
                errors.push(Diagnostic::error("S002", identity.place, message).help(format!(
                    "`LoadCredential={name}:PATH` in the unit of systemd; by hand: CREDENTIALS_DIRECTORY=DIR mastic ..."
                )));
                return None;
            };
            (PathBuf::from(directory).join(name), true)
        }
        (None, None) => return None,
    };
    let recipients = node.get("recipients").map(Node::items).unwrap_or_default();
    let paths = StorePaths {
        file: tree.directory.join(file.as_text()?),
        identity: path,
        is_credential,
        recipients: recipients.iter().filter_map(Node::as_text).map(str::to_owned).collect(),
    };
    Some((paths, file.place))
}

/// All secrets by name.
pub(super) fn read_secrets(
    tree: &Tree,
    request: &CompileRequest,
    reader: &SiteReader<'_>,
    errors: &mut Vec<Diagnostic>,
) -> BTreeMap<String, Sensitive> {
    let survey = survey_of(tree, request, errors);
    let mut secrets = BTreeMap::new();
    for (name, entry) in tree.site.spec.get("secrets").into_iter().flat_map(Node::entries) {
        if !survey.elsewhere.contains_key(name) {
            continue;
        }
        let text = |key: &str| entry.value.get(key).and_then(|node| Some((node.as_text()?, node.place)));
        if let Some((path, place)) = text("file") {
            secrets.extend(from_file(name, path, place, reader, errors).map(|secret| (name.to_owned(), secret)));
        } else if let Some((variable, place)) = text("environment") {
            match request.environment.get(variable) {
                Some(value) => drop(secrets.insert(name.to_owned(), Sensitive::new(value.as_bytes()))),
                None => {
                    let message = format!(
                        "the secret `{name}` is to come from `{variable}`, which the environment does not have"
                    );
                    errors.push(Diagnostic::error("S002", place, message));
                }
            }
        }
    }
    if let Some(stored) = from_store(tree, request, reader, errors) {
        for (name, value) in stored {
            let declared = tree.site.spec.get("secrets").and_then(|node| node.as_mapping()?.get(&name));
            match declared.filter(|_| survey.elsewhere.contains_key(&name)) {
                Some(entry) => {
                    let message = format!("the secret `{name}` is in the store as well");
                    let error = Diagnostic::error("R003", entry.key_place, message);
                    errors.push(error.help("take it out of one of them: `mastic secrets edit`"));
                }
                None => drop(secrets.insert(name, value)),
            }
        }
        missing(tree, &survey, &secrets, errors);
    } else if survey.store.is_none() && tree.site.spec.get("secret_store").is_none() {
        missing(tree, &survey, &secrets, errors);
    }
    secrets
}

fn from_file(
    name: &str,
    path: &str,
    place: Place,
    reader: &SiteReader<'_>,
    errors: &mut Vec<Diagnostic>,
) -> Option<Sensitive> {
    match reader.secret(path) {
        Ok(content) => {
            if reader.mode(path).is_some_and(|mode| mode & 0o004 != 0) {
                let message = format!("everybody on this machine can read the secret `{name}`");
                let warning = Diagnostic::warning("S003", place, message);
                errors.push(warning.help(format!("chmod 600 {}", reader.path(path).display())));
            }
            Some(Sensitive::new(&*content))
        }
        Err(why) => {
            let message = format!("cannot read the secret `{name}` from `{}`: {why}", reader.path(path).display());
            errors.push(Diagnostic::error("S002", place, message));
            None
        }
    }
}

/// What the store holds; none if there is none, or if it cannot be opened.
fn from_store(
    tree: &Tree,
    request: &CompileRequest,
    reader: &SiteReader<'_>,
    errors: &mut Vec<Diagnostic>,
) -> Option<secret_store::Store> {
    // What is wrong with its place has been told by the survey.
    let (paths, place) = store(tree, request, &mut Vec::new())?;
    let fail = |why: String| {
        Diagnostic::error("S002", place, format!("the store of secrets `{}`: {why}", paths.file.display()))
    };
    let text = match reader.decrypt(&paths.file, &paths.identity) {
        Ok(text) => text,
        Err(why) => {
            let help = match &why {
                DecryptError::Store(_) => Some("`mastic secrets generate` makes it".to_owned()),
                DecryptError::Identity(..) | DecryptError::NoIdentity(_) | DecryptError::WrongIdentity(_) => Some(
                    "`identity` names the file that `mastic secrets generate` or age-keygen has made; it is in no repository"
                        .to_owned(),
                ),
                DecryptError::Damaged | DecryptError::Unavailable => None,
            };
            errors.push(fail(why.to_string()).maybe_help(help));
            return None;
        }
    };
    if !paths.is_credential && reader.mode_of(&paths.identity).is_some_and(|mode| mode & 0o004 != 0) {
        let message = "everybody on this machine can read the identity that opens the store of secrets";
        let warning = Diagnostic::warning("S003", place, message);
        errors.push(warning.help(format!("chmod 600 {}", paths.identity.display())));
    }
    match secret_store::read(text.expose()) {
        Ok(store) => Some(store),
        Err(fault) => {
            errors.push(fail(fault.to_string()).help("`mastic secrets edit` opens it"));
            None
        }
    }
}

/// One error for all that is wanted and not there.
fn missing(tree: &Tree, survey: &Survey, secrets: &BTreeMap<String, Sensitive>, errors: &mut Vec<Diagnostic>) {
    let names: Vec<(&String, &Wanted)> =
        survey.wanted.iter().filter(|(name, _)| !secrets.contains_key(*name)).collect();
    let Some((_, first)) = names.first() else { return };
    let list = names.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let are = if names.len() == 1 { "a secret is" } else { "secrets are" };
    let error = Diagnostic::error("S002", first.place, format!("{are} missing: {list}"));
    errors.push(error.help(if tree.site.spec.get("secret_store").is_some() {
        "`mastic secrets generate` makes what is missing"
    } else {
        "declare `secret_store: {file: secrets.age, identity: secrets.key}` and run `mastic secrets generate`; or say \
         under `spec.secrets` which file holds it"
    }));
}
