//! The files of instances on a host that only its engine can be reached of.
//!
//! They lie below `STATE/remote/SITE/HOST` on the machine, in the same directories as on a local disk, and are mounted by path. Nothing
//! runs there for it: the engine packs and unpacks archives through a helper container that mounts that
//! directory and is never started. In: an engine. Out: the files port.
//!
//! - A write is one archive. It lays new content down beside (`.new`), and only then puts it in its place by hard links, so that
//!   a full disk or a broken connection changes no file, and none is ever seen half-written. Unpacking takes the old file away
//!   just before it links the new one: for about a millisecond there is none.
//! - Mode and owner alone are set in place, by a hard link that goes the other way.
//! - The engine has no call that removes a file, but unpacking removes what is in an entry's way. A link to nothing is
//!   such an entry; that it then fails is what is wanted.
//! - `.keys/INSTANCE/HASH` are empty files, so that directories can be listed without fetching them. They are the first to come and the
//!   last to go.

mod archive;
mod changes;
mod helper;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;

use self::archive::{Found, Pack};
pub use self::helper::{Act, Look};
use self::helper::{Helper, State};
use crate::edge::docker::{DockerEngine, DockerObserver, ManagedPath};
use crate::edge::files::{is_path, split};
use crate::model::file::ObservedFile;
use crate::model::names::{HostName, SiteName};
use crate::port::engine::EngineError;
use crate::port::files::{FileToWrite, Files, FilesError, ObserveFiles};

/// Markers of all directories.
const KEYS: &str = ".keys";
/// Where new content is laid down.
const NEW: &str = ".new";
/// What is never there.
const NOTHING: &str = ".none";

/// Where the files of a host lie on its machine. Several hosts of a site may share one: each has its own place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    path: String,
    site: String,
    host: String,
}

impl Root {
    /// Below a state directory of the host, which need not exist yet.
    pub fn new(state: &str, site: &SiteName, host: &HostName) -> Result<Self, FilesError> {
        let is_plain = state.split('/').skip(1).all(|part| !part.is_empty() && part != "." && part != "..");
        // A bind is written with colons.
        if !state.starts_with('/') || !is_plain || state.contains([':', '\0']) {
            let reason = "must be an absolute path without `.`, `..` and colons".to_owned();
            return Err(FilesError { path: state.to_owned(), reason });
        }
        Ok(Self { path: format!("{state}/remote/{site}/{host}"), site: site.to_string(), host: host.to_string() })
    }

    /// On the host.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Key and path of a mount's source, if it is a file of ours.
    pub fn managed(&self, source: &str) -> Option<(String, String)> {
        let mut parts = source.strip_prefix(&self.path)?.strip_prefix('/')?.splitn(3, '/');
        let (instance, hash, path) = (parts.next()?, parts.next()?, parts.next()?);
        let key = format!("{instance}/{hash}");
        (split(&key).is_ok() && is_path(path)).then(|| (key, path.to_owned()))
    }

    /// The same, for the connection to an engine.
    pub fn managed_path(&self) -> ManagedPath {
        let root = self.clone();
        Arc::new(move |source| root.managed(source))
    }

    fn error(&self, path: &str, reason: impl Into<String>) -> FilesError {
        let path = if path.is_empty() { self.path.clone() } else { format!("{}/{path}", self.path) };
        FilesError { path, reason: reason.into() }
    }

    fn engine_error(&self, path: &str, error: &EngineError) -> FilesError {
        let text = error.to_string();
        // As a local disk says it.
        if text.to_lowercase().contains("no space left on device") {
            return self.error(path, "No space left on device");
        }
        self.error(path, text)
    }
}

/// The files of a host that are looked at and not changed.
pub struct RemoteFilesObserver {
    helper: Helper<dyn Look>,
}

impl RemoteFilesObserver {
    /// Looks by calls that change nothing.
    pub fn new(observer: DockerObserver, root: Root) -> Self {
        Self::over(Arc::new(observer), root)
    }

