//! FleetLock, the protocol by which managers of reboots (Zincati and others) wait for their turn:
//! `POST /v1/pre-reboot` and `/v1/steady-state`.
//!
//! A host may go down when each of its services may: the slots of all of them are taken, or none. After the reboot they are
//! given back when the services are ready again, or when the manager says so. In: requests of this machine's manager. Out:
//! slots at the coordinator.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Mutex;

use super::atomic;
use super::store::DiskStore;
use crate::model::desired::HostDesired;
use crate::model::names::ServiceName;
use crate::model::peers::{Ask, Standing};
use crate::port::clock::Clock;
use crate::port::coordinator::{Coordinator, Denied};
use crate::port::store::Store as _;

/// The lock of one host.
pub struct FleetLock {
    state: PathBuf,
    coordinator: Arc<dyn Coordinator>,
    clock: Arc<dyn Clock>,
    turn: Mutex<()>,
}

/// Who holds the lock, and what was taken for it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    id: String,
    services: Vec<ServiceName>,
}

#[derive(Deserialize)]
struct Asked {
    client_params: Client,
}

#[derive(Deserialize)]
struct Client {
    id: String,
    #[serde(default)]
    group: String,
}

/// Why not, in the protocol's form.
struct No {
    status: StatusCode,
    kind: &'static str,
    value: String,
}

fn no(status: StatusCode, kind: &'static str, value: impl Into<String>) -> No {
    No { status, kind, value: value.into() }
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        (self.status, axum::Json(json!({"kind": self.kind, "value": self.value}))).into_response()
    }
}

impl From<Denied> for No {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unreachable(_) => no(StatusCode::SERVICE_UNAVAILABLE, "unreachable", denied.to_string()),
            Denied::Refused(_) | Denied::NotYet(_) => no(StatusCode::CONFLICT, "failed_lock", denied.to_string()),
        }
    }
}

fn broken(error: impl std::fmt::Display) -> No {
    no(StatusCode::INTERNAL_SERVER_ERROR, "failed", error.to_string())
}

/// What has to be agreed on before a host's service may go down for a reboot. That is no step of a rollout: order and halts
/// are not about it.
fn ask(desired: &HostDesired, service: &ServiceName) -> Option<Ask> {
    let spec = desired.services.get(service)?;
    Some(Ask {
        host: desired.host.clone(),
        service: service.clone(),
        generation: desired.generation,
        wanted_since: desired.generation,
        goes_back: true,
        standing: Standing::Counts,
        rollout: spec.rollout.clone(),
        members: desired.placement.get(service.as_str()).cloned().unwrap_or_else(|| vec![desired.host.clone()]),
        budgets: desired.budgets.clone(),
    })
}

impl FleetLock {
    /// For the host of a state directory.
    pub fn new(state: PathBuf, coordinator: Arc<dyn Coordinator>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { state, coordinator, clock, turn: Mutex::new(()) })
    }

    /// Its pages.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/v1/pre-reboot", post(pre_reboot))
            .route("/v1/steady-state", post(steady_state))
            .with_state(self.clone())
    }

    fn record(&self) -> PathBuf {
        self.state.join("fleet-lock.json")
    }

    fn held(&self) -> Result<Option<Held>, No> {
        let content = atomic::read(&self.record()).map_err(broken)?;
        content.map(|content| serde_json::from_slice(&content).map_err(broken)).transpose()
    }

    fn remember(&self, held: Option<&Held>) -> Result<(), No> {
        match held {
            Some(held) => atomic::write(&self.record(), &serde_json::to_vec(held).map_err(broken)?).map_err(broken),
            None => match std::fs::remove_file(self.record()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(broken(error)),
                _ => Ok(()),
            },
        }
    }

    async fn lock(&self, id: &str) -> Result<(), No> {
        let _turn = self.turn.lock().await;
        if let Some(held) = self.held()?
            && held.id != id
        {
            let why = format!("the lock of this host is held by `{}`", held.id);
            return Err(no(StatusCode::CONFLICT, "failed_lock", why));
        }
        let accepted = DiskStore::open(&self.state).load_accepted().map_err(broken)?;
        let Some(desired) = accepted else {
            return self.remember(Some(&Held { id: id.to_owned(), services: Vec::new() }));
        };
        let before = self.held()?.map(|held| held.services).unwrap_or_default();
        let slots = self.coordinator.slots().await?;
        let own = slots.iter().filter(|slot| slot.host == desired.host && !before.contains(&slot.service));
        if let Some(busy) = own.map(|slot| &slot.service).next() {
            let why = format!("`{busy}` is being changed on this host");
            return Err(no(StatusCode::CONFLICT, "failed_lock", why));
        }
        let services: Vec<ServiceName> = desired.services.keys().cloned().collect();
        // Before the first is taken: whatever happens then, it is known what is to be given back.
        self.remember(Some(&Held { id: id.to_owned(), services: services.clone() }))?;
        for service in &services {
            let Some(ask) = ask(&desired, service) else { continue };
            if let Err(denied) = self.coordinator.acquire(&ask, self.clock.now()).await {
                self.give_back(&services).await?;
                return Err(denied.into());
            }
        }
        tracing::info!(id, "this host may be rebooted");
        Ok(())
    }

    async fn unlock(&self, id: &str) -> Result<(), No> {
        let _turn = self.turn.lock().await;
        match self.held()? {
            Some(held) if held.id == id => self.give_back(&held.services).await,
            // Another one's lock is not given back, and nobody's is given back already.
            _ => Ok(()),
        }
    }

    async fn give_back(&self, services: &[ServiceName]) -> Result<(), No> {
        for service in services {
            self.coordinator.release(service).await?;
        }
        self.remember(None)
    }
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Client, No> {
    if headers.get("fleet-lock-protocol").is_none_or(|value| value != "true") {
        return Err(no(StatusCode::BAD_REQUEST, "missing_header", "the header `fleet-lock-protocol: true` is missing"));
    }
    let asked: Asked = serde_json::from_slice(body)
        .map_err(|error| no(StatusCode::BAD_REQUEST, "invalid_body", format!("no request of FleetLock: {error}")))?;
    if asked.client_params.id.is_empty() || asked.client_params.id.len() > 256 {
        return Err(no(StatusCode::BAD_REQUEST, "invalid_body", "`id` must have 1 to 256 characters"));
    }
    Ok(asked.client_params)
}

