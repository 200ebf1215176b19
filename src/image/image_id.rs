//! What a node reports as the running image: `status.containerStatuses[].imageID` in its many forms.
//!
//! The repository in an imageID is never used: nodes report a wrong one where two repositories hold
//! the same content (kubernetes#51017). Only the digest is taken.

use super::Digest;

/// The running image, as far as an imageID tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunningImage {
    /// The digest of an index or of a manifest (`repo@sha256:…`, `docker-pullable://repo@sha256:…`).
    Digest(Digest),
    /// A bare image id, the digest of the configuration (`sha256:…`, `docker://sha256:…`, 64 digits).
    ImageId(Digest),
    /// Nothing that could be used: empty while the container waits, or of an unknown form.
    Unknown,
}

impl RunningImage {
    /// Reads an imageID; never fails, since a form that nobody knows yet is just not known.
    pub fn parse(image_id: &str) -> Self {
        let image_id = image_id
            .split_once("://")
            .map_or(image_id, |(_, rest)| rest);
        if let Some((_, digest)) = image_id.rsplit_once('@') {
            return digest.parse().map_or(Self::Unknown, Self::Digest);
        }
        let bare = image_id.parse().or_else(|_| Digest::from_hex(image_id));
        bare.map_or(Self::Unknown, Self::ImageId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_form_is_read() {
        let digest = Digest::of(b"x");
        let hex = digest.hex();
        for repository in [
            "nginx",
            "docker.io/library/nginx",
            "docker-pullable://r:5000/a/b",
            "[::1]:5000/a",
        ] {
            let image_id = format!("{repository}@sha256:{hex}");
            assert_eq!(
                RunningImage::parse(&image_id),
                RunningImage::Digest(digest),
                "{image_id}"
            );
        }
        for image_id in [
            format!("sha256:{hex}"),
            format!("docker://sha256:{hex}"),
            hex.clone(),
        ] {
            assert_eq!(
                RunningImage::parse(&image_id),
                RunningImage::ImageId(digest),
                "{image_id}"
            );
        }
        for image_id in [
            "",
            "nginx:1.27",
            "repo@sha512:00",
            "repo@sha256:zz",
            "://",
            "@",
        ] {
            assert_eq!(
                RunningImage::parse(image_id),
                RunningImage::Unknown,
                "{image_id}"
            );
        }
    }
}
