//! The site that was unpacked, compiled for one host; only what somebody has signed whom this host trusts.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::key::Trust;
use super::manifest::Manifest;
use super::tree::{BadTree, Opened, Tree};
use crate::control::ports::{BadSite, Loaded, SiteSource};
use crate::edge::site_files::DiskSiteFiles;
use crate::model::desired::HostDesired;
use crate::model::facts::SiteFacts;
use crate::model::names::{HostName, SiteName};
use crate::resolve::compile::{CompileRequest, compile};

/// Reads what is unpacked at each call.
pub struct RevisionSource {
    tree: Tree,
    trust: Trust,
    site: SiteName,
    /// Host, name of the machine and environment.
    request: CompileRequest,
    refused: Mutex<Option<String>>,
}

/// What to compile of a revision that is unpacked somewhere.
pub fn request(manifest: &Manifest, files: &Path, like: &CompileRequest) -> CompileRequest {
    let place = |name: &String| if name.is_empty() { files.to_owned() } else { files.join(name) };
    CompileRequest {
        paths: manifest.paths.iter().map(place).collect(),
        role_directories: manifest.role_directories.iter().map(place).collect(),
        extra_vars: manifest.variables.clone(),
        ordinals: manifest.ordinals(),
        ..like.clone()
    }
}

impl RevisionSource {
    /// The part of a host.
    pub fn new(state: &Path, trust: Trust, site: SiteName, host: &HostName, like: &CompileRequest) -> Arc<Self> {
        let request = CompileRequest { host: Some(host.to_string()), ..like.clone() };
        Arc::new(Self { tree: Tree::new(state), trust, site, request, refused: Mutex::new(None) })
    }

    /// Where revisions are unpacked.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Whom this host trusts.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Of which site.
    pub fn site(&self) -> &SiteName {
        &self.site
    }

    /// Why the newest revision is not taken; none where it is. Whether that is news.
    pub fn refuse(&self, why: Option<String>) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *refused != why;
        *refused = why;
        is_news
    }

    /// What is unpacked, if it is as it was signed.
    pub fn in_force(&self) -> Result<Opened, BadTree> {
        self.tree.verified(&self.trust, &self.site)
    }
}

fn bad(message: String) -> BadSite {
    BadSite { errors: 1, message, paths: BTreeSet::new() }
}

impl SiteSource for RevisionSource {
    fn load(&self, site_key: &[u8], facts: &Arc<SiteFacts>) -> Result<Loaded, BadSite> {
        if let Some(why) = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Err(bad(why));
        }
        let opened = self.in_force().map_err(|error| bad(error.to_string()))?;
        let like = CompileRequest { site_key: site_key.to_vec(), facts: facts.clone(), ..self.request.clone() };
        let request = request(&opened.manifest, &self.tree.files(), &like);
        match compile(&request, &DiskSiteFiles::new()) {
            Ok(compiled) => {
                // The number of a state is that of the site: hosts compare it.
                let desired = HostDesired {
                    generation: opened.manifest.generation,
                    source_digest: opened.digest,
                    ..compiled.desired
                };
                // Nobody edits what is unpacked; what was received is told by whoever receives it.
                // Others may have to know what this host has no need of itself: it always says what it is.
                let asks_facts = Some(compiled.moving);
                Ok(Loaded { desired, paths: BTreeSet::new(), warnings: compiled.warnings.lines(), asks_facts })
            }
            Err(errors) => Err(BadSite { errors: errors.len(), message: errors.render(false), paths: BTreeSet::new() }),
        }
    }
}
