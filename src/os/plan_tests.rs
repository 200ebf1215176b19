//! Tests of the choice of layers: images are read step by step, as a caller would.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use super::testing::{Dice, TarBuilder};
use super::{
    Certainty, Identification, LayerError, LayerFinding, LayerInfo, LayerPolicy, LayerState,
    ScanLimits, Step, next_step, scan_layer,
};

const LARGE: u64 = 100 * 1024 * 1024;
const APPLICATION: &str = "COPY /src /app # buildkit";
const UPGRADE: &str = "RUN /bin/sh -c apt-get -y upgrade # buildkit";

/// A layer of a test: its content, and what the manifest and the history say of it.
struct Layer {
    blob: Vec<u8>,
    info: LayerInfo,
}

fn layer(tar: TarBuilder, size: u64, created_by: &str) -> Layer {
    let created_by = (!created_by.is_empty()).then(|| created_by.to_owned());
    Layer {
        blob: tar.build(),
        info: LayerInfo {
            size: Some(size),
            created_by,
        },
    }
}

fn tar() -> TarBuilder {
    TarBuilder::new()
}

fn base(id: &str) -> TarBuilder {
    tar()
        .file(
            "usr/lib/os-release",
            format!("ID={id}\nVERSION_ID=1\n").as_bytes(),
        )
        .symlink("etc/os-release", "../usr/lib/os-release")
}

/// What became of a layer, owned.
enum State {
    Unread,
    Read(LayerFinding),
    Partial(LayerFinding),
    Unreadable,
}

/// Reads until done: the ID (or what else was answered), the certainty, the layers in reading order.
fn run_from(
    policy: LayerPolicy,
    layers: &[Layer],
    mut states: Vec<State>,
) -> (String, Certainty, Vec<usize>) {
    let infos: Vec<LayerInfo> = layers.iter().map(|layer| layer.info.clone()).collect();
    let mut order = Vec::new();
    for _ in 0..200 {
        let borrowed: Vec<LayerState<'_>> = states
            .iter()
            .map(|state| match state {
                State::Unread => LayerState::Unread,
                State::Read(finding) => LayerState::Read(finding),
                State::Partial(finding) => LayerState::Partial(finding),
                State::Unreadable => LayerState::Unreadable,
            })
            .collect();
        match next_step(policy, &infos, &borrowed) {
            Step::Read { layer, request } => {
                order.push(layer);
                let blob = layers.get(layer).unwrap().blob.as_slice();
                *states.get_mut(layer).unwrap() =
                    match scan_layer(blob, &request, &ScanLimits::default()) {
                        Ok(finding) => State::Read(finding),
                        Err(LayerError::Limit { found, .. }) => State::Partial(*found),
                        Err(_) => State::Unreadable,
                    };
            }
            Step::Done {
                identification,
                certainty,
            } => {
                let answer = match identification {
                    Identification::Found(found) => found.id.unwrap_or_default(),
                    other => format!("{other:?}"),
                };
                return (answer, certainty, order);
            }
        }
    }
    unreachable!("the steps do not end");
}

fn run(policy: LayerPolicy, layers: &[Layer]) -> (String, Certainty, Vec<usize>) {
    run_from(
        policy,
        layers,
        layers.iter().map(|_| State::Unread).collect(),
    )
}

fn is(answer: &str, certainty: Certainty, order: &[usize]) -> (String, Certainty, Vec<usize>) {
    (answer.to_owned(), certainty, order.to_vec())
}

#[test]
fn auto_leaves_out_what_the_history_clears_and_says_so() {
    let image = [
        layer(base("debian"), LARGE, "/bin/sh -c #(nop) ADD file:1 in / "),
        layer(tar().file("app/x", b""), LARGE, APPLICATION),
        layer(tar().file("etc/x", b""), LARGE, UPGRADE),
    ];
    assert_eq!(
        run(LayerPolicy::Auto, &image),
        is("debian", Certainty::History, &[0, 2])
    );
    assert_eq!(
        run(LayerPolicy::All, &image),
        is("debian", Certainty::Proved, &[0, 1, 2])
    );
    assert_eq!(
        run(LayerPolicy::Base, &image),
        is("debian", Certainty::Doubtful, &[0])
    );
}

#[test]
fn a_replaced_release_file_is_found_by_auto_in_small_and_in_doubted_layers() {
    for (size, history) in [
        (500, APPLICATION),
        (LARGE, UPGRADE),
        (LARGE, ""),
        (LARGE, "COPY root / # buildkit"),
    ] {
        let image = [
            layer(base("debian"), LARGE, ""),
            layer(base("kali"), size, history),
        ];
        assert_eq!(
            run(LayerPolicy::Auto, &image),
            is("kali", Certainty::Proved, &[0, 1]),
            "{history}"
        );
    }
}

#[test]
fn a_history_that_lies_makes_an_answer_that_is_not_called_proved() {
    let image = [
        layer(base("debian"), LARGE, ""),
        layer(base("kali"), LARGE, APPLICATION),
    ];
    assert_eq!(
        run(LayerPolicy::Auto, &image),
        is("debian", Certainty::History, &[0])
    );
    assert_eq!(
        run(LayerPolicy::All, &image),
        is("kali", Certainty::Proved, &[0, 1])
    );
}

