//! Which run a name means, what `list`, `trend` and `diff` print of it and how they end, whatever the
//! names of namespaces, workloads and images are.

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use chrono::{DateTime, TimeDelta, Utc};
use harness::readers::expect_valid;
use harness::runs::{self, CLUSTER, Tiny, document, newest};
use harness::store::Store;
use harness::terminal::{in_terminal, without_colours};
use harness::{Result, crane, program, stderr};
use serde_json::{Value, json};

#[test]
fn of_runs_within_a_second_the_last_is_the_latest() -> Result {
    let store = Store::folder()?;
    let pods = tempfile::NamedTempFile::new()?;
    fs::write(pods.path(), r#"{"kind":"List","items":[]}"#)?;
    let mut runs = Vec::new();
    // Until two have started in one second, four times over.
    for _ in 0..200 {
        let mut command = store.command(&["snapshot", "--cluster-name", CLUSTER]);
        command.arg("--crane").arg(crane()?);
        command.arg("--pods").arg(pods.path());
        let output = command.output()?;
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        assert!(!said.contains("a clock wrong?"), "{said}");
        let newest = store.json(&["get", "latest", "--format", "manifest"])?;
        let newest = newest["run_id"].as_str().ok_or("no run")?.to_owned();
        assert!(!runs.contains(&newest), "{newest} after {runs:?}");
        runs.push(newest);
        let seconds = |pair: &&[String]| pair[0][..16] == pair[1][..16];
        if runs.windows(2).filter(seconds).count() == 4 {
            assert!(runs.is_sorted(), "{runs:?}");
            return Ok(());
        }
    }
    Err(format!("no two runs within a second: {runs:?}").into())
}

/// Runs of four days; the newest is cut off.
fn write_runs(root: &Path) -> Result {
    for (run, complete) in [
        ("20260809T020000Z-0001", true),
        ("20260810T020000Z-0001", true),
        ("20260810T120000Z-0002", true),
        ("20260810T180000Z-0003", false),
        ("20260811T020000Z-0001", false),
        ("20260812T020000Z-0001", true),
        ("20260812T030000Z-0001", false),
    ] {
        Tiny {
            complete,
            ..Tiny::new(run)
        }
        .write(root)?;
    }
    Ok(())
}

#[test]
fn a_run_is_named_as_people_do() -> Result {
    for store in Store::both()? {
        write_runs(&store.root())?;
        for (name, expected) in [
            ("latest", "20260812T030000Z-0001"),
            ("latest~0", "20260812T030000Z-0001"),
            // Literally the one before, complete or not.
            ("latest~1", "20260812T020000Z-0001"),
            ("latest~3", "20260810T180000Z-0003"),
            ("latest~6", "20260809T020000Z-0001"),
            // The last complete one of the day.
            ("2026-08-09", "20260809T020000Z-0001"),
            ("2026-08-10", "20260810T120000Z-0002"),
            ("2026-08-12", "20260812T020000Z-0001"),
            // The newest earlier day has none that is complete.
            ("yesterday", "20260810T120000Z-0002"),
            ("20260810T180000Z-0003", "20260810T180000Z-0003"),
        ] {
            let manifest = store.json(&["get", name, "--format", "manifest"])?;
            assert_eq!(manifest["run_id"], expected, "{name}");
        }
        for name in [
            "latest~7",
            "latest~",
            "latest~x",
            "latest~99999999999999999999",
            "latests",
            "2026-08-11",
            "2026-08-13",
            "2026-13-01",
            "20260810T180000Z-0004",
            "20260810T180000Z-000A",
            "tomorrow",
            "../manifest",
            "\u{1b}[31mred",
            "",
        ] {
            let output = store.command(&["get", name]).output()?;
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{name}: {said}");
            assert!(said.contains("no run is named"), "{name}: {said}");
            assert!(!said.contains('\u{1b}'), "{name}: {said}");
        }
    }
    let empty = Store::folder()?;
    for arguments in [
        &["get", "latest"][..],
        &["diff"],
        &["diff", "yesterday", "latest"],
        &["trend"],
    ] {
        let output = empty.command(arguments).output()?;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
    assert_eq!(empty.print(&["list"])?, "no runs\n");
    Ok(())
}

/// Copies all runs' manifests to another cluster.
fn copy_cluster(root: &Path, name: &str) -> Result {
    for file in harness::files_below(&root.join("manifest"))? {
        let text = fs::read_to_string(root.join("manifest").join(&file))?;
        let file = file.replace(&format!("cluster={CLUSTER}"), &format!("cluster={name}"));
        let file = file.replace(&format!("_{CLUSTER}_"), &format!("_{name}_"));
        let path = root.join("manifest").join(file);
        fs::create_dir_all(path.parent().ok_or("no folder")?)?;
        fs::write(
            path,
            text.replace(&format!("\"{CLUSTER}\""), &format!("\"{name}\"")),
        )?;
    }
    Ok(())
}

#[test]
fn where_there_are_several_clusters_one_is_to_be_named() -> Result {
    for store in Store::both()? {
        write_runs(&store.root())?;
        copy_cluster(&store.root(), "staging")?;
        for arguments in [
            &["get", "latest"][..],
            &["diff"],
            &["trend"],
            &["prune", "--keep-last", "1"],
        ] {
            let output = store.command(arguments).output()?;
            assert_eq!(output.status.code(), Some(1), "{arguments:?}");
            let said = stderr(&output);
            assert!(
                said.contains("--cluster: staging, test"),
                "{arguments:?}: {said}"
            );
        }
        let manifest = store.json(&[
            "get",
            "latest",
            "--cluster",
            "staging",
            "--format",
            "manifest",
        ])?;
        assert_eq!(manifest["cluster_name"], "staging");
        assert_eq!(store.print(&["list"])?.lines().count(), 15);
        assert_eq!(
            store.print(&["list", "--cluster", "test"])?.lines().count(),
            8
        );
        let absent = store
            .command(&["get", "latest", "--cluster", "prod"])
            .output()?;
        assert_eq!(absent.status.code(), Some(1));
    }
    Ok(())
}

fn run_id(time: DateTime<Utc>, number: u32) -> String {
    format!("{}-{number:04x}", time.format("%Y%m%dT%H%M%SZ"))
}

#[test]
fn a_stale_cluster_fails_the_list_that_asks_for_an_age() -> Result {
    for store in Store::both()? {
        let aged = || {
            store
                .command(&["list", "--max-age", "26h", "--format", "json"])
                .output()
        };
        let outcome = |output: &Output| -> Result<Vec<(String, bool)>> {
            let document: Value = serde_json::from_slice(&output.stdout)?;
            let runs = document["runs"].as_array().ok_or("no runs")?.iter();
            Ok(runs
                .map(|run| {
                    let id = run["run_id"].as_str().unwrap_or_default().to_owned();
                    (id, run["stale"] == true)
                })
                .collect())
        };
        let nothing = aged()?;
        assert_eq!(nothing.status.code(), Some(1), "no run is the stalest");

        let now = Utc::now();
        let fresh = run_id(now - TimeDelta::hours(25), 1);
        Tiny::new(&fresh).write(&store.root())?;
        let cut_off = Tiny {
            complete: false,
            ..Tiny::new(&run_id(now - TimeDelta::hours(1), 2))
        };
        cut_off.write(&store.root())?;
        let output = aged()?;
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(outcome(&output)?, [(fresh.clone(), false)]);

        copy_cluster(&store.root(), "staging")?;
        fs::remove_file(runs::path(&store.root(), &fresh, "manifest"))?;
        let old = run_id(now - TimeDelta::hours(27), 3);
        Tiny::new(&old).write(&store.root())?;
        let output = aged()?;
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            outcome(&output)?,
            [(fresh.clone(), false), (old.clone(), true)]
        );
        let table = store.command(&["list", "--max-age", "26h"]).output()?;
        let table = String::from_utf8(table.stdout)?;
        assert_eq!(table.matches("STALE").count(), 1, "{table}");
        let one = store
            .command(&["list", "--max-age", "26h", "--cluster", "staging"])
            .output()?;
        assert_eq!(one.status.code(), Some(0));
        // A cluster whose runs were all cut off has none that counts.
        fs::remove_file(runs::path(&store.root(), &old, "manifest"))?;
        let output = aged()?;
        assert_eq!(output.status.code(), Some(1));
        assert!(outcome(&output)?.contains(&(cut_off.run.clone(), true)));
    }
    Ok(())
}

#[test]
fn a_run_whose_report_has_expired_and_one_that_is_damaged_do_not_hide_the_others() -> Result {
    for store in Store::both()? {
        for run in [
            "20260809T020000Z-0001",
            "20260810T020000Z-0001",
            "20260811T020000Z-0001",
        ] {
            Tiny::new(run).write_with_files(&store.root())?;
        }
        fs::remove_file(runs::path(&store.root(), "20260809T020000Z-0001", "json"))?;
        fs::write(
            runs::path(&store.root(), "20260810T020000Z-0001", "manifest"),
            "{\"run_id\":",
        )?;
        let output = store.command(&["list"]).output()?;
        let table = String::from_utf8(output.stdout.clone())?;
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 3, "{table}");
        assert!(
            lines[1].contains("0809") && lines[1].contains("report expired"),
            "{table}"
        );
        assert!(!lines[2].contains("expired"), "{table}");
        assert!(stderr(&output).contains("damaged"), "{}", stderr(&output));
        let listed = store.json(&["list", "--format", "json"])?;
        assert_eq!(listed["runs"][0]["expired"], true);
        let output = store.command(&["diff", "2026-08-09", "latest"]).output()?;
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("20260809T020000Z-0001"),
            "{}",
            stderr(&output)
        );
    }
    Ok(())
}

