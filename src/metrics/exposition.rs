//! A manifest as metrics in Prometheus' text format.
//!
//! Pure. Every family is there every night, and every label value that is known beforehand, with 0: a
//! push replaces what has the same name, so that a family which is left out would go on saying what an
//! earlier night said. One is left out on purpose: see [`exposition`].

use std::collections::BTreeMap;
use std::time::Duration;

use clap::ValueEnum;
use prometheus::{Gauge, GaugeVec, Opts, Registry, TextEncoder};

use crate::diff::ChangeKind;
use crate::os::EolStatus;
use crate::report::{ErrorKind, InspectionStatus, Manifest};

/// The label's value where an image has no distribution, or is not known: an empty one would be none.
const NO_STATUS: &str = "none";

const EOL_STATUSES: [EolStatus; 6] = [
    EolStatus::Supported,
    EolStatus::Ending,
    EolStatus::Extended,
    EolStatus::Eol,
    EolStatus::Rolling,
    EolStatus::Unknown,
];

const INSPECTION_STATUSES: [InspectionStatus; 4] = [
    InspectionStatus::Ok,
    InspectionStatus::Partial,
    InspectionStatus::Failed,
    InspectionStatus::Skipped,
];

/// All but `not_running`: pods that are over are not counted.
const ERROR_KINDS: [ErrorKind; 12] = [
    ErrorKind::Unauthorized,
    ErrorKind::Denied,
    ErrorKind::NotFound,
    ErrorKind::RateLimited,
    ErrorKind::Timeout,
    ErrorKind::Network,
    ErrorKind::Tls,
    ErrorKind::Unsupported,
    ErrorKind::Invalid,
    ErrorKind::Policy,
    ErrorKind::Deadline,
    ErrorKind::Internal,
];

/// The metrics of a committed run that took so long. Which cluster it is, is not said here: that is in
/// the path that they are pushed to.
///
/// `image_census_last_complete_run_timestamp_seconds` is left out of an incomplete run. It is pushed by
/// POST, which keeps what has another name, so that the last complete run's stays.
pub fn exposition(manifest: &Manifest, took: Duration) -> Result<String, prometheus::Error> {
    let counts = &manifest.counts;
    let completeness = &manifest.header.completeness;
    let started = manifest.header.snapshot_time.timestamp() as f64;
    let families = Families::default();

    families.one(
        "image_census_last_run_timestamp_seconds",
        "When the newest committed run began.",
        started,
    )?;
    if completeness.complete {
        families.one(
            "image_census_last_complete_run_timestamp_seconds",
            "When the newest complete run began.",
            started,
        )?;
    }
    families.one(
        "image_census_complete",
        "Whether the newest run saw all that it was asked to see: 0 if a deadline or a signal cut it off.",
        f64::from(u8::from(completeness.complete)),
    )?;
    families.one(
        "image_census_run_duration_seconds",
        "How long the newest run took until its report was committed.",
        took.as_secs_f64(),
    )?;
    families.one(
        "image_census_pods",
        "Pods, those that are over included.",
        counts.pods as f64,
    )?;

    let mut containers = zeros(EOL_STATUSES.map(|status| status.to_string()));
    containers.insert(NO_STATUS.into(), 0.0);
    for count in &counts.by_eol_status {
        let status = count.eol_status.map(|status| status.to_string());
        let status = status.unwrap_or_else(|| NO_STATUS.into());
        *containers.entry(status).or_default() += count.containers as f64;
    }
    families.many(
        "image_census_containers",
        "Containers of pods that are not over, by the support of their distribution.",
        "eol_status",
        &containers,
    )?;

    let mut images = zeros(INSPECTION_STATUSES.map(InspectionStatus::name));
    for count in &counts.by_inspection_status {
        *images.entry(count.inspection_status.name()).or_default() += count.images as f64;
    }
    families.many(
        "image_census_images",
        "Distinct images of pods that are not over, by whether they could be inspected.",
        "inspection_status",
        &images,
    )?;

    let mut reasons = zeros(ERROR_KINDS.map(ErrorKind::name));
    reasons.extend(
        counts
            .reasons()
            .into_iter()
            .map(|(kind, images)| (kind, images as f64)),
    );
    families.many(
        "image_census_images_not_inspected",
        "Distinct images of pods that are not over and that could not be inspected in full, by reason.",
        "error_kind",
        &reasons,
    )?;

    let changes = changes(manifest);
    families.many(
        "image_census_changes",
        "Changed containers of workloads since the last complete run of an earlier day; NaN if there is none to compare with.",
        "kind",
        &changes,
    )?;
    families.text()
}

/// How much changed. That nothing was compared is not that nothing changed.
fn changes(manifest: &Manifest) -> BTreeMap<String, f64> {
    let mut changes = zeros(ChangeKind::value_variants().iter().map(|kind| kind.name()));
    match &manifest.changes {
        Some(counted) => changes.extend(
            counted
                .by_kind
                .iter()
                .map(|(kind, count)| (kind.clone(), *count as f64)),
        ),
        None => changes.values_mut().for_each(|count| *count = f64::NAN),
    }
    changes
}

fn zeros(names: impl IntoIterator<Item = impl Into<String>>) -> BTreeMap<String, f64> {
    names.into_iter().map(|name| (name.into(), 0.0)).collect()
}

/// Metrics that were measured so far.
#[derive(Default)]
struct Families(Registry);

