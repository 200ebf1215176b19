//! Which kinds of change two small reports show: a table of literal sets.
//!
//! A line is a container: workload, reference, manifest (a letter, or `-` where none is known),
//! distribution (`none` where there is none, `?` and the reason where it could not be inspected),
//! end-of-life status, and what else is not as usual.

use serde_json::{Value, json};

use super::{ChangeKind, Diff, DiffOptions, Side, compare};
use crate::image::Digest;
use crate::report::Part;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

struct Case {
    name: &'static str,
    old: &'static [&'static str],
    new: &'static [&'static str],
    expected: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        name: "nothing",
        old: &["Deployment/a r/a:1 A debian:12 supported"],
        new: &["Deployment/a r/a:1 A debian:12 supported"],
        expected: &[],
    },
    Case {
        name: "pods, replicas and nodes are no change",
        old: &["Deployment/a r/a:1 A debian:12 supported"],
        new: &[
            "Deployment/a r/a:1 A debian:12 supported",
            "Deployment/a r/a:1 A debian:12 supported pod=2",
            "Deployment/a r/a:1 A debian:12 supported pod=3",
        ],
        expected: &[],
    },
    Case {
        name: "an index digest that becomes its platform's manifest is no change",
        old: &["Deployment/a r/a:1 A debian:12 supported index"],
        new: &["Deployment/a r/a:1 A debian:12 supported"],
        expected: &[],
    },
    Case {
        name: "a DaemonSet on another platform, too, is no change",
        old: &["DaemonSet/a r/a:1 A debian:12 supported"],
        new: &[
            "DaemonSet/a r/a:1 A debian:12 supported",
            "DaemonSet/a r/a:1 B debian:12 supported platform=linux/arm64",
        ],
        expected: &[],
    },
    Case {
        name: "added and removed",
        old: &["Deployment/a r/a:1 A debian:12 supported"],
        new: &["StatefulSet/a r/a:1 A debian:12 supported"],
        expected: &["Deployment/a removed", "StatefulSet/a added"],
    },
    Case {
        name: "another container of a workload is another key",
        old: &["Deployment/a r/a:1 A debian:12 supported"],
        new: &[
            "Deployment/a r/a:1 A debian:12 supported",
            "Deployment/a r/b:1 B none - container=sidecar",
            "Deployment/a r/b:1 B none - type=init",
        ],
        expected: &["Deployment/a added", "Deployment/a added"],
    },
    Case {
        name: "a new reference of the same distribution",
        old: &["Deployment/a r/a:1 A debian:12 supported"],
        new: &["Deployment/a r/a:2 B debian:12 supported"],
        expected: &["Deployment/a reference_changed"],
    },
    Case {
        name: "a new reference of another version",
        old: &["Deployment/a r/a:1 A debian:11 eol"],
        new: &["Deployment/a r/a:2 B debian:12 supported"],
        expected: &["Deployment/a distribution_changed reference_changed"],
    },
    Case {
        name: "to another registry",
        old: &["Deployment/a r/a:1 A debian:12 supported"],
        new: &["Deployment/a mirror/a:1 A debian:12 supported"],
        expected: &["Deployment/a registry_changed reference_changed"],
    },
    Case {
        name: "a rollout under way is a set of two",
        old: &["Deployment/a r/a:1 A debian:12 supported"],
        new: &[
            "Deployment/a r/a:1 A debian:12 supported",
            "Deployment/a r/a:2 B debian:13 supported pod=2",
        ],
        expected: &["Deployment/a distribution_changed reference_changed"],
    },
    Case {
        name: "a rollout that went on for nights is no change",
        old: &[
            "Deployment/a r/a:1 A debian:12 supported",
            "Deployment/a r/a:2 B debian:13 supported pod=2",
        ],
        new: &[
            "Deployment/a r/a:2 B debian:13 supported pod=3",
            "Deployment/a r/a:1 A debian:12 supported pod=4",
        ],
        expected: &[],
    },
    Case {
        name: "a rollout that ends",
        old: &[
            "Deployment/a r/a:1 A debian:12 supported",
            "Deployment/a r/a:2 B debian:13 supported pod=2",
        ],
        new: &["Deployment/a r/a:2 B debian:13 supported"],
        expected: &["Deployment/a distribution_changed reference_changed"],
    },
    Case {
        name: "a moved tag",
        old: &["Deployment/a r/a:1 A debian:12 supported"],
        new: &["Deployment/a r/a:1 B debian:12 supported"],
        expected: &["Deployment/a moved_tag"],
    },
    Case {
        name: "a tag that moved on one of two nodes, so within a night",
        old: &["DaemonSet/a r/a:1 A debian:12 supported"],
        new: &[
            "DaemonSet/a r/a:1 A debian:12 supported",
            "DaemonSet/a r/a:1 B debian:12 supported pod=2",
        ],
        expected: &["DaemonSet/a moved_tag"],
    },
    Case {
        name: "a tag that has moved when the workload comes",
        old: &[],
        new: &[
            "DaemonSet/a r/a:1 A debian:12 supported",
            "DaemonSet/a r/a:1 B debian:12 supported pod=2",
        ],
        expected: &["DaemonSet/a moved_tag added"],
    },
    Case {
        name: "a tag that had moved already",
        old: &[
            "DaemonSet/a r/a:1 A debian:12 supported",
            "DaemonSet/a r/a:1 B debian:12 supported pod=2",
        ],
        new: &[
            "DaemonSet/a r/a:1 B debian:12 supported",
            "DaemonSet/a r/a:1 A debian:12 supported pod=2",
        ],
        expected: &[],
    },
    Case {
        name: "two platforms of one tag have not moved",
        old: &["DaemonSet/a r/a:1 A debian:12 supported"],
        new: &[
            "DaemonSet/a r/a:1 A debian:12 supported",
            "DaemonSet/a r/a:1 B debian:12 supported platform=linux/arm64",
        ],
        expected: &[],
    },
    Case {
        name: "a moved tag whose image could be read in part only",
        old: &["Deployment/a r/a:1 A debian:12 supported"],
        new: &["Deployment/a r/a:1 B ?network -"],
        expected: &["Deployment/a moved_tag no_longer_inspectable"],
    },
    Case {
        name: "an outage is neither a removal nor another distribution",
        old: &["Deployment/a r/a:1 A debian:12 supported"],
        new: &["Deployment/a r/a:1 - ?network -"],
        expected: &["Deployment/a no_longer_inspectable"],
    },
    Case {
        name: "an outage that goes on",
        old: &["Deployment/a r/a:1 - ?network -"],
        new: &["Deployment/a r/a:1 - ?timeout -"],
        expected: &[],
    },
    Case {
        name: "after an outage",
        old: &["Deployment/a r/a:1 - ?network -"],
        new: &["Deployment/a r/a:1 A debian:11 eol"],
        expected: &["Deployment/a again_inspectable"],
    },
    Case {
        name: "after an outage in the middle of a rollout: what was not known is no change",
        old: &[
            "Deployment/a r/a:1 A debian:12 supported",
            "Deployment/a r/a:2 - ?network - pod=2",
        ],
        new: &[
            "Deployment/a r/a:1 A debian:12 supported",
            "Deployment/a r/a:2 B debian:13 supported pod=2",
        ],
        expected: &["Deployment/a again_inspectable"],
    },
    Case {
        name: "a rollout to what cannot be inspected",
        old: &["Deployment/a r/a:1 A debian:12 supported"],
        new: &[
            "Deployment/a r/a:1 A debian:12 supported",
            "Deployment/a r/a:2 - ?not_found - pod=2",
        ],
        expected: &["Deployment/a reference_changed no_longer_inspectable"],
    },
    Case {
        name: "a rollout away from what could not be inspected",
        old: &[
            "Deployment/a r/a:1 A debian:12 supported",
            "Deployment/a r/a:2 - ?not_found - pod=2",
        ],
        new: &["Deployment/a r/a:1 A debian:12 supported"],
        expected: &["Deployment/a reference_changed again_inspectable"],
    },
    Case {
        name: "to an image without a distribution",
        old: &["Deployment/a r/a:1 A debian:12 supported"],
        new: &["Deployment/a r/a:2 B none -"],
        expected: &["Deployment/a distribution_changed reference_changed"],
    },
    Case {
        name: "the end of support, by the calendar alone",
        old: &["Deployment/a r/a:1 A debian:11 extended"],
        new: &["Deployment/a r/a:1 A debian:11 eol"],
        expected: &["Deployment/a entered_eol"],
    },
    Case {
        name: "the end of ordinary support",
        old: &["Deployment/a r/a:1 A debian:12 ending"],
        new: &["Deployment/a r/a:1 A debian:12 extended"],
        expected: &["Deployment/a entered_extended"],
    },
    Case {
        name: "from ended to extended support is no entering of a worse state",
        old: &["Deployment/a r/a:1 A debian:11 eol"],
        new: &["Deployment/a r/a:2 B debian:12 extended"],
        expected: &["Deployment/a distribution_changed reference_changed"],
    },
    Case {
        name: "one of two images passes its date beside one that has",
        old: &[
            "Deployment/a r/a:1 A debian:11 eol",
            "Deployment/a r/a:2 B alpine:3.21 ending pod=2",
        ],
        new: &[
            "Deployment/a r/a:1 A debian:11 eol",
            "Deployment/a r/a:2 B alpine:3.21 eol pod=2",
        ],
        expected: &[],
    },
    Case {
        name: "a CronJob without a pod is not removed",
        old: &["CronJob/a r/a:1 A debian:12 supported"],
        new: &[],
        expected: &["CronJob/a not_running"],
    },
    Case {
        name: "a CronJob whose pod is over and has no digest is known as little as one without",
        old: &["CronJob/a r/a:1 A debian:12 supported"],
        new: &["CronJob/a r/a:1 - ?not_running - over"],
        expected: &[],
    },
    Case {
        name: "Jobs, debug containers and bare pods that are over are totals",
        old: &[
            "Job/a r/a:1 A debian:12 supported",
            "Pod/migrate r/a:1 A debian:12 supported over",
            "Workflow/w r/a:1 A debian:12 supported over",
        ],
        new: &[
            "Job/b r/a:1 A debian:12 supported",
            "Deployment/a r/a:1 A debian:12 supported container=debugger-x type=ephemeral",
        ],
        expected: &["transient 2 3"],
    },
    Case {
        name: "a bare pod that runs is no total, nor a CronJob's or Deployment's pod that is over",
        old: &["Pod/shell r/a:1 A debian:12 supported"],
        new: &[
            "CronJob/a r/a:1 A debian:12 supported over",
            "Deployment/a r/a:1 A debian:12 supported over",
        ],
        expected: &["CronJob/a added", "Deployment/a added", "Pod/shell removed"],
    },
    Case {
        name: "generated names of bare pods and unknown controllers are one key",
        old: &[
            "Pod/run-x7k2p r/a:1 A debian:12 supported generate=run-",
            "Workflow/build-1 r/b:1 B debian:12 supported generate=build-",
        ],
        new: &[
            "Pod/run-m4v9q r/a:1 A debian:12 supported generate=run-",
            "Workflow/build-2 r/b:2 C debian:12 supported generate=build-",
        ],
        expected: &["Workflow/build- reference_changed"],
    },
];

