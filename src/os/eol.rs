//! The table of end-of-life dates: embedded, or from a file that replaces it.
//!
//! In: CSV of the embedded table's columns. Out: [`Release`]s. Which release a distribution is, and
//! what its dates mean on a given day, is decided in `eol_map`.

use std::io::Read;

use chrono::NaiveDate;
use serde::Deserialize;

/// The embedded table, taken from the endoflife.date data set as of [`EMBEDDED_AS_OF`].
const EMBEDDED: &str = include_str!("eol/releases.csv");

/// The notice of the embedded table's licence (MIT), which stays with the data.
pub const EOL_LICENSE: &str = include_str!("eol/LICENSE.endoflife.date");

/// The day of the embedded table: year, month, day.
const EMBEDDED_AS_OF: (i32, u32, u32) = (2026, 8, 22);

/// Days after which a table is called old: two releases of the distributions that appear twice a
/// year would be missing from it.
const STALE_AFTER_DAYS: i64 = 180;

/// Bytes read of a table: the embedded one is 26 KB, all of endoflife.date's under 1 MB.
const MAX_TABLE_BYTES: u64 = 16 * 1024 * 1024;

/// Release cycles and when their support ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EolTable {
    /// The day that the data is of; later releases are not in it.
    pub as_of: NaiveDate,
    releases: Vec<Release>,
}

/// One release cycle of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The product's name in the table, `debian`, `windows-server-core`.
    pub product: String,
    /// The cycle's name in the table, `12`, `24.04`, `cos-113`.
    pub cycle: String,
    /// The day of its release.
    pub release_date: Option<NaiveDate>,
    /// The end of the support that everyone gets.
    pub end_of_life: Ending,
    /// The end of LTS or paid support after that.
    pub end_of_extended_support: Ending,
    /// True for cycles that the table marks as long-term ones.
    pub lts: bool,
    /// The newest version of the cycle on the table's day; of Windows its build.
    pub latest: Option<String>,
}

/// When a support ends, as the table states it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ending {
    /// The table says nothing (an empty cell): there is no such support, as far as it knows.
    #[default]
    Unstated,
    /// Its last day.
    Date(NaiveDate),
    /// It is over, on a day not stated (`true`).
    Over,
    /// It goes on, to a day not stated (`false`).
    Open,
}

impl Ending {
    /// The last day, where it is stated.
    pub fn date(self) -> Option<NaiveDate> {
        match self {
            Self::Date(date) => Some(date),
            Self::Unstated | Self::Over | Self::Open => None,
        }
    }
}

/// A table that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EolError {
    /// Not CSV, or a column is missing.
    #[error(
        "the end-of-life data is no table of the expected columns (product, cycle, end_of_life, …)"
    )]
    Csv(#[source] csv::Error),
    /// A cell that should be a date.
    #[error(
        "line {line} of the end-of-life data: column {column} is neither YYYY-MM-DD, true, false nor empty"
    )]
    Date {
        /// The line, counted from 1.
        line: u64,
        /// The column's name.
        column: &'static str,
    },
    /// A table without rows would call everything unknown.
    #[error("the end-of-life data has no rows")]
    Empty,
}

/// A row as it stands in the file. Columns that are not needed are passed over.
#[derive(Deserialize)]
struct Row {
    product: String,
    cycle: String,
    end_of_life: String,
    #[serde(default)]
    release_date: String,
    #[serde(default)]
    end_of_extended_support: String,
    #[serde(default)]
    lts: String,
    #[serde(default)]
    latest: String,
}

impl EolTable {
    /// The table that the program carries.
    pub fn embedded() -> Self {
        let (year, month, day) = EMBEDDED_AS_OF;
        // A test reads the embedded table, so that neither fallback is ever taken.
        let as_of = NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default();
        Self::from_reader(EMBEDDED.as_bytes(), Some(as_of)).unwrap_or(Self {
            as_of,
            releases: Vec::new(),
        })
    }

    /// Reads a table in CSV, with the embedded table's columns in any order; lines that begin with
    /// `#` are comments. `as_of` is the data's day; without it the newest day of a release in the
    /// data stands for it, which can only be too early.
    ///
    /// # Errors
    /// [`EolError`], which names the line.
    pub fn from_reader(reader: impl Read, as_of: Option<NaiveDate>) -> Result<Self, EolError> {
        let mut csv = csv::ReaderBuilder::new()
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .from_reader(reader.take(MAX_TABLE_BYTES));
        let headers = csv.headers().map_err(EolError::Csv)?.clone();
        let mut releases = Vec::new();
        for record in csv.records() {
            let record = record.map_err(EolError::Csv)?;
            let line = record.position().map_or(0, csv::Position::line);
            let row: Row = record.deserialize(Some(&headers)).map_err(EolError::Csv)?;
            releases.push(row.parse(line)?);
        }
        let newest = releases
            .iter()
            .filter_map(|release| release.release_date)
            .max();
        if releases.is_empty() {
            return Err(EolError::Empty);
        }
        Ok(Self {
            as_of: as_of.or(newest).unwrap_or_default(),
            releases,
        })
    }

