//! The store of secrets as a person works on it: opened, changed, encrypted anew, never in the clear on a disk.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use age::x25519::{Identity, Recipient};
use rustix::fs::{FlockOperation, flock};

use crate::model::secret::Sensitive;
use crate::parse::secret_store::{self, Store, StoreFault};
use crate::port::site_files::DecryptError;
use crate::resolve::secrets::StorePaths;

use super::{age_file, atomic, system_words};

/// Why it could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum SecretStoreError {
    /// It could not be opened.
    #[error("the store of secrets {path}: {why}", path = .0.display(), why = .1)]
    Closed(PathBuf, DecryptError),
    /// What is in it makes no sense.
    #[error("the store of secrets {path}: {why}", path = .0.display(), why = .1)]
    Text(PathBuf, StoreFault),
    /// A file could not be read or written.
    #[error("{path}: {why}", path = .0.display(), why = system_words(.1))]
    File(PathBuf, #[source] io::Error),
    /// Somebody else works on it.
    #[error("somebody else works on the store of secrets {0}")]
    Busy(PathBuf),
    /// It is not what it was when it was opened.
    #[error("the store of secrets {0} was changed by somebody else; nothing was written")]
    Changed(PathBuf),
    /// `recipients` holds something else.
    #[error("`{0}` is no age recipient (age1...)")]
    Recipient(String),
}

/// An open store. Nobody else can open it like this meanwhile; reading it goes on.
pub struct SecretStore {
    paths: StorePaths,
    recipients: Vec<Recipient>,
    /// As it was when it was opened; none where there was no file.
    ciphertext: Option<Vec<u8>>,
    text: Sensitive,
    _lock: File,
}

impl std::fmt::Debug for SecretStore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SecretStore({})", self.paths.file.display())
    }
}

impl SecretStore {
    /// Opens it; a file that does not exist is an empty store.
    pub fn open(paths: &StorePaths) -> Result<Self, SecretStoreError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| SecretStoreError::File(path, error)
        };
        let lock = File::open(&paths.identity).map_err(failed(&paths.identity))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(SecretStoreError::Busy(paths.file.clone())),
            Err(error) => return Err(SecretStoreError::File(paths.identity.clone(), error.into())),
        }
        let closed = |error| SecretStoreError::Closed(paths.file.clone(), error);
        let keys = std::fs::read(&paths.identity).map_err(failed(&paths.identity))?;
        let identities = age_file::identities(&keys, &paths.identity).map_err(closed)?;
        let ciphertext = atomic::read(&paths.file).map_err(failed(&paths.file))?;
        let text = match &ciphertext {
            Some(ciphertext) => age_file::decrypt(ciphertext, &identities, &paths.identity).map_err(closed)?,
            None => Sensitive::default(),
        };
        let mut recipients: Vec<Recipient> = identities.iter().map(Identity::to_public).collect();
        for written in &paths.recipients {
            let recipient = age_file::recipient(written);
            recipients.push(recipient.ok_or_else(|| SecretStoreError::Recipient(written.clone()))?);
        }
        Ok(Self { paths: paths.clone(), recipients, ciphertext, text, _lock: lock })
    }

    /// Whether there is a file.
    pub fn exists(&self) -> bool {
        self.ciphertext.is_some()
    }

    /// The text.
    pub fn text(&self) -> &Sensitive {
        &self.text
    }

    /// Names and values.
    pub fn read(&self) -> Result<Store, SecretStoreError> {
        secret_store::read(self.text.expose()).map_err(|fault| SecretStoreError::Text(self.paths.file.clone(), fault))
    }

    /// Encrypts a new text and puts it in place of the old. The same text is not written again.
    pub fn save(&mut self, text: Sensitive) -> Result<(), SecretStoreError> {
        secret_store::read(text.expose()).map_err(|fault| SecretStoreError::Text(self.paths.file.clone(), fault))?;
        if self.exists() && text == self.text {
            return Ok(());
        }
        let file = |error| SecretStoreError::File(self.paths.file.clone(), error);
        if atomic::read(&self.paths.file).map_err(file)? != self.ciphertext {
            return Err(SecretStoreError::Changed(self.paths.file.clone()));
        }
        let ciphertext = age_file::encrypt(&text, &self.recipients).map_err(file)?;
        atomic::write(&self.paths.file, &ciphertext).map_err(file)?;
        self.ciphertext = Some(ciphertext);
        self.text = text;
        Ok(())
    }

    /// Sets values, each in its place.
    pub fn set(&mut self, values: &[(String, Sensitive)]) -> Result<(), SecretStoreError> {
        let fault = |fault| SecretStoreError::Text(self.paths.file.clone(), fault);
        let mut text = String::from_utf8_lossy(self.text.expose()).into_owned();
        for (name, value) in values {
            let value = String::from_utf8_lossy(value.expose());
            text = secret_store::with(&text, name, &value).map_err(fault)?;
        }
        self.save(Sensitive::new(text))
    }
}

/// Makes an identity where there is none. Whether it did.
pub fn make_identity(path: &Path) -> Result<bool, SecretStoreError> {
    let failed = |error| SecretStoreError::File(path.to_owned(), error);
    if atomic::read(path).map_err(failed)?.is_some() {
        return Ok(false);
    }
    atomic::write(path, age_file::new_identity().expose()).map_err(failed)?;
    Ok(true)
}
