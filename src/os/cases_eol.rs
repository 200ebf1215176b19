//! End-of-life status by distribution on four fixed days, worked out by hand from the embedded table.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use chrono::NaiveDate;

use super::{EndOfLife, EolStatus, EolSubject, EolTable};

/// The days of the columns; support is called ending 90 days before its end.
const DAYS: [&str; 4] = ["2020-01-01", "2024-07-01", "2026-08-22", "2030-01-01"];
const WARN_DAYS: u32 = 90;

/// ID, VERSION_ID, name; or for Windows the build.
type Row = (&'static str, &'static str, &'static str, [&'static str; 4]);

#[rustfmt::skip]
const CASES: [Row; 92] = [
    ("alpine", "3.24.1", "", ["supported", "supported", "supported", "eol"]),
    ("alpine", "3.21.7", "", ["supported", "supported", "ending", "eol"]),
    ("alpine", "3.20.10", "", ["supported", "supported", "eol", "eol"]),
    ("alpine", "3.8.5", "", ["supported", "eol", "eol", "eol"]),
    ("alpine", "3.25.0", "", ["unknown"; 4]),
    ("alpine", "3.21.0_alpha20240923", "Alpine Linux edge", ["rolling"; 4]),
    ("alpine", "edge", "", ["rolling"; 4]),
    ("debian", "13", "", ["supported", "supported", "supported", "extended"]),
    ("debian", "12", "", ["supported", "supported", "extended", "eol"]),
    ("debian", "11", "", ["supported", "ending", "extended", "eol"]),
    ("debian", "10", "", ["supported", "eol", "eol", "eol"]),
    ("debian", "3.1", "", ["eol"; 4]),
    ("debian", "14", "", ["unknown"; 4]),
    ("debian", "", "Debian GNU/Linux forky/sid", ["rolling"; 4]),
    ("ubuntu", "24.04", "", ["supported", "supported", "supported", "extended"]),
    ("ubuntu", "22.04", "", ["supported", "supported", "supported", "extended"]),
    ("ubuntu", "20.04", "", ["supported", "supported", "extended", "extended"]),
    ("ubuntu", "18.04", "", ["supported", "extended", "extended", "eol"]),
    ("ubuntu", "25.10", "", ["supported", "supported", "eol", "eol"]),
    ("ubuntu", "28.04", "", ["unknown"; 4]),
    ("fedora", "43", "", ["supported", "supported", "supported", "eol"]),
    ("fedora", "42", "", ["supported", "supported", "eol", "eol"]),
    ("nixos", "26.05", "", ["supported", "supported", "supported", "eol"]),
    ("nixos", "25.11.20260101", "", ["supported", "supported", "eol", "eol"]),
    ("amzn", "2023", "", ["supported", "supported", "supported", "eol"]),
    ("amzn", "2", "", ["supported", "supported", "eol", "eol"]),
    ("amzn", "2018.03", "", ["supported", "eol", "eol", "eol"]),
    ("rhel", "8.10", "", ["supported", "supported", "supported", "extended"]),
    ("rhel", "7.9", "", ["supported", "extended", "extended", "eol"]),
    ("rhel", "6.10", "", ["supported", "eol", "eol", "eol"]),
    ("rhel", "6", "", ["supported", "eol", "eol", "eol"]),
    ("rocky", "9.8", "", ["supported"; 4]),
    ("almalinux", "8.10", "", ["supported", "supported", "supported", "eol"]),
    ("ol", "10.1", "", ["supported"; 4]),
    ("ol", "8.10", "", ["supported", "supported", "supported", "extended"]),
    ("ol", "7.9", "", ["supported", "supported", "extended", "eol"]),
    ("centos", "8", "CentOS Linux 8", ["supported", "eol", "eol", "eol"]),
    ("centos", "7", "CentOS Linux 7 (Core)", ["supported", "eol", "eol", "eol"]),
    ("centos", "9", "CentOS Stream 9", ["supported", "supported", "supported", "eol"]),
    ("centos", "8", "CentOS Stream 8", ["supported", "eol", "eol", "eol"]),
    ("centos", "9", "CentOS", ["unknown"; 4]),
    ("opensuse-leap", "16.0", "", ["supported", "supported", "supported", "eol"]),
    ("opensuse-leap", "15.6", "", ["supported", "supported", "eol", "eol"]),
    ("opensuse-leap", "15.2.1", "", ["supported", "eol", "eol", "eol"]),
    ("opensuse", "13.1", "", ["eol"; 4]),
    ("opensuse-tumbleweed", "20260801", "", ["rolling"; 4]),
    ("sles", "15.7", "", ["supported"; 4]),
    ("sles", "15.6", "", ["supported", "supported", "extended", "eol"]),
    ("sles", "15", "", ["extended", "eol", "eol", "eol"]),
    ("sles", "12.5", "", ["supported", "supported", "extended", "eol"]),
    ("sl-micro", "6.1", "", ["supported", "supported", "supported", "eol"]),
    ("sle-micro", "5.3", "", ["supported", "supported", "ending", "eol"]),
    ("suse-microos", "5.2", "", ["supported", "supported", "eol", "eol"]),
    ("photon", "5.0", "", ["supported"; 4]),
    ("photon", "4.0", "", ["supported", "supported", "supported", "eol"]),
    ("cos", "125", "", ["supported", "supported", "supported", "eol"]),
    ("cos", "117", "", ["supported", "supported", "ending", "eol"]),
    ("cos", "113", "", ["supported", "supported", "eol", "eol"]),
    ("devuan", "5", "", ["supported", "supported", "supported", "eol"]),
    ("devuan", "4", "", ["supported", "supported", "eol", "eol"]),
    ("clear-linux-os", "41000", "", ["supported", "supported", "eol", "eol"]),
    ("mageia", "9", "", ["supported", "supported", "ending", "eol"]),
    ("arch", "", "", ["rolling"; 4]),
    ("gentoo", "2.17", "", ["rolling"; 4]),
    ("void", "", "", ["rolling"; 4]),
    ("kali", "2026.3", "", ["rolling"; 4]),
    ("wolfi", "20230201", "", ["rolling"; 4]),
    ("chainguard", "20230214", "", ["rolling"; 4]),
    ("azurelinux", "3.0", "", ["unknown"; 4]),
    ("bottlerocket", "1.19.2", "", ["unknown"; 4]),
    ("flatcar", "3815.2.0", "", ["unknown"; 4]),
    ("busybox", "1.36.1", "", ["unknown"; 4]),
    ("windows", "10.0.20348.2700", "", ["supported"; 4]),
    ("windows", "10.0.17763.6775", "", ["supported", "supported", "supported", "eol"]),
    ("windows", "10.0.14393.7606", "", ["supported", "supported", "supported", "eol"]),
    ("windows", "10.0.25398.1486", "", ["supported", "supported", "eol", "eol"]),
    ("windows", "10.0.99999.1", "", ["unknown"; 4]),
    ("windows", "10.0.26100.6584", "", ["supported"; 4]),
    ("windows", "10.0.19042.1889", "", ["supported", "eol", "eol", "eol"]),
    ("windows", "10.0.17134.1304", "", ["eol"; 4]),
    ("centos", "10", "CentOS Stream", ["supported", "supported", "supported", "supported"]),
    ("centos", "6", "CentOS release 6.10 (Final)", ["supported", "eol", "eol", "eol"]),
    ("rocky", "8.10", "", ["supported", "supported", "supported", "eol"]),
    ("almalinux", "10.2", "", ["supported"; 4]),
    ("ol", "6.10", "", ["supported", "extended", "eol", "eol"]),
    ("ol", "5.11", "", ["unknown"; 4]),
    ("opensuse", "20170808", "openSUSE Tumbleweed", ["rolling"; 4]),
    ("photon", "3.0", "", ["supported", "supported", "eol", "eol"]),
    ("devuan", "6", "", ["supported"; 4]),
    ("mageia", "10", "", ["supported", "supported", "supported", "eol"]),
    ("Debian", "12", "", ["supported", "supported", "extended", "eol"]),
    ("linuxmint", "22", "", ["unknown"; 4]),
];

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn debian(version: &str, today: &str, warn_days: u32) -> EndOfLife {
    let subject = EolSubject {
        id: Some("debian"),
        version: Some(version),
        ..EolSubject::default()
    };
    EolTable::embedded().status(&subject, day(today), warn_days)
}

