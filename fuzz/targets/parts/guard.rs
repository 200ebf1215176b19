//! The program's guard as far as names of hosts go.

#[path = "../../../src/registry/guard/address.rs"]
mod address;
#[path = "../../../src/registry/guard/host_port.rs"]
mod host_port;
#[path = "../../../src/registry/guard/policy.rs"]
mod policy;
#[path = "../../../src/registry/guard/presets.rs"]
mod presets;

pub use host_port::{HostPort, HostPortError};
pub use policy::HostPattern;