    /// All release cycles, in the table's order.
    pub fn releases(&self) -> &[Release] {
        &self.releases
    }

    /// True if the data is over 180 days old on this day.
    pub fn is_stale(&self, today: NaiveDate) -> bool {
        today.signed_duration_since(self.as_of).num_days() > STALE_AFTER_DAYS
    }

    /// A product's cycle by its name, whatever its letters' case.
    pub(super) fn cycle(&self, product: &str, cycle: &str) -> Option<&Release> {
        self.releases
            .iter()
            .find(|release| release.product == product && release.cycle.eq_ignore_ascii_case(cycle))
    }

    /// A product's cycle by its build (`10.0.17763`); of several the long-term one.
    pub(super) fn build(&self, product: &str, build: &str) -> Option<&Release> {
        let of_build = |release: &&Release| {
            release.product == product && release.latest.as_deref() == Some(build)
        };
        let candidates = || self.releases.iter().filter(of_build);
        candidates()
            .find(|release| release.lts)
            .or_else(|| candidates().next())
    }
}

impl Row {
    fn parse(self, line: u64) -> Result<Release, EolError> {
        let ending = |cell: &str, column| match cell {
            "" => Ok(Ending::Unstated),
            "true" => Ok(Ending::Over),
            "false" => Ok(Ending::Open),
            date => date
                .parse()
                .map(Ending::Date)
                .map_err(|_| EolError::Date { line, column }),
        };
        let text = |cell: String| (!cell.is_empty()).then_some(cell);
        Ok(Release {
            release_date: ending(&self.release_date, "release_date")?.date(),
            end_of_life: ending(&self.end_of_life, "end_of_life")?,
            end_of_extended_support: ending(
                &self.end_of_extended_support,
                "end_of_extended_support",
            )?,
            product: self.product,
            cycle: self.cycle,
            lts: self.lts == "true",
            latest: text(self.latest),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_table_is_whole_and_has_its_notice() {
        let table = EolTable::embedded();
        assert_eq!(table.as_of, NaiveDate::from_ymd_opt(2026, 8, 22).unwrap());
        assert_eq!(table.releases().len(), 482);
        assert!(EOL_LICENSE.contains("MIT") && EOL_LICENSE.contains("Copyright"));
        let debian = table.cycle("debian", "12").unwrap();
        assert_eq!(
            debian.end_of_life,
            Ending::Date(NaiveDate::from_ymd_opt(2026, 7, 11).unwrap())
        );
        assert_eq!(
            table.cycle("oracle-linux", "10").unwrap().end_of_life,
            Ending::Open
        );
        assert_eq!(
            table
                .build("windows-server-core", "10.0.17763")
                .unwrap()
                .cycle,
            "2019"
        );
    }

    #[test]
    fn a_table_is_stale_after_180_days() {
        let table = EolTable::embedded();
        let day = |days| table.as_of + chrono::Days::new(days);
        assert!(!table.is_stale(day(180)) && table.is_stale(day(181)));
        assert!(!table.is_stale(table.as_of - chrono::Days::new(1)));
    }

    #[test]
    fn a_file_may_have_other_columns_and_comments() {
        let text = "# of our own\ncycle,end_of_life,product,remark,release_date\n 1 ,true, ours ,x,2026-01-02\n";
        let table = EolTable::from_reader(text.as_bytes(), None).unwrap();
        assert_eq!(table.as_of, NaiveDate::from_ymd_opt(2026, 1, 2).unwrap());
        assert_eq!(table.cycle("ours", "1").unwrap().end_of_life, Ending::Over);
    }

    #[test]
    fn a_file_that_is_no_table_is_refused_with_its_line() {
        let read = |text: &str| {
            EolTable::from_reader(text.as_bytes(), None)
                .unwrap_err()
                .to_string()
        };
        assert!(read("product,cycle,end_of_life\na,1,soon\n").contains("line 2"));
        assert!(read("product,cycle\na,1\n").contains("expected columns"));
        assert!(read("product,cycle,end_of_life\n").contains("no rows"));
        assert!(read("").contains("no rows"));
        assert!(read("product,cycle,end_of_life\na,1\n").contains("expected columns"));
    }
}
