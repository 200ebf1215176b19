//! The truth set through the binary, with the real crane and crane's registry: every cell of every
//! image, for each choice of layers, and what the JSON says about where an answer comes from.

mod fixtures;
mod harness;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use fixtures::images::Built;
use fixtures::truth::{self, COLUMNS, Case, SNAPSHOT_TIME, histories, layers};
use fixtures::{distributions, registry, truth::layer};
use harness::engines::expect_same_rows;
use harness::registry::Registry;
use harness::{Result, Row, crane, get, rows, snapshot_of, succeed};
use serde_json::Value;

/// Pushes that run at once: crane mostly waits.
const PUSHERS: usize = 4;

/// A run's rows and image records, by the case's place.
struct Run {
    rows: HashMap<usize, Row>,
    images: HashMap<usize, Value>,
}

/// Takes a snapshot of the cases with a choice of layers.
fn run(cases: &[Case], registry: &Registry, folder: &Path, arguments: &[&str]) -> Result<Run> {
    let store = folder.join(format!("store{}", arguments.join("-")));
    let (pods, nodes) = (folder.join("pods.json"), folder.join("nodes.json"));
    std::fs::write(&pods, truth::pod_list(cases, &registry.address)?)?;
    std::fs::write(&nodes, truth::node_list()?)?;
    let mut command = snapshot_of(&pods, &store)?;
    command.arg("--nodes").arg(&nodes).args(arguments);
    succeed(command.args(["--snapshot-time", SNAPSHOT_TIME]))?;
    // Where it does not matter how often the registry is asked.
    if arguments.contains(&"--layers") {
        expect_same_rows(&command, &store)?;
    }
    let place = |pod: &str| -> Result<usize> {
        let number = pod.strip_prefix("case-").ok_or("a pod of no case")?;
        Ok(number.parse()?)
    };
    let mut run = Run {
        rows: HashMap::new(),
        images: HashMap::new(),
    };
    for row in rows(&store)? {
        run.rows.insert(place(&row["pod"])?, row);
    }
    let report: Value = serde_json::from_str(&get(&store, "latest", "json")?)?;
    for container in report["containers"].as_array().ok_or("no containers")? {
        let pod = container["pod"].as_str().unwrap_or_default();
        let index = container["image_index"].as_u64().ok_or("no image")?;
        run.images.insert(
            place(pod)?,
            report["images"][usize::try_from(index)?].clone(),
        );
    }
    Ok(run)
}

/// Pushes each repository's image.
fn push(cases: &[Case], registry: &Registry) -> Result {
    let images: BTreeMap<String, &Built> = cases
        .iter()
        .map(|case| (case.repository(), &case.image))
        .collect();
    let images: Vec<_> = images.into_iter().collect();
    let crane = crane()?;
    let push_some = |first: usize| -> anyhow::Result<()> {
        for (repository, image) in images.iter().skip(first).step_by(PUSHERS) {
            let reference = format!("{}/{repository}:1", registry.address);
            registry::push(image, &crane, &reference)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let pushers: Vec<_> = (0..PUSHERS)
            .map(|first| scope.spawn(move || push_some(first)))
            .collect();
        for pusher in pushers {
            pusher
                .join()
                .map_err(|_| "a thread that pushed panicked")??;
        }
        Ok(())
    })
}

/// The rule that reads a file of this name.
fn rule_of(source: &str) -> &'static str {
    let name = source.rsplit('/').next().unwrap_or_default();
    match name {
        "os-release" => "os-release",
        "system-release-cpe" => "system-release-cpe",
        "SuSE-release" => "suse-release",
        "alpine-release" => "alpine-release",
        "lsb-release" | "openwrt_release" => "lsb-release",
        "debian_version" => "debian-version",
        "busybox" => "busybox",
        "photon-release" | "azurelinux-release" | "mariner-release" | "gentoo-release"
        | "slackware-version" | "arch-release" | "NIXOS" | "void-release" | "devuan_version" => {
            "vendor-release"
        }
        _ => "red-hat-release",
    }
}

