//! Reads the files that a site names, each once, and remembers them for the digest of the sources.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::model::secret::Sensitive;
use crate::port::site_files::{DecryptError, Kind, ReadError, SiteFiles};

/// The files of one compilation.
pub struct SiteReader<'a> {
    files: &'a dyn SiteFiles,
    /// What relative paths are relative to.
    pub directory: PathBuf,
    read: RefCell<BTreeMap<PathBuf, Result<Arc<[u8]>, ReadError>>>,
    sources: RefCell<BTreeMap<String, [u8; 32]>>,
    decrypted: RefCell<BTreeSet<PathBuf>>,
    private: RefCell<BTreeSet<PathBuf>>,
}

impl std::fmt::Debug for SiteReader<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SiteReader({})", self.directory.display())
    }
}

impl<'a> SiteReader<'a> {
    /// Reads below a directory.
    pub fn new(files: &'a dyn SiteFiles, directory: PathBuf) -> Self {
        Self {
            files,
            directory,
            read: RefCell::default(),
            sources: RefCell::default(),
            decrypted: RefCell::default(),
            private: RefCell::default(),
        }
    }

    /// The path as seen from where the program runs.
    pub fn path(&self, written: &str) -> PathBuf {
        self.directory.join(written)
    }

    /// Content of a file that holds no secret.
    pub fn source(&self, written: &str) -> Result<Arc<[u8]>, ReadError> {
        let content = self.read(&self.path(written))?;
        self.note(written, &content);
        Ok(content)
    }

    /// The same by the path as the program sees it.
    pub fn source_at(&self, path: &Path) -> Result<Arc<[u8]>, ReadError> {
        let content = self.read(path)?;
        let name = path.strip_prefix(&self.directory).unwrap_or(path);
        self.note(&name.display().to_string(), &content);
        Ok(content)
    }

    /// Content of a file that holds a secret: it does not go into the digest of the sources.
    pub fn secret(&self, written: &str) -> Result<Arc<[u8]>, ReadError> {
        let path = self.path(written);
        self.private.borrow_mut().insert(path.clone());
        self.read(&path)
    }

    /// Content of an age file. Neither it nor the identity goes into the digest of the sources.
    pub fn decrypt(&self, store: &Path, identity: &Path) -> Result<Sensitive, DecryptError> {
        self.decrypted.borrow_mut().extend([store.to_path_buf(), identity.to_path_buf()]);
        self.private.borrow_mut().insert(identity.to_path_buf());
        self.files.decrypt(store, identity)
    }

    /// Permissions of a file by its whole path.
    pub fn mode_of(&self, path: &Path) -> Option<u32> {
        self.files.mode(path).ok()
    }

    /// Permissions of a file.
    pub fn mode(&self, written: &str) -> Option<u32> {
        self.files.mode(&self.path(written)).ok()
    }

    /// Names a text as a source.
    pub fn note(&self, name: &str, content: &[u8]) {
        self.sources.borrow_mut().entry(name.to_owned()).or_insert_with(|| Sha256::digest(content).into());
    }

    /// Hex SHA-256 over names and contents of the sources.
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for (name, content) in self.sources.borrow().iter() {
            digest.update(name.as_bytes());
            digest.update([0]);
            digest.update(content);
        }
        hex::encode(digest.finalize())
    }

    /// All files that were asked for, whether they exist or not.
    pub fn asked(&self) -> Vec<PathBuf> {
        self.read.borrow().keys().chain(self.decrypted.borrow().iter()).cloned().collect()
    }

    /// Those that hold a secret as it is.
    pub fn private(&self) -> Vec<PathBuf> {
        self.private.borrow().iter().cloned().collect()
    }

    fn read(&self, path: &Path) -> Result<Arc<[u8]>, ReadError> {
        if let Some(known) = self.read.borrow().get(path) {
            return known.clone();
        }
        let content = match self.files.kind(path) {
            Ok(Kind::Directory) => Err(ReadError::Unreadable("it is a directory".to_owned())),
            Ok(Kind::File) | Err(_) => self.files.read(path).map(Arc::from),
        };
        self.read.borrow_mut().insert(path.to_path_buf(), content.clone());
        content
    }
}
