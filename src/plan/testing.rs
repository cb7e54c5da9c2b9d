//! Small desired and observed things for the tests of plans.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use crate::model::desired::{Hooks, InstanceDesired, Rollout, Unhealthy};
use crate::model::file::Reload;
use crate::model::image::{ImageRef, PullPolicy};
use crate::model::names::{ContainerName, ServiceName};
use crate::model::settings::ContainerSettings;
use crate::observe::observed::{ContainerState, ObservedContainer};

/// An instance that sets nothing.
pub(crate) fn instance(name: &str) -> InstanceDesired {
    InstanceDesired {
        service: ServiceName::new(name).unwrap(),
        role: None,
        container_name: ContainerName::new(name).unwrap(),
        image: ImageRef::new("busybox:1").unwrap(),
        pull_policy: PullPolicy::Missing,
        settings: ContainerSettings::default(),
        networks: BTreeMap::new(),
        files: Vec::new(),
        filesets: Vec::new(),
        reload: Reload::default(),
        ready: None,
        rollout: Rollout::default(),
        depends_on: BTreeMap::new(),
        steps: Vec::new(),
        unhealthy: Unhealthy::Report,
        drift_ignore: BTreeSet::new(),
        hooks: Hooks::default(),
        sensitive: BTreeSet::new(),
        create_hash: "1:c".to_owned(),
        input_hash: "1:i".to_owned(),
    }
}

/// A container that nobody owns.
pub(crate) fn container(name: &str, id: &str) -> ObservedContainer {
    ObservedContainer {
        id: id.to_owned(),
        name: name.to_owned(),
        labels: BTreeMap::new(),
        image_id: "sha256:1".to_owned(),
        image: "busybox:1".to_owned(),
        state: ContainerState::default(),
        detail: None,
        host_ports: Vec::new(),
    }
}