/// Where a row is not as expected, a line each.
fn differences(case: &Case, row: &Row) -> Vec<String> {
    let mut wrong = Vec::new();
    for column in COLUMNS {
        let (expected, found) = (case.expected(column), row[column].as_str());
        if expected != found {
            wrong.push(format!("{column} is {found:?}, expected {expected:?}"));
        }
    }
    let digest = match case.expected("error_kind") {
        "not_found" if case.expected("inspection_status") == "failed" => "",
        _ => case.running_image().digest(),
    };
    // How far it is known what something that is no image consists of does not matter.
    if case.expected("error_kind") != "unsupported" && row["manifest_digest"] != digest {
        wrong.push(format!(
            "manifest_digest is {:?}, expected {digest:?}",
            row["manifest_digest"]
        ));
    }
    wrong
}

/// Where the JSON does not name file, layer and rule of an answer as it should.
fn untraceable(case: &Case, image: &Value) -> Vec<String> {
    let source = case.expected("distro_source");
    let distribution = &image["distribution"];
    if matches!(source, "" | "none") {
        return match distribution {
            Value::Null => Vec::new(),
            other => vec![format!("has a distribution: {other}")],
        };
    }
    let layers = &case.running_image().layers;
    let digest = layers.get(case.layer).map(|layer| layer.digest.as_str());
    let facts = [
        ("source", &distribution["source"], Value::from(source)),
        ("rule", &distribution["rule"], Value::from(rule_of(source))),
        ("layer", &distribution["layer"], Value::from(case.layer)),
        (
            "distribution_layer",
            &image["distribution_layer"],
            Value::from(digest),
        ),
    ];
    let wrong = facts
        .iter()
        .filter(|(_, found, expected)| *found != expected);
    wrong
        .map(|(name, found, expected)| format!("JSON: {name} is {found}, expected {expected}"))
        .collect()
}

fn is_certain(image: &Value) -> bool {
    image["distribution_certain"] == true
}