/// Three days, one of them with two runs, and what does not count.
fn write_counts(root: &Path) -> Result {
    let counts = |debian: u32, unknown: u32| {
        json!({
            "containers": debian + 3 + unknown, "images": 4,
            "by_distribution": [
                {"distro_id": null, "distro_version": null, "containers": unknown, "images": 1},
                {"distro_id": "debian", "distro_version": "11", "containers": 1, "images": 1},
                {"distro_id": "debian", "distro_version": "12", "containers": debian, "images": 1},
                {"distro_id": "alpine", "distro_version": null, "containers": 2, "images": 1},
            ],
            "by_eol_status": [
                {"eol_status": null, "containers": unknown, "images": 1},
                {"eol_status": "eol", "containers": debian + 3, "images": 3},
            ],
            "by_registry": [{"registry": "=evil()\u{1b}[31m", "containers": debian + 3 + unknown, "images": 4}],
            "by_inspection_status": [
                {"inspection_status": "ok", "error_kind": null, "containers": debian + 3, "images": 3},
                {"inspection_status": "failed", "error_kind": "network", "containers": unknown, "images": 1},
            ],
        })
    };
    let tiny = |run: &str, counts| Tiny {
        counts,
        ..Tiny::new(run)
    };
    tiny("20260809T020000Z-0001", counts(10, 0)).write(root)?;
    tiny("20260810T020000Z-0001", counts(90, 9)).write(root)?;
    tiny("20260810T120000Z-0001", counts(20, 2)).write(root)?;
    let cut_off = Tiny {
        complete: false,
        ..tiny("20260810T180000Z-0001", counts(80, 8))
    };
    cut_off.write(root)?;
    let of_one = Tiny {
        namespace: Some("shop".into()),
        ..tiny("20260811T020000Z-0001", counts(70, 7))
    };
    of_one.write(root)?;
    tiny("20260812T020000Z-0001", counts(30, 3)).write(root)?;
    let mut manifest = document(root, "20260812T020000Z-0001", "manifest")?;
    manifest["changes"] =
        json!({"against": "20260810T120000Z-0001", "by_kind": {"moved_tag": 4, "added": 1}});
    runs::write_manifest(root, &manifest)
}