#[test]
fn the_kinds_of_change_are_those_of_the_table() -> Result {
    for case in CASES {
        let diff = diff(case.old, case.new, &DiffOptions::default())?;
        assert_eq!(shown(&diff), case.expected, "{}", case.name);
        let counted: u64 = diff.counts.values().sum();
        let kinds: usize = diff.changes.iter().map(|change| change.kinds.len()).sum();
        assert_eq!(counted, kinds as u64, "{}", case.name);
        // Nothing changes between a report and itself.
        for side in [case.old, case.new] {
            let same = self::diff(side, side, &DiffOptions::default())?;
            assert!(same.changes.is_empty(), "{}: {:?}", case.name, shown(&same));
        }
    }
    Ok(())
}

#[test]
fn options_leave_out_and_take_in() -> Result {
    let old = [
        "Deployment/a r/a:1 A debian:11 extended",
        "Job/a r/a:1 A debian:12 supported",
    ];
    let new = [
        "Deployment/a r/a:2 B debian:11 eol",
        "Deployment/b r/b:1 B none - namespace=other",
    ];
    let with = |options: DiffOptions| {
        Ok::<_, Box<dyn std::error::Error>>(shown(&diff(&old, &new, &options)?))
    };
    let all = DiffOptions::default;
    assert_eq!(
        with(all())?,
        [
            "Deployment/a entered_eol reference_changed",
            "Deployment/b added",
            "transient 0 1"
        ]
    );
    let only = vec![ChangeKind::EnteredEol, ChangeKind::Removed];
    assert_eq!(
        with(DiffOptions { only, ..all() })?,
        ["Deployment/a entered_eol", "transient 0 1"]
    );
    let namespaces = vec!["other".into()];
    assert_eq!(
        with(DiffOptions {
            namespaces,
            ..all()
        })?,
        ["Deployment/b added"]
    );
    let include_transient = true;
    assert_eq!(
        with(DiffOptions {
            include_transient,
            ..all()
        })?,
        [
            "Deployment/a entered_eol reference_changed",
            "Job/a removed",
            "Deployment/b added"
        ]
    );
    Ok(())
}

