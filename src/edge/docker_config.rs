//! Logins of registries as `docker login` keeps them.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;

use crate::model::desired::RegistryLogin;
use crate::model::secret::Sensitive;

/// Docker Hub in that file.
const HUB: &str = "https://index.docker.io/v1/";

/// Logins by registry, from `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`. What is kept by a helper program, and
/// a file that cannot be read, give none.
pub fn logins(environment: impl Fn(&str) -> Option<String>) -> BTreeMap<String, RegistryLogin> {
    let set = |name: &str| environment(name).filter(|value| !value.is_empty());
    let home = || Some(Path::new(&set("HOME")?).join(".docker"));
    let directory = set("DOCKER_CONFIG").map(Into::into).or_else(home);
    let text = directory.and_then(|directory| std::fs::read_to_string(directory.join("config.json")).ok());
    text.map(|text| parse(&text)).unwrap_or_default()
}

fn parse(text: &str) -> BTreeMap<String, RegistryLogin> {
    let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else { return BTreeMap::new() };
    let entries = value.get("auths").and_then(serde_json::Value::as_object);
    let login = |(registry, entry): (&String, &serde_json::Value)| {
        let encoded = entry.get("auth")?.as_str()?;
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
        let at = decoded.iter().position(|byte| *byte == b':')?;
        let username = String::from_utf8(decoded.get(..at)?.to_vec()).ok()?;
        let password = Sensitive::new(decoded.get(at + 1..)?.to_vec());
        let registry = if registry == HUB { "docker.io" } else { registry };
        let registry = registry.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
        Some((registry.to_owned(), RegistryLogin { username, password }))
    };
    entries.into_iter().flatten().filter_map(login).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn logins_are_read_and_all_else_is_none() {
        let text = r#"{"auths": {"reg:5000": {"auth": "dTpwOnc="}, "https://index.docker.io/v1/": {"auth": "YTpi"},
            "https://x/": {"auth": "YTpi"}, "kept-by-helper": {}, "broken": {"auth": "?"}}, "credsStore": "x"}"#;
        let logins = parse(text);
        let plain: Vec<(&str, &str, &[u8])> = logins
            .iter()
            .map(|(registry, login)| (registry.as_str(), login.username.as_str(), login.password.expose()))
            .collect();
        assert_eq!(plain, [("docker.io", "a", b"b".as_slice()), ("reg:5000", "u", b"p:w"), ("x", "a", b"b")]);
        for odd in ["", "[]", "{\"auths\": 1}"] {
            assert!(parse(odd).is_empty(), "{odd}");
        }
        assert!(logins_of_nobody().is_empty());
    }

    fn logins_of_nobody() -> BTreeMap<String, RegistryLogin> {
        super::logins(|_| None)
    }
}
