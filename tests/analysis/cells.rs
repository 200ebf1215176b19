//! The cells of a CSV as RFC 4180 has them, beside what an engine reads.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::harness::hostile::TEXTS;
use crate::harness::{Result, files_below, root};
use crate::recipes::Answer;

/// A file's head and rows, with the two columns that its folders are.
pub(crate) struct Cells {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Cells {
    /// Of the one file in a store.
    pub(crate) fn read(store: &Path) -> Result<Self> {
        let files = files_below(&store.join("csv"))?;
        let [file] = &Vec::from_iter(files)[..] else {
            return Err("not one file".into());
        };
        let mut folders = file.split('/').filter_map(|part| part.split_once('='));
        let (cluster, dt) = (
            folders.next().ok_or("no cluster")?,
            folders.next().ok_or("no day")?,
        );
        let text = fs::read_to_string(store.join("csv").join(file))?;
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let with = |record: &csv::StringRecord, cluster: &str, dt: &str| {
            record
                .iter()
                .chain([cluster, dt])
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let columns = with(reader.headers()?, cluster.0, dt.0);
        let mut rows = Vec::new();
        for record in reader.records() {
            rows.push(with(&record?, cluster.1, dt.1));
        }
        rows.sort();
        // Every text, and the one pod with an image, whose columns have types.
        assert_eq!(rows.len(), TEXTS.len() + 1);
        Ok(Self { columns, rows })
    }

    /// What the NDJSON of the same store has: texts as they were.
    pub(crate) fn read_lines(store: &Path) -> Result<Self> {
        let columns = Self::read(store)?.columns;
        let file = files_below(&store.join("ndjson"))?;
        let file = file.first().ok_or("no file")?;
        let mut folders = file.split('/').filter_map(|part| part.split_once('='));
        let mut next = || folders.next().map(|(_, value)| value.to_owned());
        let last = [next().ok_or("no cluster")?, next().ok_or("no day")?];
        let mut rows = Vec::new();
        for line in fs::read_to_string(store.join("ndjson").join(file))?.lines() {
            let line: Value = serde_json::from_str(line)?;
            let own = columns[..columns.len() - 2].iter();
            let own = own.map(|column| match &line[column] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            });
            rows.push(own.chain(last.clone()).collect());
        }
        rows.sort();
        Ok(Self { columns, rows })
    }

    /// All rows, with the kinds of columns that the table's schema gives.
    pub(crate) fn expect_read(&self, answer: &Answer) -> Result {
        let columns: Vec<_> = self.columns.iter().map(String::as_str).collect();
        self.expect_rows(&answer.sorted(&columns)?, columns.len())?;
        let schema = fs::read(root().join("schemas/containers.tableschema.json"))?;
        let schema: Value = serde_json::from_slice(&schema)?;
        let fields = schema["fields"].as_array().ok_or("no fields")?;
        assert_eq!(fields.len() + 2, columns.len());
        for field in fields {
            let place = answer
                .columns
                .iter()
                .position(|name| field["name"] == *name);
            let kind = &answer.kinds[place.ok_or("a column is missing")?];
            assert_eq!(field["type"], **kind, "{}", field["name"]);
        }
        Ok(())
    }

    /// All rows as far as the columns go that the answer has, which are texts.
    pub(crate) fn expect_read_as_text(&self, answer: &Answer) -> Result {
        let columns: Vec<_> = self.columns.iter().map(String::as_str).collect();
        let (own, folders) = columns.split_at(columns.len() - 2);
        let count = answer.columns.len() - 2;
        let columns = [&own[..count], folders].concat();
        self.expect_rows(&answer.sorted(&columns)?, count)?;
        assert!(
            answer.kinds.iter().all(|kind| kind == "string"),
            "{:?}",
            answer.kinds
        );
        Ok(())
    }

    fn expect_rows(&self, read: &[Vec<String>], count: usize) -> Result {
        assert_eq!(read.len(), self.rows.len());
        for (read, row) in read.iter().zip(&self.rows) {
            for ((read, cell), column) in read.iter().zip(row).zip(&self.columns).take(count) {
                assert_eq!(read, cell, "{column} of {:?}", row[6]);
            }
        }
        Ok(())
    }
}
