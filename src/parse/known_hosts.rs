//! Files of host keys, as OpenSSH keeps them.
//!
//! In: the texts of known_hosts files. Out: [`KnownHosts`], which judges a key that a host shows. What cannot be read is
//! never taken for trust: a broken line is reported, and a broken line that revokes makes its file unusable.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// SSH's own port, which names of hosts leave out.
pub const PORT: u16 = 22;

/// All that is recorded of hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownHosts {
    records: Vec<Record>,
    problems: Vec<Problem>,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The file.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// The key.
    pub key: HostKey,
    marker: Marker,
    hosts: Hosts,
}

impl Record {
    /// `FILE:LINE`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// A line that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// Why.
    pub reason: &'static str,
    /// Whether it means to revoke a key: then nothing in the file may be trusted before it is mended.
    pub revokes: bool,
}

/// A public key as the protocol writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKey {
    /// `ssh-ed25519`, ...
    pub algorithm: String,
    /// All of it, the algorithm included.
    pub blob: Vec<u8>,
}

impl HostKey {
    /// As `ssh-keygen -l` shows it.
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&self.blob)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    None,
    Authority,
    Revoked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    /// Patterns in small letters; those that exclude have `true`.
    Patterns(Vec<(bool, String)>),
    /// One host, hidden.
    Hashed { salt: Vec<u8>, digest: Vec<u8> },
}

/// What is known of a key that a host shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It is recorded for this host.
    Known(&'a Record),
    /// Nothing is recorded for this host.
    Unknown,
    /// Something else is recorded for this host, at the same kind of key where there is one.
    Changed(&'a Record),
    /// It is recorded as no longer to be trusted.
    Revoked(&'a Record),
}

impl KnownHosts {
    /// Adds a file.
    pub fn add(&mut self, file: &str, text: &str) {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_matches([' ', '\t', '\r']);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = index + 1;
            match record(line) {
                Ok((marker, hosts, key)) => {
                    self.records.push(Record { file: file.to_owned(), line: place, key, marker, hosts });
                }
                Err(reason) => {
                    let revokes = line.starts_with('@') && !line.starts_with("@cert-authority");
                    self.problems.push(Problem { file: file.to_owned(), line: place, reason, revokes });
                }
            }
        }
    }

    /// Lines that cannot be used.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What is known of the key that a host shows. `host` is its name or address as it was asked for.
    pub fn judge(&self, host: &str, port: u16, key: &HostKey) -> Verdict<'_> {
        if let Some(record) = self.revoked(host, port, key) {
            return Verdict::Revoked(record);
        }
        let mut other: Option<&Record> = None;
        for record in self.of(host, port, Marker::None) {
            if record.key == *key {
                return Verdict::Known(record);
            }
            let is_closer =
                |found: &Record| found.key.algorithm != key.algorithm && record.key.algorithm == key.algorithm;
            if other.is_none_or(is_closer) {
                other = Some(record);
            }
        }
        other.map_or(Verdict::Unknown, Verdict::Changed)
    }

    /// Where a key is revoked for a host, if it is.
    pub fn revoked(&self, host: &str, port: u16, key: &HostKey) -> Option<&Record> {
        self.of(host, port, Marker::Revoked).find(|record| record.key == *key)
    }

    /// The authority of this key that may vouch for a host, if one is listed.
    pub fn authority(&self, host: &str, port: u16, key: &HostKey) -> Option<&Record> {
        self.of(host, port, Marker::Authority).find(|record| record.key == *key)
    }

    /// Whether somebody may vouch for a host.
    pub fn has_authority(&self, host: &str, port: u16) -> bool {
        self.of(host, port, Marker::Authority).next().is_some()
    }

    /// The kinds of keys that are recorded for a host, in the order of the files.
    pub fn algorithms(&self, host: &str, port: u16) -> Vec<&str> {
        let mut found: Vec<&str> = Vec::new();
        for record in self.of(host, port, Marker::None) {
            if !found.contains(&record.key.algorithm.as_str()) {
                found.push(&record.key.algorithm);
            }
        }
        found
    }

    fn of(&self, host: &str, port: u16, marker: Marker) -> impl Iterator<Item = &Record> {
        let name = name_of(host, port);
        self.records.iter().filter(move |record| record.marker == marker && record.hosts.fits(&name))
    }
}

