//! `--pull-secrets namespace`: the credentials that pods name for their own images.
//!
//! In: a [`Puller`], the namespace with the names that a pod gives. Out: a keyring, and what of it
//! could not be had. Each Secret and each ServiceAccount is asked for once a run, when it is first
//! needed, by `get` and by name: a `list` would show all Secrets of a namespace. Bodies are bounded
//! and parsed here; nothing of them is in a message.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Buf;
use http::StatusCode;
use serde::Deserialize;
use tokio::sync::{OnceCell, Semaphore};
use zeroize::Zeroizing;

use super::fetch::{Fetcher, Patience, Problem, body, refused};
use crate::pod::LocalObjectReference;
use crate::registry::credentials::{Author, ConfigError, DockerConfig, Keyring};
use crate::registry::source::{TenantCredentials, TenantKeyring};
use crate::snapshot::Puller;
use crate::sync::lock;

/// An object's bytes at the most: a Secret's 1 MiB in base64, and once more in an annotation of
/// `kubectl apply`.
const MAX_OBJECT_BYTES: usize = 4 << 20;
/// Pull secrets of a service account that are looked at.
const MAX_ACCOUNT_SECRETS: usize = 16;
/// Objects that are asked for at once.
const CONCURRENCY: usize = 8;

/// Somebody waits for each of these with an image: less patience than for lists.
const PATIENCE: Patience = Patience {
    attempt: Duration::from_secs(15),
    first_pause: Duration::from_millis(500),
    longest_pause: Duration::from_secs(5),
    retries: 3,
};

/// Pull secrets, each asked for once.
pub struct PullSecrets {
    fetcher: Fetcher,
    permits: Semaphore,
    secrets: Memo<Keyring>,
    accounts: Memo<Vec<Arc<str>>>,
}

/// By namespace and name.
type Memo<T> = Mutex<HashMap<(Arc<str>, Arc<str>), Known<T>>>;
type Known<T> = Arc<OnceCell<Result<T, SecretFailure>>>;

/// Why a Secret or a ServiceAccount is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretFailure {
    kind: Kind,
    namespace: Arc<str>,
    /// Only if Kubernetes allows such a name.
    name: Arc<str>,
    /// What is wrong.
    pub problem: SecretProblem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Secret,
    ServiceAccount,
}

/// What is wrong with a Secret or a ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretProblem {
    /// There is none of this name.
    Missing,
    /// A permission is missing.
    Forbidden,
    /// It holds no credentials that can be read.
    Malformed(String),
    /// Its name is none; the name is a pod author's text, and not repeated.
    Name,
    /// The API server does not answer as it should.
    Unread(String),
}

impl fmt::Display for SecretFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            namespace,
            name,
            problem,
        } = self;
        let (word, plural) = match kind {
            Kind::Secret => ("secret", "secrets"),
            Kind::ServiceAccount => ("service account", "serviceaccounts"),
        };
        match problem {
            SecretProblem::Missing => write!(f, "{word} {namespace}/{name} does not exist"),
            SecretProblem::Forbidden => write!(
                f,
                "{word} {namespace}/{name} may not be read: bind a Role in namespace {namespace} with the rule \
                 {{apiGroups: [\"\"], resources: [\"{plural}\"], resourceNames: [\"{name}\"], verbs: [\"get\"]}}"
            ),
            SecretProblem::Malformed(reason) => {
                write!(f, "{word} {namespace}/{name} cannot be used: {reason}")
            }
            SecretProblem::Name => {
                write!(
                    f,
                    "a {word} in namespace {namespace} has a name that Kubernetes does not allow"
                )
            }
            SecretProblem::Unread(reason) => {
                write!(f, "{word} {namespace}/{name} could not be read: {reason}")
            }
        }
    }
}

impl std::error::Error for SecretFailure {}

#[derive(Deserialize)]
struct RawSecret {
    kind: Option<String>,
    r#type: Option<String>,
    #[serde(default)]
    data: Option<RawData>,
}

/// Of all data, the two that hold credentials of registries.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RawData {
    #[serde(rename = ".dockerconfigjson")]
    config: Option<String>,
    #[serde(rename = ".dockercfg")]
    legacy: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawAccount {
    kind: Option<String>,
    #[serde(default)]
    image_pull_secrets: Option<Vec<LocalObjectReference>>,
}

