//! The site as it lies on the disk of this machine, compiled for one host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::control::ports::{BadSite, Loaded, SiteSource};
use crate::model::facts::SiteFacts;
use crate::model::names::{HostName, SiteName};
use crate::parse::site::Connection;
use crate::port::site_files::SiteFiles as _;
use crate::resolve::compile::{CompileRequest, Compiled, compile};

use super::site_files::{DiskSiteFiles, FileStamp, Stamp};
use super::site_record::SiteRecord;

/// Reads the site's files at each call.
pub struct DiskSource {
    request: CompileRequest,
    /// Where the numbers of hosts are kept.
    state: PathBuf,
    keeps: bool,
    connection: Mutex<Option<(Connection, PathBuf)>>,
    ready: Mutex<Option<Ready>>,
}

/// What has to be known before the loop starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Site.
    pub site: SiteName,
    /// The host that it was compiled for.
    pub host: HostName,
    /// How many hosts the site has.
    pub hosts: usize,
    /// Whether machines have to be asked what they are; then with the addresses that are no machine's own.
    pub asks_facts: Option<BTreeSet<IpAddr>>,
}

type Read = (Compiled, BTreeSet<PathBuf>, BTreeMap<PathBuf, Stamp>);

/// Whether something of a site has to know what machines are; then with the addresses that are no machine's own.
pub(super) fn asked<'a>(compiled: impl IntoIterator<Item = &'a Compiled>) -> Option<BTreeSet<IpAddr>> {
    compiled.into_iter().find(|one| one.needs_facts).map(|one| one.moving.clone())
}

/// What was read to find the engine, for the loop that starts right after.
struct Ready {
    site_key: Vec<u8>,
    facts: Arc<SiteFacts>,
    began: SystemTime,
    stamps: BTreeMap<PathBuf, Stamp>,
    compiled: Compiled,
    paths: BTreeSet<PathBuf>,
}

/// Clocks of file systems tick: a file that changed twice within a tick has one time for both. Ticks are 1 to 10 ms, or
/// whole seconds where nothing finer is kept. A site that was edited just now is read twice, which costs milliseconds.
const TICK: Duration = Duration::from_millis(20);
const COARSE_TICK: Duration = Duration::from_secs(2);

/// Whether a file can have changed again since its stamp without that showing.
pub(super) fn is_fresh(stamp: Stamp, began: SystemTime) -> bool {
    let Some(stamp) = stamp else { return false };
    let Ok(since) = began.duration_since(SystemTime::UNIX_EPOCH) else { return true };
    let changed =
        Duration::new(u64::try_from(stamp.changed.0).unwrap_or(0), u32::try_from(stamp.changed.1).unwrap_or(0));
    let tick = if stamp.changed.1 == 0 { COARSE_TICK } else { TICK };
    changed + tick >= since
}

impl DiskSource {
    /// What to read; the key of the site is given at each reading. Hosts have the numbers that are kept in the state directory;
    /// with `keeps` those of new ones are added.
    pub fn new(request: CompileRequest, state: &Path, keeps: bool) -> Self {
        Self { request, state: state.to_owned(), keeps, connection: Mutex::new(None), ready: Mutex::new(None) }
    }

    /// Reads it, with all that is known of it.
    pub fn compile(&self, site_key: &[u8]) -> Result<(Compiled, BTreeSet<PathBuf>), BadSite> {
        self.read(site_key, &self.request.facts).map(|(compiled, paths, _)| (compiled, paths))
    }

    fn read(&self, site_key: &[u8], facts: &Arc<SiteFacts>) -> Result<Read, BadSite> {
        let files = DiskSiteFiles::new();
        let kept = SiteRecord::load(&self.state);
        let ordinals = kept.ordinals.clone();
        let request =
            CompileRequest { site_key: site_key.to_vec(), facts: facts.clone(), ordinals, ..self.request.clone() };
        let result = compile(&request, &files);
        let mut paths = files.asked();
        // A path that is missing now is watched for its return.
        paths.extend(self.request.paths.iter().filter(|path| files.kind(path).is_err()).cloned());
        match result {
            Ok(compiled) => {
                let ordinals = compiled.ordinals();
                // One host alone is the first one, whatever happens.
                if self.keeps && compiled.hosts.len() > 1 && ordinals != kept.ordinals {
                    SiteRecord { ordinals, ..kept }.keep(&self.state);
                }
                *self.connection.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some((compiled.connection.clone(), compiled.directory.clone()));
                Ok((compiled, paths, files.stamps()))
            }
            Err(errors) => Err(BadSite { errors: errors.len(), message: errors.render(false), paths }),
        }
    }

    /// Reads it for what has to be known before the loop starts. The loop's first reading takes this one over if no file
    /// has changed since: a site is not compiled twice for one command.
    pub fn prepare(&self, site_key: &[u8]) -> Result<Prepared, BadSite> {
        let began = SystemTime::now();
        let facts = self.request.facts.clone();
        let (compiled, paths, stamps) = self.read(site_key, &facts)?;
        let names = Prepared {
            site: compiled.desired.site.clone(),
            host: compiled.desired.host.clone(),
            hosts: compiled.hosts.len(),
            asks_facts: asked([&compiled]),
        };
        let ready = Ready { site_key: site_key.to_vec(), facts, began, stamps, compiled, paths };
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = Some(ready);
        Ok(names)
    }

