//! Tests of the layer scan on every form that a layer comes in.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use super::testing::{TarBuilder, gzip, scan};
use super::{Entry, LayerError, LayerFinding, MalformedLayer, ScanLimits, ScanRequest, scan_layer};

fn tar() -> TarBuilder {
    TarBuilder::new()
}

fn debian() -> TarBuilder {
    tar()
        .directory("./")
        .directory("./etc/")
        .file("./etc/os-release", b"ID=debian\n")
}

fn file(text: &str) -> Entry {
    Entry::File(text.to_owned())
}

/// What the scan found at a path.
fn at(blob: &[u8], path: &str) -> Option<Entry> {
    scan(blob).unwrap().entries.get(path).cloned()
}

fn assert_debian(blob: &[u8], what: &str) {
    assert_eq!(
        at(blob, "etc/os-release"),
        Some(file("ID=debian\n")),
        "{what}"
    );
}

#[test]
fn every_compression_is_known_by_its_first_bytes() {
    let plain = debian().build();
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    assert_debian(&plain, "plain");
    assert_debian(&gzip(&plain), "gzip");
    assert_debian(&zstd(&plain), "zstd");

    let (front, back) = plain.split_at(700);
    let members = [gzip(front), gzip(b""), gzip(back)].concat();
    assert_debian(
        &members,
        "gzip of several members, as eStargz and pigz write it",
    );
    let frames = [zstd(front), zstd(back)].concat();
    assert_debian(&frames, "zstd of several frames");
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    let chunked = [
        skippable.as_slice(),
        &zstd(front),
        &skippable,
        &zstd(back),
        &skippable,
    ]
    .concat();
    assert_debian(
        &chunked,
        "zstd with frames to skip, as zstd:chunked and pzstd write it",
    );
}

#[test]
fn an_empty_blob_and_an_empty_archive_are_empty_layers() {
    for blob in [
        Vec::new(),
        tar().build(),
        gzip(b""),
        gzip(&tar().build()),
        tar().directory("./").build(),
    ] {
        assert_eq!(scan(&blob).unwrap(), LayerFinding::default());
    }
}

#[test]
fn an_archive_without_its_last_blocks_is_read() {
    assert_debian(&debian().unfinished(), "no end");
}

#[test]
fn what_follows_the_end_is_read_but_not_taken() {
    let mut blob = debian().build();
    blob.extend(tar().file("etc/os-release", b"ID=late\n").build());
    let mut rest = blob.as_slice();
    let finding = scan_layer(&mut rest, &ScanRequest::default(), &ScanLimits::default()).unwrap();
    assert_eq!(
        finding.entries.get("etc/os-release"),
        Some(&file("ID=debian\n"))
    );
    assert!(rest.is_empty());
}

#[test]
fn compressions_that_layers_do_not_have_are_named() {
    for (magic, name) in [
        (b"BZh91AY&SY".as_slice(), "bzip2"),
        (b"\xfd7zXZ\0\0\x04", "xz"),
        (b"\x04\x22\x4d\x18\0\0\0", "lz4"),
    ] {
        assert!(
            matches!(scan(magic), Err(LayerError::Unsupported(found)) if found == name),
            "{name}"
        );
    }
}

#[test]
fn damaged_layers_are_told_apart() {
    let plain = debian().file("etc/x", &[7; 5000]).build();
    let packed = gzip(&plain);
    let zstd = zstd::encode_all(plain.as_slice(), 3).unwrap();
    let mut wrong = packed.clone();
    // The first byte after the header: a block of a type that deflate does not have.
    wrong
        .iter_mut()
        .skip(10)
        .take(1)
        .for_each(|byte| *byte = 0x07);
    let cut = |blob: &[u8], at: usize| blob.get(..at).unwrap().to_vec();
    for (what, blob, reason) in [
        (
            "text",
            b"<html>not a layer</html>".repeat(100),
            MalformedLayer::Archive,
        ),
        (
            "gzip of text",
            gzip(&b"nothing".repeat(1000)),
            MalformedLayer::Archive,
        ),
        (
            "cut gzip",
            cut(&packed, packed.len() / 2),
            MalformedLayer::Truncated,
        ),
        (
            "cut zstd",
            cut(&zstd, zstd.len() / 2),
            MalformedLayer::Truncated,
        ),
        (
            "cut plain",
            cut(&plain, plain.len() - 4000),
            MalformedLayer::Archive,
        ),
        ("damaged gzip", wrong, MalformedLayer::Compression),
    ] {
        let error = scan(&blob).unwrap_err();
        assert!(
            matches!(error, LayerError::Malformed(found) if found == reason),
            "{what}: {error:?}"
        );
    }
}

#[test]
fn a_reader_that_fails_is_not_a_damaged_layer() {
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::ConnectionReset.into())
        }
    }
    let good = gzip(&debian().build());
    let broken = std::io::Read::chain(good.get(..20).unwrap(), Broken);
    let error = scan_layer(broken, &ScanRequest::default(), &ScanLimits::default()).unwrap_err();
    assert!(
        matches!(&error, LayerError::Read(cause) if cause.kind() == std::io::ErrorKind::ConnectionReset),
        "{error:?}"
    );
}

