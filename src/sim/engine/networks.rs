//! What calls do to networks.

use crate::model::labels::Labels;
use crate::model::network::{Attachment, IpamPool, NetworkSpec};
use crate::observe::observed::{EngineEvent, ObservedNetwork};
use crate::port::engine::{Answer, EngineError};
use crate::sim::state::{HostState, SimContainer};

impl HostState {
    pub(in crate::sim) fn create_network(&mut self, name: &str, spec: &NetworkSpec, labels: &Labels) {
        if self.networks.contains_key(name) {
            return;
        }
        let id = self.new_id("network");
        let mut spec = spec.clone();
        spec.driver.get_or_insert_with(|| "bridge".to_owned());
        if spec.ipam.is_empty() {
            let third = self.networks.len() + 15;
            spec.ipam.push(IpamPool {
                subnet: format!("172.{third}.0.0/16"),
                gateway: Some(format!("172.{third}.0.1")),
                ..IpamPool::default()
            });
        }
        let mut all = spec.labels.clone();
        all.extend(labels.clone());
        let network = ObservedNetwork { id: id.clone(), name: name.to_owned(), spec, labels: all };
        self.networks.insert(name.to_owned(), network);
        self.emit_network("create", &id, name, None);
    }

    pub(in crate::sim) fn remove_network(&mut self, name: &str) -> Answer<()> {
        let Some(network) = self.networks.get(name).cloned() else { return Ok(()) };
        if matches!(name, "bridge" | "host" | "none") {
            return Err(EngineError::Refused(format!("{name} is a pre-defined network and cannot be removed")));
        }
        let used =
            self.containers.values().any(|container| container.is_alive() && container.networks.contains_key(name));
        if used {
            return Err(EngineError::Refused(format!(
                "error while removing network: network {name} has active endpoints"
            )));
        }
        self.networks.remove(name);
        self.emit_network("destroy", &network.id, name, None);
        Ok(())
    }

    pub(in crate::sim) fn connect(&mut self, network: &str, id: &str, attachment: &Attachment) -> Answer<()> {
        let address = self.new_address(attachment);
        let known = self.network_id(network);
        let Some(container) = self.containers.get_mut(id) else { return Ok(()) };
        let mode = container.settings.network_mode.as_deref().unwrap_or_default();
        let is_closed = mode == "host" || mode.starts_with("container:") || (mode == "none" && container.is_alive());
        if (is_closed || network == "host") && (container.is_alive() || known.is_ok()) {
            return Err(EngineError::Refused(
                "container cannot be connected to another network with its network mode".to_owned(),
            ));
        }
        if container.is_alive() {
            known.clone()?;
            if container.networks.contains_key(network) {
                return Ok(());
            }
        }
        // To a container that does not run, dockerd writes down whatever it is told;
        // what it has already stays as it is.
        if !container.networks.contains_key(network) {
            container.networks.insert(network.to_owned(), attachment.clone());
            container.addresses.insert(network.to_owned(), address);
            if known.is_ok() {
                container.alias_host_name(network);
            }
        }
        if container.is_alive()
            && let Ok(network_id) = known
        {
            self.emit_network("connect", &network_id, network, Some(id));
        }
        Ok(())
    }

    pub(in crate::sim) fn disconnect(&mut self, network: &str, id: &str) {
        let known = self.network_id(network);
        let Some(container) = self.containers.get_mut(id) else { return };
        if container.networks.remove(network).is_some() {
            container.addresses.remove(network);
            if let Ok(network_id) = known {
                self.emit_network("disconnect", &network_id, network, Some(id));
            }
        }
    }

    fn network_id(&self, network: &str) -> Answer<String> {
        let network = self.networks.get(network).or_else(|| self.networks.values().find(|known| known.id == network));
        network.map(|known| known.id.clone()).ok_or_else(|| EngineError::NotFound("network not found".to_owned()))
    }

    /// An address that nobody else has.
    pub(in crate::sim) fn new_address(&mut self, attachment: &Attachment) -> String {
        self.sequence += 1;
        let number = self.sequence;
        let chosen = || format!("172.{}.{}.{}", 16 + (number >> 16) % 16, (number >> 8) % 256, number % 256);
        attachment.ipv4_address.clone().unwrap_or_else(chosen)
    }

    /// The network that a container gets where none is asked for.
    pub(in crate::sim) fn attach_default(&mut self, container: &mut SimContainer) {
        let mode = container.settings.network_mode.clone().unwrap_or_default();
        let network = match mode.as_str() {
            "" | "default" | "bridge" => "bridge",
            "host" => "host",
            "none" => "none",
            _ => return,
        };
        container.networks.insert(network.to_owned(), Attachment::default());
        if network == "bridge" {
            let address = self.new_address(&Attachment::default());
            container.addresses.insert(network.to_owned(), address);
        }
    }

    fn emit_network(&mut self, action: &str, id: &str, name: &str, container: Option<&str>) {
        self.emit(&EngineEvent {
            kind: "network".to_owned(),
            action: action.to_owned(),
            id: id.to_owned(),
            name: name.to_owned(),
            container: container.map(ToOwned::to_owned),
            ..EngineEvent::default()
        });
    }
}

impl SimContainer {
    /// Others on the network find a container by the host name that it was given.
    pub(in crate::sim) fn alias_host_name(&mut self, network: &str) {
        let Some(name) = self.settings.hostname.clone() else { return };
        if let Some(attachment) = self.networks.get_mut(network)
            && !matches!(network, "bridge" | "host" | "none")
            && !attachment.aliases.contains(&name)
        {
            attachment.aliases.push(name);
            attachment.aliases.sort();
        }
    }
}