impl Families {
    fn one(&self, name: &str, help: &str, value: f64) -> Result<(), prometheus::Error> {
        let gauge = Gauge::new(name, help)?;
        gauge.set(value);
        self.0.register(Box::new(gauge))
    }

    fn many(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: &BTreeMap<String, f64>,
    ) -> Result<(), prometheus::Error> {
        let gauges = GaugeVec::new(Opts::new(name, help), &[label])?;
        for (label, value) in values {
            gauges.with_label_values(&[label]).set(*value);
        }
        self.0.register(Box::new(gauges))
    }

    fn text(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.0.gather())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use schemars::{JsonSchema, schema_for};
    use serde_json::{Value, json};

    use super::*;
    use crate::report::Counts;

    fn manifest(complete: bool, changes: Value) -> Result<Manifest, serde_json::Error> {
        let status = |status: &str, kind: Value, images: u64| json!({"inspection_status": status, "error_kind": kind, "containers": 1, "images": images});
        let mut counts = serde_json::to_value(Counts::default())?;
        counts["pods"] = json!(7);
        counts["by_eol_status"] = json!([
            {"eol_status": null, "containers": 2, "images": 1},
            {"eol_status": "eol", "containers": 3, "images": 2},
        ]);
        counts["by_inspection_status"] = json!([
            status("ok", Value::Null, 4),
            status("partial", json!("timeout"), 1),
            status("failed", json!("timeout"), 2),
            status("failed", json!("denied"), 1),
        ]);
        serde_json::from_value(json!({
            "schema_version": "1.0", "run_id": "20261123T020000Z-1f3a", "cluster_name": "test",
            "cluster_id": null, "snapshot_time": "2026-11-23T02:00:00Z",
            "scope": {"namespaces": [], "excluded_namespaces": [], "selector": null},
            "versions": {"program": "0", "crane": null, "detection_rules": 1, "eol_data": "2026-11-01"},
            "completeness": {"complete": complete, "reason": null},
            "files": [], "counts": counts, "changes": changes,
        }))
    }

    fn samples(manifest: &Manifest) -> Result<BTreeMap<String, String>, prometheus::Error> {
        let text = exposition(manifest, Duration::from_millis(2_500))?;
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        Ok(samples
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, value)| (name.into(), value.into()))
            .collect())
    }

    type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

    #[test]
    fn counts_are_summed_by_label_and_what_is_not_there_is_0() -> Result {
        let changes =
            json!({"against": "20261122T020000Z-0000", "by_kind": {"entered_eol": 5, "added": 1}});
        let samples = samples(&manifest(true, changes)?)?;
        for (name, value) in [
            ("image_census_complete", "1"),
            ("image_census_last_run_timestamp_seconds", "1795399200"),
            (
                "image_census_last_complete_run_timestamp_seconds",
                "1795399200",
            ),
            ("image_census_run_duration_seconds", "2.5"),
            ("image_census_pods", "7"),
            ("image_census_containers{eol_status=\"eol\"}", "3"),
            ("image_census_containers{eol_status=\"none\"}", "2"),
            ("image_census_containers{eol_status=\"supported\"}", "0"),
            ("image_census_images{inspection_status=\"ok\"}", "4"),
            ("image_census_images{inspection_status=\"failed\"}", "3"),
            ("image_census_images{inspection_status=\"skipped\"}", "0"),
            (
                "image_census_images_not_inspected{error_kind=\"timeout\"}",
                "3",
            ),
            (
                "image_census_images_not_inspected{error_kind=\"denied\"}",
                "1",
            ),
            ("image_census_images_not_inspected{error_kind=\"tls\"}", "0"),
            ("image_census_changes{kind=\"entered_eol\"}", "5"),
            ("image_census_changes{kind=\"removed\"}", "0"),
        ] {
            assert_eq!(samples.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert_eq!(samples.len(), 5 + 7 + 4 + 12 + 11);
        Ok(())
    }

    #[test]
    fn an_incomplete_run_leaves_the_last_complete_one_alone_and_says_all_else() -> Result {
        let complete = samples(&manifest(true, Value::Null)?)?;
        let mut cut_off = samples(&manifest(false, Value::Null)?)?;
        assert_eq!(cut_off["image_census_complete"], "0");
        assert_eq!(cut_off["image_census_changes{kind=\"added\"}"], "NaN");
        let left_out = "image_census_last_complete_run_timestamp_seconds";
        assert!(cut_off.insert(left_out.into(), String::new()).is_none());
        assert!(complete.keys().eq(cut_off.keys()));
        Ok(())
    }

    #[test]
    fn every_value_of_a_closed_list_is_said() {
        fn names<T: JsonSchema>() -> BTreeSet<String> {
            let schema = schema_for!(T).to_value();
            let one_of = schema["oneOf"].as_array().into_iter().flatten();
            let single = one_of.filter_map(|value| value["const"].as_str());
            let listed = schema["enum"].as_array().into_iter().flatten();
            let listed = listed.filter_map(Value::as_str);
            single.chain(listed).map(Into::into).collect()
        }
        assert_eq!(
            names::<EolStatus>(),
            EOL_STATUSES.map(|status| status.to_string()).into()
        );
        assert_eq!(
            names::<InspectionStatus>(),
            INSPECTION_STATUSES.map(InspectionStatus::name).into()
        );
        let mut kinds: BTreeSet<_> = ERROR_KINDS.map(ErrorKind::name).into();
        assert!(kinds.insert(ErrorKind::NotRunning.name()));
        assert_eq!(names::<ErrorKind>(), kinds);
    }
}
