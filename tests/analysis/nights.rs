//! 60 nights of the fleet's three clusters, each night taken by the program itself: as a folder, and in
//! a bucket of a real S3 server.
//!
//! Two clusters are written to the folder, the third one to the bucket; s3cmd then copies what either
//! lacks. So both kinds of store hold the same objects, and each was written by the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixtures::fleet::{CLUSTERS, Cluster, Fleet, NIGHTS};
use crate::fixtures::images::{ImageSpec, Platform};
use crate::fixtures::pods::{Container, Pod, Workload};
use crate::fixtures::{self, distributions, manifests};
use crate::harness::hostile::hostile_pods;
use crate::harness::object_store::{BUCKET, ObjectStore};
use crate::harness::registry::Registry;
use crate::harness::{Result, crane, program, succeed};

/// What the bucket's keys begin with.
pub(crate) const PREFIX: &str = "fleet";

/// And those of a night that is hostile.
pub(crate) const HOSTILE_PREFIX: &str = "hostile";

/// The cluster that is written to the bucket.
const IN_BUCKET: &str = "staging";

/// The store, twice.
pub(crate) struct Nights {
    folder: tempfile::TempDir,
    pub(crate) server: ObjectStore,
    /// Where the pods say that their images are.
    pub(crate) registry: String,
}

impl Nights {
    /// The store as a folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The folder of the hostile night.
    pub(crate) fn hostile(&self) -> PathBuf {
        self.folder.path().join("hostile")
    }

    /// A scratch folder that ends with this.
    pub(crate) fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// Takes them all.
    pub(crate) fn take() -> Result<Self> {
        let fleet = Fleet::new();
        let registry = Registry::start()?;
        in_parallel(fleet.images().collect(), |(name, image)| {
            let reference = format!("{}/{name}", registry.address);
            fixtures::registry::push(image, &crane()?, &reference).map_err(Into::into)
        })?;
        let nights = Self {
            folder: tempfile::tempdir()?,
            server: ObjectStore::start(&[])?,
            registry: registry.address.clone(),
        };
        in_parallel(CLUSTERS.to_vec(), |cluster| nights.take_of(&fleet, cluster))?;
        nights.take_hostile()?;
        let bucket = format!("s3://{BUCKET}/{PREFIX}/");
        let folder = format!("{}/", nights.folder().display());
        nights.server.copy(&folder, &bucket)?;
        nights.server.copy(&bucket, &folder)?;
        Ok(nights)
    }

    /// A night in a store of its own, whose every text is there to be misread.
    fn take_hostile(&self) -> Result {
        let image = ImageSpec::new(Platform::linux("amd64"))
            .layer(distributions::debian_11())
            .user("DOMAIN\\user, \"root\"")
            .build();
        let reference = format!("{}/hostile/user:1.10", self.registry);
        fixtures::registry::push(&image, &crane()?, &reference)?;
        let good = Container::new("app", &reference).running(image.digest());
        let good = Pod::new("null", Workload::deployment("0001", 1), 0).container(good);
        let mut pods = hostile_pods();
        pods.push(manifests::pod(&good));
        let file = self.scratch().join("hostile.json");
        fs::write(&file, manifests::list(&pods)?)?;
        let mut command = self.snapshot("prod-eu", &file)?;
        command.arg("--store").arg(self.hostile());
        command.args(["--formats", "ndjson,parquet"]);
        command.args([
            "--snapshot-time",
            &format!("{}T02:00:00Z", date(NIGHTS - 1)),
        ]);
        succeed(&mut command)?;
        let bucket = format!("s3://{BUCKET}/{HOSTILE_PREFIX}/");
        self.server
            .copy(&format!("{}/", self.hostile().display()), &bucket)
    }

    /// The nights of one cluster, one after the other.
    fn take_of(&self, fleet: &Fleet, cluster: Cluster) -> Result {
        let pods = self.scratch().join(format!("{}.json", cluster.name));
        for night in 0..NIGHTS {
            for (time, arguments) in runs_of(cluster.name, night) {
                let list = manifests::pod_list(&fleet.pods(cluster, night, &self.registry))?;
                fs::write(&pods, list)?;
                let mut command = self.snapshot(cluster.name, &pods)?;
                command.args(["--snapshot-time", &time, "--formats", "parquet"]);
                command.args(arguments);
                if cluster.name == IN_BUCKET {
                    command.args(["--store", &format!("s3://{BUCKET}/{PREFIX}")]);
                    self.server.configure(&mut command);
                } else {
                    command.arg("--store").arg(self.folder());
                }
                succeed(&mut command)?;
            }
        }
        Ok(())
    }

    fn snapshot(&self, cluster: &str, pods: &Path) -> Result<Command> {
        let mut command = program();
        command.args([
            "snapshot",
            "--cluster-name",
            cluster,
            "--owner-label",
            "team",
        ]);
        command.arg("--pods").arg(pods).arg("--crane").arg(crane()?);
        command.args(["--default-platform", "linux/amd64"]);
        Ok(command)
    }
}

/// The runs of a cluster on a night: when, and what else they are told. Most nights have the one of
/// two o'clock.
fn runs_of(cluster: &str, night: u32) -> Vec<(String, &'static [&'static str])> {
    let date = date(night);
    let at = |hour: u32| format!("{date}T{hour:02}:00:00Z");
    match (cluster, night) {
        // No run at all.
        ("prod-eu", 22) | ("prod-us", 5) => vec![],
        // A deadline on the night of a release, and nothing better that day.
        ("prod-eu", 41) => vec![(at(2), &["--deadline", "1ms"])],
        // One, and then a run that knows all.
        ("prod-us", 20) => vec![(at(2), &["--deadline", "1ms"]), (at(7), &[])],
        // Somebody looks at one namespace after the night's run.
        ("prod-us", 33) => vec![(at(2), &[]), (at(9), &["--namespace", "billing"])],
        // Repeated at noon: the later one counts.
        ("prod-eu", 28) | ("staging", 13) => vec![(at(2), &[]), (at(12), &[])],
        _ => vec![(at(2), &[])],
    }
}

/// The date of a night.
pub(crate) fn date(night: u32) -> String {
    match night {
        0..=30 => format!("2026-08-{:02}", night + 1),
        _ => format!("2026-09-{:02}", night - 30),
    }
}

/// Does all of it on a thread each, or on two where there is more: the first error, if any.
fn in_parallel<T: Send>(items: Vec<T>, work: impl Fn(T) -> Result + Sync) -> Result {
    let threads = 3;
    let mut parts: Vec<Vec<T>> = (0..threads).map(|_| Vec::new()).collect();
    for (number, item) in items.into_iter().enumerate() {
        parts[number % threads].push(item);
    }
    let work = |part: Vec<T>| {
        let done = part.into_iter().try_for_each(&work);
        done.map_err(|error| error.to_string())
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = parts
            .into_iter()
            .map(|part| scope.spawn(|| work(part)))
            .collect();
        running.into_iter().try_for_each(|thread| {
            let done = thread.join().map_err(|_| "a thread panicked")?;
            done.map_err(Into::into)
        })
    })
}
