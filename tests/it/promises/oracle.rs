//! What has to be there, looked up without the planner: each field that a spec sets, on the container itself.

use std::collections::BTreeMap;

use mastic::model::desired::{HostDesired, InstanceDesired};
use mastic::model::file::{OnChange, Owner};
use mastic::model::job::JobState;
use mastic::model::labels;
use mastic::model::settings::Mount;
use mastic::observe::observed::{Health, ObservedContainer, Status};
use mastic::port::files::ObserveFiles;
use mastic::port::store::Store;
use mastic::sim::world::SimHost;
use serde_json::Value;

/// The numbers of `app` in all simulated images.
const APP: (u32, u32) = (1000, 1001);

/// What is wrong with a host, if anything. `instead` are specs that hold in place of the desired ones.
pub async fn wrong(
    host: &SimHost,
    desired: &HostDesired,
    instead: &BTreeMap<String, InstanceDesired>,
) -> Option<String> {
    let ours = host.containers().into_iter().filter(|container| container.labels.contains_key(labels::SITE));
    let mut left: BTreeMap<String, String> = ours.map(|container| (container.name, container.id)).collect();
    for (name, spec) in &desired.services {
        let other = instead.get(name.as_str());
        let spec = other.unwrap_or(spec);
        left.remove(spec.container_name.as_str());
        if other.is_some() {
            left.remove(&spec.container_name.failed());
        }
        if let Some(what) = wrong_instance(host, spec).await {
            return Some(format!("{name}: {what}"));
        }
    }
    if let Some(name) = left.keys().next() {
        return Some(format!("the container {name} is left over"));
    }
    let memory = host.store().load_memory().unwrap();
    for (name, job) in &desired.jobs {
        match memory.jobs.get(name) {
            Some(record) if matches!(record.state, JobState::Done { .. }) => {
                let once = job.run == mastic::model::job::JobRun::Once;
                if record.input_hash != job.input_hash && !once {
                    return Some(format!("the job {name} was done with other inputs"));
                }
            }
            other => return Some(format!("the job {name} is not done: {other:?}")),
        }
    }
    None
}

async fn wrong_instance(host: &SimHost, spec: &InstanceDesired) -> Option<String> {
    let name = spec.container_name.as_str();
    let Ok(container) = host.inspect(name) else { return Some("there is no container".to_owned()) };
    if container.state.status != Status::Running {
        return Some(format!("it is {:?}, exit code {}", container.state.status, container.state.exit_code));
    }
    if !matches!(container.state.health, Health::None | Health::Healthy) {
        return Some(format!("it is {:?}", container.state.health));
    }
    if container.image != spec.image.as_str() {
        return Some(format!("its image is {}, not {}", container.image, spec.image));
    }
    if container.label(labels::SERVICE) != Some(spec.service.as_str()) {
        return Some("it belongs to another service".to_owned());
    }
    wrong_settings(&container, spec).or(wrong_files(host, &container, spec).await)
}

fn wrong_settings(container: &ObservedContainer, spec: &InstanceDesired) -> Option<String> {
    let detail = container.detail.as_ref().unwrap();
    let (Ok(Value::Object(wanted)), Ok(Value::Object(seen))) =
        (serde_json::to_value(&spec.settings), serde_json::to_value(&detail.settings))
    else {
        return Some("settings are no map".to_owned());
    };
    for (field, value) in &wanted {
        let live = seen.get(field).unwrap_or(&Value::Null);
        let same = match field.as_str() {
            // The image adds to these.
            "environment" | "labels" => includes(live, value),
            "healthcheck" => includes(live, value),
            "volumes" => continue,
            _ => live == value,
        };
        if !same {
            return Some(format!("{field} is {live}, not {value}"));
        }
    }
    // What is not set is not limited.
    for field in ["mem_limit", "cpus", "cpu_shares", "pids_limit"] {
        let live = seen.get(field).and_then(Value::as_i64).unwrap_or(0);
        if !wanted.contains_key(field) && live != 0 {
            return Some(format!("{field} is {live}, not unlimited"));
        }
    }
    if spec.settings.environment.is_none()
        && detail.settings.environment.iter().flatten().any(|(key, _)| key == "LEVEL")
    {
        return Some("LEVEL is still in its environment".to_owned());
    }
    let none = BTreeMap::new();
    let (wanted, live) =
        (spec.settings.volumes.as_ref().unwrap_or(&none), detail.settings.volumes.as_ref().unwrap_or(&none));
    for (target, mount) in wanted {
        let same = match (mount, live.get(target)) {
            (Mount::Managed { path }, Some(Mount::Managed { path: other })) => path == other,
            (mount, Some(other)) => mount == other,
            (_, None) => false,
        };
        if !same {
            return Some(format!("{target} is mounted as {:?}, not {mount:?}", live.get(target)));
        }
    }
    let networks: Vec<&str> = spec.networks.keys().map(mastic::model::names::NetworkName::as_str).collect();
    let attached: Vec<&str> = detail.networks.keys().map(String::as_str).filter(|name| *name != "bridge").collect();
    // Who names none, nor another mode, is on the default one.
    let on_default = spec.networks.is_empty() && spec.settings.network_mode.is_none();
    if networks != attached || on_default && !detail.networks.contains_key("bridge") {
        return Some(format!("it hangs on {attached:?}, not on {networks:?}"));
    }
    for (network, attachment) in &spec.networks {
        let live = &detail.networks[network.as_str()];
        if !attachment.aliases.iter().all(|alias| live.aliases.contains(alias)) {
            return Some(format!("its names on {network} are {:?}", live.aliases));
        }
    }
    None
}

fn includes(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(key, value)| live.get(key) == Some(value)),
        _ => live == wanted,
    }
}

async fn wrong_files(host: &SimHost, container: &ObservedContainer, spec: &InstanceDesired) -> Option<String> {
    if spec.files.is_empty() {
        return None;
    }
    let hash = container.detail.as_ref()?.managed_hash.clone()?;
    let seen = host.files().observe(&format!("{}/{hash}", spec.container_name)).await.unwrap();
    for file in &spec.files {
        let digest = mastic::plan::files::digest(file.content.expose());
        let told = matches!(file.on_change, OnChange::Reload | OnChange::Restart);
        if told && host.has_read(&container.name, &file.target) != Some(digest) {
            return Some(format!("the process has not read the new {}", file.target));
        }
        let Some(live) = seen.get(&file.path) else { return Some(format!("{} is missing", file.target)) };
        if live.digest != mastic::plan::files::digest(file.content.expose()) {
            return Some(format!("{} has other content", file.target));
        }
        let id = |owner: &Owner, app: u32| match owner {
            Owner::Id(id) => *id,
            Owner::Name(_) => app,
        };
        let owner = (id(&file.owner, APP.0), id(&file.group, APP.1));
        if live.mode != file.mode || (live.uid, live.gid) != owner {
            return Some(format!("{} is {:o} of {}:{}", file.target, live.mode, live.uid, live.gid));
        }
    }
    None
}
