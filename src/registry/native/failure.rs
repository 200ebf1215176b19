//! Why an exchange with a registry came to nothing, and what that means for an image.

use std::error::Error;
use std::fmt;
use std::io;

use crate::registry::InspectError;
use crate::registry::classify::{leads_inside, of_kind, refused, token_in_clear};
use crate::registry::guard::{Refusal, Rule, Verdict};
use crate::report::ErrorKind;

/// What went wrong.
#[derive(Debug, Clone)]
pub(super) enum Failure {
    /// The guard's rules did not allow it, or nobody answered.
    Verdict(Verdict),
    /// A certificate is not trusted, or TLS failed otherwise.
    Tls,
    /// Something else than TLS was spoken where TLS was expected.
    NotTls,
    /// TLS failed, and then nobody could be asked in clear.
    TlsThen(Verdict),
    /// A connection broke off.
    Broke,
    /// What came is no HTTP.
    Garbled,
    /// An answer that is no success.
    Answer { kind: ErrorKind, is_overload: bool },
    /// A token is to be had without TLS only.
    TokenInClear,
    /// A redirect or a realm leads inside.
    Inside,
    /// An answer that cannot be understood.
    Unknown,
    /// Content that does not have the digest that was asked for.
    Forged,
    /// More than the limit.
    TooLarge,
}

impl Failure {
    /// An address that is none.
    pub(super) fn malformed() -> Self {
        Self::Verdict(Verdict::Refused(Refusal {
            host: None,
            rule: Rule::Malformed,
        }))
    }

    /// What an error of the HTTP client was.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        let mut found = Self::Broke;
        while let Some(error) = next {
            if let Some(Refused(verdict)) = error.downcast_ref() {
                return Self::Verdict(verdict.clone());
            }
            if let Some(error) = error.downcast_ref::<rustls::Error>() {
                return match error {
                    rustls::Error::InvalidMessage(_) => Self::NotTls,
                    _ => Self::Tls,
                };
            }
            if let Some(error) = error.downcast_ref::<hyper::Error>()
                && (error.is_parse() || error.is_parse_status())
            {
                found = Self::Garbled;
            }
            // An io::Error that holds another one hides it from `source`.
            let inner = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            next = match inner {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        found
    }

    /// Of a failure with TLS and one without, what explains it better. crane's text has both, of which
    /// the first counts, and what the guard knows counts more.
    pub(super) fn of_both(with_tls: Self, in_clear: Self) -> Self {
        let rank = |verdict: &Verdict| match verdict {
            Verdict::Refused(refusal) if refusal.rule == Rule::PlainHttp => 3,
            Verdict::Refused(_) => 0,
            Verdict::TooMuch | Verdict::Endless => 1,
            Verdict::NoSuchHost(_) | Verdict::Unreachable(_) => 2,
        };
        match (with_tls, in_clear) {
            (Self::Verdict(first), Self::Verdict(second)) => {
                Self::Verdict(if rank(&second) < rank(&first) {
                    second
                } else {
                    first
                })
            }
            (first @ Self::Verdict(_), _) => first,
            (Self::Tls, Self::Verdict(verdict)) => Self::TlsThen(verdict),
            (_, second @ Self::Verdict(_)) => second,
            (Self::NotTls, second) => second,
            (first, _) => first,
        }
    }

    /// For a row, and whether the registry has too much to do.
    pub(super) fn explain(&self, registry: &str) -> (InspectError, bool) {
        let error = match self {
            Self::Verdict(verdict) => refused(registry, verdict, false),
            Self::TlsThen(verdict) => refused(registry, verdict, true),
            Self::Tls | Self::NotTls => of_kind(ErrorKind::Tls, registry),
            Self::Broke | Self::Garbled => of_kind(ErrorKind::Network, registry),
            Self::Answer {
                kind: ErrorKind::Internal,
                ..
            }
            | Self::Unknown => {
                let message = format!(
                    "{registry} answered in an unknown way: try `crane manifest` on this image by hand"
                );
                InspectError::new(ErrorKind::Internal, message)
            }
            Self::Answer { kind, is_overload } => {
                return (of_kind(*kind, registry), *is_overload);
            }
            Self::TokenInClear => token_in_clear(registry),
            Self::Inside => leads_inside(registry),
            Self::Forged => of_kind(ErrorKind::Invalid, registry),
            Self::TooLarge => of_kind(ErrorKind::Policy, registry),
        };
        (error, false)
    }
}

/// What the connector answers where there is no connection.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Verdict);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no connection was made")
    }
}

impl Error for Refused {}
