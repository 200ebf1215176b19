//! The files of two nights in the hands of others: jsonschema, frictionless and pandas.

mod fixtures;
mod harness;
#[path = "harness/night.rs"]
mod night;

use std::fs;
use std::path::{Path, PathBuf};

use harness::object_store::{BUCKET, ObjectStore};
use harness::readers::{expect_valid, findings};
use harness::{Result, files_below, get, program, succeed};
use night::demo_nights;
use serde_json::{Value, json};

/// The files of two nights, without `latest`: the second one has a diff.
const FILES_OF_TWO: usize = 4 + 5;

/// The contract's columns, in its order.
const CONTAINER_HEADER: &str = "run_id,snapshot_time,cluster_name,namespace,workload_kind,\
workload_name,pod,pod_phase,node,container,container_type,owner,image,registry,repository,tag,digest,\
digest_source,manifest_digest,image_id,platform,platform_source,os,architecture,os_version,distro_id,\
distro_version,distro_name,distro_release,distro_source,eol_status,eol_date,eol_extended_date,\
base_image,base_image_source,image_created,image_size_bytes,image_user,inspection_status,error_kind,\
error_message,inspected_via,inspected_at";

const WORKLOAD_HEADER: &str = "run_id,snapshot_time,cluster_name,namespace,workload_kind,\
workload_name,container,container_type,owner,pods,pods_running,image,registry,repository,tag,digest,\
manifest_digest,platform,os,architecture,os_version,distro_id,distro_version,distro_name,\
distro_release,distro_source,eol_status,eol_date,eol_extended_date,inspection_status,error_kind,\
error_message";

/// What is wrong with one copy of a file, and who must notice it.
struct Broken {
    format: &'static str,
    change: Change,
    noticed_by: &'static [&'static str],
}

