//! The binary, the real crane, and registries that limit what they give: requests a second, manifests a
//! night. And nights that end too early: what they did is reported, and the next night goes on.

#![allow(
    clippy::print_stdout,
    reason = "the figures are what a reader of the log looks for"
)]

mod fixtures;
mod harness;
#[path = "harness/site.rs"]
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fixtures::images::{Built, ImageSpec, Platform};
use fixtures::indexes::ImageIndex;
use harness::bad_registry::{Access, BadRegistry, Fault, manifest_path};
use harness::running::{Ended, Running, assert_no_process_with, processes_with, until};
use harness::{Result, crane, get, is_native, root, snapshot_with};
use rustix::process::Signal;
use serde_json::{Value, json};
use site::{BOUND, Expected, OK, Site, debian, run};

/// What is left for another night.
const LATER: Expected = ("skipped", "rate_limited", "the run's budget of manifests");

/// Pods whose images lie at one registry, whose settings are in a file.
struct Limited {
    site: Site,
    registry: BadRegistry,
    host: String,
    images: BTreeMap<String, Built>,
}

impl Limited {
    fn new() -> Result<Self> {
        let registry = BadRegistry::start()?;
        Ok(Self {
            site: Site::new()?,
            host: format!("limited.localhost:{}", registry.port()),
            registry,
            images: BTreeMap::new(),
        })
    }

    /// One pod for each of so many images, which are named after their namespace.
    fn add(&mut self, namespace: &str, count: usize, build: impl Fn(&str) -> Built) {
        for number in 0..count {
            let name = format!("{namespace}-{number:03}");
            let image = build(&name);
            self.registry.add(&name, image.digest(), &image.blobs);
            self.site
                .pod_in(namespace, &name, &self.host, image.digest(), OK);
            self.images.insert(name, image);
        }
    }

    /// `snapshot` with settings of the registry, indented as an entry of the list.
    fn command(&self, settings: &str) -> Result<Command> {
        let text = format!("registries:\n- host: \"{}\"\n{settings}", self.host);
        let mut command = self.site.command()?;
        command.arg("--registries").arg(self.site.settings(&text)?);
        Ok(command)
    }

    /// The images of the newest report, by repository.
    fn report(&self) -> Result<BTreeMap<String, Value>> {
        let report: Value = serde_json::from_str(&get(&self.site.store(), "latest", "json")?)?;
        let images = report["images"].as_array().ok_or("no images")?;
        let by_name = |image: &Value| {
            let name = image["repository"].as_str().unwrap_or_default();
            (name.to_owned(), image.clone())
        };
        Ok(images.iter().map(by_name).collect())
    }

    /// A night: which images' manifests it asked for, each once; all others wait since `since`.
    fn night(&mut self, day: u32, settings: &str, arguments: &[&str]) -> Result<Night> {
        let before = self.registry.log().len();
        let time = format!("2026-11-{day:02}T02:00:00Z");
        let mut command = self.command(settings)?;
        run(command.args(["--snapshot-time", &time]).args(arguments))?;
        let log = self.registry.log().split_off(before);
        let manifests = log.iter().filter(|line| line.contains("/manifests/"));
        let asked: Vec<_> = manifests.map(|line| repository_of(line)).collect();
        let report = self.report()?;
        assert_eq!(report.len(), self.images.len());
        let is_ok = |image: &&Value| image["inspection_status"] == "ok";
        let done: BTreeSet<_> = report
            .iter()
            .filter(|(_, image)| is_ok(image))
            .map(|(name, _)| name.clone())
            .collect();
        for (name, expected) in &mut self.site.cases {
            *expected = if done.contains(name) { OK } else { LATER };
        }
        self.site.compare()?;
        let waiting = report
            .into_iter()
            .filter(|(_, image)| !is_ok(&image))
            .map(|(name, image)| (name, image["waiting_since"].clone()))
            .collect();
        Ok(Night {
            asked,
            done,
            waiting,
        })
    }
}

/// What became of a night.
struct Night {
    /// The repository of each request for a manifest.
    asked: Vec<String>,
    /// All that is known after it.
    done: BTreeSet<String>,
    /// Since when the others wait.
    waiting: BTreeMap<String, Value>,
}

impl Night {
    fn assert_waiting_since(&self, day: u32) {
        let time = json!(format!("2026-11-{day:02}T02:00:00Z"));
        let wrong = self.waiting.iter().find(|(_, since)| **since != time);
        assert_eq!(wrong, None, "since {time}");
    }
}

/// `name` of `GET /v2/name/manifests/…`.
fn repository_of(line: &str) -> String {
    line.split('/').nth(2).unwrap_or_default().to_owned()
}

/// `namespace-NNN` for these numbers.
fn names(namespace: &str, numbers: std::ops::Range<usize>) -> BTreeSet<String> {
    let name = |number| format!("{namespace}-{number:03}");
    numbers.map(name).collect()
}

