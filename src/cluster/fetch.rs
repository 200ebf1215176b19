//! One answer of the Kubernetes API, in spite of time-outs, throttling and broken connections.
//!
//! kube's own `request` would log a body that cannot be parsed: answers are bounded here and parsed by
//! whoever asks.

use std::error::Error;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;

use crate::pod::ListError;

/// A server that asks for a longer pause than this is not waited for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(120);

/// How long and how often something is asked for.
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

/// What went wrong with an answer.
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
    /// An answer that is not the object that was asked for. Nothing of it is repeated.
    #[error(
        "the answer is not what was asked for; is this the API server, or something in front of it?"
    )]
    Object {
        /// Whether it ended too early.
        cut_off: bool,
    },
    /// An answer that is too large.
    #[error("the answer is larger than {} MiB", .0 >> 20)]
    TooLarge(usize),
    /// The list expired and gives no token to go on with.
    #[error(
        "the list expired while it was read, again and again: etcd is compacted too often, or the API server is overloaded"
    )]
    Expired,
}

impl Problem {
    /// Whether asking again may help: what is broken, not what is forbidden or wrong.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Connection(_)
            | Self::TimedOut(_)
            | Self::Body(ListError::Truncated { .. })
            | Self::Object { cut_off: true } => true,
            Self::Status {
                status,
                retry_after,
                ..
            } => {
                matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
                    && retry_after.is_none_or(|pause| pause <= MAX_RETRY_AFTER)
            }
            Self::Body(_) | Self::Object { .. } | Self::TooLarge(_) | Self::Expired => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Asks the core API.
#[derive(Clone)]
pub(super) struct Fetcher {
    client: kube::Client,
    patience: Patience,
}

impl Fetcher {
    pub(super) fn new(client: kube::Client, patience: Patience) -> Self {
        Self { client, patience }
    }

    /// The same with another patience.
    pub(super) fn with(&self, patience: Patience) -> Self {
        Self::new(self.client.clone(), patience)
    }

    /// Asks until there is an answer, or until asking again would not help.
    pub(super) async fn patiently<T, F>(
        &self,
        path: &str,
        ask: impl Fn() -> F,
    ) -> Result<T, Problem>
    where
        F: Future<Output = Result<T, Problem>>,
    {
        let pauses = ExponentialBuilder::new()
            .with_min_delay(self.patience.first_pause)
            .with_max_delay(self.patience.longest_pause)
            .with_max_times(self.patience.retries)
            .with_jitter();
        (|| self.once(ask()))
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
    }

    /// One attempt, within its time limit.
    pub(super) async fn once<T>(
        &self,
        ask: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let limit = self.patience.attempt;
        tokio::time::timeout(limit, ask)
            .await
            .map_err(|_| Problem::TimedOut(limit))?
    }

    /// Sends a request; whatever its status, the answer's head. `encoding` is what its body may come in.
    pub(super) async fn send(
        &self,
        uri: &str,
        encoding: &'static str,
    ) -> Result<Response<Body>, Problem> {
        let request = Request::get(uri)
            .header("accept", "application/json")
            .header("accept-encoding", encoding)
            .body(Body::empty())
            .map_err(|e| Problem::Connection(e.into()))?;
        let response = self.client.send(request).await;
        response.map_err(|e| Problem::Connection(e.into()))
    }
}

/// The whole body, if it is not larger than that.
pub(super) async fn body(response: Response<Body>, limit: usize) -> Result<Bytes, Problem> {
    let body = Limited::new(response.into_body(), limit).collect().await;
    let body = body.map_err(|error: Box<dyn Error + Send + Sync>| {
        if error.is::<http_body_util::LengthLimitError>() {
            Problem::TooLarge(limit)
        } else {
            Problem::Connection(error)
        }
    })?;
    Ok(body.to_bytes())
}

/// An answer that is an error, with what to do about it. Its body is not looked at.
pub(super) fn refused(response: &Response<Body>, advice: String) -> Problem {
    let retry_after = response
        .headers()
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(Duration::from_secs);
    Problem::Status {
        status: response.status().as_u16(),
        advice,
        retry_after,
    }
}
