//! Earlier reports are tonight's cache: what a night asks a registry for after another one, by the
//! registry's own log, and which earlier reports are believed.

mod fixtures;
mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use fixtures::demo_images::{self, HELM_CHART};
use fixtures::images::{Built, ImageSpec, Platform};
use fixtures::layers::Layer;
use fixtures::pods::{Container, Pod, Workload};
use fixtures::truth::histories::noise;
use fixtures::{distributions, manifests};
use harness::control_plane::ControlPlane;
use harness::registry::Registry;
use harness::running::Running;
use harness::runs::{self, document, newest, reseal, reseal_bytes};
use harness::store::Store;
use harness::{Result, Row, crane, stderr};
use serde_json::{Value, json};

/// 02:00 on a day of November 2026, and so many hours later.
fn night(day: u32, hours: u32) -> String {
    let hour = 2 + hours;
    format!("2026-11-{:02}T{:02}:00:00Z", day + hour / 24, hour % 24)
}

/// A registry, and the pods that run its images.
struct Site {
    registry: Registry,
    folder: tempfile::TempDir,
    images: BTreeMap<String, Built>,
}

impl Site {
    fn new() -> Result<Self> {
        Ok(Self {
            registry: Registry::start()?,
            folder: tempfile::tempdir()?,
            images: BTreeMap::new(),
        })
    }

    /// A site with some images, each its own application on a base that all share.
    fn with_applications(names: &[&str]) -> Result<Self> {
        let mut site = Self::new()?;
        for name in names {
            site.push(name, application(name))?;
        }
        Ok(site)
    }

    fn push(&mut self, name: &str, image: Built) -> Result {
        let reference = self.reference(name);
        fixtures::registry::push(&image, &crane()?, &reference)?;
        self.images.insert(name.to_owned(), image);
        Ok(())
    }

    fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.address)
    }

    /// A pod of a Deployment that runs an image by its digest.
    fn running(&self, name: &str) -> Pod {
        self.running_as(name, self.images[name].digest())
    }

    fn running_as(&self, name: &str, digest: &str) -> Pod {
        let container = Container::new("app", &self.reference(name)).running(digest);
        pod(name).container(container)
    }

    /// A pod that was not started: only its tag is known.
    fn waiting(&self, name: &str) -> Pod {
        let container = Container::new("app", &self.reference(name)).waiting("ContainerCreating");
        pod(&format!("waiting-{name}")).container(container)
    }

    fn list(&self, pods: &[Pod]) -> Result<PathBuf> {
        let file = self.folder.path().join("pods.json");
        fs::write(&file, manifests::pod_list(pods)?)?;
        Ok(file)
    }

    /// A night that must end with 0.
    fn night(&self, store: &Store, time: &str, pods: &[Pod], flags: &[&str]) -> Result<Night> {
        let start = self.registry.log()?.lines().count();
        let mut command = store.snapshot(&self.list(pods)?, time)?;
        let output = command.args(flags).output()?;
        let said = stderr(&output);
        assert!(output.status.success(), "{time}: {said}");
        let mut requests = self.registry.requests_since(start)?;
        let in_order = requests.clone();
        requests.sort();
        Ok(Night {
            rows: store.rows("latest")?,
            lines: self.registry.log()?.lines().count() - start,
            requests,
            in_order,
            said,
        })
    }

    /// Ends the registry; the site goes on with another, empty one on its address once it is dropped.
    fn stop_registry(self) -> (tempfile::TempDir, String, BTreeMap<String, Built>) {
        let address = self.registry.address.clone();
        (self.folder, address, self.images)
    }

    /// What asking for an image costs: its manifest, its configuration, and these of its layers.
    fn requests_of(&self, name: &str, layers: &[usize]) -> Vec<String> {
        let image = &self.images[name];
        let repository = name.split(':').next().unwrap_or_default();
        let mut requests = vec![
            format!("GET /v2/{repository}/manifests/{}", image.digest()),
            format!("GET /v2/{repository}/blobs/{}", image.config_digest()),
        ];
        let layers = layers.iter().map(|layer| &image.layers[*layer].digest);
        requests.extend(layers.map(|digest| format!("GET /v2/{repository}/blobs/{digest}")));
        requests
    }
}

/// What a night showed.
struct Night {
    rows: Vec<Row>,
    /// Lines in the registry's log, pings and all.
    lines: usize,
    /// Sorted, without pings.
    requests: Vec<String>,
    in_order: Vec<String>,
    said: String,
}

impl Night {
    /// The rows without what names the night.
    fn timeless(&self) -> Vec<Row> {
        let mut rows = self.rows.clone();
        for row in &mut rows {
            row.remove("run_id");
            row.remove("snapshot_time");
        }
        rows
    }
}

fn pod(name: &str) -> Pod {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    Pod::new("shop", Workload::deployment(&name, 1), 0).node("worker-1")
}

