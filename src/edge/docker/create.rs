//! What a container is created from, in the API's words.
//!
//! In: the port's request and the engine's API version. Out: the body of the call, and the networks to attach after it.
//! A setting that the engine would silently drop because it is too old for it is refused here.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig,
    HostConfigCgroupnsModeEnum, HostConfigLogConfig, NetworkingConfig, PortBinding, ResourcesUlimits,
};
use serde_json::Value;

use super::{limits, mounts};
use crate::model::network::Attachment;
use crate::model::settings::{ContainerSettings, Healthcheck};
use crate::port::engine::{Answer, CreateContainer, EngineError};

/// From here on an address can be fixed per network, and checks have a start interval.
const API_PER_NETWORK: (u32, u32) = (1, 44);
/// From here on attaching heeds the hardware address.
const API_CONNECT_ADDRESS: (u32, u32) = (1, 54);
/// From here on there are annotations.
const API_ANNOTATIONS: (u32, u32) = (1, 43);

/// A call to create a container.
#[derive(Debug)]
pub(super) struct CreateCall {
    /// The body.
    pub(super) body: Value,
    /// The networks that have to be attached afterwards: engines before API 1.44 take one at creation.
    pub(super) networks: Vec<(String, Attachment)>,
}

/// Builds the call. `image` is the reference or the id to create from.
pub(super) fn call(request: &CreateContainer, image: &str, api: (u32, u32)) -> Answer<CreateCall> {
    let settings = &request.settings;
    check_version(request, api)?;
    let mut host = host_config(settings)?;
    limits::write(settings, &mut host)?;
    mounts::write(settings.volumes.as_ref().unwrap_or(&BTreeMap::new()), &request.carried_volumes, &mut host)?;

    let mut networks: Vec<(String, Attachment)> =
        request.networks.iter().map(|(name, attachment)| (name.clone(), attachment.clone())).collect();
    let wanted = settings.network_mode.as_deref();
    let first = networks.iter().position(|(name, _)| wanted.is_none_or(|wanted| wanted == name));
    let first = first.map(|index| networks.remove(index));
    host.network_mode = wanted.map(str::to_owned).or_else(|| first.as_ref().map(|(name, _)| name.clone()));
    let mut endpoints: HashMap<String, EndpointSettings> = HashMap::new();
    if let Some((name, attachment)) = first {
        let mut endpoint = endpoint(&attachment);
        if api >= API_PER_NETWORK && endpoint.mac_address.is_none() {
            endpoint.mac_address.clone_from(&settings.mac_address);
        }
        endpoints.insert(name, endpoint);
    }
    if api >= API_PER_NETWORK {
        endpoints.extend(networks.drain(..).map(|(name, attachment)| (name, endpoint(&attachment))));
    }
    let endpoints = (!endpoints.is_empty()).then_some(NetworkingConfig { endpoints_config: Some(endpoints) });

    let mut labels: HashMap<String, String> = settings.labels.clone().unwrap_or_default().into_iter().collect();
    labels.extend(request.labels.clone());
    let body = ContainerCreateBody {
        hostname: settings.hostname.clone(),
        domainname: settings.domainname.clone(),
        user: settings.user.clone(),
        exposed_ports: exposed(settings),
        tty: settings.tty,
        open_stdin: settings.stdin_open,
        env: settings
            .environment
            .as_ref()
            .map(|environment| environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        cmd: settings.command.clone(),
        healthcheck: settings.healthcheck.as_ref().map(health),
        image: Some(image.to_owned()),
        working_dir: settings.working_dir.clone(),
        entrypoint: settings.entrypoint.clone(),
        labels: Some(labels),
        stop_signal: settings.stop_signal.clone(),
        stop_timeout: settings.stop_grace_period,
        host_config: Some(host),
        networking_config: endpoints,
        ..ContainerCreateBody::default()
    };
    let mut body = serde_json::to_value(body).map_err(|error| EngineError::Refused(error.to_string()))?;
    if let (Some(address), Value::Object(body), true) = (&settings.mac_address, &mut body, api < API_PER_NETWORK) {
        body.insert("MacAddress".to_owned(), Value::from(address.as_str()));
    }
    Ok(CreateCall { body, networks })
}

/// An old engine does not know these and says nothing.
fn check_version(request: &CreateContainer, api: (u32, u32)) -> Answer<()> {
    let settings = &request.settings;
    let needs = |set: bool, key: &str, need: (u32, u32)| {
        if set && api < need {
            let text = format!("{key} needs an engine of API {}.{}; this one has {}.{}", need.0, need.1, api.0, api.1);
            Err(EngineError::Refused(text))
        } else {
            Ok(())
        }
    };
    let start_interval = settings.healthcheck.as_ref().is_some_and(|check| check.start_interval.is_some());
    needs(start_interval, "healthcheck.start_interval", API_PER_NETWORK)?;
    needs(settings.annotations.is_some(), "annotations", API_ANNOTATIONS)?;
    let per_network = request.networks.values().any(|attachment| attachment.mac_address.is_some());
    needs(per_network, "networks: mac_address", API_PER_NETWORK)
}

/// An attachment that is made later than the container: before API 1.54 its hardware address is silently dropped.
pub(super) fn check_attachment(attachment: &Attachment, api: (u32, u32)) -> Answer<()> {
    if attachment.mac_address.is_some() && api < API_CONNECT_ADDRESS {
        let text = "this engine takes the mac_address of a network only when it makes the container";
        return Err(EngineError::Refused(text.to_owned()));
    }
    Ok(())
}

fn host_config(settings: &ContainerSettings) -> Answer<HostConfig> {
    let cgroupns_mode = settings
        .cgroup
        .as_deref()
        .map(str::parse::<HostConfigCgroupnsModeEnum>)
        .transpose()
        .map_err(|_| EngineError::Refused("cgroup: it is `host` or `private`".to_owned()))?;
    Ok(HostConfig {
        init: settings.init,
        annotations: settings.annotations.clone().map(|map| map.into_iter().collect()),
        privileged: settings.privileged,
        cap_add: list(settings.cap_add.as_ref()),
        cap_drop: list(settings.cap_drop.as_ref()),
        security_opt: list(settings.security_opt.as_ref()),
        pid_mode: settings.pid.clone(),
        ipc_mode: settings.ipc.clone(),
        uts_mode: settings.uts.clone(),
        userns_mode: settings.userns_mode.clone(),
        cgroupns_mode,
        cgroup_parent: settings.cgroup_parent.clone(),
        readonly_rootfs: settings.read_only,
        group_add: list(settings.group_add.as_ref()),
        runtime: settings.runtime.clone(),
        oom_score_adj: settings.oom_score_adj,
        devices: settings.devices.as_ref().map(|devices| devices.iter().map(|text| device(text)).collect()),
        device_cgroup_rules: list(settings.device_cgroup_rules.as_ref()),
        device_requests: settings.gpus.as_ref().map(|requests| requests.iter().map(device_request).collect()),
        ulimits: settings.ulimits.as_ref().map(|limits| {
            let entry = |(name, limit): (&String, &crate::model::settings::Ulimit)| ResourcesUlimits {
                name: Some(name.clone()),
                soft: Some(limit.soft),
                hard: Some(limit.hard),
            };
            limits.iter().map(entry).collect()
        }),
        shm_size: settings.shm_size,
        sysctls: settings.sysctls.clone().map(|map| map.into_iter().collect()),
        storage_opt: settings.storage_opt.clone().map(|map| map.into_iter().collect()),
        dns: settings.dns.clone(),
        dns_options: settings.dns_opt.clone(),
        dns_search: settings.dns_search.clone(),
        extra_hosts: list(settings.extra_hosts.as_ref()),
        port_bindings: settings.ports.as_ref().map(|ports| {
            let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
            for port in ports {
                let binding = PortBinding {
                    host_ip: Some(port.host_ip.clone()),
                    host_port: Some(port.published.map(|number| number.to_string()).unwrap_or_default()),
                };
                let key = format!("{}/{}", port.target, port.protocol);
                bindings.entry(key).or_default().get_or_insert_default().push(binding);
            }
            bindings
        }),
        volumes_from: list(settings.volumes_from.as_ref()),
        log_config: settings.logging.as_ref().map(|logging| HostConfigLogConfig {
            typ: Some(logging.driver.clone()),
            config: Some(logging.options.clone().into_iter().collect()),
        }),
        ..HostConfig::default()
    })
}

/// The engine publishes only what is exposed as well, and is silent about the rest.
fn exposed(settings: &ContainerSettings) -> Option<Vec<String>> {
    let published = settings.ports.iter().flatten().map(|port| format!("{}/{}", port.target, port.protocol));
    let mut all: Vec<String> = settings.expose.iter().flatten().cloned().chain(published).collect();
    all.sort();
    all.dedup();
    (!all.is_empty()).then_some(all)
}

fn list<'a>(values: Option<impl IntoIterator<Item = &'a String>>) -> Option<Vec<String>> {
    values.map(|values| values.into_iter().cloned().collect())
}