#[test]
fn a_trend_counts_the_last_complete_run_of_each_day() -> Result {
    for store in Store::both()? {
        write_counts(&store.root())?;
        // Day, value and containers; nobody's value is a dash.
        let counts = |more: &[&str]| -> Result<Vec<String>> {
            let arguments = [&["trend", "--format", "json"][..], more].concat();
            let document = store.json(&arguments)?;
            let rows = document["rows"].as_array().ok_or("no rows")?;
            Ok(rows
                .iter()
                .map(|row| {
                    let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
                    format!(
                        "{} {} {} {}",
                        &text("date")[8..],
                        text("value"),
                        row["containers"],
                        row["images"]
                    )
                })
                .collect())
        };
        for (by, expected) in [
            ("distribution", &["- 3 1", "alpine 2 1", "debian 31 2"][..]),
            (
                "version",
                &["- 3 1", "alpine 2 1", "debian 11 1 1", "debian 12 30 1"],
            ),
            ("eol_status", &["- 3 1", "eol 33 3"]),
            ("registry", &["=evil()\u{1b}[31m 36 4"]),
            ("inspection_status", &["failed network 3 1", "ok 33 3"]),
            ("change", &["added 1 null", "moved_tag 4 null"]),
        ] {
            let found = counts(&["--by", by, "--days", "1"])?;
            let expected: Vec<_> = expected.iter().map(|row| format!("12 {row}")).collect();
            assert_eq!(found, expected, "{by}");
            let csv = store.print(&["trend", "--by", by, "--format", "csv", "--days", "1"])?;
            assert_eq!(csv.lines().count(), expected.len() + 1, "{csv}");
            assert!(
                csv.starts_with("date,run_id,by,value,containers,images\r\n"),
                "{csv}"
            );
            let table = store.print(&["trend", "--by", by])?;
            assert_eq!(table.lines().count(), 4, "{table}");
            for text in [csv, table] {
                assert!(
                    !text.contains('\u{1b}') && !text.contains(",=evil"),
                    "{text}"
                );
            }
        }
        let debian = |more: &[&str]| -> Result<Vec<String>> {
            let mut rows = counts(&[&["--by", "version"][..], more].concat())?;
            rows.retain(|row| row.contains("debian 12"));
            Ok(rows)
        };
        let all = [
            "09 debian 12 10 1",
            "10 debian 12 20 1",
            "12 debian 12 30 1",
        ];
        assert_eq!(debian(&[])?, all);
        assert_eq!(debian(&["--days", "3"])?, all[1..]);
        assert_eq!(
            debian(&["--since", "2026-08-09", "--until", "2026-08-10"])?,
            all[..2]
        );
        assert_eq!(
            debian(&["--until", "2026-08-11", "--allow-scope-mismatch"])?.len(),
            3
        );
        let output = store.command(&["trend"]).output()?;
        assert!(
            stderr(&output).contains("another scope"),
            "{}",
            stderr(&output)
        );
        let output = store
            .command(&["trend", "--days", "2", "--since", "2026-08-09"])
            .output()?;
        assert_eq!(output.status.code(), Some(2));
    }
    Ok(())
}

