//! Which release cycle a distribution is, and what its dates mean on a given day.
//!
//! In: what identification found, a table, a day. Out: an [`EndOfLife`]. What the table does not know
//! is `unknown`, never `supported`: tables of other tools called new releases unsupported, and old
//! ones supported, because they had not heard of them.

use std::fmt;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::eol::{Ending, EolTable, Release};

/// Distributions that have no releases, so that no date applies.
const ROLLING: [&str; 7] = [
    "arch",
    "gentoo",
    "void",
    "kali",
    "opensuse-tumbleweed",
    "wolfi",
    "chainguard",
];

/// The product of CentOS Stream, which has CentOS's ID.
const CENTOS_STREAM: &str = "centos-stream";

/// Products of the table, the IDs of their distributions, and how their cycles are named.
const PRODUCTS: [(&str, &[&str], Naming); 20] = [
    ("alpine-linux", &["alpine"], Naming::Fields(2)),
    ("debian", &["debian"], Naming::Debian),
    ("ubuntu", &["ubuntu"], Naming::Whole),
    ("fedora", &["fedora"], Naming::Whole),
    ("nixos", &["nixos"], Naming::Fields(2)),
    ("amazon-linux", &["amzn"], Naming::Whole),
    ("rhel", &["rhel"], Naming::Fields(1)),
    ("rocky-linux", &["rocky"], Naming::Fields(1)),
    ("almalinux", &["almalinux"], Naming::Fields(1)),
    ("oracle-linux", &["ol"], Naming::Fields(1)),
    ("centos", &["centos"], Naming::Fields(1)),
    (
        "opensuse",
        &["opensuse-leap", "opensuse"],
        Naming::Fields(2),
    ),
    ("sles", &["sles"], Naming::PointZero),
    (
        "suse-linux-micro",
        &["sle-micro", "sl-micro", "suse-microos"],
        Naming::Whole,
    ),
    ("vmware-photon", &["photon"], Naming::Whole),
    ("cos", &["cos"], Naming::After("cos-")),
    ("devuan", &["devuan"], Naming::Fields(1)),
    ("clearlinux", &["clear-linux-os"], Naming::Only("current")),
    ("mageia", &["mageia"], Naming::Whole),
    // By their builds, whatever the ID.
    ("windows-server-core", &["windows"], Naming::Whole),
];

/// Which cycle a VERSION_ID is of.
#[derive(Debug, Clone, Copy)]
enum Naming {
    /// The cycle has its name.
    Whole,
    /// Its first fields: `15.2.1`, 2 → `15.2`.
    Fields(usize),
    /// The first field; before 4 a major release was two numbers.
    Debian,
    /// `15` → `15.0`.
    PointZero,
    /// `113` → `cos-113`.
    After(&'static str),
    /// There is but one.
    Only(&'static str),
}

impl Naming {
    fn cycle(self, version: &str) -> String {
        match self {
            Self::Whole => version.to_owned(),
            Self::Fields(count) => fields(version, count),
            Self::Debian => {
                let is_old = matches!(fields(version, 1).as_str(), "1" | "2" | "3");
                fields(version, if is_old { 2 } else { 1 })
            }
            Self::PointZero if version.contains('.') => version.to_owned(),
            Self::PointZero => format!("{version}.0"),
            Self::After(start) => format!("{start}{version}"),
            Self::Only(cycle) => cycle.to_owned(),
        }
    }
}

/// The IDs, as os-release has them, of the distributions that a product of the table is.
pub fn distro_ids(product: &str) -> &'static [&'static str] {
    match product {
        CENTOS_STREAM => &["centos"],
        "windows-nano-server" | "windows-server" => &["windows"],
        _ => PRODUCTS
            .iter()
            .find(|(known, _, _)| *known == product)
            .map_or(&[], |(_, ids, _)| ids),
    }
}

/// What the status is asked for: the fields of a distribution, and of a Windows image its build.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EolSubject<'a> {
    /// The distribution's ID.
    pub id: Option<&'a str>,
    /// Its VERSION_ID.
    pub version: Option<&'a str>,
    /// NAME of its os-release, or the older file's line: it tells CentOS Stream from CentOS.
    pub name: Option<&'a str>,
    /// Its point release, which tells a stable Debian from testing.
    pub release: Option<&'a str>,
    /// The configuration's `os.version`, for images of Windows.
    pub os_version: Option<&'a str>,
}

/// Support on one day. Dates are the last days of support, where the table states them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndOfLife {
    /// Nothing where the distribution is not known.
    pub status: Option<EolStatus>,
    /// The last day of ordinary support.
    pub date: Option<NaiveDate>,
    /// The last day of extended support.
    pub extended_date: Option<NaiveDate>,
}

