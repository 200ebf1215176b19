//! The table of ends of support: the embedded one, and files.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::io;

use chrono::NaiveDate;

use super::{EOL_LICENSE, Ending, EolTable};

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
    let day: NaiveDate = "2026-01-01".parse().unwrap();
    for (text, expected) in [
        (
            "product,cycle,end_of_life\na,1,soon\n",
            "line 2 of the end-of-life data: column end_of_life is neither YYYY-MM-DD",
        ),
        (
            "# of ours\nproduct,cycle,end_of_life\na,1,2026-01-01\n\na,2,2026-02-30\n",
            "line 5 of",
        ),
        (
            "product,cycle\na,1\n",
            "line 1 of the end-of-life data: no column is named end_of_life",
        ),
        (
            "PK\u{3}\u{4}",
            "line 1 of the end-of-life data: no column is named product",
        ),
        (
            "product,cycle,end_of_life\na,1\n",
            "line 2 of the end-of-life data: it has 2 cells, and the first line has 3",
        ),
        (
            "product,cycle,end_of_life\n,1,\n",
            "line 2 of the end-of-life data: column product is empty",
        ),
        (
            "product,cycle,end_of_life\na,1,\nb,1,\na,1,\n",
            "line 4 of the end-of-life data: a 1 stands in line 2 already",
        ),
        (
            "product,cycle,end_of_life,release_date\na,1,,true\n",
            "column release_date is neither",
        ),
        (
            "product,cycle,end_of_life,as_of\na,1,,today\n",
            "column as_of is neither",
        ),
        (
            "product,cycle,end_of_life\n",
            "the end-of-life data has no rows",
        ),
        (
            "",
            "line 1 of the end-of-life data: no column is named product",
        ),
    ] {
        let error = EolTable::from_reader(text.as_bytes(), Some(day)).unwrap_err();
        assert!(error.to_string().contains(expected), "{text:?}: {error}");
    }
    let bytes = b"product,cycle,end_of_life\na,1,\nb,\xff,\n".as_slice();
    let error = EolTable::from_reader(bytes, Some(day)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 3 of the end-of-life data: it is not UTF-8"
    );
    let error = EolTable::from_reader(io::repeat(b'#'), None).unwrap_err();
    assert_eq!(error.to_string(), "the end-of-life data is over 16 MiB");
}

#[test]
fn the_day_of_the_data_is_the_newest_that_it_names() {
    let day = |text: &str| {
        EolTable::from_reader(text.as_bytes(), None).map(|table| table.as_of.to_string())
    };
    let rows = "product,cycle,end_of_life,release_date,as_of\na,1,,2026-01-02,2026-03-04\na,2,,2026-01-09,\n";
    assert_eq!(day(rows).unwrap(), "2026-03-04");
    assert_eq!(
        day("product,cycle,end_of_life,release_date\na,1,,2026-01-02\n").unwrap(),
        "2026-01-02"
    );
    assert!(
        day("product,cycle,end_of_life\na,1,\n")
            .unwrap_err()
            .to_string()
            .contains("does not tell its day")
    );
}