#[test]
fn every_distribution_has_its_status_on_every_day() {
    let table = EolTable::embedded();
    for (id, version, name, expected) in CASES {
        let text = |text: &'static str| Some(text).filter(|text| !text.is_empty());
        let subject = if id == "windows" {
            EolSubject {
                os_version: Some(version),
                ..EolSubject::default()
            }
        } else {
            EolSubject {
                id: Some(id),
                version: text(version),
                name: text(name),
                ..EolSubject::default()
            }
        };
        let statuses = DAYS.map(|today| {
            table
                .status(&subject, day(today), WARN_DAYS)
                .status
                .unwrap()
                .to_string()
        });
        assert_eq!(statuses, expected, "{id} {version} {name}");
    }
}

#[test]
fn a_debian_without_a_version_is_rolling_unless_it_has_a_number() {
    let table = EolTable::embedded();
    for (release, status) in [
        (None, EolStatus::Rolling),
        (Some("forky/sid"), EolStatus::Rolling),
        (Some("12.15"), EolStatus::Unknown),
    ] {
        let subject = EolSubject {
            id: Some("debian"),
            release,
            ..EolSubject::default()
        };
        let found = table.status(&subject, day(DAYS[2]), WARN_DAYS);
        assert_eq!(found.status, Some(status), "{release:?}");
    }
}

