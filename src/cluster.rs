//! The live cluster: pages of pods, and the nodes' platforms where they may be listed.
//!
//! Bodies are bounded and parsed by [`crate::pod`], so that nothing of a pod but the fields that it
//! knows is ever held or logged.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use sha2::{Digest as _, Sha256};

use crate::pod::{ListError, ListItem, read_page};
use crate::report::Scope;
use crate::snapshot::{ClusterSnapshot, RowOptions, SnapshotBuilder};

/// Items in a page: what kubectl asks for.
const PAGE_ITEMS: u32 = 500;
/// A page's bytes at the most: 500 pods of the largest size that etcd stores would be 750 MB, real
/// ones take 2 to 20 MB.
const MAX_PAGE_BYTES: usize = 256 << 20;
/// How long a page may take.
const PAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why the cluster could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// No kubeconfig and no service account.
    #[error("no cluster is configured: set KUBECONFIG, or give a pod list with --pods")]
    Config(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The API server cannot be reached.
    #[error("could not list {plural}: the API server cannot be reached or broke off")]
    Connection {
        /// `pods` or `nodes`.
        plural: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answers with an error.
    #[error("could not list {plural}: the API server answered {status}{advice}")]
    Status {
        /// `pods` or `nodes`.
        plural: &'static str,
        /// HTTP status.
        status: u16,
        /// What to do.
        advice: &'static str,
    },
    /// It answers with something else.
    #[error("could not list {plural}: the answer is not a list")]
    Body {
        /// `pods` or `nodes`.
        plural: &'static str,
        /// The cause, which repeats nothing of the body.
        #[source]
        source: ListError,
    },
}

/// The name of the kubeconfig's current context.
pub fn current_context() -> Option<String> {
    Kubeconfig::read().ok()?.current_context
}

/// Whether we run in a pod.
pub fn in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// A connection to the cluster that the kubeconfig or the service account names.
pub struct Cluster {
    client: kube::Client,
    id: Option<String>,
}

impl Cluster {
    /// Prepares the connection; nothing is sent yet.
    pub async fn connect() -> Result<Self, ClusterError> {
        let config = match Kubeconfig::read() {
            Ok(kubeconfig) => {
                kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                    .await
                    .map_err(|e| ClusterError::Config(e.into()))?
            }
            Err(_) => kube::Config::incluster().map_err(|e| ClusterError::Config(e.into()))?,
        };
        let id = config.root_cert.as_ref().map(|certificates| {
            let mut hasher = Sha256::new();
            certificates
                .iter()
                .for_each(|certificate| hasher.update(certificate));
            hex::encode(hasher.finalize())
        });
        let client = kube::Client::try_from(config).map_err(|e| ClusterError::Config(e.into()))?;
        Ok(Self { client, id })
    }

    /// Lists all pods, and all nodes where that is allowed.
    pub async fn snapshot(self, options: RowOptions) -> Result<ClusterSnapshot, ClusterError> {
        let mut builder = SnapshotBuilder::new(options);
        match self
            .list("/api/v1/nodes", |node| builder.add_node(node))
            .await
        {
            Ok(()) => {}
            Err(ClusterError::Status { status: 403, .. }) => {
                tracing::warn!(
                    "nodes may not be listed: platforms come from node selectors or the default"
                );
            }
            Err(error) => return Err(error),
        }
        self.list("/api/v1/pods", |pod| builder.add_pod(pod))
            .await?;
        Ok(builder.finish(Scope::default(), self.id))
    }

    /// Goes through all pages of one list.
    async fn list<T: ListItem>(
        &self,
        path: &str,
        mut each: impl FnMut(T),
    ) -> Result<(), ClusterError> {
        let plural = T::PLURAL;
        let connection = |source: Box<dyn std::error::Error + Send + Sync>| {
            ClusterError::Connection { plural, source }
        };
        let mut token = None::<String>;
        loop {
            let mut query = form(token.as_deref());
            query.insert_str(0, path);
            let request = http::Request::get(query)
                .header("accept", "application/json")
                .body(Body::empty());
            let request = request.map_err(|e| connection(e.into()))?;
            let page = async {
                let response = self
                    .client
                    .send(request)
                    .await
                    .map_err(|e| connection(e.into()))?;
                let status = response.status().as_u16();
                if status != 200 {
                    return Err(ClusterError::Status {
                        plural,
                        status,
                        advice: advice(status),
                    });
                }
                let body = Limited::new(response.into_body(), MAX_PAGE_BYTES)
                    .collect()
                    .await;
                body.map(http_body_util::Collected::to_bytes)
                    .map_err(connection)
            };
            let page = tokio::time::timeout(PAGE_TIMEOUT, page)
                .await
                .map_err(|e| connection(e.into()))??;
            let end = read_page(&page[..], &mut each)
                .map_err(|source| ClusterError::Body { plural, source })?;
            token = end.continue_token;
            if token.is_none() {
                return Ok(());
            }
        }
    }
}

fn form(token: Option<&str>) -> String {
    // A continue token is base64url; escaping the rest keeps an odd one from becoming other parameters.
    let escaped = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    let token = token.map(|token| {
        format!(
            "&continue={}",
            token.bytes().map(escaped).collect::<String>()
        )
    });
    format!("?limit={PAGE_ITEMS}{}", token.unwrap_or_default())
}

fn advice(status: u16) -> &'static str {
    match status {
        401 => ": log in again",
        403 => ": a ClusterRole with `pods: list` is needed",
        410 => ": the list changed while it was read; run again",
        _ => "",
    }
}
