//! One list of the Kubernetes API, page by page, in spite of time-outs, throttling and expiry.

use std::error::Error;
use std::fmt;
use std::io::Read;

use bytes::{Buf, Bytes};
use flate2::read::MultiGzDecoder;
use futures::future::OptionFuture;
use http::header::CONTENT_ENCODING;
use http::{Response, StatusCode};
use kube::client::Body;
use serde::Deserialize;

use super::fetch::{Fetcher, Problem, body, refused};
use crate::pod::{ListEnd, ListItem, read_page, token_ahead};

/// Items in a page: what kubectl asks for.
const PAGE_ITEMS: u32 = 500;
/// A page's bytes at the most: 500 pods of the largest size that etcd stores would be 750 MB, real
/// ones take 2 to 20 MB.
const MAX_PAGE_BYTES: usize = 256 << 20;
/// Bytes of a page in which its head is looked for.
const HEAD_BYTES: usize = 16 << 10;
/// An error document's bytes at the most; the API server's own have under 1 KiB.
const MAX_STATUS_BYTES: usize = 64 << 10;

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

/// How reading a list ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listing {
    /// With its last page.
    Whole,
    /// Before it, without a token to go on with; what was handed over is not to be used.
    Expired,
}

/// A page as it came.
struct Page {
    bytes: Bytes,
    is_gzip: bool,
}

impl Page {
    /// Where the list goes on, if its head says so.
    fn token_ahead(&self) -> Option<String> {
        if !self.is_gzip {
            return token_ahead(&self.bytes);
        }
        let mut head = Vec::new();
        // What breaks off behind the head is seen when the page is parsed.
        let _ = self.inflate(HEAD_BYTES).read_to_end(&mut head);
        token_ahead(&head)
    }

    fn parse<T: ListItem>(self) -> Result<(Vec<T>, ListEnd), Problem> {
        let mut items = Vec::new();
        let mut text = Vec::new();
        let text = if self.is_gzip {
            let read = self.inflate(MAX_PAGE_BYTES + 1).read_to_end(&mut text);
            read.map_err(|error| Problem::Connection(error.into()))?;
            &text[..]
        } else {
            &self.bytes[..]
        };
        if text.len() > MAX_PAGE_BYTES {
            return Err(Problem::TooLarge(MAX_PAGE_BYTES));
        }
        let end = read_page(text, |item| items.push(item)).map_err(Problem::Body)?;
        Ok((items, end))
    }

    fn inflate(&self, most: usize) -> impl Read {
        MultiGzDecoder::new(&self.bytes[..]).take(most as u64)
    }
}

/// What the API server answers with.
enum Answer {
    Page(Page),
    /// 410 Gone: the token was too old. The answer may carry another, with which the rest of the
    /// list comes as it is now ("inconsistent continue" in the Kubernetes API concepts): a pod that
    /// lived throughout is in exactly one page, since pages go on behind the last key.
    Expired(Option<String>),
}

/// Lists objects of the core API.
pub(super) struct Lister {
    fetcher: Fetcher,
}

impl Lister {
    pub(super) fn new(fetcher: Fetcher) -> Self {
        Self { fetcher }
    }

    /// Hands over all items of a list, each page once it is whole. While one is parsed, the server is
    /// already at the next.
    pub(super) async fn all<T: ListItem>(
        &self,
        path: &str,
        selector: Option<&str>,
        mut each: impl FnMut(T),
    ) -> Result<Listing, ListFailure> {
        let mut token = None;
        let mut answer = self.ask::<T>(path, selector, None).await;
        loop {
            match answer.map_err(failed::<T>)? {
                Answer::Page(page) => {
                    let ahead = page.token_ahead();
                    let next = ahead.as_deref();
                    let next = next.map(|token| self.ask::<T>(path, selector, Some(token)));
                    let next = OptionFuture::from(next);
                    let (parsed, next) = tokio::join!(parse(page), next);
                    let parsed = match parsed {
                        Err(problem) if problem.may_pass() => {
                            self.page(path, selector, token.as_deref()).await
                        }
                        parsed => parsed,
                    };
                    let (items, end): (Vec<T>, ListEnd) = parsed.map_err(failed::<T>)?;
                    items.into_iter().for_each(&mut each);
                    token = end.continue_token;
                    answer = match next {
                        _ if token.is_none() => return Ok(Listing::Whole),
                        Some(next) if token == ahead => next,
                        _ => self.ask::<T>(path, selector, token.as_deref()).await,
                    };
                }
                Answer::Expired(Some(next)) if token.as_ref() != Some(&next) => {
                    tracing::debug!(
                        path,
                        "the list expired: going on with the rest as it is now"
                    );
                    token = Some(next);
                    answer = self.ask::<T>(path, selector, token.as_deref()).await;
                }
                Answer::Expired(_) => return Ok(Listing::Expired),
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
        let asked = self.fetcher.once(async {
            match self.fetch::<T>(path, &uri).await? {
                Answer::Page(page) => parse::<T>(page).await.map(drop),
                Answer::Expired(_) => Ok(()),
            }
        });
        asked.await.map_err(failed::<T>)
    }

    /// A page as it came, in spite of what may pass.
    async fn ask<T: ListItem>(
        &self,
        path: &str,
        selector: Option<&str>,
        token: Option<&str>,
    ) -> Result<Answer, Problem> {
        let uri = uri(path, PAGE_ITEMS, selector, token);
        let fetch = || self.fetch::<T>(path, &uri);
        self.fetcher.patiently(path, fetch).await
    }

    /// The same page once more, of which a cut off answer is no longer an answer.
    async fn page<T: ListItem>(
        &self,
        path: &str,
        selector: Option<&str>,
        token: Option<&str>,
    ) -> Result<(Vec<T>, ListEnd), Problem> {
        let uri = uri(path, PAGE_ITEMS, selector, token);
        let fetch = async || match self.fetch::<T>(path, &uri).await? {
            Answer::Page(page) => parse(page).await,
            Answer::Expired(_) => Err(Problem::Expired),
        };
        self.fetcher.patiently(path, fetch).await
    }

    async fn fetch<T: ListItem>(&self, path: &str, uri: &str) -> Result<Answer, Problem> {
        let response = self.fetcher.send(uri, "gzip").await?;
        match response.status() {
            StatusCode::OK => {
                let encoding = response.headers().get(CONTENT_ENCODING);
                let is_gzip = encoding.is_some_and(|encoding| encoding == "gzip");
                let bytes = body(response, MAX_PAGE_BYTES).await?;
                Ok(Answer::Page(Page { bytes, is_gzip }))
            }
            StatusCode::GONE => Ok(Answer::Expired(continue_token(response).await)),
            _ => Err(not_listed::<T>(&response, path)),
        }
    }
}

/// Parses a page on a thread of its own: 3 MB take as long as the server takes for the next.
async fn parse<T: ListItem>(page: Page) -> Result<(Vec<T>, ListEnd), Problem> {
    match tokio::task::spawn_blocking(|| page.parse()).await {
        Ok(parsed) => parsed,
        Err(broken) => std::panic::resume_unwind(broken.into_panic()),
    }
}

fn failed<T: ListItem>(problem: Problem) -> ListFailure {
    ListFailure {
        plural: T::PLURAL,
        problem,
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
    let body = body(response, MAX_STATUS_BYTES).await.ok()?;
    let status: Status = serde_json::from_reader(body.reader()).ok()?;
    Some(status.metadata.r#continue).filter(|token| !token.is_empty())
}

fn not_listed<T: ListItem>(response: &Response<Body>, path: &str) -> Problem {
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
    refused(response, advice)
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
