//! Signed manifests: HMAC-SHA-256 over the manifest's line, in the line itself.
//!
//! A manifest holds the SHA-256 of every file, so its signature is the run's. It covers the bytes
//! before it as they stand, not what a parser makes of them: fields of later versions are covered too.

use std::path::Path;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Between the signed bytes and the signature; both ends are fixed, so there is one way to take a
/// line apart.
const MARK: &[u8] = b",\"signature\":\"";
/// Hexadecimal digits of a SHA-256.
const DIGITS: usize = 64;
const END: &[u8] = b"\"}\n";
/// A key is at least this long: 128 bits.
const MIN_KEY_BYTES: usize = 16;
/// A key file is at most this large; longer than a block, a key gains nothing.
const MAX_KEY_BYTES: u64 = 4_096;

/// Signs and verifies manifests.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha256>);

/// A file that holds no key.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// It cannot be read.
    #[error("could not read the signing key in {path}")]
    Read {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Too short or too long.
    #[error(
        "the signing key in {0} has fewer than {MIN_KEY_BYTES} or more than {MAX_KEY_BYTES} bytes: make one with `openssl rand -hex 32`"
    )]
    Length(String),
}

impl SigningKey {
    /// Reads a key: the file's bytes without white space around them.
    pub fn read(path: &Path) -> Result<Self, SigningKeyError> {
        use std::io::Read;

        let shown = || crate::report::plain(&path.display().to_string()).into_owned();
        let mut content = Vec::new();
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_KEY_BYTES + 1).read_to_end(&mut content))
            .map_err(|source| SigningKeyError::Read {
                path: shown(),
                source,
            })?;
        let key = content.trim_ascii();
        let too_long = u64::try_from(content.len()).is_ok_and(|length| length > MAX_KEY_BYTES);
        if key.len() < MIN_KEY_BYTES || too_long {
            return Err(SigningKeyError::Length(shown()));
        }
        Self::new(key).ok_or_else(|| SigningKeyError::Length(shown()))
    }

    fn new(key: &[u8]) -> Option<Self> {
        Hmac::new_from_slice(key).ok().map(Self)
    }

    /// Adds the signature to a manifest's line.
    pub fn sign(&self, line: &mut Vec<u8>) {
        let Some(body) = line.strip_suffix(b"}\n") else {
            return;
        };
        let signature = hex::encode(self.mac(body).finalize().into_bytes());
        line.truncate(body.len());
        line.extend_from_slice(MARK);
        line.extend_from_slice(signature.as_bytes());
        line.extend_from_slice(END);
    }

    /// Whether a manifest's line carries this key's signature.
    pub fn verifies(&self, line: &[u8]) -> bool {
        let Some((body, digits)) = take_apart(line) else {
            return false;
        };
        let mut signature = [0; DIGITS / 2];
        // Compared in constant time.
        hex::decode_to_slice(digits, &mut signature).is_ok()
            && self.mac(body).verify_slice(&signature).is_ok()
    }

    fn mac(&self, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(body);
        mac
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey")
    }
}

fn take_apart(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_suffix(END)?;
    let (rest, digits) = line.split_at_checked(line.len().checked_sub(DIGITS)?)?;
    Some((rest.strip_suffix(MARK)?, digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_every_byte_and_belongs_to_its_key() -> Result<(), &'static str> {
        let key = SigningKey::new(b"0123456789abcdef").ok_or("no key")?;
        let mut line = b"{\"run_id\":\"x\",\"later\":[1]}\n".to_vec();
        assert!(!key.verifies(&line));
        key.sign(&mut line);
        assert!(key.verifies(&line));
        assert!(
            serde_json::from_slice::<serde_json::Value>(&line)
                .is_ok_and(|value| value["signature"].is_string())
        );
        let other = SigningKey::new(b"0123456789abcdeg").ok_or("no key")?;
        assert!(!other.verifies(&line));
        for place in 0..line.len() {
            let mut changed = line.clone();
            changed[place] ^= 1;
            assert!(!key.verifies(&changed), "byte {place}");
        }
        Ok(())
    }
}
