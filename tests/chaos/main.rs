//! Faults and attacks, counted: each scenario is done over many times against real servers, and says how
//! often something was lost, half visible or leaked, which must be never.
//!
//! `cargo test` runs a short form; `scripts/chaos` the whole, and writes the table of docs/reliability.md.

#[path = "../fixtures/mod.rs"]
mod fixtures;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../harness/hostile_images.rs"]
mod hostile_images;
#[path = "../harness/night.rs"]
mod night;

mod absent;
mod api_restart;
mod api_server;
mod disks;
mod hostile_strings;
mod killed;
mod memory;
mod nights;
mod s3_faults;
mod secrets;
mod soak;
mod tally;
mod together;
