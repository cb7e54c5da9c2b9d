//! Fetching images.
//!
//! In: a reference and a login. Out: progress, and at the end whether it is there.

use bollard::auth::DockerCredentials;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptions;

use crate::model::desired::RegistryLogin;
use crate::model::image::ImageRef;
use crate::port::engine::{Answer, EngineError, PullProgress};

/// How Docker names its own registry in a login.
pub(super) const HUB: &str = "https://index.docker.io/v1/";

/// What to ask for: the name apart from tag or digest, where a digest beats a tag.
pub(super) fn options(image: &ImageRef, platform: Option<&str>) -> CreateImageOptions {
    let text = image.with_tag();
    let (name, tag) = match text.split_once('@') {
        Some((name, digest)) => (without_tag(name).0, digest),
        None => without_tag(&text),
    };
    CreateImageOptions {
        from_image: Some(name.to_owned()),
        tag: Some(tag.to_owned()),
        platform: platform.unwrap_or_default().to_owned(),
        ..CreateImageOptions::default()
    }
}

fn without_tag(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (name, ""),
    }
}

/// The login in the engine's form.
pub(super) fn credentials(image: &ImageRef, login: &RegistryLogin) -> Answer<DockerCredentials> {
    let password = std::str::from_utf8(login.password.expose())
        .map_err(|_| EngineError::Refused("the password of the registry is no text".to_owned()))?;
    Ok(DockerCredentials {
        username: Some(login.username.clone()),
        password: Some(password.to_owned()),
        serveraddress: Some(image.registry().unwrap_or(HUB).to_owned()),
        ..DockerCredentials::default()
    })
}

/// A line of progress.
pub(super) fn progress(info: CreateImageInfo) -> PullProgress {
    let bytes = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok()).unwrap_or_default();
    let detail = info.progress_detail.unwrap_or_default();
    PullProgress {
        layer: info.id.unwrap_or_default(),
        status: info.status.unwrap_or_default(),
        current: bytes(detail.current),
        total: bytes(detail.total),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn name_and_tag_go_apart() {
        let of = |text: &str| {
            let options = options(&ImageRef::new(text).unwrap(), None);
            (options.from_image.unwrap(), options.tag.unwrap())
        };
        let digest = format!("sha256:{}", "a".repeat(64));
        assert_eq!(of("busybox"), ("busybox".into(), "latest".into()));
        assert_eq!(of("127.0.0.1:5000/a/b"), ("127.0.0.1:5000/a/b".into(), "latest".into()));
        assert_eq!(of("127.0.0.1:5000/a/b:1"), ("127.0.0.1:5000/a/b".into(), "1".into()));
        assert_eq!(of(&format!("x:1@{digest}")), ("x".into(), digest.clone()));
        assert_eq!(of(&format!("x@{digest}")), ("x".into(), digest));
    }
}
