//! Connections of the HTTP client: each by way of the guard, to the very address that it judged.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tower_service::Service;

use super::failure::Refused;
use super::target::Target;
use crate::registry::guard::{HostPort, Pass, Refusal, Rule, Stream, Verdict, Way};

/// Makes them, for one registry with one credential.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) way: Arc<Way>,
    pub(super) pass: Arc<Pass>,
}

/// A connection.
pub(super) struct Wire {
    stream: TokioIo<Box<dyn Stream>>,
    is_proxied: bool,
}

/// Whether it is the registry itself, on this machine: that was judged before anything was asked, and
/// is past every proxy, as with crane.
pub(super) fn is_own(pass: &Pass, host: &HostPort, plain: bool) -> bool {
    let registry = if plain {
        &pass.plain_registry
    } else {
        &pass.registry
    };
    host == registry && host.is_past_proxies()
}

impl Connector {
    async fn connect(self, uri: Uri) -> Result<Wire, Refused> {
        let target = Target::of(uri).ok_or(Refused(Verdict::Refused(Refusal {
            host: None,
            rule: Rule::Malformed,
        })))?;
        let Target { host, plain, .. } = &target;
        let (way, pass) = (&self.way, &self.pass);
        let (stream, is_proxied) = if is_own(pass, host, *plain) {
            (way.open_own(host).await.map_err(Refused)?, false)
        } else if *plain {
            let opened = way.open_plain(pass, host).await.map_err(Refused)?;
            (opened.stream, opened.is_proxied)
        } else {
            (way.open(pass, host).await.map_err(Refused)?, false)
        };
        Ok(Wire {
            stream: TokioIo::new(stream),
            is_proxied,
        })
    }
}

impl Service<Uri> for Connector {
    type Response = Wire;
    type Error = Refused;
    type Future = Pin<Box<dyn Future<Output = Result<Wire, Refused>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refused>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.is_proxied)
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
