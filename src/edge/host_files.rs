//! Which files go with an engine: those of the local disk where it listens on a socket of this machine, and else those
//! of its host, through itself.
//!
//! An engine mounts paths of its own host, so a connection over TCP or SSH leads to files over there, also where that happens to
//! be this machine.

use std::path::Path;
use std::sync::Arc;

use super::docker::{ConnectError, ConnectOptions, DockerEngine, DockerObserver, Endpoint};
use super::files::DiskFiles;
use super::remote_files::{RemoteFiles, RemoteFilesObserver, Root};
use crate::model::names::{HostName, SiteName};
use crate::port::files::{Files, FilesError, ObserveFiles};

/// The state directory of hosts that are reached from elsewhere. There is nothing else in it than files that are mounted.
pub const HOST_STATE: &str = "/var/lib/mastic";

/// Why engine and files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] ConnectError),
    /// The files.
    #[error(transparent)]
    Files(#[from] FilesError),
}

/// An engine of this machine that is asked before it is known whether it is the right one.
pub struct Early {
    options: ConnectOptions,
    observer: DockerObserver,
}

impl Early {
    /// Begins to ask, if the engine is one of this machine.
    pub fn begin(options: ConnectOptions, state: &Path, (site, host): (SiteName, HostName)) -> Option<Self> {
        let Endpoint::Unix(_) = options.endpoint else { return None };
        let observer = DockerObserver::with_files(&options, Arc::new(DiskFiles::open(state).ok()?)).ok()?;
        observer.look_ahead(site, host);
        Some(Self { options, observer })
    }
}

/// What was asked early, if it is the right engine; else one that nobody has asked anything.
fn observer(
    early: Option<Early>,
    options: &ConnectOptions,
    files: Arc<dyn ObserveFiles>,
) -> Result<DockerObserver, ConnectError> {
    match early {
        Some(early) if early.options == *options => Ok(early.observer),
        _ => DockerObserver::with_files(options, files),
    }
}

/// Engine and files, to be looked at. `state` is the local state directory.
pub fn observe(
    options: &ConnectOptions,
    state: &Path,
    site: &SiteName,
    host: &HostName,
    early: Option<Early>,
) -> Result<(DockerObserver, Arc<dyn ObserveFiles>), HostError> {
    if let Endpoint::Unix(_) = options.endpoint {
        let files: Arc<dyn ObserveFiles> = Arc::new(DiskFiles::open(state)?);
        return Ok((observer(early, options, files.clone())?, files));
    }
    let root = Root::new(HOST_STATE, site, host)?;
    let observer = DockerObserver::new(options, root.managed_path())?;
    Ok((observer.clone(), Arc::new(RemoteFilesObserver::new(observer, root))))
}

/// Engine and files, to be changed.
pub fn change(
    options: &ConnectOptions,
    state: &Path,
    site: &SiteName,
    host: &HostName,
    early: Option<Early>,
) -> Result<(DockerEngine, Arc<dyn Files>), HostError> {
    if let Endpoint::Unix(_) = options.endpoint {
        let files = Arc::new(DiskFiles::open(state)?);
        let observer = observer(early, options, files.clone())?;
        return Ok((DockerEngine::over(observer), files));
    }
    let root = Root::new(HOST_STATE, site, host)?;
    let engine = DockerEngine::new(options, root.managed_path())?;
    Ok((engine.clone(), Arc::new(RemoteFiles::new(engine, root))))
}
