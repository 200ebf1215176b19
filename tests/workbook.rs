//! A run's workbook, CSV and Parquet files in the hands of others: openpyxl, LibreOffice, pyarrow, DuckDB.

mod fixtures;
mod harness;
#[path = "harness/night.rs"]
mod night;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::hostile::hostile_pods;
use harness::{Result, files_below, mounts, program, root, snapshot_of, stderr, succeed, tool};
use night::demo_nights;
use serde_json::{Value, json};

/// The files that `workbook.py` wants, and the formats of `get`.
const FILES: [(&str, &str); 5] = [
    ("report.json", "json"),
    ("containers.csv", "csv"),
    ("workbook.xlsx", "xlsx"),
    ("containers.parquet", "parquet"),
    ("images.parquet", "parquet-images"),
];

/// All who must notice a report that says something else than the other files.
const READERS: [&str; 5] = ["csv", "openpyxl", "LibreOffice", "pyarrow", "duckdb"];

/// The newest run of a store, in files that each have one format.
fn take_files(store: &Path, folder: &Path) -> Result {
    fs::create_dir(folder)?;
    for (file, format) in FILES {
        let mut get = program();
        get.args(["get", "latest", "--format", format, "--output"]);
        succeed(get.arg(folder.join(file)).arg("--store").arg(store))?;
    }
    Ok(())
}

/// What is wrong with the files in each folder.
fn problems(folders: &[PathBuf]) -> Result<Vec<Vec<String>>> {
    let mut python = Command::new(tool("python/bin/python")?);
    python.env("PYTHONDONTWRITEBYTECODE", "1");
    python.arg(root().join("tests/workbook.py")).args(folders);
    Ok(serde_json::from_str(&succeed(&mut python)?)?)
}

/// A copy of the files with another report.
fn with_report(files: &Path, copy: &Path, change: impl FnOnce(&mut Value) -> Result) -> Result {
    fs::create_dir(copy)?;
    for file in files_below(files)? {
        fs::copy(files.join(&file), copy.join(&file))?;
    }
    let mut report = serde_json::from_slice(&fs::read(files.join("report.json"))?)?;
    change(&mut report)?;
    Ok(fs::write(copy.join("report.json"), report.to_string())?)
}

#[test]
fn every_cell_is_what_the_report_says_and_another_report_is_noticed_by_each_reader() -> Result {
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    demo_nights(&path("demo-store"), |_| {})?;
    take_files(&path("demo-store"), &path("demo"))?;
    let mut diff = program();
    diff.args(["diff", "--format", "csv", "--output"]);
    diff.arg(path("demo").join("changes.csv"));
    succeed(diff.arg("--store").arg(path("demo-store")))?;

    fs::write(
        path("pods"),
        json!({"kind": "List", "items": hostile_pods()}).to_string(),
    )?;
    let mut snapshot = snapshot_of(&path("pods"), &path("hostile-store"))?;
    succeed(snapshot.args(["--owner-label", "team"]))?;
    take_files(&path("hostile-store"), &path("hostile"))?;

    with_report(&path("demo"), &path("broken"), |report| {
        let text = &mut report["containers"][0]["image"];
        *text = json!(format!("{}x", text.as_str().ok_or("no image")?));
        Ok(())
    })?;
    let folders = ["demo", "hostile", "broken"].map(path);
    let found = problems(&folders)?;
    let [demo, hostile, broken] = &found[..] else {
        return Err(format!("{found:?}").into());
    };
    assert!(demo.is_empty(), "{demo:#?}");
    assert!(hostile.is_empty(), "{hostile:#?}");
    for reader in READERS {
        let noticed = broken.iter().any(|said| said.starts_with(reader));
        assert!(noticed, "{reader} took it: {broken:#?}");
    }
    Ok(())
}

