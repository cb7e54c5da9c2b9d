//! Files that age has encrypted, and the identities that open them.

use std::io::{Read as _, Write as _};
use std::path::Path;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::secrecy::ExposeSecret as _;
use age::x25519::{Identity, Recipient};

use crate::model::secret::Sensitive;
use crate::port::site_files::DecryptError;

/// The identities in a file as age-keygen writes it: one a line, with comments.
pub fn identities(file: &[u8], path: &Path) -> Result<Vec<Identity>, DecryptError> {
    let none = || DecryptError::NoIdentity(path.to_owned());
    let text = std::str::from_utf8(file).map_err(|_| none())?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let identities = lines.map(|line| line.parse().map_err(|_| none())).collect::<Result<Vec<_>, _>>()?;
    if identities.is_empty() { Err(none()) } else { Ok(identities) }
}

/// A new identity, as age-keygen would write it.
pub fn new_identity() -> Sensitive {
    let identity = Identity::generate();
    Sensitive::new(format!("# public key: {}\n{}\n", identity.to_public(), identity.to_string().expose_secret()))
}

/// Opens a file, armoured or not. `path` is that of the identities, for the error.
pub fn decrypt(ciphertext: &[u8], identities: &[Identity], path: &Path) -> Result<Sensitive, DecryptError> {
    let plain = || -> Result<Vec<u8>, age::DecryptError> {
        let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(ciphertext))?;
        let mut reader = decryptor.decrypt(identities.iter().map(|identity| identity as &dyn age::Identity))?;
        let mut plain = Vec::new();
        reader.read_to_end(&mut plain)?;
        Ok(plain)
    };
    match plain() {
        Ok(plain) => Ok(Sensitive::new(plain)),
        Err(age::DecryptError::NoMatchingKeys) => Err(DecryptError::WrongIdentity(path.to_owned())),
        Err(_) => Err(DecryptError::Damaged),
    }
}

/// A recipient as people write it.
pub fn recipient(text: &str) -> Option<Recipient> {
    text.parse().ok()
}

/// Encrypts, armoured: the file may lie among texts.
pub fn encrypt(plain: &Sensitive, recipients: &[Recipient]) -> std::io::Result<Vec<u8>> {
    let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).map_err(std::io::Error::other)?;
    let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
    let mut writer = encryptor.wrap_output(armor)?;
    writer.write_all(plain.expose())?;
    writer.finish()?.finish()
}
