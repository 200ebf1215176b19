//! One registry with one credential or none: its connections, how it is spoken to, and its tokens.
//!
//! Nothing of a session serves another: not a connection, not a token, not what the guard allowed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, LOCATION, PROXY_AUTHORIZATION, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use tokio::time::{Instant, sleep, timeout};

use super::answer::{MAX_ERROR_BYTES, kind_of};
use super::body::read_small;
use super::challenge::{Bearer, Challenge, challenge};
use super::connect::{Connector, is_own};
use super::failure::Failure;
use super::single::Single;
use super::target::{Target, form};
use super::token::{self, MAX_TOKEN_BYTES, Token, bearer, secret_value};
use crate::registry::credentials::Credential;
use crate::registry::guard::{HostPort, Pass, Place, Verdict, Way, check_name};
use crate::sync::lock;

/// Redirects that are followed for one request.
const MAX_REDIRECTS: usize = 10;
/// What is waited before a request is sent again, as crane does.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// Statuses for which crane does.
const PASSING: [u16; 8] = [408, 429, 500, 502, 503, 504, 499, 522];
/// How long TLS is waited for before it is also tried without, where that is allowed. crane waits for 300
/// ms, each time; here it is once, and a busy machine does not decide who is asked in clear.
const HEAD_START: Duration = Duration::from_secs(2);
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);
/// Bytes of a response's head, and of one read of its body.
const BUFFER: usize = 64 << 10;
/// Bytes that a server may send ahead of the reader, for one body and for all of a connection.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;
/// Scopes that a registry may ask for.
const MAX_SCOPE_BYTES: usize = 1 << 10;

const AGENT: &str = concat!("image-census/", env!("CARGO_PKG_VERSION"));

/// Hosts that were reached, in their order.
#[derive(Default)]
pub(super) struct Trail(Mutex<Vec<HostPort>>);

impl Trail {
    fn note(&self, host: &HostPort) {
        let mut hosts = lock(&self.0);
        // An attempt follows no more redirects than there is room for.
        if !hosts.contains(host) {
            hosts.push(host.clone());
        }
    }

    /// All of them.
    pub(super) fn hosts(&self) -> Vec<HostPort> {
        lock(&self.0).clone()
    }
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Ping,
    Token,
    Content,
}

/// How a registry is spoken to.
struct Known {
    /// `https://registry/v2/`.
    base: Target,
    challenge: Option<Challenge>,
    /// What was refused on the way to it: with TLS it led to where it may not. Whatever fails later, that
    /// explains it.
    refused: Option<Verdict>,
}

/// A token, and until when it may be used.
type Lease = (HeaderValue, Instant);

/// See above.
pub(super) struct Session {
    registry: Arc<str>,
    credential: Option<Arc<Credential>>,
    way: Arc<Way>,
    pass: Arc<Pass>,
    client: Client<HttpsConnector<Connector>, Full<Bytes>>,
    known: Single<Arc<Known>>,
    /// By repository.
    tokens: Mutex<HashMap<Arc<str>, Arc<Single<Lease>>>>,
}

/// A request's answer, and who gave it in the end.
struct Answered {
    response: Response<Incoming>,
    by: Target,
}

