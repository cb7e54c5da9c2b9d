//! The way to the engine of a host, from what the site says of it.

use std::path::PathBuf;

use crate::edge::docker::{Certificates, ConnectError, ConnectOptions, DockerEngine};
use crate::edge::host_files;
use crate::edge::site_source::DiskSource;
use crate::edge::ssh::SshTarget;
use crate::model::names::{HostName, SiteName};
use crate::parse::site::Connection;

use super::error::CommandError;
use super::world::Place;

/// How an engine is reached. Paths are seen from the directory of the site; without a connection the environment says it.
pub(super) fn connect_options(connection: Option<(Connection, PathBuf)>) -> Result<ConnectOptions, ConnectError> {
    match connection {
        Some((Connection::Docker { host, tls }, directory)) => {
            let certificates = tls.map(|tls| Certificates {
                authority: Some(directory.join(tls.ca)),
                certificate: Some(directory.join(tls.cert)),
                key: Some(directory.join(tls.key)),
            });
            ConnectOptions::parse(&host, certificates)
        }
        Some((Connection::Ssh(settings), directory)) => {
            let target = SshTarget::resolve(&settings, &directory, &|name| std::env::var(name).ok());
            Ok(ConnectOptions::ssh(target?))
        }
        Some((Connection::Local, _)) | None => ConnectOptions::from_environment(|name| std::env::var(name).ok()),
    }
}

/// For one of several hosts: what cannot be called is what that host says of itself, and no reason to leave the others.
pub(super) fn or_nowhere(options: Result<ConnectOptions, ConnectError>) -> ConnectOptions {
    let checked = options.and_then(|options| options.check().map(|()| options));
    checked.unwrap_or_else(|error| ConnectOptions::nowhere(error.to_string()))
}

/// The engine alone, for what neither reads nor changes the state: logs, commands in containers.
pub fn engine(place: &Place) -> Result<DockerEngine, CommandError> {
    let found = place.request.as_ref().and_then(|request| {
        let source = DiskSource::new(request.clone(), &place.state, false);
        let (compiled, _) = source.compile(&[]).ok()?;
        Some(((compiled.desired.site, compiled.desired.host), source.connection()?))
    });
    let (names, connection) = found.unzip();
    let (site, host) =
        names.map_or_else(|| Ok((SiteName::unknown(), HostName::new("localhost")?)), Ok::<_, CommandError>)?;
    let (engine, _) = host_files::change(&connect_options(connection)?, &place.state, &site, &host, None)?;
    Ok(engine)
}
