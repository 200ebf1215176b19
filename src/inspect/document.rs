//! The documents of a registry: indexes, manifests and configurations, as far as they are looked at.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::image::{Digest, Platform};
use crate::registry::InspectError;
use crate::report::ErrorKind;

/// Labels and annotations that the OCI image specification predefines begin so ("Annotations").
pub(super) const OCI_LABELS: &str = "org.opencontainers.image.";
/// BuildKit's annotation of an index's entries that are no images.
const ATTESTATION: &str = "vnd.docker.reference.type";
/// Labels or annotations kept of one place; the specification has 14. Eight megabytes of empty ones
/// would be ten times that in memory.
const MAX_LABELS: usize = 1_000;
/// Steps of a history, with those that made no layer; a manifest has at most 1,000 layers.
const MAX_HISTORY: usize = 10_000;

/// A platform's manifest, and where it was found.
pub(super) struct PlatformManifest {
    pub(super) digest: Digest,
    pub(super) manifest: ManifestDocument,
    /// Annotations of its entry in the index, then those of the index itself.
    pub(super) index_annotations: [Labels; 2],
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) digest: Digest,
    #[serde(default)]
    pub(super) media_type: String,
    pub(super) size: Option<u64>,
    pub(super) platform: Option<DescribedPlatform>,
    #[serde(default)]
    pub(super) annotations: Labels,
}

#[derive(Debug, Deserialize)]
pub(super) struct DescribedPlatform {
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    pub(super) architecture: String,
    pub(super) variant: Option<String>,
    #[serde(rename = "os.version")]
    pub(super) os_version: Option<String>,
}

/// An index or a manifest.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ManifestDocument {
    pub(super) schema_version: u64,
    pub(super) artifact_type: Option<String>,
    pub(super) manifests: Option<Vec<Descriptor>>,
    pub(super) config: Option<Descriptor>,
    pub(super) layers: Option<Vec<Descriptor>>,
    pub(super) annotations: Option<Labels>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Configuration {
    pub(super) os: Option<String>,
    pub(super) architecture: Option<String>,
    pub(super) variant: Option<String>,
    #[serde(rename = "os.version")]
    pub(super) os_version: Option<String>,
    pub(super) created: Option<String>,
    pub(super) config: Option<RunConfiguration>,
    pub(super) history: Option<Steps>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct RunConfiguration {
    pub(super) user: Option<String>,
    pub(super) labels: Option<Labels>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct History {
    pub(super) created_by: Option<String>,
    pub(super) empty_layer: bool,
}

/// Labels or annotations, as far as they are looked at: others are read and dropped.
#[derive(Debug, Clone, Default)]
pub(super) struct Labels(pub(super) BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;
        impl<'de> Visitor<'de> for Bounded {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("texts by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut kept = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, String>()? {
                    let matters = key.starts_with(OCI_LABELS) || key == ATTESTATION;
                    if matters && kept.len() < MAX_LABELS {
                        kept.insert(key, value);
                    }
                }
                Ok(Labels(kept))
            }
        }
        deserializer.deserialize_map(Bounded)
    }
}

/// A history; an implausibly long one, of which no entry would be a certain layer's, as none.
#[derive(Debug, Default)]
pub(super) struct Steps(pub(super) Vec<History>);

impl<'de> Deserialize<'de> for Steps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;
        impl<'de> Visitor<'de> for Bounded {
            type Value = Steps;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("steps of a history")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Steps, A::Error> {
                let mut kept = Vec::new();
                while let Some(step) = seq.next_element()? {
                    if kept.len() == MAX_HISTORY {
                        while seq.next_element::<IgnoredAny>()?.is_some() {}
                        return Ok(Steps::default());
                    }
                    kept.push(step);
                }
                Ok(Steps(kept))
            }
        }
        deserializer.deserialize_seq(Bounded)
    }
}

/// The entry of an index that a node of `platform` runs.
pub(super) fn child_for<'a>(
    platform: &Platform,
    children: &'a [Descriptor],
) -> Option<&'a Descriptor> {
    let rank = |child: &&Descriptor| {
        let offered = child.platform.as_ref()?;
        platform.rank(&Platform {
            os: offered.os.clone(),
            architecture: offered.architecture.clone(),
            variant: offered.variant.clone(),
            os_version: offered.os_version.clone(),
        })
    };
    // BuildKit's attestations are children for no platform.
    let is_image = |child: &&Descriptor| !child.annotations.0.contains_key(ATTESTATION);
    let mut images = children.iter().filter(is_image);
    let ranked = images.clone().filter(|child| rank(child).is_some());
    ranked.min_by_key(rank).or_else(|| {
        // An only entry without a platform is what it is, as if there were no index.
        let only = images.next().filter(|child| child.platform.is_none())?;
        images.next().is_none().then_some(only)
    })
}

pub(super) fn is_image_configuration(media_type: &str) -> bool {
    matches!(
        media_type,
        "application/vnd.oci.image.config.v1+json"
            | "application/vnd.docker.container.image.v1+json"
    )
}

/// True for the types of layers that a runtime unpacks, whatever their compression, and for none.
pub(super) fn is_layer(media_type: &str) -> bool {
    media_type.is_empty()
        || media_type.starts_with("application/vnd.oci.image.layer.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.")
        || media_type.starts_with("application/vnd.docker.container.image.rootfs.")
}

pub(super) fn not_an_image(kind: Option<&str>) -> InspectError {
    let what = if kind.is_some_and(|kind| kind.contains("helm")) {
        "a Helm chart"
    } else {
        "another artifact"
    };
    InspectError::new(
        ErrorKind::Unsupported,
        format!("this is {what}, not an image: correct the pod's image"),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]
mod tests {
    use super::*;

    fn labels(text: &str) -> Vec<String> {
        let labels: Labels = serde_json::from_str(text).unwrap();
        labels.0.into_keys().collect()
    }

    #[test]
    fn labels_that_are_looked_at_are_kept_and_no_others() {
        let title = "org.opencontainers.image.title";
        let text = format!(r#"{{"a":"b","{title}":"x","{ATTESTATION}":"y"}}"#);
        assert_eq!(labels(&text), [title, ATTESTATION]);
        assert!(serde_json::from_str::<Labels>(r#"{"a":1}"#).is_err());

        let many: Vec<_> = (0..2_000)
            .map(|n| format!(r#""{OCI_LABELS}{n}":"""#))
            .collect();
        assert_eq!(labels(&format!("{{{}}}", many.join(","))).len(), MAX_LABELS);
    }

    #[test]
    fn a_history_that_is_implausibly_long_is_none() {
        for (steps, kept) in [(3, 3), (MAX_HISTORY, MAX_HISTORY), (MAX_HISTORY + 1, 0)] {
            let text = format!("[{}]", vec![r#"{"created_by":"x"}"#; steps].join(","));
            assert_eq!(serde_json::from_str::<Steps>(&text).unwrap().0.len(), kept);
        }
    }
}
