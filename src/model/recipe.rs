//! How a secret is made.

use std::str::FromStr;

/// A kind of secret, with its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// What it is.
    pub kind: Kind,
    /// Characters of a password or of hex, bits of an RSA key; by default [`Kind::length`].
    pub length: Option<usize>,
}

/// What a secret is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Letters and digits.
    Password,
    /// A random UUID.
    Uuid,
    /// Hexadecimal digits.
    Hex,
    /// 32 hexadecimal digits, as an HMAC of MD5 has.
    HmacMd5,
    /// 32 bytes in the base64 of URLs.
    FernetKey,
    /// A private key in PKCS #8, and beside it the public one in SPKI, both PEM.
    RsaKey,
    /// An Ed25519 key as OpenSSH writes it, and beside it the line for authorized_keys.
    SshKey,
    /// 22 characters, as bcrypt takes them.
    BcryptSalt,
}

/// Added to the name of a key, it names the public half.
pub const PUBLIC: &str = "_public";

impl Kind {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Uuid => "uuid",
            Self::Hex => "hex",
            Self::HmacMd5 => "hmac-md5",
            Self::FernetKey => "fernet-key",
            Self::RsaKey => "rsa-key",
            Self::SshKey => "ssh-key",
            Self::BcryptSalt => "bcrypt-salt",
        }
    }

    /// The length where none is given; none where it is fixed.
    pub fn length(self) -> Option<usize> {
        match self {
            Self::Password => Some(40),
            Self::Hex => Some(64),
            Self::RsaKey => Some(4096),
            _ => None,
        }
    }

    /// Whether a public half goes with it.
    pub fn is_pair(self) -> bool {
        matches!(self, Self::RsaKey | Self::SshKey)
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [
            Self::Password,
            Self::Uuid,
            Self::Hex,
            Self::HmacMd5,
            Self::FernetKey,
            Self::RsaKey,
            Self::SshKey,
            Self::BcryptSalt,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or(())
    }
}
