//! An HTTPS proxy in front of a real API server, which does one thing wrong with one of the requests.
//!
//! It has a certificate of its own, and passes on whatever credential it is given: the API server itself
//! judges that.

use std::convert::Infallible;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::Result;
use super::certificate::Certificate;
use super::control_plane::{Access, ControlPlane};

/// What is done with a request.
#[derive(Clone)]
pub(crate) enum Fault {
    /// It is answered so, without the API server.
    Status {
        status: u16,
        header: Option<(&'static str, &'static str)>,
        body: &'static str,
    },
    /// It is never answered.
    Hang,
    /// The connection ends instead of an answer.
    Reset,
    /// The connection ends after half of the answer.
    ResetInBody,
    /// Nothing comes after half of the answer.
    HangInBody,
    /// The API server is asked with another token.
    WrongToken,
    /// This is done before the API server is asked.
    After(Arc<dyn Fn() + Send + Sync>),
}

/// Which requests a fault is about: that one, counted from 0, or it and all that follow.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Once(usize),
    From(usize),
}

impl When {
    fn is(self, number: usize) -> bool {
        match self {
            Self::Once(at) => number == at,
            Self::From(first) => number >= first,
        }
    }
}

/// A running proxy; it ends when this is dropped.
pub(crate) struct ApiProxy {
    kubeconfig: PathBuf,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

struct Shared {
    client: kube::Client,
    fault: Option<(When, Fault)>,
    requests: AtomicUsize,
    faults: AtomicUsize,
}

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

impl ApiProxy {
    /// Listens on a free port. The name is the kubeconfig's.
    pub(crate) fn start(
        plane: &ControlPlane,
        name: &str,
        certificate: &Certificate,
        fault: Option<(When, Fault)>,
    ) -> Result<Self> {
        let [public, key] = certificate.names();
        let tls = super::tls::config(Path::new(public), Path::new(key))?;
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let access = Access {
            address: Some(listener.local_addr()?.to_string()),
            authority: Some(std::fs::read(certificate.authority())?),
            ..Access::default()
        };
        let kubeconfig = plane.kubeconfig_for(name, &access)?;
        let shared = Arc::new(Shared {
            client: runtime.block_on(without_credential(&plane.kubeconfig()))?,
            fault,
            requests: AtomicUsize::new(0),
            faults: AtomicUsize::new(0),
        });
        let own = Arc::clone(&shared);
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&own));
                tokio::spawn(async move {
                    let Ok(client) = acceptor.accept(client).await else {
                        return;
                    };
                    let service = service_fn(|request| answer(&shared, request));
                    // A connection that breaks is what it is for.
                    let served = http1::Builder::new();
                    let _ = served.serve_connection(TokioIo::new(client), service).await;
                });
            }
        });
        Ok(Self {
            kubeconfig,
            shared,
            _runtime: runtime,
        })
    }

    /// Leads through it, with the administrator's token.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// How many requests there were.
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// How many of them the fault was about.
    pub(crate) fn faults(&self) -> usize {
        self.shared.faults.load(Ordering::SeqCst)
    }
}

async fn without_credential(kubeconfig: &Path) -> Result<kube::Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    config.auth_info = AuthInfo::default();
    config.default_retry = false;
    Ok(kube::Client::try_from(config)?)
}

/// An error ends the connection.
async fn answer(shared: &Shared, mut request: Request<Incoming>) -> io::Result<Answer> {
    let number = shared.requests.fetch_add(1, Ordering::SeqCst);
    let fault = shared.fault.as_ref();
    let fault = fault
        .filter(|(when, _)| when.is(number))
        .map(|(_, fault)| fault.clone());
    if fault.is_some() {
        shared.faults.fetch_add(1, Ordering::SeqCst);
    }
    match &fault {
        Some(Fault::Status {
            status,
            header,
            body,
        }) => {
            let mut builder = Response::builder().status(*status);
            if let Some((name, value)) = header {
                builder = builder.header(*name, *value);
            }
            let body = whole(Bytes::from_static(body.as_bytes()));
            return builder.body(body).map_err(io::Error::other);
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => return Err(io::ErrorKind::ConnectionReset.into()),
        Some(Fault::WrongToken) => {
            let other = HeaderValue::from_static("Bearer of-yesterday");
            request.headers_mut().insert(AUTHORIZATION, other);
        }
        Some(Fault::After(done)) => {
            let done = Arc::clone(done);
            let done = tokio::task::spawn_blocking(move || done());
            done.await.map_err(io::Error::other)?;
        }
        Some(Fault::ResetInBody | Fault::HangInBody) | None => {}
    }
    let (mut head, _) = request.into_parts();
    for name in [HOST, CONNECTION] {
        head.headers.remove(name);
    }
    let asked = shared.client.send(Request::from_parts(head, Body::empty()));
    let (mut head, body) = asked.await.map_err(io::Error::other)?.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    head.headers.remove(TRANSFER_ENCODING);
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    let half = Frame::data(body.slice(..body.len() / 2));
    let body = match fault {
        Some(Fault::ResetInBody) => {
            let end = Err(io::ErrorKind::ConnectionReset.into());
            let pieces = futures::stream::iter([Ok(half), end]);
            StreamBody::new(pieces).boxed_unsync()
        }
        Some(Fault::HangInBody) => {
            use futures::StreamExt as _;
            let pieces = futures::stream::iter([Ok(half)]);
            StreamBody::new(pieces.chain(futures::stream::pending())).boxed_unsync()
        }
        _ => whole(body),
    };
    Ok(Response::from_parts(head, body))
}

fn whole(body: Bytes) -> UnsyncBoxBody<Bytes, io::Error> {
    Full::new(body)
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}
