//! What a report says in figures: by system, by namespace, by month, by workload, by reason.
//!
//! One pass over the containers. Pods that are over count nowhere here, as in [`Counts`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{Datelike, NaiveDate};

use super::support::Support;
use super::words;
use crate::os::system_name;
use crate::report::{Counts, ErrorKind, ImageRecord, InspectionStatus, Report};

/// Containers by support.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally([usize; Support::ALL.len()]);

impl Tally {
    pub(super) fn add(&mut self, support: Support, containers: usize) {
        if let Some(count) = self.0.get_mut(support as usize) {
            *count += containers;
        }
    }

    pub(super) fn of(&self, support: Support) -> usize {
        self.0.get(support as usize).copied().unwrap_or_default()
    }

    pub(super) fn total(&self) -> usize {
        self.0.iter().sum()
    }

    pub(super) fn join(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }
}

/// Containers of a workload on one system whose support has ended or ends soon. The order is that of
/// the fields: the worst first, of equals the largest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding<'a> {
    pub(super) support: Support,
    pub(super) containers: std::cmp::Reverse<usize>,
    pub(super) namespace: &'a str,
    pub(super) workload_kind: &'a str,
    pub(super) workload_name: &'a str,
    pub(super) system: Option<Arc<str>>,
    pub(super) eol_date: Option<NaiveDate>,
    pub(super) extended_date: Option<NaiveDate>,
    pub(super) owner: Option<&'a str>,
}

/// Images that could not be inspected for one reason.
#[derive(Debug)]
pub(super) struct Reason<'a> {
    pub(super) status: InspectionStatus,
    pub(super) kind: Option<ErrorKind>,
    pub(super) message: &'a str,
    pub(super) images: Vec<&'a ImageRecord>,
    pub(super) containers: usize,
    pub(super) namespaces: BTreeSet<&'a str>,
}

/// A month, by its year and number.
pub(super) type Month = (i32, u32);

/// The figures of a report.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) counts: Counts,
    pub(super) support: Tally,
    /// By distribution and version; without one under the empty name.
    pub(super) systems: BTreeMap<String, Tally>,
    pub(super) namespaces: BTreeMap<&'a str, Tally>,
    /// Containers whose system's ordinary support ends in a month.
    pub(super) months: BTreeMap<Month, usize>,
    pub(super) findings: Vec<Finding<'a>>,
    pub(super) reasons: Vec<Reason<'a>>,
}

impl<'a> Facts<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        let mut running = vec![0_usize; report.images.len()];
        // Once an image: a workload of its own may be every pod.
        let systems = report
            .images
            .iter()
            .map(|image| system(image).map(Arc::from));
        let systems: Vec<Option<Arc<str>>> = systems.collect();
        let mut namespaces = BTreeMap::<_, Tally>::new();
        let mut findings = BTreeMap::new();
        let mut reasons = BTreeMap::<_, Reason<'a>>::new();
        for container in &report.containers {
            let image = report.images.get(container.image_index);
            let (Some(image), false) = (image, container.is_over()) else {
                continue;
            };
            let is_first = running[container.image_index] == 0;
            running[container.image_index] += 1;
            let support = Support::of(image);
            let namespace = namespaces.entry(&*container.namespace).or_default();
            namespace.add(support, 1);
            if support.matters() {
                let workload = (
                    &*container.namespace,
                    &*container.workload_kind,
                    &*container.workload_name,
                );
                let dates = (image.eol_date, image.eol_extended_date);
                let owner = container.owner.as_deref();
                let system = systems[container.image_index].clone();
                let key = (support, workload, system, dates, owner);
                *findings.entry(key).or_insert(0_usize) += 1;
            }
            if image.inspection_status != InspectionStatus::Ok {
                let message = image.error_message.as_deref().unwrap_or_default();
                let key = (image.inspection_status, image.error_kind, message);
                let reason = reasons.entry(key).or_insert_with(|| Reason {
                    status: image.inspection_status,
                    kind: image.error_kind,
                    message,
                    images: Vec::new(),
                    containers: 0,
                    namespaces: BTreeSet::new(),
                });
                if is_first {
                    reason.images.push(image);
                }
                reason.containers += 1;
                reason.namespaces.insert(&container.namespace);
            }
        }
        let mut support = Tally::default();
        let mut by_system = BTreeMap::<_, Tally>::new();
        let mut months = BTreeMap::new();
        for ((image, system), containers) in report.images.iter().zip(&systems).zip(running) {
            if containers == 0 {
                continue;
            }
            let of_image = Support::of(image);
            support.add(of_image, containers);
            let system = system.as_deref().unwrap_or_default().to_owned();
            by_system
                .entry(system)
                .or_default()
                .add(of_image, containers);
            if let Some(date) = image.eol_date {
                *months.entry((date.year(), date.month())).or_insert(0) += containers;
            }
        }
        let mut reasons: Vec<_> = reasons.into_values().collect();
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.images.len()));
        Self {
            counts: Counts::of(report, report.pod_count()),
            support,
            systems: by_system,
            namespaces,
            months,
            findings: sorted(findings),
            reasons,
        }
    }
}

/// The part of a report's row that findings are grouped by.
type FindingKey<'a> = (
    Support,
    (&'a str, &'a str, &'a str),
    Option<Arc<str>>,
    (Option<NaiveDate>, Option<NaiveDate>),
    Option<&'a str>,
);

fn sorted(findings: BTreeMap<FindingKey<'_>, usize>) -> Vec<Finding<'_>> {
    let findings = findings.into_iter();
    let mut findings: Vec<_> = findings
        .map(|((support, workload, system, dates, owner), containers)| {
            let (namespace, workload_kind, workload_name) = workload;
            let (eol_date, extended_date) = dates;
            Finding {
                support,
                containers: std::cmp::Reverse(containers),
                namespace,
                workload_kind,
                workload_name,
                system,
                eol_date,
                extended_date,
                owner,
            }
        })
        .collect();
    findings.sort();
    findings
}

/// The distribution and version of an image; of Windows the release that its build tells.
pub(super) fn system(image: &ImageRecord) -> Option<String> {
    let Some(distribution) = &image.distribution else {
        let is_windows = image.os.as_deref() == Some("windows");
        let release = image.distro_release.as_deref().filter(|_| is_windows);
        return release.map(words::text);
    };
    let name = system_name(
        distribution.id.as_deref(),
        distribution.version.as_deref(),
        distribution.name.as_deref(),
    );
    name.as_deref().map(words::text)
}
