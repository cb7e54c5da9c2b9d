//! `network_mode`, `pid` and `ipc` of another container: which one it is, and that it comes first.
//!
//! `service:NAME` becomes `container:` with the name of that service's container on this host, and a dependency on the
//! service. What happens when that container is replaced or started anew is planned from what is seen
//! (`plan/namespaces.rs`).

use std::collections::BTreeMap;

use crate::model::desired::{Dependency, DependencyTarget, InstanceDesired, JobDesired, Need};
use crate::model::settings::ContainerSettings;
use crate::parse::diagnostic::Diagnostic;
use crate::parse::node::Node;
use crate::parse::read::At;
use crate::parse::source::Place;
use crate::parse::suggest::did_you_mean;
use crate::render::seal::{seal_instance, seal_job};

use super::compile::HostCompiler;
use super::instance::Built;

/// The keys that may name another container.
const KEYS: [&str; 3] = ["network_mode", "pid", "ipc"];

/// The keys of a service or job that name another container, with what they say.
pub(super) fn shared(node: &Node) -> Vec<(&'static str, At<String>)> {
    let named = KEYS.into_iter().filter_map(|key| {
        let value = node.get(key)?;
        let text = value.as_text()?;
        let names = text.starts_with("service:") || text.starts_with("container:");
        names.then(|| (key, At::new(text.to_owned(), value.place)))
    });
    named.collect()
}

/// The services whose namespaces a service or job shares, with the places that say so.
pub(super) fn providers(node: &Node) -> Vec<(&str, Place)> {
    let named = KEYS.into_iter().filter_map(|key| {
        let value = node.get(key)?;
        Some((value.as_text()?.strip_prefix("service:")?, value.place))
    });
    named.collect()
}

/// What others may share of a service.
struct Provider {
    container: String,
    ipc: Option<String>,
}

impl HostCompiler<'_> {
    /// Puts containers for services, in what shares the namespaces of one.
    pub(super) fn share_namespaces(&mut self, services: &mut [Built<InstanceDesired>], jobs: &mut [Built<JobDesired>]) {
        let providers: BTreeMap<String, Provider> = services
            .iter()
            .map(|built| {
                let desired = &built.desired;
                let provider =
                    Provider { container: desired.container_name.to_string(), ipc: desired.settings.ipc.clone() };
                (desired.service.to_string(), provider)
            })
            .collect();
        for built in services.iter_mut().filter(|built| !built.shares.is_empty()) {
            let desired = &mut built.desired;
            self.share(&built.shares, &providers, &mut desired.settings, &mut desired.depends_on);
            seal_instance(desired, &self.request.site_key);
        }
        for built in jobs.iter_mut().filter(|built| !built.shares.is_empty()) {
            let desired = &mut built.desired;
            self.share(&built.shares, &providers, &mut desired.settings, &mut desired.depends_on);
            seal_job(desired, built.inputs.as_ref(), &self.request.site_key);
        }
    }

    fn share(
        &mut self,
        shares: &[(&'static str, At<String>)],
        providers: &BTreeMap<String, Provider>,
        settings: &mut ContainerSettings,
        depends_on: &mut BTreeMap<String, Dependency>,
    ) {
        for (key, written) in shares {
            let (kind, name) = written.value.split_once(':').unwrap_or_default();
            if kind == "container" {
                if let Some((service, _)) = providers.iter().find(|(_, provider)| provider.container == name) {
                    let message = format!("`{name}` is the container of the service `{service}`");
                    let error = Diagnostic::error("V002", written.place, message);
                    self.errors.push(error.help(format!(
                        "write `service:{service}`, so that it comes first and both are changed together"
                    )));
                }
                continue;
            }
            let Some(provider) = providers.get(name) else {
                self.errors.push(
                    Diagnostic::error("R001", written.place, format!("`{name}` is no service of this host"))
                        .maybe_help(did_you_mean(name, providers.keys().map(String::as_str))),
                );
                continue;
            };
            if *key == "ipc" && !matches!(provider.ipc.as_deref(), Some("shareable" | "host")) {
                let message = format!("the service `{name}` does not share its memory");
                let error = Diagnostic::error("V003", written.place, message);
                self.errors.push(error.help(format!("set `ipc: shareable` on `{name}`")));
            }
            let value = Some(format!("container:{}", provider.container));
            match *key {
                "network_mode" => settings.network_mode = value,
                "pid" => settings.pid = value,
                _ => settings.ipc = value,
            }
            depends_on.entry(name.to_owned()).or_insert(Dependency {
                on: DependencyTarget::Started,
                need: Need::SameHost,
                required: true,
                restart: false,
            });
        }
    }
}