const HOSTILE: [&str; 4] = [
    "=cmd|' /C calc'!A0",
    "\u{1b}]0;evil\u{7}\u{1b}[31m\u{202e}\r\n| a | <script>alert(1)</script>",
    "[click](https://evil.example) <!channel> @everyone #1 WWW.evil.example",
    "`x` *b* _i_ ~~s~~ \\| &lt; ![i](//evil.example/i.png) www.evil.example",
];

/// Running pods whose every name is hostile; their images' references cannot be read.
fn hostile_pods(version: u32) -> Value {
    let pods: Vec<_> = HOSTILE
        .iter()
        .map(|text| {
            json!({
                "metadata": {
                    "name": text, "namespace": text,
                    "ownerReferences": [{"kind": text, "name": text, "controller": true}],
                },
                "spec": {"containers": [{"name": text, "image": format!("{text} {version}")}]},
                "status": {"phase": "Running"},
            })
        })
        .collect();
    json!({"kind": "List", "items": pods})
}

/// One night of a cluster, without a registry.
fn night(store: &Store, cluster: &str, time: &str, pods: &Value, flags: &[&str]) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pods.json");
    fs::write(&file, pods.to_string())?;
    let mut command = store.command(&["snapshot", "--cluster-name", cluster]);
    command
        .env("IMAGE_CENSUS_CRANE", crane()?)
        .arg("--pods")
        .arg(&file);
    let output = command
        .args(["--snapshot-time", time])
        .args(flags)
        .output()?;
    assert!(output.status.success(), "{}", stderr(&output));
    Ok(String::from_utf8(output.stdout)?)
}

fn is_harmless(text: &str) -> bool {
    !text.contains(|c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
    })
}