    fn take_prepared(&self, site_key: &[u8], facts: &SiteFacts) -> Option<(Compiled, BTreeSet<PathBuf>)> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let is_same = |(path, seen): (&PathBuf, &Stamp)| !is_fresh(*seen, ready.began) && FileStamp::of(path) == *seen;
        let same = ready.site_key == site_key && *ready.facts == *facts && ready.stamps.iter().all(is_same);
        same.then_some((ready.compiled, ready.paths))
    }

    /// How the site says that the engine is reached, with what its paths are relative to; none before it could be read.
    pub fn connection(&self) -> Option<(Connection, PathBuf)> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl SiteSource for DiskSource {
    fn load(&self, site_key: &[u8], facts: &Arc<SiteFacts>) -> Result<Loaded, BadSite> {
        let (compiled, paths) = match self.take_prepared(site_key, facts) {
            Some(prepared) => prepared,
            None => self.read(site_key, facts).map(|(compiled, paths, _)| (compiled, paths))?,
        };
        let (warnings, asks_facts) = (compiled.warnings.lines(), asked([&compiled]));
        Ok(Loaded { desired: compiled.desired, paths, warnings, asks_facts })
    }
}

/// No site: what was accepted is all there is.
pub struct NoSource;

impl SiteSource for NoSource {
    fn load(&self, _: &[u8], _: &Arc<SiteFacts>) -> Result<Loaded, BadSite> {
        Err(BadSite { errors: 1, message: "no site file was named".to_owned(), paths: BTreeSet::new() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use super::*;

    fn site(directory: &Path, image: &str) -> PathBuf {
        let path = directory.join("site.yaml");
        let text = format!(
            "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: s}}\nspec:\n  hosts: {{here: {{connection: {{local: {{}}}}}}}}\n  services: {{a: {{image: {image}, hosts: [here]}}}}\n"
        );
        fs::write(&path, text).unwrap();
        path
    }

    fn source(path: PathBuf) -> DiskSource {
        DiskSource::new(
            CompileRequest { paths: vec![path], host: Some("here".to_owned()), ..CompileRequest::default() },
            Path::new("/nowhere"),
            false,
        )
    }

    fn image(loaded: &Loaded) -> String {
        loaded.desired.services.values().next().unwrap().image.familiar()
    }

    #[test]
    fn what_changed_within_a_tick_may_change_again_unseen() {
        let place = tempfile::tempdir().unwrap();
        let stamp = FileStamp::of(&site(place.path(), "a:1"));
        let changed = stamp.unwrap().changed;
        let at = SystemTime::UNIX_EPOCH
            + Duration::new(u64::try_from(changed.0).unwrap(), u32::try_from(changed.1).unwrap());
        assert!(is_fresh(stamp, at) && is_fresh(stamp, at + TICK / 2));
        assert!(is_fresh(stamp, at - TICK), "the clock was stepped back");
        assert!(!is_fresh(stamp, at + COARSE_TICK * 2));
        assert!(!is_fresh(None, at), "what is missing has no time, and is there or not");
    }

    #[test]
    fn a_change_between_preparing_and_loading_is_read() {
        let place = tempfile::tempdir().unwrap();
        for again in 0..50 {
            let source = source(site(place.path(), &format!("a:{}", 100 + again)));
            source.prepare(b"k").unwrap();
            // Of the same size, in place, and mostly within one tick of the file system's clock.
            site(place.path(), &format!("b:{}", 100 + again));
            assert_eq!(image(&source.load(b"k", &Arc::default()).unwrap()), format!("b:{}", 100 + again));
        }
    }

    #[test]
    fn a_stamp_is_from_before_the_file_was_read() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x");
        let files = DiskSiteFiles::new();
        assert!(crate::port::site_files::SiteFiles::read(&files, &path).is_err());
        fs::write(&path, "x").unwrap();
        assert!(crate::port::site_files::SiteFiles::read(&files, &path).is_ok());
        assert_eq!(files.stamps()[&path], None, "the first look counts, or a change after it would not show");
    }

    #[test]
    fn what_has_not_changed_for_a_while_is_compiled_once() {
        let place = tempfile::tempdir().unwrap();
        let source = source(site(place.path(), "a:1"));
        source.prepare(b"k").unwrap();
        let ready = source.ready.lock().unwrap().take().unwrap();
        let older = Ready { began: ready.began + TICK * 2, ..ready };
        *source.ready.lock().unwrap() = Some(older);
        assert!(source.take_prepared(b"k", &SiteFacts::new()).is_some());
        assert!(source.take_prepared(b"k", &SiteFacts::new()).is_none(), "it is used once");
    }
}
