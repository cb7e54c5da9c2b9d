//! A site as one signed whole: what `mastic push` publishes and agents unpack.
//!
//! | module | what it knows |
//! |---|---|
//! | `key` | keys that sign, and files of keys that are trusted |
//! | `signed` | bytes with a signature, opened by who trusts the key |
//! | `manifest` | what a revision says of itself: number, parent, files by their hashes |
//! | `pack` | a site's files as blobs |
//! | `tree` | a revision unpacked into `STATE/source/N`, and which one is in force |
//! | `source` | the unpacked site, compiled for one host |

mod key;
mod manifest;
mod pack;
mod signed;
mod source;
mod tree;

pub use key::{KeyError, SigningKey, Trust};
pub use manifest::{BadManifest, FileEntry, Manifest, Version};
pub use pack::{LARGEST_BLOB, PackError, Packed, pack};
pub use signed::{Purpose, SignatureError, Signed};
pub use source::{RevisionSource, request};
pub use tree::{BadTree, Opened, Tree, open};
