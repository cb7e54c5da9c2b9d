//! A revision unpacked: `STATE/source/N/` holds its files and its signed manifest; `STATE/source/current` leads to the one
//! in force. A tree is put in its place as a whole, and is read through `current`, so that paths stay the same.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::key::Trust;
use super::manifest::{BadManifest, Manifest, sha256};
use super::signed::{Purpose, SignatureError, Signed};
use crate::edge::{atomic, system_words};
use crate::model::names::SiteName;

const MANIFEST: &str = "revision.json";
const FILES: &str = "files";

/// Trees that are kept besides the one in force.
const KEPT: usize = 1;

/// Where revisions are unpacked.
#[derive(Clone, Debug)]
pub struct Tree {
    directory: PathBuf,
}

/// Why what is unpacked cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTree {
    /// Nothing was unpacked yet.
    #[error("no revision was received yet")]
    Nothing,
    /// It is not believed.
    #[error("the revision is not taken: {0}")]
    Signature(#[from] SignatureError),
    /// It is of no use.
    #[error("the revision is not taken: {0}")]
    Manifest(#[from] BadManifest),
    /// A file is not the one that was signed.
    #[error("the revision is not taken: its file `{0}` is not the one that was signed")]
    File(String),
    /// It is older than what is in force, or another one of the same number.
    #[error("the revision is not taken: its generation is {has}, and {had} was in force here already")]
    Behind {
        /// What was in force.
        had: u64,
        /// Its number.
        has: u64,
    },
    /// The disk.
    #[error("{}: {why}", path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl BadTree {
    /// Whether the same may work later.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Disk { .. })
    }
}

fn disk(path: &Path) -> impl Fn(io::Error) -> BadTree + '_ {
    |error| BadTree::Disk { path: path.to_owned(), why: system_words(&error) }
}

/// A manifest as it was signed, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// What it says.
    pub manifest: Manifest,
    /// Stands for it.
    pub digest: String,
    /// Whose key has signed it.
    pub signed_by: String,
}

/// Opens a signed manifest.
pub fn open(signed: &[u8], trust: &Trust, site: &SiteName) -> Result<Opened, BadTree> {
    let signed: Signed = serde_json::from_slice(signed).map_err(|_| SignatureError::Unsigned)?;
    let (content, signed_by) = signed.open(Purpose::Revision, trust)?;
    let manifest = Manifest::read(&content, site)?;
    Ok(Opened { manifest, digest: Manifest::digest(&content), signed_by })
}

impl Tree {
    /// In a state directory.
    pub fn new(state: &Path) -> Self {
        Self { directory: state.join("source") }
    }

    fn current(&self) -> PathBuf {
        self.directory.join("current")
    }

    /// Where the files of the revision in force are.
    pub fn files(&self) -> PathBuf {
        self.current().join(FILES)
    }

    /// The revision in force, with each of its files looked at.
    pub fn verified(&self, trust: &Trust, site: &SiteName) -> Result<Opened, BadTree> {
        let opened = self.opened(trust, site)?;
        for (name, entry) in &opened.manifest.files {
            let path = self.files().join(name);
            let content = fs::read(&path).map_err(|_| BadTree::File(name.clone()))?;
            if sha256(&content) != entry.sha256 {
                return Err(BadTree::File(name.clone()));
            }
        }
        Ok(opened)
    }

    /// What the revision in force says of itself.
    pub fn opened(&self, trust: &Trust, site: &SiteName) -> Result<Opened, BadTree> {
        let path = self.current().join(MANIFEST);
        let signed = atomic::read(&path).map_err(disk(&path))?.ok_or(BadTree::Nothing)?;
        open(&signed, trust, site)
    }

    /// What is here already of files with these hashes.
    pub fn known(&self, manifest: &Manifest) -> BTreeMap<String, Vec<u8>> {
        let mut known = BTreeMap::new();
        for (name, entry) in &manifest.files {
            if let Ok(content) = fs::read(self.files().join(name))
                && sha256(&content) == entry.sha256
            {
                known.insert(entry.sha256.clone(), content);
            }
        }
        known
    }

