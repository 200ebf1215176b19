//! Which cluster is meant, and a client for it.

use std::path::Path;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use sha2::{Digest as _, Sha256};

use crate::registry::guard::HostPort;

/// Why there is no cluster to list.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No kubeconfig and no service account.
    #[error("no cluster is configured: set KUBECONFIG, or give a pod list with --pods")]
    None,
    /// The kubeconfig cannot be used.
    #[error("the kubeconfig cannot be used: {0}")]
    Kubeconfig(String),
    /// The service account cannot be used.
    #[error(
        "the pod's service account cannot be used: set automountServiceAccountToken to true in the pod"
    )]
    ServiceAccount(#[source] kube::config::InClusterError),
    /// The client cannot be made.
    #[error("could not log in to the cluster: check the kubeconfig's user")]
    LogIn(#[source] Box<kube::Error>),
}

/// The name of the kubeconfig's current context.
pub fn current_context() -> Option<String> {
    Kubeconfig::read().ok()?.current_context
}

/// Whether we run in a pod.
pub fn in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

/// A cluster that was found.
pub(super) struct Access {
    pub(super) client: kube::Client,
    /// The SHA-256 of the API server's CA certificates, which needs no permission.
    pub(super) cluster_id: Option<String>,
    pub(super) api_server: Option<HostPort>,
}

/// A client for the kubeconfig's context, or else for the cluster that we run in.
pub(super) async fn client(context: Option<&str>) -> Result<Access, ConnectError> {
    let mut config = match Kubeconfig::read() {
        Ok(kubeconfig) => {
            let options = KubeConfigOptions {
                context: context.map(Into::into),
                ..KubeConfigOptions::default()
            };
            kube::Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .map_err(|error| ConnectError::Kubeconfig(explain(&error)))?
        }
        Err(error) if context.is_some() || !is_absent(&error) => {
            return Err(ConnectError::Kubeconfig(explain(&error)));
        }
        Err(_) if in_cluster() => {
            kube::Config::incluster().map_err(ConnectError::ServiceAccount)?
        }
        Err(_) => return Err(ConnectError::None),
    };
    // Retries are the lister's: kube's own leave out broken connections and 500.
    config.default_retry = false;
    let cluster_id = config.root_cert.as_ref().map(|certificates| {
        let mut hasher = Sha256::new();
        certificates
            .iter()
            .for_each(|certificate| hasher.update(certificate));
        hex::encode(hasher.finalize())
    });
    let url = &config.cluster_url;
    let is_plain = url.scheme_str() == Some("http");
    let default_port = Some(if is_plain { 80 } else { 443 });
    let authority = url.authority().map(http::uri::Authority::as_str);
    let api_server = authority.and_then(|text| HostPort::parse(text, default_port).ok());
    let client = kube::Client::try_from(config).map_err(|e| ConnectError::LogIn(e.into()))?;
    Ok(Access {
        client,
        cluster_id,
        api_server,
    })
}

/// Whether nobody has named a kubeconfig: then a service account may do.
fn is_absent(error: &KubeconfigError) -> bool {
    let named = std::env::var_os("KUBECONFIG").is_some_and(|value| !value.is_empty());
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(cause, _) => {
            cause.kind() == std::io::ErrorKind::NotFound && !named
        }
        _ => false,
    }
}

/// The error in words, without anything of the file: it holds keys and tokens, and kube's text on a
/// syntax error shows the line.
fn explain(error: &KubeconfigError) -> String {
    let shown = |path: &Path| path.display().to_string();
    match error {
        KubeconfigError::ReadConfig(cause, path) => format!("{}: {cause}", shown(path)),
        KubeconfigError::Parse(_) => {
            "it is not a kubeconfig in YAML: try `kubectl config view`".into()
        }
        KubeconfigError::CurrentContextNotSet => {
            "it has no current context: choose one with --context".into()
        }
        KubeconfigError::LoadContext(name) => {
            format!("it has no context {name}: `kubectl config get-contexts` lists them")
        }
        KubeconfigError::LoadClusterOfContext(name) => {
            format!("it has no cluster {name}, which the context names")
        }
        KubeconfigError::FindPath => "there is none: set KUBECONFIG".into(),
        other => other.to_string(),
    }
}
