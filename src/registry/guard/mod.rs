//! The guard: a proxy on loopback, the only way from crane to the network.
//!
//! In: the run's [`Rules`], and a [`Pass`] for each process. Out: a [`Ticket`] whose address goes into the
//! process's environment, and afterwards a [`Verdict`] on what it tried. crane follows redirects and
//! token realms wherever a registry sends it; here each host that it asks for is judged by its name,
//! resolved, judged by its addresses, and connected to at the very address that was judged.

mod address;
mod host_port;
mod policy;
mod presets;
mod proxy;
mod resolve;
mod site;
mod upstream;
mod visit;
mod way;

pub use address::Place;
pub use host_port::{HostPort, HostPortError};
pub use policy::{HostPattern, Pass, Refusal, Rule, Rules, check_name};
pub use presets::hosts_of;
pub use resolve::{Resolve, SystemResolver};
pub(in crate::registry) use upstream::Stream;
pub use upstream::{Upstream, UpstreamError};
pub use visit::Verdict;
pub use way::Way;

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use self::visit::Visit;
use crate::sync::lock;

/// The name beside the token in a process's proxy address.
const USER: &str = "crane";

/// What all connections share.
struct Shared {
    way: Arc<Way>,
    /// By the Proxy-Authorization that a process sends.
    visits: Mutex<HashMap<String, Arc<Visit>>>,
}

/// A running guard; it ends when this is dropped.
pub struct Guard {
    shared: Arc<Shared>,
    port: u16,
    accepting: AbortHandle,
}

impl Guard {
    /// Listens on a free port of 127.0.0.1.
    pub async fn on(way: Arc<Way>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            way,
            visits: Mutex::default(),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(Self {
            shared,
            port,
            accepting,
        })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets one process through, until the ticket is dropped.
    pub fn admit(&self, pass: Pass) -> io::Result<Ticket> {
        let mut token = [0; 16];
        getrandom::fill(&mut token).map_err(io::Error::other)?;
        let token = hex::encode(token);
        let credential = format!("Basic {}", STANDARD.encode(format!("{USER}:{token}")));
        let visit = Arc::new(Visit::new(pass));
        lock(&self.shared.visits).insert(credential.clone(), Arc::clone(&visit));
        Ok(Ticket {
            address: format!("http://{USER}:{token}@127.0.0.1:{}", self.port),
            credential,
            visit,
            shared: Arc::clone(&self.shared),
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One process's way through the guard.
pub struct Ticket {
    address: String,
    credential: String,
    visit: Arc<Visit>,
    shared: Arc<Shared>,
}

impl Ticket {
    /// The proxy's address with the process's token: a secret, for the environment only.
    pub fn proxy(&self) -> &str {
        &self.address
    }

    /// What explains best why the process failed, if the guard knows.
    pub fn verdict(&self) -> Option<Verdict> {
        self.visit.verdict()
    }

    /// The hosts that were reached, in their order.
    pub fn hosts(&self) -> Vec<HostPort> {
        self.visit.hosts()
    }

    /// Bytes that went through, in both directions.
    #[cfg(test)]
    pub fn bytes(&self) -> u64 {
        self.visit.bytes()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        lock(&self.shared.visits).remove(&self.credential);
        self.visit.over.cancel();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                tokio::spawn(proxy::serve(client, Arc::clone(&shared)));
            }
            // Out of file descriptors, most likely: some will come back.
            Err(error) => {
                tracing::warn!(%error, "the guard could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
