//! Tables that page.js searches, sorts and filters: their data as JSON, and their first rows as they
//! stand without JavaScript.
//!
//! Texts repeat from row to row, so each is written once and rows name its place.

use std::collections::HashMap;
use std::fmt::Write;

use serde::Serialize;

use super::words;

/// More rows than this no page holds; the CSV has all.
pub(super) const MAX_ROWS: usize = 20_000;
/// Rows of one page of the table, and without JavaScript all that there are of it.
pub(super) const PAGE_ROWS: usize = 100;

/// How a column's cells look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Look {
    Text,
    /// References and digests.
    Code,
    Number,
    Date,
    /// A coloured word of a list.
    Badge,
}

/// A column.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) look: Look,
    /// Whether a list of its values can be chosen from.
    pub(super) filter: bool,
    /// Whether it is shown in a row's details only.
    pub(super) detail: bool,
    /// Words in the order in which they sort, with the classes that they are shown in. Other words
    /// sort behind them.
    pub(super) words: Vec<(String, &'static str)>,
}

impl Column {
    pub(super) fn new(title: &'static str, look: Look) -> Self {
        Self {
            title,
            look,
            filter: false,
            detail: false,
            words: Vec::new(),
        }
    }

    pub(super) fn filtered(self) -> Self {
        Self {
            filter: true,
            ..self
        }
    }

    pub(super) fn detail(self) -> Self {
        Self {
            detail: true,
            ..self
        }
    }

    pub(super) fn words(self, words: Vec<(String, &'static str)>) -> Self {
        Self { words, ..self }
    }

    pub(super) fn is_number(&self) -> bool {
        self.look == Look::Number
    }

    fn class(&self, word: &str) -> &'static str {
        let known = self.words.iter().find(|(known, _)| known == word);
        known.map_or("plain", |(_, class)| class)
    }
}

/// What stands in a cell.
pub(super) enum Cell {
    /// It is not known.
    Unknown,
    Number(usize),
    Text(String),
    /// Several lines or words.
    Lines(Vec<String>),
}

impl Cell {
    /// A text of others.
    pub(super) fn text(text: Option<&str>) -> Self {
        text.map_or(Self::Unknown, |text| Self::Text(words::text(text)))
    }

    /// What is safe to show as it is.
    pub(super) fn shown(value: Option<impl ToString>) -> Self {
        value.map_or(Self::Unknown, |value| Self::Text(value.to_string()))
    }
}

/// A cell as the template shows it.
pub(super) struct Shown {
    /// The column's title.
    pub(super) title: &'static str,
    pub(super) look: Look,
    /// Lines and their classes; none where it is not known.
    pub(super) lines: Vec<(String, &'static str)>,
}

/// A reference in parts, between which a line may end.
pub(super) fn parts(line: &str) -> impl Iterator<Item = &str> {
    line.split_inclusive(['/', '@'])
}

impl Shown {
    pub(super) fn is(&self, look: &str) -> bool {
        match self.look {
            Look::Text => look == "text",
            Look::Code => look == "code",
            Look::Number => look == "number",
            Look::Date => look == "date",
            Look::Badge => look == "badge",
        }
    }
}

/// A table that rows are added to.
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    /// What a row is, for people: `container`.
    unit: &'static str,
    places: HashMap<String, usize>,
    texts: String,
    rows: String,
    pub(super) count: usize,
    /// The first page of rows, of the columns that are no details.
    pub(super) first: Vec<Vec<Shown>>,
}

impl Table {
    pub(super) fn new(unit: &'static str, columns: Vec<Column>) -> Self {
        Self {
            columns,
            unit,
            places: HashMap::new(),
            texts: String::new(),
            rows: String::new(),
            count: 0,
            first: Vec::new(),
        }
    }

