//! Encryption with ring: ChaCha20-Poly1305, a random nonce in front.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::model::secret::Sensitive;
use crate::port::vault::Vault;

/// Keys come from outside; nothing is kept.
#[derive(Clone, Copy, Debug, Default)]
pub struct AeadVault;

fn cipher(key: &[u8; 32]) -> Option<LessSafeKey> {
    Some(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?))
}

impl Vault for AeadVault {
    fn seal(&self, key: &[u8; 32], about: &str, plain: &Sensitive) -> Option<String> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut text = plain.expose().to_vec();
        let (nonce, about) = (Nonce::assume_unique_for_key(nonce), Aad::from(about));
        let mut sealed = nonce.as_ref().to_vec();
        cipher(key)?.seal_in_place_append_tag(nonce, about, &mut text).ok()?;
        sealed.append(&mut text);
        Some(STANDARD.encode(sealed))
    }

    fn open(&self, key: &[u8; 32], about: &str, sealed: &str) -> Option<Sensitive> {
        let mut bytes = STANDARD.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let plain = cipher(key)?.open_in_place(nonce, Aad::from(about), text).ok()?;
        Some(Sensitive::new(&*plain))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn opens_with_the_same_key_as_the_same_thing_and_unchanged_only() {
        let (vault, plain) = (AeadVault, Sensitive::new("the keys"));
        let sealed = vault.seal(&[1; 32], "fernet 1", &plain).unwrap();
        assert_eq!(vault.open(&[1; 32], "fernet 1", &sealed), Some(plain.clone()));
        assert_ne!(vault.seal(&[1; 32], "fernet 1", &plain).unwrap(), sealed, "nobody sees that it is the same");
        assert_eq!(vault.open(&[2; 32], "fernet 1", &sealed), None);
        assert_eq!(vault.open(&[1; 32], "fernet 2", &sealed), None);
        let mut bytes = STANDARD.decode(&sealed).unwrap();
        bytes[NONCE_LEN] ^= 1;
        assert_eq!(vault.open(&[1; 32], "fernet 1", &STANDARD.encode(bytes)), None);
        for broken in ["", "AAAA", "no base64!"] {
            assert_eq!(vault.open(&[1; 32], "fernet 1", broken), None);
        }
    }
}
