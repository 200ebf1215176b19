//! From documents to a record.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::document::{Configuration, Descriptor, OCI_LABELS, PlatformManifest};
use super::plan::{ImageTarget, Wanted};
use crate::report::{ImageRecord, InspectionStatus};

/// Longest text that is kept of a configuration, in bytes.
const MAX_TEXT_BYTES: usize = 1_024;

pub(super) fn text(text: &str) -> Option<String> {
    let text = &text[..text.floor_char_boundary(MAX_TEXT_BYTES)];
    (!text.is_empty()).then(|| text.to_owned())
}

pub(super) fn describe(
    record: &mut ImageRecord,
    found: &PlatformManifest,
    configuration: &Configuration,
    config: &Descriptor,
    layers: &[Descriptor],
) {
    let run = configuration.config.as_ref();
    let labels = run.and_then(|run| run.labels.as_ref());
    record.config_digest = Some(config.digest);
    record.os = configuration.os.as_deref().and_then(text);
    record.architecture = configuration.architecture.as_deref().and_then(text);
    record.variant = configuration.variant.as_deref().and_then(text);
    record.os_version = configuration.os_version.as_deref().and_then(text);
    // Reproducible builds set 1970 or year 1 for "no time": no image is older than Docker's first.
    record.created = configuration
        .created
        .as_deref()
        .and_then(|created| DateTime::parse_from_rfc3339(created).ok())
        .map(|created| created.with_timezone(&Utc))
        .filter(|created| created.timestamp() >= 315_532_800);
    let sizes: Option<Vec<u64>> = layers
        .iter()
        .chain([config])
        .map(|descriptor| descriptor.size)
        .collect();
    record.size_bytes = sizes.and_then(|sizes| sizes.into_iter().try_fold(0_u64, u64::checked_add));
    record.user = run.and_then(|run| run.user.as_deref()).and_then(text);
    record.labels = labels
        .into_iter()
        .flat_map(|labels| &labels.0)
        .filter(|(key, _)| key.starts_with(OCI_LABELS) && key.len() <= 128)
        .take(32)
        .filter_map(|(key, value)| Some((key.clone(), text(value)?)))
        .collect();
    let [entry, index] = &found.index_annotations;
    for (source, values) in [
        ("annotation", found.manifest.annotations.as_ref()),
        ("annotation", Some(entry)),
        ("annotation", Some(index)),
        ("label", labels),
    ] {
        let value = |key: &str| {
            values?
                .0
                .get(&format!("{OCI_LABELS}base.{key}"))
                .and_then(|value| text(value))
        };
        if let Some(name) = value("name") {
            let digest = value("digest").map_or_else(String::new, |digest| format!("@{digest}"));
            record.base_image = Some(if name.contains('@') {
                name
            } else {
                name + &digest
            });
            record.base_image_source = Some(source.into());
            break;
        }
    }
}

pub(super) fn empty_record(target: &ImageTarget) -> ImageRecord {
    let (tag, digest, image_id) = match &target.wanted {
        Wanted::Digest(digest) => (None, Some(*digest), None),
        Wanted::Tag(tag) => (Some(Arc::clone(tag)), None, None),
        Wanted::ImageId(id, pinned) => (pinned.as_ref().err().cloned(), None, Some(*id)),
        Wanted::NotRunning(tag) => (tag.clone(), None, None),
        Wanted::Invalid(_) => (None, None, None),
    };
    ImageRecord {
        registry: target
            .repository
            .as_ref()
            .map(|repository| Arc::clone(&repository.registry)),
        repository: target
            .repository
            .as_ref()
            .map(|repository| Arc::clone(&repository.path)),
        tag,
        digest,
        image_id,
        platform: Arc::clone(&target.platform),
        manifest_digest: None,
        config_digest: None,
        os: None,
        architecture: None,
        variant: None,
        os_version: None,
        distribution: None,
        distribution_layer: None,
        distribution_certain: false,
        distro_source: None,
        distro_release: None,
        eol_status: None,
        eol_date: None,
        eol_extended_date: None,
        base_image: None,
        base_image_source: None,
        created: None,
        size_bytes: None,
        user: None,
        labels: BTreeMap::new(),
        inspection_status: InspectionStatus::Ok,
        error_kind: None,
        error_message: None,
        inspected_via: None,
        inspected_at: None,
        waiting_since: None,
        last_seen: None,
    }
}