#[test]
fn only_what_both_scopes_include_is_compared() -> Result {
    let old = side(
        &[
            "Deployment/a r/a:1 A none -",
            "Deployment/b r/b:1 B none - namespace=other",
        ],
        &["n"],
    )?;
    let new = side(&["Deployment/a r/a:2 B none -"], &[])?;
    for (old, new) in [(&old, &new), (&new, &old)] {
        let diff = compare(old, new, &DiffOptions::default()).ok_or("no head")?;
        assert_eq!(shown(&diff), ["Deployment/a reference_changed"]);
    }
    Ok(())
}

fn diff(old: &[&str], new: &[&str], options: &DiffOptions) -> Result<Diff> {
    let sides = (side(old, &[])?, side(new, &[])?);
    Ok(compare(&sides.0, &sides.1, options).ok_or("no head")?)
}

/// A line for each change, and one for what is only counted.
fn shown(diff: &Diff) -> Vec<String> {
    let mut lines: Vec<_> = diff
        .changes
        .iter()
        .map(|change| {
            let kinds: Vec<_> = change.kinds.iter().map(|kind| kind.name()).collect();
            let (kind, name) = (&change.workload_kind, &change.workload_name);
            format!("{kind}/{name} {}", kinds.join(" "))
        })
        .collect();
    let transient = diff.transient;
    if transient.added + transient.removed > 0 {
        lines.push(format!(
            "transient {} {}",
            transient.added, transient.removed
        ));
    }
    lines
}

