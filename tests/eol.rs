//! `eol` and `--eol-data`, through the binary.

mod fixtures;
mod harness;

use std::path::Path;
use std::process::Command;

use fixtures::registry;
use fixtures::truth::{self, Case, SNAPSHOT_TIME, layers};
use harness::registry::Registry;
use harness::{Result, crane, get, program, rows, snapshot_of, stderr, succeed};
use serde_json::Value;

fn eol(arguments: &[&str]) -> Command {
    let mut command = program();
    command.arg("eol").args(arguments);
    command
}

#[test]
fn the_embedded_table_is_listed_in_each_format_with_its_day() -> Result {
    let table = succeed(&mut eol(&[]))?;
    let line = |start: &str| {
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        table
            .lines()
            .map(words)
            .find(|line| line.starts_with(start))
    };
    for (start, expected) in [
        (
            "debian debian 12 ",
            "debian debian 12 2023-06-10 2026-07-11 2028-06-30",
        ),
        ("amzn ", "amzn amazon-linux 2023 2023-03-01 2029-06-30"),
        (
            "ol oracle-linux 10 ",
            "ol oracle-linux 10 2025-06-26 no date yet no date yet",
        ),
        (
            "centos centos-stream 9 ",
            "centos centos-stream 9 2021-09-15 2027-05-31",
        ),
        (
            "sle-micro sl-micro suse-microos suse-linux-micro 6.2",
            "sle-micro sl-micro suse-microos suse-linux-micro 6.2 2025-11-04 2029-11-30",
        ),
        (
            "data of",
            "data of 2026-08-22 (endoflife.date, MIT licence)",
        ),
    ] {
        assert_eq!(line(start).as_deref(), Some(expected));
    }
    let json: Value = serde_json::from_str(&succeed(&mut eol(&["--format", "json"]))?)?;
    assert_eq!(json["as_of"], "2026-08-22");
    let releases = json["releases"].as_array().ok_or("no releases")?;
    assert_eq!(releases.len(), 482);
    let photon = releases
        .iter()
        .find(|release| release["product"] == "vmware-photon");
    let photon = photon.ok_or("no photon")?;
    assert_eq!(
        (&photon["distro_ids"][0], &photon["end_of_life"]),
        (&"photon".into(), &Value::Bool(false))
    );
    Ok(())
}

#[test]
fn what_eol_prints_as_csv_is_read_back_as_the_same_table() -> Result {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("eol.csv");
    let csv = succeed(&mut eol(&["--format", "csv"]))?;
    std::fs::write(&file, &csv)?;
    let path = file.to_str().ok_or("a path that is not UTF-8")?;
    assert_eq!(
        succeed(&mut eol(&["--format", "csv", "--eol-data", path]))?,
        csv
    );
    let json = |arguments: &[&str]| succeed(eol(&["--format", "json"]).args(arguments));
    assert_eq!(json(&["--eol-data", path])?, json(&[])?);
    Ok(())
}

#[test]
fn a_wrong_file_ends_with_2_and_its_line_before_any_work() -> Result {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("eol.csv");
    let pods = folder.path().join("pods.json");
    std::fs::write(&pods, r#"{"kind":"List","items":[]}"#)?;
    for (text, said) in [
        (
            "product,cycle,end_of_life,as_of\ndebian,12,someday,2026-01-01\n",
            "line 2 of the end-of-life data: column end_of_life",
        ),
        (
            "a table\nof another kind\n",
            "line 1 of the end-of-life data: no column is named product",
        ),
        (
            "product,cycle,end_of_life,as_of\ndebian,12,true,2026-01-01\ndebian,12\n",
            "line 3 of the end-of-life data: it has 2 cells",
        ),
    ] {
        std::fs::write(&file, text)?;
        let store = folder.path().join("store");
        let mut snapshot = snapshot_of(&pods, &store)?;
        for command in [
            snapshot.arg("--eol-data").arg(&file),
            eol(&[]).arg("--eol-data").arg(&file),
        ] {
            let output = command.output()?;
            assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
            assert!(stderr(&output).contains(said), "{}", stderr(&output));
        }
        assert!(!store.exists());
    }
    let output = eol(&["--eol-data", "/no/such/file"]).output()?;
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    Ok(())
}

#[test]
fn a_table_that_is_over_180_days_old_is_a_warning() -> Result {
    let folder = tempfile::tempdir()?;
    let pods = folder.path().join("pods.json");
    std::fs::write(&pods, r#"{"kind":"List","items":[]}"#)?;
    for (day, warns) in [("2027-02-18", false), ("2027-02-19", true)] {
        let mut command = snapshot_of(&pods, &folder.path().join(day))?;
        command
            .arg("--snapshot-time")
            .arg(format!("{day}T02:00:00Z"));
        let output = command.output()?;
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(
            stderr(&output).contains("over 180 days old"),
            warns,
            "{day}"
        );
    }
    Ok(())
}

#[test]
fn a_table_of_ones_own_decides_and_its_day_is_in_the_manifest() -> Result {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("eol.csv");
    std::fs::write(
        &file,
        "product,cycle,end_of_life,as_of\ndebian,12,2026-12-24,2026-11-01\n",
    )?;
    let image = truth::image([truth::layer(layers::DEBIAN)]).build();
    let other = truth::image([truth::layer(layers::ALPINE)]).build();
    let cases = [
        Case::of("eol", "debian", image),
        Case::of("eol", "alpine", other),
    ];
    let server = Registry::start()?;
    for case in &cases {
        let reference = format!("{}/{}:1", server.address, case.repository());
        registry::push(&case.image, &crane()?, &reference)?;
    }
    let (pods, store) = (folder.path().join("pods.json"), folder.path().join("store"));
    std::fs::write(&pods, truth::pod_list(&cases, &server.address)?)?;
    snapshot(&pods, &store, &file)?;
    let mut cells: Vec<_> = rows(&store)?
        .iter()
        .map(|row| {
            ["distro_id", "eol_status", "eol_date", "eol_extended_date"]
                .map(|name| row[name].clone())
                .join(" ")
        })
        .collect();
    cells.sort();
    assert_eq!(cells, ["alpine unknown  ", "debian ending 2026-12-24 "]);
    let manifest: Value = serde_json::from_str(&get(&store, "latest", "manifest")?)?;
    assert_eq!(manifest["versions"]["eol_data"], "2026-11-01");
    Ok(())
}

fn snapshot(pods: &Path, store: &Path, table: &Path) -> Result {
    let mut command = snapshot_of(pods, store)?;
    command.arg("--eol-data").arg(table);
    succeed(command.args(["--snapshot-time", SNAPSHOT_TIME])).map(drop)
}