/// The most requests within any second.
fn most_in_a_second(accesses: &[Access]) -> usize {
    let within = |first: &Access| {
        let is_within = |access: &&Access| {
            access.at >= first.at && access.at - first.at < Duration::from_secs(1)
        };
        accesses.iter().filter(is_within).count()
    };
    accesses.iter().map(within).max().unwrap_or_default()
}

fn print_figures(what: &str, registry: &BadRegistry, took: Duration) {
    let accesses = registry.accesses();
    let seconds = took.as_secs_f64();
    println!(
        "{what}: {} requests in {seconds:.1} s, {:.1} a second, {} in the fullest second, {} answered 429",
        accesses.len(),
        accesses.len() as f64 / seconds,
        most_in_a_second(&accesses),
        registry.refused(),
    );
}

#[test]
fn a_registry_that_limits_requests_loses_no_image() -> Result {
    let mut limited = Limited::new()?;
    limited.add("image", 40, debian);
    limited.registry.limit(20);
    let ended = run(&mut limited.site.command()?)?;
    print_figures("without a setting", &limited.registry, ended.took);
    limited.site.compare()?;
    assert_eq!(limited.registry.log().len(), 40 * 3, "each once");
    assert!(limited.registry.refused() > 0, "the limit was never met");
    Ok(())
}

#[test]
fn a_registry_whose_limit_is_in_its_settings_is_never_asked_too_often() -> Result {
    let mut limited = Limited::new()?;
    limited.add("image", 40, debian);
    limited.registry.limit(20);
    // More at once, and processes that a busy machine holds up could come in a heap.
    let mut command = limited.command("  requests_per_second: 20\n")?;
    let ended = run(command.args(["--concurrency", "2"]))?;
    print_figures("20 a second in the settings", &limited.registry, ended.took);
    limited.site.compare()?;
    assert_eq!(limited.registry.log().len(), 40 * 3, "each once");
    assert_eq!(limited.registry.refused(), 0);
    let most = most_in_a_second(&limited.registry.accesses());
    assert!(most <= 20, "{most} in a second");
    Ok(())
}

#[test]
fn who_waits_for_a_busy_registrys_only_slot_does_not_come_in_a_heap() -> Result {
    let mut limited = Limited::new()?;
    limited.add("image", 12, debian);
    limited.registry.delay(Duration::from_millis(1_500));
    let mut command = limited.command("  requests_per_second: 20\n  concurrency: 1\n")?;
    let running = Running::start(&mut command)?;
    until("the first request", || {
        Ok(!limited.registry.accesses().is_empty())
    })?;
    limited.registry.delay(Duration::ZERO);
    let ended = running.wait(BOUND, || Ok(()))?;
    assert!(ended.status.success(), "{}", ended.stderr);
    limited.site.compare()?;
    let most = most_in_a_second(&limited.registry.accesses());
    assert!(most <= 20, "{most} in a second");
    Ok(())
}

#[test]
fn a_registry_that_complains_is_left_alone_for_a_while() -> Result {
    let mut limited = Limited::new()?;
    limited.add("image", 3, debian);
    // crane's three attempts at the first request; then it is all well.
    limited.registry.refuse(3);
    run(limited.site.command()?.args(["--concurrency", "1"]))?;
    limited.site.compare()?;
    let accesses = limited.registry.accesses();
    let refused: Vec<_> = accesses.iter().map(|access| access.refused).collect();
    assert_eq!(refused[..4], [true, true, true, false]);
    // crane waits between its own attempts; after the last of them, we do.
    let pause = accesses[3].at - accesses[2].at;
    assert!(pause >= Duration::from_millis(450), "{pause:?}");
    Ok(())
}

#[test]
fn a_budget_of_40_manifests_a_night_knows_150_images_after_4_nights() -> Result {
    let mut limited = Limited::new()?;
    limited.add("image", 150, debian);
    let mut all = Vec::new();
    for (night, end) in [(0, 40), (1, 80), (2, 120), (3, 150)] {
        // In one line, or two could take the last of the budget in either order.
        let settings = "  manifest_budget: 40\n";
        let night = limited.night(20 + night, settings, &["--concurrency", "1"])?;
        let begin = all.len();
        assert_eq!(night.done, names("image", 0..end));
        assert_eq!(
            night.asked.iter().cloned().collect::<BTreeSet<_>>(),
            names("image", begin..end)
        );
        night.assert_waiting_since(20);
        all.extend(night.asked);
    }
    assert_eq!(all.len(), 150, "none twice");
    let night = limited.night(24, "  manifest_budget: 40\n", &[])?;
    assert_eq!(night.asked, [""; 0], "nothing is left to ask");
    Ok(())
}

