//! What `--store` means: a folder, or a bucket with a prefix.

use std::path::PathBuf;
use std::str::FromStr;

/// A place for runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreLocation {
    /// A folder on this machine.
    Folder(PathBuf),
    /// `s3://bucket/prefix`.
    Bucket {
        /// The bucket's name.
        bucket: String,
        /// What all keys begin with: empty, or path components that end with a slash.
        prefix: String,
    },
}

/// A text that names no store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Nothing.
    #[error("it is empty: name a folder, or s3://bucket/prefix")]
    Empty,
    /// `gs://`, `https://` …
    #[error(
        "{0}:// is not supported: name a folder, or s3://bucket/prefix (other services by --s3-endpoint)"
    )]
    Scheme(String),
    /// The bucket breaks the rules.
    #[error("a bucket's name is 3 to 63 of a-z, A-Z, 0-9, dot, dash and underscore")]
    Bucket,
    /// The prefix breaks the rules.
    #[error(
        "a prefix is made of letters, digits and !-_.*'()=+@ between slashes, without . and .. components"
    )]
    Prefix,
}

impl FromStr for StoreLocation {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        if text.is_empty() {
            return Err(LocationError::Empty);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Folder(text.into()));
        };
        if scheme != "s3" {
            return Err(LocationError::Scheme(
                crate::report::plain(scheme).into_owned(),
            ));
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        // Capitals and underscores are in buckets from before 2018 and on other services.
        let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if !(3..=63).contains(&bucket.len())
            || !bucket.bytes().all(known)
            || !bucket.starts_with(|c: char| c.is_ascii_alphanumeric())
        {
            return Err(LocationError::Bucket);
        }
        Ok(Self::Bucket {
            bucket: bucket.into(),
            prefix: prefix_of(prefix).ok_or(LocationError::Prefix)?,
        })
    }
}

/// Only what S3's documentation calls safe in keys ("Safe characters"), and `=`, `+` and `@`.
fn prefix_of(text: &str) -> Option<String> {
    let text = text.trim_matches('/');
    if text.is_empty() {
        return Some(String::new());
    }
    let valid = |component: &str| {
        !matches!(component, "" | "." | "..")
            && component
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!-_.*'()=+@".contains(&b))
    };
    // A key has at most 1,024 bytes; ours need up to 300.
    (text.len() <= 512 && text.split('/').all(valid)).then(|| format!("{text}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_a_folder_or_a_bucket_with_a_clean_prefix() {
        let bucket = |prefix: &str| StoreLocation::Bucket {
            bucket: "census".into(),
            prefix: prefix.into(),
        };
        assert_eq!("s3://census".parse(), Ok(bucket("")));
        assert_eq!("s3://census/".parse(), Ok(bucket("")));
        assert_eq!("s3://census/a/b=1/".parse(), Ok(bucket("a/b=1/")));
        assert_eq!(
            "./reports".parse(),
            Ok(StoreLocation::Folder("./reports".into()))
        );
        for (text, error) in [
            ("", LocationError::Empty),
            ("gs://census", LocationError::Scheme("gs".into())),
            ("s3://", LocationError::Bucket),
            ("s3:///census", LocationError::Bucket),
            ("s3://user:secret@census", LocationError::Bucket),
            ("s3://census/../other", LocationError::Prefix),
            ("s3://census/a//b", LocationError::Prefix),
            ("s3://census/a?b", LocationError::Prefix),
            ("s3://census/a\nb", LocationError::Prefix),
        ] {
            assert_eq!(text.parse::<StoreLocation>(), Err(error), "{text}");
        }
    }
}
