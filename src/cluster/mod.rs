//! The live cluster: all its pods, and the nodes' platforms where they may be listed.
//!
//! Settings and a [`Scope`] flow in, a [`ClusterSnapshot`] flows out: whole, or not at all, since a
//! part of a list would look like removals. Bodies are bounded and parsed by [`crate::pod`], so that
//! nothing of a pod but the fields that it knows is ever held or logged.

mod connect;
#[cfg(test)]
mod fake;
mod fetch;
mod list;
#[cfg(test)]
mod list_tests;
mod secrets;
#[cfg(test)]
mod secrets_tests;

pub use connect::{ConnectError, current_context, in_cluster};
pub use fetch::Problem;
pub use list::ListFailure;
pub use secrets::{PullSecrets, SecretFailure, SecretProblem};

use self::fetch::{Fetcher, Patience};
use self::list::{Lister, Listing};
use crate::pod::{ListItem, Node, Pod};
use crate::registry::guard::HostPort;
use crate::report::Scope;
use crate::snapshot::{ClusterSnapshot, RowOptions, SnapshotBuilder};

/// A list that expires without a token to go on from is started over this often; each time, all pages
/// are asked for again. The API server keeps a list for five minutes (etcd's compaction interval).
const STARTS: usize = 3;

/// A connection to the cluster that the kubeconfig or the service account names.
pub struct Cluster {
    fetcher: Fetcher,
    lister: Lister,
    id: Option<String>,
    api_server: Option<HostPort>,
}

impl Cluster {
    /// Prepares the connection to the kubeconfig's context, or to the cluster that we run in; nothing
    /// is sent yet.
    pub async fn connect(context: Option<&str>) -> Result<Self, ConnectError> {
        let access = connect::client(context).await?;
        let fetcher = Fetcher::new(access.client, Patience::default());
        Ok(Self::new(fetcher, access.cluster_id, access.api_server))
    }

    fn new(fetcher: Fetcher, id: Option<String>, api_server: Option<HostPort>) -> Self {
        let lister = Lister::new(fetcher.clone());
        Self {
            fetcher,
            lister,
            id,
            api_server,
        }
    }

    /// The pull secrets of pods, each asked for when it is first needed.
    pub fn pull_secrets(&self) -> PullSecrets {
        PullSecrets::new(&self.fetcher)
    }

    /// Where the API server is: no registry.
    pub fn api_server(&self) -> Option<HostPort> {
        self.api_server.clone()
    }

    /// Lists the pods of a scope, and all nodes where that is allowed.
    pub async fn snapshot(
        &self,
        scope: Scope,
        options: RowOptions,
    ) -> Result<ClusterSnapshot, ListFailure> {
        let empty = SnapshotBuilder::new(scope.clone(), options);
        let nodes = match starting_over(Node::PLURAL, || self.nodes(empty.clone())).await {
            Ok(nodes) => nodes,
            Err(failure) if failure.is_forbidden() => {
                tracing::warn!(
                    "{failure}; until then platforms come from node selectors or --default-platform"
                );
                empty
            }
            Err(failure) => return Err(failure),
        };
        let pods = starting_over(Pod::PLURAL, || self.pods(&scope, nodes.clone())).await?;
        Ok(pods.finish(self.id.clone()))
    }

    /// Whether a kind may be listed in a scope: asks for the first item only.
    pub async fn may_list<T: ListItem>(&self, scope: &Scope) -> Result<(), ListFailure> {
        for path in paths(T::PLURAL, scope) {
            self.lister
                .first::<T>(&path, scope.selector.as_deref())
                .await?;
        }
        Ok(())
    }

    /// All nodes; none if the list expired.
    async fn nodes(
        &self,
        mut builder: SnapshotBuilder,
    ) -> Result<Option<SnapshotBuilder>, ListFailure> {
        let add = |node: Node| builder.add_node(node);
        let listing = self.lister.all("/api/v1/nodes", None, add).await?;
        Ok((listing == Listing::Whole).then_some(builder))
    }

    /// All pods of a scope; none if the list expired.
    async fn pods(
        &self,
        scope: &Scope,
        mut builder: SnapshotBuilder,
    ) -> Result<Option<SnapshotBuilder>, ListFailure> {
        for path in paths(Pod::PLURAL, scope) {
            let mut found = false;
            let listing = self
                .lister
                .all(&path, scope.selector.as_deref(), |pod: Pod| {
                    found = true;
                    builder.add_pod(pod);
                })
                .await?;
            if let Listing::Expired = listing {
                return Ok(None);
            }
            if !found {
                tracing::warn!(
                    path,
                    "no pods here: check the namespace's name and --selector"
                );
            }
        }
        Ok(Some(builder))
    }
}

/// Lists until nothing expires meanwhile, if not too often.
async fn starting_over<T, F>(plural: &'static str, list: impl Fn() -> F) -> Result<T, ListFailure>
where
    F: Future<Output = Result<Option<T>, ListFailure>>,
{
    for start in 1..=STARTS {
        if let Some(listed) = list().await? {
            return Ok(listed);
        }
        if start < STARTS {
            tracing::warn!(
                plural,
                "a list expired while it was read: it is started over"
            );
        }
    }
    Err(ListFailure::expired(plural))
}

/// What is asked for: one list, or one for each namespace, for which a Role suffices.
fn paths(plural: &str, scope: &Scope) -> Vec<String> {
    if plural != Pod::PLURAL || scope.namespaces.is_empty() {
        return vec![format!("/api/v1/{plural}")];
    }
    let path = |namespace: &String| format!("/api/v1/namespaces/{namespace}/{plural}");
    scope.namespaces.iter().map(path).collect()
}
