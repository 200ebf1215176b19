//! How one registry is reached: what its settings say, and what of its limits is left in this run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::guard::HostPattern;
use super::pattern::is_docker_hub;
use super::settings::RegistryEntry;

/// Requests that a crane process makes at the most when nothing goes wrong: `/v2/`, a token, the content.
const REQUESTS_OF_A_PROCESS: f64 = 3.0;
/// Manifests that Docker Hub gives in 6 hours without a login: <https://docs.docker.com/docker-hub/usage/>.
const DOCKER_HUB_MANIFESTS: u64 = 100;

/// A registry as a run deals with it.
#[derive(Debug)]
pub(super) struct Access {
    /// Time limit of a request; and the window in which layers must show progress.
    pub(super) timeout: Duration,
    /// Whether plain HTTP and unknown certificates are allowed.
    pub(super) is_insecure: bool,
    /// Certificates to trust besides the system's.
    pub(super) ca_bundle: Option<PathBuf>,
    /// Its token and blob hosts.
    pub(super) hosts: Vec<HostPattern>,
    /// Least time between the starts of two processes.
    pub(super) gap: Duration,
    permits: Option<Arc<Semaphore>>,
    manifests: Budget,
}

/// How many manifests may still be asked for.
#[derive(Debug)]
struct Budget {
    left: AtomicU64,
    /// Whether those that are asked for with a credential count.
    counts_logins: bool,
}

impl Access {
    /// Reads what the settings say.
    pub(super) fn new(registry: &str, entry: Option<&RegistryEntry>, timeout: Duration) -> Self {
        let manifests = match entry.and_then(|entry| entry.manifests_per_run) {
            Some(left) => Budget::new(left, true),
            None if is_docker_hub(registry) => Budget::new(DOCKER_HUB_MANIFESTS, false),
            None => Budget::new(u64::MAX, false),
        };
        let Some(entry) = entry else {
            return Self {
                timeout,
                is_insecure: false,
                ca_bundle: None,
                hosts: Vec::new(),
                gap: Duration::ZERO,
                permits: None,
                manifests,
            };
        };
        Self {
            timeout: entry.timeout.unwrap_or(timeout),
            is_insecure: entry.insecure,
            ca_bundle: entry.ca_bundle.clone(),
            hosts: [&*entry.token_hosts, &*entry.blob_hosts].concat(),
            gap: entry.requests_per_second.map_or(Duration::ZERO, |rate| {
                Duration::from_secs_f64(REQUESTS_OF_A_PROCESS / rate)
            }),
            permits: entry
                .concurrency
                .map(|permits| Arc::new(Semaphore::new(permits))),
            manifests,
        }
    }

    /// Waits until one more process may run.
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let permits = Arc::clone(self.permits.as_ref()?);
        // It is never closed.
        permits.acquire_owned().await.ok()
    }

    /// Takes a manifest from the budget. Without one left it is refused, unless it is a `child`, which
    /// finishes what was begun.
    pub(super) fn may_ask_for_manifest(&self, has_credential: bool, child: bool) -> bool {
        let Budget {
            left,
            counts_logins,
        } = &self.manifests;
        if has_credential && !counts_logins {
            return true;
        }
        let one_less = |left: u64| left.checked_sub(1);
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
            || child
    }
}

impl Budget {
    fn new(left: u64, counts_logins: bool) -> Self {
        Self {
            left: AtomicU64::new(left),
            counts_logins,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_but_what_was_begun_is_finished() {
        let hub = Access::new("docker.io", None, Duration::ZERO);
        for _ in 0..DOCKER_HUB_MANIFESTS {
            assert!(hub.may_ask_for_manifest(false, false));
        }
        assert!(!hub.may_ask_for_manifest(false, false));
        assert!(hub.may_ask_for_manifest(false, true));
        assert!(hub.may_ask_for_manifest(true, false), "a login has its own");
        let other = Access::new("quay.io", None, Duration::ZERO);
        assert!((0..1_000).all(|_| other.may_ask_for_manifest(false, false)));
    }
}