    /// The same, by any means.
    pub fn over(engine: Arc<dyn Look>, root: Root) -> Self {
        Self { helper: Helper::new(engine, root) }
    }
}

#[async_trait]
impl ObserveFiles for RemoteFilesObserver {
    async fn observe(&self, key: &str) -> Result<BTreeMap<String, ObservedFile>, FilesError> {
        let (helper, root) = (&self.helper, &self.helper.root);
        split(key)?;
        match helper.fetch(key).await? {
            State::Missing => {
                // Somebody may have taken it away: what containers mount is there nevertheless, and cannot be seen.
                let sources = helper.engine.mount_sources(&root.site).await;
                let sources = sources.map_err(|error| root.engine_error(key, &error))?;
                if sources.iter().any(|source| root.managed(source).is_some_and(|(found, _)| found == key)) {
                    let reason =
                        format!("cannot be looked at without the container {}, which `apply` makes", helper.name);
                    return Err(root.error(key, reason));
                }
                Ok(BTreeMap::new())
            }
            State::Nothing => Ok(BTreeMap::new()),
            State::Archive(bytes) => Ok(managed(found(root, key, &bytes)?)),
        }
    }

    async fn keys(&self) -> Result<Vec<String>, FilesError> {
        keys(&self.helper).await.map(Option::unwrap_or_default)
    }

    fn host_path(&self, key: &str, path: &str) -> String {
        format!("{}/{key}/{path}", self.helper.root.path)
    }

    fn managed_path(&self, source: &str) -> Option<(String, String)> {
        self.helper.root.managed(source)
    }
}

/// The files of a host that may be changed.
pub struct RemoteFiles {
    helper: Helper<dyn Act>,
    /// One change at a time.
    changing: Mutex<()>,
}

impl RemoteFiles {
    /// Nothing is asked or made yet.
    pub fn new(engine: DockerEngine, root: Root) -> Self {
        Self::over(Arc::new(engine), root)
    }

    /// The same, by any means.
    pub fn over(engine: Arc<dyn Act>, root: Root) -> Self {
        Self { helper: Helper::new(engine, root), changing: Mutex::default() }
    }

    fn root(&self) -> &Root {
        &self.helper.root
    }

    /// What a directory holds, through a helper that is made where there is none; none where there is no directory.
    async fn look(&self, key: &str) -> Result<Option<Found>, FilesError> {
        let mut state = self.helper.fetch(key).await?;
        if matches!(state, State::Missing) {
            self.helper.make().await?;
            state = self.helper.fetch(key).await?;
        }
        match state {
            State::Missing => {
                Err(self.root().error(key, format!("somebody removes the container {}", self.helper.name)))
            }
            State::Nothing => Ok(None),
            State::Archive(bytes) => found(self.root(), key, &bytes).map(Some),
        }
    }

    async fn send(&self, path: &str, pack: Pack) -> Result<(), FilesError> {
        let bytes = pack.finish().map_err(|error| self.root().error(path, error.to_string()))?;
        let sent = self.helper.engine.write(&self.helper.name, bytes).await;
        sent.map_err(|error| self.root().engine_error(path, &error))
    }

    /// Takes something away, with all that is in it; done if it is not there. Its parent should be.
    async fn unlink(&self, path: &str) -> Result<(), FilesError> {
        let mut pack = Pack::default();
        pack.link(path, NOTHING, archive::Access::ROOT);
        match self.send(path, pack).await {
            Err(error) if error.reason.contains("no such file or directory") => Ok(()),
            other => other,
        }
    }

    async fn remove_directory(&self, key: &str) -> Result<(), FilesError> {
        let (instance, _) = split(key)?;
        self.unlink(key).await?;
        if self.look(key).await?.is_some() {
            return Err(self.root().error(key, "the engine does not remove it"));
        }
        self.unlink(&format!("{KEYS}/{key}")).await?;
        let left = keys(&self.helper).await?.unwrap_or_default();
        if !left.iter().any(|key| key.starts_with(&format!("{instance}/"))) {
            self.unlink(instance).await?;
            self.unlink(&format!("{KEYS}/{instance}")).await?;
        }
        if left.is_empty() {
            for path in [KEYS, NEW] {
                self.unlink(path).await?;
            }
            self.helper.dispose().await?;
        }
        Ok(())
    }
}

