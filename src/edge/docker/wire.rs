//! Replies of the API as we read them.
//!
//! bollard's models follow the newest API: they have lost `Config.MacAddress`, and a state that they do not know
//! (podman's `stopped`) makes the whole reply unreadable. What is read on every pass is therefore read here, leniently,
//! and only as far as it is used.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bollard::models::{EndpointSettings, HealthConfig, HostConfig, PortMap};
use serde::{Deserialize, Deserializer};

/// Go writes an empty list or map as `null`.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Go writes a set as a map to empty objects.
fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    let map = Option::<BTreeMap<String, serde_json::Value>>::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

/// `GET /containers/{id}/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) image: String,
    pub(super) restart_count: i64,
    pub(super) state: State,
    pub(super) config: Config,
    pub(super) host_config: HostConfig,
    #[serde(deserialize_with = "or_default")]
    pub(super) mounts: Vec<MountPoint>,
    pub(super) network_settings: NetworkSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct State {
    pub(super) status: String,
    pub(super) exit_code: i64,
    #[serde(rename = "OOMKilled")]
    pub(super) oom_killed: bool,
    pub(super) error: String,
    pub(super) started_at: String,
    pub(super) finished_at: String,
    pub(super) health: Option<Health>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Health {
    pub(super) status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Config {
    pub(super) hostname: String,
    pub(super) domainname: String,
    pub(super) user: String,
    #[serde(deserialize_with = "keys")]
    pub(super) exposed_ports: BTreeSet<String>,
    pub(super) tty: bool,
    pub(super) open_stdin: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) env: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) cmd: Vec<String>,
    pub(super) healthcheck: Option<HealthConfig>,
    pub(super) image: String,
    #[serde(deserialize_with = "keys")]
    pub(super) volumes: BTreeSet<String>,
    pub(super) working_dir: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) stop_signal: Option<String>,
    pub(super) stop_timeout: Option<i64>,
    pub(super) mac_address: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct MountPoint {
    #[serde(rename = "Type")]
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) destination: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NetworkSettings {
    #[serde(deserialize_with = "or_default")]
    pub(super) ports: PortMap,
    #[serde(deserialize_with = "or_default")]
    pub(super) networks: HashMap<String, EndpointSettings>,
}

/// An entry of `GET /containers/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListedContainer {
    pub(super) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) names: Vec<String>,
    pub(super) image: String,
    #[serde(rename = "ImageID")]
    pub(super) image_id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) state: String,
    pub(super) status: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) ports: Vec<ListedPort>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListedPort {
    #[serde(rename = "IP")]
    pub(super) address: String,
    pub(super) public_port: Option<u16>,
    #[serde(rename = "Type")]
    pub(super) protocol: String,
}

/// An entry of `GET /images/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ListedImage {
    pub(super) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) repo_tags: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) repo_digests: Vec<String>,
    pub(super) created: i64,
    pub(super) size: i64,
}

/// `GET /images/{name}/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Image {
    pub(super) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) config: Config,
}

/// An event.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Event {
    #[serde(rename = "Type")]
    pub(super) kind: String,
    pub(super) action: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) actor: Actor,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Actor {
    #[serde(rename = "ID")]
    pub(super) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) attributes: HashMap<String, String>,
}

/// `POST /containers/create`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Created {
    pub(super) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) warnings: Vec<String>,
}

/// `POST /containers/{id}/wait`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Waited {
    pub(super) status_code: i64,
    pub(super) error: Option<WaitError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct WaitError {
    pub(super) message: String,
}

/// `GET /exec/{id}/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Exec {
    pub(super) running: bool,
    pub(super) exit_code: Option<i64>,
}

/// `GET /version`, as far as podman is told from Docker by it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Version {
    #[serde(deserialize_with = "or_default")]
    pub(super) components: Vec<Component>,
    #[serde(rename = "Version")]
    pub(super) number: String,
    #[serde(rename = "ApiVersion")]
    pub(super) api: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Component {
    pub(super) name: String,
}
