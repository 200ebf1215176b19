//! `check IMAGE`: who answers for an image, with whose credentials, over which hosts.

use std::sync::Arc;

use chrono::Utc;

use super::check::{Answer, Status};
use super::eol::eol_table;
use crate::image::{ImageReference, Platform};
use crate::inspect::{ImageTarget, Inspector, InspectorSettings, Plan, Wanted};
use crate::os::{LayerPolicy, ScanLimits};
use crate::registry::pattern::AllowedRegistries;
use crate::registry::{Attempt, Engine};
use crate::report::{ErrorKind, ImageRecord, InspectionStatus};
use crate::reuse::Knowledge;
use crate::snapshot::ClusterSnapshot;

/// Images behind one reference that are looked at: a tag's digests and platforms.
const MAX_TARGETS: usize = 4;

/// Inspects an image as the night would: for the pods that run it, or for nobody.
pub(super) async fn check_image(
    image: &ImageReference,
    platform: Platform,
    engine: Engine,
    allowed: AllowedRegistries,
    snapshot: Option<ClusterSnapshot>,
) -> anyhow::Result<Vec<Answer>> {
    let (targets, who) = targets(image, platform, snapshot);
    let (engine, mut attempts) = engine.traced();
    let settings = InspectorSettings {
        layers: LayerPolicy::Auto,
        scan_limits: ScanLimits::default(),
        concurrency: 1,
        registry_concurrency: None,
        allowed,
        eol: eol_table(None)?,
        eol_warn_days: 0,
        now: Utc::now(),
    };
    let inspector = Inspector::new(engine, settings, Knowledge::default());
    let records = inspector.inspect(&targets, |_| ()).await;
    drop(inspector);
    let mut seen = Vec::new();
    while let Some(attempt) = attempts.recv().await {
        if !seen.contains(&attempt) {
            seen.push(attempt);
        }
    }
    let mut answers = vec![Answer::new(
        "image",
        Status::Ok,
        &format!("{}, {who}", name(image)),
    )];
    answers.extend(seen.iter().map(request));
    answers.extend(records.iter().map(result));
    Ok(answers)
}

fn name(image: &ImageReference) -> String {
    let mut name = image.repository.to_string();
    if let Some(tag) = &image.tag {
        name.push_str(&format!(":{tag}"));
    }
    if let Some(digest) = &image.digest {
        name.push_str(&format!("@{digest}"));
    }
    name
}

/// What pods run under this reference; if none does, the reference itself.
fn targets(
    image: &ImageReference,
    platform: Platform,
    snapshot: Option<ClusterSnapshot>,
) -> (Vec<ImageTarget>, String) {
    if let Some(mut snapshot) = snapshot {
        let is_it = |text: &str| text.parse::<ImageReference>().is_ok_and(|it| it == *image);
        snapshot.containers.retain(|row| is_it(&row.image));
        let mut targets = Plan::of(&snapshot).targets;
        if !targets.is_empty() {
            targets.truncate(MAX_TARGETS);
            let who = format!("which {} containers run", snapshot.containers.len());
            return (targets, who);
        }
    }
    let latest = || image.tag.clone().unwrap_or_else(|| "latest".into());
    let target = ImageTarget {
        repository: Some(image.repository.clone()),
        wanted: image
            .digest
            .map_or_else(|| Wanted::Tag(latest()), Wanted::Digest),
        platform: Arc::new(platform),
        pullers: Arc::default(),
    };
    let who = format!("which no pod runs: as {}", target.platform);
    (vec![target], who)
}

fn request(attempt: &Attempt) -> Answer {
    let mut detail = format!("{} with {}", attempt.registry, attempt.stage);
    if let Some(helper) = &attempt.helper {
        detail.push_str(&format!(" (docker-credential-{helper})"));
    }
    let hosts: Vec<_> = attempt.hosts.iter().map(ToString::to_string).collect();
    if !hosts.is_empty() {
        detail.push_str(&format!(", by way of {}", hosts.join(", ")));
    }
    match &attempt.error {
        None => Answer::new("request", Status::Ok, &detail),
        // Another credential or place may do: the image's own line says whether it works.
        Some(error) => {
            let detail = format!("{detail}: {error}");
            Answer::new("request", Status::Warning, &detail)
        }
    }
}

fn result(record: &ImageRecord) -> Answer {
    let mut detail = record.platform.to_string();
    if let Some(digest) = &record.manifest_digest {
        detail.push_str(&format!(", {digest}"));
    }
    if let Some(mirror) = &record.inspected_via {
        detail.push_str(&format!(", from {mirror}"));
    }
    if let Some(name) = record
        .distribution
        .as_ref()
        .and_then(|found| found.name.as_ref())
    {
        detail.push_str(&format!(": {name}"));
    }
    if record.inspection_status == InspectionStatus::Ok {
        return Answer::new("inspection", Status::Ok, &detail);
    }
    let (kind, message) = (record.error_kind, record.error_message.as_deref());
    let kind = kind.map_or_else(String::new, ErrorKind::name);
    detail.push_str(&format!(": {kind}: {}", message.unwrap_or_default()));
    Answer::new("inspection", Status::Failed, &detail)
}
