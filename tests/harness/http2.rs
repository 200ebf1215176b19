//! A registry on loopback that speaks HTTP/2 over TLS and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio_rustls::TlsAcceptor;

use super::Result;
use super::bad_registry::{PING, blob_path, manifest_path};
use super::tls::{Certificate, listen};

/// A running one; it ends when this is dropped.
pub(crate) struct Http2Registry {
    /// Of 127.0.0.1.
    pub(crate) port: u16,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    _runtime: tokio::runtime::Runtime,
}

impl Http2Registry {
    /// Serves blobs of a repository by their digests, be it as manifests.
    pub(crate) fn start(
        certificate: &Certificate,
        repository: &str,
        blobs: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Self> {
        let mut contents = HashMap::from([(PING.to_owned(), Bytes::from_static(b"{}"))]);
        for (digest, bytes) in blobs {
            contents.insert(manifest_path(repository, digest), bytes.clone().into());
            contents.insert(blob_path(repository, digest), bytes.clone().into());
        }
        let contents = Arc::new(contents);
        let acceptor = TlsAcceptor::from(Arc::new(certificate.server(&[b"h2"])?));
        let (runtime, listener, port) = listen()?;
        let (connections, requests) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let (connected, asked) = (Arc::clone(&connections), Arc::clone(&requests));
        runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                connected.fetch_add(1, Ordering::SeqCst);
                let (acceptor, asked) = (acceptor.clone(), Arc::clone(&asked));
                let contents = Arc::clone(&contents);
                tokio::spawn(async move {
                    let client = acceptor.accept(client).await?;
                    let answer = |request: Request<Incoming>| {
                        asked.fetch_add(1, Ordering::SeqCst);
                        let content = contents.get(request.uri().path()).cloned();
                        let status = if content.is_some() {
                            StatusCode::OK
                        } else {
                            StatusCode::NOT_FOUND
                        };
                        let mut answer = Response::new(Full::new(content.unwrap_or_default()));
                        *answer.status_mut() = status;
                        async { Ok::<_, Infallible>(answer) }
                    };
                    let serving = http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(client), service_fn(answer));
                    serving.await.map_err(std::io::Error::other)
                });
            }
        });
        Ok(Self {
            port,
            connections,
            requests,
            _runtime: runtime,
        })
    }

    /// How many connections and requests there were.
    pub(crate) fn seen(&self) -> (usize, usize) {
        let of = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (of(&self.connections), of(&self.requests))
    }
}
