//! Collecting what nothing needs any more: directories of files, and on a full disk images of old revisions.
//!
//! Never what a container, the desired state or a spec to go back to refers to; never an image that Mastic did not bring.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use crate::plan::files;
use crate::port::engine::EngineError;
use crate::report::event::Severity;

use super::reconciler::Reconciler;

/// Images are only collected on a disk that is fuller than this, in per cent (kubelet's rule).
const FULL: u8 = 85;
/// The images of so many of the newest revisions stay.
const KEPT_REVISIONS: usize = 2;

impl Reconciler {
    /// After a deep pass of a host that is as desired.
    pub(super) async fn collect_garbage(&mut self) {
        if !self.mode.act || !self.is_quiet() || !self.summary().is_converged() {
            return;
        }
        self.collect_files().await;
        self.forget_accounts();
        if self.ports.files.disk_used_percent().is_some_and(|used| used >= FULL) {
            self.collect_images().await;
        }
    }

    async fn collect_files(&mut self) {
        let Some(desired) = self.desired.clone() else { return };
        let Ok(keys) = self.ports.files.keys().await else { return };
        let mut needed: BTreeSet<String> = self.observer.observed.files.keys().cloned().collect();
        for spec in desired.services.values().chain(self.proven.values()) {
            needed.insert(files::key(spec.container_name.as_str(), &spec.create_hash));
        }
        for job in desired.jobs.values() {
            needed.insert(files::key(job.container_name.as_str(), &job.input_hash));
        }
        for key in keys.into_iter().filter(|key| !needed.contains(key)) {
            match self.ports.files.remove(&key).await {
                Ok(()) => tracing::debug!(key, "removed files that nothing refers to"),
                Err(error) => tracing::warn!(%error, "files that nothing refers to stay"),
            }
        }
    }

    /// Of images that nothing names and no container is made of.
    fn forget_accounts(&mut self) {
        let observed = &self.observer.observed;
        let mut used: BTreeSet<&str> = observed.image_ids.values().flatten().map(String::as_str).collect();
        used.extend(observed.containers.values().map(|container| container.image_id.as_str()));
        let before = self.memory.accounts.len();
        self.memory.accounts.retain(|id, _| used.contains(id.as_str()));
        if self.memory.accounts.len() != before {
            self.memory_dirty.get_or_insert_with(Instant::now);
        }
    }

    async fn collect_images(&mut self) {
        let Some(desired) = self.desired.clone() else { return };
        let Ok(revisions) = self.ports.store.revisions() else { return };
        let old = revisions.len().saturating_sub(KEPT_REVISIONS);
        let Ok(images) = self.ports.engine.list_images().await else { return };
        let ids: BTreeMap<String, String> = images
            .into_iter()
            .flat_map(|image| image.references.into_iter().map(move |reference| (reference, image.id.clone())))
            .collect();
        let observed = &self.observer.observed;
        let id = |image: &crate::model::image::ImageRef| ids.get(&image.familiar()).cloned();
        let mut used: BTreeSet<String> =
            observed.containers.values().map(|container| container.image_id.clone()).collect();
        let mut candidates = BTreeSet::new();
        for (place, revision) in revisions.iter().enumerate() {
            let Ok(Some(state)) = self.ports.store.load_revision(revision.generation) else { continue };
            let images =
                state.services.values().map(|spec| &spec.image).chain(state.jobs.values().map(|job| &job.image));
            let into = if place < old { &mut candidates } else { &mut used };
            into.extend(images.filter_map(id));
        }
        used.extend(self.proven.values().chain(desired.services.values()).filter_map(|spec| id(&spec.image)));
        used.extend(desired.jobs.values().filter_map(|job| id(&job.image)));
        for image in candidates.difference(&used) {
            match self.ports.engine.remove_image(image).await {
                Ok(()) => self.tell(Severity::Normal, "ImageRemoved", "", image),
                // Somebody else uses it, or has removed it.
                Err(EngineError::Conflict(_) | EngineError::NotFound(_)) => {}
                Err(error) => tracing::warn!(image, %error, "an old image stays"),
            }
        }
    }
}