fn side(lines: &[&str], namespaces: &[&str]) -> Result<Side> {
    let mut side = Side::default();
    side.take(Part::Header(serde_json::from_value(json!({
        "schema_version": "1.0",
        "run_id": "20261123T020000Z-0001",
        "cluster_name": "c",
        "cluster_id": null,
        "snapshot_time": "2026-11-23T02:00:00Z",
        "scope": {"namespaces": namespaces, "excluded_namespaces": [], "selector": null},
        "versions": {"program": "0", "crane": null, "detection_rules": 1, "eol_data": "2026-11-01"},
        "completeness": {"complete": true, "reason": null},
    }))?));
    let mut rows = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let (image, row) = parse(line, index)?;
        side.take(Part::Image(serde_json::from_value(image)?));
        rows.push(row);
    }
    for row in rows {
        side.take(Part::Container(serde_json::from_value(row)?));
    }
    Ok(side)
}

/// An image of its own and a row for each line: the same image twice is no other set.
fn parse(line: &str, index: usize) -> Result<(Value, Value)> {
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or_else(|| format!("too few words: {line}"));
    let (workload, reference, manifest) = (word()?, word()?, word()?);
    let (distribution, eol) = (word()?, word()?);
    let more: Vec<_> = words.collect();
    let value = |name: &str| {
        let prefix = format!("{name}=");
        more.iter().find_map(|word| word.strip_prefix(&*prefix))
    };
    let (kind, name) = workload.split_once('/').ok_or("no workload")?;
    let manifest = (manifest != "-").then(|| Digest::of(manifest.as_bytes()));
    let digest = if more.contains(&"index") {
        Some(Digest::of(line.as_bytes()))
    } else {
        manifest
    };
    let failure = distribution.strip_prefix('?');
    let status = match (failure, manifest) {
        (None, _) => "ok",
        (Some("not_running"), _) => "skipped",
        (Some(_), Some(_)) => "partial",
        (Some(_), None) => "failed",
    };
    let found = distribution.split_once(':').map(|(id, version)| {
        json!({"id": id, "version": version, "source": "etc/os-release", "rule": "os-release", "layer": 0})
    });
    let platform: crate::image::Platform = value("platform").unwrap_or("linux/amd64").parse()?;
    let image = json!({
        "registry": reference.split('/').next(),
        "digest": digest,
        "manifest_digest": manifest,
        "platform": platform,
        "distribution": found,
        "distribution_certain": true,
        "eol_status": (eol != "-").then_some(eol),
        "labels": {},
        "inspection_status": status,
        "error_kind": failure,
    });
    let row = json!({
        "namespace": value("namespace").unwrap_or("n"),
        "workload_kind": kind,
        "workload_name": name,
        "pod": format!("{name}-{}", value("pod").unwrap_or("1")),
        "pod_phase": if more.contains(&"over") { "Succeeded" } else { "Running" },
        "generate_name": value("generate"),
        "container": value("container").unwrap_or("app"),
        "container_type": value("type").unwrap_or("container"),
        "image": reference,
        "platform_source": "node",
        "image_index": index,
    });
    Ok((image, row))
}
