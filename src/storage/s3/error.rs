//! From the SDK's errors to our own: endpoint, bucket and key, the service's code, what to do.
//!
//! The raw response is never repeated: it holds what the server likes, and the canonical request with
//! the access key id.

use std::error::Error as StdError;
use std::io;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

/// What went wrong, as far as it can be told without the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// The service's error code, an HTTP status, or our name for what came before an answer.
    pub(super) code: String,
    /// What to do.
    pub(super) advice: &'static str,
}

impl Failure {
    pub(super) fn new(code: impl Into<String>, advice: &'static str) -> Self {
        Self {
            code: code.into(),
            advice,
        }
    }

    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        match error {
            SdkError::ServiceError(answer) => {
                let status = answer.raw().status().as_u16();
                service(answer.err().code().unwrap_or_default(), status)
            }
            SdkError::ResponseError(answer) => Self::new(
                format!("HTTP {}", answer.raw().status().as_u16()),
                "the answer is not S3's: check --s3-endpoint",
            ),
            SdkError::TimeoutError(_) => timeout(),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => timeout(),
            _ => before_an_answer(error),
        }
    }

    /// Whether the object is there already, or the upload to be completed is not there any more:
    /// after a retry both may be our own doing.
    pub(super) fn may_be_our_own_write(&self) -> bool {
        self.code == "PreconditionFailed" || self.is_no_upload()
    }

    /// Whether there is no such upload, or not any more.
    pub(super) fn is_no_upload(&self) -> bool {
        self.code == "NoSuchUpload"
    }

    /// Whether there is no such object.
    pub(super) fn is_absent(&self) -> bool {
        self.code == "NoSuchKey"
    }

    /// Whether a conditional write met another write of the same key under way: S3 wants it repeated
    /// ("Conditional writes", 409 Conflict), and the SDK does not do that by itself.
    pub(super) fn is_conflict(&self) -> bool {
        self.code == "ConditionalRequestConflict"
    }
}

fn timeout() -> Failure {
    Failure::new(
        "no answer in time",
        "see whether the service is up and reachable from here",
    )
}

fn service(code: &str, status: u16) -> Failure {
    // A code is a word; anything else is not repeated.
    let word = !code.is_empty()
        && code.len() <= 64
        && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    let shown = if word {
        code.to_owned()
    } else {
        format!("HTTP {status}")
    };
    let advice = match (code, status) {
        ("NoSuchBucket", _) => {
            "create the bucket, or correct --store: buckets are never created here"
        }
        ("NoSuchKey", _) => "it is not there",
        ("InvalidAccessKeyId" | "XAdminUserNotFound", _) => {
            "the service does not know this access key id: check the credentials"
        }
        ("SignatureDoesNotMatch", _) => "the secret access key is wrong: check the credentials",
        ("ExpiredToken" | "TokenRefreshRequired" | "InvalidToken", _) => {
            "the credentials have expired: renew them"
        }
        ("RequestTimeTooSkewed", _) => "the clocks differ: set the time of this machine",
        (
            "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException",
            _,
        )
        | (_, 301 | 307) => "the bucket is in another region: set --s3-region",
        ("PreconditionFailed", _) => "it is there already and is never overwritten",
        ("InvalidDigest" | "BadDigest" | "XAmzContentChecksumMismatch", _) => {
            "the checksum was refused: try another --s3-checksum"
        }
        ("NotImplemented", _) => {
            "the service does not support this: try --s3-checksum when-required, or leave --s3-conditional-put out"
        }
        ("SlowDown" | "ServiceUnavailable" | "InternalError", _) | (_, 500..) => {
            "the service is not well: try again later"
        }
        (_, 401 | 403) => {
            "the credentials lack a right: s3:PutObject and s3:AbortMultipartUpload to write, s3:GetObject and s3:ListBucket to read, s3:DeleteObject to prune"
        }
        (_, 404) => "no such bucket or object: check --store and --s3-endpoint",
        (_, 412) => "it is there already and is never overwritten",
        _ => "check --store, --s3-endpoint and --s3-path-style",
    };
    Failure::new(shown, advice)
}

fn before_an_answer(error: &(dyn StdError + 'static)) -> Failure {
    let mut text = String::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => {
                    return Failure::new("connection refused", "check --s3-endpoint");
                }
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof => {
                    return Failure::new(
                        "connection broken",
                        "see whether the service is up and reachable from here",
                    );
                }
                _ => {}
            }
        }
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return Failure::new(
                "certificate not trusted",
                "give its CA with --s3-ca-bundle, or mend the certificate",
            );
        }
        text.push_str(&error.to_string());
        text.push('\n');
        cause = error.source();
    }
    // Only looked at, never shown.
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if says(&[
        "invalid peer certificate",
        "UnknownIssuer",
        "CaUsedAsEndEntity",
    ]) {
        Failure::new(
            "certificate not trusted",
            "give its CA with --s3-ca-bundle, or mend the certificate",
        )
    } else if says(&["dns error", "lookup address", "Name or service not known"]) {
        Failure::new("host not found", "check --s3-endpoint and the name service")
    } else if says(&["credential", "Credential", "identity"]) {
        Failure::new(
            "no credentials",
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role for this workload",
        )
    } else if says(&["received corrupt message", "InvalidContentType"]) {
        Failure::new(
            "no TLS",
            "the service speaks plain HTTP on this port: check the scheme of --s3-endpoint",
        )
    } else {
        Failure::new(
            "not reached",
            "check --s3-endpoint, the network and proxies",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_is_no_word_is_not_repeated() {
        assert_eq!(service("AccessDenied", 403).code, "AccessDenied");
        assert_eq!(service("<b>\u{1b}[2J", 403).code, "HTTP 403");
        assert_eq!(service("", 503).code, "HTTP 503");
        assert_eq!(service(&"a".repeat(65), 400).code, "HTTP 400");
    }
}
