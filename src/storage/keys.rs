//! Every object key: derived from cluster, run id and format, never taken from a manifest.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SubsecRound, Utc};

use crate::report::Compression;

/// A cluster's name: `[a-z0-9][a-z0-9._-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(String);

/// A text that is no cluster name or run id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not a cluster name.
    #[error(
        "a cluster name is 1 to 63 of a-z, 0-9, dot, dash and underscore, and starts with a letter or digit"
    )]
    Cluster,
    /// Not a run id.
    #[error("a run id is its time and four hexadecimal digits, e.g. 20261123T020000Z-1f3a")]
    Run,
}

impl ClusterName {
    /// Makes a name of any text, as a kubeconfig's context: other characters become dashes.
    pub fn cleaned(text: &str) -> Option<Self> {
        let known =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
        let text: String = text
            .to_ascii_lowercase()
            .chars()
            .map(|c| if known(c) { c } else { '-' })
            .collect();
        text.trim_matches(['.', '_', '-'])
            .chars()
            .take(63)
            .collect::<String>()
            .parse()
            .ok()
    }
}

impl FromStr for ClusterName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let valid = (1..=63).contains(&text.len())
            && text
                .bytes()
                .enumerate()
                .all(|(at, b)| word(b) || (at > 0 && matches!(b, b'.' | b'_' | b'-')));
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(NameError::Cluster)
        }
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A run's name: the start of its listing, UTC, and four hexadecimal digits: the part of the second, so
/// that of two runs within one second the later is the later by name, or random ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId {
    time: DateTime<Utc>,
    suffix: u16,
}

const RUN_TIME: &str = "%Y%m%dT%H%M%SZ";

impl RunId {
    /// A run of the second `time`, told from others of it by some digits.
    pub fn new(time: DateTime<Utc>, suffix: u16) -> Self {
        let time = time.trunc_subsecs(0);
        Self { time, suffix }
    }

    /// A run that starts now: its digits count the 65,536ths of the second.
    pub fn starting(now: DateTime<Utc>) -> Self {
        // A leap second counts as more than 10⁹.
        let nanoseconds = u64::from(now.timestamp_subsec_nanos()).min(999_999_999);
        let suffix = (nanoseconds << 16) / 1_000_000_000;
        Self::new(now, u16::try_from(suffix).unwrap_or(u16::MAX))
    }

    /// The start of the listing.
    pub fn time(&self) -> DateTime<Utc> {
        self.time
    }

    /// The run's partition, written `YYYY-MM-DD`.
    pub fn date(&self) -> NaiveDate {
        self.time.date_naive()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:04x}", self.time.format(RUN_TIME), self.suffix)
    }
}

impl FromStr for RunId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (time, suffix) = text.split_once('-').ok_or(NameError::Run)?;
        let time = NaiveDateTime::parse_from_str(time, RUN_TIME)
            .map_err(|_| NameError::Run)?
            .and_utc();
        let run = Self {
            time,
            suffix: u16::from_str_radix(suffix, 16).map_err(|_| NameError::Run)?,
        };
        // Exactly one spelling each.
        if run.to_string() == text {
            Ok(run)
        } else {
            Err(NameError::Run)
        }
    }
}

/// A kind of file of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// A row per container.
    Csv,
    /// A row per workload, container and image.
    Workloads,
    /// The report.
    Json,
    /// A line per container, typed, for engines.
    Ndjson,
    /// A row per container in typed columns, for engines.
    Parquet,
    /// A row per image in typed columns, for engines.
    ParquetImages,
    /// A workbook for a spreadsheet program.
    Xlsx,
    /// A page for a browser.
    Html,
    /// What changed since the last complete run of an earlier day.
    Diff,
    /// The commit.
    Manifest,
}

impl Format {
    /// The first part of the key.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Workloads => "workloads",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
            Self::ParquetImages => "parquet-images",
            Self::Xlsx => "xlsx",
            Self::Html => "html",
            Self::Diff => "diff",
            Self::Manifest => "manifest",
        }
    }

    /// All of them, the manifest last, as they are written.
    pub const ALL: [Self; 10] = [
        Self::Csv,
        Self::Workloads,
        Self::Json,
        Self::Ndjson,
        Self::Parquet,
        Self::ParquetImages,
        Self::Xlsx,
        Self::Html,
        Self::Diff,
        Self::Manifest,
    ];

    /// What the keys of files of this kind begin with: of a cluster's, or of all.
    pub fn folder(self, cluster: Option<&ClusterName>) -> String {
        match cluster {
            Some(cluster) => format!("{}/cluster={cluster}/", self.name()),
            None => format!("{}/", self.name()),
        }
    }

    fn extension(self) -> &'static str {
        match self {
            Self::Csv | Self::Workloads => "csv",
            Self::Json | Self::Diff | Self::Manifest => "json",
            Self::Ndjson => "ndjson",
            Self::Parquet | Self::ParquetImages => "parquet",
            Self::Xlsx => "xlsx",
            Self::Html => "html",
        }
    }

    /// Whether it is something else than text.
    pub fn is_binary(self) -> bool {
        matches!(self, Self::Parquet | Self::ParquetImages | Self::Xlsx)
    }

    /// Whether it shows the nights before, too.
    pub fn shows_nights(self) -> bool {
        self == Self::Html
    }

    /// Whether it is written compressed where that is asked for.
    pub fn is_compressible(self) -> bool {
        matches!(
            self,
            Self::Csv | Self::Workloads | Self::Json | Self::Ndjson
        )
    }
}

