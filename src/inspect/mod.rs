//! From containers to inspected images: each distinct image once, each manifest, configuration and
//! layer once, whatever shares it.
//!
//! A [`ClusterSnapshot`](crate::snapshot::ClusterSnapshot)'s rows flow in, [`ImageRecord`](crate::report::ImageRecord)s and the rows that point at them flow out. A
//! failure is a row, never the end of a run. Content is hashed here, against the digest that it was
//! asked for by; layers are verified by the engine and used only then.

mod document;
mod inspector;
mod join;
mod layers;
mod plan;
mod record;

pub use inspector::{Inspector, InspectorSettings};
pub use join::join;
pub use plan::{ImageTarget, Plan, Wanted};