#[test]
fn every_cell_of_the_truth_set_is_true_for_each_choice_of_layers() -> Result {
    let cases = truth::all();
    assert!(cases.len() >= 150, "{} cases", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|case| (case.family, case.name)).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    let registry = Registry::start()?;
    let folder = tempfile::tempdir()?;
    push(&cases, &registry)?;
    let layers = |choice| run(&cases, &registry, folder.path(), &["--layers", choice]);
    let (auto, base, all) = (layers("auto")?, layers("base")?, layers("all")?);

    let mut wrong = Vec::new();
    let (mut certain, mut misled) = (0, 0);
    for (place, case) in cases.iter().enumerate() {
        let mut note = |choice: &str, lines: Vec<String>| {
            for line in lines {
                wrong.push(format!(
                    "{} / {} [{choice}]: {line}",
                    case.family, case.name
                ));
            }
        };
        let (Some(full), Some(row)) = (all.rows.get(&place), auto.rows.get(&place)) else {
            note("all", vec!["has no row".into()]);
            continue;
        };
        note("all", differences(case, full));
        note("all", untraceable(case, &all.images[&place]));
        let is_ok = case.expected("inspection_status") == "ok" && full["os"] != "windows";
        if is_ok && !is_certain(&all.images[&place]) {
            note(
                "all",
                vec!["is not certain, though all layers were read".into()],
            );
        }
        if case.misled {
            misled += 1;
            if is_certain(&auto.images[&place]) || differences(case, row).is_empty() {
                note(
                    "auto",
                    vec!["was not misled, or does not say that it may be".into()],
                );
            }
        } else {
            note("auto", differences(case, row));
            note("auto", untraceable(case, &auto.images[&place]));
        }
        // What is said to be certain is what all layers say.
        for (choice, run) in [("auto", &auto), ("base", &base)] {
            if is_certain(&run.images[&place]) {
                certain += 1;
                let same = COLUMNS
                    .iter()
                    .all(|column| run.rows[&place][*column] == full[*column]);
                if !same {
                    note(
                        choice,
                        vec!["is said to be certain, and is not what all layers say".into()],
                    );
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert_eq!(misled, 1);
    // The rest is known, too; it is only that a layer which was not read might have said otherwise.
    assert!(certain > cases.len(), "{certain} certain answers");
    Ok(())
}

/// How often the registry was asked for a blob.
fn requests(log: &str, digest: &str) -> usize {
    let path = format!("/blobs/{digest}");
    log.lines()
        .filter(|line| line.contains("GET ") && line.contains(&path))
        .count()
}

#[test]
fn a_layer_that_images_share_is_read_once() -> Result {
    let base = || layer(layers::DEBIAN);
    let far = || histories::far_away().file("srv/far", "a layer of its own\n");
    let image = |name, layers: Vec<fixtures::layers::Layer>| {
        Case::of("shared", name, truth::image(layers).build())
    };
    let app = |number: &str| distributions::application("app", number);
    let cases = [
        image("one", vec![base(), app("1")]),
        image("two", vec![base(), app("2")]),
        image("three", vec![base(), app("1"), app("3")]),
        // Asks the base for an unusual path, which nobody else does.
        image("a link far away", vec![base(), far()]),
        image("far away and more", vec![base(), far(), app("4")]),
    ];
    let registry = Registry::start()?;
    let folder = tempfile::tempdir()?;
    push(&cases, &registry)?;
    let before = registry.log()?;
    let run = run(&cases, &registry, folder.path(), &[])?;
    for row in run.rows.values() {
        assert_eq!(
            (&*row["inspection_status"], &*row["distro_id"]),
            ("ok", "debian"),
            "{row:?}"
        );
    }
    let log = registry.log()?.split_off(before.len());
    for case in &cases[..3] {
        for layer in &case.image.layers[1..] {
            assert_eq!(requests(&log, &layer.digest), 1, "{log}");
        }
    }
    // The base once for what is usual and once for the path that the links lead to.
    assert_eq!(requests(&log, &cases[0].image.layers[0].digest), 2, "{log}");
    assert_eq!(requests(&log, &cases[4].image.layers[1].digest), 2, "{log}");
    Ok(())
}

#[test]
fn of_a_layer_over_the_limit_the_beginning_serves_its_image_as_partial() -> Result {
    let noise = |seed| histories::noise(seed, 50_000);
    let begins = layer(layers::DEBIAN).file("srv/data", noise(1));
    let ends = truth::add(
        fixtures::layers::Layer::new("x").file("srv/data", noise(2)),
        layers::DEBIAN,
    );
    let case = |name, layers| Case::of("limits", name, truth::image(layers).build());
    let in_part = |case: Case| {
        case.debian_12("etc/os-release", 0)
            .cell("inspection_status", "partial")
            .cell("error_kind", "policy")
    };
    let mut cases = vec![case("release files last", vec![ends]).partial("policy")];
    // More than a layer that fails is asked for.
    for (name, number) in [
        ("one", "1"),
        ("two", "2"),
        ("three", "3"),
        ("four", "4"),
        ("five", "5"),
    ] {
        let app = distributions::application("app", number);
        cases.push(in_part(case(name, vec![begins.clone(), app])));
    }
    let registry = Registry::start()?;
    let folder = tempfile::tempdir()?;
    push(&cases, &registry)?;
    let run = run(&cases, &registry, folder.path(), &["--max-layer", "1"])?;
    for (place, case) in cases.iter().enumerate() {
        assert_eq!(
            differences(case, &run.rows[&place]),
            Vec::<String>::new(),
            "{}",
            case.name
        );
        assert_eq!(untraceable(case, &run.images[&place]), Vec::<String>::new());
        assert!(!is_certain(&run.images[&place]), "{}", case.name);
    }
    Ok(())
}