fn application(name: &str) -> Built {
    ImageSpec::new(Platform::linux("amd64"))
        .layer(distributions::debian_12())
        .layer(distributions::application(name, "1"))
        .build()
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

/// The images of the demo that can be inspected: of many distributions and of none, of two
/// architectures, of Windows, with zstd layers.
fn demo_site() -> Result<(Site, Vec<Pod>)> {
    let mut site = Site::new()?;
    let mut pods = Vec::new();
    for (name, image) in demo_images::images(demo_images::Night::First) {
        if name == HELM_CHART {
            continue;
        }
        site.push(name, image)?;
        let pod = site.running(name);
        pods.push(if name == "payments/pricing:1.8.0" {
            pod.node_selector("kubernetes.io/os", "windows")
        } else {
            pod
        });
    }
    Ok((site, pods))
}

#[test]
fn the_second_night_makes_no_request_and_its_rows_are_those_of_the_first() -> Result {
    let (site, mut pods) = demo_site()?;
    let [folder, bucket] = Store::both()?;
    let tags = [
        "shop/cart:1.14.2",
        "shop/search:2.19.0",
        "payments/api:7.2.0",
        "ci/e2e:nightly",
        "shop/frontend:3.1.0",
    ];
    for store in [&folder, &bucket] {
        let first = site.night(store, &night(2, 0), &pods, &[])?;
        assert!(first.requests.len() > 2 * site.images.len());
        assert!(
            first
                .rows
                .iter()
                .all(|row| row["inspection_status"] == "ok")
        );
        let second = site.night(store, &night(3, 0), &pods, &[])?;
        assert_eq!(second.lines, 0, "{:?}", second.requests);
        assert_eq!(second.timeless(), first.timeless());
        assert!(
            second
                .rows
                .iter()
                .all(|row| row["inspected_at"] == night(2, 0))
        );
        assert_eq!(second.rows.len(), pods.len());

        // It says how much it read and how long that took: the containers not at all.
        let report = fs::metadata(runs::path(
            &store.root(),
            &runs::run_ids(&store.root())?[0],
            "json",
        ))?;
        let said = &second.said;
        let bytes = said
            .split("bytes=")
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        let bytes: u64 = bytes.ok_or("no bytes")?.parse()?;
        assert!((1..report.len()).contains(&bytes), "{said}");
        assert!(said.contains("milliseconds="), "{said}");
        assert!(said.contains("whoever may write to the store"), "{said}");
    }

    // Five that are known by a tag only: a HEAD each, and nothing else.
    pods.extend(tags.map(|name| site.waiting(name)));
    let third = site.night(&folder, &night(4, 0), &pods, &[])?;
    let heads = tags.map(|name| {
        let (repository, tag) = name.split_once(':').unwrap_or_default();
        format!("HEAD /v2/{repository}/manifests/{tag}")
    });
    assert_eq!(third.requests, sorted(heads.to_vec()));
    assert!(
        third
            .rows
            .iter()
            .all(|row| row["inspection_status"] == "ok")
    );
    pods.truncate(pods.len() - tags.len());

    // A node that reports the platform's manifest, where another reported the index: the same image,
    // and the index is known the night after, too.
    let index = &site.images["shop/frontend:3.1.0"];
    let digest = index.platform("linux", "amd64").digest();
    assert_ne!(digest, index.digest());
    for (hour, digest) in [(1, digest), (2, index.digest())] {
        let pod = site.running_as("shop/frontend:3.1.0", digest);
        let same = site.night(&folder, &night(4, hour), &[pod], &[])?;
        assert_eq!(same.requests, Vec::<String>::new());
        assert_eq!(same.rows[0]["digest"], digest);
    }

    // Nobody there: every row is as it was.
    let expected = site.night(&folder, &night(5, 0), &pods, &[])?.timeless();
    let (scratch, address, _) = site.stop_registry();
    assert!(std::net::TcpStream::connect(&address).is_err());
    for store in [&folder, &bucket] {
        let list = scratch.path().join("pods.json");
        let output = store.snapshot(&list, &night(6, 0))?.output()?;
        assert!(output.status.success(), "{}", stderr(&output));
        let mut rows = store.rows("latest")?;
        for row in &mut rows {
            row.remove("run_id");
            row.remove("snapshot_time");
        }
        assert_eq!(rows, expected);
    }
    Ok(())
}

#[test]
fn a_new_image_on_a_known_base_costs_its_manifest_its_configuration_and_its_own_layer() -> Result {
    let mut site = Site::with_applications(&["shop/a:1", "shop/b:1"])?;
    for store in Store::both()? {
        let pods = [site.running("shop/a:1"), site.running("shop/b:1")];
        let cold = site.night(&store, &night(2, 0), &pods, &[])?;
        let mut expected = site.requests_of("shop/a:1", &[1]);
        expected.extend(site.requests_of("shop/b:1", &[1]));
        let base = &site.images["shop/a:1"].layers[0].digest;
        // The base once, from either repository.
        let (of_base, others): (Vec<_>, Vec<_>) = cold
            .requests
            .into_iter()
            .partition(|request| request.contains(base.as_str()));
        assert_eq!(of_base.len(), 1);
        assert_eq!(others, sorted(expected));

        site.push("shop/new:1", application("shop/new:1"))?;
        let mut more = pods.to_vec();
        more.push(site.running("shop/new:1"));
        let warm = site.night(&store, &night(3, 0), &more, &[])?;
        assert_eq!(warm.requests, sorted(site.requests_of("shop/new:1", &[1])));
        assert!(warm.rows.iter().all(|row| row["distro_version"] == "12"));

        // The same manifest in a repository that nobody has seen: nothing to ask.
        let image = site.images["shop/new:1"].clone();
        site.push("mirror/new:1", image)?;
        more.push(site.running("mirror/new:1"));
        let mirrored = site.night(&store, &night(4, 0), &more, &[])?;
        assert_eq!(mirrored.requests, Vec::<String>::new());
        let row = mirrored
            .rows
            .iter()
            .find(|row| row["repository"] == "mirror/new");
        assert_eq!(row.ok_or("no row")?["distro_id"], "debian");

        // --no-reuse asks as if there had been no night before.
        let anew = site.night(&store, &night(5, 0), &pods, &["--no-reuse"])?;
        assert_eq!(anew.requests.len(), others.len() + 1);
    }
    Ok(())
}

/// Whether the facts of a manifest are renewed at this age: its first byte spreads the renewals over
/// the second half of the most.
fn is_due(image: &Built, hours: f64, max_hours: f64) -> bool {
    let byte = u8::from_str_radix(&image.digest()["sha256:".len()..][..2], 16).unwrap_or_default();
    hours > max_hours / 2.0 * (1.0 + f64::from(byte) / 256.0)
}

#[test]
fn renewals_spread_by_digest_and_fail_without_loss() -> Result {
    let names: Vec<String> = (0..6)
        .map(|number| format!("shop/app-{number}:1"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let site = Site::with_applications(&names)?;
    let store = Store::folder()?;
    let pods: Vec<_> = names.iter().map(|name| site.running(name)).collect();
    let flags = ["--reuse-max-age", "48h"];
    site.night(&store, &night(2, 0), &pods, &flags)?;
    let first = newest(&store.root())?;

    // In the first half none is due.
    let early = site.night(&store, &night(2, 23), &pods, &flags)?;
    assert_eq!(early.requests, Vec::<String>::new());

    // In the second half those whose time has come: their manifest and configuration, no layer.
    let hours = 34;
    let mut counts = [0, 0];
    let mut expected = Vec::new();
    for name in &names {
        let due = is_due(&site.images[*name], hours.into(), 48.0);
        counts[usize::from(due)] += 1;
        if due {
            expected.extend(site.requests_of(name, &[]));
        }
    }
    assert!(counts.iter().all(|count| *count > 0), "choose another hour");
    let late = site.night(&store, &night(2, hours), &pods, &flags)?;
    assert_eq!(late.requests, sorted(expected));
    for row in &late.rows {
        let name = format!("{}:1", row["repository"]);
        let due = is_due(&site.images[&name], hours.into(), 48.0);
        let learned = night(2, if due { hours } else { 0 });
        assert_eq!(row["inspected_at"], learned, "{name}");
        assert_eq!(row["inspection_status"], "ok");
    }

    // The same hour with nobody there, as if the run before had not been: all facts are kept.
    for run in runs::run_ids(&store.root())? {
        if run != first {
            fs::remove_file(runs::path(&store.root(), &run, "manifest"))?;
        }
    }
    let (scratch, address, images) = site.stop_registry();
    let list = scratch.path().join("pods.json");
    let mut command = store.snapshot(&list, &night(2, hours))?;
    let output = command.args(flags).output()?;
    assert!(output.status.success(), "{}", stderr(&output));
    for row in store.rows("latest")? {
        assert_eq!(row["inspection_status"], "ok", "{}", row["repository"]);
        assert_eq!(row["inspected_at"], night(2, 0));
        assert_eq!(row["distro_version"], "12");
    }

    // Older than the most, they are not known any more.
    let mut command = store.snapshot(&list, &night(2, 49))?;
    assert!(command.args(flags).output()?.status.success());
    for row in store.rows("latest")? {
        let outcome = (&*row["inspection_status"], &*row["error_kind"]);
        assert_eq!(outcome, ("failed", "network"));
        assert_eq!(row["distro_id"], "");
    }

    // And when the registry is back, they are learned.
    let registry = Registry::start_on(&address)?;
    for (name, image) in &images {
        fixtures::registry::push(image, &crane()?, &format!("{address}/{name}"))?;
    }
    let mut command = store.snapshot(&list, &night(2, 50))?;
    assert!(command.args(flags).output()?.status.success());
    let rows = store.rows("latest")?;
    assert!(rows.iter().all(|row| row["inspection_status"] == "ok"));
    drop(registry);
    Ok(())
}

#[test]
fn what_failed_is_asked_again_and_what_has_waited_longest_first() -> Result {
    let mut site = Site::with_applications(&["shop/known:1"])?;
    let store = Store::folder()?;
    // In the order of their names the newest failure would come first.
    let names = ["wait/z:1", "wait/m:1", "wait/a:1"];
    let absent: Vec<_> = names.iter().map(|name| application(name)).collect();
    let pods_of = |site: &Site, count: usize| -> Vec<Pod> {
        let mut pods = vec![site.running("shop/known:1")];
        let absent = names.iter().zip(&absent).take(count);
        pods.extend(absent.map(|(name, image)| site.running_as(name, image.digest())));
        pods
    };
    let since = |store: &Store| -> Result<BTreeMap<String, Value>> {
        let report = document(&store.root(), &newest(&store.root())?, "json")?;
        let images = report["images"].as_array().ok_or("no images")?;
        let waiting = images.iter().map(|image| {
            let name = image["repository"].as_str().unwrap_or_default();
            (name.to_owned(), image["waiting_since"].clone())
        });
        Ok(waiting.collect())
    };
    for count in 1..=3 {
        let day = u32::try_from(count)? + 1;
        let pods = pods_of(&site, count);
        let failed = site.night(&store, &night(day, 0), &pods, &["--concurrency", "1"])?;
        let asked: Vec<_> = failed
            .in_order
            .iter()
            .filter_map(|request| request.split('/').nth(3))
            .collect();
        let mut expected = vec!["z", "m", "a"];
        expected.truncate(count);
        if count == 1 {
            expected.insert(0, "known");
        }
        let mut asked = asked;
        asked.dedup();
        if count == 1 {
            asked.sort_unstable();
            expected.sort_unstable();
        }
        assert_eq!(asked, expected, "{:?}", failed.in_order);
    }
    let waiting = since(&store)?;
    assert_eq!(waiting["wait/z"], night(2, 0));
    assert_eq!(waiting["wait/m"], night(3, 0));
    assert_eq!(waiting["wait/a"], night(4, 0));
    assert_eq!(waiting["shop/known"], Value::Null);

    // One that comes into being is known from then on.
    site.push("wait/z:1", absent[0].clone())?;
    let pods = pods_of(&site, 3);
    let found = site.night(&store, &night(5, 0), &pods, &[])?;
    let row = found.rows.iter().find(|row| row["repository"] == "wait/z");
    assert_eq!(row.ok_or("no row")?["inspection_status"], "ok");
    let waiting = since(&store)?;
    assert_eq!(waiting["wait/z"], Value::Null);
    assert_eq!(waiting["wait/m"], night(3, 0));
    let next = site.night(&store, &night(6, 0), &pods, &[])?;
    assert!(!next.requests.iter().any(|request| request.contains("/z/")));

    // A deadline that has passed cuts the waiting ones off, not what is known; they wait on.
    let cut = site.night(&store, &night(7, 0), &pods, &["--deadline", "1ms"])?;
    for said in [
        "not_inspected=2",
        "{\"deadline\": 2}",
        "complete=false",
        "reason=\"deadline\"",
    ] {
        assert!(cut.said.contains(said), "{said}: {}", cut.said);
    }
    for row in &cut.rows {
        let expected = match &*row["repository"] {
            "wait/m" | "wait/a" => ("skipped", "deadline"),
            _ => ("ok", ""),
        };
        let outcome = (&*row["inspection_status"], &*row["error_kind"]);
        assert_eq!(outcome, expected, "{}", row["repository"]);
    }
    assert_eq!(since(&store)?["wait/m"], night(3, 0));
    Ok(())
}

#[test]
fn an_image_known_in_part_and_by_its_tag_only_comes_when_its_turn_is() -> Result {
    let mut site = Site::new()?;
    let store = Store::folder()?;
    // In the order of their names the newest would come first.
    let names = ["wait/z:1", "wait/m:1", "wait/a:1"];
    for (number, name) in (0..).zip(names) {
        let large = Layer::new("COPY / /").file("opt/large", noise(number, 3 << 14));
        let image = ImageSpec::new(Platform::linux("amd64"));
        site.push(name, image.layer(large).build())?;
    }
    let flags = ["--concurrency", "1", "--max-layer", "1"];
    for (day, count) in [(2, 1), (3, 2), (4, 3), (5, 3)] {
        let pods: Vec<_> = names[..count]
            .iter()
            .map(|name| site.waiting(name))
            .collect();
        let night = site.night(&store, &night(day, 0), &pods, &flags)?;
        let mut asked: Vec<_> = night
            .in_order
            .iter()
            .filter(|request| request.starts_with("HEAD"))
            .collect();
        asked.dedup();
        let expected = names.map(|name| format!("HEAD /v2/{}/manifests/1", &name[..6]));
        assert_eq!(asked, expected[..count].iter().collect::<Vec<_>>());
        for row in &night.rows {
            let outcome = (&*row["inspection_status"], &*row["error_kind"]);
            assert_eq!(outcome, ("partial", "policy"));
            assert!(
                site.images
                    .values()
                    .any(|image| row["digest"] == image.digest())
            );
        }
    }
    let report = document(&store.root(), &newest(&store.root())?, "json")?;
    let images = report["images"].as_array().ok_or("no images")?;
    let since: Vec<_> = images.iter().map(|image| &image["waiting_since"]).collect();
    assert_eq!(since, [&night(4, 0), &night(3, 0), &night(2, 0)]);
    Ok(())
}

#[test]
fn a_run_that_reads_more_layers_learns_anew_what_they_may_change() -> Result {
    let mut site = Site::new()?;
    let trixie = "ID=debian\nVERSION_ID=\"13\"\n";
    let second = |seed, created_by| {
        Layer::new(created_by)
            .file("usr/lib/os-release", trixie)
            .file("opt/app/large", noise(seed, 300 << 5))
    };
    let image = || ImageSpec::new(Platform::linux("amd64")).layer(distributions::debian_12());
    site.push("shop/plain:1", image().build())?;
    let upgraded = image().layer(second(1, "RUN apt-get -y dist-upgrade # buildkit"));
    site.push("shop/upgraded:1", upgraded.build())?;
    // Its history tells of an application only.
    let lying = image().layer(second(2, "COPY build /opt/app # buildkit"));
    site.push("shop/lying:1", lying.build())?;
    let names = ["shop/lying:1", "shop/plain:1", "shop/upgraded:1"];
    let pods = names.map(|name| site.running(name));
    let asked = |name: &str, layers: &[usize]| site.requests_of(name, layers);
    for store in Store::both()? {
        for (day, layers, versions, requests) in [
            (2, "base", ["12", "12", "12"], None),
            (3, "base", ["12", "12", "12"], Some(vec![])),
            // The base is known, whoever read it.
            (
                4,
                "auto",
                ["12", "12", "13"],
                Some([asked("shop/lying:1", &[]), asked("shop/upgraded:1", &[1])].concat()),
            ),
            (5, "auto", ["12", "12", "13"], Some(vec![])),
            // What every layer has proved holds for all.
            (
                6,
                "all",
                ["13", "12", "13"],
                Some(asked("shop/lying:1", &[1])),
            ),
            (7, "all", ["13", "12", "13"], Some(vec![])),
            // More than was asked for is as good, and stays so.
            (8, "base", ["13", "12", "13"], Some(vec![])),
            (9, "auto", ["13", "12", "13"], Some(vec![])),
            (10, "all", ["13", "12", "13"], Some(vec![])),
        ] {
            let night = site.night(&store, &night(day, 0), &pods, &["--layers", layers])?;
            let of = |name: &str| {
                let row = night
                    .rows
                    .iter()
                    .find(|row| name.starts_with(&*row["repository"]));
                row.map(|row| row["distro_version"].clone())
                    .unwrap_or_default()
            };
            assert_eq!(names.map(of), versions, "day {day}");
            if let Some(requests) = requests {
                assert_eq!(night.requests, sorted(requests), "day {day}");
            }
            let report = document(&store.root(), &newest(&store.root())?, "json")?;
            assert_eq!(report["versions"]["layers"], layers);
        }
        // A report that does not say how many: as if it were the fewest.
        let run = newest(&store.root())?;
        reseal(&store.root(), &run, |report| {
            if let Some(versions) = report["versions"].as_object_mut() {
                versions.remove("layers");
            }
            for image in report["images"].as_array_mut().into_iter().flatten() {
                image["distribution_certain"] = json!(false);
            }
        })?;
        let night = site.night(&store, &night(11, 0), &pods, &[])?;
        let expected = names.map(|name| asked(name, &[])).concat();
        assert_eq!(night.requests, sorted(expected));
    }
    Ok(())
}

#[test]
fn facts_of_images_that_are_gone_are_carried_until_they_are_too_old() -> Result {
    let site = Site::with_applications(&["shop/stays:1", "shop/goes:1"])?;
    for store in Store::both()? {
        let flags = ["--reuse-max-age", "4d"];
        let (stays, goes) = (site.running("shop/stays:1"), site.running("shop/goes:1"));
        let both = [stays.clone(), goes];
        site.night(&store, &night(2, 0), &both, &flags)?;
        let carried = |store: &Store| -> Result<Option<Value>> {
            let report = document(&store.root(), &newest(&store.root())?, "json")?;
            let images = report["images"].as_array().ok_or("no images")?.clone();
            Ok(images
                .into_iter()
                .find(|image| image["repository"] == "shop/goes"))
        };
        assert_eq!(
            carried(&store)?.ok_or("not there")?["last_seen"],
            Value::Null
        );
        let without = |day, seen: &str| -> Result {
            let alone = std::slice::from_ref(&stays);
            let night = site.night(&store, &night(day, 0), alone, &flags)?;
            assert_eq!(night.rows.len(), 1);
            let image = carried(&store)?.ok_or("not carried")?;
            assert_eq!(image["last_seen"], seen);
            let manifest = store.json(&["get", "latest", "--format", "manifest"])?;
            assert_eq!(manifest["counts"]["images"], 1);
            Ok(())
        };
        without(3, &night(2, 0))?;
        // Back again, as a CronJob's image is: known.
        let back = site.night(&store, &night(3, 20), &both, &flags)?;
        assert_eq!(back.rows.len(), 2);
        assert_eq!(back.requests, Vec::<String>::new());
        assert_eq!(
            carried(&store)?.ok_or("not there")?["last_seen"],
            Value::Null
        );
        without(4, &night(3, 20))?;
        without(6, &night(3, 20))?;
        // Its facts are older than four days now.
        site.night(&store, &night(7, 0), std::slice::from_ref(&stays), &flags)?;
        assert!(carried(&store)?.is_none());

        // A run of a later time is none of an earlier night.
        let before = site.night(&store, &night(1, 0), &both, &flags)?;
        assert!(before.said.contains("is a clock wrong?"), "{}", before.said);
        assert!(!before.requests.is_empty());
    }
    Ok(())
}

/// A copy of a folder store.
fn copy(from: &Store, to: &Store) -> Result {
    for file in harness::files_below(&from.root())? {
        let target = to.root().join(&file);
        fs::create_dir_all(target.parent().ok_or("no folder")?)?;
        fs::copy(from.root().join(&file), target)?;
    }
    Ok(())
}

/// What is done to the only earlier run, whether its facts are used all the same, and what the log
/// says.
struct Distrusted {
    name: &'static str,
    change: Change,
    warm: bool,
    says: &'static str,
}

type Change = fn(&Path, &str) -> Result;

fn distrusted(name: &'static str, says: &'static str, change: Change) -> Distrusted {
    Distrusted {
        name,
        change,
        warm: false,
        says,
    }
}

const CHANGED: &str = "is not what its manifest says";
const DAMAGED: &str = "damaged, or of a newer major version";

fn edit(root: &Path, run: &str, format: &str, change: fn(&mut Vec<u8>)) -> Result {
    let path = runs::path(root, run, format);
    let mut content = fs::read(&path)?;
    change(&mut content);
    Ok(fs::write(path, content)?)
}

/// The facts of a run as text, up to the containers.
fn facts(root: &Path, run: &str) -> Result<String> {
    let report = fs::read_to_string(runs::path(root, run, "json"))?;
    let end = report.find("\"containers\":[").ok_or("no containers")?;
    Ok(report[..end].to_owned() + "\"containers\":[")
}

/// Replaces a text in the facts, and makes the manifest vouch for it.
fn forge(root: &Path, run: &str, from: &str, to: &str) -> Result {
    let facts = facts(root, run)?;
    let forged = facts.replacen(from, to, 1);
    if forged == facts {
        return Err(format!("there is no {from}").into());
    }
    reseal_bytes(root, run, forged.as_bytes(), b"]}\n")
}

fn all_distrusted() -> Vec<Distrusted> {
    vec![
        distrusted("cut off in its facts", CHANGED, |root, run| {
            edit(root, run, "json", |bytes| bytes.truncate(bytes.len() / 3))
        }),
        distrusted("empty", CHANGED, |root, run| {
            edit(root, run, "json", Vec::clear)
        }),
        distrusted("a changed byte", CHANGED, |root, run| {
            edit(root, run, "json", |bytes| {
                let text = String::from_utf8_lossy(bytes).replacen("debian", "debiam", 1);
                *bytes = text.into_bytes();
            })
        }),
        distrusted("gone", "it is not there", |root, run| {
            Ok(fs::remove_file(runs::path(root, run, "json"))?)
        }),
        distrusted("a manifest of nonsense", DAMAGED, |root, run| {
            edit(root, run, "manifest", |bytes| bytes.reverse())
        }),
        distrusted("a manifest of 100,000 levels", DAMAGED, |root, run| {
            edit(root, run, "manifest", |bytes| {
                *bytes = "[".repeat(100_000).into_bytes();
            })
        }),
        distrusted("another run's manifest", DAMAGED, |root, run| {
            edit(root, run, "manifest", |bytes| {
                let text = String::from_utf8_lossy(bytes).replace("T020000Z", "T030000Z");
                *bytes = text.into_bytes();
            })
        }),
        distrusted(
            "a manifest of a newer major version",
            DAMAGED,
            |root, run| {
                edit(root, run, "manifest", |bytes| {
                    let text = String::from_utf8_lossy(bytes);
                    *bytes = text.replace("\"1.0\"", "\"2.0\"").into_bytes();
                })
            },
        ),
        distrusted(
            "a report of a newer major version",
            "newer major",
            |root, run| {
                forge(
                    root,
                    run,
                    "\"schema_version\":\"1.0\"",
                    "\"schema_version\":\"2.0\"",
                )
            },
        ),
        distrusted("foreign", "no report of image-census", |root, run| {
            reseal_bytes(
                root,
                run,
                b"{\"images\":[{\"name\":\"x\"}],\"containers\":[",
                b"]}",
            )
        }),
        distrusted("no JSON", "no report of image-census", |root, run| {
            reseal_bytes(root, run, b"\x00\xff\xfe", b"")
        }),
        distrusted("a size that no report has", "claims a size", |root, run| {
            let mut manifest = document(root, run, "manifest")?;
            for file in manifest["files"].as_array_mut().ok_or("no files")? {
                if file["format"] == "json" {
                    file["facts"]["size_bytes"] = json!(1_u64 << 40);
                }
            }
            runs::write_manifest(root, &manifest)
        }),
        distrusted(
            "no report in the manifest",
            "lists no report",
            |root, run| {
                let mut manifest = document(root, run, "manifest")?;
                manifest["files"] = json!([]);
                runs::write_manifest(root, &manifest)
            },
        ),
        distrusted(
            "100,000 levels in its head",
            "no report of image-census",
            |root, run| {
                let deep = format!("\"cluster_id\":{}", "[".repeat(100_000));
                forge(root, run, "\"cluster_id\":null", &deep)
            },
        ),
        distrusted(
            "100,000 levels in an image",
            "no report of image-census",
            |root, run| {
                let deep = format!("\"labels\":{}", "{\"a\":".repeat(100_000));
                forge(root, run, "\"labels\":", &deep)
            },
        ),
        distrusted("other detection rules", "", |root, run| {
            reseal(root, run, |report| {
                report["versions"]["detection_rules"] = json!(999);
            })
        }),
        distrusted("facts of tomorrow", "", |root, run| {
            let tomorrow = night(9, 0);
            reseal(root, run, |report| {
                for part in ["images", "layers"] {
                    for row in report[part].as_array_mut().into_iter().flatten() {
                        row["inspected_at"] = json!(tomorrow);
                    }
                }
            })
        }),
        distrusted("texts that no inspection keeps", "", |root, run| {
            let long = "x".repeat(5_000);
            reseal(root, run, |report| {
                for row in report["images"].as_array_mut().into_iter().flatten() {
                    row["registry"] = json!(long);
                }
                for row in report["layers"].as_array_mut().into_iter().flatten() {
                    row["finding"]["entries"]["etc/os-release"] = json!({"file": long.repeat(200)});
                }
            })
        }),
        Distrusted {
            warm: true,
            ..distrusted("odd keys of a later version", "reusing", |root, run| {
                let odd =
                    "{\"\":[],\"\\u0000\":{\"a\\ud83d\\ude00\":[[1]]},\"__proto__\":1,\"deep\":";
                let deep = format!("{odd}{}{},", "[".repeat(100_000), "]".repeat(100_000));
                forge(root, run, "{", &deep)
            })
        },
        Distrusted {
            warm: true,
            ..distrusted("a damaged report of containers", "reusing", |root, run| {
                // What is behind the facts is not read.
                edit(root, run, "json", |bytes| bytes.truncate(bytes.len() - 20))
            })
        },
    ]
}

#[test]
fn whatever_is_wrong_with_an_earlier_report_means_a_colder_night_and_a_warning() -> Result {
    let site = Site::with_applications(&["shop/a:1", "shop/b:1"])?;
    for store in Store::both()? {
        let pods = [site.running("shop/a:1"), site.running("shop/b:1")];
        let cold = site.night(&store, &night(2, 0), &pods, &[])?;
        let run = newest(&store.root())?;
        for case in all_distrusted() {
            let name = case.name;
            let scratch = store.another()?;
            copy(&store, &scratch)?;
            (case.change)(&scratch.root(), &run)?;
            let next = site.night(&scratch, &night(3, 0), &pods, &[])?;
            let requests = if case.warm { 0 } else { cold.requests.len() };
            assert_eq!(next.requests.len(), requests, "{name}: {}", next.said);
            assert!(next.said.contains(case.says), "{name}: {}", next.said);
            let warned = next.said.contains("not reused");
            assert_eq!(
                warned,
                !case.warm && !case.says.is_empty(),
                "{name}: {}",
                next.said
            );
            let mut rows = next.timeless();
            let mut expected = cold.timeless();
            for row in rows.iter_mut().chain(&mut expected) {
                row.remove("inspected_at");
            }
            assert_eq!(rows, expected, "{name}");
            // The night after is warm again, and nothing of the forgery is left in the store.
            let after = site.night(&scratch, &night(4, 0), &pods, &[])?;
            assert_eq!(after.requests, Vec::<String>::new(), "{name}");
            let report = fs::metadata(runs::path(
                &scratch.root(),
                &newest(&scratch.root())?,
                "json",
            ))?;
            assert!(report.len() < 50_000, "{name}: {} bytes", report.len());
        }

        // With an older run behind it the night is not cold.
        site.night(&store, &night(3, 0), &pods, &[])?;
        edit(&store.root(), &newest(&store.root())?, "json", Vec::clear)?;
        let next = site.night(&store, &night(4, 0), &pods, &[])?;
        assert!(next.said.contains(CHANGED), "{}", next.said);
        assert_eq!(next.requests, Vec::<String>::new());
    }
    Ok(())
}

#[test]
fn a_huge_earlier_report_costs_little_memory() -> Result {
    let site = Site::with_applications(&["shop/a:1"])?;
    let store = Store::folder()?;
    let pods = [site.running("shop/a:1")];
    site.night(&store, &night(2, 0), &pods, &[])?;
    let run = newest(&store.root())?;
    let long = "x".repeat(100 << 20);
    let many = "[0],".repeat(10 << 20);
    let facts = facts(&store.root(), &run)?;
    for (name, from, to) in [
        ("text", "\"registry\":\"", format!("\"registry\":\"{long}")),
        (
            "values",
            "\"scope\":",
            format!("\"scope\":[{many}0],\"scope\":"),
        ),
    ] {
        let forged = facts.replacen(from, &to, 1);
        reseal_bytes(&store.root(), &run, forged.as_bytes(), b"]}\n")?;
        let mut command = store.snapshot(&site.list(&pods)?, &night(3, 0))?;
        let running = Running::start(&mut command)?;
        let (ended, kib) = running.wait_and_measure(Duration::from_secs(300))?;
        assert!(ended.status.success(), "{name}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("is larger than any"),
            "{name}: {}",
            ended.stderr
        );
        assert!(ended.stderr.len() < 10_000, "{name}");
        assert!(kib > 0 && kib < 128 << 10, "{name}: {kib} KiB");
        fs::remove_file(runs::path(
            &store.root(),
            &newest(&store.root())?,
            "manifest",
        ))?;
    }
    Ok(())
}

#[test]
fn a_poisoned_report_is_not_reused_where_a_key_is_set() -> Result {
    let site = Site::with_applications(&["shop/a:1"])?;
    let pods = [site.running("shop/a:1")];
    let key = site.folder.path().join("key");
    fs::write(&key, "6f1d0f1b4a0c9a55d3c2b1a09f8e7d6c\n")?;
    let other = site.folder.path().join("other");
    fs::write(&other, "00000000000000000000000000000000\n")?;
    let text = |path: &Path| path.display().to_string();
    let (key, other) = (text(&key), text(&other));
    let with_key = ["--signing-key-file", &key];
    let poison = |root: &Path, run: &str| {
        reseal(root, run, |report| {
            for image in report["images"].as_array_mut().into_iter().flatten() {
                image["distribution"]["id"] = json!("evil");
                image["eol_status"] = json!("supported");
            }
        })
    };
    let distro = |night: &Night| night.rows.first().map(|row| row["distro_id"].clone());
    for store in Store::both()? {
        let cold = site.night(&store, &night(2, 0), &pods, &with_key)?;
        // Signed, and not touched: nothing to ask; by another key or none it is known as well or not.
        let warm = site.night(&store, &night(3, 0), &pods, &with_key)?;
        assert_eq!(warm.requests, Vec::<String>::new());
        assert!(warm.said.contains("its signature"), "{}", warm.said);
        let foreign = site.night(&store, &night(4, 0), &pods, &["--signing-key-file", &other])?;
        assert_eq!(foreign.requests, cold.requests);
        assert!(
            foreign.said.contains("no signature of this key"),
            "{}",
            foreign.said
        );

        // All runs hold other facts under the true digests, and manifests that vouch for them.
        for run in runs::run_ids(&store.root())? {
            poison(&store.root(), &run)?;
        }
        let safe = site.night(&store, &night(5, 0), &pods, &with_key)?;
        assert_eq!(safe.requests, cold.requests);
        assert_eq!(distro(&safe).as_deref(), Some("debian"));
        assert!(
            safe.said.contains("no signature of this key"),
            "{}",
            safe.said
        );
        // Not compared with, either.
        assert!(safe.said.contains("no diff"), "{}", safe.said);

        // Without a key whoever may write to the store is believed, and the log says so.
        poison(&store.root(), &newest(&store.root())?)?;
        let fooled = site.night(&store, &night(6, 0), &pods, &[])?;
        assert_eq!(fooled.requests, Vec::<String>::new());
        assert_eq!(distro(&fooled).as_deref(), Some("evil"));
        assert!(
            fooled.said.contains("trusted=\"whoever may write"),
            "{}",
            fooled.said
        );
    }

    // A key that is none is known before any work.
    let store = Store::folder()?;
    let short = site.folder.path().join("short");
    fs::write(&short, "secret-1")?;
    for file in [text(&short), text(&site.folder.path().join("absent"))] {
        let mut command = store.snapshot(&site.list(&pods)?, &night(2, 0))?;
        let output = command.args(["--signing-key-file", &file]).output()?;
        assert_eq!(output.status.code(), Some(2), "{file}");
        assert!(
            stderr(&output).contains("signing key"),
            "{}",
            stderr(&output)
        );
        assert!(!stderr(&output).contains("secret-1"));
        assert!(!store.root().exists());
    }
    Ok(())
}

#[test]
fn two_clusters_of_one_name_do_not_share_what_they_know() -> Result {
    let site = Site::with_applications(&["shop/a:1"])?;
    let store = Store::folder()?;
    site.night(&store, &night(2, 0), &[site.running("shop/a:1")], &[])?;
    let run = newest(&store.root())?;
    reseal(&store.root(), &run, |report| {
        report["cluster_id"] = json!("0".repeat(64));
    })?;

    // A cluster without a pod: what it knows is what it carries.
    let plane = ControlPlane::start()?;
    let live = |flags: &[&str]| -> Result<(Output, usize)> {
        let mut command = store.command(&["snapshot", "--cluster-name", "test"]);
        command.arg("--crane").arg(crane()?);
        command.args(["--reuse-max-age", "3660d"]).args(flags);
        let output = command.env("KUBECONFIG", plane.kubeconfig()).output()?;
        assert!(output.status.success(), "{}", stderr(&output));
        let report = document(&store.root(), &newest(&store.root())?, "json")?;
        Ok((output, report["images"].as_array().map_or(0, Vec::len)))
    };
    let (output, images) = live(&["--accept-new-cluster-id"])?;
    assert_eq!(images, 1, "{}", stderr(&output));
    fs::remove_file(runs::path(
        &store.root(),
        &newest(&store.root())?,
        "manifest",
    ))?;
    let (output, images) = live(&[])?;
    assert_eq!(images, 0);
    let said = stderr(&output);
    assert!(said.contains("another certificate authority"), "{said}");
    assert!(said.contains("no diff"), "{said}");

    // Neither is compared with the other, unless it is said to be the same.
    let old = ["diff", &run, "latest"];
    let output = store.command(&old).output()?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("certificate authorities"),
        "{}",
        stderr(&output)
    );
    let accepted = store.print(&[&old[..], &["--accept-new-cluster-id"]].concat())?;
    assert!(accepted.contains("1 removed"), "{accepted}");
    Ok(())
}