    /// Unpacks a revision beside the others, and puts it in force. `blobs` are contents by their hashes.
    pub fn unpack(&self, signed: &[u8], manifest: &Manifest, blobs: &BTreeMap<String, Vec<u8>>) -> Result<(), BadTree> {
        atomic::make_directory(&self.directory).map_err(disk(&self.directory))?;
        let draft = self.directory.join(".draft");
        remove(&draft)?;
        let files = draft.join(FILES);
        atomic::make_directory(&files).map_err(disk(&files))?;
        for (name, entry) in &manifest.files {
            let path = files.join(name);
            let content = blobs.get(&entry.sha256).filter(|content| sha256(content) == entry.sha256);
            let content = content.ok_or_else(|| BadTree::File(name.clone()))?;
            atomic::write(&path, content).map_err(disk(&path))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode & 0o777)).map_err(disk(&path))?;
        }
        let path = draft.join(MANIFEST);
        atomic::write(&path, signed).map_err(disk(&path))?;
        let place = self.directory.join(manifest.generation.to_string());
        // Of the same number there may be one that was damaged; it is only taken away once the new one is whole.
        remove(&place)?;
        fs::rename(&draft, &place).map_err(disk(&place))?;
        let link = self.directory.join(".current");
        let _gone = fs::remove_file(&link);
        symlink(manifest.generation.to_string(), &link).map_err(disk(&link))?;
        fs::rename(&link, self.current()).map_err(disk(&link))?;
        atomic::sync(&self.directory).map_err(disk(&self.directory))?;
        self.clean(manifest.generation);
        Ok(())
    }

    /// Old ones go; what cannot be removed stays.
    fn clean(&self, current: u64) {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u64>().ok();
        let mut old: Vec<u64> = entries.filter_map(number).filter(|number| *number != current).collect();
        old.sort_unstable_by(|one, other| other.cmp(one));
        for number in old.into_iter().skip(KEPT) {
            if let Err(error) = remove(&self.directory.join(number.to_string())) {
                tracing::warn!(%error, "an old revision stays");
            }
        }
    }
}

fn remove(path: &Path) -> Result<(), BadTree> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::key::SigningKey;
    use super::super::manifest::FileEntry;
    use super::super::manifest::tests::manifest;
    use super::*;

    struct Given {
        _place: tempfile::TempDir,
        tree: Tree,
        key: SigningKey,
        trust: Trust,
    }

    fn given() -> Given {
        let place = tempfile::tempdir().unwrap();
        let (key, public) = SigningKey::generate(&place.path().join("key"), "ann").unwrap();
        let (tree, trust) = (Tree::new(&place.path().join("state")), Trust::read(&public).unwrap());
        Given { _place: place, tree, key, trust }
    }

    impl Given {
        fn unpack(&self, generation: u64, files: &[(&str, &str)]) -> Result<(), BadTree> {
            let mut manifest = manifest(generation);
            let mut blobs = BTreeMap::new();
            for (name, content) in files {
                let sha256 = sha256(content.as_bytes());
                manifest.files.insert((*name).to_owned(), FileEntry { sha256: sha256.clone(), mode: 0o640 });
                blobs.insert(sha256, content.as_bytes().to_vec());
            }
            let signed = Signed::seal(Purpose::Revision, &manifest.bytes().unwrap(), &self.key);
            self.tree.unpack(&serde_json::to_vec(&signed).unwrap(), &manifest, &blobs)
        }

        fn look(&self) -> Result<u64, BadTree> {
            let site = SiteName::new("demo").unwrap();
            self.tree.verified(&self.trust, &site).map(|opened| opened.manifest.generation)
        }
    }

    #[test]
    fn a_revision_is_there_as_a_whole_and_older_ones_go() {
        let given = given();
        assert_eq!(given.look(), Err(BadTree::Nothing));
        for generation in 1..=4 {
            given.unpack(generation, &[("site.yaml", "x"), ("a/b", &generation.to_string())]).unwrap();
            assert_eq!(given.look(), Ok(generation));
        }
        assert_eq!(fs::read_to_string(given.tree.files().join("a/b")).unwrap(), "4");
        let mode = fs::metadata(given.tree.files().join("a/b")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let mut kept: Vec<_> =
            fs::read_dir(&given.tree.directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        kept.sort();
        assert_eq!(kept, ["3", "4", "current"]);
        given.unpack(4, &[("site.yaml", "y")]).unwrap();
        assert_eq!(given.look(), Ok(4));
    }

    #[test]
    fn a_file_that_was_changed_is_found_and_one_that_is_missing_keeps_the_old_in_force() {
        let given = given();
        given.unpack(1, &[("site.yaml", "x")]).unwrap();
        let mut missing = manifest(2);
        missing.files.insert("site.yaml".to_owned(), FileEntry { sha256: sha256(b"y"), mode: 0o644 });
        let tampered = [(sha256(b"y"), b"z".to_vec())].into();
        for blobs in [BTreeMap::new(), tampered] {
            let outcome = given.tree.unpack(b"{}", &missing, &blobs);
            assert_eq!(outcome, Err(BadTree::File("site.yaml".to_owned())));
            assert_eq!(given.look(), Ok(1));
        }
        fs::write(given.tree.files().join("site.yaml"), "tampered").unwrap();
        assert_eq!(given.look(), Err(BadTree::File("site.yaml".to_owned())));
    }
}
