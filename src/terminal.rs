//! Tables for people: they fit the terminal, align numbers, and colour by meaning.

use std::io::IsTerminal;

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, Width};

use crate::os::EolStatus;

/// What a colour stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// As it should be.
    Good,
    /// To be looked at.
    Warning,
    /// To be acted upon.
    Bad,
}

impl Meaning {
    /// What a status of support means; nothing where it is not known.
    pub fn of(status: EolStatus) -> Option<Self> {
        match status {
            EolStatus::Eol => Some(Self::Bad),
            EolStatus::Ending | EolStatus::Extended => Some(Self::Warning),
            EolStatus::Supported | EolStatus::Rolling => Some(Self::Good),
            EolStatus::Unknown => None,
        }
    }
}

/// Whether and how wide a table is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Columns of characters; none where there is no terminal.
    pub width: Option<u16>,
    /// Whether colours are wanted.
    pub colour: bool,
}

impl Terminal {
    /// Standard output, unless the table goes elsewhere.
    pub fn of_stdout(may_be_terminal: bool) -> Self {
        let is_terminal = may_be_terminal && std::io::stdout().is_terminal();
        let width = is_terminal.then(|| Table::new().width()).flatten();
        // no-color.org: present and not empty.
        let colour =
            is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { width, colour }
    }

    /// An empty table that fits, with these columns.
    pub fn table<T: Into<Cell>>(self, header: impl IntoIterator<Item = T>) -> Table {
        let mut table = Table::new();
        table.load_style(NOTHING);
        if let Some(width) = self.width {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width);
        }
        if self.colour {
            table.enforce_styling();
        }
        table.set_header(header.into_iter().map(Into::into).collect::<Vec<Cell>>());
        table
    }

    /// A cell in the colour of what it means.
    pub fn cell(self, text: impl ToString, meaning: Option<Meaning>) -> Cell {
        let cell = Cell::new(text);
        match meaning.filter(|_| self.colour) {
            Some(Meaning::Good) => cell.fg(Color::Green),
            Some(Meaning::Warning) => cell.fg(Color::Yellow),
            Some(Meaning::Bad) => cell.fg(Color::Red),
            None => cell,
        }
    }
}

/// Aligns columns of numbers to the right.
pub fn align_numbers(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for place in columns {
        if let Some(column) = table.column_mut(place) {
            column.set_cell_alignment(CellAlignment::Right);
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

/// Keeps columns on one line each, however narrow the terminal is: names of runs, days.
pub fn keep_whole(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for place in columns {
        if let Some(column) = table.column_mut(place) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

/// Gives columns at least a width (in characters, with the space on either side), so that lines break
/// between words.
pub fn keep_words(table: &mut Table, columns: impl IntoIterator<Item = (usize, u16)>) {
    for (place, width) in columns {
        if let Some(column) = table.column_mut(place) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
        }
    }
}
