//! The first sheet: which run, what matters, and the counts that a pivot table would give.

use std::cmp::Reverse;

use rust_xlsxwriter::{
    Chart, ChartFont, ChartFormat, ChartLine, ChartPoint, ChartSolidFill, ChartType,
    ConditionalFormatCell, ConditionalFormatCellRule, Worksheet, XlsxError,
};

use super::sheet::{Table, put};
use super::stretch::Stretch;
use super::styles::{self, Styles};
use super::tally::{Count, STANDINGS, Standing, System, Tally};
use crate::diff::{Diff, formats};
use crate::report::rows::Value;
use crate::report::{Column, ColumnType, Counts, Report, plain};

const CONTAINERS: Column = Column::integer("containers", "Containers of pods that are not over");
const IMAGES: Column = Column::integer("images", "Their distinct images");
const WORKLOADS: Column = Column::integer("workloads", "Their distinct workloads");
const DISTRO_ID: Column = Column::text("distro_id", "ID of os-release, or why there is none");
const DISTRO_VERSION: Column = Column::text("distro_version", "VERSION_ID of os-release");
const EOL_STATUS: Column = Column::text("eol_status", "How its support stands");
const EOL_DATE: Column = Column::date("eol_date", "End of ordinary support");
const EOL_EXTENDED_DATE: Column = Column::date("eol_extended_date", "End of extended support");
const NAMESPACE: Column = Column::text("namespace", "The pods' namespace");

const SUPPORT_COLUMNS: &[Column] = &[
    EOL_STATUS,
    CONTAINERS,
    IMAGES,
    WORKLOADS,
    Column::text("meaning", "What the status means"),
];

/// The columns from the fourth on are named like [`STANDINGS`].
const NAMESPACE_COLUMNS: &[Column] = &[
    NAMESPACE,
    CONTAINERS,
    IMAGES,
    Column::integer("eol", "Containers without support"),
    Column::integer("extended", "Containers with extended support only"),
    Column::integer("ending", "Containers whose support ends soon"),
    Column::integer("supported", "Containers with support"),
    Column::integer("rolling", "Containers of rolling releases"),
    Column::integer("unknown", "Containers of unknown distributions"),
    Column::integer("no distribution", "Containers without a distribution"),
    Column::integer("not inspected", "Containers that are not known"),
];

const SYSTEM_COLUMNS: &[Column] = &[
    Column::text("distro_name", "The distribution's name for people"),
    DISTRO_ID,
    DISTRO_VERSION,
    EOL_STATUS,
    EOL_DATE,
    EOL_EXTENDED_DATE,
    CONTAINERS,
    IMAGES,
    WORKLOADS,
];

const NAMESPACE_SYSTEM_COLUMNS: &[Column] = &[
    NAMESPACE,
    DISTRO_ID,
    DISTRO_VERSION,
    EOL_STATUS,
    EOL_DATE,
    EOL_EXTENDED_DATE,
    CONTAINERS,
    IMAGES,
    WORKLOADS,
];

/// Widths that suit all tables of the sheet, one below the other.
const WIDTHS: [f64; 11] = [
    34.0, 18.0, 20.0, 14.0, 14.0, 19.0, 13.0, 11.0, 13.0, 17.0, 15.0,
];
/// Where the picture stands: beside the facts of the run.
const CHART_AT: (u32, u16) = (1, 6);
const CHART_PIXELS: (u32, u32) = (520, 290);
/// Characters of a fact beside the picture.
const FACT_CHARACTERS: usize = 70;
const MAX_FACT_LINES: u32 = 8;

