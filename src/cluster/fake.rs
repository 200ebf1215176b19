//! An API server that is faked as an HTTP service below kube's client: what a real one does rarely.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use tower::service_fn;

use super::fetch::{Fetcher, Patience};
use crate::sync::lock;

/// What the server does with one request.
#[derive(Clone)]
pub(super) enum Act {
    /// Status, extra header, body.
    Answer(u16, Option<(&'static str, &'static str)>, String),
    /// 200, and a body in gzip.
    Packed(Vec<u8>),
    Hang,
    /// The connection breaks before an answer.
    Reset,
    /// The answer breaks off in its body.
    BreakOff,
}

/// An error with a secret in its text.
pub(super) fn status(code: u16) -> Act {
    Act::Answer(
        code,
        None,
        r#"{"kind":"Status","message":"PASSWORD=hunter2"}"#.into(),
    )
}

fn whole(text: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, std::io::Error> {
    Full::new(text.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// What was asked for, in order.
pub(super) type Asked = Arc<Mutex<Vec<String>>>;

/// What asks a server that performs `acts` in turn and refuses what comes after them.
pub(super) fn server(acts: &[Act]) -> (Fetcher, Asked) {
    let acts = Arc::new(Mutex::new(VecDeque::from(acts.to_vec())));
    let asked = Asked::default();
    let log = Arc::clone(&asked);
    let service = service_fn(move |request: Request<Body>| {
        lock(&log).push(request.uri().to_string());
        let act = lock(&acts).pop_front().unwrap_or_else(|| status(418));
        async move {
            match act {
                Act::Answer(code, header, body) => {
                    let mut answer = Response::builder().status(code);
                    if let Some((name, value)) = header {
                        answer = answer.header(name, value);
                    }
                    Ok(answer.body(whole(body))?)
                }
                Act::Packed(body) => {
                    let answer = Response::builder().header("content-encoding", "gzip");
                    Ok(answer.body(whole(body))?)
                }
                Act::Hang => std::future::pending().await,
                Act::Reset => Err::<_, tower::BoxError>("connection reset".into()),
                Act::BreakOff => {
                    let pieces: [Result<Vec<u8>, std::io::Error>; 2] = [
                        Ok(br#"{"kind":"PodList","items":[{"metadata":{"name":"lost"}},"#.to_vec()),
                        Err(std::io::ErrorKind::ConnectionReset.into()),
                    ];
                    let frames = futures::stream::iter(pieces)
                        .map_ok(|piece| http_body::Frame::data(Bytes::from(piece)));
                    let body = http_body_util::StreamBody::new(frames);
                    Ok(Response::new(body.boxed_unsync()))
                }
            }
        }
    });
    let patience = Patience {
        attempt: Duration::from_millis(200),
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(4),
        retries: 3,
    };
    let fetcher = Fetcher::new(kube::Client::new(service, "default"), patience);
    (fetcher, asked)
}
