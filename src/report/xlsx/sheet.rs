//! A table on a sheet: head, rows, widths, colours.

use rust_xlsxwriter::{
    ConditionalFormatCell, ConditionalFormatCellRule, Format, IgnoreError, Table as NativeTable,
    TableColumn, TableStyle, Worksheet, XlsxError,
};

use super::stretch::Stretch;
use super::styles::{self, Styles};
use crate::report::rows::Value;
use crate::report::{Column, ColumnType, plain};

/// Digits that a spreadsheet keeps of a number.
const MAX_EXACT: u64 = 999_999_999_999_999;
/// Days from 1899-12-30, the origin of serial dates, to the day that chrono counts from.
const SERIAL_EPOCH: i64 = 25_569;
const SECONDS_PER_DAY: i64 = 86_400;
/// Serial dates of 1900-03-01, before which spreadsheets disagree on the calendar, and of 9999-12-31.
const SERIAL_DAYS: std::ops::RangeInclusive<i64> = 61..=2_958_465;

/// A table: what it is called, its columns and how many rows it has.
#[derive(Default)]
pub(super) struct Table {
    /// Its name in formulas, without blanks.
    pub(super) name: &'static str,
    pub(super) columns: &'static [Column],
    pub(super) rows: usize,
    /// The row of its head.
    pub(super) top: u32,
    /// Columns at its beginning that are folded away.
    pub(super) folded: u16,
    /// The last column that stays in sight when the sheet is scrolled.
    pub(super) frozen_to: &'static str,
    /// What stands there instead of rows.
    pub(super) instead: String,
}

impl Table {
    /// Writes the table of a sheet that has no other.
    pub(super) fn write_sheet<'a, T>(
        &self,
        sheet: &mut Worksheet,
        styles: &Styles,
        rows: impl Iterator<Item = T>,
        value: impl Fn(&T, &'static str) -> Option<Value<'a>>,
    ) -> Result<Stretch, XlsxError> {
        sheet.set_landscape().set_paper_size(9);
        sheet.set_repeat_rows(0, 0)?;
        for (place, column) in (0..).zip(self.columns) {
            sheet.set_column_width(place, width(column))?;
            // A column's format is that of each of its cells, without a look-up for each of them.
            sheet.set_column_format(place, styles.of(column.column_type))?;
        }
        if self.folded > 0 {
            sheet.group_columns_collapsed(0, self.folded - 1)?;
        }
        let frozen = self.columns.iter().position(|c| c.name == self.frozen_to);
        let frozen = frozen.map_or(0, |place| place + 1);
        sheet.set_freeze_panes(1, u16::try_from(frozen).unwrap_or(0))?;
        let stretch = self.declare(sheet, styles)?;
        if self.rows == 0 && !self.instead.is_empty() {
            sheet.write_string_with_format(1, self.folded, plain(&self.instead), &styles.note)?;
        }
        for (at, row) in (1..).zip(rows) {
            for (place, column) in (0..).zip(self.columns) {
                put(sheet, at, place, value(&row, column.name), None)?;
            }
        }
        Ok(stretch)
    }

    /// Writes a table among others: the formats are those of its cells.
    pub(super) fn write<'a>(
        &self,
        sheet: &mut Worksheet,
        styles: &Styles,
        rows: &[Vec<Option<Value<'a>>>],
    ) -> Result<Stretch, XlsxError> {
        let stretch = self.declare(sheet, styles)?;
        for (at, row) in (self.top + 1..).zip(rows) {
            for ((place, column), value) in (0..).zip(self.columns).zip(row) {
                let format = styles.ruled(column.column_type);
                sheet.write_blank(at, place, &format)?;
                put(sheet, at, place, value.clone(), Some(&format))?;
            }
        }
        Ok(stretch)
    }

    /// The row below its last one.
    pub(super) fn end(&self) -> u32 {
        // A table without rows has an empty one.
        let rows = u32::try_from(self.rows.max(1)).unwrap_or(u32::MAX);
        self.top.saturating_add(rows).saturating_add(1)
    }

    fn declare(&self, sheet: &mut Worksheet, styles: &Styles) -> Result<Stretch, XlsxError> {
        let last = u16::try_from(self.columns.len().saturating_sub(1)).unwrap_or(u16::MAX);
        let columns = self.columns.iter().map(|column| {
            TableColumn::new()
                .set_header(column.name)
                .set_header_format(styles.head(column.column_type))
        });
        let table = NativeTable::new()
            .set_name(self.name)
            .set_style(TableStyle::Light1)
            .set_columns(&columns.collect::<Vec<_>>());
        let stretch = Stretch::new(self.name, self.top, last, self.end() - 1);
        sheet.set_row_height(self.top, 20)?;
        sheet.add_table(self.top, 0, self.top + 1, last, &table)?;
        let below = (self.top + 1, self.end() - 1);
        for (place, column) in (0..).zip(self.columns) {
            if styles::is_coloured(column.name) {
                colour(sheet, below, place)?;
            }
        }
        // Tags and versions look like numbers, and are none.
        sheet.ignore_error_range(below.0, 0, below.1, last, IgnoreError::NumberStoredAsText)?;
        Ok(stretch)
    }
}