#[async_trait]
impl TenantCredentials for PullSecrets {
    async fn keyring(&self, puller: &Puller) -> TenantKeyring {
        let mut problems = Vec::new();
        let mut names = puller.secrets.to_vec();
        // The API server copies them into a pod that has none of its own, at the pod's creation; the
        // account may have got them later.
        match self
            .account(&puller.namespace, &puller.service_account)
            .await
        {
            Ok(more) => {
                for name in more {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
            // A pod that names its own secrets can do without.
            Err(failure) if !puller.secrets.is_empty() => {
                tracing::debug!("{failure}");
            }
            Err(failure) => problems.push(failure.to_string()),
        }
        let mut rings = Vec::new();
        for name in &names {
            match self.secret(&puller.namespace, name).await {
                Ok(ring) => rings.push(ring),
                Err(failure) => problems.push(failure.to_string()),
            }
        }
        TenantKeyring {
            keyring: Keyring::union(&rings),
            problems,
        }
    }
}

impl PullSecrets {
    pub(super) fn new(fetcher: &Fetcher) -> Self {
        Self::with(fetcher.with(PATIENCE))
    }

    pub(super) fn with(fetcher: Fetcher) -> Self {
        Self {
            fetcher,
            permits: Semaphore::new(CONCURRENCY),
            secrets: Memo::default(),
            accounts: Memo::default(),
        }
    }

    /// The credentials in a Secret.
    pub(super) async fn secret(
        &self,
        namespace: &Arc<str>,
        name: &Arc<str>,
    ) -> Result<Keyring, SecretFailure> {
        let known = memoized(&self.secrets, namespace, name);
        let fetched = known.get_or_init(|| async {
            let raw: RawSecret = self.get(Kind::Secret, namespace, name).await?;
            keyring(raw).map_err(|reason| SecretFailure {
                kind: Kind::Secret,
                namespace: Arc::clone(namespace),
                name: Arc::clone(name),
                problem: SecretProblem::Malformed(reason),
            })
        });
        fetched.await.clone()
    }

    /// The names of a service account's pull secrets.
    async fn account(
        &self,
        namespace: &Arc<str>,
        name: &Arc<str>,
    ) -> Result<Vec<Arc<str>>, SecretFailure> {
        let known = memoized(&self.accounts, namespace, name);
        let fetched = known.get_or_init(|| async {
            let raw: RawAccount = self.get(Kind::ServiceAccount, namespace, name).await?;
            let secrets = raw.image_pull_secrets.unwrap_or_default();
            let names = secrets.into_iter().filter_map(|secret| secret.name);
            let names = names.filter(|name| !name.is_empty()).map(Into::into);
            Ok(names.take(MAX_ACCOUNT_SECRETS).collect())
        });
        fetched.await.clone()
    }

    async fn get<T: Object>(
        &self,
        kind: Kind,
        namespace: &Arc<str>,
        name: &Arc<str>,
    ) -> Result<T, SecretFailure> {
        let failure = |problem| SecretFailure {
            kind,
            namespace: Arc::clone(namespace),
            name: Arc::clone(name),
            problem,
        };
        // Both become parts of a path.
        if !is_name(namespace) || !is_name(name) {
            return Err(SecretFailure {
                name: "".into(),
                namespace: if is_name(namespace) {
                    Arc::clone(namespace)
                } else {
                    "?".into()
                },
                ..failure(SecretProblem::Name)
            });
        }
        let plural = match kind {
            Kind::Secret => "secrets",
            Kind::ServiceAccount => "serviceaccounts",
        };
        let path = format!("/api/v1/namespaces/{namespace}/{plural}/{name}");
        let _permit = self.permits.acquire().await;
        let fetched = self.fetcher.patiently(&path, || self.fetch(&path)).await;
        fetched.map_err(|problem| {
            failure(match problem {
                Problem::Status { status: 404, .. } => SecretProblem::Missing,
                Problem::Status { status: 403, .. } => SecretProblem::Forbidden,
                problem => SecretProblem::Unread(problem.to_string()),
            })
        })
    }

    async fn fetch<T: Object>(&self, path: &str) -> Result<T, Problem> {
        let response = self.fetcher.send(path, "identity").await?;
        match response.status() {
            StatusCode::OK => {
                let mut answer = body(response, MAX_OBJECT_BYTES).await?;
                let mut bytes = Zeroizing::new(vec![0; answer.remaining()]);
                answer.copy_to_slice(&mut bytes);
                let object: T =
                    serde_json::from_slice(&bytes).map_err(|error| Problem::Object {
                        cut_off: error.is_eof(),
                    })?;
                if object.kind() == Some(T::KIND) {
                    Ok(object)
                } else {
                    Err(Problem::Object { cut_off: false })
                }
            }
            StatusCode::UNAUTHORIZED => {
                let advice = ": log in again, or renew the service account's token";
                Err(refused(&response, advice.into()))
            }
            _ => Err(refused(&response, String::new())),
        }
    }
}

/// What an answer must say that it is.
trait Object: for<'de> Deserialize<'de> {
    const KIND: &'static str;
    fn kind(&self) -> Option<&str>;
}

impl Object for RawSecret {
    const KIND: &'static str = "Secret";

    fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }
}

impl Object for RawAccount {
    const KIND: &'static str = "ServiceAccount";

    fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }
}

fn memoized<T>(memo: &Memo<T>, namespace: &Arc<str>, name: &Arc<str>) -> Known<T> {
    let mut memo = lock(memo);
    let key = (Arc::clone(namespace), Arc::clone(name));
    Arc::clone(memo.entry(key).or_default())
}

/// The kubelet takes the form that the Secret's type names, and no other.
fn keyring(raw: RawSecret) -> Result<Keyring, String> {
    type Parse = fn(&[u8], Author) -> Result<DockerConfig, ConfigError>;
    let data = raw.data.unwrap_or_default();
    let (text, parse): (_, Parse) = match raw.r#type.as_deref() {
        Some("kubernetes.io/dockerconfigjson") => (data.config, DockerConfig::parse),
        Some("kubernetes.io/dockercfg") => (data.legacy, DockerConfig::parse_legacy),
        _ => {
            return Err(
                "its type is neither kubernetes.io/dockerconfigjson nor kubernetes.io/dockercfg"
                    .into(),
            );
        }
    };
    let text = Zeroizing::new(text.ok_or("it has no data of its type")?);
    let bytes = STANDARD
        .decode(text.as_bytes())
        .map_err(|_| "its data is not base64")?;
    let config =
        parse(&Zeroizing::new(bytes), Author::Tenant).map_err(|error| error.to_string())?;
    if config.keyring.is_empty() {
        return Err("it holds no credentials".into());
    }
    Ok(config.keyring)
}

/// RFC 1123, as Kubernetes has it for Secrets; a pod's author may write anything there.
fn is_name(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| word(b) || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}
