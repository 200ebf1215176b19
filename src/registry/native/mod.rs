//! The engine of our own: HTTP with connections and tokens that serve many requests, in this process.
//!
//! What crane does in a process for each request is done here once for a registry and a credential: the
//! ping, TLS, the token. Every connection goes the guard's way, and every digest is verified. Its rows
//! are those of crane, which is its measure: `tests/engines.rs` compares them.

mod answer;
mod body;
mod challenge;
mod connect;
mod failure;
mod session;
mod single;
mod target;
mod tls;
mod token;

use std::collections::HashMap;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use http::{Method, Response};
use hyper::body::Incoming;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use self::body::{body, pass_on, read_small};
use self::failure::Failure;
use self::session::{Session, Trail};
use super::engine::{Attempted, Content, Task, ended, internal};
use super::guard::{Pass, Way};
use super::limits::{Ended, Output, Progress, Watch};
use super::manners::Sign;
use super::request::{MAX_MANIFEST_BYTES, Request};
use crate::image::Digest;
use crate::sync::lock;

/// What crane accepts as a manifest.
const MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v1+json,\
application/vnd.docker.distribution.manifest.v1+prettyjws,\
application/vnd.docker.distribution.manifest.v2+json,\
application/vnd.oci.image.manifest.v1+json,\
application/vnd.docker.distribution.manifest.list.v2+json,\
application/vnd.oci.image.index.v1+json";

/// Whom TLS trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trust {
    /// The system's authorities, and those of a bundle.
    Authorities(Option<PathBuf>),
    Anybody,
}

/// All sessions of a run.
pub(super) struct Native {
    way: Arc<Way>,
    stop: CancellationToken,
    system: OnceLock<Vec<CertificateDer<'static>>>,
    tls: Mutex<Vec<(Trust, ClientConfig)>>,
    /// By registry; of one there are as many as credentials were tried.
    sessions: Mutex<HashMap<Arc<str>, Vec<Arc<Session>>>>,
}

/// What is to be read.
enum Opened {
    /// The digest of a tag, as text.
    Text(String),
    /// Content that is to have this digest.
    Body(Response<Incoming>, Digest),
}

