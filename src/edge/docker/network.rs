//! Networks and volumes, to and from the API.

use bollard::models::{Ipam, IpamConfig, Network};
use serde_json::{Value, json};

use crate::model::labels::{self, Labels};
use crate::model::network::{IpamPool, NetworkSpec, VolumeSpec};
use crate::observe::observed::ObservedNetwork;
use crate::port::engine::{Answer, EngineError};

/// The body of `POST /networks/create`. Engines before API 1.44 make a second network of a name unless told not to.
pub(super) fn create(name: &str, spec: &NetworkSpec, ours: &Labels) -> Answer<Value> {
    let pools: Vec<IpamConfig> = spec.ipam.iter().map(pool).collect();
    let ipam = (!pools.is_empty()).then(|| Ipam { config: Some(pools), ..Ipam::default() });
    let mut all = spec.labels.clone();
    all.extend(ours.clone());
    let mut body = json!({
        "Name": name,
        "CheckDuplicate": true,
        "Driver": spec.driver.as_deref().unwrap_or("bridge"),
        "Internal": spec.internal,
        "Attachable": spec.attachable,
        "EnableIPv6": spec.enable_ipv6,
        "Options": spec.driver_opts,
        "Labels": all,
    });
    if let (Some(ipam), Value::Object(body)) = (ipam, &mut body) {
        let ipam = serde_json::to_value(ipam).map_err(|error| EngineError::Refused(error.to_string()))?;
        body.insert("IPAM".to_owned(), ipam);
    }
    Ok(body)
}

fn pool(pool: &IpamPool) -> IpamConfig {
    IpamConfig {
        subnet: Some(pool.subnet.clone()).filter(|subnet| !subnet.is_empty()),
        ip_range: pool.ip_range.clone(),
        gateway: pool.gateway.clone(),
        auxiliary_addresses: (!pool.aux_addresses.is_empty()).then(|| pool.aux_addresses.clone().into_iter().collect()),
    }
}

/// The body of `POST /volumes/create`.
pub(super) fn create_volume(name: &str, spec: &VolumeSpec, ours: &Labels) -> Value {
    let mut all = spec.labels.clone();
    all.extend(ours.clone());
    json!({
        "Name": name,
        "Driver": spec.driver.as_deref().unwrap_or("local"),
        "DriverOpts": spec.driver_opts,
        "Labels": all,
    })
}

/// A network of the list.
pub(super) fn observed(network: Network) -> ObservedNetwork {
    let all: Labels = network.labels.unwrap_or_default().into_iter().collect();
    let some = |value: Option<String>| value.filter(|text| !text.is_empty());
    let pools = network.ipam.and_then(|ipam| ipam.config).unwrap_or_default();
    ObservedNetwork {
        id: network.id.unwrap_or_default(),
        name: network.name.unwrap_or_default(),
        spec: NetworkSpec {
            external: false,
            driver: network.driver,
            driver_opts: network.options.unwrap_or_default().into_iter().collect(),
            internal: network.internal.unwrap_or_default(),
            attachable: network.attachable.unwrap_or_default(),
            enable_ipv6: network.enable_ipv6.unwrap_or_default(),
            ipam: pools
                .into_iter()
                .map(|pool| IpamPool {
                    subnet: pool.subnet.unwrap_or_default(),
                    ip_range: some(pool.ip_range),
                    gateway: some(pool.gateway),
                    aux_addresses: pool.auxiliary_addresses.unwrap_or_default().into_iter().collect(),
                })
                .collect(),
            labels: all
                .iter()
                .filter(|(name, _)| !name.starts_with(labels::PREFIX))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
        },
        labels: all,
    }
}
