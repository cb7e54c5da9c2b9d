//! The site as it lies on the disk of this machine, compiled once for all its hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::atomic;
use super::site_files::{DiskSiteFiles, FileStamp, Stamp};
use super::site_source::{asked, is_fresh};
use crate::control::ports::{BadSite, Loaded, SiteSource};
use crate::model::desired::HostDesired;
use crate::model::facts::SiteFacts;
use crate::model::names::HostName;
use crate::port::site_files::SiteFiles as _;
use crate::resolve::compile::{CompileRequest, compile_all};

/// Reads the site's files when they have changed since the last reading.
pub struct FleetSource {
    request: CompileRequest,
    record: PathBuf,
    keeps: bool,
    read: Mutex<Option<Reading>>,
}

/// What was read, and when.
struct Reading {
    site_key: Vec<u8>,
    facts: Arc<SiteFacts>,
    began: SystemTime,
    stamps: BTreeMap<PathBuf, Stamp>,
    result: Result<Compiled, BadSite>,
}

#[derive(Clone)]
struct Compiled {
    hosts: BTreeMap<HostName, HostDesired>,
    paths: BTreeSet<PathBuf>,
    warnings: Vec<String>,
    asks_facts: Option<BTreeSet<IpAddr>>,
}

/// The number of the source that was read last.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    generation: u64,
    source_digest: String,
}

impl FleetSource {
    /// What to read. The number of the source is kept in the state directory; with `keeps` it is counted up.
    pub fn new(request: CompileRequest, state: &Path, keeps: bool) -> Arc<Self> {
        let request = CompileRequest { host: None, ..request };
        Arc::new(Self { request, record: state.join("site.json"), keeps, read: Mutex::new(None) })
    }

    /// The part of one host.
    pub fn at(self: &Arc<Self>, host: HostName) -> Arc<dyn SiteSource> {
        Arc::new(HostSource { source: self.clone(), host })
    }

    /// Whether it can be used as it is now.
    pub fn is_valid(&self, site_key: &[u8]) -> bool {
        self.with_reading(site_key, &self.request.facts, Result::is_ok)
    }

    /// Whether machines have to be asked what they are, as far as that can be told; then with the addresses that are no
    /// machine's own.
    pub fn asks_facts(&self, site_key: &[u8]) -> Option<BTreeSet<IpAddr>> {
        self.with_reading(site_key, &self.request.facts, |read| read.as_ref().ok()?.asks_facts.clone())
    }

    fn with_reading<T>(
        &self,
        site_key: &[u8],
        facts: &Arc<SiteFacts>,
        use_it: impl FnOnce(&Result<Compiled, BadSite>) -> T,
    ) -> T {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let is_current = |reading: &Reading| {
            reading.site_key == site_key
                && (Arc::ptr_eq(&reading.facts, facts) || reading.facts == *facts)
                && reading
                    .stamps
                    .iter()
                    .all(|(path, seen)| !is_fresh(*seen, reading.began) && FileStamp::of(path) == *seen)
        };
        let reading = match read.take().filter(is_current) {
            Some(reading) => reading,
            None => self.compile(site_key, facts),
        };
        use_it(&read.insert(reading).result)
    }

    fn compile(&self, site_key: &[u8], facts: &Arc<SiteFacts>) -> Reading {
        let began = SystemTime::now();
        let files = DiskSiteFiles::new();
        let request = CompileRequest { site_key: site_key.to_vec(), facts: facts.clone(), ..self.request.clone() };
        let result = compile_all(&request, &files);
        let mut paths = files.asked();
        // A path that is missing now is watched for its return.
        paths.extend(self.request.paths.iter().filter(|path| files.kind(path).is_err()).cloned());
        let result = match result {
            Ok(all) => {
                let warnings = all.first().map(|one| one.warnings.lines()).unwrap_or_default();
                let asks_facts = asked(all.iter());
                let mut digest = Sha256::new();
                for one in &all {
                    digest.update(one.desired.source_digest.as_bytes());
                }
                let digest = hex::encode(digest.finalize());
                let generation = self.number(&digest);
                let hosts = all.into_iter().map(|one| {
                    let desired = HostDesired { generation, source_digest: digest.clone(), ..one.desired };
                    (desired.host.clone(), desired)
                });
                Ok(Compiled { hosts: hosts.collect(), paths, warnings, asks_facts })
            }
            Err(errors) => Err(BadSite { errors: errors.len(), message: errors.render(false), paths }),
        };
        Reading { site_key: site_key.to_vec(), facts: facts.clone(), began, stamps: files.stamps(), result }
    }

    /// One more than before for another source. A record that is lost begins anew: hosts know their own numbers.
    fn number(&self, source_digest: &str) -> u64 {
        let kept = atomic::read(&self.record).ok().flatten();
        let kept: Record = kept.and_then(|content| serde_json::from_slice(&content).ok()).unwrap_or_default();
        if kept.source_digest == source_digest {
            return kept.generation;
        }
        let record = Record { generation: kept.generation + 1, source_digest: source_digest.to_owned() };
        if self.keeps
            && let Ok(content) = serde_json::to_vec(&record)
            && let Err(error) = atomic::write(&self.record, &content)
        {
            tracing::warn!(%error, "the number of the site's source is not kept");
        }
        record.generation
    }
}

/// The part of a host. One that vanished from the site keeps what it has: it is never emptied because a line went.
fn part(result: &Result<Compiled, BadSite>, host: &HostName) -> Result<Loaded, BadSite> {
    let compiled = result.as_ref().map_err(Clone::clone)?;
    let (paths, warnings) = (compiled.paths.clone(), compiled.warnings.clone());
    match compiled.hosts.get(host) {
        Some(desired) => {
            Ok(Loaded { desired: desired.clone(), paths, warnings, asks_facts: compiled.asks_facts.clone() })
        }
        None => Err(BadSite {
            errors: 1,
            message: format!("the site no longer has the host `{host}`; what runs there stays"),
            paths,
        }),
    }
}

/// The part of one host.
struct HostSource {
    source: Arc<FleetSource>,
    host: HostName,
}

impl SiteSource for HostSource {
    fn load(&self, site_key: &[u8], facts: &Arc<SiteFacts>) -> Result<Loaded, BadSite> {
        self.source.with_reading(site_key, facts, |result| part(result, &self.host))
    }
}