#[test]
fn what_waits_comes_before_what_is_new() -> Result {
    let mut limited = Limited::new()?;
    limited.add("m", 6, debian);
    let settings = "  manifest_budget: 2\n";
    let one = ["--concurrency", "1"];
    assert_eq!(limited.night(20, settings, &one)?.done, names("m", 0..2));
    // These would be first by their names.
    limited.add("a", 3, debian);
    for pod in &mut limited.site.pods {
        pod.namespace = "n".to_owned();
    }
    let night = limited.night(21, settings, &one)?;
    assert_eq!(night.done, names("m", 0..4));
    for (name, since) in &night.waiting {
        let day = if name.starts_with('m') { 20 } else { 21 };
        assert_eq!(*since, json!(format!("2026-11-{day}T02:00:00Z")), "{name}");
    }
    assert_eq!(limited.night(22, settings, &one)?.done, names("m", 0..6));
    Ok(())
}

#[test]
fn an_index_that_was_begun_is_finished_beyond_the_budget() -> Result {
    let mut limited = Limited::new()?;
    limited.add("index", 12, |name| {
        let layer = fixtures::distributions::debian_12().file("srv/name", name);
        let image = ImageSpec::new(Platform::linux("amd64")).layer(layer);
        let other = ImageSpec::new(Platform::linux("arm64"));
        let images = vec![other, image];
        ImageIndex {
            images,
            ..ImageIndex::default()
        }
        .build()
    });
    for (night, end) in [(0, 3), (1, 6), (2, 9), (3, 12)] {
        // Two of an index each, and one of a third, whose child is the sixth.
        let settings = "  manifest_budget: 5\n";
        let night = limited.night(20 + night, settings, &["--concurrency", "1"])?;
        assert_eq!(night.done, names("index", 0..end));
        assert_eq!(night.asked.len(), 6, "{:?}", night.asked);
        night.assert_waiting_since(20);
    }
    Ok(())
}

#[test]
fn indexes_that_are_begun_at_once_are_all_finished() -> Result {
    let mut limited = Limited::new()?;
    limited.add("index", 12, |name| {
        let layer = fixtures::distributions::debian_12().file("srv/name", name);
        let images = vec![ImageSpec::new(Platform::linux("amd64")).layer(layer)];
        ImageIndex {
            images,
            ..ImageIndex::default()
        }
        .build()
    });
    let night = limited.night(20, "  manifest_budget: 5\n", &[])?;
    let asked: BTreeSet<_> = night.asked.iter().cloned().collect();
    assert_eq!(asked, night.done);
    assert_eq!(night.asked.len(), 2 * night.done.len());
    assert!((3..=5).contains(&night.done.len()), "{:?}", night.done);
    Ok(())
}

#[test]
fn a_large_namespace_does_not_spend_the_budget_of_small_ones() -> Result {
    let mut limited = Limited::new()?;
    // Its images are the first by their names.
    for (namespace, count) in [("a-large", 140), ("b-small", 5), ("c-small", 5)] {
        limited.add(namespace, count, debian);
    }
    let settings = "  manifest_budget: 40\n";
    let night = limited.night(20, settings, &["--concurrency", "1"])?;
    let with_small = |mut large: BTreeSet<String>| {
        large.extend(names("b-small", 0..5));
        large.extend(names("c-small", 0..5));
        large
    };
    assert_eq!(night.done, with_small(names("a-large", 0..30)));
    let night = limited.night(21, settings, &["--concurrency", "1"])?;
    assert_eq!(night.done, with_small(names("a-large", 0..70)));
    assert_eq!(night.asked.len(), 40);
    night.assert_waiting_since(20);
    Ok(())
}

#[test]
fn a_registrys_own_concurrency_and_time_limit_count_for_it_alone() -> Result {
    let mut site = Site::new()?;
    let (silent, slow) = (BadRegistry::start()?, BadRegistry::start()?);
    let host = format!("silent.localhost:{}", silent.port());
    for number in 0..6 {
        let name = format!("silent-{number}");
        let image = debian(&name);
        silent.misbehave(&manifest_path(&name, image.digest()), Fault::Silent);
        let late = ("failed", "timeout", "did not finish within 1 s");
        site.pod(&name, &host, image.digest(), late);
    }
    // Each answer takes longer than the other registry's limit.
    slow.delay(Duration::from_millis(1_500));
    let image = debian("slow");
    slow.add("slow", image.digest(), &image.blobs);
    let slow_host = format!("slow.localhost:{}", slow.port());
    site.pod("slow", &slow_host, image.digest(), OK);
    let settings = format!("registries:\n- host: \"{host}\"\n  concurrency: 2\n  timeout: 1s\n");
    let mut command = site.command()?;
    command.arg("--registries").arg(site.settings(&settings)?);
    let mut most = 0;
    let ended = Running::start(&mut command)?.wait(BOUND, || {
        most = most.max(processes_with(&host)?.len());
        Ok(())
    })?;
    assert!(ended.status.success(), "{}", ended.stderr);
    assert_eq!(most, if is_native() { 0 } else { 2 });
    site.compare()
}