enum Change {
    /// A column gets another name.
    Column(&'static str),
    /// The first cell of the column that holds something holds this instead.
    Cell(&'static str, &'static str),
    /// The value at a JSON pointer.
    Value(&'static str, Value),
    /// A field at the top is gone.
    Gone(&'static str),
}

const BOTH: &[&str] = &["frictionless", "pandas"];
const FRICTIONLESS: &[&str] = &["frictionless"];
const JSONSCHEMA: &[&str] = &["jsonschema"];

fn broken(format: &'static str, change: Change, noticed_by: &'static [&'static str]) -> Broken {
    Broken {
        format,
        change,
        noticed_by,
    }
}

fn all_broken() -> Vec<Broken> {
    use Change::{Cell, Column, Gone, Value};
    vec![
        broken("csv", Column("digest_source"), BOTH),
        broken("csv", Cell("image_size_bytes", "4 MB"), BOTH),
        broken("csv", Cell("image_size_bytes", "4.5"), BOTH),
        broken("csv", Cell("eol_date", "2026-02-30"), BOTH),
        broken("csv", Cell("snapshot_time", "2026-11-23 02:00:00"), BOTH),
        broken("csv", Cell("run_id", ""), FRICTIONLESS),
        broken("csv", Cell("platform_source", "guess"), FRICTIONLESS),
        broken("csv", Cell("error_kind", "unknown"), FRICTIONLESS),
        broken("workloads", Column("pods"), BOTH),
        broken("workloads", Cell("pods_running", "all"), BOTH),
        broken("workloads", Cell("eol_extended_date", "never"), BOTH),
        broken("workloads", Cell("eol_status", "dead"), FRICTIONLESS),
        broken("json", Gone("containers"), JSONSCHEMA),
        broken(
            "json",
            Value("/snapshot_time", json!("23.11.2026")),
            JSONSCHEMA,
        ),
        broken(
            "json",
            Value("/images/0/inspection_status", json!("fine")),
            JSONSCHEMA,
        ),
        broken(
            "json",
            Value("/containers/0/image_index", json!("0")),
            JSONSCHEMA,
        ),
        broken("diff", Gone("counts"), JSONSCHEMA),
        broken(
            "diff",
            Value("/changes/0/kinds/0", json!("worse")),
            JSONSCHEMA,
        ),
        broken(
            "diff",
            Value("/new/snapshot_time", json!("2026-11-24")),
            JSONSCHEMA,
        ),
        broken("diff-csv", Column("kind"), BOTH),
        broken("diff-csv", Cell("kind", "worse"), FRICTIONLESS),
        broken("diff-csv", Cell("new_run_id", ""), FRICTIONLESS),
        broken("manifest", Gone("files"), JSONSCHEMA),
        broken(
            "manifest",
            Value("/files/0/size_bytes", json!(-1)),
            JSONSCHEMA,
        ),
        broken(
            "manifest",
            Value("/versions/eol_data", json!("2026-13-01")),
            JSONSCHEMA,
        ),
    ]
}

fn changed_csv(text: &str, change: &Change) -> Result<String> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let mut header = reader.headers()?.clone();
    let mut rows = reader
        .records()
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let (Change::Column(name) | Change::Cell(name, _)) = change else {
        return Err("not a change of a table".into());
    };
    let place = header.iter().position(|column| column == *name);
    let place = place.ok_or_else(|| format!("no column {name}"))?;
    let with = |record: &csv::StringRecord, text: &str| -> csv::StringRecord {
        let cells = record.iter().enumerate();
        cells
            .map(|(at, cell)| if at == place { text } else { cell })
            .collect()
    };
    if let Change::Cell(_, text) = change {
        let row = rows.iter_mut().find(|row| !row[place].is_empty());
        let row = row.ok_or_else(|| format!("{name} is empty in every row"))?;
        *row = with(row, text);
    } else {
        header = with(&header, "renamed");
    }
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(&header)?;
    for row in &rows {
        writer.write_record(row)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn changed_json(text: &str, change: &Change) -> Result<String> {
    let mut document: Value = serde_json::from_str(text)?;
    match change {
        Change::Value(pointer, value) => {
            *document.pointer_mut(pointer).ok_or("nothing there")? = value.clone();
        }
        Change::Gone(name) => {
            let fields = document.as_object_mut().ok_or("no object")?;
            fields.remove(*name).ok_or("nothing there")?;
        }
        _ => return Err("not a change of a document".into()),
    }
    Ok(document.to_string())
}

/// A copy of one file of `store`, changed, alone in a folder of its own.
fn write_broken(store: &Path, folder: &Path, broken: &Broken) -> Result {
    let files = files_below(&store.join(broken.format))?;
    let file = files.first().ok_or("no file")?;
    let text = fs::read_to_string(store.join(broken.format).join(file))?;
    let changed = match broken.change {
        Change::Column(_) | Change::Cell(..) => changed_csv(&text, &broken.change)?,
        Change::Value(..) | Change::Gone(_) => changed_json(&text, &broken.change)?,
    };
    let copy = folder.join(broken.format).join(file);
    fs::create_dir_all(copy.parent().ok_or("no folder")?)?;
    Ok(fs::write(copy, changed)?)
}

#[test]
fn two_nights_are_as_the_schemas_say_and_a_broken_copy_of_each_file_is_refused() -> Result {
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("store");
    demo_nights(&store, |_| {})?;
    let changes = store.join("diff-csv/changes.csv");
    fs::create_dir(store.join("diff-csv"))?;
    let mut diff = program();
    diff.args(["diff", "--format", "csv", "--output"])
        .arg(&changes);
    succeed(diff.arg("--store").arg(&store))?;
    expect_valid(&store, FILES_OF_TWO + 1)?;

    // A change that leaves a table as it was proves that rewriting it is not what is noticed.
    let all = all_broken();
    let copies: Vec<PathBuf> = (0..all.len())
        .map(|number| folder.path().join(format!("broken-{number}")))
        .collect();
    for (broken, copy) in all.iter().zip(&copies) {
        write_broken(&store, copy, broken)?;
    }
    let mut folders: Vec<&Path> = copies.iter().map(PathBuf::as_path).collect();
    let same = folder.path().join("same");
    let unchanged = broken("csv", Change::Cell("cluster_name", "test"), &[]);
    write_broken(&store, &same, &unchanged)?;
    folders.push(&same);
    let mut found = findings(&folders)?;
    let of_same = found.pop().ok_or("no findings")?;
    assert!(of_same.values().all(Vec::is_empty), "{of_same:?}");
    assert_eq!(found.len(), all.len());
    for (broken, found) in all.iter().zip(found) {
        let said: Vec<String> = found.into_values().flatten().collect();
        let who = match &broken.change {
            Change::Column(name) | Change::Cell(name, _) => *name,
            Change::Value(name, _) | Change::Gone(name) => name,
        };
        for reader in broken.noticed_by {
            assert!(
                said.iter().any(|line| line.starts_with(reader)),
                "{reader} took {}'s {who}: {said:#?}",
                broken.format
            );
        }
    }
    Ok(())
}

#[test]
fn what_is_downloaded_from_a_bucket_is_as_the_schemas_say() -> Result {
    let server = ObjectStore::start(&[])?;
    let store = format!("s3://{BUCKET}/fleet");
    demo_nights(Path::new(&store), |command| server.configure(command))?;
    let downloads = tempfile::tempdir()?;
    server.download("fleet/", downloads.path())?;
    expect_valid(downloads.path(), FILES_OF_TWO)
}

#[test]
fn the_columns_are_those_of_the_contract_in_its_order() -> Result {
    let folder = tempfile::tempdir()?;
    let (pods, store) = (folder.path().join("pods"), folder.path().join("store"));
    fs::write(&pods, r#"{"kind":"List","items":[]}"#)?;
    succeed(&mut harness::snapshot_of(&pods, &store)?)?;
    for (format, header) in [("csv", CONTAINER_HEADER), ("workloads", WORKLOAD_HEADER)] {
        assert_eq!(get(&store, "latest", format)?, format!("{header}\r\n"));
    }
    // The schema of the table names the same ones.
    for (name, header) in [
        ("containers.tableschema.json", CONTAINER_HEADER),
        ("workloads.tableschema.json", WORKLOAD_HEADER),
    ] {
        let schema = fs::read(harness::root().join("schemas").join(name))?;
        let schema: Value = serde_json::from_slice(&schema)?;
        let fields = schema["fields"].as_array().ok_or("no fields")?;
        let names: Vec<_> = fields.iter().filter_map(|f| f["name"].as_str()).collect();
        assert_eq!(names.join(","), header, "{name}");
    }
    Ok(())
}
