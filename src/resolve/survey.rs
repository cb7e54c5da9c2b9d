//! Which hosts a site has and how they are reached: what has to be known before any of them is worked on.

use std::path::PathBuf;

use crate::model::names::{HostName, SiteName};
use crate::parse::diagnostic::{Diagnostic, Diagnostics};
use crate::parse::site::Connection;
use crate::port::site_files::SiteFiles;

use super::compile::CompileRequest;
use super::hosts::{Groups, choose};
use super::tree::{Tree, read};

/// A site at a glance.
pub struct Survey {
    tree: Tree,
}

/// Reads the site as far as its hosts; what is wrong elsewhere does not matter yet.
pub fn survey(request: &CompileRequest, files: &dyn SiteFiles) -> Result<Survey, Diagnostics> {
    Ok(Survey { tree: read(request, files)? })
}

impl Survey {
    /// The site's name.
    pub fn site(&self) -> &SiteName {
        &self.tree.site.name
    }

    /// What paths of connections are relative to.
    pub fn directory(&self) -> PathBuf {
        self.tree.directory.clone()
    }

    /// Its hosts and how their engines are reached, in the order of the file.
    pub fn hosts(&self) -> impl Iterator<Item = (&HostName, &Connection)> {
        self.tree.site.hosts.iter().map(|(name, host)| (name, &host.connection))
    }

    /// The hosts that names of hosts and groups stand for, in the order of the file.
    pub fn select(&self, names: &[String]) -> Result<Vec<HostName>, Diagnostics> {
        let groups = Groups::new(&self.tree.site, &mut Vec::new());
        let mut chosen = Vec::new();
        for name in names {
            match groups.hosts(&self.tree.site, name) {
                Ok(hosts) => chosen.extend(hosts),
                Err(help) => {
                    let known: Vec<&str> = self.tree.site.hosts.keys().map(HostName::as_str).collect();
                    let error = Diagnostic::general("H001", format!("the site has no host or group `{name}`"))
                        .maybe_help(help)
                        .help(format!("its hosts are {}", known.join(", ")));
                    return Err(Diagnostics::new(self.tree.sources.clone(), vec![error]));
                }
            }
        }
        chosen.sort_by_key(|host| self.tree.site.hosts.get_index_of(host));
        chosen.dedup();
        Ok(chosen)
    }

    /// The host that this machine is, if it is one.
    pub fn this_machine(&self, hostname: &str) -> Option<HostName> {
        choose(&self.tree.site, None, hostname).ok()
    }
}