impl Session {
    pub(super) fn new(
        registry: &Arc<str>,
        credential: Option<Arc<Credential>>,
        way: Arc<Way>,
        pass: &Pass,
        tls: ClientConfig,
    ) -> Self {
        let pass = Arc::new(pass.clone());
        let connector = Connector {
            way: Arc::clone(&way),
            pass: Arc::clone(&pass),
        };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .http1_max_buf_size(BUFFER)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW)
            .http2_max_header_list_size(64 << 10)
            .build(connector);
        Self {
            registry: Arc::clone(registry),
            credential,
            way,
            pass,
            client,
            known: Single::default(),
            tokens: Mutex::default(),
        }
    }

    /// Whether it is for this credential.
    pub(super) fn is_for(&self, credential: Option<&Arc<Credential>>) -> bool {
        self.credential.as_ref() == credential
    }

    /// What explains a failure better than what came last.
    pub(super) fn better(&self, failure: Failure) -> Failure {
        let known = self.known.known();
        let refused = known.and_then(|known| known.refused.clone());
        refused.map_or(failure, Failure::Verdict)
    }

    /// Asks for a path below a repository; an answer with success.
    pub(super) async fn get(
        &self,
        method: Method,
        repository: &Arc<str>,
        path: &str,
        accept: Option<&'static str>,
        trail: &Trail,
    ) -> Result<Response<Incoming>, Failure> {
        let known = &self.known.get(|_| true, self.ping(trail)).await?;
        let target = known.base.with_path(path).ok_or(Failure::Unknown)?;
        let mut stale = None;
        let mut scope = None;
        loop {
            let authorization = self
                .authorization(known, repository, stale.as_ref(), scope, trail)
                .await?;
            let Answered { response, by } = self
                .follow(
                    &method,
                    &target,
                    Purpose::Content,
                    accept,
                    authorization.as_ref(),
                    trail,
                )
                .await?;
            let wants = match challenge(response.headers()) {
                Some(Challenge::Bearer(bearer)) if response.status() == 401 => Some(bearer),
                _ => None,
            };
            if let (Some(wants), Some(Challenge::Bearer(_))) = (wants, &known.challenge) {
                if !by.is_same_server(&target) {
                    return self.as_stranger(&method, &by, wants, accept, trail).await;
                }
                // A token may be over before its time; one more is asked for.
                if stale.is_none() && authorization.is_some() {
                    stale = authorization;
                    scope = wants.scope.filter(|scope| scope.len() <= MAX_SCOPE_BYTES);
                    continue;
                }
            }
            return succeeded(response).await;
        }
    }

    /// Asks whom a redirect leads to, with a token that anybody gets there; the registry's credential is
    /// not for that server.
    async fn as_stranger(
        &self,
        method: &Method,
        target: &Target,
        wants: Bearer,
        accept: Option<&'static str>,
        trail: &Trail,
    ) -> Result<Response<Incoming>, Failure> {
        let scopes: Vec<_> = wants.scope.as_deref().into_iter().collect();
        let token = self.ask_for_token(&wants, target, &scopes, None, trail);
        let token = token.await?;
        let headers = headers(accept, Some(&token.header));
        let response = self.send(method, target, headers, Bytes::new()).await?;
        trail.note(&target.host);
        succeeded(response).await
    }

    /// Finds out how the registry is spoken to, as crane does: with TLS, and where its name allows for
    /// it also without, if that comes to nothing or to nothing soon.
    async fn ping(&self, trail: &Trail) -> Result<Arc<Known>, Failure> {
        let with_tls = self.ping_by("https", trail);
        if !(self.pass.plain_http || may_be_plain(self.host(), &self.pass.registry)) {
            return with_tls.await.map(Arc::new);
        }
        let in_clear = self.ping_by("http", trail);
        let (mut with_tls, mut in_clear) = (Box::pin(with_tls), Box::pin(in_clear));
        let mut first = match timeout(HEAD_START, &mut with_tls).await {
            Ok(Ok(known)) => return Ok(Arc::new(known)),
            Ok(Err(failure)) => Some(failure),
            Err(_) => None,
        };
        let second = loop {
            tokio::select! {
                found = &mut with_tls, if first.is_none() => match found {
                    Ok(known) => return Ok(Arc::new(known)),
                    Err(failure) => first = Some(failure),
                },
                found = &mut in_clear => break found,
            }
        };
        match (first, second) {
            (first, Ok(mut known)) => {
                if let Some(Failure::Verdict(verdict @ Verdict::Refused(_))) = first {
                    known.refused = Some(verdict);
                }
                Ok(Arc::new(known))
            }
            (Some(first), Err(second)) => Err(Failure::of_both(first, second)),
            (None, Err(second)) => match with_tls.await {
                Ok(known) => Ok(Arc::new(known)),
                Err(first) => Err(Failure::of_both(first, second)),
            },
        }
    }

    async fn ping_by(&self, scheme: &str, trail: &Trail) -> Result<Known, Failure> {
        let base = Target::parse(&format!("{scheme}://{}/v2/", self.host()));
        let base = base.ok_or_else(Failure::malformed)?;
        let answered = self.follow(&Method::GET, &base, Purpose::Ping, None, None, trail);
        let response = answered.await?.response;
        let challenge = match response.status() {
            StatusCode::OK => None,
            StatusCode::UNAUTHORIZED => challenge(response.headers()),
            _ => return Err(failed(response).await),
        };
        // So that the connection serves again.
        let _ = read_small(response.into_body(), MAX_ERROR_BYTES).await;
        Ok(Known {
            base,
            challenge,
            refused: None,
        })
    }

    /// The registry as URLs name it.
    fn host(&self) -> &str {
        match &*self.registry {
            // Where crane asks Docker Hub.
            "docker.io" => "index.docker.io",
            other => other,
        }
    }

    /// What a request to the registry says of who asks.
    async fn authorization(
        &self,
        known: &Known,
        repository: &Arc<str>,
        stale: Option<&HeaderValue>,
        scope: Option<String>,
        trail: &Trail,
    ) -> Result<Option<HeaderValue>, Failure> {
        let registry_token = self
            .credential
            .as_deref()
            .and_then(Credential::registry_token);
        let Some(Challenge::Bearer(wants)) = &known.challenge else {
            // crane sends it where nobody asked for it, too: some answer a ping to anybody.
            return Ok(match registry_token {
                Some(token) => bearer(token),
                None => self.basic(),
            });
        };
        if let Some(token) = registry_token {
            return Ok(bearer(token));
        }
        let own = format!("repository:{repository}:pull");
        let mut scopes: Vec<_> = scope.as_deref().into_iter().collect();
        if !scopes.contains(&&*own) {
            scopes.push(&own);
        }
        let ask = async {
            let credential = self.credential.as_deref();
            let token = self.ask_for_token(wants, &known.base, &scopes, credential, trail);
            let Token { header, time } = token.await?;
            Ok((header, Instant::now() + time))
        };
        let single = Arc::clone(
            lock(&self.tokens)
                .entry(Arc::clone(repository))
                .or_default(),
        );
        let is_good = |(token, until): &Lease| *until > Instant::now() && Some(token) != stale;
        let (token, _) = single.get(is_good, ask).await?;
        Ok(Some(token))
    }

    fn basic(&self) -> Option<HeaderValue> {
        secret_value(&self.credential.as_deref()?.basic()?)
    }

    /// Asks a token service. What `of` may not send it to, it is not sent to.
    async fn ask_for_token(
        &self,
        wants: &Bearer,
        of: &Target,
        scopes: &[&str],
        credential: Option<&Credential>,
        trail: &Trail,
    ) -> Result<Token, Failure> {
        let realm = wants.realm.as_deref().ok_or(Failure::Unknown)?;
        let Some(realm) = Target::parse(realm) else {
            let is_url =
                realm.starts_with("https://") || (of.plain && realm.starts_with("http://"));
            return Err(if is_url {
                Failure::malformed()
            } else {
                Failure::TokenInClear
            });
        };
        if realm.plain && !of.plain {
            return Err(Failure::TokenInClear);
        }
        if !realm.is_same_server(of) {
            self.may_ask(&realm, Purpose::Token)?;
        }
        let service = wants.service.as_deref().unwrap_or_default();
        let response = match credential.and_then(Credential::identity_token) {
            Some(identity) => {
                let scope = scopes.join(" ");
                let body = form([
                    ("client_id", AGENT),
                    ("grant_type", "refresh_token"),
                    ("refresh_token", identity),
                    ("scope", &scope),
                    ("service", service),
                ]);
                let mut headers = headers(None, None);
                let media_type = HeaderValue::from_static("application/x-www-form-urlencoded");
                headers.insert(CONTENT_TYPE, media_type);
                let response = self
                    .send(&Method::POST, &realm, headers, body.into())
                    .await?;
                trail.note(&realm.host);
                Some(response).filter(|response| response.status() != StatusCode::NOT_FOUND)
            }
            None => None,
        };
        let response = match response {
            Some(response) => response,
            // Not every service knows refresh tokens.
            None => {
                let scopes = scopes.iter().map(|scope| ("scope", *scope));
                let query = form(scopes.chain([("service", service)]));
                let target = realm.with_query(&query).ok_or_else(Failure::malformed)?;
                let basic = credential.and_then(Credential::basic);
                let basic = basic.and_then(|basic| secret_value(&basic));
                let answered = self.follow(
                    &Method::GET,
                    &target,
                    Purpose::Token,
                    None,
                    basic.as_ref(),
                    trail,
                );
                answered.await?.response
            }
        };
        let response = succeeded(response).await?;
        let body = read_small(response.into_body(), MAX_TOKEN_BYTES).await?;
        let body = zeroize::Zeroizing::new(body.ok_or(Failure::Unknown)?);
        token::parse(&body).ok_or(Failure::Unknown)
    }

    /// Whether the guard's rules let this be asked by its name.
    fn may_ask(&self, target: &Target, purpose: Purpose) -> Result<(), Failure> {
        let Target { host, plain, .. } = target;
        if is_own(&self.pass, host, *plain) {
            return Ok(());
        }
        let Err(refusal) = check_name(self.way.rules(), &self.pass, host, *plain) else {
            return Ok(());
        };
        let (registry, rule) = (&*self.registry, refusal.rule);
        tracing::debug!(registry, host = %host, %rule, "refused");
        // crane refuses these by itself, or the kernel does, and says as much.
        let is_inner = |address| {
            matches!(
                Place::of(address),
                Place::Private | Place::Loopback | Place::LinkLocal | Place::Metadata
            )
        };
        let is_inside = host.is_past_proxies()
            || (purpose != Purpose::Ping && host.address().is_some_and(is_inner));
        Err(if is_inside {
            Failure::Inside
        } else {
            Failure::Verdict(Verdict::Refused(refusal))
        })
    }

    /// Sends a request, and again to where it is sent. Only who was meant first gets `authorization`.
    async fn follow(
        &self,
        method: &Method,
        start: &Target,
        purpose: Purpose,
        accept: Option<&'static str>,
        authorization: Option<&HeaderValue>,
        trail: &Trail,
    ) -> Result<Answered, Failure> {
        let mut by = start.clone();
        for _ in 0..=MAX_REDIRECTS {
            let authorization = authorization.filter(|_| by.is_same_server(start));
            let headers = headers(accept, authorization);
            let response = self.send(method, &by, headers, Bytes::new()).await?;
            trail.note(&by.host);
            let Some(location) = location(&response) else {
                return Ok(Answered { response, by });
            };
            let location = location.to_str().ok().and_then(|text| by.follow(text));
            let next = location.ok_or_else(Failure::malformed)?;
            if purpose == Purpose::Token && next.plain && !start.plain {
                return Err(Failure::TokenInClear);
            }
            if !next.is_same_server(&by) {
                self.may_ask(&next, purpose)?;
            }
            by = next;
        }
        Err(Failure::Verdict(Verdict::Endless))
    }

    /// Sends a request to one server, and once more where that may do in a moment.
    async fn send(
        &self,
        method: &Method,
        target: &Target,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, Failure> {
        if target.plain
            && let Some(credential) = self.way.proxy_in_clear(&target.host)
        {
            // One request a connection: not every proxy looks at a second one.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
            headers.extend(credential.map(|credential| (PROXY_AUTHORIZATION, credential)));
        }
        let (mut waits, mut may_be_old) = (WAITS.into_iter(), true);
        loop {
            let mut request = Request::new(Full::new(body.clone()));
            *request.method_mut() = method.clone();
            *request.uri_mut() = target.uri.clone();
            *request.headers_mut() = headers.clone();
            let outcome = self.client.request(request).await;
            let outcome = outcome.map_err(|error| Failure::of(&error));
            let is_passing = match &outcome {
                // The connection may have been closed while it waited for this request.
                Err(Failure::Broke) if std::mem::take(&mut may_be_old) => continue,
                Err(failure) => matches!(failure, Failure::Broke),
                Ok(response) => PASSING.contains(&response.status().as_u16()),
            };
            match waits.next().filter(|_| is_passing) {
                Some(wait) => sleep(wait).await,
                None => return outcome,
            }
        }
    }
}