fn device(text: &str) -> DeviceMapping {
    let mut parts = text.split(':').map(str::to_owned);
    DeviceMapping { path_on_host: parts.next(), path_in_container: parts.next(), cgroup_permissions: parts.next() }
}

fn device_request(request: &crate::model::settings::DeviceRequest) -> DeviceRequest {
    DeviceRequest {
        driver: Some(request.driver.clone()),
        count: Some(request.count),
        device_ids: Some(request.device_ids.clone()),
        capabilities: Some(request.capabilities.clone()),
        options: Some(request.options.clone().into_iter().collect()),
    }
}

fn health(check: &Healthcheck) -> HealthConfig {
    HealthConfig {
        test: Some(check.test.clone()),
        interval: check.interval,
        timeout: check.timeout,
        retries: check.retries,
        start_period: check.start_period,
        start_interval: check.start_interval,
    }
}

/// How a container hangs on a network, in the API's words.
pub(super) fn endpoint(attachment: &Attachment) -> EndpointSettings {
    let address = EndpointIpamConfig {
        ipv4_address: attachment.ipv4_address.clone(),
        ipv6_address: attachment.ipv6_address.clone(),
        link_local_ips: (!attachment.link_local_ips.is_empty()).then(|| attachment.link_local_ips.clone()),
    };
    EndpointSettings {
        ipam_config: (address != EndpointIpamConfig::default()).then_some(address),
        mac_address: attachment.mac_address.clone(),
        aliases: (!attachment.aliases.is_empty()).then(|| attachment.aliases.clone()),
        driver_opts: (!attachment.driver_opts.is_empty()).then(|| attachment.driver_opts.clone().into_iter().collect()),
        ..EndpointSettings::default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::image::ImageRef;
    use serde_json::json;

    fn request(settings: Value, networks: &[&str]) -> CreateContainer {
        let attachment = |name: &&str| {
            let aliases = vec![format!("{name}-alias")];
            ((*name).to_owned(), Attachment { aliases, ..Attachment::default() })
        };
        CreateContainer {
            name: "web".into(),
            image_id: "sha256:1".into(),
            image: ImageRef::new("app:1").unwrap(),
            settings: serde_json::from_value(settings).unwrap(),
            networks: networks.iter().map(attachment).collect(),
            labels: BTreeMap::from([("mastic.site".to_owned(), "demo".to_owned())]),
            carried_volumes: BTreeMap::new(),
        }
    }

    #[test]
    fn an_old_engine_takes_one_network_and_the_address_of_the_container() {
        let request = request(json!({"network_mode": "b", "mac_address": "02:00:00:00:00:01"}), &["a", "b", "c"]);
        let old = call(&request, "app:1", (1, 41)).unwrap();
        assert_eq!(old.body["MacAddress"], "02:00:00:00:00:01");
        assert_eq!(old.body["HostConfig"]["NetworkMode"], "b");
        assert_eq!(old.body["NetworkingConfig"]["EndpointsConfig"], json!({"b": {"Aliases": ["b-alias"]}}));
        let later: Vec<&str> = old.networks.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(later, ["a", "c"]);

        let new = call(&request, "app:1", (1, 44)).unwrap();
        assert_eq!(new.body.get("MacAddress"), None);
        let endpoints = &new.body["NetworkingConfig"]["EndpointsConfig"];
        assert_eq!(endpoints["b"]["MacAddress"], "02:00:00:00:00:01");
        assert_eq!((endpoints.as_object().unwrap().len(), new.networks.len()), (3, 0));
    }

    #[test]
    fn without_a_mode_the_first_network_is_it() {
        let first = call(&request(json!({}), &["x", "y"]), "app:1", (1, 41)).unwrap();
        assert_eq!(first.body["HostConfig"]["NetworkMode"], "x");
        let host = call(&request(json!({"network_mode": "host"}), &[]), "app:1", (1, 41)).unwrap();
        assert_eq!(host.body.get("NetworkingConfig"), None);
    }

    #[test]
    fn what_an_old_engine_would_drop_is_refused() {
        let refusal =
            |settings: Value, api| call(&request(settings, &[]), "app:1", api).map(|_| ()).unwrap_err().to_string();
        insta::assert_snapshot!(refusal(json!({"annotations": {"a": "b"}}), (1, 42)), @"annotations needs an engine of API 1.43; this one has 1.42");
        let check = json!({"healthcheck": {"test": ["NONE"], "start_interval": 1}});
        insta::assert_snapshot!(refusal(check.clone(), (1, 43)), @"healthcheck.start_interval needs an engine of API 1.44; this one has 1.43");
        assert!(call(&request(check, &[]), "app:1", (1, 44)).is_ok());
        let fixed = Attachment { mac_address: Some("02:00:00:00:00:01".into()), ..Attachment::default() };
        assert!(check_attachment(&fixed, (1, 53)).is_err());
        assert!(check_attachment(&fixed, (1, 54)).is_ok());
    }

    #[test]
    fn published_ports_are_exposed_too() {
        let ports = json!([{"target": 80, "protocol": "tcp", "published": 8080}, {"target": 80, "protocol": "tcp"}]);
        let call = call(&request(json!({"ports": ports, "expose": ["9/udp"]}), &[]), "app:1", (1, 41)).unwrap();
        assert_eq!(call.body["ExposedPorts"], json!({"80/tcp": {}, "9/udp": {}}));
        assert_eq!(call.body["HostConfig"]["PortBindings"]["80/tcp"].as_array().unwrap().len(), 2);
        assert_eq!(call.body["Labels"], json!({"mastic.site": "demo"}));
    }
}
