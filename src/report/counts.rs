//! The counts that a manifest keeps, so that a list or a trend reads no report.
//!
//! Pods that are over (Succeeded, Failed) count as `not_running` only.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ErrorKind, ImageRecord, InspectionStatus, Report};
use crate::os::EolStatus;

/// Counts of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Distinct pods, those that are over included.
    pub pods: usize,
    /// Containers of pods that are not over.
    pub containers: usize,
    /// Containers of pods that are over.
    pub not_running: usize,
    /// Distinct images of pods that are not over.
    pub images: usize,
    /// Images that are `failed`, `partial`, or `skipped` for another reason than their pod being over.
    pub not_inspected: usize,
    /// By distribution and version.
    pub by_distribution: Vec<DistributionCount>,
    /// By end-of-life status.
    pub by_eol_status: Vec<EolCount>,
    /// By registry.
    pub by_registry: Vec<RegistryCount>,
    /// By status and error kind.
    pub by_inspection_status: Vec<StatusCount>,
}

/// Containers and images of a distribution's version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "named after the columns")]
pub struct DistributionCount {
    pub distro_id: Option<String>,
    pub distro_version: Option<String>,
    pub containers: usize,
    pub images: usize,
}

/// Containers and images of an end-of-life status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "named after the columns")]
pub struct EolCount {
    pub eol_status: Option<EolStatus>,
    pub containers: usize,
    pub images: usize,
}

/// Containers and images of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "named after the columns")]
pub struct RegistryCount {
    pub registry: Option<String>,
    pub containers: usize,
    pub images: usize,
}

/// Containers and images of an inspection status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(missing_docs, reason = "named after the columns")]
pub struct StatusCount {
    pub inspection_status: InspectionStatus,
    pub error_kind: Option<ErrorKind>,
    pub containers: usize,
    pub images: usize,
}

impl Counts {
    /// Images that could not be inspected, by reason; those of pods that are over aside.
    pub fn reasons(&self) -> BTreeMap<String, usize> {
        let mut reasons = BTreeMap::new();
        for count in &self.by_inspection_status {
            if count.inspection_status != InspectionStatus::Ok
                && let Some(kind) = count.error_kind
            {
                *reasons.entry(kind.name()).or_default() += count.images;
            }
        }
        reasons
    }

    /// Counts a report; `pods` is the number of distinct pods.
    pub fn of(report: &Report, pods: usize) -> Self {
        let mut running = vec![0_usize; report.images.len()];
        let mut not_running = 0;
        for container in &report.containers {
            if container.is_over() {
                not_running += 1;
            } else if let Some(count) = running.get_mut(container.image_index) {
                *count += 1;
            }
        }
        let used: Vec<_> = report
            .images
            .iter()
            .zip(running)
            .filter(|(_, containers)| *containers > 0)
            .collect();
        Self {
            pods,
            containers: used.iter().map(|(_, containers)| containers).sum(),
            not_running,
            images: used.len(),
            not_inspected: used
                .iter()
                .filter(|(image, _)| image.inspection_status != InspectionStatus::Ok)
                .count(),
            by_distribution: tally(&used, |image| {
                let distribution = image.distribution.as_ref();
                (
                    distribution.and_then(|d| d.id.clone()),
                    distribution.and_then(|d| d.version.clone()),
                )
            })
            .map(
                |((distro_id, distro_version), containers, images)| DistributionCount {
                    distro_id,
                    distro_version,
                    containers,
                    images,
                },
            )
            .collect(),
            by_eol_status: tally(&used, |image| {
                image.eol_status.map(|status| status.to_string())
            })
            .filter_map(|(name, containers, images)| {
                let eol_status = serde_json::from_value(name.into()).ok()?;
                Some(EolCount {
                    eol_status,
                    containers,
                    images,
                })
            })
            .collect(),
            by_registry: tally(&used, |image| image.registry.as_deref().map(str::to_owned))
                .map(|(registry, containers, images)| RegistryCount {
                    registry,
                    containers,
                    images,
                })
                .collect(),
            by_inspection_status: tally(&used, |image| (image.inspection_status, image.error_kind))
                .map(
                    |((inspection_status, error_kind), containers, images)| StatusCount {
                        inspection_status,
                        error_kind,
                        containers,
                        images,
                    },
                )
                .collect(),
        }
    }
}

fn tally<K: Ord>(
    used: &[(&ImageRecord, usize)],
    key: impl Fn(&ImageRecord) -> K,
) -> impl Iterator<Item = (K, usize, usize)> {
    let mut counts = BTreeMap::<K, (usize, usize)>::new();
    for (image, containers) in used {
        let count = counts.entry(key(image)).or_default();
        count.0 += containers;
        count.1 += 1;
    }
    counts
        .into_iter()
        .map(|(key, (containers, images))| (key, containers, images))
}
