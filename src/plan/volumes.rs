//! Volumes that were there and are gone.

use crate::model::names::HostName;
use crate::model::settings::{ContainerSettings, Mount};
use crate::observe::observed::HostObserved;

/// Why a container with these settings must not be made: an engine makes a volume that is missing, empty.
pub(super) fn lost(settings: &ContainerSettings, observed: &HostObserved, host: &HostName) -> Option<String> {
    let mut sources = settings.volumes.iter().flatten().filter_map(|(_, mount)| match mount {
        Mount::Volume { source, .. } => source.as_deref(),
        _ => None,
    });
    sources.find(|name| observed.lost_volumes.contains(*name)).map(|name| lost_words(name, host))
}

/// What people read of it.
pub(super) fn lost_words(volume: &str, host: &HostName) -> String {
    format!(
        "the volume `{volume}` was here and is gone: is a disk not mounted? Nothing is made in its place before `mastic host \
         accept {host}`"
    )
}
