//! One list of the Kubernetes API, page by page, in spite of time-outs, throttling and expiry.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde::Deserialize;

use crate::pod::{ListEnd, ListError, ListItem, read_page};

/// Items in a page: what kubectl asks for.
const PAGE_ITEMS: u32 = 500;
/// A page's bytes at the most: 500 pods of the largest size that etcd stores would be 750 MB, real
/// ones take 2 to 20 MB.
const MAX_PAGE_BYTES: usize = 256 << 20;
/// An error document's bytes at the most; the API server's own have under 1 KiB.
const MAX_STATUS_BYTES: usize = 64 << 10;
/// A server that asks for a longer pause than this is not waited for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(120);

/// How long and how often a page is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For one attempt. A page of 20 MB takes a second; the API server itself gives up after 60 s
    /// (`--request-timeout`).
    pub(super) attempt: Duration,
    /// The first pause; each further one is twice as long, with jitter.
    pub(super) first_pause: Duration,
    /// The longest pause.
    pub(super) longest_pause: Duration,
    /// Attempts after the first.
    pub(super) retries: usize,
}

impl Default for Patience {
    /// Seven attempts over about a minute: an API server's restart takes half of that.
    fn default() -> Self {
        Self {
            attempt: Duration::from_secs(60),
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(30),
            retries: 6,
        }
    }
}

/// Why a list could not be read in full.
#[derive(Debug)]
pub struct ListFailure {
    /// `pods` or `nodes`.
    plural: &'static str,
    problem: Problem,
}

impl fmt::Display for ListFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not list {}: {}", self.plural, self.problem)
    }
}

impl Error for ListFailure {
    /// The problem's own: the text holds the problem.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.problem.source()
    }
}

/// What went wrong with a page.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No connection, or one that broke off.
    #[error(
        "the API server cannot be reached or broke off; check the network and the kubeconfig's server"
    )]
    Connection(#[source] Box<dyn Error + Send + Sync>),
    /// No answer within the time limit.
    #[error("the API server did not answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// An answer that is an error.
    #[error("the API server answered {status}{advice}")]
    Status {
        /// HTTP status.
        status: u16,
        /// What to do.
        advice: String,
        /// How long the server wants us to wait.
        retry_after: Option<Duration>,
    },
    /// An answer that is not a list. The cause repeats nothing of it.
    #[error("the answer is not a list: {0}; is this the API server, or something in front of it?")]
    Body(ListError),
    /// A page that is too large.
    #[error("a page of {PAGE_ITEMS} items is larger than {} MiB", MAX_PAGE_BYTES >> 20)]
    TooLarge,
    /// The list expired and gives no token to go on with.
    #[error(
        "the list expired while it was read, again and again: etcd is compacted too often, or the API server is overloaded"
    )]
    Expired,
}

impl ListFailure {
    pub(super) fn expired(plural: &'static str) -> Self {
        Self {
            plural,
            problem: Problem::Expired,
        }
    }

    /// Whether a permission is missing.
    pub fn is_forbidden(&self) -> bool {
        matches!(self.problem, Problem::Status { status: 403, .. })
    }
}

