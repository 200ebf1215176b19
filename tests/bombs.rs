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

use std::time::Duration;

use fixtures::bombs::{self, Pieces, TEN_GB};
use fixtures::images::{Built, ImageSpec, Platform};
use fixtures::layers::{Compression, Layer};
use fixtures::pods::{Container, Pod, Workload};
use fixtures::{distributions, manifests, registry};
use harness::registry::Registry;
use harness::running::{Running, assert_no_process_with};
use harness::{Result, crane, get, rows, snapshot_of};
use serde_json::Value;
use tar::EntryType;

/// No run may take longer. The program's own limits for a layer are its pace and half an hour.
const BOUND: Duration = Duration::from_secs(300);

/// What an image may cost above a small healthy one, in KiB.
const MEMORY_KIB: u64 = 64 * 1024;

/// What a report must say of an image.
#[derive(Clone, Copy)]
struct Answer {
    status: &'static str,
    kind: &'static str,
    /// ID and version.
    distribution: &'static str,
    source: &'static str,
    certain: bool,
    /// Words of the message.
    says: &'static str,
}

/// All was read, and the release file was found.
const DEBIAN: Answer = Answer {
    status: "ok",
    kind: "",
    distribution: "debian 12",
    source: "etc/os-release",
    certain: true,
    says: "",
};

/// A layer was not read, on its history's word.
const UNREAD: Answer = Answer {
    certain: false,
    ..DEBIAN
};

/// All was read, and no release file is there that a running container could open.
const NONE: Answer = Answer {
    distribution: " ",
    source: "none",
    ..DEBIAN
};

/// A limit ended it before the release file.
const fn left(says: &'static str) -> Answer {
    Answer {
        status: "partial",
        kind: "policy",
        distribution: " ",
        source: "",
        certain: false,
        says,
    }
}

/// A limit ended it after the release file.
const fn left_after_debian(says: &'static str) -> Answer {
    Answer {
        distribution: "debian 12",
        source: "etc/os-release",
        ..left(says)
    }
}

const RATIO: &str = "implausibly many times its size";
const SIZE: &str = "unpacks to more than the limit";
const EXTENSION: &str = "extended header is too large";
const RELEASE_FILE: &str = "too large or cannot be resolved";

fn image(layers: impl IntoIterator<Item = Layer>) -> Built {
    let spec = ImageSpec::new(Platform::linux("amd64"));
    layers.into_iter().fold(spec, ImageSpec::layer).build()
}

fn gzip() -> Pieces {
    Pieces::new(Compression::Gzip)
}

fn healthy() -> Built {
    image([distributions::debian_12()])
}

fn unpacking(add: &mut Add<'_>) {
    let debian = distributions::debian_12;
    let zeros = |pieces: Pieces| pieces.zeros("srv/zeros", TEN_GB);
    let made = "COPY zeros /srv/";
    add(
        "10 GB of zeros",
        image([zeros(gzip()).layer(made)]),
        left(RATIO),
    );
    add(
        "10 GB of zeros before the release file",
        image([zeros(gzip()).entries(&debian()).layer(made)]),
        left(RATIO),
    );
    add(
        "10 GB of zeros after the release file",
        image([zeros(gzip().entries(&debian())).layer(made)]),
        left_after_debian(RATIO),
    );
    add(
        "10 GB of zeros in a layer above Debian's",
        image([debian(), zeros(gzip()).layer("RUN apt-get upgrade")]),
        left_after_debian(RATIO),
    );
    add(
        "the same of a history that says it is elsewhere",
        image([debian(), zeros(gzip()).layer(made)]),
        UNREAD,
    );
    let zstd = Pieces::new(Compression::Zstd);
    add(
        "10 GB of zeros in zstd",
        image([zeros(zstd).layer(made)]),
        left(RATIO),
    );
    add(
        "10 GB that pack 150 times",
        image([gzip()
            .sparse_noise("srv/noise", 10 << 10, 6 << 10)
            .layer(made)]),
        left(SIZE),
    );
    let head = |kind| bombs::header(kind, "head", "", 100 << 20);
    for (name, kind) in [
        ("a PAX header of 100 MB", EntryType::XHeader),
        ("a file name of 100 MB", EntryType::GNULongName),
    ] {
        let layer = gzip()
            .bytes(head(kind).as_bytes())
            .bytes(&vec![b'x'; 100 << 20]);
        add(name, image([layer.layer(made)]), left(EXTENSION));
    }
    add(
        "zstd with a window of 2 GiB",
        image([bombs::zstd_window_of_2_gib()]),
        left("zstd window is larger than the limit"),
    );
}

