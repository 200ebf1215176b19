//! A folder that cannot be written to: full, read-only, closed, or no folder. The error says what to
//! do, no image is inspected where it can be known before, and nothing half-written is left.

mod fixtures;
mod harness;
#[path = "harness/night.rs"]
mod night;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use harness::{Result, files_below, mounts, program, snapshot_of, stderr, succeed};
use night::{Night, write_idle_pods};
use serde_json::Value;

/// The last line on stderr, where an error stands.
fn last_line(output: &Output) -> String {
    stderr(output).lines().last().unwrap_or_default().to_owned()
}

/// A run that ends with 1 and these words, before any image is asked for.
fn expect_refusal(
    name: &str,
    night: &Night,
    output: &Output,
    requests: usize,
    says: &[&str],
) -> Result {
    let last = last_line(output);
    assert_eq!(output.status.code(), Some(1), "{name}: {last}");
    for words in says.iter().chain(&["error: ", "another --store"]) {
        assert!(last.contains(words), "{name}: {last}");
    }
    assert_eq!(
        night.requests()?,
        requests,
        "{name}: an image was asked for"
    );
    Ok(())
}

#[test]
fn a_full_disk_and_a_read_only_folder_are_known_before_any_image_is_inspected() -> Result {
    let night = Night::new()?;
    let requests = night.requests()?;
    let folder = night.folder().join("disk");
    fs::create_dir(&folder)?;
    let new = folder.join("reports");
    let read_only = r#"mount --bind "$FOLDER" "$FOLDER" && mount -o remount,bind,ro "$FOLDER""#;
    // As large as its content: a file can still be made, but not filled.
    let full =
        r#"mount -t tmpfs -o size=64k none "$FOLDER" && head -c 64k /dev/zero >"$FOLDER/other""#;
    for (name, script, store, says, left) in [
        ("read-only", read_only, &folder, "read-only", &[][..]),
        ("read-only, new folder", read_only, &new, "read-only", &[]),
        (
            "full",
            full,
            &folder,
            "disk is full; free some space",
            &["other"],
        ),
        (
            "full, new folder",
            full,
            &new,
            "disk is full; free some space",
            &["other"],
        ),
    ] {
        let mounted = mounts::run(&folder, script, &snapshot_of(&night.pods(), store)?)?;
        let store = store.display().to_string();
        expect_refusal(name, &night, &mounted.output, requests, &[says, &store])?;
        assert_eq!(mounted.files, left, "{name}");
    }
    // Without the mounts it is a store like any other.
    succeed(&mut snapshot_of(&night.pods(), &new)?)?;
    assert!(night.requests()? > requests);
    Ok(())
}

#[test]
fn what_is_no_folder_or_a_closed_one_is_known_before_any_image_is_inspected() -> Result {
    let night = Night::new()?;
    let requests = night.requests()?;
    let file = night.folder().join("file");
    fs::write(&file, "not a folder")?;
    let closed = night.folder().join("closed");
    fs::create_dir(&closed)?;
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555))?;
    let permissions = "check the permissions of the folder";
    for (name, store, says) in [
        ("a file", file.clone(), "a file is in the way"),
        ("below a file", file.join("reports"), "a file is in the way"),
        ("closed", closed.clone(), permissions),
        ("in a closed one", closed.join("reports"), permissions),
    ] {
        let command = snapshot_of(&night.pods(), &store)?;
        let output = mounts::under_permissions(&command).output()?;
        let store = store.display().to_string();
        expect_refusal(name, &night, &output, requests, &[says, &store])?;
    }
    assert_eq!(fs::read_to_string(&file)?, "not a folder");
    assert!(files_below(&closed)?.is_empty());
    Ok(())
}

/// Bytes of a file's blocks in a tmpfs.
fn on_disk(size: u64) -> u64 {
    size.next_multiple_of(4_096)
}

fn snapshot(pods: &Path, store: &Path) -> Result<Command> {
    let mut command = snapshot_of(pods, store)?;
    command.args(["--snapshot-time", "2026-11-23T02:00:00Z"]);
    Ok(command)
}

#[test]
fn a_disk_that_fills_up_leaves_no_run_and_no_half_file() -> Result {
    let folder = tempfile::tempdir()?;
    let (pods, disk) = (folder.path().join("pods.json"), folder.path().join("disk"));
    write_idle_pods(&pods, 400)?;
    fs::create_dir(&disk)?;
    // How large the files are, from a disk with room.
    let roomy = folder.path().join("roomy");
    succeed(&mut snapshot(&pods, &roomy)?)?;
    let manifest = succeed(
        program()
            .args(["get", "latest", "--format", "manifest", "--store"])
            .arg(&roomy),
    )?;
    let document: Value = serde_json::from_str(&manifest)?;
    let size = |file: usize| {
        document["files"][file]["size_bytes"]
            .as_u64()
            .ok_or("no size")
    };
    let (csv, workloads, json) = (size(0)?, size(1)?, size(2)?);
    assert!(csv > 64_000, "more than one write: {csv} bytes");
    let two = on_disk(csv) + on_disk(workloads);
    let three = two + on_disk(json);
    let four = three + on_disk(manifest.len() as u64);

    for (name, size, visible) in [
        ("in the middle of the CSV", csv / 2, &[][..]),
        ("at the end of the CSV", csv - 4_096, &[]),
        ("in the workloads", on_disk(csv) + workloads / 2, &["csv"]),
        ("in the JSON", two + json / 2, &["csv", "workloads"]),
        ("at the manifest", three, &["csv", "json", "workloads"]),
    ] {
        let mount = format!(r#"mount -t tmpfs -o size={size} none "$FOLDER""#);
        let mounted = mounts::run(&disk, &mount, &snapshot(&pods, &disk)?)?;
        let last = last_line(&mounted.output);
        assert_eq!(mounted.output.status.code(), Some(1), "{name}: {last}");
        for words in [
            "error: could not write ",
            "the disk is full; free some space",
        ] {
            assert!(last.contains(words), "{name}: {last}");
        }
        // Whole files that no manifest names, and nothing else: no .part, no manifest, no latest.
        let formats: Vec<_> = mounted
            .files
            .iter()
            .filter_map(|file| file.split('/').next())
            .collect();
        assert_eq!(formats, visible, "{name}: {:?}", mounted.files);
        assert!(
            !mounted.files.iter().any(|file| file.ends_with(".part")),
            "{name}: {:?}",
            mounted.files
        );
    }

    // With room for all but `latest` the run is committed.
    let mount = format!(r#"mount -t tmpfs -o size={four} none "$FOLDER""#);
    let mounted = mounts::run(&disk, &mount, &snapshot(&pods, &disk)?)?;
    let said = stderr(&mounted.output);
    assert!(mounted.output.status.success(), "{said}");
    assert!(said.contains("latest is not up to date"), "{said}");
    assert_eq!(mounted.files.len(), 4, "{:?}", mounted.files);
    assert!(
        mounted
            .files
            .iter()
            .any(|file| file.starts_with("manifest/"))
    );
    assert!(!mounted.files.iter().any(|file| file.ends_with(".part")));
    Ok(())
}
