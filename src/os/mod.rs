//! What operating system is in an image: from the bytes of its layers to a distribution, its Windows
//! release name and its end-of-life status.
//!
//! The data flow, bottom up:
//!
//! 1. [`scan_layer`] reads one layer blob as a stream and keeps a [`LayerFinding`]: the few entries
//!    that identification can need. Findings are serialisable; a report carries them to later nights.
//! 2. [`RootView`] merges findings, bottom first, as overlayfs would: whiteouts, opaque directories,
//!    replaced directories, links resolved inside the root.
//! 3. [`identify`] asks the view for release files in a fixed order and answers with a
//!    [`Distribution`] that names file, layer and rule.
//! 4. [`next_step`] decides which layer to read next and when the answer stands.
//! 5. [`windows`] names Windows builds; [`EolTable`] knows the dates.
//!
//! Everything here is pure: it knows no cluster, process, registry, clock, environment or file
//! system. Readers, dates and limits are arguments. An answer is the image author's *claim*; nothing
//! here verifies that an image runs what it says.

mod content;
mod distro;
mod eol;
mod eol_map;
mod finding;
mod history;
mod known;
mod layer;
mod legacy;
mod limits;
mod meter;
mod names;
mod os_release;
mod path;
mod plan;
mod redhat;
mod rootfs;
mod sparse;
mod tree;
pub mod windows;

#[cfg(test)]
mod cases_eol;
#[cfg(test)]
mod cases_legacy;
#[cfg(test)]
mod cases_os_release;
#[cfg(test)]
mod eol_tests;
#[cfg(test)]
mod layer_bounds_tests;
#[cfg(test)]
mod layer_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tree_tests;
#[cfg(test)]
mod unpacking_tests;

pub use distro::{Distribution, Identification, RULES_VERSION, Rule, identify, system_name};
pub use eol::{EOL_LICENSE, Ending, EolError, EolTable, Release};
pub use eol_map::{EndOfLife, EolStatus, EolSubject, distro_ids};
pub use finding::{Entry, LayerFinding, ScanRequest};
pub use history::{HistoryEntry, LayerInfo, layer_infos};
pub use layer::scan_layer;
pub use limits::{LayerError, Limit, MalformedLayer, ScanLimits};
pub use os_release::OsRelease;
pub use plan::{Certainty, LayerPolicy, LayerPolicyError, LayerState, Step, next_step};
pub use rootfs::{Lookup, RootView};
