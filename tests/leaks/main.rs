//! Leaks: hostile registries, realms and targets of redirects that remember every byte. No secret
//! arrives where it may not, nothing inside is reached, and logs, reports and command lines hold no
//! secret.
//!
//! Each scenario has a name, which its failure names, a secret and hosts of its own. `away` leads crane
//! to where it may not go; `credentials` tries for secrets of the operator, `tenants` for those of
//! tenants and with them; `here` is this machine, where names and addresses are real and the kernel
//! keeps crane; `processes` is what others on it can see, and may use.
//!
//! What else a hostile registry does is elsewhere: content that is forged, too large or endless, answers
//! that never come and headers that make crane panic in `bad_registry`, references that are flags or
//! paths in `hostile_pods`, names that lead elsewhere the second time in the guard's own tests.

#[path = "../fixtures/mod.rs"]
mod fixtures;
#[path = "../harness/mod.rs"]
mod harness;

mod away;
mod credentials;
mod here;
mod outside;
mod processes;
mod secrets;
#[path = "../harness/site.rs"]
mod site;
mod tenants;
