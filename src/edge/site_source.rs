//! The site as it lies on the disk of this machine, compiled for one host.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::control::ports::{BadSite, Loaded, SiteSource};
use crate::model::names::{HostName, SiteName};
use crate::parse::site::Connection;
use crate::port::site_files::SiteFiles as _;
use crate::resolve::compile::{CompileRequest, Compiled, compile};

use super::site_files::DiskSiteFiles;

/// Reads the site's files at each call.
pub struct DiskSource {
    request: CompileRequest,
    connection: Mutex<Option<(Connection, PathBuf)>>,
    ready: Mutex<Option<Ready>>,
}

/// What was read to find the engine, for the loop that starts right after.
struct Ready {
    site_key: Vec<u8>,
    stamps: Vec<(PathBuf, Stamp)>,
    compiled: Compiled,
    paths: BTreeSet<PathBuf>,
}

/// What tells that a file is still the same: device, inode, size, time of the last change in nanoseconds.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.ctime(), found.ctime_nsec()))
}

impl DiskSource {
    /// What to read; the key of the site is given at each reading.
    pub fn new(request: CompileRequest) -> Self {
        Self { request, connection: Mutex::new(None), ready: Mutex::new(None) }
    }

    /// Reads it, with all that is known of it.
    pub fn compile(&self, site_key: &[u8]) -> Result<(Compiled, BTreeSet<PathBuf>), BadSite> {
        let files = DiskSiteFiles::new();
        let request = CompileRequest { site_key: site_key.to_vec(), ..self.request.clone() };
        let result = compile(&request, &files);
        let mut paths = files.asked();
        // A path that is missing now is watched for its return.
        paths.extend(self.request.paths.iter().filter(|path| files.kind(path).is_err()).cloned());
        match result {
            Ok(compiled) => {
                *self.connection.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((compiled.connection.clone(), compiled.directory.clone()));
                Ok((compiled, paths))
            }
            Err(errors) => Err(BadSite { errors: errors.len(), message: errors.render(false), paths }),
        }
    }

    /// Reads it for what has to be known before the loop starts. The loop's first reading takes this one over if no file
    /// has changed since: a site is not compiled twice for one command.
    pub fn prepare(&self, site_key: &[u8]) -> Result<(SiteName, HostName), BadSite> {
        let (compiled, paths) = self.compile(site_key)?;
        let names = (compiled.desired.site.clone(), compiled.desired.host.clone());
        let stamps = paths.iter().map(|path| (path.clone(), stamp(path))).collect();
        let ready = Ready { site_key: site_key.to_vec(), stamps, compiled, paths };
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(ready);
        Ok(names)
    }

    fn take_prepared(&self, site_key: &[u8]) -> Option<(Compiled, BTreeSet<PathBuf>)> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let same = ready.site_key == site_key && ready.stamps.iter().all(|(path, seen)| stamp(path) == *seen);
        same.then_some((ready.compiled, ready.paths))
    }

    /// How the site says that the engine is reached, with what its paths are relative to; none before it could be read.
    pub fn connection(&self) -> Option<(Connection, PathBuf)> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SiteSource for DiskSource {
    fn load(&self, site_key: &[u8]) -> Result<Loaded, BadSite> {
        let (compiled, paths) = match self.take_prepared(site_key) {
            Some(prepared) => prepared,
            None => self.compile(site_key)?,
        };
        let warnings = compiled.warnings.lines();
        Ok(Loaded { desired: compiled.desired, paths, warnings })
    }
}

/// No site: what was accepted is all there is.
pub struct NoSource;

impl SiteSource for NoSource {
    fn load(&self, _: &[u8]) -> Result<Loaded, BadSite> {
        Err(BadSite { errors: 1, message: "no site file was named".to_owned(), paths: BTreeSet::new() })
    }
}