fn counting(add: &mut Add<'_>) {
    let million = |kind, folder, target| {
        let members = gzip().members(kind, folder, target, 1_000_000);
        image([members
            .entries(&distributions::debian_12())
            .layer("COPY rootfs /")])
    };
    add(
        "1,000,000 files",
        million(EntryType::Regular, "srv/files/", ""),
        DEBIAN,
    );
    let links = Pieces::new(Compression::Zstd).members(EntryType::Symlink, "", "", 400_000);
    add(
        "400,000 short links in zstd with its widest window",
        image([links
            .entries(&distributions::debian_12())
            .layer("COPY rootfs /")]),
        DEBIAN,
    );
    for (name, count) in [
        ("127 layers with as much text as a layer may have", 11),
        ("127 layers with more text than a layer may have", 12),
    ] {
        let layers = (0..127).map(|layer| bombs::release_files(layer, count));
        add(name, image(layers), left("too much text in release files"));
    }
    let number = |layer: usize| Layer::new("COPY file /srv/").file("srv/number", layer.to_string());
    add(
        "500 layers, the release file in the last",
        image((1..500).map(number).chain([distributions::debian_12()])),
        DEBIAN,
    );
    add(
        "1,001 layers",
        image((0..1001).map(|_| distributions::debian_12())),
        Answer {
            status: "failed",
            kind: "invalid",
            says: "over 1,000 layers",
            ..left("")
        },
    );
}

fn linking(add: &mut Add<'_>) {
    let layer = || Layer::new("COPY rootfs /");
    let debian =
        || Layer::new("COPY rootfs /").file("srv/os-release", "ID=debian\nVERSION_ID=12\n");
    let far = |link: usize| format!("srv/links/{link}");
    let near = |link: usize| format!("usr/lib/os.release.d/os-release-{link}");
    let end = "usr/lib/os.release.d/os-release-end";
    let near_debian = || layer().file(end, "ID=debian\nVERSION_ID=12\n");
    add(
        "100 links that lead nowhere",
        image([bombs::chain(layer(), 100, far, "srv/nothing")]),
        left(RELEASE_FILE),
    );
    add(
        "100 links that lead to a file",
        image([bombs::chain(debian(), 100, far, "srv/os-release")]),
        left(RELEASE_FILE),
    );
    add(
        "100 links between usual places",
        image([bombs::chain(near_debian(), 100, near, end)]),
        NONE,
    );
    add(
        "40 links between usual places, as many as Linux follows",
        image([bombs::chain(near_debian(), 40, near, end)]),
        DEBIAN,
    );
    add(
        "1,000,000 files behind 39 links of 4,000 bytes",
        image([bombs::behind_long_links(1_000_000)]),
        left("too deep, or behind too many links"),
    );
    let deep = "here/".repeat(100);
    add(
        "100 directories that are links to themselves",
        image([debian()
            .symlink("srv/here", ".")
            .symlink("etc/os-release", &format!("/srv/{deep}os-release"))]),
        NONE,
    );
    let doubled = (0..100).fold(debian(), |layer, link| {
        let next = link + 1;
        layer.symlink(&format!("srv/{link}"), &format!("{next}/../{next}"))
    });
    add(
        "100 directories that are each two links",
        image([doubled.symlink("etc/os-release", "/srv/0/os-release")]),
        left(RELEASE_FILE),
    );
}

fn writing(add: &mut Add<'_>) {
    let long = format!(
        "{}ID=debian\nVERSION_ID=12\n",
        "# a comment\n".repeat((5 << 20) / 12)
    );
    let head = r#"{"architecture":"amd64","os":"linux""#;
    let labels: String = (0..600_000).map(|n| format!(r#""{n:x}":"","#)).collect();
    let documents = [
        (
            "2,000,000 entries of history",
            format!(r#"{head},"history":[{}{{}}]}}"#, "{},".repeat(2_000_000)),
        ),
        (
            "600,000 labels",
            format!(r#"{head},"config":{{"Labels":{{{labels}"":""}}}}}}"#),
        ),
    ];
    for (name, document) in documents {
        add(
            name,
            bombs::with_configuration(&healthy(), &document),
            DEBIAN,
        );
    }
    let annotations = (0..300_000).map(|n| (format!("{n:x}"), String::new()));
    let annotations = annotations.collect();
    add(
        "300,000 annotations",
        bombs::with_annotations(&healthy(), &annotations),
        DEBIAN,
    );
    add(
        "an os-release of 5 MB",
        image([Layer::new("COPY os-release /etc/").file("etc/os-release", long)]),
        // All was read, and no layer can change it: it will not be known.
        Answer {
            certain: true,
            ..left(RELEASE_FILE)
        },
    );
}

/// Takes an image, named, with what must be said of it.
type Add<'a> = dyn FnMut(&'static str, Built, Answer) + 'a;

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
    let distribution = format!("{} {}", row["distro_id"], row["distro_version"]);
    let found = (
        &*row["inspection_status"],
        &*row["error_kind"],
        &*distribution,
        &*row["distro_source"],
        certain,
    );
    let expected = (
        answer.status,
        answer.kind,
        answer.distribution,
        answer.source,
        answer.certain,
    );
    if found != expected {
        return Err(format!("{found:?}, expected {expected:?}: {row:?}").into());
    }
    let message = &row["error_message"];
    if !message.contains(answer.says) {
        return Err(format!("the message is {message:?}").into());
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
