//! The program's settings of registries and what they are made of, without processes and the network.
//!
//! Two small types stand in for the program's own, whose files take in all of the rest.

#[path = "../../../src/registry/credentials.rs"]
pub mod credentials;
#[path = "guard.rs"]
pub mod guard;
#[path = "../../../src/registry/pattern.rs"]
pub mod pattern;
#[path = "../../../src/registry/settings.rs"]
pub mod settings;

use crate::report::ErrorKind;

/// Why something was not read.
#[derive(Debug)]
pub struct InspectError(pub ErrorKind, pub String);

impl InspectError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(kind, message.into())
    }
}

pub mod source {
    //! What is asked for.

    use std::ops::Deref;
    use std::sync::Arc;

    use crate::image::Repository;

    /// A repository, and for whom.
    #[derive(Debug)]
    pub struct Pull {
        pub repository: Repository,
        pub pullers: Arc<[()]>,
    }

    impl Deref for Pull {
        type Target = Repository;

        fn deref(&self) -> &Repository {
            &self.repository
        }
    }
}
