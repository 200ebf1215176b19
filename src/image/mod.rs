//! What names an image: reference, digest, platform, and the image id that a node reports.
//!
//! Pure: strings from pods flow in, validated values flow out. Nothing here knows a registry or a
//! process; a value of these types is safe to put into an argument list or an object key.

mod digest;
mod image_id;
mod platform;
mod reference;

pub use digest::{Digest, DigestError, Sha256Writer};
pub use image_id::RunningImage;
pub use platform::{Platform, PlatformError};
pub(crate) use reference::without_default_port;
pub use reference::{ImageReference, ReferenceError, Repository, without_user_info};
