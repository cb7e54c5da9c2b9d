//! What is remembered of a site from one reading to the next, in `STATE/site.json`: the number of its source, and those of its
//! hosts. A record that is lost begins anew: hosts know the numbers of their own states, and ordinals are places again.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::atomic;
use crate::model::ordinals::Ordinals;

/// The record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SiteRecord {
    /// Of the source that was read last.
    pub generation: u64,
    /// Of all its files.
    pub source_digest: String,
    /// Of all hosts that it has or had.
    #[serde(skip_serializing_if = "Ordinals::is_empty")]
    pub ordinals: Ordinals,
}

impl SiteRecord {
    /// What was kept in a state directory.
    pub fn load(state: &Path) -> Self {
        let kept = atomic::read(&path(state)).ok().flatten();
        kept.and_then(|content| serde_json::from_slice(&content).ok()).unwrap_or_default()
    }

    /// Keeps it. A failure is told: the next reading counts as this one did.
    pub fn keep(&self, state: &Path) {
        let Ok(content) = serde_json::to_vec(self) else { return };
        if let Err(error) = atomic::write(&path(state), &content) {
            tracing::warn!(%error, "the numbers of the site are not kept");
        }
    }
}

fn path(state: &Path) -> PathBuf {
    state.join("site.json")
}