#[test]
fn reading_goes_on_upwards_until_os_release_is_there() {
    let image = [
        layer(
            tar().file("etc/debian_version", b"12.1\n"),
            LARGE,
            APPLICATION,
        ),
        layer(tar().file("app/x", b""), LARGE, APPLICATION),
        layer(
            tar().file("etc/os-release", b"ID=own\n"),
            LARGE,
            APPLICATION,
        ),
        layer(tar().file("app/y", b""), LARGE, APPLICATION),
    ];
    for policy in [LayerPolicy::Auto, LayerPolicy::Base] {
        assert_eq!(
            run(policy, &image),
            is("own", Certainty::History, &[0, 1, 2])
        );
    }
}

#[test]
fn that_there_is_nothing_is_proved_by_all_layers_only() {
    let image = [
        layer(tar().file("app/x", b""), LARGE, APPLICATION),
        layer(tar().file("app/y", b""), LARGE, APPLICATION),
    ];
    assert_eq!(
        run(LayerPolicy::Auto, &image),
        is("None", Certainty::Proved, &[0, 1])
    );
    let failed = vec![State::Unread, State::Unreadable];
    assert_eq!(
        run_from(LayerPolicy::Auto, &image, failed),
        is("None", Certainty::Doubtful, &[0])
    );
    assert_eq!(
        run(LayerPolicy::All, &[]),
        is("None", Certainty::Proved, &[])
    );
}

#[test]
fn layers_are_read_again_for_a_path_that_one_pass_does_not_tell() {
    let image = [
        layer(
            tar().symlink("etc/os-release", "/etc/static/os-release"),
            LARGE,
            "",
        ),
        layer(tar().symlink("etc/static", "/nix/store/x/etc"), LARGE, ""),
        layer(
            tar().symlink("nix/store/x/etc/os-release", "/nix/store/y-os-release"),
            LARGE,
            "",
        ),
        layer(
            tar().file("nix/store/y-os-release", b"ID=nixos\n"),
            LARGE,
            "",
        ),
    ];
    let (answer, certainty, order) = run(LayerPolicy::Auto, &image);
    assert_eq!((answer.as_str(), certainty), ("nixos", Certainty::Proved));
    assert!(order.len() <= 12, "{order:?}");
    let (answer, certainty, again) = run(LayerPolicy::All, &image);
    assert_eq!((answer.as_str(), certainty), ("nixos", Certainty::Proved));
    assert!(again.len() <= 12, "{again:?}");
}

#[test]
fn a_chain_of_links_that_leads_on_and_on_is_given_up() {
    let chain = (0..100).fold(tar().symlink("etc/os-release", "/p/0"), |tar, link| {
        tar.symlink(&format!("p/{link}"), &format!("{}", link + 1))
    });
    let (answer, certainty, order) = run(LayerPolicy::Auto, &[layer(chain, LARGE, "")]);
    assert!(answer.starts_with("NeedsFile"), "{answer}");
    assert_eq!((certainty, order.len()), (Certainty::Doubtful, 9));
}

#[test]
fn a_layer_left_early_leaves_doubt_unless_it_cannot_matter() {
    let own = || layer(tar().file("etc/os-release", b"ID=own\n"), LARGE, "");
    let other = || layer(tar(), LARGE, "");
    let partial = || State::Partial(LayerFinding::default());
    let above = run_from(
        LayerPolicy::All,
        &[own(), other()],
        vec![State::Unread, partial()],
    );
    assert_eq!(above, is("own", Certainty::Doubtful, &[0]));
    let below = run_from(
        LayerPolicy::All,
        &[other(), own()],
        vec![partial(), State::Unread],
    );
    assert_eq!(below, is("own", Certainty::Proved, &[1]));
}

#[test]
fn a_finding_of_an_earlier_night_that_tells_enough_is_not_read_again() {
    let image = [layer(base("debian"), LARGE, "")];
    let known = scan_layer(
        image[0].blob.as_slice(),
        &Default::default(),
        &ScanLimits::default(),
    )
    .unwrap();
    let result = run_from(LayerPolicy::Auto, &image, vec![State::Read(known)]);
    assert_eq!(result, is("debian", Certainty::Proved, &[]));
}

#[test]
fn auto_answers_as_all_does_or_does_not_call_it_proved() {
    const HISTORIES: [&str; 6] = [
        APPLICATION,
        UPGRADE,
        "",
        "COPY x /etc/ # buildkit",
        "WORKDIR /app",
        "jib-x",
    ];
    let mut cleared = 0;
    for seed in 0..3000 {
        let mut dice = Dice(seed);
        let count = 1 + dice.below(5);
        let image: Vec<Layer> = (0..count)
            .map(|index| {
                let id = format!("os{index}");
                let content = match dice.below(8) {
                    0 | 1 => base(&id),
                    2 => tar().file("etc/os-release", format!("ID={id}\n").as_bytes()),
                    3 => tar().file("etc/.wh.os-release", b""),
                    4 => tar().directory("usr/").file("usr/.wh..wh..opq", b""),
                    5 => tar().symlink("etc/os-release", "/opt/own/release"),
                    6 => tar().file("opt/own/release", format!("ID={id}\n").as_bytes()),
                    _ => tar().file("app/x", b""),
                };
                let size = if dice.below(4) == 0 { 1000 } else { LARGE };
                let history = *dice.pick::<&str>(&HISTORIES);
                layer(content, size, history)
            })
            .collect();
        let (auto, certainty, _) = run(LayerPolicy::Auto, &image);
        let (all, proved, _) = run(LayerPolicy::All, &image);
        assert_eq!(proved, Certainty::Proved);
        assert!(
            auto == all || certainty < Certainty::Proved,
            "seed {seed}: {auto}, {all}, {certainty:?}"
        );
        cleared += usize::from(certainty == Certainty::History);
    }
    assert!(cleared > 100, "the cases are one-sided: {cleared}");
}
