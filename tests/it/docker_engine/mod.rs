//! The engine port on a real Docker.

mod calls;
mod registry;
mod settings;
mod speed;
mod tls;

use std::collections::BTreeMap;
use std::sync::Arc;

use mastic::edge::docker::{ConnectOptions, DockerEngine};
use mastic::model::image::ImageRef;
use mastic::model::network::Attachment;
use mastic::model::settings::ContainerSettings;
use mastic::observe::observed::ObservedContainer;
use mastic::port::engine::{CreateContainer, Engine, ObserveEngine};

use crate::support::Sandbox;

/// The engine of this machine. Files below `/state/files` count as ours.
pub fn engine() -> DockerEngine {
    let options = ConnectOptions::from_environment(|name| std::env::var(name).ok()).unwrap();
    engine_at(&options)
}

pub fn engine_at(options: &ConnectOptions) -> DockerEngine {
    let managed = |source: &str| {
        let rest = source.strip_prefix("/tmp/mastic-files/")?;
        let mut parts = rest.splitn(3, '/');
        Some((format!("{}/{}", parts.next()?, parts.next()?), parts.next()?.to_owned()))
    };
    DockerEngine::new(options, Arc::new(managed)).unwrap()
}

/// What a test creates containers from.
pub struct Bench {
    pub sandbox: Sandbox,
    pub engine: DockerEngine,
    pub image: String,
    pub image_id: String,
}

impl Bench {
    pub async fn new() -> Self {
        Self::with_image("CMD [\"sleep\", \"1000\"]").await
    }

    pub async fn with_image(lines: &str) -> Self {
        let (sandbox, engine) = (Sandbox::new(), engine());
        let image = sandbox.image("image", lines);
        let image_id = engine.inspect_image(&image).await.unwrap().id;
        Self { sandbox, engine, image, image_id }
    }

    pub fn request(&self, name: &str, settings: ContainerSettings) -> CreateContainer {
        CreateContainer {
            name: self.sandbox.name(name),
            image_id: self.image_id.clone(),
            image: ImageRef::new(self.image.as_str()).unwrap(),
            settings,
            networks: BTreeMap::new(),
            labels: BTreeMap::from([("mastic.site".to_owned(), "demo".to_owned())]),
            carried_volumes: BTreeMap::new(),
        }
    }

    /// Runs it and returns its id.
    pub async fn run(&self, name: &str, settings: ContainerSettings) -> String {
        let id = self.engine.create_container(&self.request(name, settings)).await.unwrap();
        self.engine.start_container(&id).await.unwrap();
        id
    }

    pub async fn inspect(&self, id: &str) -> ObservedContainer {
        self.engine.inspect_container(id).await.unwrap()
    }
}

/// Settings as JSON has them.
pub fn settings(value: serde_json::Value) -> ContainerSettings {
    serde_json::from_value(value).unwrap()
}

pub fn command(words: &[&str]) -> ContainerSettings {
    // Without a handler the first process of a container ignores SIGTERM.
    ContainerSettings {
        command: Some(words.iter().map(|word| (*word).to_owned()).collect()),
        stop_grace_period: Some(0),
        ..ContainerSettings::default()
    }
}

pub fn attachment(aliases: &[&str], ipv4: Option<&str>) -> Attachment {
    Attachment {
        aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        ipv4_address: ipv4.map(str::to_owned),
        ..Attachment::default()
    }
}
