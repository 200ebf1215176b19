//! What operating system does each container of a Kubernetes cluster really run?
//!
//! The data flows one way: [`pod`] (slim pods from a file or the cluster) → [`snapshot`] (a row a
//! container) → [`inspect`] (each distinct image once, through [`registry`], identified by [`os`]) →
//! [`report`] (the model and its formats) → [`storage`] (keys and the store). [`metrics`] tell Prometheus of it.

pub mod cli;
pub mod cluster;
pub mod commands;
pub mod diff;
mod duration;
pub mod history;
pub mod image;
pub mod inspect;
mod intern;
pub mod metrics;
mod nearest;
pub mod os;
pub mod pod;
pub mod registry;
pub mod report;
pub mod reuse;
pub mod schemas;
pub mod snapshot;
pub mod storage;
mod sync;
pub mod terminal;
pub mod trend;
