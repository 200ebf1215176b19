//! What a run tells Prometheus: rendered from its manifest, and pushed to a Pushgateway.

mod exposition;
mod push;

pub use exposition::exposition;
pub use push::{AddressError, PushError, Pushgateway};
