//! Tests of one layer's tree: what replaces what, and what is kept.

use super::tree::LayerTree;
use super::{Entry, ScanRequest};

fn tree(build: impl Fn(&mut LayerTree<'_>)) -> Vec<(String, Entry)> {
    let request = ScanRequest::default();
    let mut tree = LayerTree::new(&request);
    build(&mut tree);
    tree.finish().entries.into_iter().collect()
}

fn add(tree: &mut LayerTree<'_>, name: &str, node: Entry) {
    if let Some(path) = tree.locate(name) {
        tree.add(&path, node);
    }
}

fn file(text: &str) -> Entry {
    Entry::File(text.to_owned())
}

fn link(target: &str) -> Entry {
    Entry::Symlink(target.to_owned())
}

fn expect(entries: &[(&str, Entry)]) -> Vec<(String, Entry)> {
    entries
        .iter()
        .map(|(path, node)| ((*path).to_owned(), node.clone()))
        .collect()
}

#[test]
fn the_last_entry_of_a_path_wins() {
    let found = tree(|tree| {
        add(tree, "./etc/os-release", file("a"));
        add(tree, "/etc/os-release", file("b"));
    });
    assert_eq!(found, expect(&[("etc/os-release", file("b"))]));
}

#[test]
fn a_file_in_place_of_a_directory_takes_all_below_with_it() {
    let found = tree(|tree| {
        add(tree, "etc/os-release", file("a"));
        add(tree, "etc/.wh.lsb-release", Entry::Other);
        add(tree, "etc", Entry::Other);
        add(
            tree,
            "etc/os-release",
            file("lost: its parent is no directory"),
        );
    });
    assert_eq!(found, expect(&[("etc", Entry::Other)]));
}

#[test]
fn entries_are_written_through_links_of_their_own_layer() {
    let found = tree(|tree| {
        add(tree, "etc", link("usr/etc"));
        add(tree, "opt/a", link("../etc"));
        add(tree, "opt/a/os-release", file("through two links"));
    });
    assert_eq!(
        found,
        expect(&[
            ("etc", link("usr/etc")),
            ("usr/etc/os-release", file("through two links"))
        ])
    );
}

#[test]
fn a_directory_entry_replaces_a_link() {
    let found = tree(|tree| {
        add(tree, "etc", link("usr/etc"));
        add(tree, "etc/", Entry::Directory);
        add(tree, "etc/os-release", file("x"));
    });
    assert_eq!(found, expect(&[("etc/os-release", file("x"))]));
}

#[test]
fn looping_parents_lose_their_entries_only() {
    let found = tree(|tree| {
        add(tree, "etc", link("usr"));
        add(tree, "usr", link("etc"));
        add(tree, "etc/os-release", file("x"));
    });
    assert_eq!(found, expect(&[("etc", link("usr")), ("usr", link("etc"))]));
}

#[test]
fn a_hard_link_keeps_what_its_target_was() {
    let found = tree(|tree| {
        add(tree, "usr/lib/os-release", file("first"));
        tree.add_hardlink("etc/os-release", "./usr/lib/os-release");
        add(tree, "usr/lib/os-release", file("second"));
        tree.add_hardlink("etc/alpine-release", "/opt/x");
    });
    assert_eq!(
        found,
        expect(&[
            ("etc/alpine-release", Entry::Hardlink("opt/x".to_owned())),
            ("etc/os-release", file("first")),
            ("usr/lib/os-release", file("second")),
        ])
    );
}

#[test]
fn whiteouts_hide_lower_layers_and_not_their_own() {
    let found = tree(|tree| {
        add(tree, "etc/os-release", file("own"));
        add(tree, "etc/.wh.os-release", Entry::Other);
        add(tree, "etc/.wh.alpine-release", Entry::Other);
        add(tree, ".wh.usr", Entry::Other);
        add(tree, "usr/lib/", Entry::Directory);
        tree.add_hardlink("bin/.wh.busybox", ".wh..wh.aufs");
    });
    assert_eq!(
        found,
        expect(&[
            ("bin/busybox", Entry::Whiteout),
            ("etc/alpine-release", Entry::Whiteout),
            ("etc/os-release", file("own")),
            ("usr", Entry::OpaqueDirectory),
            ("usr/lib", Entry::Directory),
        ])
    );
}

#[test]
fn opaque_marks_count_before_and_after_the_entries_of_their_directory() {
    for first in [true, false] {
        let found = tree(|tree| {
            if first {
                add(tree, "etc/.wh..wh..opq", Entry::Other);
            }
            add(tree, "etc/os-release", file("own"));
            if !first {
                add(tree, "etc/.wh..wh..opq", Entry::Other);
            }
        });
        assert_eq!(
            found,
            expect(&[
                ("etc", Entry::OpaqueDirectory),
                ("etc/os-release", file("own"))
            ])
        );
    }
}

#[test]
fn an_opaque_mark_goes_with_its_directory() {
    let found = tree(|tree| {
        add(tree, "etc/.wh..wh..opq", Entry::Other);
        add(tree, "etc", Entry::Other);
        add(tree, "etc/", Entry::Directory);
    });
    assert_eq!(found, expect(&[("etc", Entry::Directory)]));
}

#[test]
fn a_hard_link_to_a_symbolic_link_has_its_text() {
    let found = tree(|tree| {
        add(tree, "opt/link", link("../usr/lib/os-release"));
        tree.add_hardlink("etc/os-release", "opt/link");
    });
    assert_eq!(
        found,
        expect(&[("etc/os-release", link("../usr/lib/os-release"))])
    );
}

#[test]
fn what_cannot_matter_is_not_kept() {
    let found = tree(|tree| {
        add(tree, "app/os-release", file("x"));
        add(tree, "app/.wh..wh..opq", Entry::Other);
        add(tree, ".wh..wh.plnk", Entry::Other);
        add(tree, ".wh.", Entry::Other);
        add(tree, "etc/.wh.passwd", Entry::Other);
        add(tree, "var/link", link("nowhere"));
    });
    assert_eq!(found, expect(&[("etc", Entry::Directory)]));
}