impl Native {
    /// `stop` ends all that it does.
    pub(super) fn new(way: Arc<Way>, stop: CancellationToken) -> Self {
        Self {
            way,
            stop,
            system: OnceLock::new(),
            tls: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    /// Asks once.
    pub(super) async fn attempt<T: Send + 'static>(
        &self,
        task: &Task<'_>,
        pass: &Pass,
        read: impl FnOnce(&mut dyn Read) -> T + Send + 'static,
    ) -> Attempted<T> {
        let session = match self.session(task, pass) {
            Ok(session) => session,
            Err(error) => {
                tracing::warn!(%error, "a registry's certificates could not be read");
                let message = "the registry's certificates could not be read: see the log";
                return Attempted::impossible(internal(message));
            }
        };
        let trail = Trail::default();
        let progress = Arc::<Progress>::default();
        let mut watch = Watch::new(task.limits, &self.stop, &progress);
        let result = read_by(&session, task, &trail, &progress, &mut watch, read).await;
        let (result, sign) = match (watch.ended(), result) {
            (Some(reason), _) => {
                let error = ended(reason, task);
                let sign = Sign::of(&error, false);
                (Err(error), sign)
            }
            (None, Ok(content)) => (Ok(content), Sign::Alive),
            (None, Err(failure)) => {
                let failure = session.better(failure);
                let (error, is_overload) = failure.explain(task.registry());
                let sign = Sign::of(&error, is_overload);
                (Err(error), sign)
            }
        };
        Attempted {
            result,
            sign,
            hosts: trail.hosts(),
        }
    }

    fn session(&self, task: &Task<'_>, pass: &Pass) -> io::Result<Arc<Session>> {
        let credential = task.candidate.credential.as_ref();
        let mut sessions = lock(&self.sessions);
        let known = sessions.entry(Arc::clone(task.registry())).or_default();
        if let Some(session) = known.iter().find(|session| session.is_for(credential)) {
            return Ok(Arc::clone(session));
        }
        let trust = if task.access.is_insecure {
            Trust::Anybody
        } else {
            Trust::Authorities(task.access.ca_bundle.clone())
        };
        let session = Arc::new(Session::new(
            task.registry(),
            credential.cloned(),
            Arc::clone(&self.way),
            pass,
            self.tls(trust)?,
        ));
        known.push(Arc::clone(&session));
        Ok(session)
    }

    /// Certificates are read once.
    fn tls(&self, trust: Trust) -> io::Result<ClientConfig> {
        let mut known = lock(&self.tls);
        if let Some((_, config)) = known.iter().find(|(of, _)| *of == trust) {
            return Ok(config.clone());
        }
        let config = match &trust {
            Trust::Anybody => tls::trusting_anybody()?,
            Trust::Authorities(bundle) => {
                let system = self.system.get_or_init(tls::system_certificates);
                tls::trusting(system, bundle.as_deref())?
            }
        };
        known.push((trust, config.clone()));
        Ok(config)
    }
}

/// Asks, and streams what comes through `read`. Where the watch has ended it, the result says nothing.
async fn read_by<T: Send + 'static>(
    session: &Session,
    task: &Task<'_>,
    trail: &Trail,
    progress: &Arc<Progress>,
    watch: &mut Watch<'_>,
    read: impl FnOnce(&mut dyn Read) -> T + Send + 'static,
) -> Result<Content<T>, Failure> {
    let over = CancellationToken::new();
    let asked = over.run_until_cancelled(open(session, task, trail));
    let opened = watch.over(asked, || over.cancel()).await;
    let (response, expected) = match opened.ok_or(Failure::Broke)?? {
        Opened::Body(response, expected) => (response, expected),
        Opened::Text(text) => {
            let value = read(&mut Cursor::new(text));
            let is_whole = true;
            return Ok(Content { value, is_whole });
        }
    };
    let (pieces, source) = body();
    let sender = tokio::spawn({
        let over = over.clone();
        async move {
            let passed = over.run_until_cancelled(pass_on(response.into_body(), pieces));
            passed.await.unwrap_or(Ok(None))
        }
    });
    let mut output = Output {
        source,
        progress: Arc::clone(progress),
        max_bytes: task.limits.max_bytes,
    };
    let reader = tokio::task::spawn_blocking(move || read(&mut output));
    let read = watch.over(reader, || over.cancel()).await;
    if progress.is_too_large() {
        watch.end(Ended::TooLarge);
    }
    let value = read.map_err(|_| Failure::Unknown)?;
    if !progress.is_at_end() {
        // It has seen enough: that is no failure of the registry.
        over.cancel();
        let is_whole = false;
        return Ok(Content { value, is_whole });
    }
    // Nothing more is sent, or the reader would not be at the end.
    let found = sender.await.map_err(|_| Failure::Unknown)??;
    if found != Some(expected) {
        return Err(Failure::Forged);
    }
    let is_whole = true;
    Ok(Content { value, is_whole })
}

async fn open(session: &Session, task: &Task<'_>, trail: &Trail) -> Result<Opened, Failure> {
    let repository = &task.pull.repository.path;
    let path = task.request.path(task.pull);
    let get = |method, accept| session.get(method, repository, &path, accept, trail);
    match task.request {
        Request::Tag(_) => {
            // One that answers nothing useful is asked again; one that has too much to do is not.
            if let Ok(response) = get(Method::HEAD, Some(MANIFESTS)).await
                && let Some(digest) = named_digest(&response)
            {
                return Ok(Opened::Text(digest.to_string()));
            }
            let response = get(Method::GET, Some(MANIFESTS)).await?;
            let most = usize::try_from(MAX_MANIFEST_BYTES).unwrap_or(usize::MAX);
            let bytes = read_small(response.into_body(), most).await?;
            let bytes = bytes.ok_or(Failure::TooLarge)?;
            Ok(Opened::Text(Digest::of(&bytes).to_string()))
        }
        Request::Manifest { digest, .. } => {
            let response = get(Method::GET, Some(MANIFESTS)).await?;
            Ok(Opened::Body(response, *digest))
        }
        Request::Configuration(digest) | Request::Layer(digest) => {
            let response = get(Method::GET, None).await?;
            Ok(Opened::Body(response, *digest))
        }
    }
}

/// The digest that an answer without content says that the content has.
fn named_digest(response: &Response<Incoming>) -> Option<Digest> {
    let digest = response.headers().get("docker-content-digest")?;
    digest.to_str().ok()?.parse().ok()
}