impl Hosts {
    fn fits(&self, name: &str) -> bool {
        match self {
            Self::Patterns(patterns) => {
                let hits = |excludes: bool| patterns.iter().any(|(not, text)| *not == excludes && fits(text, name));
                hits(false) && !hits(true)
            }
            Self::Hashed { salt, digest } => Hmac::<Sha1>::new_from_slice(salt)
                .is_ok_and(|mac| mac.chain_update(name.as_bytes()).verify_slice(digest).is_ok()),
        }
    }
}

/// How known_hosts calls a host: in small letters, and with its port where that is not SSH's own.
pub fn name_of(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == PORT { host } else { format!("[{host}]:{port}") }
}

/// Whether a text is as a pattern says: `*` is anything, `?` one character.
pub fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut from) = (0, 0);
    // Where to go on when what follows the last `*` turns out not to fit.
    let mut retry: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some('*') => {
                retry = Some((at + 1, from));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || Some(wanted) == text.get(from) => {
                at += 1;
                from += 1;
            }
            _ => match retry {
                Some((after, taken)) => {
                    retry = Some((after, taken + 1));
                    at = after;
                    from = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == '*')
}

fn record(line: &str) -> Result<(Marker, Hosts, HostKey), &'static str> {
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let mut next = || words.next();
    let first = next().unwrap_or_default();
    let (marker, hosts) = match first {
        "@cert-authority" => (Marker::Authority, next()),
        "@revoked" => (Marker::Revoked, next()),
        _ if first.starts_with('@') => return Err("its marker is neither @cert-authority nor @revoked"),
        _ => (Marker::None, Some(first)),
    };
    let hosts = hosts.ok_or("it names no host")?;
    let (algorithm, encoded) = (next().ok_or("it has no key")?, next().ok_or("it has no key")?);
    if algorithm.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("it is of version 1 of the protocol");
    }
    let blob = STANDARD.decode(encoded).map_err(|_| "its key is not in base64")?;
    if first_string(&blob) != Some(algorithm.as_bytes()) {
        return Err("its key is of another kind than it says");
    }
    if algorithm.contains("-cert-v") {
        return Err("it holds a certificate and no key");
    }
    Ok((marker, read_hosts(hosts)?, HostKey { algorithm: algorithm.to_owned(), blob }))
}

/// The first field of a key, which names its algorithm.
pub fn first_string(blob: &[u8]) -> Option<&[u8]> {
    let (length, rest) = blob.split_first_chunk::<4>()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

fn read_hosts(text: &str) -> Result<Hosts, &'static str> {
    if let Some(hashed) = text.strip_prefix('|') {
        let parts: Vec<&str> = hashed.split('|').collect();
        let ["1", salt, digest] = parts.as_slice() else { return Err("its host is hashed in an unknown way") };
        let decode = |part: &str| STANDARD.decode(part).map_err(|_| "its hashed host is not in base64");
        let (salt, digest) = (decode(salt)?, decode(digest)?);
        // Shorter ones would fit more than one host.
        if digest.len() != 20 {
            return Err("its hashed host has not the length of SHA-1");
        }
        return Ok(Hosts::Hashed { salt, digest });
    }
    let patterns = text.split(',').filter(|part| !part.is_empty()).map(|part| match part.strip_prefix('!') {
        Some(not) => (true, not.to_ascii_lowercase()),
        None => (false, part.to_ascii_lowercase()),
    });
    Ok(Hosts::Patterns(patterns.collect()))
}