/// Writes the sheet; the tables that it declares.
pub(super) fn write(
    sheet: &mut Worksheet,
    styles: &Styles,
    report: &Report,
    changes: Option<&Diff>,
) -> Result<Vec<Stretch>, XlsxError> {
    sheet.set_name("Summary")?.set_tab_color(styles::BLUE);
    sheet.set_screen_gridlines(false);
    sheet.set_landscape().set_paper_size(9);
    sheet.set_print_fit_to_pages(1, 0);
    sheet.set_freeze_panes(1, 1)?;
    for (column, width) in (0..).zip(WIDTHS) {
        sheet.set_column_width(column, width)?;
    }
    let tally = Tally::of(report);
    let title = format!("Image census of {}", report.header.cluster_name);
    sheet.set_row_height(0, 30)?;
    sheet.write_string_with_format(0, 0, plain(&title), &styles.title)?;
    let mut next = 2;
    for (label, value) in facts(report, changes) {
        sheet.write_string_with_format(next, 0, label, &styles.label)?;
        let length = value.to_string().chars().count();
        let lines = length.div_ceil(FACT_CHARACTERS);
        let format = match value {
            Value::Time(_) => styles.of(ColumnType::Datetime),
            Value::Date(_) => styles.of(ColumnType::Date),
            _ if lines > 1 => &styles.lines,
            _ => styles.of(ColumnType::String),
        };
        if lines > 1 {
            // A row grows by itself for a cell, but not for one that spans several columns.
            let lines = u32::try_from(lines).map_or(MAX_FACT_LINES, |l| l.min(MAX_FACT_LINES));
            sheet.merge_range(next, 1, next, CHART_AT.1 - 1, "", format)?;
            sheet.set_row_height(next, lines * 15)?;
        }
        put(sheet, next, 1, Some(value), Some(format))?;
        next += 1;
    }

    let mut tables = Vec::new();
    let mut add = |sheet: &mut Worksheet,
                   heading: &str,
                   name: &'static str,
                   columns: &'static [Column],
                   rows: Vec<Vec<Option<Value<'_>>>>| {
        let top = next + 2;
        sheet.write_string_with_format(top - 1, 0, heading, &styles.heading)?;
        let table = Table {
            name,
            columns,
            rows: rows.len(),
            top,
            ..Table::default()
        };
        tables.push(table.write(sheet, styles, &rows)?);
        next = table.end();
        Ok::<_, XlsxError>((top + 1, next - 1))
    };

    let rows = support(&tally);
    let rows_of_support = add(sheet, "Support", "Support", SUPPORT_COLUMNS, rows)?;
    let standings = STANDINGS.iter();
    let standings = standings.filter(|standing| tally.standings.contains_key(standing));
    insert_chart(sheet, rows_of_support, standings)?;
    let rows = namespaces(&tally);
    let heading = "Containers by namespace and support";
    let (first, last) = add(sheet, heading, "Namespaces", NAMESPACE_COLUMNS, rows)?;
    colour_counts(sheet, first, last)?;
    let rows = systems(&tally);
    let heading = "Distributions, the most frequent first";
    add(sheet, heading, "Distributions", SYSTEM_COLUMNS, rows)?;
    let rows = namespace_systems(&tally);
    let heading = "Containers by namespace and distribution";
    let columns = NAMESPACE_SYSTEM_COLUMNS;
    add(sheet, heading, "NamespaceDistributions", columns, rows)?;
    Ok(tables)
}

/// What the run was, in words.
fn facts<'a>(report: &'a Report, changes: Option<&Diff>) -> Vec<(&'static str, Value<'a>)> {
    let header = &report.header;
    let pods = report.pod_count();
    let counts = Counts::of(report, pods);
    let text = |text: String| Value::Text(text.into());
    let over = match counts.not_running {
        0 => String::new(),
        over => format!("; {over} more of pods that are over"),
    };
    let complete = match &header.completeness.reason {
        _ if header.completeness.complete => "yes".into(),
        Some(reason) => {
            format!("no: cut off by a {reason}; what was not inspected by then is not known")
        }
        None => "no".into(),
    };
    let reasons: Vec<_> = counts
        .reasons()
        .iter()
        .map(|(kind, images)| format!("{images} {}", kind.replace('_', " ")))
        .collect();
    let missing = match counts.not_inspected {
        0 => "none".into(),
        missing => format!("{missing} images: {}", reasons.join(", ")),
    };
    let changed = changes.map_or_else(|| "no earlier run to compare with".into(), formats::summary);
    let versions = &header.versions;
    let engine = versions.engine_text();
    vec![
        ("Cluster", Value::Text(header.cluster_name.as_str().into())),
        ("Run", Value::Text(header.run_id.as_str().into())),
        ("Time (UTC)", Value::Time(header.snapshot_time)),
        ("Scope", text(header.scope.to_string())),
        ("Complete", text(complete)),
        (
            "Containers",
            text(format!("{} in {pods} pods{over}", counts.containers)),
        ),
        ("Images", text(counts.images.to_string())),
        ("Not inspected", text(missing)),
        ("Changes", text(changed)),
        ("End-of-life data of", Value::Date(versions.eol_data)),
        (
            "Made by",
            text(format!("image-census {}, {engine}", versions.program)),
        ),
    ]
}

fn name<'a>(name: impl Into<std::borrow::Cow<'a, str>>) -> Option<Value<'a>> {
    Some(Value::Text(name.into()))
}

fn number<'a>(number: u64) -> Option<Value<'a>> {
    Some(Value::Integer(number))
}

fn counted<'a>(count: &Count<'_>) -> [Option<Value<'a>>; 3] {
    [
        number(count.containers),
        number(count.images()),
        number(count.workloads),
    ]
}