/// Whether crane would try without TLS by the registry's name alone.
fn may_be_plain(name: &str, host: &HostPort) -> bool {
    let is_private = |address| matches!(address, std::net::IpAddr::V4(ip) if ip.is_private());
    name.starts_with("localhost:")
        || host.host.ends_with(".localhost")
        || host.host.ends_with(".local")
        || host.address().is_some_and(is_private)
        || name.contains("127.0.0.1")
        || name.contains("::1")
}

fn headers(accept: Option<&'static str>, authorization: Option<&HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    if let Some(accept) = accept {
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
    }
    if let Some(authorization) = authorization {
        headers.insert(AUTHORIZATION, authorization.clone());
    }
    headers
}

/// Where a response sends the client, if it does.
fn location(response: &Response<Incoming>) -> Option<&HeaderValue> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    response.headers().get(LOCATION).filter(|_| is_redirect)
}

/// The response, if it is what was asked for.
async fn succeeded(response: Response<Incoming>) -> Result<Response<Incoming>, Failure> {
    if response.status() == StatusCode::OK {
        Ok(response)
    } else {
        Err(failed(response).await)
    }
}

/// What a response that is no success says.
async fn failed(response: Response<Incoming>) -> Failure {
    let status = response.status().as_u16();
    match read_small(response.into_body(), MAX_ERROR_BYTES).await {
        Ok(body) => {
            let (kind, is_overload) = kind_of(status, body.as_deref());
            Failure::Answer { kind, is_overload }
        }
        Err(failure) => failure,
    }
}
