//! Hostile images within a limit of memory that the kernel keeps.
//!
//! *Promised*: the program and its crane processes together, with the default of eight at once, take less
//! than 512 MiB whatever the images hold; each image has its row, and nothing is killed.
//! *Tested* in a control group of 512 MiB without swap, with the images of tests/bombs.rs, repeated under
//! other digests: exit code, each row, and the kernel's own count of kills.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fixtures::images::Built;
use crate::fixtures::pods::{Container, Pod, Workload};
use crate::fixtures::{self, bombs, manifests};
use crate::harness::memory_group::MemoryGroup;
use crate::harness::registry::Registry;
use crate::harness::running::Running;
use crate::harness::{Result, crane, rows, snapshot_of};
use crate::hostile_images::{Answer, counting, linking, unpacking, writing};
use crate::tally::{Tally, Wrong, rounds};

const LIMIT: u64 = 512 << 20;

/// A run that takes longer is ended.
const BOUND: Duration = Duration::from_secs(840);

#[test]
fn hostile_images_fit_into_512_mib_with_all_crane_processes() -> Result {
    let Some(group) = MemoryGroup::create(LIMIT)? else {
        return Ok(());
    };
    let registry = Registry::start()?;
    let mut images: Vec<(&str, Built, Answer)> = Vec::new();
    unpacking(&mut |name, image, answer| images.push((name, image, answer)));
    if rounds(0, 1) == 0 {
        // Four gigabytes of it are unpacked before it is left.
        images.retain(|(name, ..)| *name != "10 GB that pack 150 times");
    } else {
        let mut add = |name, image, answer| images.push((name, image, answer));
        linking(&mut add);
        writing(&mut add);
        counting(&mut add);
    }
    let (mut pods, mut expected) = (Vec::new(), BTreeMap::new());
    for number in 0..rounds(20, 100) {
        let (name, image, answer) = &images[number % images.len()];
        let image = bombs::varied(image, number);
        let reference = format!("{}/bombs/image-{number}:1", registry.address);
        fixtures::registry::push(&image, &crane()?, &reference)?;
        let workload = format!("bomb-{number:03}");
        let container = Container::new("app", &reference).running(image.digest());
        let pod = Pod::new("bombs", Workload::stateful_set(&workload), 0);
        pods.push(pod.container(container));
        expected.insert(workload, (*name, *answer));
    }
    // What the images take here is not the program's.
    drop(images);
    let folder = tempfile::tempdir()?;
    let (list, store) = (folder.path().join("pods.json"), folder.path().join("store"));
    std::fs::write(&list, manifests::pod_list(&pods)?)?;
    let mut command = group.enter(&snapshot_of(&list, &store)?);
    let (ended, memory) = Running::start(&mut command)?.wait_and_measure_all(BOUND)?;

    let mut tally = Tally::new("512 MiB by control group, hostile images, crane included");
    let seen = group.seen()?;
    if seen.killed > 0 {
        let killed = format!("{} processes were killed: {}", seen.killed, ended.stderr);
        tally.wrong(Wrong::Lost, killed);
    }
    if ended.status.code() != Some(0) {
        tally.wrong(Wrong::Lost, format!("{}: {}", ended.status, ended.stderr));
    }
    let mut rows: BTreeMap<_, _> = rows(&store)
        .unwrap_or_default()
        .into_iter()
        .map(|row| (row["workload_name"].clone(), row))
        .collect();
    for (workload, (name, answer)) in &expected {
        tally.round();
        match rows.remove(workload).map(|row| answer.differs(&row)) {
            None => tally.wrong(Wrong::Lost, format!("{name}: no row")),
            Some(Some(difference)) => {
                tally.wrong(Wrong::HalfVisible, format!("{name}: {difference}"));
            }
            Some(None) => {}
        }
    }
    if !rows.is_empty() {
        tally.wrong(Wrong::HalfVisible, format!("{} rows of nobody", rows.len()));
    }
    tally.finish(&format!(
        "{:.0} s; the program's peak was {} MiB, that of one of up to {} crane processes {} MiB; \
         with page cache the group held {} MiB and met its limit {} times",
        ended.took.as_secs_f64(),
        memory.program / 1024,
        memory.children,
        memory.child / 1024,
        seen.peak >> 20,
        seen.hits,
    ))
}
