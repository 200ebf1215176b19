//! A run exists from its manifest on: killed before it, nobody sees it; after it, it is whole.

mod fixtures;
mod harness;
#[path = "harness/night.rs"]
mod night;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use fixtures::images;
use harness::{Result, files_below, get, list, program, snapshot_of, succeed};
use night::write_idle_pods;
use serde_json::Value;

/// The order in which the objects of a run become visible.
const ORDER: [&str; 6] = ["csv", "workloads", "json", "diff", "manifest", "latest"];
const FIRST_NIGHT: &str = "2026-11-23T02:00:00Z";
const SECOND_NIGHT: &str = "2026-11-24T02:00:00Z";
/// The second night's partition.
const SECOND_DATE: &str = "2026-11-24";
/// A run may pass the stage that it is to be killed at before the kill takes effect. So it is done
/// over, but not for ever.
const ATTEMPTS: usize = 200;

/// A store with one night's run, and the pods of the next.
struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new(count: usize) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        write_idle_pods(&folder.path().join("few.json"), 1)?;
        write_idle_pods(&folder.path().join("many.json"), count)?;
        let site = Self { folder };
        site.first_night()?;
        Ok(site)
    }

    /// Starts over with a store of one run.
    fn first_night(&self) -> Result {
        if self.store().exists() {
            fs::remove_dir_all(self.store())?;
        }
        let few = self.folder.path().join("few.json");
        let mut command = snapshot_of(&few, &self.store())?;
        succeed(command.args(["--snapshot-time", FIRST_NIGHT])).map(drop)
    }

    fn many(&self) -> PathBuf {
        self.folder.path().join("many.json")
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// Where the second night's object of a format is, once it is visible.
    fn object(&self, format: &str) -> Result<Option<PathBuf>> {
        let partition = format!("{format}/cluster=test/dt={SECOND_DATE}");
        let Ok(entries) = fs::read_dir(self.store().join(partition)) else {
            return Ok(None);
        };
        for entry in entries {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with('.') {
                return Ok(Some(entry.path()));
            }
        }
        Ok(None)
    }

    /// Whether the second night's object is visible; `latest` is, once it names that night.
    fn is_visible(&self, name: &str) -> Result<bool> {
        if name == "latest" {
            return Ok(!self.latest()?.contains("20261123T"));
        }
        Ok(self.object(name)?.is_some())
    }

    fn visible(&self) -> Result<Vec<&'static str>> {
        let mut visible = Vec::new();
        for name in ORDER {
            if self.is_visible(name)? {
                visible.push(name);
            }
        }
        Ok(visible)
    }

    fn latest(&self) -> Result<String> {
        Ok(fs::read_to_string(
            self.store().join("latest/cluster=test.json"),
        )?)
    }

    /// Kills the second night's run as soon as `stage` of its objects are visible; at 0, as soon as
    /// its first file is being written.
    fn kill_at(&self, stage: usize) -> Result<ExitStatus> {
        let mut command = snapshot_of(&self.many(), &self.store())?;
        command.args(["--snapshot-time", SECOND_NIGHT]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let begun = self
            .store()
            .join(format!("csv/cluster=test/dt={SECOND_DATE}"));
        let mut run = command.spawn()?;
        let started = Instant::now();
        while run.try_wait()?.is_none() {
            let reached = match stage.checked_sub(1) {
                Some(last) => self.is_visible(ORDER[last])?,
                None => begun.exists(),
            };
            if reached {
                break;
            }
            if started.elapsed() > Duration::from_secs(120) {
                run.kill()?;
                run.wait()?;
                return Err(format!("stage {stage} was not reached").into());
            }
            std::thread::yield_now();
        }
        run.kill()?;
        Ok(run.wait()?)
    }
}

/// Every file of a committed run is there, in the size and with the digest of its manifest.
fn expect_whole(store: &Path, manifest: &Path) -> Result {
    let text = fs::read_to_string(manifest)?;
    assert_eq!(text.find('\n'), Some(text.len() - 1), "one line");
    let manifest: Value = serde_json::from_str(&text)?;
    let files = manifest["files"].as_array().ok_or("no files")?;
    let formats: Vec<_> = files
        .iter()
        .filter_map(|file| file["format"].as_str())
        .collect();
    assert_eq!(formats, ORDER[..4]);
    for file in files {
        let content = fs::read(store.join(file["key"].as_str().ok_or("no key")?))?;
        assert_eq!(file["size_bytes"], content.len());
        let digest = images::digest_of(&content);
        assert_eq!(file["sha256"].as_str(), digest.strip_prefix("sha256:"));
    }
    Ok(())
}