    /// Adds a row with a cell for each column.
    pub(super) fn push(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.columns.len());
        if self.count > 0 {
            self.rows.push(',');
        }
        self.rows.push('[');
        for (number, cell) in cells.iter().enumerate() {
            if number > 0 {
                self.rows.push(',');
            }
            self.write_cell(cell);
        }
        self.rows.push(']');
        self.count += 1;
        if self.first.len() < PAGE_ROWS {
            let columns = self.columns.iter();
            let shown = columns.zip(cells).filter(|(column, _)| !column.detail);
            let shown = shown.map(|(column, cell)| show(column, cell)).collect();
            self.first.push(shown);
        }
    }

    fn write_cell(&mut self, cell: &Cell) {
        match cell {
            Cell::Unknown => self.rows.push_str("null"),
            Cell::Number(number) => {
                // Writing to a String cannot fail.
                let _ = write!(self.rows, "{number}");
            }
            Cell::Text(text) => {
                let place = self.place(text);
                let _ = write!(self.rows, "{place}");
            }
            Cell::Lines(lines) => {
                let places: Vec<_> = lines.iter().map(|line| self.place(line)).collect();
                let _ = write!(self.rows, "{places:?}");
            }
        }
    }

    fn place(&mut self, text: &str) -> usize {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = self.places.len();
        if place > 0 {
            self.texts.push(',');
        }
        self.texts.push_str(&json(&text));
        self.places.insert(text.to_owned(), place);
        place
    }

    /// The table's data, safe inside a script element.
    pub(super) fn json(&self) -> String {
        let columns = json(&self.columns);
        let unit = json(&self.unit);
        let (texts, rows) = (&self.texts, &self.rows);
        format!(
            "{{\"unit\":{unit},\"page\":{PAGE_ROWS},\"columns\":{columns},\n\
             \"texts\":[{texts}],\n\"rows\":[{rows}]}}"
        )
    }
}

/// JSON without what could end a script element, open another or be no JavaScript: `<`, `>`, `&` and
/// the two line separators. They stand in strings only, where an escape means the same.
pub(super) fn json(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).unwrap_or_default();
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' => safe.push_str("\\u003c"),
            '>' => safe.push_str("\\u003e"),
            '&' => safe.push_str("\\u0026"),
            '\u{2028}' => safe.push_str("\\u2028"),
            '\u{2029}' => safe.push_str("\\u2029"),
            other => safe.push(other),
        }
    }
    safe
}

fn show(column: &Column, cell: Cell) -> Shown {
    let lines = match cell {
        Cell::Unknown => Vec::new(),
        Cell::Number(number) => vec![words::number(number)],
        Cell::Text(text) => vec![text],
        Cell::Lines(lines) => lines,
    };
    let lines = lines.into_iter().map(|line| {
        let class = column.class(&line);
        (line, class)
    });
    Shown {
        title: column.title,
        look: column.look,
        lines: lines.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_json_cannot_leave_its_element() -> Result<(), serde_json::Error> {
        let text = "</script><!--<script>&amp;\u{2028}\u{2029}\"'\\";
        let safe = json(&text);
        assert!(
            !safe.contains(['<', '>', '&', '\u{2028}', '\u{2029}']),
            "{safe}"
        );
        assert_eq!(serde_json::from_str::<String>(&safe)?, text);
        Ok(())
    }

    #[test]
    fn a_text_is_written_once_and_rows_name_its_place() -> Result<(), serde_json::Error> {
        let columns = vec![
            Column::new("a", Look::Text),
            Column::new("b", Look::Number),
            Column::new("c", Look::Code).detail(),
        ];
        let mut table = Table::new("row", columns);
        for text in ["x", "y", "x"] {
            let lines = vec!["z".to_owned(), text.to_owned()];
            table.push(vec![
                Cell::text(Some(text)),
                Cell::Number(7),
                Cell::Lines(lines),
            ]);
        }
        table.push(vec![Cell::Unknown, Cell::Unknown, Cell::Unknown]);
        let data: serde_json::Value = serde_json::from_str(&table.json())?;
        assert_eq!(data["texts"], serde_json::json!(["x", "z", "y"]));
        let rows = serde_json::json!([
            [0, 7, [1, 0]],
            [2, 7, [1, 2]],
            [0, 7, [1, 0]],
            [null, null, null]
        ]);
        assert_eq!(data["rows"], rows);
        assert!(table.first.iter().all(|row| row.len() == 2));
        Ok(())
    }
}
