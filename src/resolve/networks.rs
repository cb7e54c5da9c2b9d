//! Networks and volumes of the engine: which of them a host needs, and how instances hang on them.

use std::collections::BTreeMap;

use crate::model::names::{NetworkName, VolumeName};
use crate::model::network::{Attachment, IpamPool, NetworkSpec, VolumeSpec};
use crate::model::settings::ContainerSettings;
use crate::parse::container::{NetworkUse, read_labels};
use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::Node;
use crate::parse::read::Reader;
use crate::parse::source::Place;

use super::compile::HostCompiler;

/// What a service without networks joins where the site declares it, as in Compose.
const DEFAULT: &str = "default";

impl HostCompiler<'_> {
    /// The networks of an instance by the engine's names; sets `network_mode` to the first of them.
    pub fn attach(
        &mut self,
        uses: Option<&[NetworkUse]>,
        settings: &mut ContainerSettings,
        service: &str,
        node: &Node,
    ) -> BTreeMap<NetworkName, Attachment> {
        settings.network_mode = settings.network_mode.take().filter(|mode| !mode.is_empty());
        if let (Some(mode), Some([first, ..])) = (&settings.network_mode, uses) {
            let place = node.get("network_mode").map_or(node.place, |mode| mode.place);
            let error =
                Diagnostic::error("R003", place, format!("with `network_mode: {mode}` there are no networks to join"));
            self.errors.push(error.also(first.network.place, "joined here"));
            return BTreeMap::new();
        }
        let implied = || NetworkUse {
            network: crate::parse::read::At::new(DEFAULT.to_owned(), node.place),
            attachment: Attachment::default(),
            priority: 0,
        };
        let has_default = self
            .spec("networks")
            .is_some_and(|networks| networks.as_mapping().is_some_and(|networks| networks.contains_key(DEFAULT)));
        let mut uses: Vec<NetworkUse> = match uses {
            Some(uses) => uses.to_vec(),
            None if settings.network_mode.is_none() && has_default => vec![implied()],
            None => Vec::new(),
        };
        uses.sort_by_key(|used| std::cmp::Reverse(used.priority));
        let mut attachments = BTreeMap::new();
        for NetworkUse { network, mut attachment, .. } in uses {
            let Some(name) = self.network(&network.value, network.place) else { continue };
            if !attachment.aliases.iter().any(|alias| alias == service) && name.as_str() != "bridge" {
                attachment.aliases.push(service.to_owned());
                attachment.aliases.sort();
            }
            let fixed = attachment.ipv4_address.is_some() || attachment.ipv6_address.is_some();
            let pools = self.networks.get(&name).map_or((true, 0), |spec| (spec.external, spec.ipam.len()));
            if fixed && pools == (false, 0) {
                let message =
                    format!("a fixed address needs a subnet, and the network `{}` declares none", network.value);
                self.errors.push(
                    Diagnostic::error("V002", network.place, message)
                        .help("add `ipam: {config: [{subnet: ...}]}` to the network"),
                );
            }
            settings.network_mode.get_or_insert_with(|| name.as_str().to_owned());
            if attachments.insert(name.clone(), attachment).is_some() {
                let message = format!("two of the networks are `{name}` for the engine");
                self.errors.push(Diagnostic::error("R003", network.place, message));
            }
        }
        attachments
    }

    /// The engine's name of a network, which this host needs from now on.
    fn network(&mut self, key: &str, place: Place) -> Option<NetworkName> {
        let Some(entry) = self.spec("networks").and_then(|networks| networks.as_mapping()?.get(key)).cloned() else {
            self.unknown("network", "networks", key, place);
            return None;
        };
        let node = entry.value;
        if node.get("cidr").is_some() {
            let error = Diagnostic::error(
                "R001",
                place,
                format!("`{key}` is a network of addresses, which no container joins"),
            );
            self.errors
                .push(error.help("leave out `cidr` to make it a network of the engine; a subnet goes under `ipam`"));
            return None;
        }
        let mut reader = Reader::default();
        let name = node.get("name").and_then(Node::as_text).unwrap_or(key).to_owned();
        let spec = read_network(&node, &mut reader);
        let name_place = node.get("name").map_or(entry.key_place, |name| name.place);
        let name = match NetworkName::new(name.as_str()) {
            Ok(_) if !spec.external && ["bridge", "host", "none", DEFAULT].contains(&name.as_str()) => {
                let error =
                    Diagnostic::error("N001", name_place, format!("the engine has a network `{name}` of its own"));
                reader.error(error.help("add `name:` with what the engine is to call it"));
                None
            }
            Ok(name) => Some(name),
            Err(why) => {
                reader.error(Diagnostic::error("N001", name_place, format!("`{name}`: {why}")));
                None
            }
        };
        self.errors.append(&mut reader.errors);
        let name = name?;
        self.networks.insert(name.clone(), spec);
        Some(name)
    }

    /// The engine's name of a volume, which this host needs from now on.
    pub fn volume(&mut self, key: &str, place: Place) -> Option<VolumeName> {
        let Some(entry) = self.spec("volumes").and_then(|volumes| volumes.as_mapping()?.get(key)).cloned() else {
            self.unknown("volume", "volumes", key, place);
            return None;
        };
        let node = entry.value;
        let mut reader = Reader::default();
        let name = node.get("name").and_then(Node::as_text).unwrap_or(key).to_owned();
        let name = VolumeName::new(name.as_str())
            .map_err(|why| reader.error(Diagnostic::error("N001", entry.key_place, format!("`{name}`: {why}"))))
            .ok();
        let spec = VolumeSpec {
            external: read_external(&node, &mut reader),
            driver: reader.text(&node, "driver"),
            driver_opts: reader.map(&node, "driver_opts").unwrap_or_default(),
            labels: read_labels(&node, &mut reader).unwrap_or_default(),
        };
        self.errors.append(&mut reader.errors);
        let name = name?;
        self.volumes.insert(name.clone(), spec);
        Some(name)
    }
}

fn read_external(node: &Node, reader: &mut Reader) -> bool {
    let external = reader.boolean(node, "external").unwrap_or(false);
    if external {
        for (key, entry) in
            node.entries().filter(|(key, _)| !matches!(*key, "external" | "name") && !key.starts_with("x-"))
        {
            let message = format!("`{key}` says how to make it, and `external: true` says that somebody else does");
            reader.error(Diagnostic::error("V002", entry.key_place, message));
        }
    }
    external
}

fn read_network(node: &Node, r: &mut Reader) -> NetworkSpec {
    let pools = node.get("ipam").and_then(|ipam| ipam.get("config")).map(Node::items).unwrap_or_default();
    let mut ipam = Vec::new();
    for pool in pools {
        ipam.push(IpamPool {
            subnet: r.text(pool, "subnet").unwrap_or_default(),
            ip_range: r.text(pool, "ip_range"),
            gateway: r.text(pool, "gateway"),
            aux_addresses: r.map(pool, "aux_addresses").unwrap_or_default(),
        });
    }
    NetworkSpec {
        external: read_external(node, r),
        driver: r.text(node, "driver"),
        driver_opts: r.map(node, "driver_opts").unwrap_or_default(),
        internal: r.boolean(node, "internal").unwrap_or(false),
        attachable: r.boolean(node, "attachable").unwrap_or(false),
        enable_ipv6: r.boolean(node, "enable_ipv6").unwrap_or(false),
        ipam,
        labels: read_labels(node, r).unwrap_or_default(),
    }
}