#[test]
fn the_last_day_of_support_is_still_a_day_of_support() {
    for (today, status) in [
        ("2026-04-11", EolStatus::Supported),
        ("2026-04-12", EolStatus::Ending),
        ("2026-07-11", EolStatus::Ending),
        ("2026-07-12", EolStatus::Extended),
        ("2028-06-30", EolStatus::Extended),
        ("2028-07-01", EolStatus::Eol),
    ] {
        assert_eq!(
            debian("12", today, WARN_DAYS).status,
            Some(status),
            "{today}"
        );
    }
    assert_eq!(
        debian("12", "2026-07-10", 0).status,
        Some(EolStatus::Supported)
    );
}

#[test]
fn the_dates_are_those_of_the_table() {
    let dates = |support: EndOfLife| (support.date, support.extended_date);
    assert_eq!(
        dates(debian("12", DAYS[0], 90)),
        (Some(day("2026-07-11")), Some(day("2028-06-30")))
    );
    assert_eq!(dates(debian("14", DAYS[0], 90)), (None, None));
}

#[test]
fn without_a_distribution_there_is_no_status() {
    let table = EolTable::embedded();
    for subject in [
        EolSubject::default(),
        EolSubject {
            name: Some("Some OS"),
            version: Some("12"),
            ..EolSubject::default()
        },
        EolSubject {
            os_version: Some(""),
            ..EolSubject::default()
        },
    ] {
        assert_eq!(
            table.status(&subject, day(DAYS[2]), WARN_DAYS),
            EndOfLife::default()
        );
    }
}

#[test]
fn cells_without_a_date_have_their_meaning() {
    let data = "product,cycle,end_of_life,end_of_extended_support\n\
                debian,1.1,true,\ndebian,2.1,true,false\ndebian,4,true,true\ndebian,5,false,\ndebian,6,,\n\
                debian,7,2020-01-01,false\ndebian,8,2020-01-01,true\n";
    let table = EolTable::from_reader(data.as_bytes(), Some(day(DAYS[2]))).unwrap();
    for (version, status) in [
        ("1.1", EolStatus::Eol),
        ("2.1", EolStatus::Extended),
        ("4", EolStatus::Eol),
        ("5", EolStatus::Supported),
        ("6", EolStatus::Unknown),
        ("7", EolStatus::Extended),
        ("8", EolStatus::Eol),
    ] {
        let subject = EolSubject {
            id: Some("debian"),
            version: Some(version),
            ..EolSubject::default()
        };
        assert_eq!(
            table.status(&subject, day(DAYS[2]), WARN_DAYS).status,
            Some(status),
            "{version}"
        );
    }
}

#[test]
fn a_status_is_one_word_in_json_and_in_a_cell() {
    assert_eq!(serde_json::to_string(&EolStatus::Eol).unwrap(), "\"eol\"");
    assert_eq!(EolStatus::Eol.to_string(), "eol");
}