#[test]
fn hostile_names_reach_no_terminal_no_markdown_and_no_formula() -> Result {
    let store = Store::folder()?;
    night(
        &store,
        "test",
        "2026-08-09T02:00:00Z",
        &hostile_pods(1),
        &[],
    )?;
    let summary = night(
        &store,
        "test",
        "2026-08-10T02:00:00Z",
        &hostile_pods(2),
        &[],
    )?;
    assert!(is_harmless(&summary), "{summary}");
    assert!(summary.contains("4 reference changed"), "{summary}");

    let table = store.print(&["diff"])?;
    assert!(is_harmless(&table), "{table}");
    assert!(table.contains("evil.example"), "{table}");
    // In a terminal as well: colours, and nothing else that steers it.
    let terminal = in_terminal(100, &mut store.command(&["diff"]))?;
    let rest = without_colours(&terminal);
    assert!(is_harmless(&rest.replace('\r', "")), "{rest:?}");

    let markdown = store.print(&["diff", "--format", "markdown"])?;
    assert!(is_harmless(&markdown), "{markdown}");
    let rows: Vec<_> = markdown
        .lines()
        .filter(|line| line.starts_with("| reference"))
        .collect();
    assert_eq!(rows.len(), HOSTILE.len(), "{markdown}");
    for row in &rows {
        let unescaped = row.replace("\\\\", "").replace("\\|", "");
        assert_eq!(unescaped.matches('|').count(), 7, "{row}");
        // What is left after the escaped characters and our own line ends is plain text.
        let mut plain = row.replace("<br>", "");
        for character in "\\`*_{}[]()!|~".chars() {
            plain = plain.replace(&format!("\\{character}"), "");
        }
        for markup in [
            "<", ">", "`", "*", "[", "]", "~", "://", "@e", "#1", "www.", "WWW.", "&lt; !",
        ] {
            assert!(!plain.contains(markup), "{markup}: {row}");
        }
    }
    assert!(markdown.contains("&amp;lt;"), "{markdown}");

    let folder = tempfile::tempdir()?;
    let csv = folder.path().join("diff-csv/a.csv");
    fs::create_dir(folder.path().join("diff-csv"))?;
    let to_file = csv.display().to_string();
    let printed = store.print(&["diff", "--format", "csv", "--output", &to_file])?;
    assert_eq!(printed, "");
    expect_valid(folder.path(), 1)?;
    let text = fs::read_to_string(&csv)?;
    assert!(is_harmless(&text.replace("\r\n", "\n")), "{text}");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut rows = 0;
    for record in reader.records() {
        let record = record?;
        rows += 1;
        let formula = record
            .iter()
            .find(|cell| cell.starts_with(['=', '+', '-', '@']));
        assert_eq!(formula, None);
    }
    assert_eq!(rows, HOSTILE.len());

    // JSON holds what was there.
    let diff = store.json(&["diff", "--format", "json"])?;
    let changes = diff["changes"].as_array().ok_or("no changes")?;
    let mut names: Vec<_> = changes
        .iter()
        .filter_map(|change| change["workload_name"].as_str())
        .collect();
    let mut expected = HOSTILE.to_vec();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
    expect_valid(&store.root(), 9)
}

/// Pods of some Deployments, each with one container of an image that no registry is asked for.
fn deployments(names: &[(&str, &str)]) -> Value {
    let pods: Vec<_> = names
        .iter()
        .map(|(name, image)| {
            json!({
                "metadata": {
                    "name": format!("{name}-1"), "namespace": if name.starts_with("shop") { "shop" } else { "other" },
                    "ownerReferences": [{"kind": "StatefulSet", "name": name, "controller": true}],
                },
                "spec": {"containers": [{"name": "app", "image": image}]},
                "status": {"phase": "Running"},
            })
        })
        .collect();
    json!({"kind": "List", "items": pods})
}

/// References that cannot be read, so that nobody is asked.
fn two_nights(store: &Store) -> Result {
    let old = deployments(&[("shop-a", "A:1"), ("shop-b", "B:1"), ("other-c", "C:1")]);
    let new = deployments(&[("shop-a", "A:2"), ("other-c", "C:1"), ("other-d", "D:1")]);
    night(store, "test", "2026-08-09T02:00:00Z", &old, &[])?;
    night(store, "test", "2026-08-10T02:00:00Z", &new, &[]).map(drop)
}

