//! What images are called: by the folder here, by the whole reference in the engine and the registry.

use std::borrow::Borrow;
use std::fmt;

use crate::model::image::{ImageRef, ImageRefError, NAMESPACE, TAG};

/// An image, named like its folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct ImageName(String);

impl ImageName {
    /// Checks that the name can be the last part of a repository.
    pub fn new(text: impl Into<String>) -> Result<Self, ImageRefError> {
        let text = text.into();
        if text.contains(['/', ':', '@']) {
            let why = "it takes lower-case letters, digits, `_`, `.` and `-`";
            return Err(ImageRefError::new(format!("`{text}` is no name of an image: {why}")));
        }
        ImageRef::new(text.as_str())?;
        Ok(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// As the beginning of variables' names: `nova-api` is `nova_api`.
    pub fn in_variables(&self) -> String {
        self.0.replace(['-', '.'], "_")
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Borrow<str> for ImageName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// What comes before and after the name in a reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// Host and port of the registry; empty for what stays in the engine.
    pub registry: String,
    /// Between registry and name; may be empty.
    pub namespace: String,
    /// Tag.
    pub tag: String,
}

impl Default for Naming {
    fn default() -> Self {
        Self { registry: String::new(), namespace: NAMESPACE.to_owned(), tag: TAG.to_owned() }
    }
}

impl Naming {
    /// Checks that references can be made of it.
    pub fn check(&self) -> Result<(), ImageRefError> {
        let sample = self.reference(&ImageName("image".to_owned()));
        let reference = ImageRef::new(sample.as_str())?;
        let registry = Some(self.registry.as_str()).filter(|registry| !registry.is_empty());
        if reference.registry() != registry {
            // `docker.io` needs its dot, `localhost` is known: everything else would be read as a namespace.
            let text = if self.registry.is_empty() { &self.namespace } else { &self.registry };
            return Err(ImageRefError::new(format!(
                "`{text}` is no host of a registry; write HOST:PORT or a full name"
            )));
        }
        Ok(())
    }

    /// The whole reference of an image.
    pub fn reference(&self, name: &ImageName) -> String {
        let parts = [self.registry.as_str(), self.namespace.as_str(), name.as_str()];
        let path: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!("{}:{}", path.join("/"), self.tag)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_are_parts_of_a_repository() {
        for name in ["keystone", "nova-api", "redis_7.0", "x"] {
            assert_eq!(ImageName::new(name).unwrap().as_str(), name);
        }
        for name in ["", "Keystone", "a/b", "a:1", "a@b", "-a", "a b", "ä"] {
            assert!(ImageName::new(name).is_err(), "{name}");
        }
        assert_eq!(ImageName::new("a.b-c").unwrap().in_variables(), "a_b_c");
    }

    #[test]
    fn references_are_put_together_and_checked() {
        let name = ImageName::new("x").unwrap();
        let of = |registry: &str, namespace: &str, tag: &str| Naming {
            registry: registry.into(),
            namespace: namespace.into(),
            tag: tag.into(),
        };
        assert_eq!(Naming::default().reference(&name), "mastic/x:latest");
        assert_eq!(of("reg:5000", "a/b", "1").reference(&name), "reg:5000/a/b/x:1");
        assert_eq!(of("", "", "1").reference(&name), "x:1");
        for fine in [of("reg:5000", "a", "1"), of("localhost", "", "1"), of("", "a/b", "v1.2_x")] {
            fine.check().unwrap();
        }
        for (wrong, words) in [
            (of("reg", "a", "1"), "`reg` is no host of a registry"),
            (of("", "reg.example", "1"), "`reg.example` is no host of a registry"),
            (of("", "A", "1"), "lower case"),
            (of("", "a", "1:2"), "no image reference"),
            (of("", "a", ""), "a tag takes"),
        ] {
            let error = wrong.check().unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
