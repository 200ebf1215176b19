//! Content digests: `sha256:` and 64 lower-case hexadecimal digits.
//!
//! SHA-512, which the OCI specification also allows, is refused by name: no registry that Kubernetes
//! pulls from serves it, and a digest that cannot be verified must not pass as one.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest of a manifest, configuration or layer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum DigestError {
    /// The algorithm is not SHA-256.
    #[error("only sha256 digests are supported")]
    Algorithm,
    /// Not 64 lower-case hexadecimal digits.
    #[error("a sha256 digest is 64 lower-case hexadecimal digits")]
    Hex,
}

impl Digest {
    /// The digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// The 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// Algorithm and 12 digits, which people compare: `sha256:0123456789ab`.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate("sha256:".len() + 12);
        text
    }

    /// The first byte: as good as random, and the same every night.
    pub fn leading_byte(&self) -> u8 {
        self.0[0]
    }

    /// Reads 64 lower-case hexadecimal digits, as CRI-O reports image ids.
    pub fn from_hex(text: &str) -> Result<Self, DigestError> {
        let lower = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let mut bytes = [0; 32];
        if !lower || hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(DigestError::Hex);
        }
        Ok(Self(bytes))
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::from_hex(text.strip_prefix("sha256:").ok_or(DigestError::Algorithm)?)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A SHA-256 content digest.",
            "pattern": "^sha256:[0-9a-f]{64}$",
        })
    }
}

/// Hashes and counts what is written through it.
pub struct Sha256Writer<W> {
    inner: W,
    hasher: Sha256,
    size_bytes: u64,
}

impl<W: Write> Sha256Writer<W> {
    /// Starts with nothing written.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            size_bytes: 0,
        }
    }

    /// The digest of what has been written so far, and its size in bytes.
    pub fn so_far(&self) -> (Digest, u64) {
        let hash = self.hasher.clone().finalize();
        (Digest(hash.into()), self.size_bytes)
    }

    /// The inner writer, the digest of all that was written, and its size in bytes.
    pub fn finish(self) -> (W, Digest, u64) {
        (
            self.inner,
            Digest(self.hasher.finalize().into()),
            self.size_bytes,
        )
    }
}

impl<W: Write> Write for Sha256Writer<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.size_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn the_digest_of_nothing_is_the_published_one() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(EMPTY.parse(), Ok(Digest::of(b"")));
    }

    #[test]
    fn other_algorithms_and_forms_are_refused() {
        assert_eq!("sha512:00".parse::<Digest>(), Err(DigestError::Algorithm));
        assert_eq!(
            EMPTY.to_uppercase().parse::<Digest>(),
            Err(DigestError::Algorithm)
        );
        assert_eq!(
            EMPTY.replace('e', "E").parse::<Digest>(),
            Err(DigestError::Hex)
        );
        assert_eq!(EMPTY[..70].parse::<Digest>(), Err(DigestError::Hex));
        assert_eq!(format!("{EMPTY}0").parse::<Digest>(), Err(DigestError::Hex));
    }

    #[test]
    fn the_writer_hashes_what_passes() -> io::Result<()> {
        let mut writer = Sha256Writer::new(Vec::new());
        writer.write_all(b"ab")?;
        writer.write_all(b"c")?;
        assert_eq!(writer.finish(), (b"abc".to_vec(), Digest::of(b"abc"), 3));
        Ok(())
    }
}
