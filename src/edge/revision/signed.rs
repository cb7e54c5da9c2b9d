//! Bytes with a signature. What is signed for one purpose is no signature for another.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::key::{SigningKey, Trust};

/// What a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The desired state of a site.
    Revision,
    /// Something that a person asks of agents.
    Request,
}

impl Purpose {
    const fn words(self) -> &'static [u8] {
        match self {
            Self::Revision => b"mastic revision 1\n",
            Self::Request => b"mastic request 1\n",
        }
    }
}

/// As it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    content: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    key: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    signature: String,
}

/// Why it is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It bears no signature, or is none of ours at all.
    #[error("it is not signed")]
    Unsigned,
    /// Somebody signed who is not trusted.
    #[error("it is signed with a key that {0} does not hold")]
    Stranger(String),
    /// It was changed after it was signed.
    #[error("its signature does not fit: it was changed after it was signed")]
    Changed,
}

fn message(purpose: Purpose, content: &[u8]) -> Vec<u8> {
    [purpose.words(), content].concat()
}

impl Signed {
    /// Signs.
    pub fn seal(purpose: Purpose, content: &[u8], key: &SigningKey) -> Self {
        Self {
            content: STANDARD.encode(content),
            key: STANDARD.encode(key.public()),
            signature: STANDARD.encode(key.sign(&message(purpose, content))),
        }
    }

    /// Bears no signature: for what needs none.
    pub fn bare(content: &[u8]) -> Self {
        Self { content: STANDARD.encode(content), key: String::new(), signature: String::new() }
    }

    /// The content, if somebody who is trusted has signed it, and who that was.
    pub fn open(&self, purpose: Purpose, trust: &Trust) -> Result<(Vec<u8>, String), SignatureError> {
        let bytes = |text: &str| STANDARD.decode(text).map_err(|_| SignatureError::Unsigned);
        let (content, key, signature) = (bytes(&self.content)?, bytes(&self.key)?, bytes(&self.signature)?);
        if signature.is_empty() {
            return Err(SignatureError::Unsigned);
        }
        match trust.signer(&key, &message(purpose, &content), &signature) {
            Some(Ok(whose)) => Ok((content, whose.to_owned())),
            Some(Err(())) => Err(SignatureError::Changed),
            None => Err(SignatureError::Stranger(trust.path().display().to_string())),
        }
    }

    /// The content, whoever wrote it: to be shown, never to be done.
    pub fn unproven(&self) -> Result<Vec<u8>, SignatureError> {
        STANDARD.decode(&self.content).map_err(|_| SignatureError::Unsigned)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_by_who_is_trusted_for_this_purpose_opens() {
        let place = tempfile::tempdir().unwrap();
        let (ann, public) = SigningKey::generate(&place.path().join("ann"), "ann").unwrap();
        let (bob, _) = SigningKey::generate(&place.path().join("bob"), "bob").unwrap();
        let trust = Trust::read(&public).unwrap();
        let signed = Signed::seal(Purpose::Revision, b"text", &ann);
        assert_eq!(signed.open(Purpose::Revision, &trust), Ok((b"text".to_vec(), "ann".to_owned())));
        assert_eq!(signed.open(Purpose::Request, &trust), Err(SignatureError::Changed));
        let changed = Signed { content: STANDARD.encode(b"more"), ..signed.clone() };
        assert_eq!(changed.open(Purpose::Revision, &trust), Err(SignatureError::Changed));
        let strange = Signed::seal(Purpose::Revision, b"text", &bob).open(Purpose::Revision, &trust);
        assert!(matches!(strange, Err(SignatureError::Stranger(_))));
        assert_eq!(Signed::bare(b"text").open(Purpose::Revision, &trust), Err(SignatureError::Unsigned));
        let half = Signed { signature: String::new(), ..signed };
        assert_eq!(half.open(Purpose::Revision, &trust), Err(SignatureError::Unsigned));
    }
}
