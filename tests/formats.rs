//! The formats of a report beside each other: compressed or not, written in the night or made by `get`.

mod fixtures;
mod harness;
#[path = "harness/night.rs"]
mod night;

use std::collections::BTreeMap;
use std::fs;

use harness::store::Store;
use harness::{Result, files_below};
use night::Night;
use serde_json::Value;

const FIRST: &str = "2026-11-23T02:00:00Z";
const SECOND: &str = "2026-11-24T02:00:00Z";
const COMPRESSED: [&str; 4] = ["csv", "workloads", "json", "ndjson"];

/// The columns of a CSV's rows, by name.
fn cells(csv: &str) -> Result<Vec<BTreeMap<String, String>>> {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    Ok(reader
        .deserialize()
        .collect::<std::result::Result<_, _>>()?)
}

#[test]
fn a_compressed_run_reads_as_one_that_is_not_and_is_reused_and_removed() -> Result {
    for (how, extension) in [("gzip", "gz"), ("zstd", "zst")] {
        for store in Store::both()? {
            let night = Night::new()?;
            let mut packed = store.snapshot(&night.pods(), FIRST)?;
            packed.args(["--formats", "ndjson", "--compress", how]);
            harness::succeed(&mut packed)?;
            let before = night.requests()?;
            let mut plain = store.snapshot(&night.pods(), SECOND)?;
            harness::succeed(plain.args(["--formats", "ndjson"]))?;
            assert_eq!(
                night.requests()?,
                before,
                "{how}: facts were asked for again"
            );

            let names = files_below(&store.root())?;
            let of_first = |format: &str, end: &str| {
                names.iter().any(|name| {
                    name.contains(&format!("{format}/cluster=test/dt=2026-11-23/"))
                        && name.ends_with(end)
                })
            };
            for format in COMPRESSED {
                assert!(of_first(format, &format!(".{extension}")), "{how} {format}");
            }
            assert!(of_first("manifest", ".json"));
            for format in COMPRESSED {
                let texts = ["2026-11-23", "2026-11-24"].map(|day| {
                    let run = store.print(&["get", day, "--format", format]);
                    // What tells the runs apart.
                    run.map(|text| {
                        let text = text.replace("2026-11-24", "2026-11-23");
                        text.replace("20261124", "20261123")
                    })
                });
                let [first, second] = texts;
                // The digits of the run ids, which are random.
                let cut = |text: String| {
                    let start = text.find("20261123T020000Z-")?;
                    let run = &text[start..start + 21];
                    Some(text.replace(run, "RUN"))
                };
                let (first, second) = (cut(first?), cut(second?));
                assert!(
                    first.is_some() && first == second,
                    "{how} {format}: {first:?} {second:?}"
                );
            }
            let diff = store.json(&["diff", "2026-11-23", "2026-11-24", "--format", "json"])?;
            assert_eq!(diff["changes"], Value::Array(vec![]));
            let listed = store.json(&["list", "--format", "json"])?;
            let expired = listed["runs"].as_array().ok_or("no runs")?;
            assert!(
                expired.iter().all(|run| run["expired"] == false),
                "{listed}"
            );

            // A download of the compressed report is a report, too.
            if let Some(name) = names.iter().find(|name| {
                name.starts_with("json/cluster=test/dt=2026-11-23") && name.ends_with(extension)
            }) {
                let path = store.root().join(name).display().to_string();
                let diff = store.json(&["diff", &path, &path, "--format", "json"])?;
                assert_eq!(diff["changes"], Value::Array(vec![]));
                let rows = store.print(&["get", &path, "--format", "csv"])?;
                assert_eq!(
                    rows,
                    store.print(&["get", "2026-11-23", "--format", "csv"])?
                );
            }
            store.print(&["prune", "--keep-last", "1"])?;
            let left = files_below(&store.root())?;
            let left: Vec<_> = left
                .iter()
                .filter(|name| name.contains("dt=2026-11-23"))
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
    }
    Ok(())
}

#[test]
fn a_compressed_file_that_was_changed_is_noticed() -> Result {
    let store = Store::folder()?;
    let night = Night::new()?;
    let mut command = store.snapshot(&night.pods(), FIRST)?;
    harness::succeed(command.args(["--compress", "zstd"]))?;
    for format in ["csv", "json"] {
        let names = files_below(&store.root())?;
        let name = names
            .iter()
            .find(|name| name.starts_with(format))
            .ok_or("no file")?;
        let path = store.root().join(name);
        let mut bytes = fs::read(&path)?;
        let place = bytes.len() / 2;
        bytes[place] ^= 1;
        fs::write(&path, bytes)?;
        let output = store
            .command(&["get", "latest", "--format", format])
            .output()?;
        let said = harness::stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("is not what its manifest says"), "{said}");
        assert!(output.stdout.is_empty());
    }
    Ok(())
}