/// What all keys of a run are derived from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunKey {
    /// The run.
    pub run: RunId,
    /// Its cluster.
    pub cluster: ClusterName,
}

impl RunKey {
    /// The key of one of the run's files, if it is not compressed.
    pub fn object(&self, format: Format) -> String {
        self.object_as(format, None)
    }

    /// The key of one of the run's files.
    pub fn object_as(&self, format: Format, compression: Option<Compression>) -> String {
        let end = compression.map_or_else(String::new, |by| format!(".{}", by.extension()));
        let Self { run, cluster } = self;
        let (name, date, extension) = (format.name(), run.date(), format.extension());
        format!("{name}/cluster={cluster}/dt={date}/image-census_{cluster}_{run}.{extension}{end}")
    }

    /// Reads the key of a run's file; anything else is none of ours.
    pub fn from_key(key: &str, format: Format) -> Option<Self> {
        let rest = key.strip_prefix(&format.folder(None))?;
        let (cluster, _) = rest.strip_prefix("cluster=")?.split_once('/')?;
        let cluster: ClusterName = cluster.parse().ok()?;
        let file = key.rsplit('/').next()?.strip_prefix("image-census_")?;
        let (file, _) = file.strip_prefix(&format!("{cluster}_"))?.split_once('.')?;
        let run = file.parse().ok()?;
        let found = Self { run, cluster };
        let compressions = Compression::ALL.into_iter().map(Some);
        let compressions = compressions.filter(|_| format.is_compressible());
        let mut spellings = compressions.chain([None]);
        spellings
            .any(|compression| found.object_as(format, compression) == key)
            .then_some(found)
    }
}

/// The one key that is rewritten: it names a cluster's newest run.
pub fn latest_key(cluster: &ClusterName) -> String {
    format!("latest/cluster={cluster}.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_contract() -> Result<(), NameError> {
        let key = RunKey {
            run: "20261123T020000Z-1f3a".parse()?,
            cluster: "prod.eu_1".parse()?,
        };
        let csv =
            "csv/cluster=prod.eu_1/dt=2026-11-23/image-census_prod.eu_1_20261123T020000Z-1f3a.csv";
        assert_eq!(key.object(Format::Csv), csv);
        let manifest = key.object(Format::Manifest);
        assert_eq!(
            RunKey::from_key(&manifest, Format::Manifest),
            Some(key.clone())
        );
        let compressed = key.object_as(Format::Csv, Some(Compression::Zstd));
        assert_eq!(compressed, format!("{csv}.zst"));
        assert_eq!(
            RunKey::from_key(&compressed, Format::Csv),
            Some(key.clone())
        );
        assert_eq!(RunKey::from_key(csv, Format::Csv), Some(key));
        for odd in [
            csv.into(),
            manifest.replace("dt=2026-11-23", "dt=2026-11-24"),
            manifest.replace("1f3a", "1F3A"),
            format!("{manifest}.part"),
            format!("{manifest}.gz"),
            manifest.replace("manifest/", "manifest/../"),
        ] {
            assert_eq!(RunKey::from_key(&odd, Format::Manifest), None, "{odd}");
        }
        Ok(())
    }

    #[test]
    fn of_two_runs_within_a_second_the_later_has_the_later_name() -> Result<(), NameError> {
        let second: RunId = "20261123T020000Z-0000".parse()?;
        let starting = |nanoseconds| {
            RunId::starting(second.time() + chrono::TimeDelta::nanoseconds(nanoseconds))
        };
        let names = [0, 15_259, 500_000_000, 999_999_999].map(|at| starting(at).to_string());
        let digits = ["0000", "0001", "8000", "ffff"];
        assert_eq!(
            names,
            digits.map(|digits| format!("20261123T020000Z-{digits}"))
        );
        assert!(starting(999_999_999) < starting(1_000_000_000));
        // Read back, it is the same run.
        assert_eq!(names[3].parse::<RunId>()?, starting(999_999_999));
        Ok(())
    }

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "A",
            "-a",
            "a b",
            "a\n",
            &"a".repeat(64),
        ] {
            assert!(name.parse::<ClusterName>().is_err(), "{name}");
        }
        let cleaned = ClusterName::cleaned("arn:aws:eks:EU/prod").map(|name| name.to_string());
        assert_eq!(cleaned.as_deref(), Some("arn-aws-eks-eu-prod"));
    }
}