/// What no `list` and no `get` shows after a run was killed before its manifest.
fn expect_invisible(site: &Site, listed: &str, first: &str) -> Result {
    let store = site.store();
    assert_eq!(list(&store)?, listed);
    assert_eq!(get(&store, "latest", "csv")?, first);
    let mut names = vec![SECOND_DATE.to_owned()];
    if let Some(csv) = site.object("csv")? {
        let name = csv.file_stem().ok_or("no name")?.to_string_lossy();
        let run = name.strip_prefix("image-census_test_").ok_or("no run id")?;
        names.push(run.to_owned());
    }
    for name in names {
        let output = program()
            .args(["get", &name, "--store"])
            .arg(&store)
            .output()?;
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(output.stdout.is_empty(), "{name}");
    }
    Ok(())
}

#[test]
fn a_run_that_is_killed_between_two_of_its_files_is_invisible_and_the_next_is_whole() -> Result {
    let pods = 1_000;
    let site = Site::new(pods)?;
    for stage in 0..ORDER.len() {
        let mut attempts = 0;
        let (listed, first) = loop {
            site.first_night()?;
            let before = (list(&site.store())?, get(&site.store(), "latest", "csv")?);
            let status = site.kill_at(stage)?;
            let visible = site.visible()?;
            // Whenever it died: never a later object without those before it.
            assert_eq!(visible, ORDER[..visible.len()], "at {stage}");
            if visible.contains(&"manifest") {
                let manifest = site.object("manifest")?.ok_or("no manifest")?;
                expect_whole(&site.store(), &manifest)?;
            }
            if visible.len() == stage {
                assert_eq!(status.code(), None, "killed at {stage}: {status}");
                break before;
            }
            attempts += 1;
            assert!(attempts < ATTEMPTS, "never dead at {stage}");
        };
        let committed = ORDER[..stage].contains(&"manifest");
        if committed {
            // All but `latest`, which is a help for people and names the run before it.
            assert_eq!(list(&site.store())?.lines().count(), 3);
            assert_eq!(
                get(&site.store(), "latest", "csv")?.lines().count(),
                pods + 1
            );
        } else {
            expect_invisible(&site, &listed, &first)?;
        }

        let mut next = snapshot_of(&site.many(), &site.store())?;
        succeed(next.args(["--snapshot-time", "2026-11-24T02:05:00Z"]))?;
        let runs = if committed { 3 } else { 2 };
        assert_eq!(list(&site.store())?.lines().count(), runs + 1);
        let latest: Value = serde_json::from_str(&site.latest()?)?;
        let key = latest["manifest"].as_str().ok_or("no manifest")?;
        assert!(key.contains("20261124T020500Z"), "{key}");
        expect_whole(&site.store(), &site.store().join(key))?;
        for format in ["csv", "workloads"] {
            let text = get(&site.store(), "latest", format)?;
            assert_eq!(text.lines().count(), pods + 1, "{format}");
        }
    }
    Ok(())
}

#[test]
fn latest_names_the_newest_run_unless_it_is_switched_off() -> Result {
    let site = Site::new(1)?;
    let latest = site.latest()?;
    let document: Value = serde_json::from_str(&latest)?;
    let manifests = files_below(&site.store().join("manifest"))?;
    let only = manifests.first().ok_or("no manifest")?;
    assert_eq!(document["manifest"], format!("manifest/{only}"));
    let run = document["run_id"].as_str().ok_or("no run id")?;
    assert!(
        only.ends_with(&format!("image-census_test_{run}.json")),
        "{only}"
    );

    let mut quiet = snapshot_of(&site.many(), &site.store())?;
    succeed(quiet.args(["--snapshot-time", SECOND_NIGHT, "--no-latest"]))?;
    assert_eq!(site.latest()?, latest);
    assert_eq!(list(&site.store())?.lines().count(), 3);

    let mut loud = snapshot_of(&site.many(), &site.store())?;
    succeed(loud.args(["--snapshot-time", "2026-11-25T02:00:00Z"]))?;
    let document: Value = serde_json::from_str(&site.latest()?)?;
    let run = document["run_id"].as_str().ok_or("no run id")?;
    assert!(run.starts_with("20261125T020000Z-"), "{run}");
    let newest = get(&site.store(), "latest", "manifest")?;
    assert!(newest.contains(run));

    let other = site.folder.path().join("other");
    let mut quiet = snapshot_of(&site.many(), &other)?;
    succeed(quiet.arg("--no-latest"))?;
    assert!(!other.join("latest").exists());
    assert_eq!(list(&other)?.lines().count(), 2);
    Ok(())
}
