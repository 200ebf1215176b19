//! What the summary counts: containers of pods that are not over, by support, namespace and system.

use std::collections::{BTreeMap, HashSet};

use chrono::NaiveDate;

use crate::os::EolStatus;
use crate::report::{ContainerRow, ImageRecord, InspectionStatus, Report};

/// How a container's system stands. The order is that of its weight to an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    Status(EolStatus),
    NoDistribution,
    NotInspected,
}

/// All of them, the worst first.
pub(super) const STANDINGS: [Standing; 8] = [
    Standing::Status(EolStatus::Eol),
    Standing::Status(EolStatus::Extended),
    Standing::Status(EolStatus::Ending),
    Standing::Status(EolStatus::Supported),
    Standing::Status(EolStatus::Rolling),
    Standing::Status(EolStatus::Unknown),
    Standing::NoDistribution,
    Standing::NotInspected,
];

impl Standing {
    fn of(image: &ImageRecord) -> Self {
        match (image.eol_status, image.inspection_status) {
            (Some(status), _) => Self::Status(status),
            (None, InspectionStatus::Ok) => Self::NoDistribution,
            (None, _) => Self::NotInspected,
        }
    }

    pub(super) fn name(self) -> String {
        match self {
            Self::Status(status) => status.to_string(),
            Self::NoDistribution => "no distribution".into(),
            Self::NotInspected => "not inspected".into(),
        }
    }

    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::Status(EolStatus::Eol) => "Support is over, the extended one too",
            Self::Status(EolStatus::Extended) => "Only extended or paid support is left",
            Self::Status(EolStatus::Ending) => "Support ends soon",
            Self::Status(EolStatus::Supported) => "Supported",
            Self::Status(EolStatus::Rolling) => {
                "A rolling release: current as long as it is rebuilt"
            }
            Self::Status(EolStatus::Unknown) => {
                "A distribution that the end-of-life table does not have"
            }
            Self::NoDistribution => "Inspected, and there is no distribution in the image",
            Self::NotInspected => "Not known: see the sheet Not inspected",
        }
    }
}

/// A version of a distribution, or the words for why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct System<'a> {
    pub(super) id: &'a str,
    pub(super) version: Option<&'a str>,
    pub(super) status: Option<EolStatus>,
    pub(super) eol_date: Option<NaiveDate>,
    pub(super) eol_extended_date: Option<NaiveDate>,
}

impl<'a> System<'a> {
    fn of(image: &'a ImageRecord) -> Self {
        let distribution = image.distribution.as_ref();
        let named = distribution.and_then(|d| d.id.as_deref().or(d.name.as_deref()));
        let windows = image.os.as_deref().filter(|os| *os == "windows");
        let version = distribution.and_then(|d| d.version.as_deref());
        let (id, version) = match (named, windows, image.inspection_status) {
            (Some(named), ..) => (named, version),
            (None, Some(windows), _) => (windows, image.distro_release.as_deref()),
            (None, None, InspectionStatus::Ok) => ("(no distribution)", None),
            (None, None, _) => ("(not inspected)", None),
        };
        Self {
            id,
            version,
            status: image.eol_status,
            eol_date: image.eol_date,
            eol_extended_date: image.eol_extended_date,
        }
    }
}

/// Counts of some containers.
#[derive(Debug, Default)]
pub(super) struct Count<'a> {
    pub(super) containers: u64,
    pub(super) workloads: u64,
    /// The name of their system that came first.
    pub(super) name: Option<&'a str>,
    images: HashSet<usize>,
    last: Option<(&'a str, &'a str, &'a str)>,
}

impl<'a> Count<'a> {
    /// Rows come sorted, so that those of a workload are neighbours.
    fn add(&mut self, row: &'a ContainerRow, image: &'a ImageRecord) {
        let workload = (&*row.namespace, &*row.workload_kind, &*row.workload_name);
        self.containers += 1;
        self.workloads += u64::from(self.last.replace(workload) != Some(workload));
        self.images.insert(row.image_index);
        let name = || image.distribution.as_ref()?.name.as_deref();
        self.name = self.name.or_else(name);
    }

    pub(super) fn images(&self) -> u64 {
        self.images.len() as u64
    }
}

/// All that the summary counts.
#[derive(Debug, Default)]
pub(super) struct Tally<'a> {
    pub(super) standings: BTreeMap<Standing, Count<'a>>,
    pub(super) systems: BTreeMap<System<'a>, Count<'a>>,
    pub(super) namespaces: BTreeMap<&'a str, (Count<'a>, BTreeMap<Standing, u64>)>,
    pub(super) namespace_systems: BTreeMap<&'a str, BTreeMap<System<'a>, Count<'a>>>,
}

impl<'a> Tally<'a> {
    pub(super) fn of(report: &'a Report) -> Self {
        let mut tally = Self::default();
        for row in &report.containers {
            let Some(image) = report.images.get(row.image_index) else {
                continue;
            };
            if row.is_over() {
                continue;
            }
            let (standing, system) = (Standing::of(image), System::of(image));
            tally.standings.entry(standing).or_default().add(row, image);
            tally.systems.entry(system).or_default().add(row, image);
            let (all, standings) = tally.namespaces.entry(&row.namespace).or_default();
            all.add(row, image);
            *standings.entry(standing).or_default() += 1;
            let systems = tally.namespace_systems.entry(&row.namespace).or_default();
            systems.entry(system).or_default().add(row, image);
        }
        tally
    }
}
