//! Joins inspected images back to the containers that run them: the report.

use std::sync::Arc;

use super::Plan;
use crate::report::{ContainerRow, Header, ImageRecord, InspectionStatus, LayerRecord, Report};
use crate::snapshot::ClusterSnapshot;

/// Puts rows and images together. Targets that turned out to be the same image become one; images
/// are sorted by their identity. No row points at the `carried` ones.
pub fn join(
    header: Header,
    cluster: ClusterSnapshot,
    plan: Plan,
    mut images: Vec<ImageRecord>,
    carried: Vec<ImageRecord>,
    layers: Vec<LayerRecord>,
) -> Report {
    // Behind tonight's own, which win where both are the same image.
    images.extend(carried);
    let (sorted, places) = distinct(images);
    let rows = cluster.containers.into_iter().zip(plan.containers);
    let containers = rows
        .map(|(row, (target, tag, source))| {
            let image_index = places[target];
            ContainerRow {
                namespace: row.namespace,
                workload_kind: row.workload_kind,
                workload_name: row.workload_name,
                pod: row.pod,
                pod_phase: row.pod_phase,
                generate_name: row.generate_name,
                node: row.node,
                container: row.container,
                container_type: row.container_type,
                owner: row.owner,
                image: row.image,
                tag,
                digest_source: source.filter(|_| sorted[image_index].digest.is_some()),
                image_id: row.image_id,
                platform_source: row.platform_source,
                image_index,
            }
        })
        .collect();
    Report {
        header,
        images: sorted,
        layers,
        containers,
    }
}

/// The distinct images in the order of a report, and each record's place among them.
fn distinct(images: Vec<ImageRecord>) -> (Vec<ImageRecord>, Vec<usize>) {
    let mut order: Vec<usize> = (0..images.len()).collect();
    // One may know by a tag, or with another's credential, what the other could not ask for.
    order.sort_by_cached_key(|place| {
        let image = &images[*place];
        let is_known = image.inspection_status == InspectionStatus::Ok;
        (identity(image), !is_known)
    });
    let mut sorted: Vec<ImageRecord> = Vec::with_capacity(images.len());
    let mut places = vec![0; images.len()];
    for place in order {
        if sorted
            .last()
            .is_none_or(|last| identity(last) != identity(&images[place]))
        {
            sorted.push(images[place].clone());
        }
        places[place] = sorted.len() - 1;
    }
    (sorted, places)
}

/// What makes two records the same image, and the order of images in a report.
fn identity(image: &ImageRecord) -> impl Ord + use<> {
    // Failures without a digest stay apart by their reason, references that could not be read by
    // their rule.
    let reason = image.error_kind.filter(|_| image.digest.is_none());
    let rule = image
        .error_message
        .clone()
        .filter(|_| image.registry.is_none());
    (
        image.registry.clone(),
        image.repository.clone(),
        image.digest,
        image.tag.clone(),
        image.image_id,
        Arc::clone(&image.platform),
        reason,
        rule,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Digest, ImageReference, Platform};
    use crate::inspect::plan::{ImageTarget, Wanted};
    use crate::inspect::record::empty_record;
    use crate::report::ErrorKind;

    #[test]
    fn of_two_records_of_one_image_the_one_that_knows_it_counts()
    -> Result<(), Box<dyn std::error::Error>> {
        let repository = "registry.example/a".parse::<ImageReference>()?.repository;
        let target = ImageTarget {
            repository: Some(repository),
            wanted: Wanted::Digest(Digest::of(b"a")),
            platform: Arc::new(Platform::new("linux", "amd64")),
            pullers: Arc::default(),
        };
        let known = empty_record(&target);
        let failed = ImageRecord {
            inspection_status: InspectionStatus::Failed,
            error_kind: Some(ErrorKind::Unauthorized),
            ..known.clone()
        };
        for images in [[failed.clone(), known.clone()], [known, failed]] {
            let (sorted, places) = distinct(images.into());
            assert_eq!(sorted.len(), 1);
            assert_eq!(sorted[0].inspection_status, InspectionStatus::Ok);
            assert_eq!(places, [0, 0]);
        }
        Ok(())
    }
}