#[test]
fn a_diff_reads_well_in_every_format_and_ends_as_it_is_asked_to() -> Result {
    for store in Store::both()? {
        two_nights(&store)?;
        let code = |arguments: &[&str]| -> Result<Option<i32>> {
            let arguments = [&["diff"][..], arguments].concat();
            Ok(store.command(&arguments).output()?.status.code())
        };
        assert_eq!(code(&[])?, Some(0));
        assert_eq!(code(&["--exit-code"])?, Some(4));
        assert_eq!(code(&["latest", "latest", "--exit-code"])?, Some(0));
        assert_eq!(code(&["--exit-code", "--only", "moved_tag"])?, Some(0));
        assert_eq!(
            code(&["--exit-code", "--only", "moved_tag,added"])?,
            Some(4)
        );
        assert_eq!(
            code(&["--exit-code", "--namespace", "kube-system"])?,
            Some(0)
        );
        assert_eq!(code(&["--only", "nonsense"])?, Some(2));
        assert_eq!(code(&["--namespace", "../x"])?, Some(2));
        assert_eq!(code(&["latest", "yesterday", "latest"])?, Some(2));
        assert_eq!(code(&["2026-08-01"])?, Some(1));
        assert_eq!(code(&["latest~1", "latest~1"])?, Some(0));

        let [old, new] = [
            runs::run_ids(&store.root())?.remove(0),
            newest(&store.root())?,
        ];
        let heading = format!("test: {old} → {new}");
        let table = store.print(&["diff"])?;
        let squeezed: Vec<_> = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            squeezed,
            [
                &*heading,
                "CHANGE NAMESPACE WORKLOAD CONTAINER THEN NOW",
                "added other StatefulSet/other-d app D:1 (not known: invalid)",
                "reference changed shop StatefulSet/shop-a app A:1 (not known: invalid) A:2 (not known: invalid)",
                "removed shop StatefulSet/shop-b app B:1 (not known: invalid)",
                "1 reference changed, 1 added, 1 removed",
            ]
        );
        let shop = store.print(&["diff", "--namespace", "shop", "--only", "removed"])?;
        assert!(
            shop.contains("shop-b") && shop.ends_with("\n1 removed\n"),
            "{shop}"
        );
        let same = store.print(&["diff", "latest", "latest"])?;
        assert!(same.ends_with("\nno changes\n"), "{same}");
        let markdown = store.print(&["diff", "--format", "markdown"])?;
        let expected = "| change | namespace | workload | container | then | now |\n|---|---|---|---|---|---|\n\
                        | added | other | StatefulSet/other-d | app |  | D:1 \\(not known: invalid\\) |\n";
        assert!(markdown.contains(expected), "{markdown}");
        let csv = store.print(&["diff", "--format", "csv"])?;
        assert_eq!(csv.lines().count(), 4, "{csv}");
        // Colours on a terminal only.
        let plain = store.print(&["diff"])?;
        assert!(!plain.contains('\u{1b}'));
    }
    let store = Store::folder()?;
    two_nights(&store)?;
    let terminal = in_terminal(100, &mut store.command(&["diff"]))?;
    assert!(terminal.contains("\u{1b}["), "{terminal:?}");
    assert!(
        without_colours(&terminal)
            .lines()
            .all(|line| line.chars().count() <= 100),
        "{terminal}"
    );
    Ok(())
}

/// The report of a run, as a file of its own.
#[test]
fn a_download_is_whole_or_not_there_and_follows_no_link() -> Result {
    for store in Store::both()? {
        two_nights(&store)?;
        let run = newest(&store.root())?;
        let folder = tempfile::tempdir()?;
        let (theirs, link) = (folder.path().join("theirs"), folder.path().join("link"));
        fs::write(&theirs, "somebody's")?;
        std::os::unix::fs::symlink(&theirs, &link)?;
        save(&store, &run, &link)?;
        assert_eq!(fs::read_to_string(&theirs)?, "somebody's");
        assert!(!fs::symlink_metadata(&link)?.is_symlink());
        let stored = fs::read(runs::path(&store.root(), &run, "json"))?;
        assert_eq!(fs::read(&link)?, stored);

        // What is not as its manifest says is not shown, and leaves what was there.
        fs::write(
            runs::path(&store.root(), &run, "json"),
            &stored[..stored.len() / 2],
        )?;
        let to = theirs.display().to_string();
        for flags in [&["--output", &to][..], &[]] {
            let arguments = [&["get", "latest", "--format", "json"], flags].concat();
            let output = store.command(&arguments).output()?;
            assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
            assert!(output.stdout.is_empty());
        }
        assert_eq!(fs::read_to_string(&theirs)?, "somebody's");
        assert_eq!(fs::read_dir(folder.path())?.count(), 2);
    }
    Ok(())
}

