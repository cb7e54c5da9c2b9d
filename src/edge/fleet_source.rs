//! The site as it lies on the disk of this machine, compiled once for all its hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::site_files::{DiskSiteFiles, FileStamp, Stamp};
use super::site_record::SiteRecord;
use super::site_source::{asked, is_fresh};
use crate::control::ports::{BadSite, Loaded, SiteSource};
use crate::model::desired::HostDesired;
use crate::model::facts::SiteFacts;
use crate::model::names::HostName;
use crate::model::ordinals::Ordinals;
use crate::port::site_files::SiteFiles as _;
use crate::resolve::compile::{CompileRequest, Compiled, compile_all};

/// Reads the site's files when they have changed since the last reading.
pub struct FleetSource {
    request: CompileRequest,
    state: PathBuf,
    keeps: bool,
    read: Mutex<Option<Reading>>,
}

/// What was read, and when.
struct Reading {
    site_key: Vec<u8>,
    facts: Arc<SiteFacts>,
    began: SystemTime,
    stamps: BTreeMap<PathBuf, Stamp>,
    result: Result<AllHosts, BadSite>,
}

#[derive(Clone)]
struct AllHosts {
    hosts: BTreeMap<HostName, HostDesired>,
    paths: BTreeSet<PathBuf>,
    warnings: Vec<String>,
    asks_facts: Option<BTreeSet<IpAddr>>,
}

impl FleetSource {
    /// What to read. The number of the source is kept in the state directory; with `keeps` it is counted up.
    pub fn new(request: CompileRequest, state: &Path, keeps: bool) -> Arc<Self> {
        let request = CompileRequest { host: None, ..request };
        Arc::new(Self { request, state: state.to_owned(), keeps, read: Mutex::new(None) })
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
        use_it: impl FnOnce(&Result<AllHosts, BadSite>) -> T,
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
        let kept = SiteRecord::load(&self.state);
        let ordinals = kept.ordinals.clone();
        let request =
            CompileRequest { site_key: site_key.to_vec(), facts: facts.clone(), ordinals, ..self.request.clone() };
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
                let ordinals = all.first().map(Compiled::ordinals).unwrap_or_default();
                let generation = self.number(kept, &digest, ordinals);
                let hosts = all.into_iter().map(|one| {
                    let desired = HostDesired { generation, source_digest: digest.clone(), ..one.desired };
                    (desired.host.clone(), desired)
                });
                Ok(AllHosts { hosts: hosts.collect(), paths, warnings, asks_facts })
            }
            Err(errors) => Err(BadSite { errors: errors.len(), message: errors.render(false), paths }),
        };
        Reading { site_key: site_key.to_vec(), facts: facts.clone(), began, stamps: files.stamps(), result }
    }

    /// One more than before for another source.
    fn number(&self, kept: SiteRecord, source_digest: &str, ordinals: Ordinals) -> u64 {
        let is_new = kept.source_digest != source_digest;
        let generation = if is_new { kept.generation + 1 } else { kept.generation };
        let record = SiteRecord { generation, source_digest: source_digest.to_owned(), ordinals };
        if self.keeps && record != kept {
            record.keep(&self.state);
        }
        generation
    }
}

/// The part of a host. One that vanished from the site keeps what it has: it is never emptied because a line went.
fn part(result: &Result<AllHosts, BadSite>, host: &HostName) -> Result<Loaded, BadSite> {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// The numbers that hosts see as their own.
    fn numbers(state: &Path, hosts: &str, keeps: bool) -> Vec<String> {
        let path = state.join("site.yaml");
        let text = format!(
            "apiVersion: mastic/v1\nkind: Site\nmetadata: {{name: demo}}\nspec:\n  hosts: {{{hosts}}}\n  \
             services: {{web: {{hosts: all, image: 'busybox:1', environment: {{ID: 'no {{{{ host.ordinal }}}}'}}}}}}\n"
        );
        std::fs::write(&path, text).unwrap();
        let source = FleetSource::new(CompileRequest { paths: vec![path], ..CompileRequest::default() }, state, keeps);
        source.with_reading(b"key", &source.request.facts, |read| {
            let all = read.as_ref().map_err(|bad| bad.message.clone()).unwrap();
            let number = |desired: &HostDesired| {
                let settings = desired.services.values().next().unwrap().settings.clone();
                format!("{} {}", desired.host, settings.environment.unwrap()["ID"])
            };
            all.hosts.values().map(number).collect()
        })
    }

    #[test]
    fn hosts_keep_their_numbers_whatever_becomes_of_the_others() {
        let state = tempfile::tempdir().unwrap();
        let state = state.path();
        let first = numbers(state, "c: {}, a: {}, b: {}", true);
        assert_eq!(first, ["a no 2", "b no 3", "c no 1"]);
        assert_eq!(numbers(state, "a: {}, b: {}, c: {}", true), first, "the order is nothing");
        assert_eq!(numbers(state, "z: {}, b: {}, a: {}", false), ["a no 2", "b no 3", "z no 4"]);
        assert_eq!(numbers(state, "y: {}, a: {}", true), ["a no 2", "y no 4"], "who only looked gave none away");
        assert_eq!(numbers(state, "b: {}, x: {ordinal: 1}", true), ["b no 3", "x no 1"], "the site says so");
    }
}
