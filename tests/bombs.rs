//! Images that are made to cost a reader all it has, through the binary with the real crane and a real
//! registry: each gets the right kind of answer, in bounded time and memory.
//!
//! One snapshot of one pod for each, so that a peak of memory is that image's. What is above the peak
//! of a snapshot of one small healthy image is what the image costs. crane is a process of its own.

#![allow(
    clippy::print_stdout,
    reason = "the figures are for who reads a test's output"
)]

mod fixtures;
mod harness;
#[path = "harness/hostile_images.rs"]
mod hostile_images;

use std::time::Duration;

use fixtures::bombs::TEN_GB;
use fixtures::images::Built;
use fixtures::pods::{Container, Pod, Workload};
use fixtures::{manifests, registry};
use harness::registry::Registry;
use harness::running::{Running, assert_no_process_with};
use harness::{Result, crane, get, rows, snapshot_of};
use hostile_images::{
    Add, Answer, DEBIAN, RATIO, counting, gzip, healthy, image, left, linking, unpacking, writing,
};
use serde_json::Value;

/// No run may take longer. The program's own limits for a layer are its pace and half an hour.
const BOUND: Duration = Duration::from_secs(300);

/// What an image may cost above a small healthy one, in KiB.
const MEMORY_KIB: u64 = 64 * 1024;

/// A run's figures.
struct Cost {
    took: Duration,
    kib: u64,
    crane_kib: u64,
}

/// Pushes the image, takes a snapshot of one pod with it, and holds its row against the answer.
fn run(image: &Built, answer: Answer, registry: &Registry, strict: bool) -> Result<Cost> {
    let reference = format!("{}/bombs/image:1", registry.address);
    registry::push(image, &crane()?, &reference)?;
    let folder = tempfile::tempdir()?;
    let container = Container::new("app", &reference).running(image.digest());
    let pod = Pod::new("bombs", Workload::deployment("bomb", 1), 0).container(container);
    let (pods, store) = (folder.path().join("pods.json"), folder.path().join("store"));
    std::fs::write(&pods, manifests::pod_list(&[pod])?)?;
    let mut command = snapshot_of(&pods, &store)?;
    command.args(strict.then_some("--strict"));
    let running = Running::start(&mut command)?;
    let (ended, memory) = running.wait_and_measure_all(BOUND)?;
    let (kib, crane_kib) = (memory.program, memory.child);
    assert_no_process_with(&registry.address)?;
    // An image that could not be inspected is a row and no failure, unless one asks for that.
    let code = if strict && answer.status != "ok" {
        3
    } else {
        0
    };
    if ended.status.code() != Some(code) {
        return Err(format!("ended with {}: {}", ended.status, ended.stderr).into());
    }

    let rows = rows(&store)?;
    let [row] = rows.as_slice() else {
        return Err(format!("{} rows", rows.len()).into());
    };
    let report: Value = serde_json::from_str(&get(&store, "latest", "json")?)?;
    let certain = report["images"][0]["distribution_certain"] == true;
    if let Some(difference) = answer.differs(row) {
        return Err(difference.into());
    }
    if certain != answer.certain {
        return Err(format!("certain: {certain}: {row:?}").into());
    }
    Ok(Cost {
        took: ended.took,
        kib,
        crane_kib,
    })
}

/// The least that a small healthy image costs: what is least of three is least the machine's other work.
fn idle(registry: &Registry) -> Result<Cost> {
    let mut least = run(&healthy(), DEBIAN, registry, false)?;
    for _ in 0..2 {
        let again = run(&healthy(), DEBIAN, registry, true)?;
        least.took = least.took.min(again.took);
        least.kib = least.kib.min(again.kib);
    }
    Ok(least)
}

/// Takes each image, prints what it costs, and fails if one has a wrong answer or costs too much.
fn check(images: &[fn(&mut Add<'_>)]) -> Result {
    let registry = Registry::start()?;
    let idle = idle(&registry)?;
    let mut table = format!(
        "{:<58} {:>8} {:>8} {:>10} {:>10}  answer\n{:<58} {:>6.2} s {:>9} {:>6} MiB {:>6} MiB  in all\n",
        "image",
        "time",
        "times",
        "memory",
        "crane",
        "a small healthy image",
        idle.took.as_secs_f64(),
        "",
        idle.kib / 1024,
        idle.crane_kib / 1024,
    );
    let mut wrong = Vec::new();
    let mut add = |name: &'static str, image: Built, answer: Answer| {
        let cost = match run(&image, answer, &registry, false) {
            Ok(cost) => cost,
            Err(error) => return wrong.push(format!("{name}: {error}")),
        };
        let above = cost.kib.saturating_sub(idle.kib);
        table += &format!(
            "{name:<58} {:>6.2} s {:>8.1}x {:>+6} MiB {:>6} MiB  {} {}\n",
            cost.took.as_secs_f64(),
            cost.took.as_secs_f64() / idle.took.as_secs_f64(),
            above / 1024,
            cost.crane_kib / 1024,
            answer.status,
            answer.distribution,
        );
        if above >= MEMORY_KIB {
            wrong.push(format!("{name}: {above} KiB above a small healthy image"));
        }
    };
    for images in images {
        images(&mut add);
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn hostile_content_gets_the_right_kind_of_answer_in_bounded_time_and_memory() -> Result {
    check(&[unpacking, linking, writing])
}

#[test]
fn hostile_numbers_get_the_right_kind_of_answer_in_bounded_time_and_memory() -> Result {
    check(&[counting])
}

#[test]
fn a_zip_bomb_is_a_failure_for_who_is_strict() -> Result {
    let registry = Registry::start()?;
    let layer = gzip().zeros("srv/zeros", TEN_GB).layer("COPY zeros /srv/");
    run(&image([layer]), left(RATIO), &registry, true)?;
    Ok(())
}
