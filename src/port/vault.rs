//! Encryption of what is kept where others might read it.

use crate::model::secret::Sensitive;

/// Encrypts and decrypts with a key that is at hand.
pub trait Vault: Send + Sync {
    /// Encrypts, as text. `about` says what it is: it opens as nothing else.
    fn seal(&self, key: &[u8; 32], about: &str, plain: &Sensitive) -> Option<String>;
    /// Decrypts; none where the key is another one, or somebody has changed it.
    fn open(&self, key: &[u8; 32], about: &str, sealed: &str) -> Option<Sensitive>;
}