#[test]
fn ndjson_is_the_csv_typed_whether_written_in_the_night_or_made_by_get() -> Result {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("store");
    night::demo_nights(&root, |command| {
        command.args(["--formats", "ndjson"]);
    })?;
    let print = |arguments: &[&str]| {
        let mut command = harness::program();
        command.args(arguments).arg("--store").arg(&root);
        harness::succeed(&mut command)
    };
    let csv = cells(&print(&["get", "latest", "--format", "csv"])?)?;
    let lines = print(&["get", "latest", "--format", "ndjson"])?;
    let lines = lines.lines().map(serde_json::from_str::<Value>);
    let lines = lines.collect::<std::result::Result<Vec<_>, _>>()?;
    assert_eq!(csv.len(), lines.len());
    assert!(!csv.is_empty());
    for (cells, line) in csv.iter().zip(&lines) {
        let line = line.as_object().ok_or("no object")?;
        assert_eq!(line.len(), cells.len());
        for (name, cell) in cells {
            match &line[name] {
                Value::Null => assert_eq!(cell, "", "{name}"),
                Value::Number(number) => {
                    assert_eq!(name, "image_size_bytes");
                    assert_eq!(cell, &number.to_string());
                }
                Value::String(text) => assert_eq!(cell, text, "{name}"),
                other => return Err(format!("{name}: {other}").into()),
            }
        }
    }

    // The run's own file and what get makes of the report are the same.
    let written = print(&["get", "latest", "--format", "ndjson"])?;
    let report = folder.path().join("report.json").display().to_string();
    print(&["get", "latest", "--format", "json", "--output", &report])?;
    assert_eq!(print(&["get", &report, "--format", "ndjson"])?, written);
    let workloads = print(&["get", "latest", "--format", "workloads"])?;
    assert_eq!(
        print(&["get", &report, "--format", "workloads"])?,
        workloads
    );
    let table = print(&["get", "latest"])?;
    assert_eq!(print(&["get", &report])?, table);

    // What a script is told is the manifest.
    let pods = folder.path().join("idle.json");
    night::write_idle_pods(&pods, 2)?;
    let mut snapshot = harness::snapshot_of(&pods, &root)?;
    let told: Value =
        serde_json::from_str(&harness::succeed(snapshot.args(["--format", "json"]))?)?;
    let manifest = print(&["get", "latest", "--format", "manifest"])?;
    assert_eq!(told, serde_json::from_str::<Value>(&manifest)?);

    // A file of a report is no run with a manifest.
    let output = harness::program()
        .args(["get", &report, "--format", "manifest"])
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(harness::stderr(&output).contains("no manifest file"));
    Ok(())
}

#[test]
fn excel_gets_its_mark_once_and_no_other_reader_is_misled() -> Result {
    let store = Store::folder()?;
    let night = Night::new()?;
    let plain = store.snapshot(&night.pods(), FIRST)?;
    harness::succeed(&mut { plain })?;
    let mut marked = store.snapshot(&night.pods(), SECOND)?;
    harness::succeed(marked.arg("--csv-bom"))?;
    for (day, stored) in [("2026-11-23", false), ("2026-11-24", true)] {
        for format in ["csv", "workloads"] {
            let text = store.print(&["get", day, "--format", format])?;
            assert_eq!(
                text.starts_with("\u{feff}run_id,"),
                stored,
                "{day} {format}"
            );
            let text = store.print(&["get", day, "--format", format, "--csv-bom"])?;
            assert!(
                text.starts_with("\u{feff}run_id,"),
                "{day} {format}: {text:.20}"
            );
        }
        let table = store.print(&["get", day])?;
        assert!(table.contains("shop"), "{table}");
    }
    Ok(())
}
