//! Replies about images in the model's words.

use super::convert::{environment, healthcheck, image_id};
use super::{normal, wire};
use crate::model::image::ImageDefaults;
use crate::observe::observed::{ImageSummary, ObservedImage};

/// An image of the list.
pub(super) fn image_summary(entry: &wire::ListedImage) -> ImageSummary {
    let mut references: Vec<String> = entry
        .repo_tags
        .iter()
        .chain(&entry.repo_digests)
        .filter(|reference| !reference.contains("<none>"))
        .map(|reference| familiar(reference))
        .collect();
    references.sort();
    references.dedup();
    ImageSummary {
        id: image_id(&entry.id),
        references,
        size: u64::try_from(entry.size).unwrap_or_default(),
        created: entry.created,
    }
}

/// As Docker lists it: without `docker.io/library/`.
fn familiar(reference: &str) -> String {
    let short = reference.strip_prefix("docker.io/").unwrap_or(reference);
    short.strip_prefix("library/").unwrap_or(short).to_owned()
}

/// An inspected image.
pub(super) fn image(reply: wire::Image) -> ObservedImage {
    let config = reply.config;
    ObservedImage {
        id: image_id(&reply.id),
        defaults: ImageDefaults {
            environment: environment(&config.env),
            labels: config.labels,
            entrypoint: config.entrypoint,
            command: config.cmd,
            user: config.user,
            working_dir: config.working_dir,
            volumes: config.volumes.iter().map(|path| normal::path(path)).collect(),
            expose: config.exposed_ports.into_iter().collect(),
            stop_signal: config.stop_signal.as_deref().filter(|text| !text.is_empty()).map(normal::signal),
            healthcheck: config.healthcheck.as_ref().map(healthcheck),
        },
        accounts: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_the_plain_ones() {
        let image = image_summary(&wire::ListedImage {
            id: "sha256:1".into(),
            repo_tags: vec!["<none>:<none>".into(), "docker.io/library/busybox:1".into(), "busybox:1".into()],
            repo_digests: vec!["busybox@sha256:2".into()],
            ..Default::default()
        });
        assert_eq!(image.references, ["busybox:1", "busybox@sha256:2"]);
    }
}
