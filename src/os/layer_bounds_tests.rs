//! Tests of the layer scan's limits: hostile layers end early, cheaply, with the right reason.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use super::testing::{TarBuilder, gzip, header, scan};
use super::{Entry, LayerError, LayerFinding, Limit, ScanLimits, ScanRequest, scan_layer};

fn tar() -> TarBuilder {
    TarBuilder::new()
}

fn scan_with(blob: impl Read, limits: &ScanLimits) -> Result<LayerFinding, LayerError> {
    scan_layer(blob, &ScanRequest::default(), limits)
}

/// The limit that ended a scan, and what was found before.
fn limit(result: Result<LayerFinding, LayerError>) -> (Limit, LayerFinding) {
    match result {
        Err(LayerError::Limit { limit, found }) => (limit, *found),
        other => unreachable!("no limit was met: {other:?}"),
    }
}

/// `head`, then so many MiB of zeros, packed with gzip to some 1/200 of that.
fn packed_zeros(head: &[u8], mib: usize) -> Vec<u8> {
    let zeros = gzip(&vec![0; 1024 * 1024]);
    [gzip(head), zeros.repeat(mib)].concat()
}

#[test]
fn an_extended_header_of_100_mb_fails_fast_and_in_little_memory() {
    const MIB: u64 = 1024 * 1024;
    for kind in [b'x', b'L', b'K'] {
        let head = header(kind, b"bomb", b"", 100 * MIB);
        // No more can be held in memory than is read.
        let mut rest = io::repeat(0).take(100 * MIB);
        let blob = head.as_slice().chain(&mut rest);
        assert_eq!(
            limit(scan_with(blob, &ScanLimits::default())).0,
            Limit::Extension
        );
        assert!(rest.limit() > 98 * MIB, "{} bytes are left", rest.limit());

        let started = Instant::now();
        assert_eq!(limit(scan(&packed_zeros(&head, 100))).0, Limit::Extension);
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn extended_headers_within_the_limit_are_read() {
    let long = "x".repeat(1000 * 1000);
    let blob = tar()
        .pax(&[("comment", long.as_bytes())])
        .file("etc/os-release", b"ID=x\n")
        .build();
    assert_eq!(scan(&blob).unwrap().entries.len(), 1);
}

#[test]
fn a_body_beyond_the_budget_of_headers_is_no_matter() {
    let large = vec![7_u8; 5 * 1024 * 1024];
    let blob = tar()
        .file("app/data", &large)
        .gnu_sparse("app/holes", 0, &large)
        .file("etc/os-release", b"x");
    assert_eq!(scan(&blob.build()).unwrap().entries.len(), 1);
}

#[test]
fn a_bomb_is_stopped_by_its_ratio_and_keeps_what_was_found() {
    let head = [
        tar().file("etc/os-release", b"ID=x\n").unfinished(),
        header(b'0', b"zeros", b"", 10 * 1024 * 1024 * 1024).to_vec(),
    ]
    .concat();
    let limits = ScanLimits {
        ratio_slack_bytes: 4 * 1024 * 1024,
        max_ratio: 50,
        ..ScanLimits::default()
    };
    let (reason, found) = limit(scan_with(packed_zeros(&head, 50).as_slice(), &limits));
    assert_eq!(reason, Limit::Ratio);
    assert_eq!(
        found.entries.get("etc/os-release"),
        Some(&Entry::File("ID=x\n".to_owned()))
    );
    // Within the slack the same ratio is no offence.
    let small = [
        tar().unfinished(),
        header(b'0', b"zeros", b"", 3 * 1024 * 1024).to_vec(),
    ]
    .concat();
    assert!(scan_with(packed_zeros(&small, 3).as_slice(), &limits).is_ok());
}

#[test]
fn sizes_and_counts_are_limited() {
    let large = tar()
        .file("app/a", &vec![7; 100_000])
        .file("app/b", &vec![7; 100_000])
        .build();
    let limits = ScanLimits::default;
    let compressed = ScanLimits {
        max_compressed_bytes: 150_000,
        ..limits()
    };
    assert_eq!(
        limit(scan_with(large.as_slice(), &compressed)).0,
        Limit::Compressed
    );
    let decompressed = ScanLimits {
        max_decompressed_bytes: 150_000,
        ..limits()
    };
    assert_eq!(
        limit(scan_with(gzip(&large).as_slice(), &decompressed)).0,
        Limit::Decompressed
    );
    let entries = ScanLimits {
        max_entries: 1,
        ..limits()
    };
    assert_eq!(
        limit(scan_with(large.as_slice(), &entries)).0,
        Limit::Entries
    );
    let exact = ScanLimits {
        max_entries: 2,
        max_compressed_bytes: large.len() as u64,
        ..limits()
    };
    assert!(scan_with(large.as_slice(), &exact).is_ok());
    let request = ScanRequest {
        extra_paths: (0..65).map(|n| format!("p{n}")).collect(),
    };
    assert_eq!(
        limit(scan_layer(large.as_slice(), &request, &limits())).0,
        Limit::Request
    );
}

#[test]
fn much_text_in_release_files_is_limited() {
    let mut many = tar();
    let text = "x".repeat(4000);
    for number in 0..100 {
        many = many.file(
            &format!("usr/lib/os.release.d/os-release-{number}"),
            text.as_bytes(),
        );
    }
    assert_eq!(limit(scan(&many.build())).0, Limit::Captured);
    let mut marks = tar();
    for number in 0..10_000 {
        marks = marks.file(
            &format!("usr/lib/os.release.d/.wh.os-release-{number}"),
            b"",
        );
    }
    assert_eq!(limit(scan(&marks.build())).0, Limit::Captured);
    let same = (0..200).fold(tar(), |tar, _| tar.file("etc/os-release", text.as_bytes()));
    assert_eq!(scan(&same.build()).unwrap().entries.len(), 1);
}

#[test]
fn a_release_file_over_the_limit_is_told_by_its_size() {
    let blob = tar()
        .file("etc/os-release", &vec![b'#'; 5 * 1024 * 1024])
        .file("etc/lsb-release", b"x")
        .build();
    let finding = scan(&blob).unwrap();
    assert_eq!(
        finding.entries.get("etc/os-release"),
        Some(&Entry::TooLarge(5 * 1024 * 1024))
    );
    assert_eq!(
        finding.entries.get("etc/lsb-release"),
        Some(&Entry::File("x".to_owned()))
    );
}

#[test]
fn a_hole_of_an_exabyte_takes_no_time() {
    let hole = 1 << 60;
    let blob = tar()
        .gnu_sparse("app/hole", hole, b"x")
        .gnu_sparse("etc/os-release", hole, b"x")
        .gnu_sparse("bin/busybox", hole, b"x")
        .file("etc/lsb-release", b"after")
        .build();
    let finding = scan(&blob).unwrap();
    assert!(
        matches!(finding.entries.get("etc/os-release"), Some(Entry::TooLarge(size)) if *size > hole)
    );
    assert_eq!(
        finding.entries.get("etc/lsb-release"),
        Some(&Entry::File("after".to_owned()))
    );
}

#[test]
fn a_window_larger_than_the_limit_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder
        .write_all(&tar().file("etc/os-release", b"ID=x\n").build())
        .unwrap();
    let blob = encoder.finish().unwrap();
    assert_eq!(limit(scan(&blob)).0, Limit::Window);
    let wide = ScanLimits {
        max_zstd_window_log: 27,
        ..ScanLimits::default()
    };
    assert_eq!(scan_with(blob.as_slice(), &wide).unwrap().entries.len(), 1);
}

#[test]
fn paths_beyond_the_systems_limit_are_passed_over() {
    let long = format!("{}etc/os-release", "./".repeat(3000));
    let blob = tar()
        .gnu_long_name(&long)
        .file("x", b"x")
        .gnu_long_link(&long)
        .symlink("etc/os-release", "y");
    assert!(scan(&blob.build()).unwrap().is_empty());
}

#[test]
fn thirty_thousand_links_cost_neither_memory_nor_time() {
    let mut many = tar().file("etc/os-release", b"ID=x\n");
    for number in 0..30_000 {
        many = many.symlink(
            &format!("usr/share/x/{}/{number}", number % 100),
            "../etc/os-release",
        );
    }
    let blob = many
        .symlink("usr/share/late", "../../etc")
        .file("usr/share/late/lsb-release", b"y")
        .build();
    let started = Instant::now();
    let finding = scan(&blob).unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(
        finding.entries.keys().collect::<Vec<_>>(),
        ["etc/lsb-release", "etc/os-release", "usr"]
    );
}

#[test]
fn damaged_archives_end_in_an_error_or_a_finding() {
    let whole = tar()
        .pax(&[
            ("path", b"etc/os-release"),
            ("size", b"5"),
            ("GNU.sparse.major", b"1"),
        ])
        .file("etc/x", b"ID=x\n")
        .gnu_sparse("etc/lsb-release", 512, b"DISTRIB_ID=x\n")
        .gnu_long_name("etc/alpine-release")
        .gnu_long_link("etc/os-release")
        .hardlink("etc/y", "z")
        .symlink("etc/debian_version", "../usr/lib/x")
        .file("usr/.wh.lib", b"")
        .build();
    let (packed, zstd) = (gzip(&whole), zstd::encode_all(whole.as_slice(), 3).unwrap());
    let mut found = 0;
    for seed in 0..6000 {
        let mut dice = super::testing::Dice(seed);
        let mut blob = dice
            .pick(&[whole.clone(), whole.clone(), packed.clone(), zstd.clone()])
            .clone();
        for _ in 0..=dice.below(4) {
            let at = dice.below(blob.len());
            let byte = *dice.pick(&[0, b'0', b'7', b'S', b'x', b'\n', 0x80, 0xff]);
            *blob.get_mut(at).unwrap() = byte;
            if blob.len() == whole.len() {
                // Otherwise the checksum would hide nearly all of what is behind it.
                super::testing::repair_checksum(&mut blob, at);
            }
        }
        found += usize::from(scan(&blob).is_ok());
    }
    assert!(found > 100, "{found}");
}

#[test]
fn names_that_are_deep_or_lead_through_long_links_end_a_scan_early() {
    let limits = ScanLimits {
        max_path_parts: 10_000,
        ..ScanLimits::default()
    };
    let deep = "d/".repeat(40);
    let way = "./".repeat(40);
    let in_depth = (0..300).fold(tar(), |tar, n| tar.file(&format!("{deep}{n}"), b""));
    let linked = tar().symlink("srv/a", &format!("{way}b"));
    let linked = (0..300).fold(linked, |tar, n| tar.file(&format!("srv/a/{n}"), b""));
    for layer in [in_depth, linked] {
        let layer = layer.build();
        assert_eq!(limit(scan_with(layer.as_slice(), &limits)).0, Limit::Paths);
        assert!(scan(&layer).is_ok());
    }
    // The same number of ordinary names costs a fraction.
    let plain = (0..300).fold(tar(), |tar, n| tar.file(&format!("srv/files/{n}"), b""));
    assert!(scan_with(plain.build().as_slice(), &limits).is_ok());
}

#[test]
fn short_links_are_counted_with_what_remembering_them_costs() {
    // Each is remembered until 2 MiB are full at 96 bytes and more each: the last ones are not.
    let link = |tar: TarBuilder, n: usize| tar.symlink(&format!("{n:x}"), "etc2");
    let many = (0..30_000).fold(tar(), link);
    let through = |n: usize| {
        let layer = many.clone().symlink("etc2", "etc");
        let layer = layer.file(&format!("{n:x}/os-release"), b"ID=x");
        scan(&layer.build())
            .unwrap()
            .entries
            .contains_key("etc/os-release")
    };
    assert!(through(1_000));
    assert!(!through(29_000));
}
