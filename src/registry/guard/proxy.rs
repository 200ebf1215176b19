//! The proxy itself: who asks, whether it may, and the bytes in between. hyper does the HTTP.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Shared;
use super::host_port::HostPort;
use super::policy::{Refusal, Rule};
use super::upstream::Stream;
use super::visit::{Counted, Verdict, Visit};
use super::way::Plain;
use crate::sync::lock;

/// Headers that concern one connection only (RFC 9110, 7.6.1), and what was meant for us.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authenticate"),
    PROXY_AUTHORIZATION,
    HeaderName::from_static("te"),
    HeaderName::from_static("trailer"),
    HeaderName::from_static("transfer-encoding"),
    HeaderName::from_static("upgrade"),
];

type Answer = Response<BoxBody<Bytes, hyper::Error>>;

/// Serves one connection of a client.
pub(super) async fn serve(client: TcpStream, shared: Arc<Shared>) {
    let answer_one = |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
    };
    // A client that breaks off is no event; what became of its request is noted elsewhere.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(client), service_fn(answer_one))
        .with_upgrades()
        .await;
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Answer {
    let Some(visit) = visitor(request.headers(), shared) else {
        let mut answer = plain_answer(StatusCode::PROXY_AUTHENTICATION_REQUIRED);
        let challenge = HeaderValue::from_static("Basic realm=\"image-census\"");
        let headers = answer.headers_mut();
        headers.insert(http::header::PROXY_AUTHENTICATE, challenge);
        return answer;
    };
    let result = if request.method() == Method::CONNECT {
        tunnel(request, &visit, shared).await
    } else {
        pass_on(request, &visit, shared).await
    };
    result.unwrap_or_else(|verdict| {
        let status = match &verdict {
            Verdict::Refused(_) | Verdict::TooMuch | Verdict::Endless => StatusCode::FORBIDDEN,
            Verdict::NoSuchHost(_) | Verdict::Unreachable(_) => StatusCode::BAD_GATEWAY,
        };
        if let Verdict::Refused(Refusal { host, rule }) = &verdict {
            let host = host.as_ref().map(ToString::to_string);
            tracing::debug!(registry = %visit.pass.registry, host, %rule, "refused");
        }
        visit.note(verdict);
        plain_answer(status)
    })
}

/// The process that a request comes from.
fn visitor(headers: &HeaderMap, shared: &Shared) -> Option<Arc<Visit>> {
    let credential = headers.get(PROXY_AUTHORIZATION)?.to_str().ok()?;
    lock(&shared.visits).get(credential).cloned()
}

/// CONNECT: bytes to and fro, of which TLS lets nobody see more.
async fn tunnel(
    request: Request<Incoming>,
    visit: &Arc<Visit>,
    shared: &Shared,
) -> Result<Answer, Verdict> {
    let host = host_of(request.uri().authority(), None)?;
    let stream = shared.way.open(&visit.pass, &host).await?;
    visit.note_host(&host);
    let mut upstream = counted(stream, visit);
    let passing = async move {
        let client = hyper::upgrade::on(request).await;
        let client = client.map_err(io::Error::other)?;
        tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut upstream).await
    };
    tokio::spawn(visit.over.clone().run_until_cancelled_owned(passing));
    Ok(plain_answer(StatusCode::OK))
}

/// Any other method: plain HTTP, one request a connection.
async fn pass_on(
    mut request: Request<Incoming>,
    visit: &Arc<Visit>,
    shared: &Shared,
) -> Result<Answer, Verdict> {
    let uri = request.uri().clone();
    let is_absolute = uri.scheme_str() == Some("http");
    let authority = uri.authority().filter(|_| is_absolute);
    let host = host_of(authority, Some(80))?;
    let unreachable = || Verdict::Unreachable(host.clone());
    let name = HeaderValue::from_str(authority.map_or("", Authority::as_str));
    let name = name.map_err(|_| unreachable())?;
    strip(request.headers_mut());
    request.headers_mut().insert(HOST, name);
    let Plain { stream, is_proxied } = shared.way.open_plain(&visit.pass, &host).await?;
    if !is_proxied {
        *request.uri_mut() = origin_form(&uri).ok_or_else(unreachable)?;
    } else if let Some(Some(credential)) = shared.way.proxy_in_clear(&host) {
        let headers = request.headers_mut();
        headers.insert(PROXY_AUTHORIZATION, credential);
    }
    visit.note_host(&host);
    let io = TokioIo::new(counted(stream, visit));
    let handshake = hyper::client::conn::http1::handshake(io).await;
    let (mut sender, connection) = handshake.map_err(|_| unreachable())?;
    tokio::spawn(visit.over.clone().run_until_cancelled_owned(connection));
    let answer = sender.send_request(request).await;
    let mut answer = answer.map_err(|_| unreachable())?.map(BodyExt::boxed);
    strip(answer.headers_mut());
    Ok(answer)
}

fn host_of(authority: Option<&Authority>, default_port: Option<u16>) -> Result<HostPort, Verdict> {
    let host = authority.map(|authority| HostPort::parse(authority.as_str(), default_port));
    host.and_then(Result::ok).ok_or(Verdict::Refused(Refusal {
        host: None,
        rule: Rule::Malformed,
    }))
}

fn counted(stream: Box<dyn Stream>, visit: &Arc<Visit>) -> Counted {
    Counted {
        stream,
        visit: Arc::clone(visit),
    }
}

/// Path and query, as a server wants them.
fn origin_form(uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    path.parse().ok()
}

fn strip(headers: &mut HeaderMap) {
    let named: Vec<_> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse::<HeaderName>().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn plain_answer(status: StatusCode) -> Answer {
    let body = Empty::new().map_err(|never| match never {}).boxed();
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer
}