fn save(store: &Store, run: &str, path: &Path) -> Result<String> {
    let path = path.display().to_string();
    store.print(&["get", run, "--format", "json", "--output", &path])?;
    Ok(path)
}

#[test]
fn two_files_two_clusters_and_two_scopes_are_compared_as_far_as_that_goes() -> Result {
    for store in Store::both()? {
        two_nights(&store)?;
        let folder = tempfile::tempdir()?;
        let file = |name: &str| -> PathBuf { folder.path().join(name) };
        let (old, new) = (
            save(&store, "yesterday", &file("old.json"))?,
            save(&store, "latest", &file("new.json"))?,
        );
        let expected = store.json(&["diff", "--format", "json"])?;
        // Files need no store at all, and go with runs.
        let output = program()
            .args([
                "diff",
                &old,
                &new,
                "--format",
                "json",
                "--store",
                "/nonexistent/x",
            ])
            .output()?;
        assert_eq!(serde_json::from_slice::<Value>(&output.stdout)?, expected);
        for sides in [[&*old, "latest"], ["yesterday", &*new]] {
            let diff = store.json(&["diff", sides[0], sides[1], "--format", "json"])?;
            assert_eq!(diff, expected, "{sides:?}");
        }
        for (name, content) in [
            ("empty", ""),
            ("foreign", "{\"images\":[]}"),
            ("cut-off", "{\"schema_version\":\"1.0\""),
        ] {
            let path = file(name).display().to_string();
            fs::write(&path, content)?;
            let output = program().args(["diff", &path, &new]).output()?;
            assert_eq!(output.status.code(), Some(2), "{name}: {}", stderr(&output));
        }
        let newer = fs::read_to_string(&old)?.replacen("\"1.0\"", "\"2.0\"", 1);
        fs::write(file("newer"), newer)?;
        let output = program()
            .arg("diff")
            .arg(file("newer"))
            .arg(&new)
            .output()?;
        assert!(
            stderr(&output).contains("use a newer image-census"),
            "{}",
            stderr(&output)
        );

        // Another cluster.
        let staging = deployments(&[("shop-a", "A:9"), ("other-c", "C:1"), ("other-d", "D:1")]);
        night(&store, "staging", "2026-08-10T03:00:00Z", &staging, &[])?;
        let across = store.json(&[
            "diff",
            "--cluster",
            "test",
            "--against",
            "staging",
            "--format",
            "json",
        ])?;
        assert_eq!(across["old"]["cluster_name"], "staging");
        assert_eq!(across["counts"], json!({"reference_changed": 1}));
        let table = store.print(&["diff", "--cluster", "test", "--against", "staging"])?;
        assert!(table.starts_with("staging and test: "), "{table}");
        let output = store.command(&["diff", "--against", "staging"]).output()?;
        assert_eq!(output.status.code(), Some(2));

        // Another scope.
        let new = deployments(&[("shop-a", "A:3"), ("other-c", "C:2")]);
        night(
            &store,
            "test",
            "2026-08-11T02:00:00Z",
            &new,
            &["--namespace", "shop"],
        )?;
        let one = [
            "diff",
            "--cluster",
            "test",
            "2026-08-10",
            "latest",
            "--format",
            "json",
        ];
        let output = store.command(&one).output()?;
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("different scopes"),
            "{}",
            stderr(&output)
        );
        let diff = store.json(&[&one[..], &["--allow-scope-mismatch"]].concat())?;
        let changes = diff["changes"].as_array().ok_or("no changes")?;
        assert_eq!(changes.len(), 1, "{diff:#}");
        assert_eq!(changes[0]["workload_name"], "shop-a");
        // The newest complete run has none of its scope before it.
        let output = store.command(&["diff", "--cluster", "test"]).output()?;
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr(&output).contains("with the same scope"),
            "{}",
            stderr(&output)
        );
        // The next whole night is compared with the last whole one.
        let summary = night(&store, "test", "2026-08-12T02:00:00Z", &new, &[])?;
        assert!(summary.contains("since 20260810T020000Z"), "{summary}");
    }
    Ok(())
}
