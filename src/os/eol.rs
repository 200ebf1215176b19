//! The table of end-of-life dates: embedded, or from a file that replaces it.
//!
//! In: CSV of the embedded table's columns. Out: [`Release`]s. Which release a distribution is, and
//! what its dates mean on a given day, is decided in `eol_map`.

use std::collections::HashMap;
use std::io::{self, Read};

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
    /// It could not be read as bytes.
    #[error("could not read the end-of-life data")]
    Read(#[source] io::Error),
    /// It is larger than any such table.
    #[error("the end-of-life data is over 16 MiB")]
    TooLarge,
    /// A line that is no row of such a table.
    #[error("line {line} of the end-of-life data: {problem}")]
    Line {
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A table without rows would call everything unknown.
    #[error("the end-of-life data has no rows")]
    Empty,
    /// Nothing tells how old the data is.
    #[error("the end-of-life data does not tell its day: add a column as_of or release_date")]
    NoDay,
}

/// The columns that a table must have.
const COLUMNS: [&str; 3] = ["product", "cycle", "end_of_life"];

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
    #[serde(default)]
    as_of: String,
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
    /// `#` are comments. `as_of` is the data's day; without it the newest day in its columns `as_of`
    /// or else `release_date` stands for it, which can only be too early.
    ///
    /// # Errors
    /// [`EolError`], which names the line.
    pub fn from_reader(mut reader: impl Read, as_of: Option<NaiveDate>) -> Result<Self, EolError> {
        let mut bytes = Vec::new();
        let limit = reader.by_ref().take(MAX_TABLE_BYTES + 1);
        io::BufReader::new(limit)
            .read_to_end(&mut bytes)
            .map_err(EolError::Read)?;
        if bytes.len() as u64 > MAX_TABLE_BYTES {
            return Err(EolError::TooLarge);
        }
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let mut csv = csv::ReaderBuilder::new()
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .from_reader(text);
        let headers = csv
            .headers()
            .map_err(|error| not_csv(text, &error))?
            .clone();
        let lacks = |column: &&&str| !headers.iter().any(|header| header == **column);
        if let Some(column) = COLUMNS.iter().find(lacks) {
            let line = line_of(text, headers.position());
            let problem =
                format!("no column is named {column} (there must be product, cycle, end_of_life)");
            return Err(EolError::Line { line, problem });
        }
        let mut releases = Vec::new();
        let mut days = Vec::new();
        let mut seen = HashMap::new();
        for record in csv.records() {
            let record = record.map_err(|error| not_csv(text, &error))?;
            let line = line_of(text, record.position());
            let row: Row = record
                .deserialize(Some(&headers))
                .map_err(|error| not_csv(text, &error))?;
            let (release, day) = row.parse(line)?;
            let name = (release.product.clone(), release.cycle.to_ascii_lowercase());
            if let Some(first) = seen.insert(name, line) {
                let problem = format!(
                    "{} {} stands in line {first} already",
                    release.product, release.cycle
                );
                return Err(EolError::Line { line, problem });
            }
            days.extend(day);
            releases.push(release);
        }
        if releases.is_empty() {
            return Err(EolError::Empty);
        }
        let released = releases.iter().filter_map(|release| release.release_date);
        let as_of = as_of
            .or(days.into_iter().max())
            .or(released.max())
            .ok_or(EolError::NoDay)?;
        Ok(Self { as_of, releases })
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
    /// The release, and the day that the row is of.
    fn parse(self, line: u64) -> Result<(Release, Option<NaiveDate>), EolError> {
        let wrong = |problem: String| EolError::Line { line, problem };
        let day = |cell: &str, column| match cell {
            "" => Ok(None),
            date => date
                .parse()
                .map(Some)
                .map_err(|_| wrong(format!("column {column} is neither YYYY-MM-DD nor empty"))),
        };
        let ending = |cell: &str, column| {
            match cell {
            "" => Ok(Ending::Unstated),
            "true" => Ok(Ending::Over),
            "false" => Ok(Ending::Open),
            date => date.parse().map(Ending::Date).map_err(|_| {
                wrong(format!(
                    "column {column} is neither YYYY-MM-DD, true (it is over), false (it goes on) nor empty"
                ))
            }),
        }
        };
        for (column, cell) in [("product", &self.product), ("cycle", &self.cycle)] {
            if cell.is_empty() {
                return Err(wrong(format!("column {column} is empty")));
            }
        }
        let text = |cell: String| (!cell.is_empty()).then_some(cell);
        let release = Release {
            release_date: day(&self.release_date, "release_date")?,
            end_of_life: ending(&self.end_of_life, "end_of_life")?,
            end_of_extended_support: ending(
                &self.end_of_extended_support,
                "end_of_extended_support",
            )?,
            product: self.product,
            cycle: self.cycle,
            lts: self.lts == "true",
            latest: text(self.latest),
        };
        Ok((release, day(&self.as_of, "as_of")?))
    }
}

/// What is wrong with the file's form, with its line.
fn not_csv(text: &[u8], error: &csv::Error) -> EolError {
    let problem = match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => format!("it has {len} cells, and the first line has {expected_len}"),
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
        _ => "it is no row of such a table".to_owned(),
    };
    let line = line_of(text, error.position());
    EolError::Line { line, problem }
}

/// The line of a record. The position is where reading it began: at the comments and empty lines
/// before it.
fn line_of(text: &[u8], position: Option<&csv::Position>) -> u64 {
    let Some(position) = position else { return 1 };
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let passed_over = text
        .get(start..)
        .unwrap_or_default()
        .split_inclusive(|byte| *byte == b'\n')
        .take_while(|line| line.starts_with(b"#") || matches!(line, [b'\n'] | [b'\r', b'\n']));
    position.line() + passed_over.count() as u64
}
