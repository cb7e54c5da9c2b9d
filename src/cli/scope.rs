//! Which hosts a command is about: this machine alone, or all that can be reached from here.

use std::path::PathBuf;

use crate::edge::site_files::DiskSiteFiles;
use crate::model::names::{HostName, SiteName};
use crate::parse::site::Connection;
use crate::resolve::compile::CompileRequest;
use crate::resolve::survey::survey;

use super::error::CommandError;

/// A host that a command has to do with.
#[derive(Clone, Debug)]
pub struct Reached {
    /// Host.
    pub host: HostName,
    /// How its engine is reached.
    pub connection: Connection,
    /// Whether it was asked for; the others are only read, for what it has to do with them.
    pub meant: bool,
}

/// The hosts of a site that can be reached from here.
#[derive(Clone, Debug)]
pub struct Reach {
    /// Site.
    pub site: SiteName,
    /// What paths of connections are relative to.
    pub directory: PathBuf,
    /// Hosts in the order of the file.
    pub hosts: Vec<Reached>,
}

impl Reach {
    /// The hosts of a site that has several of which at least one is not this machine; none where this machine alone is
    /// to be looked after. Hosts whose connection is `local` are for agents of their own, but for this machine.
    pub fn of(request: &CompileRequest, selected: &[String]) -> Result<Option<Self>, CommandError> {
        let files = DiskSiteFiles::new();
        let Ok(survey) = survey(request, &files) else {
            // What is wrong with it is told by whoever compiles it.
            return Ok(None);
        };
        let is_remote = |connection: &Connection| *connection != Connection::Local;
        if survey.hosts().count() < 2 || !survey.hosts().any(|(_, connection)| is_remote(connection)) {
            return Ok(None);
        }
        let wanted = survey.select(selected).map_err(CommandError::invalid_site)?;
        let here = survey.this_machine(&request.hostname);
        let mut hosts = Vec::new();
        for (host, connection) in survey.hosts() {
            let meant = selected.is_empty() || wanted.contains(host);
            if is_remote(connection) || here.as_ref() == Some(host) {
                hosts.push(Reached { host: host.clone(), connection: connection.clone(), meant });
            } else if meant && !selected.is_empty() {
                return Err(CommandError::usage(format!(
                    "`{host}` cannot be reached from here: its connection is `local`"
                ))
                .hinted("run the command there, or give the host `connection: {ssh: {}}`"));
            }
        }
        Ok(Some(Self { site: survey.site().clone(), directory: survey.directory(), hosts }))
    }
}