impl Problem {
    /// Whether asking again may help: what is broken, not what is forbidden or wrong.
    fn may_pass(&self) -> bool {
        match self {
            Self::Connection(_) | Self::TimedOut(_) | Self::Body(ListError::Truncated { .. }) => {
                true
            }
            Self::Status {
                status,
                retry_after,
                ..
            } => {
                matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
                    && retry_after.is_none_or(|pause| pause <= MAX_RETRY_AFTER)
            }
            Self::Body(_) | Self::TooLarge | Self::Expired => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// How reading a list ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    /// With its last page.
    Whole,
    /// Before it, without a token to go on with; what was handed over is not to be used.
    Expired,
}

enum Page<T> {
    Items(Vec<T>, ListEnd),
    /// 410 Gone: the token was too old. The answer may carry another, with which the rest of the
    /// list comes as it is now ("inconsistent continue" in the Kubernetes API concepts): a pod that
    /// lived throughout is in exactly one page, since pages go on behind the last key.
    Expired(Option<String>),
}

/// Lists objects of the core API.
pub(super) struct Lister {
    client: kube::Client,
    patience: Patience,
}

impl Lister {
    pub(super) fn new(client: kube::Client, patience: Patience) -> Self {
        Self { client, patience }
    }

    /// Hands over all items of a list, each page once it is whole.
    pub(super) async fn all<T: ListItem>(
        &self,
        path: &str,
        selector: Option<&str>,
        mut each: impl FnMut(T),
    ) -> Result<Listing, ListFailure> {
        let mut token = None::<String>;
        loop {
            match self.page(path, selector, token.as_deref()).await? {
                Page::Items(items, end) => {
                    items.into_iter().for_each(&mut each);
                    token = end.continue_token;
                    if token.is_none() {
                        return Ok(Listing::Whole);
                    }
                }
                Page::Expired(Some(next)) if token.as_ref() != Some(&next) => {
                    tracing::debug!(
                        path,
                        "the list expired: going on with the rest as it is now"
                    );
                    token = Some(next);
                }
                Page::Expired(_) => return Ok(Listing::Expired),
            }
        }
    }

    /// Asks for one item, to see whether that is allowed; once, since somebody waits for the answer.
    pub(super) async fn first<T: ListItem>(
        &self,
        path: &str,
        selector: Option<&str>,
    ) -> Result<(), ListFailure> {
        let uri = uri(path, 1, selector, None);
        match self.attempt::<T>(path, &uri).await {
            Ok(_) => Ok(()),
            Err(problem) => Err(ListFailure {
                plural: T::PLURAL,
                problem,
            }),
        }
    }

    async fn page<T: ListItem>(
        &self,
        path: &str,
        selector: Option<&str>,
        token: Option<&str>,
    ) -> Result<Page<T>, ListFailure> {
        let uri = uri(path, PAGE_ITEMS, selector, token);
        let pauses = ExponentialBuilder::new()
            .with_min_delay(self.patience.first_pause)
            .with_max_delay(self.patience.longest_pause)
            .with_max_times(self.patience.retries)
            .with_jitter();
        (|| self.attempt(path, &uri))
            .retry(pauses)
            .when(Problem::may_pass)
            .adjust(|problem, pause| pause.map(|pause| problem.retry_after().unwrap_or(pause)))
            .notify(|problem, pause| {
                tracing::warn!(
                    path,
                    pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                    "{problem}; asking again"
                );
            })
            .await
            .map_err(|problem| ListFailure {
                plural: T::PLURAL,
                problem,
            })
    }

    async fn attempt<T: ListItem>(&self, path: &str, uri: &str) -> Result<Page<T>, Problem> {
        let limit = self.patience.attempt;
        tokio::time::timeout(limit, self.fetch(path, uri))
            .await
            .map_err(|_| Problem::TimedOut(limit))?
    }

    async fn fetch<T: ListItem>(&self, path: &str, uri: &str) -> Result<Page<T>, Problem> {
        let request = Request::get(uri)
            .header("accept", "application/json")
            .body(Body::empty())
            .map_err(|e| Problem::Connection(e.into()))?;
        let response = self
            .client
            .send(request)
            .await
            .map_err(|e| Problem::Connection(e.into()))?;
        match response.status() {
            StatusCode::OK => {
                let body = Limited::new(response.into_body(), MAX_PAGE_BYTES);
                let body = body.collect().await.map_err(broken)?;
                let mut items = Vec::new();
                let reader = bytes::Buf::reader(body.aggregate());
                let end = read_page(reader, |item| items.push(item)).map_err(Problem::Body)?;
                Ok(Page::Items(items, end))
            }
            StatusCode::GONE => Ok(Page::Expired(continue_token(response).await)),
            _ => Err(refused::<T>(&response, path)),
        }
    }
}

fn broken(error: Box<dyn Error + Send + Sync>) -> Problem {
    if error.is::<http_body_util::LengthLimitError>() {
        Problem::TooLarge
    } else {
        Problem::Connection(error)
    }
}

/// The token that the Status of a 410 carries.
async fn continue_token(response: Response<Body>) -> Option<String> {
    #[derive(Deserialize)]
    struct Status {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        r#continue: String,
    }
    let body = Limited::new(response.into_body(), MAX_STATUS_BYTES);
    let body = body.collect().await.ok()?.to_bytes();
    let status: Status = serde_json::from_slice(&body).ok()?;
    Some(status.metadata.r#continue).filter(|token| !token.is_empty())
}

fn refused<T: ListItem>(response: &Response<Body>, path: &str) -> Problem {
    let plural = T::PLURAL;
    let status = response.status().as_u16();
    let namespace = path
        .strip_prefix("/api/v1/namespaces/")
        .and_then(|rest| rest.split('/').next());
    let rule = format!("{{apiGroups: [\"\"], resources: [\"{plural}\"], verbs: [\"list\"]}}");
    let advice = match (status, namespace) {
        (401, _) => ": log in again, or renew the service account's token".into(),
        (403, None) if plural == "pods" => format!(
            ": bind a ClusterRole with the rule {rule}, or list single namespaces with --namespace"
        ),
        (403, None) => format!(": bind a ClusterRole with the rule {rule}"),
        (403, Some(namespace)) => {
            format!(": bind a Role in namespace {namespace} with the rule {rule}")
        }
        (400, _) => ": check --selector".into(),
        (404, _) => ": is this a Kubernetes API server? check the kubeconfig's server".into(),
        _ => String::new(),
    };
    let retry_after = response
        .headers()
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    Problem::Status {
        status,
        advice,
        retry_after,
    }
}

fn uri(path: &str, limit: u32, selector: Option<&str>, token: Option<&str>) -> String {
    let mut query = format!("{path}?limit={limit}");
    for (name, value) in [("labelSelector", selector), ("continue", token)] {
        if let Some(value) = value {
            let value =
                percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            query.push_str(&format!("&{name}={value}"));
        }
    }
    query
}