/// What the dates mean on a day.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum EolStatus {
    /// In ordinary support.
    Supported,
    /// In ordinary support that ends within the days of warning.
    Ending,
    /// After ordinary support, in extended support (LTS, paid).
    Extended,
    /// After all support.
    Eol,
    /// A distribution without releases.
    Rolling,
    /// A distribution or release that the table does not know.
    Unknown,
}

impl fmt::Display for EolStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Supported => "supported",
            Self::Ending => "ending",
            Self::Extended => "extended",
            Self::Eol => "eol",
            Self::Rolling => "rolling",
            Self::Unknown => "unknown",
        })
    }
}

impl EolTable {
    /// The status on a day. `warn_days` before its end, and on its last day, support is `ending`;
    /// the day after, it is over.
    pub fn status(&self, subject: &EolSubject<'_>, today: NaiveDate, warn_days: u32) -> EndOfLife {
        let plain = |status| EndOfLife {
            status: Some(status),
            ..EndOfLife::default()
        };
        match self.find(subject) {
            Cycle::Nothing => EndOfLife::default(),
            Cycle::Rolling => plain(EolStatus::Rolling),
            Cycle::Of(None) => plain(EolStatus::Unknown),
            Cycle::Of(Some(release)) => EndOfLife {
                status: Some(status_on(release, today, warn_days)),
                date: release.end_of_life.date(),
                extended_date: release.end_of_extended_support.date(),
            },
        }
    }

    fn find(&self, subject: &EolSubject<'_>) -> Cycle<'_> {
        let Some(id) = subject.id.map(str::to_ascii_lowercase) else {
            return match subject.os_version.filter(|version| !version.is_empty()) {
                Some(os_version) => Cycle::Of(self.windows(os_version)),
                None => Cycle::Nothing,
            };
        };
        if is_rolling(&id, subject) {
            return Cycle::Rolling;
        }
        if id == "windows" {
            return Cycle::Of(
                subject
                    .os_version
                    .and_then(|os_version| self.windows(os_version)),
            );
        }
        let version = subject.version.filter(|version| !version.is_empty());
        Cycle::Of(version.and_then(|version| self.distribution(&id, version, subject.name)))
    }

    /// The cycle of a distribution; the rules are those of the table's own description.
    fn distribution(&self, id: &str, version: &str, name: Option<&str>) -> Option<&Release> {
        let is_stream = id == "centos" && name.is_some_and(|name| name.contains("Stream"));
        let (product, naming) = if is_stream {
            (CENTOS_STREAM, Naming::Fields(1))
        } else {
            PRODUCTS
                .iter()
                .find(|(_, ids, _)| ids.contains(&id))
                .map(|(product, _, naming)| (*product, *naming))?
        };
        self.cycle(product, &naming.cycle(version))
    }

    /// The cycle of a Windows build. The build does not tell which kind of image it is; where kinds
    /// differ in their dates, Server Core's count, the one that most images are made from.
    fn windows(&self, os_version: &str) -> Option<&Release> {
        let build = fields(os_version, 3);
        [
            "windows-server-core",
            "windows-nano-server",
            "windows-server",
        ]
        .into_iter()
        .find_map(|product| self.build(product, &build))
    }
}

/// What is known of a subject's release cycle.
enum Cycle<'a> {
    /// No distribution to look up.
    Nothing,
    Rolling,
    Of(Option<&'a Release>),
}

/// Distributions without releases, and those releases that come before one: Alpine edge, Debian
/// testing and unstable, which have no VERSION_ID, and Tumbleweed when its ID was openSUSE's.
fn is_rolling(id: &str, subject: &EolSubject<'_>) -> bool {
    let version = subject.version.filter(|version| !version.is_empty());
    let has_number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    match (id, version) {
        ("alpine", Some(version)) => version.contains("edge") || version.contains("_alpha"),
        ("debian", None) => !subject.release.is_some_and(has_number),
        ("opensuse", _) => subject.name.is_some_and(|name| name.contains("Tumbleweed")),
        _ => ROLLING.contains(&id),
    }
}

/// The first `count` fields of a version: `15.2.1`, 2 → `15.2`.
fn fields(version: &str, count: usize) -> String {
    version.split('.').take(count).collect::<Vec<_>>().join(".")
}

fn status_on(release: &Release, today: NaiveDate, warn_days: u32) -> EolStatus {
    match release.end_of_life {
        Ending::Unstated => return EolStatus::Unknown,
        Ending::Open => return EolStatus::Supported,
        Ending::Date(end) if today <= end => {
            let left = end.signed_duration_since(today).num_days();
            return if left <= i64::from(warn_days) {
                EolStatus::Ending
            } else {
                EolStatus::Supported
            };
        }
        Ending::Date(_) | Ending::Over => {}
    }
    match release.end_of_extended_support {
        Ending::Date(end) if today <= end => EolStatus::Extended,
        Ending::Open => EolStatus::Extended,
        Ending::Date(_) | Ending::Over | Ending::Unstated => EolStatus::Eol,
    }
}
