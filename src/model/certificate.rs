//! Certificates of the site's own authority, as they lie in the store of secrets.

/// Names in the store that begin with it belong to certificates.
pub const PREFIX: &str = "certificate/";

/// The authority, without `.cert` or `.key`.
pub const AUTHORITY: &str = "certificate/authority";

/// The certificate of a name on a host, without `.cert` or `.key`.
pub fn stored(name: &str, host: &str) -> String {
    format!("{PREFIX}{name}/{host}")
}

/// Which part of a certificate a file holds; all of it PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The certificate.
    Certificate,
    /// Its private key.
    Key,
    /// The certificate, then the authority's.
    Chain,
    /// The authority's certificate.
    Authority,
    /// The chain, then the key: what haproxy reads.
    Bundle,
}

impl Part {
    /// All of them, as they are written.
    pub const WORDS: &[&str] = &["cert", "key", "chain", "ca", "bundle"];

    /// From its word.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "cert" => Self::Certificate,
            "key" => Self::Key,
            "chain" => Self::Chain,
            "ca" => Self::Authority,
            "bundle" => Self::Bundle,
            _ => return None,
        })
    }

    /// Whether the private key is in it.
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Key | Self::Bundle)
    }
}
