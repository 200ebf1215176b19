//! The binary, end to end, with the real crane.

mod harness;

use std::path::Path;
use std::process::Output;

use harness::{Result, program, root, rows, snapshot_of, succeed};

fn snapshot(folder: &Path, pods: &str) -> Result<Output> {
    let file = folder.join("pods.json");
    std::fs::write(&file, pods)?;
    Ok(snapshot_of(&file, &folder.join("store"))?.output()?)
}

#[test]
fn the_demo_runs_twice_and_its_rows_are_true() -> Result {
    for _ in 0..2 {
        let shown = succeed(&mut std::process::Command::new(root().join("scripts/demo")))?;
        let (_, diff) = shown.split_once("image-census diff\n").ok_or("no diff")?;
        assert!(
            diff.contains("1 moved tag, 2 distribution changed"),
            "{diff}"
        );
    }
    let rows = rows(&root().join(".demo/reports"))?;
    let cells = |image: &str| {
        let row = rows.iter().find(|row| row["image"].contains(image));
        row.map(|row| {
            format!(
                "{} {} {} {}",
                row["inspection_status"],
                row["error_kind"],
                row["distro_id"],
                row["distro_version"]
            )
        })
    };
    for (image, expected) in [
        ("ci/build-cache", "failed not_found  "),
        ("ci/deploy-chart", "failed unsupported  "),
        ("shop/catalog", "ok  debian 12"),
        ("payments/api", "ok  rhel 9.8"),
        ("payments/ledger", "ok  amzn 2023"),
        ("shop/search", "ok  opensuse-leap 15.6"),
        ("monitoring/node-exporter", "ok   "),
    ] {
        assert_eq!(cells(image).as_deref(), Some(expected), "{image}");
    }
    Ok(())
}

#[test]
fn inputs_that_are_no_pod_list_end_with_2_before_any_work() -> Result {
    let folder = tempfile::tempdir()?;
    for text in [
        "",
        "apiVersion: v1\n",
        "{\"kind\":\"List\",\"items\":[",
        "{\"kind\":\"NodeList\",\"items\":[]}",
        "[]",
    ] {
        let output = snapshot(folder.path(), text)?;
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(!folder.path().join("store").exists(), "{text}");
    }
    Ok(())
}

#[test]
fn a_run_without_its_manifest_is_invisible() -> Result {
    let folder = tempfile::tempdir()?;
    snapshot(folder.path(), r#"{"kind":"List","items":[]}"#)?;
    let store = folder.path().join("store");
    assert!(rows(&store)?.is_empty());
    std::fs::remove_dir_all(store.join("manifest"))?;
    let output = program()
        .args(["get", "latest", "--store"])
        .arg(&store)
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    Ok(())
}
