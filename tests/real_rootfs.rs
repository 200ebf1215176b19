//! Real root file systems: Debian releases made by debootstrap, in the shapes that images have.
//!
//! `scripts/tools rootfs` makes them; crane makes images of them. What is expected is read from the
//! trees with the system's own tar, so that a new point release changes nothing here.

mod fixtures;
mod harness;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixtures::layers::Layer;
use fixtures::manifests;
use fixtures::pods::{Container, Pod, Workload};
use fixtures::truth::SNAPSHOT_TIME;
use harness::registry::Registry;
use harness::{Result, crane, get, rows, snapshot_of, succeed, tool};
use serde_json::Value;

/// The suites, oldest first: name, VERSION_ID, and the end of support on the run's date.
const SUITES: [(&str, &str, &str); 3] = [
    ("bullseye", "11", "eol"),
    ("bookworm", "12", "extended"),
    ("trixie", "13", "supported"),
];

/// A real tree, and what it says of itself.
struct Tree {
    suite: &'static str,
    version: &'static str,
    eol: &'static str,
    blob: PathBuf,
    /// A folder with the files of its package base-files.
    files: PathBuf,
    os_release: String,
    debian_version: String,
}

/// An image in the registry, and its expected cells.
struct Image {
    name: String,
    digest: String,
    /// id, version, name, release, source, end of life.
    cells: [String; 6],
    /// The layer that answers.
    layer: u64,
}

impl Tree {
    fn read(
        (suite, version, eol): (&'static str, &'static str, &'static str),
        folder: &Path,
    ) -> Result<Self> {
        let blob = tool(&format!("rootfs/{suite}.tar.gz"))?;
        let files = folder.join(suite);
        fs::create_dir(&files)?;
        let list = "./var/lib/dpkg/info/base-files.list";
        let tar = || {
            let mut tar = Command::new("tar");
            tar.arg("--extract")
                .arg("--file")
                .arg(&blob)
                .arg("--directory")
                .arg(&files);
            tar
        };
        succeed(tar().arg(list))?;
        // As dpkg has them: `/.`, `/etc/os-release` …
        let paths: Vec<String> = fs::read_to_string(files.join(list))?
            .lines()
            .filter(|path| *path != "/.")
            .map(|path| format!(".{path}\n"))
            .collect();
        fs::remove_dir_all(files.join("var"))?;
        let names = folder.join(format!("{suite}.files"));
        fs::write(&names, paths.concat())?;
        succeed(tar().arg("--no-recursion").arg("--files-from").arg(&names))?;
        Ok(Self {
            suite,
            version,
            eol,
            os_release: fs::read_to_string(files.join("usr/lib/os-release"))?,
            debian_version: fs::read_to_string(files.join("etc/debian_version"))?
                .trim()
                .to_owned(),
            blob,
            files,
        })
    }

    /// A value of its os-release, whose form is simple.
    fn value(&self, key: &str) -> String {
        let line = self
            .os_release
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches('"').to_owned()
    }

    /// Expected cells of an image whose release files are this tree's.
    fn cells(&self, source: &str) -> [String; 6] {
        let name = self.value("PRETTY_NAME");
        [
            "debian",
            self.version,
            &name,
            &self.debian_version,
            source,
            self.eol,
        ]
        .map(str::to_owned)
    }

    /// The package base-files as a layer: what an upgrade of it leaves behind.
    fn upgrade(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join(format!("{}-base-files.tar", self.suite));
        let mut tar = Command::new("tar");
        tar.arg("--create")
            .arg("--file")
            .arg(&path)
            .arg("--directory")
            .arg(&self.files)
            .arg(".");
        succeed(&mut tar)?;
        Ok(path)
    }
}

/// Writes a small layer as a file for crane.
fn file_of(layer: &Layer, folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, layer.tar())?;
    Ok(path)
}

/// Appends layers to a base, or to nothing; the digest of the image.
fn append(base: Option<&str>, layers: &[&Path], reference: &str) -> Result<String> {
    let mut command = Command::new(crane()?);
    command.args(["append", "--new_tag", reference]);
    match base {
        Some(base) => command.args(["--base", base]),
        None => command.arg("--oci-empty-base"),
    };
    for layer in layers {
        command.arg("--new_layer").arg(layer);
    }
    succeed(&mut command)?;
    if base.is_none() {
        let mutate = [
            "mutate",
            "--set-platform",
            "linux/amd64",
            "--tag",
            reference,
            reference,
        ];
        succeed(Command::new(crane()?).args(mutate))?;
    }
    Ok(succeed(Command::new(crane()?).args(["digest", reference]))?
        .trim()
        .to_owned())
}

