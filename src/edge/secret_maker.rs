//! New secrets, from the system's randomness.

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, URL_SAFE};
use rand::{Rng as _, TryRngCore as _};
use rsa::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding};

use crate::model::recipe::{Kind, PUBLIC, Recipe};
use crate::model::secret::Sensitive;

/// Why none could be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a {what}: {why}")]
pub struct MakeError {
    what: &'static str,
    why: String,
}

/// A secret under its name; with a key its public half, under the name that goes with it.
pub fn make(name: &str, recipe: Recipe) -> Result<Vec<(String, Sensitive)>, MakeError> {
    let failed = |why: String| MakeError { what: recipe.kind.as_str(), why };
    let length = recipe.length.or(recipe.kind.length()).unwrap_or(0);
    let lone = |text: String| Ok(vec![(name.to_owned(), Sensitive::new(text))]);
    let pair = |private: &str, public: String| {
        Ok(vec![(name.to_owned(), Sensitive::new(private)), (format!("{name}{PUBLIC}"), Sensitive::new(public))])
    };
    let mut system = rand::rngs::OsRng.unwrap_err();
    match recipe.kind {
        Kind::Password => {
            lone((0..length).map(|_| char::from(system.sample(rand::distr::Alphanumeric))).collect::<String>())
        }
        Kind::Hex => {
            let mut digits = hex::encode((0..length.div_ceil(2)).map(|_| system.random()).collect::<Vec<u8>>());
            digits.truncate(length);
            lone(digits)
        }
        Kind::HmacMd5 => lone(hex::encode(system.random::<[u8; 16]>())),
        Kind::Uuid => lone(uuid(system.random())),
        Kind::FernetKey => lone(URL_SAFE.encode(system.random::<[u8; 32]>())),
        Kind::BcryptSalt => {
            let engine = GeneralPurpose::new(&base64::alphabet::BCRYPT, NO_PAD);
            lone(engine.encode(system.random::<[u8; 16]>()))
        }
        Kind::RsaKey => {
            let mut random = rsa::rand_core::OsRng;
            let key = rsa::RsaPrivateKey::new(&mut random, length).map_err(|error| failed(error.to_string()))?;
            let private = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| failed(error.to_string()))?;
            let public = key.to_public_key().to_public_key_pem(LineEnding::LF);
            pair(&private, public.map_err(|error| failed(error.to_string()))?)
        }
        Kind::SshKey => {
            let mut random = rsa::rand_core::OsRng;
            let key = ssh_key::PrivateKey::random(&mut random, ssh_key::Algorithm::Ed25519);
            let mut key = key.map_err(|error| failed(error.to_string()))?;
            key.set_comment(name);
            let private = key.to_openssh(ssh_key::LineEnding::LF).map_err(|error| failed(error.to_string()))?;
            let public = key.public_key().to_openssh().map_err(|error| failed(error.to_string()))?;
            pair(&private, public)
        }
    }
}

/// Version 4, variant 1.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex::encode(bytes);
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn made(kind: Kind, length: Option<usize>) -> Vec<String> {
        let text = |value: &Sensitive| String::from_utf8(value.expose().to_vec()).unwrap();
        let made = make("it", Recipe { kind, length }).unwrap();
        let again = make("it", Recipe { kind, length }).unwrap();
        assert!(made.iter().zip(&again).all(|(one, other)| one != other), "{kind:?} is not random");
        assert!(made.iter().map(|(name, _)| name.as_str()).eq(["it", "it_public"].into_iter().take(made.len())));
        made.iter().map(|(_, value)| text(value)).collect()
    }

    #[test]
    fn each_kind_is_what_its_readers_expect() {
        for (kind, length, pattern) in [
            (Kind::Password, None, "^[A-Za-z0-9]{40}$"),
            (Kind::Password, Some(12), "^[A-Za-z0-9]{12}$"),
            (Kind::Hex, None, "^[0-9a-f]{64}$"),
            (Kind::Hex, Some(9), "^[0-9a-f]{9}$"),
            (Kind::HmacMd5, None, "^[0-9a-f]{32}$"),
            (Kind::Uuid, None, "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"),
            (Kind::FernetKey, None, "^[A-Za-z0-9_-]{43}=$"),
            // Four bits of the last character have to be nought, or bcrypt refuses it.
            (Kind::BcryptSalt, None, "^[./A-Za-z0-9]{21}[.Oeu]$"),
        ] {
            let made = made(kind, length);
            assert_eq!(made.len(), 1, "{kind:?}");
            assert!(regex::Regex::new(pattern).unwrap().is_match(&made[0]), "{kind:?}: {pattern}");
        }
    }

    #[test]
    fn keys_come_with_their_public_half() {
        let rsa = made(Kind::RsaKey, Some(2048));
        assert!(
            rsa[0].starts_with("-----BEGIN PRIVATE KEY-----\n") && rsa[1].starts_with("-----BEGIN PUBLIC KEY-----\n")
        );
        let ssh = made(Kind::SshKey, None);
        let private = ssh_key::PrivateKey::from_openssh(&ssh[0]).unwrap();
        assert_eq!(private.public_key().to_openssh().unwrap(), ssh[1]);
        assert!(ssh[1].starts_with("ssh-ed25519 ") && ssh[1].ends_with(" it"));
    }
}
