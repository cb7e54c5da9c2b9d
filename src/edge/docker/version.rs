//! Which engine it is, from the head of the answer to a ping: asking `/version` or `/info` starts processes on the host
//! and takes ten times as long.
//!
//! In: headers. Out: [`EngineVersion`], or why we do not work with it.

use http::HeaderMap;

use super::wire;
use crate::observe::observed::EngineVersion;
use crate::port::engine::{Answer, EngineError};

/// The oldest API that is known to work: Docker 20.10.
pub(super) const OLDEST: (u32, u32) = (1, 41);

/// Reads the head of the answer to `GET /_ping`; none if it does not say enough.
pub(super) fn from_headers(headers: &HeaderMap) -> Option<EngineVersion> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (product, rest) = text("server")?.split_once('/')?;
    let engine = match product {
        "Docker" => "docker",
        "Libpod" => "podman",
        _ => return None,
    };
    let version = rest.split_whitespace().next()?.to_owned();
    Some(EngineVersion { engine: engine.to_owned(), version, api: number(text("api-version")?)?, id: String::new() })
}

/// Reads the answer to `GET /version`, for engines behind a proxy that replaces the `Server` header.
pub(super) fn from_version(reply: &wire::Version) -> Answer<EngineVersion> {
    let podman = reply.components.iter().any(|component| component.name.to_lowercase().contains("podman"));
    let engine = if podman { "podman" } else { "docker" };
    let api = number(&reply.api).ok_or_else(|| EngineError::Failed(format!("`{}` is no API version", reply.api)))?;
    Ok(EngineVersion { engine: engine.to_owned(), version: reply.number.clone(), api, id: String::new() })
}

/// Refuses engines that are too old.
pub(super) fn supported(version: EngineVersion) -> Answer<EngineVersion> {
    if version.api >= OLDEST {
        return Ok(version);
    }
    let EngineVersion { engine, version, api, .. } = version;
    Err(EngineError::Refused(format!(
        "{engine} {version} speaks API {}.{}, and at least {}.{} is needed (Docker 20.10)",
        api.0, api.1, OLDEST.0, OLDEST.1
    )))
}

fn number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn headers(server: &'static str, api: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("server", server.parse().unwrap());
        headers.insert("api-version", api.parse().unwrap());
        headers
    }

    #[test]
    fn docker_and_podman_are_told_apart() {
        let docker = from_headers(&headers("Docker/20.10.24+dfsg1 (linux)", "1.41")).unwrap();
        assert_eq!(
            (docker.engine.as_str(), docker.version.as_str(), docker.api),
            ("docker", "20.10.24+dfsg1", (1, 41))
        );
        let podman = from_headers(&headers("Libpod/4.3.1 (linux)", "1.41")).unwrap();
        assert_eq!((podman.engine.as_str(), podman.version.as_str()), ("podman", "4.3.1"));
        assert_eq!(from_headers(&headers("nginx", "1.41")), None);
        let reply = |text: &str| from_version(&serde_json::from_str(text).unwrap()).unwrap().engine;
        assert_eq!(
            reply(r#"{"Components":[{"Name":"Podman Engine"}],"Version":"4.3.1","ApiVersion":"1.41"}"#),
            "podman"
        );
        assert_eq!(reply(r#"{"Components":[{"Name":"Engine"}],"Version":"28.0.1","ApiVersion":"1.48"}"#), "docker");
    }

    #[test]
    fn an_engine_that_is_too_old_is_refused_in_words() {
        let old = from_headers(&headers("Docker/19.03.15 (linux)", "1.40")).unwrap();
        insta::assert_snapshot!(supported(old).unwrap_err(), @"docker 19.03.15 speaks API 1.40, and at least 1.41 is needed (Docker 20.10)");
    }
}