fn images(tree: &Tree, other: &Tree, registry: &str, folder: &Path) -> Result<Vec<Image>> {
    let suite = tree.suite;
    let base = format!("{registry}/real/{suite}-whole:1");
    let mut images = Vec::new();
    let mut add = |shape: &str, base: Option<&str>, layers: &[&Path], cells, layer| -> Result {
        let name = format!("real/{suite}-{shape}");
        let digest = append(base, layers, &format!("{registry}/{name}:1"))?;
        images.push(Image {
            name,
            digest,
            cells,
            layer,
        });
        Ok(())
    };
    add(
        "whole",
        None,
        &[&tree.blob],
        tree.cells("etc/os-release"),
        0,
    )?;
    let base = Some(base.as_str());

    let upgrade = other.upgrade(folder)?;
    add(
        "upgraded",
        base,
        &[&upgrade],
        other.cells("etc/os-release"),
        1,
    )?;

    let deleted = Layer::new("rm")
        .whiteout("usr/lib/os-release")
        .whiteout("etc/os-release");
    let deleted = file_of(&deleted, folder, "deleted.tar")?;
    let mut by_version = tree.cells("etc/debian_version");
    by_version[2] = format!("Debian GNU/Linux {}", tree.debian_version);
    add("deleted", base, &[&deleted], by_version, 0)?;

    let restored = Layer::new("restore")
        .symlink("etc/os-release", "../usr/lib/os-release")
        .file("usr/lib/os-release", &tree.os_release);
    let restored = file_of(&restored, folder, "restored.tar")?;
    add(
        "restored",
        base,
        &[&deleted, &restored],
        tree.cells("etc/os-release"),
        2,
    )?;

    let replaced = Layer::new("COPY").file("etc/os-release", &other.os_release);
    let replaced = file_of(&replaced, folder, "replaced.tar")?;
    let mut of_other = other.cells("etc/os-release");
    // The point release is the other release's; os-release itself tells it since 13.
    of_other[3] = other.value("DEBIAN_VERSION_FULL");
    add("replaced", base, &[&replaced], of_other, 1)?;

    let distroless = Layer::new("bazel")
        .directory("./")
        .directory("./usr/lib/")
        .file("./usr/lib/os-release", &tree.os_release)
        .file(
            "./var/lib/dpkg/status.d/base-files",
            "Package: base-files\n",
        );
    let distroless = file_of(&distroless, folder, "distroless.tar")?;
    let mut cut_down = tree.cells("usr/lib/os-release");
    cut_down[3] = tree.value("DEBIAN_VERSION_FULL");
    add("distroless", None, &[&distroless], cut_down, 0)?;
    Ok(images)
}

#[test]
fn real_debian_trees_are_told_in_every_shape() -> Result {
    let folder = tempfile::tempdir()?;
    let registry = Registry::start()?;
    let mut trees = Vec::new();
    for suite in SUITES {
        trees.push(Tree::read(suite, folder.path())?);
    }
    let mut all = Vec::new();
    for (place, tree) in trees.iter().enumerate() {
        // Upgrades lead to the next release; the newest is set back to the oldest.
        let other = &trees[(place + 1) % trees.len()];
        assert_eq!(tree.value("VERSION_ID"), tree.version, "{}", tree.suite);
        all.extend(images(tree, other, &registry.address, folder.path())?);
    }

    let pods: Vec<Pod> = all
        .iter()
        .enumerate()
        .map(|(place, image)| {
            let reference = format!("{}/{}:1", registry.address, image.name);
            let container = Container::new("app", &reference).running(&image.digest);
            Pod::new("real", Workload::bare(&format!("case-{place}")), 0).container(container)
        })
        .collect();
    let pods_file = folder.path().join("pods.json");
    fs::write(&pods_file, manifests::pod_list(&pods)?)?;
    let mut wrong = Vec::new();
    for layers in ["auto", "all"] {
        let store = folder.path().join(layers);
        let mut command = snapshot_of(&pods_file, &store)?;
        succeed(command.args(["--layers", layers, "--snapshot-time", SNAPSHOT_TIME]))?;
        let rows: HashMap<String, _> = rows(&store)?
            .into_iter()
            .map(|row| (row["pod"].clone(), row))
            .collect();
        let report: Value = serde_json::from_str(&get(&store, "latest", "json")?)?;
        let records = report["images"].as_array().ok_or("no images")?;
        for (place, image) in all.iter().enumerate() {
            let row = &rows[&format!("case-{place}")];
            let columns = [
                "distro_id",
                "distro_version",
                "distro_name",
                "distro_release",
                "distro_source",
                "eol_status",
            ];
            let found = columns.map(|column| row[column].clone());
            if row["inspection_status"] != "ok" || found != image.cells {
                wrong.push(format!(
                    "{} [{layers}]: {found:?}, expected {:?}",
                    image.name, image.cells
                ));
            }
            let record = records
                .iter()
                .find(|record| record["digest"] == *image.digest);
            let record = record.ok_or("an image without a record")?;
            if record["distribution"]["layer"] != image.layer {
                wrong.push(format!(
                    "{} [{layers}]: from {}",
                    image.name, record["distribution"]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(all.len(), 18);
    Ok(())
}
