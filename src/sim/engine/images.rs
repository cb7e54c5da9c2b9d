//! What calls do to images.

use crate::model::desired::RegistryLogin;
use crate::model::image::ImageRef;
use crate::observe::observed::{EngineEvent, ImageSummary, ObservedImage};
use crate::port::engine::{Answer, EngineError};
use crate::sim::state::HostState;
use crate::sim::world::Published;

impl HostState {
    pub(in crate::sim) fn list_images(&self) -> Vec<ImageSummary> {
        let images = self.images.iter();
        images
            .map(|(id, image)| ImageSummary {
                id: id.clone(),
                references: self
                    .references
                    .iter()
                    .filter(|(_, of)| *of == id)
                    .map(|(reference, _)| reference.clone())
                    .collect(),
                size: image.size,
                created: 0,
            })
            .collect()
    }

    pub(in crate::sim) fn inspect_image(&self, reference: &str) -> Answer<ObservedImage> {
        let missing = || EngineError::NotFound(format!("No such image: {reference}"));
        let id = self.image_id(reference).ok_or_else(missing)?;
        let image = self.images.get(&id).ok_or_else(missing)?;
        Ok(ObservedImage { id, defaults: image.defaults.clone(), accounts: None })
    }

    pub(in crate::sim) fn pull(
        &mut self,
        image: &ImageRef,
        login: Option<&RegistryLogin>,
        published: Option<Published>,
    ) -> Answer<()> {
        let familiar = image.familiar();
        let Some(published) = published else {
            return Err(EngineError::Registry(format!("manifest for {familiar} not found: manifest unknown")));
        };
        if let Some((username, password)) = &published.login {
            let allowed = login
                .is_some_and(|login| login.username == *username && login.password.expose() == password.as_bytes());
            if !allowed {
                return Err(EngineError::Registry(format!(
                    "pull access denied for {familiar}, repository does not exist or may require 'docker login'"
                )));
            }
        }
        if self.disk.full || self.disk.engine_full {
            return Err(EngineError::Failed("write: no space left on device".to_owned()));
        }
        let id = published.id(&familiar);
        self.load(&familiar, &id, published);
        Ok(())
    }

    /// Puts an image there.
    pub(in crate::sim) fn load(&mut self, familiar: &str, id: &str, published: Published) {
        self.images.insert(id.to_owned(), published.image);
        self.references.insert(familiar.to_owned(), id.to_owned());
        self.emit(&EngineEvent {
            kind: "image".to_owned(),
            action: "pull".to_owned(),
            id: familiar.to_owned(),
            name: familiar.to_owned(),
            ..EngineEvent::default()
        });
    }

    pub(in crate::sim) fn remove_image(&mut self, id: &str) -> Answer<()> {
        let id = self.image_id(id).ok_or_else(|| EngineError::NotFound(format!("No such image: {id}")))?;
        if let Some(container) = self.containers.values().find(|container| container.image_id == id) {
            return Err(EngineError::Conflict(format!(
                "conflict: unable to delete {id} (cannot be forced) - image is being used by container {}",
                container.id
            )));
        }
        self.images.remove(&id);
        self.references.retain(|_, of| *of != id);
        self.emit(&EngineEvent {
            kind: "image".to_owned(),
            action: "delete".to_owned(),
            id: id.clone(),
            name: id,
            ..EngineEvent::default()
        });
        Ok(())
    }
}