/// A crane that is not the process which was started, but a child of it.
fn crane_with_a_parent(folder: &Path) -> Result<std::path::PathBuf> {
    let path = folder.join("crane");
    let text = format!("#!/bin/sh\n'{}' \"$@\"\nexit $?\n", crane()?.display());
    fs::write(&path, text)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// Two dozen images of a registry that takes its time, and one that it never gives.
struct SlowRun {
    limited: Limited,
    silent: String,
}

impl SlowRun {
    fn new() -> Result<Self> {
        let mut limited = Limited::new()?;
        limited.add("image", 24, debian);
        limited.registry.delay(Duration::from_millis(200));
        let silent = manifest_path("image-000", limited.images["image-000"].digest());
        limited.registry.misbehave(&silent, Fault::Silent);
        Ok(Self { limited, silent })
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let site = &self.limited.site;
        let crane = crane_with_a_parent(site.folder.path())?;
        let mut command = snapshot_with(&crane, &site.write_pods()?, &site.store());
        site.prepare(&mut command);
        command.args(["--concurrency", "4"]).args(arguments);
        Ok(command)
    }

    /// What the interrupted run has left, and that the next night completes it.
    fn check(&mut self, ended: &Ended, code: i32, reason: &str) -> Result {
        assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
        assert!(ended.took < Duration::from_secs(40), "{:?}", ended.took);
        assert_no_process_with(&self.limited.host)?;
        let expected = json!({"complete": false, "reason": reason});
        assert_eq!(self.documents()?["completeness"], expected);
        let report = self.limited.report()?;
        let mut done = BTreeSet::new();
        for (name, image) in &report {
            if image["inspection_status"] == "ok" {
                done.insert(name.clone());
                continue;
            }
            assert_eq!(image["error_kind"], "deadline", "{image}");
            assert!(image["waiting_since"].is_string(), "{image}");
        }
        assert!((1..24).contains(&done.len()), "{} are done", done.len());

        self.limited.registry.delay(Duration::ZERO);
        self.limited.registry.behave(&self.silent);
        let before = self.limited.registry.log().len();
        run(&mut self.command(&["--strict"])?)?;
        self.limited.site.compare()?;
        let complete = json!({"complete": true, "reason": null});
        assert_eq!(self.documents()?["completeness"], complete);
        let log = self.limited.registry.log().split_off(before);
        let asked: BTreeSet<_> = log.iter().map(|line| repository_of(line)).collect();
        let left: BTreeSet<_> = report.into_keys().filter(|n| !done.contains(n)).collect();
        assert_eq!(asked, left);
        Ok(())
    }

    /// The newest run's manifest, whose files are whole, and are with it what the schemas say.
    fn documents(&self) -> Result<Value> {
        let store = self.limited.site.store();
        let mut manifest = Value::Null;
        for (format, schema) in [("json", "report"), ("manifest", "manifest")] {
            let document: Value = serde_json::from_str(&get(&store, "latest", format)?)?;
            let schema = root().join(format!("schemas/{schema}.schema.json"));
            let schema: Value = serde_json::from_str(&fs::read_to_string(schema)?)?;
            jsonschema::validate(&schema, &document).map_err(|error| error.to_string())?;
            manifest = document;
        }
        let rows = harness::rows(&store)?.len();
        assert_eq!(rows, self.limited.images.len());
        Ok(manifest)
    }
}

#[test]
fn what_a_deadline_cut_off_the_next_night_completes() -> Result {
    for (strict, code) in [(&[][..], 0), (&["--strict"], 3)] {
        let mut slow = SlowRun::new()?;
        let arguments = [&["--deadline", "5s"], strict].concat();
        let ended = Running::start(&mut slow.command(&arguments)?)?.wait(BOUND, || Ok(()))?;
        slow.check(&ended, code, "deadline")?;
    }
    Ok(())
}

#[test]
fn what_sigterm_cut_off_the_next_night_completes() -> Result {
    for (strict, code) in [(&[][..], 0), (&["--strict"], 3)] {
        let mut slow = SlowRun::new()?;
        let running = Running::start(&mut slow.command(strict)?)?;
        let registry = &slow.limited.registry;
        until("a few images", || Ok(registry.log().len() >= 24))?;
        let signalled = Instant::now();
        running.signal(Signal::TERM)?;
        let ended = running.wait(BOUND, || Ok(()))?;
        assert!(signalled.elapsed() < Duration::from_secs(20));
        slow.check(&ended, code, "signal")?;
    }
    Ok(())
}
