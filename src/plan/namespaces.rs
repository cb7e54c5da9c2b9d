//! Containers that share the namespaces of another one: they need it to run, and they lose its network when it starts anew.
//!
//! A container that is another one is found as a difference (`plan/diff.rs`) and answered by a replacement. The same
//! container started again has a new network, which those that shared the old one see only after a start of their own.

use crate::model::condition::ConditionType;
use crate::model::names::RESERVED_ENDINGS;
use crate::model::settings::ContainerSettings;
use crate::observe::observed::{HostObserved, ObservedContainer};

use super::instance::Planning;
use super::step::Next;

/// The containers whose namespaces are shared, by name or id.
fn providers(settings: &ContainerSettings) -> impl Iterator<Item = &str> {
    [&settings.network_mode, &settings.pid, &settings.ipc]
        .into_iter()
        .filter_map(|mode| mode.as_deref()?.strip_prefix("container:"))
}

/// The container that is shared with and does not run, or is being replaced: neither can be shared with.
pub(super) fn missing<'a>(settings: &'a ContainerSettings, host: &HostObserved) -> Option<&'a str> {
    providers(settings).find(|name| {
        let runs = host.containers.get(*name).is_some_and(|container| container.is_running())
            || host.containers.values().any(|container| container.id == *name && container.is_running());
        let is_changing = RESERVED_ENDINGS
            .iter()
            .filter(|ending| **ending != ".failed")
            .any(|ending| host.containers.contains_key(&format!("{name}{ending}")));
        !runs || is_changing
    })
}

/// Waits for the container whose namespaces are to be shared, also where what depends on others would not wait.
pub(super) fn waits(planning: &mut Planning<'_>) -> Option<Next> {
    let name = missing(&planning.spec.settings, planning.input.observed)?;
    let message = format!("waits for the container `{name}`, of which it shares namespaces");
    planning.condition(ConditionType::Waiting, "DependencyNotReady", message);
    Some(Next::Blocked)
}

/// The container whose network this one lost, as it was started after it.
pub(super) fn lost_network<'a>(
    settings: &'a ContainerSettings,
    current: &ObservedContainer,
    host: &HostObserved,
) -> Option<&'a str> {
    let name = settings.network_mode.as_deref()?.strip_prefix("container:")?;
    let provider = host.containers.get(name)?;
    // Both times are of one clock, in the same form but for zeros at the end.
    let time = |container: &ObservedContainer| container.state.started_at.trim_end_matches('Z').to_owned();
    let stale = provider.is_running() && current.is_running() && time(provider) > time(current);
    stale.then_some(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observe::observed::Status;
    use crate::plan::testing::container;

    fn running(name: &str, started_at: &str) -> ObservedContainer {
        let mut container = container(name, &format!("id-{name}"));
        container.state.status = Status::Running;
        started_at.clone_into(&mut container.state.started_at);
        container
    }

    fn host(containers: impl IntoIterator<Item = ObservedContainer>) -> HostObserved {
        let containers = containers.into_iter().map(|container| (container.name.clone(), Arc::new(container)));
        HostObserved { containers: containers.collect(), ..HostObserved::default() }
    }

    fn settings() -> ContainerSettings {
        ContainerSettings { network_mode: Some("container:vpn".to_owned()), ..ContainerSettings::default() }
    }

    #[test]
    fn what_does_not_run_or_is_being_replaced_cannot_be_shared_with() {
        let vpn = running("vpn", "2026-01-01T00:00:00Z");
        let stopped = ObservedContainer { state: crate::observe::observed::ContainerState::default(), ..vpn.clone() };
        assert_eq!(missing(&settings(), &host([])), Some("vpn"));
        assert_eq!(missing(&settings(), &host([stopped])), Some("vpn"));
        assert_eq!(missing(&settings(), &host([vpn.clone()])), None);
        assert_eq!(missing(&settings(), &host([vpn.clone(), running("vpn.failed", "")])), None);
        assert_eq!(missing(&settings(), &host([vpn.clone(), running("vpn.prev", "")])), Some("vpn"));
        assert_eq!(missing(&ContainerSettings::default(), &host([])), None);
        let by_id = ContainerSettings { pid: Some("container:id-vpn".to_owned()), ..ContainerSettings::default() };
        assert_eq!(missing(&by_id, &host([vpn])), None);
    }

    #[test]
    fn a_network_is_lost_by_a_later_start_of_its_owner() {
        let app = running("app", "2026-01-01T00:00:12.44Z");
        for (started, lost) in [
            ("2026-01-01T00:00:12.4Z", false),
            ("2026-01-01T00:00:12.44Z", false),
            ("2026-01-01T00:00:12.446Z", true),
            ("2026-01-01T00:00:13Z", true),
            ("2026-01-01T00:00:12Z", false),
        ] {
            let host = host([running("vpn", started)]);
            assert_eq!(lost_network(&settings(), &app, &host).is_some(), lost, "{started}");
        }
        assert_eq!(lost_network(&settings(), &app, &host([])), None);
    }
}