#[test]
fn long_names_of_both_kinds_are_read() {
    let deep = format!("{}/../etc/os-release", "a/".repeat(200));
    let up = format!("{}usr/lib/os-release", "../".repeat(60));
    let gnu = tar()
        .gnu_long_name("etc/os-release")
        .file("etc/cut", b"gnu")
        .build();
    assert_eq!(at(&gnu, "etc/os-release"), Some(file("gnu")));
    let pax = tar()
        .pax(&[("path", b"./etc/os-release")])
        .file("etc/cut", b"pax")
        .build();
    assert_eq!(at(&pax, "etc/os-release"), Some(file("pax")));
    let link = tar()
        .gnu_long_link(&up)
        .symlink("etc/os-release", "cut")
        .build();
    assert_eq!(at(&link, "etc/os-release"), Some(Entry::Symlink(up)));
    let long = tar().gnu_long_name(&deep).file("x", b"elsewhere").build();
    assert_eq!(at(&long, "etc/os-release"), None);
}

#[test]
fn a_pax_size_that_differs_from_the_header_counts() {
    // A parser that believes the header instead would take the body's second half for a member.
    let hidden = tar().file("etc/os-release", b"ID=hidden\n").unfinished();
    let blob = tar()
        .pax(&[("size", hidden.len().to_string().as_bytes())])
        .member(b'0', b"etc/data", b"", b"")
        .unfinished();
    let blob = [blob, hidden, tar().file("etc/lsb-release", b"x").build()].concat();
    assert_eq!(at(&blob, "etc/os-release"), None);
    assert_eq!(at(&blob, "etc/lsb-release"), Some(file("x")));
}

#[test]
fn sparse_files_are_read_with_their_holes() {
    let old = tar()
        .gnu_sparse("etc/os-release", 0, b"ID=sparse\n")
        .file("etc/lsb-release", b"after")
        .build();
    assert_eq!(at(&old, "etc/os-release"), Some(file("ID=sparse\n")));
    assert_eq!(at(&old, "etc/lsb-release"), Some(file("after")));
    let mut body = b"1\n0\n10\n".to_vec();
    body.resize(512, 0);
    body.extend_from_slice(b"ID=sparse\n");
    let pax = tar()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"etc/os-release"),
            ("GNU.sparse.realsize", b"10"),
        ])
        .file("GNUSparseFile.7/os-release", &body)
        .build();
    assert_eq!(at(&pax, "etc/os-release"), Some(file("ID=sparse\n")));
}

#[test]
fn names_that_are_not_utf8_disturb_nothing() {
    let blob = tar()
        .member(b'0', b"etc/caf\xe9", b"", b"x")
        .member(b'2', b"etc/os-release", b"../opt/caf\xe9", b"")
        .member(b'0', b"opt/caf\xe9", b"", b"ID=x\n")
        .build();
    let Some(Entry::Symlink(target)) = at(&blob, "etc/os-release") else {
        unreachable!()
    };
    let wanted = target.trim_start_matches("../");
    let request = ScanRequest::for_paths([wanted]);
    let again = scan_layer(blob.as_slice(), &request, &ScanLimits::default()).unwrap();
    assert_eq!(again.entries.get(wanted), Some(&file("ID=x\n")));
}

#[test]
fn requested_paths_are_told_about_with_their_parents() {
    let blob = tar()
        .symlink("opt/vendor", "/srv")
        .file("opt/x/y", b"text")
        .file("opt/x/z", b"other")
        .build();
    assert!(scan(&blob).unwrap().is_empty());
    let request = ScanRequest::for_paths(["opt/x/y", "opt/vendor/release"]);
    let finding = scan_layer(blob.as_slice(), &request, &ScanLimits::default()).unwrap();
    let keys: Vec<&str> = finding.entries.keys().map(String::as_str).collect();
    assert_eq!(keys, ["opt/vendor", "opt/x/y"]);
    assert!(finding.serves(&request) && !scan(&blob).unwrap().serves(&request));
}

#[test]
fn odd_members_are_what_unpackers_take_them_for() {
    let blob = tar()
        .member(b'g', b"pax_global_header", b"", b"11 path=x\n\n")
        .member(b'0', b"etc/", b"", b"")
        .member(b'7', b"etc/os-release", b"", b"contiguous")
        .member(b'Z', b"etc/lsb-release", b"", b"of no known kind")
        .member(b'6', b"etc/alpine-release", b"", b"")
        .build();
    let finding = scan(&blob).unwrap();
    assert_eq!(
        finding.entries.get("etc/os-release"),
        Some(&file("contiguous"))
    );
    assert_eq!(finding.entries.get("etc/lsb-release"), None);
    assert_eq!(
        finding.entries.get("etc/alpine-release"),
        Some(&Entry::Other)
    );
}

#[test]
fn busybox_tells_its_version_through_the_link_to_its_first_name() {
    let mut program = vec![0_u8; 300_000];
    program.extend_from_slice(b"BusyBox v1.37.0 (2024-09-26 21:31:42 UTC)\0");
    program.extend(vec![0; 100_000]);
    let blob = tar()
        .file("bin/[", &program)
        .hardlink("bin/busybox", "bin/[")
        .build();
    assert_eq!(at(&blob, "bin/busybox"), Some(file("BusyBox v1.37.0")));
}
