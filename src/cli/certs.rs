//! `mastic certs`: the site's own authority, and the certificates that it signs.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::edge::certificates::{authority_of, init, keep, look};
use crate::edge::clock::SystemClock;
use crate::edge::secret_store::SecretStore;
use crate::edge::site_files::DiskSiteFiles;
use crate::port::clock::Clock as _;
use crate::resolve::certificates::{CertificateSurvey, WantedCertificate, survey};
use crate::resolve::compile::CompileRequest;
use crate::resolve::secrets;

use super::args::Global;
use super::error::{CommandError, Exit};
use super::output;
use super::validate::no_site;

/// How often an agent looks whether a certificate nears its end; the shortest life is a day.
const LOOK: Duration = Duration::from_secs(3600);

/// Options of `certs`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  mastic certs init\n  mastic certs issue\n  mastic certs list\n  mastic certs renew web"
)]
pub struct Options {
    /// What to do with them.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do with certificates.
#[derive(Clone, Debug, Subcommand)]
pub enum Verb {
    /// Make the site's own authority; its key stays in the store of secrets
    Init,
    /// List the certificates that the site declares: names, end, and whether they are due
    List,
    /// Make what is missing, near its end, or not for the names that are declared
    Issue,
    /// Make certificates anew, even if they are not due; without names only what is due
    Renew {
        /// Their names
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
}

#[derive(Serialize)]
struct Listed {
    name: String,
    host: String,
    names: Vec<String>,
    until: Option<String>,
    serial: Option<String>,
    due: Option<&'static str>,
}

/// Works on the store that the site names.
pub fn run(global: &Global, options: &Options) -> Result<Exit, CommandError> {
    let Some(request) = global.request() else { return Err(no_site()) };
    let (survey, mut store) = open(&request)?;
    let now = SystemClock.now();
    match &options.verb {
        Verb::Init => {
            let words = if init(&mut store, &survey.site, now)? { "made" } else { "there is already" };
            output::note(&format!("{words} the authority of the site `{}`", survey.site));
        }
        Verb::List => return list(global, &survey, &store),
        Verb::Issue => return made(global, keep(&mut store, &survey.wanted, None, |_| false, now)?),
        Verb::Renew { names } => {
            if let Some(unknown) = names.iter().find(|name| !survey.wanted.iter().any(|wanted| wanted.name == **name)) {
                let known = survey.wanted.iter().map(|wanted| wanted.name.as_str());
                let help = crate::parse::suggest::did_you_mean(unknown, known);
                return Err(CommandError::failed(format!("no certificate is called `{unknown}`"))
                    .hinted(help.unwrap_or_else(|| "`mastic certs list` shows those that there are".to_owned())));
            }
            let asked = |wanted: &WantedCertificate| names.contains(&wanted.name);
            return made(global, keep(&mut store, &survey.wanted, None, asked, now)?);
        }
    }
    Ok(Exit::Done)
}

fn open(request: &CompileRequest) -> Result<(CertificateSurvey, SecretStore), CommandError> {
    let files = DiskSiteFiles::new();
    let survey = survey(request, &files).map_err(CommandError::invalid_site)?;
    let paths = secrets::survey(request, &files).map_err(CommandError::invalid_site)?.store;
    let Some(paths) = paths else {
        return Err(CommandError::failed("certificates lie in the store of secrets, and the site declares none")
            .hinted("add `secret_store: {file: secrets.age, identity: secrets.key}` to its spec"));
    };
    if !paths.identity.exists() {
        return Err(CommandError::failed(format!("there is no identity at {}", paths.identity.display()))
            .hinted("`mastic secrets generate` makes it, with the store"));
    }
    Ok((survey, SecretStore::open(&paths)?))
}

#[derive(Serialize)]
struct Made {
    certificate: String,
    why: &'static str,
}

fn made(global: &Global, made: Vec<(String, crate::edge::certificates::Due)>) -> Result<Exit, CommandError> {
    let made: Vec<Made> = made.into_iter().map(|(certificate, due)| Made { certificate, why: due.words() }).collect();
    output::show(global, &made, || match made.as_slice() {
        [] => "no certificate is due\n".to_owned(),
        made => made.iter().flat_map(|one| ["made ", &one.certificate, " (", one.why, ")\n"]).collect(),
    })?;
    Ok(Exit::Done)
}

fn list(global: &Global, survey: &CertificateSurvey, store: &SecretStore) -> Result<Exit, CommandError> {
    let known = store.read()?;
    if authority_of(&known).is_none() {
        output::note("the site has no authority yet: `mastic certs init` makes it");
    }
    let listed = survey.wanted.iter().map(|wanted| {
        let (found, due) = look(&known, wanted, SystemClock.now());
        Listed {
            name: wanted.name.clone(),
            host: wanted.host.to_string(),
            names: wanted.names.clone(),
            until: found.as_ref().map(|found| found.until.to_string()),
            serial: found.map(|found| found.serial),
            due: due.map(crate::edge::certificates::Due::words),
        }
    });
    let listed: Vec<Listed> = listed.collect();
    output::show(global, &listed, || {
        let line = |one: &Listed| {
            let (until, due) = (one.until.as_deref().unwrap_or("-"), one.due.unwrap_or(""));
            let line = format!("{:<20} {:<16} {until:<24} {due:<12} {}", one.name, one.host, one.names.join(" "));
            format!("{}\n", line.trim_end())
        };
        listed.iter().map(line).collect()
    })?;
    Ok(Exit::Done)
}

/// What an agent does: once, what is due for its own host. The site's files are watched, so a new certificate is
/// rolled out like any other edit.
pub fn keep_own(request: &CompileRequest) {
    let work = || -> Result<Vec<String>, CommandError> {
        // A site without certificates, or one that is not valid, has told or will tell so itself.
        let Ok(found) = survey(request, &DiskSiteFiles::new()) else { return Ok(Vec::new()) };
        let Some(host) = found.here.clone().filter(|host| found.wanted.iter().any(|wanted| wanted.host == *host))
        else {
            return Ok(Vec::new());
        };
        let (found, mut store) = open(request)?;
        let made = keep(&mut store, &found.wanted, Some(&host), |_| false, SystemClock.now())?;
        Ok(made.into_iter().map(|(certificate, due)| format!("{certificate} ({})", due.words())).collect())
    };
    match work() {
        Ok(made) if made.is_empty() => {}
        Ok(made) => tracing::info!("made certificates: {}", made.join(", ")),
        Err(error) => tracing::warn!("certificates cannot be renewed: {}", error.message),
    }
}

/// Does so now and then, for as long as the agent runs.
pub async fn keep_on(request: CompileRequest) {
    let mut ticks = tokio::time::interval(LOOK);
    // The first is at once, and has been done.
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let request = request.clone();
        if tokio::task::spawn_blocking(move || keep_own(&request)).await.is_err() {
            tracing::error!("looking after certificates failed");
        }
    }
}