/// Colours the cells of a column by the names in them.
fn colour(sheet: &mut Worksheet, rows: (u32, u32), column: u16) -> Result<(), XlsxError> {
    for (name, colours) in styles::MEANINGS {
        let rule = ConditionalFormatCell::new()
            .set_rule(ConditionalFormatCellRule::EqualTo(*name))
            .set_format(styles::coloured(*colours));
        sheet.add_conditional_format(rows.0, column, rows.1, column, &rule)?;
    }
    Ok(())
}

/// Writes a value into a cell; without a format, it has its column's.
pub(super) fn put(
    sheet: &mut Worksheet,
    row: u32,
    column: u16,
    value: Option<Value<'_>>,
    format: Option<&Format>,
) -> Result<(), XlsxError> {
    let number = match &value {
        None => return Ok(()),
        Some(Value::Boolean(truth)) => {
            match format {
                Some(format) => sheet.write_boolean_with_format(row, column, *truth, format)?,
                None => sheet.write_boolean(row, column, *truth)?,
            };
            return Ok(());
        }
        Some(Value::Integer(number)) => exact(*number),
        Some(Value::Date(date)) => serial(date.and_time(chrono::NaiveTime::MIN).and_utc()),
        Some(Value::Time(time)) => serial(*time),
        Some(Value::Text(_) | Value::Name(_)) => None,
    };
    if let Some(number) = number {
        match format {
            Some(format) => sheet.write_number_with_format(row, column, number, format)?,
            None => sheet.write_number(row, column, number)?,
        };
        return Ok(());
    }
    // Also a number, date or time that a spreadsheet cannot tell exactly.
    let text = value.map(|value| value.to_string()).unwrap_or_default();
    put_text(sheet, row, column, &plain(&text), format)
}

/// The library takes a text between <r> and </r> for its own markup and writes it as it is: such a text
/// is written as markup of one run, in which it is escaped.
fn put_text(
    sheet: &mut Worksheet,
    row: u32,
    column: u16,
    text: &str,
    format: Option<&Format>,
) -> Result<(), XlsxError> {
    let markup = text.starts_with("<r>") && text.ends_with("</r>");
    let run = [(&Format::default(), text)];
    match (markup, format) {
        (false, Some(format)) => sheet.write_string_with_format(row, column, text, format)?,
        (false, None) => sheet.write_string(row, column, text)?,
        (true, Some(format)) => sheet.write_rich_string_with_format(row, column, &run, format)?,
        (true, None) => sheet.write_rich_string(row, column, &run)?,
    };
    Ok(())
}

#[allow(
    clippy::cast_precision_loss,
    reason = "15 digits and fewer are exact in a double"
)]
fn exact(number: u64) -> Option<f64> {
    (number <= MAX_EXACT).then_some(number as f64)
}

/// The days since 1899-12-30.
#[allow(
    clippy::cast_precision_loss,
    reason = "days and seconds of four-digit years are exact in a double"
)]
fn serial(time: chrono::DateTime<chrono::Utc>) -> Option<f64> {
    let seconds = time.timestamp();
    let days = seconds.div_euclid(SECONDS_PER_DAY) + SERIAL_EPOCH;
    let rest = seconds.rem_euclid(SECONDS_PER_DAY);
    let serial = days as f64 + rest as f64 / SECONDS_PER_DAY as f64;
    SERIAL_DAYS.contains(&days).then_some(serial)
}

/// Characters that a column shows: its values rather than its name decide, where they are alike.
fn width(column: &Column) -> f64 {
    let least = match column.name.len() {
        // A head has a button beside its name.
        length @ 0..=12 => length + 4,
        _ => 16,
    };
    let usual = match (column.name, column.column_type) {
        ("error_message", _) => 60,
        ("image" | "old_images" | "new_images", _) => 46,
        ("pod" | "namespaces" | "repository" | "base_image", _) => 32,
        ("workload_name" | "distro_name" | "registry", _) => 28,
        ("namespace" | "container" | "node" | "kind" | "image_id", _) => 22,
        ("digest" | "manifest_digest" | "config_digest" | "distribution_layer", _) => 22,
        ("old_manifest_digests" | "new_manifest_digests", _) => 22,
        ("old_distributions" | "new_distributions", _) => 22,
        ("run_id", _) | (_, ColumnType::Datetime) => 20,
        (_, ColumnType::Date) => 13,
        _ => 14,
    };
    // At most 60.
    f64::from(u32::try_from(usual.max(least)).unwrap_or(14))
}
