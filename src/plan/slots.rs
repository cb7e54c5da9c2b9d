//! The containers of one instance by their place in a replacement: NAME, NAME.next, NAME.prev, NAME.failed.

use std::sync::Arc;

use crate::model::labels;
use crate::model::names::ContainerName;
use crate::observe::observed::{HostObserved, ObservedContainer};

/// Who owns containers: everything of another site, host or of nobody is foreign.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Site.
    pub site: &'a str,
    /// Host.
    pub host: &'a str,
    /// `mastic.service` or `mastic.job`.
    pub label: &'static str,
    /// Its value.
    pub name: &'a str,
    /// The container that was adopted, whatever its labels.
    pub adopted: Option<&'a str>,
}

impl Owner<'_> {
    /// Whether a container is this owner's.
    pub fn owns(&self, container: &ObservedContainer) -> bool {
        (container.is_labelled(self.site, self.host) && container.label(self.label) == Some(self.name))
            || self.adopted == Some(container.id.as_str())
    }
}

/// The containers of one instance.
#[derive(Clone, Debug, Default)]
pub struct Slots<'a> {
    /// NAME.
    pub current: Option<&'a Arc<ObservedContainer>>,
    /// NAME.next.
    pub next: Option<&'a Arc<ObservedContainer>>,
    /// NAME.prev.
    pub previous: Option<&'a Arc<ObservedContainer>>,
    /// NAME.failed.
    pub failed: Option<&'a Arc<ObservedContainer>>,
    /// One of this owner's under a name that is none of these: the name in the site was changed.
    pub elsewhere: Option<&'a Arc<ObservedContainer>>,
    /// A container of somebody else under one of the names.
    pub foreign: Option<&'a Arc<ObservedContainer>>,
}

impl<'a> Slots<'a> {
    /// Sorts the containers of a host.
    pub fn find(host: &'a HostObserved, owner: Owner<'_>, name: &ContainerName) -> Self {
        let mut slots = Slots::default();
        let (next, previous, failed) = (name.next(), name.prev(), name.failed());
        for (place, text) in [
            (&mut slots.current, name.as_str()),
            (&mut slots.next, next.as_str()),
            (&mut slots.previous, previous.as_str()),
            (&mut slots.failed, failed.as_str()),
        ] {
            if let Some(container) = host.containers.get(text) {
                if owner.owns(container) {
                    *place = Some(container);
                } else {
                    slots.foreign = Some(container);
                }
            }
        }
        if slots.current.is_none() && slots.previous.is_none() && slots.next.is_none() {
            slots.elsewhere = host.containers.values().find(|container| {
                owner.owns(container)
                    && ![name.as_str(), &next, &previous, &failed].contains(&container.name.as_str())
                    && container.label(labels::JOB).is_none()
                    && !crate::model::names::RESERVED_ENDINGS.iter().any(|ending| container.name.ends_with(ending))
            });
        }
        slots
    }
}