#[test]
fn a_night_writes_what_get_would_make_of_its_report() -> Result {
    let folder = tempfile::tempdir()?;
    let (pods, store) = (folder.path().join("pods"), folder.path().join("store"));
    night::write_idle_pods(&pods, 3)?;
    let mut snapshot = snapshot_of(&pods, &store)?;
    succeed(snapshot.args(["--formats", "xlsx,parquet", "--compress", "zstd"]))?;
    take_files(&store, &folder.path().join("files"))?;
    let report = folder.path().join("files/report.json");
    for (format, end, file) in [
        ("xlsx", "xlsx", "workbook.xlsx"),
        ("parquet", "parquet", "containers.parquet"),
        ("parquet-images", "parquet", "images.parquet"),
    ] {
        let names = files_below(&store.join(format))?;
        let name = names.first().ok_or("no file")?;
        // Never compressed once more.
        assert!(name.ends_with(&format!(".{end}")), "{name}");
        let written = fs::read(store.join(format).join(name))?;
        assert_eq!(fs::read(folder.path().join("files").join(file))?, written);
        let made = folder.path().join("made");
        let mut get = program();
        get.arg("get").arg(&report).args(["--format", format]);
        succeed(get.arg("--output").arg(&made))?;
        assert!(fs::read(&made)? == written, "{format}");
    }
    let manifest: Value = serde_json::from_str(&harness::get(&store, "latest", "manifest")?)?;
    let files = manifest["files"].as_array().ok_or("no files")?;
    for (format, rows) in [("xlsx", 3), ("parquet", 3), ("parquet-images", 1)] {
        let file = files.iter().find(|file| file["format"] == format);
        assert_eq!(file.ok_or(format)?["rows"], rows, "{format}");
    }
    Ok(())
}

#[test]
fn a_folder_for_temporary_files_that_is_missing_is_named() -> Result {
    let folder = tempfile::tempdir()?;
    let (pods, store) = (folder.path().join("pods"), folder.path().join("store"));
    fs::write(&pods, r#"{"kind":"List","items":[]}"#)?;
    succeed(&mut snapshot_of(&pods, &store)?)?;
    let output = program()
        .args(["get", "latest", "--format", "xlsx", "--output"])
        .arg(folder.path().join("out.xlsx"))
        .arg("--store")
        .arg(&store)
        .env("TMPDIR", folder.path().join("missing"))
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("TMPDIR"), "{}", stderr(&output));
    assert!(!folder.path().join("out.xlsx").exists());
    Ok(())
}

#[test]
fn a_workbook_that_finds_no_room_costs_the_night_nothing_else() -> Result {
    let folder = tempfile::tempdir()?;
    let (pods, mounted) = (folder.path().join("pods"), folder.path().join("mounted"));
    night::write_idle_pods(&pods, 2_000)?;
    fs::create_dir(&mounted)?;
    let store = folder.path().join("store");
    let mut snapshot = snapshot_of(&pods, &store)?;
    snapshot.args(["--formats", "xlsx,parquet"]);
    // The working files of crane are small enough.
    snapshot.env("TMPDIR", &mounted);
    let small = r#"mount -t tmpfs -o size=300k tmpfs "$FOLDER""#;
    let found = mounts::run(&mounted, small, &snapshot)?;
    let said = stderr(&found.output);
    assert_eq!(found.output.status.code(), Some(0), "{said}");
    assert!(said.contains("the report lacks a format"), "{said}");
    assert!(said.contains("TMPDIR"), "{said}");
    let manifest: Value = serde_json::from_str(&harness::get(&store, "latest", "manifest")?)?;
    let files = manifest["files"].as_array().ok_or("no files")?;
    let formats: Vec<_> = files.iter().filter_map(|f| f["format"].as_str()).collect();
    assert_eq!(
        formats,
        ["csv", "workloads", "json", "parquet", "parquet-images"]
    );
    assert!(!store.join("xlsx").exists() || files_below(&store.join("xlsx"))?.is_empty());
    Ok(())
}
