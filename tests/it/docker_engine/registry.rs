//! Fetching images from a registry that wants a login.

use std::sync::Mutex;

use mastic::model::desired::RegistryLogin;
use mastic::model::image::ImageRef;
use mastic::model::secret::Sensitive;
use mastic::port::engine::{Engine, EngineError, ObserveEngine};

use super::engine;
use crate::support::{Registry, Sandbox, docker, free_port};

fn login(password: &str) -> RegistryLogin {
    RegistryLogin { username: "puller".into(), password: Sensitive::new(password.as_bytes()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_pulled_with_a_login() {
    let (sandbox, engine) = (Sandbox::new(), engine());
    let registry = Registry::with_login("puller", "open-sesame-1");
    let reference = registry.push(&sandbox.image("pulled", "ENV PULLED=1"), "team/app:1");
    let reference = ImageRef::new(reference).unwrap();
    let seen = Mutex::new(Vec::new());
    let note = |line: mastic::port::engine::PullProgress| seen.lock().unwrap().push(line);

    for wrong in [None, Some(login("wrong"))] {
        let error = engine.pull(&reference, wrong.as_ref(), &note).await.unwrap_err();
        assert!(matches!(error, EngineError::Registry(_)), "{error:?}");
        assert!(!format!("{error:?}").contains("wrong\""), "{error:?}");
    }
    let right = login("open-sesame-1");
    engine.pull(&reference, Some(&right), &note).await.unwrap();
    assert!(seen.lock().unwrap().iter().any(|line| !line.layer.is_empty() && !line.status.is_empty()));

    let summary = engine.list_images().await.unwrap();
    let summary = summary.iter().find(|image| image.references.contains(&reference.familiar())).unwrap();
    let digest = summary.references.iter().find(|text| text.contains("@sha256:")).unwrap();
    assert_eq!(engine.inspect_image(reference.as_str()).await.unwrap().id, summary.id);
    assert_eq!(engine.inspect_image(digest).await.unwrap().id, summary.id);
    docker(&["rmi", "-f", reference.as_str()]);
    let by_digest = ImageRef::new(digest.as_str()).unwrap();
    engine.pull(&by_digest, Some(&right), &note).await.unwrap();
    let image = engine.inspect_image(digest).await.unwrap();
    assert_eq!(image.defaults.environment["PULLED"], "1");
    engine.remove_image(digest).await.unwrap();

    let missing = ImageRef::new(format!("{}/team/app:no-such-tag", registry.address())).unwrap();
    let error = engine.pull(&missing, Some(&right), &note).await.unwrap_err();
    assert!(matches!(&error, EngineError::Registry(text) if text.contains("not found")), "{error:?}");
    let nobody = ImageRef::new(format!("127.0.0.1:{}/team/app:1", free_port())).unwrap();
    let error = engine.pull(&nobody, None, &note).await.unwrap_err();
    assert!(matches!(&error, EngineError::Registry(text) if text.contains("connection refused")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_in_use_is_not_removed() {
    let bench = super::Bench::new().await;
    let id = bench.run("user", mastic::model::settings::ContainerSettings::default()).await;
    assert!(matches!(bench.engine.remove_image(&bench.image_id).await, Err(EngineError::Conflict(_))));
    bench.engine.remove_container(&id, true).await.unwrap();
    let missing = bench.engine.inspect_image("no-such-image:1").await;
    assert!(matches!(missing, Err(EngineError::NotFound(_))));
}