async fn pre_reboot(State(lock): State<Arc<FleetLock>>, headers: HeaderMap, body: Bytes) -> Response {
    let client = match read(&headers, &body) {
        Ok(client) => client,
        Err(no) => return no.into_response(),
    };
    match lock.lock(&client.id).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(no) => {
            tracing::info!(id = client.id, group = client.group, "this host may not be rebooted now: {}", no.value);
            no.into_response()
        }
    }
}

async fn steady_state(State(lock): State<Arc<FleetLock>>, headers: HeaderMap, body: Bytes) -> Response {
    let unlocked = match read(&headers, &body) {
        Ok(client) => lock.unlock(&client.id).await,
        Err(no) => Err(no),
    };
    unlocked.map_or_else(IntoResponse::into_response, |()| StatusCode::OK.into_response())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::edge::clock::SystemClock;
    use crate::edge::coordinator::LocalCoordinator;
    use crate::edge::http;
    use crate::edge::site_files::DiskSiteFiles;
    use crate::model::names::HostName;
    use crate::model::peers::{HostProgress, HostReport, InstanceReport};
    use crate::model::time::Timestamp;
    use crate::port::store::Revision;
    use crate::resolve::compile::{CompileRequest, compile_all};

    const SITE: &str = "apiVersion: mastic/v1\nkind: Site\nmetadata: {name: s}\nspec:\n  hosts: {one: {groups: [all]}, two: {groups: [all]}}\n  services:\n    web: {image: i, hosts: [all]}\n    api: {image: i, hosts: [all]}\n";

    struct Hosts {
        _place: tempfile::TempDir,
        seats: Vec<LocalCoordinator>,
        addresses: Vec<SocketAddr>,
    }

    /// Two hosts that serve FleetLock, each for itself.
    async fn hosts() -> Hosts {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("site.yaml");
        std::fs::write(&path, SITE).unwrap();
        let request = CompileRequest { paths: vec![path], ..CompileRequest::default() };
        let all = compile_all(&request, &DiskSiteFiles::new()).unwrap();
        let names: Vec<HostName> = all.iter().map(|one| one.desired.host.clone()).collect();
        let seats = LocalCoordinator::of_all(place.path(), &names);
        let mut addresses = Vec::new();
        for (one, seat) in all.iter().zip(&seats) {
            let state = place.path().join(one.desired.host.as_str());
            let revision = Revision {
                generation: 1,
                accepted_at: Timestamp(0),
                user: String::new(),
                source_digest: String::new(),
                cause: String::new(),
            };
            DiskStore::open(&state).save_accepted(&one.desired, &revision, &std::collections::BTreeSet::new()).unwrap();
            seat.report(word(&one.desired.host, true));
            let lock = FleetLock::new(state, Arc::new(seat.clone()), Arc::new(SystemClock));
            let bound = http::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
            addresses.push(bound.address().unwrap());
            let metrics = Arc::new(crate::report::metrics::Metrics::new("0", "0").unwrap());
            let published = crate::control::published::Published::new(one.desired.site.clone(), metrics);
            let stop = tokio_util::sync::CancellationToken::new();
            tokio::spawn(bound.serve(published, Arc::new(SystemClock), Some(lock.router()), stop));
        }
        Hosts { _place: place, seats, addresses }
    }

    fn word(host: &HostName, ready: bool) -> HostReport {
        let instance = InstanceReport { started: true, ready, ..InstanceReport::default() };
        HostReport {
            host: host.clone(),
            generation: 1,
            reachable: true,
            source_digest: String::new(),
            acts: true,
            holds_off: false,
            attempts: 0,
            services: ["web", "api"].map(|name| (ServiceName::new(name).unwrap(), instance.clone())).into(),
            filesets: BTreeMap::new(),
            drained: BTreeMap::new(),
            jobs: BTreeMap::new(),
            progress: HostProgress::default(),
        }
    }

    async fn post(address: SocketAddr, path: &str, header: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    const HEADER: &str = "fleet-lock-protocol: true\r\n";

    fn body(id: &str) -> String {
        json!({"client_params": {"id": id, "group": "default"}}).to_string()
    }

    #[tokio::test]
    async fn one_host_after_the_other_may_be_rebooted() {
        let Hosts { seats, addresses, .. } = &hosts().await;
        let pre = async |host: usize, id: &str| post(addresses[host], "/v1/pre-reboot", HEADER, &body(id)).await;
        let steady = async |host: usize, id: &str| post(addresses[host], "/v1/steady-state", HEADER, &body(id)).await;
        assert_eq!(pre(0, "a").await, (200, String::new()));
        assert_eq!(pre(0, "a").await.0, 200, "as often as it asks");
        assert_eq!(seats[0].slots().await.unwrap().len(), 2, "all services of the host");
        let (code, why) = pre(1, "b").await;
        assert_eq!(code, 409);
        assert_eq!(why, r#"{"kind":"failed_lock","value":"1 of at most 1 may be down: one"}"#);
        assert_eq!(seats[0].slots().await.unwrap().len(), 2, "all or none");
        let (code, why) = pre(0, "another").await;
        assert!(code == 409 && why.contains("is held by `a`"), "{why}");
        assert_eq!(steady(0, "another").await.0, 200);
        assert_eq!(seats[0].slots().await.unwrap().len(), 2, "who has no lock gives none back");
        assert_eq!(steady(0, "a").await.0, 200);
        assert_eq!(steady(0, "a").await.0, 200);
        assert_eq!(pre(1, "b").await.0, 200);
    }

    #[tokio::test]
    async fn what_is_down_elsewhere_and_what_is_being_changed_here_keep_a_host_up() {
        let Hosts { seats, addresses, .. } = &hosts().await;
        let (one, two) = (HostName::new("one").unwrap(), HostName::new("two").unwrap());
        let pre = async || post(addresses[0], "/v1/pre-reboot", HEADER, &body("a")).await;
        seats[1].report(word(&two, false));
        assert_eq!(pre().await.0, 409);
        assert_eq!(seats[0].slots().await.unwrap(), []);
        seats[1].report(word(&two, true));
        let web = ServiceName::new("web").unwrap();
        let rollout = crate::model::desired::Rollout::default();
        let change = Ask {
            host: one.clone(),
            service: web.clone(),
            generation: 1,
            wanted_since: 1,
            goes_back: true,
            standing: Standing::Counts,
            rollout,
            members: vec![one, two],
            budgets: Vec::new(),
        };
        seats[0].acquire(&change, Timestamp(1)).await.unwrap();
        let (code, why) = pre().await;
        assert!(code == 409 && why.contains("`web` is being changed"), "{why}");
        seats[0].release(&web).await.unwrap();
        assert_eq!(pre().await.0, 200);
    }

    #[tokio::test]
    async fn what_is_no_request_of_the_protocol_is_told_so() {
        let Hosts { addresses, .. } = &hosts().await;
        let (code, why) = post(addresses[0], "/v1/pre-reboot", "", &body("a")).await;
        assert!(code == 400 && why.contains("missing_header"), "{why}");
        for wrong in ["", "{}", r#"{"client_params":{"id":""}}"#] {
            let (code, why) = post(addresses[0], "/v1/pre-reboot", HEADER, wrong).await;
            assert!(code == 400 && why.contains("invalid_body"), "{why}");
        }
        assert_eq!(post(addresses[0], "/v1/other", HEADER, "").await.0, 404);
    }
}
