//! Keys that sign, and files of keys that are trusted.
//!
//! A key is one line of text, as is what is trusted: `mastic-ed25519 BASE64 WHOSE`. What is secret begins otherwise, so that
//! one is not taken for the other.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::edge::system_words;

const SECRET: &str = "MASTIC-SIGNING-KEY-1";
const PUBLIC: &str = "mastic-ed25519";

/// Why a key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The file.
    #[error("{path}: {why}", path = .0.display(), why = .1)]
    File(PathBuf, String),
    /// There is one already.
    #[error("{} is there already; a key that others trust is not overwritten", .0.display())]
    There(PathBuf),
}

/// A key that signs.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    whose: String,
}

/// A key that is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trusted {
    key: Vec<u8>,
    whose: String,
}

/// All keys that are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    keys: Vec<Trusted>,
    path: PathBuf,
}

fn file(path: &Path, why: impl Into<String>) -> KeyError {
    KeyError::File(path.to_owned(), why.into())
}

/// Where the public half lies.
fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

impl SigningKey {
    /// Makes one, and writes it (for its owner alone) and, beside it, what others have to trust.
    pub fn generate(path: &Path, whose: &str) -> Result<(Self, PathBuf), KeyError> {
        let public = public_path(path);
        let broken = |_| file(path, "no key could be made");
        let secret = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(broken)?;
        let pair = Ed25519KeyPair::from_pkcs8(secret.as_ref()).map_err(|_| file(path, "no key could be made"))?;
        let key = Self { pair, whose: whose.to_owned() };
        write_new(path, 0o600, &format!("{SECRET} {} {whose}\n", STANDARD.encode(secret.as_ref())))?;
        write_new(&public, 0o644, &format!("{}\n", key.public_line()))?;
        Ok((key, public))
    }

    /// Reads one. Others must not be able to.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let metadata = std::fs::metadata(path).map_err(|error| file(path, system_words(&error)))?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(file(path, format!("others can read this key; chmod 600 {}", path.display())));
        }
        let text = std::fs::read_to_string(path).map_err(|error| file(path, system_words(&error)))?;
        let mut words = text.split_whitespace();
        match words.next() {
            Some(SECRET) => {}
            Some(PUBLIC) => return Err(file(path, "this is the public half; name the file without .pub")),
            _ => return Err(file(path, "it is no key of `mastic push --generate-key`")),
        }
        let damaged = || file(path, "this key is damaged");
        let secret = words.next().and_then(|word| STANDARD.decode(word).ok()).ok_or_else(damaged)?;
        let pair = Ed25519KeyPair::from_pkcs8(&secret).map_err(|_| damaged())?;
        Ok(Self { pair, whose: words.collect::<Vec<_>>().join(" ") })
    }

    /// What others have to trust.
    pub fn public_line(&self) -> String {
        format!("{PUBLIC} {} {}", STANDARD.encode(self.public()), self.whose)
    }

    pub(super) fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

fn write_new(path: &Path, mode: u32, text: &str) -> Result<(), KeyError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = opened.and_then(|mut open| open.write_all(text.as_bytes()).and_then(|()| open.sync_all()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => KeyError::There(path.to_owned()),
        _ => file(path, system_words(&error)),
    })
}

impl Trust {
    /// Reads the keys of a file, one a line; what begins with `#` is for people.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let text = std::fs::read_to_string(path).map_err(|error| file(path, system_words(&error)))?;
        let mut keys = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let wrong = |why: &str| file(path, format!("line {}: {why}", number + 1));
            match words.next() {
                Some(PUBLIC) => {}
                Some(SECRET) => return Err(wrong("this is a secret key; put the line of its .pub here")),
                _ => return Err(wrong("no key; it must be `mastic-ed25519 BASE64 WHOSE`")),
            }
            let key = words.next().and_then(|word| STANDARD.decode(word).ok()).filter(|key| key.len() == 32);
            let key = key.ok_or_else(|| wrong("this key is damaged"))?;
            keys.push(Trusted { key, whose: words.collect::<Vec<_>>().join(" ") });
        }
        if keys.is_empty() {
            return Err(file(path, "it holds no key; put the lines of .pub files here"));
        }
        Ok(Self { keys, path: path.to_owned() })
    }

    /// Where the keys were read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose key has signed; none where the key is not trusted, or has not signed this.
    pub(super) fn signer(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Option<Result<&str, ()>> {
        let trusted = self.keys.iter().find(|trusted| trusted.key == key)?;
        let verified = UnparsedPublicKey::new(&ED25519, &trusted.key).verify(message, signature);
        Some(verified.map(|()| trusted.whose.as_str()).map_err(|_| ()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_its_owner_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("key");
        let (made, public) = SigningKey::generate(&path, "ann@desk").unwrap();
        assert_eq!(SigningKey::read(&path).unwrap().public_line(), made.public_line());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let error = SigningKey::generate(&path, "bob").err().unwrap();
        assert!(error.to_string().contains("is not overwritten"), "{error}");
        assert!(SigningKey::read(&public).is_err());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = SigningKey::read(&path).err().unwrap().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_file_of_trust_holds_public_keys() {
        let place = tempfile::tempdir().unwrap();
        let (path, trust) = (place.path().join("key"), place.path().join("trust"));
        let (key, public) = SigningKey::generate(&path, "ann").unwrap();
        std::fs::write(&trust, format!("# who may\n\n{}\n", key.public_line())).unwrap();
        let read = Trust::read(&trust).unwrap();
        assert_eq!(read.signer(key.public(), b"x", &key.sign(b"x")), Some(Ok("ann")));
        assert_eq!(read.signer(key.public(), b"y", &key.sign(b"x")), Some(Err(())));
        assert_eq!(read.signer(&[0; 32], b"x", &key.sign(b"x")), None);
        assert!(Trust::read(&public).is_ok());
        for (text, why) in [
            (std::fs::read_to_string(&path).unwrap(), "line 1: this is a secret key; put the line of its .pub here"),
            ("\nmastic-ed25519 AAAA\n".to_owned(), "line 2: this key is damaged"),
            ("# nothing\n".to_owned(), "it holds no key; put the lines of .pub files here"),
        ] {
            std::fs::write(&trust, text).unwrap();
            let error = Trust::read(&trust).unwrap_err().to_string();
            assert!(error.ends_with(why), "{error}");
            assert!(!error.contains("MASTIC-SIGNING"), "{error}");
        }
    }
}