fn support<'a>(tally: &Tally<'_>) -> Vec<Vec<Option<Value<'a>>>> {
    let rows = STANDINGS.iter().filter_map(|standing| {
        let count = tally.standings.get(standing)?;
        let mut row = vec![name(standing.name())];
        row.extend(counted(count));
        row.push(name(standing.meaning()));
        Some(row)
    });
    rows.collect()
}

fn namespaces<'a>(tally: &Tally<'a>) -> Vec<Vec<Option<Value<'a>>>> {
    let rows = tally
        .namespaces
        .iter()
        .map(|(namespace, (all, standings))| {
            let mut row = vec![
                name(*namespace),
                number(all.containers),
                number(all.images()),
            ];
            // None is an empty cell, so that what there is catches the eye.
            let counts = STANDINGS.iter().map(|standing| standings.get(standing));
            row.extend(counts.map(|count| count.copied().and_then(number)));
            row
        });
    rows.collect()
}

fn system<'a>(system: &System<'a>) -> [Option<Value<'a>>; 5] {
    [
        name(system.id),
        system.version.and_then(name),
        system.status.and_then(|status| name(status.to_string())),
        system.eol_date.map(Value::Date),
        system.eol_extended_date.map(Value::Date),
    ]
}

fn systems<'a>(tally: &Tally<'a>) -> Vec<Vec<Option<Value<'a>>>> {
    let mut all: Vec<_> = tally.systems.iter().collect();
    all.sort_by_key(|(_, count)| Reverse(count.containers));
    let rows = all.into_iter().map(|(about, count)| {
        let mut row = vec![name(count.name.unwrap_or(about.id))];
        row.extend(system(about));
        row.extend(counted(count));
        row
    });
    rows.collect()
}

fn namespace_systems<'a>(tally: &Tally<'a>) -> Vec<Vec<Option<Value<'a>>>> {
    let mut rows = Vec::new();
    for (namespace, systems) in &tally.namespace_systems {
        let mut systems: Vec<_> = systems.iter().collect();
        systems.sort_by_key(|(_, count)| Reverse(count.containers));
        rows.extend(systems.into_iter().map(|(about, count)| {
            let mut row = vec![name(*namespace)];
            row.extend(system(about));
            row.extend(counted(count));
            row
        }));
    }
    rows
}

/// Counts of what wants attention, in the colours of the statuses.
fn colour_counts(sheet: &mut Worksheet, first: u32, last: u32) -> Result<(), XlsxError> {
    for (place, column) in (0..).zip(NAMESPACE_COLUMNS) {
        if !matches!(column.name, "eol" | "extended" | "ending") {
            continue;
        }
        if let Some(colours) = styles::meaning(column.name) {
            let rule = ConditionalFormatCell::new()
                .set_rule(ConditionalFormatCellRule::GreaterThan(0))
                .set_format(styles::coloured(colours));
            sheet.add_conditional_format(first, place, last, place, &rule)?;
        }
    }
    Ok(())
}

/// A bar for each row of the first table, in the ink of its status.
fn insert_chart<'a>(
    sheet: &mut Worksheet,
    rows: (u32, u32),
    standings: impl Iterator<Item = &'a Standing>,
) -> Result<(), XlsxError> {
    let points: Vec<_> = standings
        .map(|standing| {
            let ink = styles::meaning(&standing.name()).map_or(styles::GREY, |colours| colours.ink);
            let fill = ChartSolidFill::new().set_color(ink).clone();
            ChartPoint::new().set_format(ChartFormat::new().set_solid_fill(&fill))
        })
        .collect();
    let mut chart = Chart::new(ChartType::Bar);
    chart
        .add_series()
        .set_categories(("Summary", rows.0, 0, rows.1, 0))
        .set_values(("Summary", rows.0, 1, rows.1, 1))
        .set_points(&points)
        .set_gap(40);
    let mut font = ChartFont::new();
    font.set_size(12).set_color(styles::BLUE);
    chart
        .title()
        .set_name("Containers by support")
        .set_font(&font);
    chart.legend().set_hidden();
    // The first row on top.
    chart.y_axis().set_reverse();
    chart
        .x_axis()
        .set_num_format("#,##0")
        .set_major_gridlines_line(ChartLine::new().set_color(styles::RULE));
    if points.is_empty() {
        return Ok(());
    }
    chart.set_width(CHART_PIXELS.0).set_height(CHART_PIXELS.1);
    chart.set_alt_text("Bars: containers by how the support of their system stands");
    sheet.insert_chart(CHART_AT.0, CHART_AT.1, &chart)?;
    Ok(())
}
