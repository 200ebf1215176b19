//! What a reader of the finished workbook would not see: limits, contrast, and texts that would be markup.

use std::io::{Cursor, Read};

use zip::ZipArchive;

use super::styles::{Colours, MEANINGS};
use super::write_workbook;
use crate::report::testing::report;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn part(workbook: &[u8], name: &str) -> Result<String> {
    let mut archive = ZipArchive::new(Cursor::new(workbook))?;
    let mut text = String::new();
    archive.by_name(name)?.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn a_report_that_no_sheet_holds_is_refused_with_advice() -> Result {
    let mut workbook = Vec::new();
    let refused = write_workbook(&report(1_048_576)?, None, &mut workbook);
    let said = refused.err().ok_or("a workbook of too many rows")?;
    let said = said.to_string();
    assert!(said.contains("1048576 containers"), "{said}");
    assert!(said.contains("--format csv"), "{said}");
    assert!(workbook.is_empty());
    Ok(())
}

#[test]
fn a_table_is_as_high_as_its_rows_and_one_without_rows_has_an_empty_one() -> Result {
    for (rows, range) in [
        (0, "A1:AQ2"),
        (1, "A1:AQ2"),
        (2, "A1:AQ3"),
        (300, "A1:AQ301"),
    ] {
        let mut workbook = Vec::new();
        write_workbook(&report(rows)?, None, &mut workbook)?;
        // The first four are the summary's.
        let table = part(&workbook, "xl/tables/table5.xml")?;
        assert!(table.contains(" name=\"Containers\""), "{table}");
        let spans = table.matches(&format!(" ref=\"{range}\"")).count();
        assert_eq!(spans, 2, "table and filter of {rows} rows: {table}");
    }
    Ok(())
}

#[test]
fn a_text_that_looks_like_markup_is_none() -> Result {
    let mut report = report(2)?;
    for (row, text) in report
        .containers
        .iter_mut()
        .zip(["<r><t>x</t></r>", "<r></t></si></sst><!-- & --></r>"])
    {
        row.pod = text.into();
    }
    let mut workbook = Vec::new();
    write_workbook(&report, None, &mut workbook)?;
    let texts = part(&workbook, "xl/sharedStrings.xml")?;
    assert!(texts.contains("&lt;r&gt;&lt;t&gt;x&lt;/t&gt;&lt;/r&gt;"));
    assert!(texts.contains("&lt;!-- &amp; --&gt;"));
    assert!(!texts.contains("<!--"));
    Ok(())
}

#[test]
fn numbers_and_dates_that_a_spreadsheet_cannot_tell_are_texts() -> Result {
    let mut report = report(1)?;
    report.containers[0].image_index = 0;
    let image = &mut report.images[0];
    image.size_bytes = Some(u64::MAX);
    image.eol_date = chrono::NaiveDate::from_ymd_opt(1_800, 1, 1);
    image.eol_extended_date = chrono::NaiveDate::from_ymd_opt(12_000, 1, 1);
    let mut workbook = Vec::new();
    write_workbook(&report, None, &mut workbook)?;
    let texts = part(&workbook, "xl/sharedStrings.xml")?;
    for text in ["18446744073709551615", "1800-01-01", "+12000-01-01"] {
        assert!(texts.contains(&format!("<t>{text}</t>")), "{text}: {texts}");
    }
    Ok(())
}

/// The relative luminance of WCAG 2.
fn luminance(colour: u32) -> f64 {
    let part = |shift: u32| {
        let part = f64::from((colour >> shift) & 0xFF) / 255.0;
        if part <= 0.04045 {
            part / 12.92
        } else {
            ((part + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * part(16) + 0.7152 * part(8) + 0.0722 * part(0)
}

#[test]
fn coloured_cells_can_be_read() {
    for (name, Colours { ink, ground }) in MEANINGS {
        let (ink, ground) = (luminance(*ink), luminance(*ground));
        let contrast = (ground + 0.05) / (ink + 0.05);
        assert!(contrast >= 4.5, "{name}: {contrast:.1} to 1");
    }
}
