//! What is below `peers/`, kept by a watch: all of it is read, and then followed. Whatever goes wrong, all is read anew.

use std::sync::Arc;
use std::time::Duration;

use super::client::{Client, KeyValue, Range};
use super::coordinator::{Shared, lock, report_of, slots_of};
use super::error::EtcdError;
use super::keys::Keys;
use super::watch::Happening;
use crate::model::facts::{HostFacts, SiteFacts};
use crate::model::names::HostName;
use crate::model::peers::{HostReport, Reports};

/// An etcd that is gone is asked again after this, doubling.
const AGAIN: Duration = Duration::from_millis(200);

/// The longest time between two tries: whoever repairs etcd wants to see it go on.
const AGAIN_MOST: Duration = Duration::from_secs(3);

/// Between tries: doubling, and not all hosts at once.
pub(super) async fn pause(failures: u32) {
    let longest = AGAIN.saturating_mul(1 << failures.min(6)).min(AGAIN_MOST);
    tokio::time::sleep(longest.mul_f64(0.5 + 0.5 * rand::random::<f64>())).await;
}

/// Keeps it until it is dropped.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut failures = 0;
    loop {
        let error = match read(&shared).await {
            Ok(revision) => {
                failures = 0;
                follow(&shared, revision).await
            }
            Err(error) => Some(error),
        };
        let Some(error) = error else { continue };
        {
            let mut seen = lock(&shared.seen);
            if seen.down.is_none() || failures == 0 {
                tracing::warn!("{error}; nothing that disrupts begins until it is back");
            }
            seen.down = Some(error.to_string());
        }
        pause(failures).await;
        failures = failures.saturating_add(1);
    }
}

/// Reads all of it, and wakes whoever waits for anything.
async fn read(shared: &Shared) -> Result<i64, EtcdError> {
    let (found, revision) = shared.client.range(Range::Prefix(shared.keys.peers())).await?;
    let mut reports = Reports::new();
    let mut slots = None;
    for one in &found {
        if one.key == shared.keys.slots() {
            slots = slots_of(one).ok();
        } else if let Some(report) = word(shared, one) {
            reports.insert(report.host.clone(), Arc::new(report));
        }
    }
    shared.see_slots(slots.unwrap_or_default(), revision);
    learn(shared, found.iter().filter_map(|one| machine(&shared.keys, one)));
    let was_down = lock(&shared.seen).down.take().is_some();
    if was_down {
        tracing::info!("etcd answers");
    }
    shared.reports.send_modify(|known| {
        let silent = known.values().filter(|report| !reports.contains_key(&report.host));
        let silent: Vec<_> = silent.map(|report| Arc::new(unheard(report))).collect();
        reports.extend(silent.into_iter().map(|report| (report.host.clone(), report)));
        keep_own(shared, &mut reports);
        *known = Arc::new(reports);
    });
    Ok(revision)
}

/// Follows what happens until that is no longer possible; none where all has to be read anew without any harm done.
async fn follow(shared: &Shared, revision: i64) -> Option<EtcdError> {
    let mut watch = shared.client.watch(shared.keys.peers(), revision + 1);
    loop {
        tokio::select! {
            happened = watch.next() => match happened {
                Ok(Some(happened)) => take(shared, happened),
                Ok(None) => return None,
                Err(error) => return Some(error),
            },
            () = shared.trouble.notified() => return None,
        }
    }
}

fn take(shared: &Shared, happened: Vec<Happening>) {
    shared.reports.send_modify(|reports| {
        for one in happened {
            match one {
                Happening::Written { key, value, revision } if key == shared.keys.slots() => {
                    let record = KeyValue { key, value, revision };
                    match slots_of(&record) {
                        Ok(slots) => shared.see_slots(slots, revision),
                        Err(error) => tracing::warn!("{error}"),
                    }
                }
                Happening::Gone { key, revision } if key == shared.keys.slots() => {
                    shared.see_slots(Vec::new(), revision);
                }
                Happening::Written { key, value, revision } => {
                    let written = KeyValue { key, value, revision };
                    learn(shared, machine(&shared.keys, &written));
                    if let Some(report) = word(shared, &written) {
                        Arc::make_mut(reports).insert(report.host.clone(), Arc::new(report));
                    }
                }
                Happening::Gone { key, .. } => {
                    let host = key.strip_prefix(&shared.keys.reports()).and_then(|name| HostName::new(name).ok());
                    if let Some(host) = host
                        && let Some(report) = reports.get(&host).map(|report| unheard(report))
                    {
                        tracing::warn!(host = host.as_str(), "nothing is heard from it any more");
                        Arc::make_mut(reports).insert(host, Arc::new(report));
                    }
                }
            }
        }
        keep_own(shared, Arc::make_mut(reports));
    });
}

/// Takes in what machines are; what is known already wakes nobody.
fn learn(shared: &Shared, machines: impl IntoIterator<Item = (HostName, HostFacts)>) {
    let machines: Vec<_> = machines.into_iter().collect();
    shared.facts.send_if_modified(|known| {
        let is_news = |(host, facts): &&(HostName, HostFacts)| known.get(host).map(AsRef::as_ref) != Some(facts);
        let news: Vec<_> = machines.iter().filter(is_news).cloned().collect();
        let is_changed = !news.is_empty();
        if is_changed {
            Arc::make_mut(known).extend(news.into_iter().map(|(host, facts)| (host, Arc::new(facts))));
        }
        is_changed
    });
}

/// What the machine of a host is, where a key says so.
fn machine(keys: &Keys, one: &KeyValue) -> Option<(HostName, HostFacts)> {
    let host = HostName::new(one.key.strip_prefix(&keys.machines())?).ok()?;
    let facts = serde_json::from_slice(&one.value);
    let unreadable = |error| tracing::warn!(key = one.key, %error, "what this machine is cannot be read");
    Some((host, facts.map_err(unreadable).ok()?))
}

fn word(shared: &Shared, one: &KeyValue) -> Option<HostReport> {
    if one.key.starts_with(&shared.keys.reports()) { report_of(one) } else { None }
}

/// Of a host whose lease has ended, nothing is believed.
fn unheard(report: &HostReport) -> HostReport {
    HostReport { reachable: false, ..report.clone() }
}

/// Of ourselves nobody knows more than we do.
fn keep_own(shared: &Shared, reports: &mut Reports) {
    if let Some(own) = shared.own.borrow().1.clone() {
        reports.insert(own.host.clone(), Arc::new(own));
    }
}

/// What is known of the machines of a site, for those who are no host of it.
pub async fn machines(client: &Client, keys: &Keys) -> Result<SiteFacts, EtcdError> {
    let (found, _) = client.range(Range::Prefix(keys.machines())).await?;
    let machines = found.iter().filter_map(|one| machine(keys, one));
    Ok(machines.map(|(host, facts)| (host, Arc::new(facts))).collect())
}
