//! What the engine says, asked past the program: inspecting, comparing, and making containers anew by hand.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Sandbox, command, docker, try_docker};

/// Everything that `docker inspect` says of a container; fails the test if there is none.
#[track_caller]
pub fn inspect(container: &str) -> Value {
    let text = docker(&["container", "inspect", container]);
    serde_json::from_str::<Value>(&text).unwrap()[0].take()
}

/// One value of `docker inspect`; empty if there is no such container.
pub fn look(container: &str, format: &str) -> String {
    try_docker(&["container", "inspect", "-f", format, container]).unwrap_or_default().trim().to_owned()
}

/// What must not change where nothing was to be done: id, start, restarts, whether it runs.
pub fn life(container: &str) -> String {
    look(container, "{{.Id}} {{.State.StartedAt}} {{.RestartCount}} {{.State.Status}}")
}

/// What a container was made with, without what is another in each: ids, names of anonymous volumes, addresses. Null if
/// there is none.
#[track_caller]
pub fn made_with(container: &str) -> Value {
    let Ok(text) = try_docker(&["container", "inspect", container]) else { return Value::Null };
    made(&serde_json::from_str::<Value>(&text).unwrap()[0])
}

/// The same of what `docker inspect` said.
pub fn made(seen: &Value) -> Value {
    let id = seen["Id"].as_str().unwrap().to_owned();
    let mut config = seen["Config"].clone();
    let mut host = seen["HostConfig"].clone();
    if config["Hostname"].as_str().is_some_and(|name| id.starts_with(name)) {
        config["Hostname"] = json!("");
    }
    config["Labels"].as_object_mut().unwrap().remove("mastic.generation");
    // A daemon that was restarted shows an empty list where it showed none.
    for name in ["Dns", "DnsOptions", "DnsSearch"] {
        if host[name].is_null() {
            host[name] = json!([]);
        }
    }
    for mount in host["Mounts"].as_array_mut().into_iter().flatten() {
        if mount["Source"].as_str().is_some_and(|source| source.len() == 64) {
            mount.as_object_mut().unwrap().remove("Source");
        }
    }
    for list in ["VolumesFrom", "Binds"] {
        for entry in host[list].as_array_mut().into_iter().flatten() {
            let text = entry.as_str().unwrap().to_owned();
            let first = text.split(':').next().unwrap();
            if first.len() == 64 {
                *entry = json!(text.replace(first, "ID"));
            }
        }
    }
    let mut networks = Map::new();
    for (name, network) in seen["NetworkSettings"]["Networks"].as_object().unwrap() {
        let mut aliases: Vec<&str> =
            network["Aliases"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        // The short id alone: one that begins with `db` does not take the name of the service `db` away.
        aliases.retain(|alias| alias.len() < 12 || !id.starts_with(alias));
        networks.insert(name.clone(), json!({"aliases": aliases, "ipam": network["IPAMConfig"]}));
    }
    json!({"image": seen["Image"], "config": config, "host": host, "networks": networks})
}

/// In which paths two JSON values differ, with both values.
pub fn differences(one: &Value, other: &Value) -> Vec<String> {
    fn visit(path: &str, one: &Value, other: &Value, found: &mut Vec<String>) {
        match (one, other) {
            (Value::Object(left), Value::Object(right)) => {
                for name in left.keys().chain(right.keys()).collect::<BTreeSet<_>>() {
                    visit(&format!("{path}/{name}"), &one[name], &other[name], found);
                }
            }
            _ if one == other => {}
            _ => found.push(format!("{path}: {one} != {other}")),
        }
    }
    let mut found = Vec::new();
    visit("", one, other, &mut found);
    found
}

/// A call of the engine's API past everything; fails the test unless it succeeds.
#[track_caller]
pub fn call(method: &str, path: &str, body: &Value) -> Value {
    let socket = &super::proxy::engine_socket();
    let (url, body) = (format!("http://engine/v1.41{path}"), body.to_string());
    let json = "Content-Type: application/json";
    let text = command(
        "curl",
        &["-sS", "--fail-with-body", "--unix-socket", socket, "-X", method, "-H", json, "-d", &body, &url],
    );
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

/// Makes a container anew by hand with everything that it has, our labels included, but for `changes`: paths in the
/// body of the engine's create call, such as `/HostConfig/Init`, and their values.
#[track_caller]
pub fn recreate(container: &str, changes: &[(&str, Value)]) {
    let seen = inspect(container);
    let mut body = seen["Config"].clone();
    body["HostConfig"] = seen["HostConfig"].clone();
    let host = &seen["HostConfig"];
    let named = host["UTSMode"] != "host" && host["NetworkMode"] != "host";
    if !named || seen["Id"].as_str().unwrap().starts_with(body["Hostname"].as_str().unwrap()) {
        body["Hostname"] = json!("");
        body["Domainname"] = json!("");
    }
    let mode = host["NetworkMode"].as_str().unwrap().to_owned();
    let networks = seen["NetworkSettings"]["Networks"].as_object().unwrap();
    let endpoint =
        |name: &str| json!({"Aliases": networks[name]["Aliases"], "IPAMConfig": networks[name]["IPAMConfig"]});
    let own = !["host", "none", "default", "bridge"].contains(&mode.as_str());
    if own {
        body["NetworkingConfig"] = json!({"EndpointsConfig": {&mode: endpoint(&mode)}});
    }
    for (path, value) in changes {
        set(&mut body, path, value);
    }
    docker(&["rm", "-f", container]);
    let id = call("POST", &format!("/containers/create?name={container}"), &body)["Id"].as_str().unwrap().to_owned();
    for name in networks.keys().filter(|name| own && **name != mode) {
        call("POST", &format!("/networks/{name}/connect"), &json!({"Container": id, "EndpointConfig": endpoint(name)}));
    }
    call("POST", &format!("/containers/{id}/start"), &json!({}));
}

fn set(body: &mut Value, path: &str, value: &Value) {
    let mut place = body;
    for part in path.trim_start_matches('/').split('/') {
        // Names of labels have dots but no slashes; of ports they have: `80~tcp`.
        place = &mut place[part.replace('~', "/")];
    }
    *place = value.clone();
}

/// Causes by service, as `mastic plan -o json` names them, and what the plan is about: `service -> {field}`.
#[track_caller]
pub fn causes(sandbox: &Sandbox, arguments: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let plan = sandbox.mastic(&[&["plan", "-o", "json"], arguments].concat());
    assert_eq!(plan.code, 0, "{plan}");
    let plan = plan.json();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for action in plan["actions"].as_array().unwrap() {
        let fields =
            action["causes"].as_array().unwrap().iter().map(|cause| cause["field"].as_str().unwrap().to_owned());
        found.entry(action["service"].as_str().unwrap().to_owned()).or_default().extend(fields);
    }
    found
}

impl Sandbox {
    /// The containers of this sandbox, as names.
    pub fn containers(&self) -> BTreeSet<String> {
        let names = docker(&["ps", "-a", "--format", "{{.Names}}"]);
        let ours = format!("{}-", self.prefix());
        names.lines().filter(|name| name.starts_with(&ours)).map(str::to_owned).collect()
    }

    /// The life of each container.
    pub fn lives(&self) -> BTreeMap<String, String> {
        self.containers().into_iter().map(|name| (name.clone(), life(&name))).collect()
    }

    /// Whether nothing is left to do.
    pub fn is_settled(&self) -> bool {
        self.mastic(&["plan", "--detailed-exitcode"]).code == 0
    }

    /// The status, as the agent tells it or as it is seen now.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.mastic(&["status", "-o", "json"]).json()
    }

    /// What the status says of a service's instance.
    #[track_caller]
    pub fn instance(&self, service: &str) -> Value {
        let status = self.status();
        // An agent that has just begun knows of none.
        let mut instances = status["hosts"][0]["instances"].as_array().into_iter().flatten();
        instances.find(|instance| instance["service"] == service).cloned().unwrap_or(Value::Null)
    }

    /// Whether a condition of a service is true.
    pub fn has_condition(&self, service: &str, kind: &str) -> bool {
        let instance = self.instance(service);
        let conditions = instance["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
    }

    /// Starts an agent and waits until it answers.
    #[track_caller]
    pub fn agent(&self, arguments: &[&str]) -> super::Background {
        let agent = self.start(&[&["agent"], arguments].concat());
        self.wait_for("the agent's socket", 30, || self.state().join("agent.sock").exists());
        agent
    }
}