fn found(root: &Root, key: &str, bytes: &Bytes) -> Result<Found, FilesError> {
    archive::read(bytes).map_err(|error| root.error(key, format!("the engine's archive is broken: {error}")))
}

/// What can be mounted.
fn managed(found: Found) -> BTreeMap<String, ObservedFile> {
    found.files.into_iter().filter(|(path, _)| is_path(path)).collect()
}

/// All directories; none where there is no helper to look through.
async fn keys<E: Look + ?Sized>(helper: &Helper<E>) -> Result<Option<Vec<String>>, FilesError> {
    match helper.fetch(KEYS).await? {
        State::Missing => Ok(None),
        State::Nothing => Ok(Some(Vec::new())),
        State::Archive(bytes) => {
            let markers = found(&helper.root, KEYS, &bytes)?.files;
            Ok(Some(markers.into_keys().filter(|key| split(key).is_ok()).collect()))
        }
    }
}

#[async_trait]
impl ObserveFiles for RemoteFiles {
    async fn observe(&self, key: &str) -> Result<BTreeMap<String, ObservedFile>, FilesError> {
        split(key)?;
        Ok(managed(self.look(key).await?.unwrap_or_default()))
    }

    async fn keys(&self) -> Result<Vec<String>, FilesError> {
        let found = keys(&self.helper).await?;
        if found.as_ref().is_some_and(Vec::is_empty) {
            // A removal was broken off before its end, or nothing was ever written.
            let _alone = self.changing.lock().await;
            if keys(&self.helper).await?.is_some_and(|keys| keys.is_empty()) {
                self.helper.dispose().await?;
            }
        }
        Ok(found.unwrap_or_default())
    }

    fn host_path(&self, key: &str, path: &str) -> String {
        format!("{}/{key}/{path}", self.root().path)
    }

    fn managed_path(&self, source: &str) -> Option<(String, String)> {
        self.root().managed(source)
    }
}

#[async_trait]
impl Files for RemoteFiles {
    async fn write(&self, key: &str, files: &[FileToWrite]) -> Result<(), FilesError> {
        split(key)?;
        if let Some(file) = files.iter().find(|file| !is_path(&file.path)) {
            return Err(FilesError { path: file.path.clone(), reason: "is no path of a managed file".to_owned() });
        }
        let _alone = self.changing.lock().await;
        let seen = self.look(key).await?;
        let changes = changes::between(seen.as_ref(), files);
        if changes.is_empty() && seen.is_some() {
            return Ok(());
        }
        if !changes.in_archive.is_empty() || seen.is_none() {
            let pack = changes::pack(key, files, &changes);
            if let Err(error) = self.send(key, pack).await {
                // What was laid down takes room and may be secret. The first failure is the one to be told.
                let mut pack = Pack::default();
                pack.nothing(NEW);
                let _ = self.send(key, pack).await;
                return Err(error);
            }
        }
        for path in &changes.superfluous {
            self.unlink(&format!("{key}/{path}")).await?;
        }
        if changes.superfluous.is_empty() {
            return Ok(());
        }
        let left = changes::between(self.look(key).await?.as_ref(), files);
        match left.superfluous.first() {
            Some(path) => Err(self.root().error(&format!("{key}/{path}"), "the engine does not remove it")),
            None => Ok(()),
        }
    }

    async fn remove(&self, key: &str) -> Result<(), FilesError> {
        split(key)?;
        let _alone = self.changing.lock().await;
        if self.look(key).await?.is_none()
            && !keys(&self.helper).await?.is_some_and(|keys| keys.iter().any(|known| known == key))
        {
            return Ok(());
        }
        self.remove_directory(key).await
    }
}
