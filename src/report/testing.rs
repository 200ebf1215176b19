//! Reports for unit tests.

use std::sync::Arc;

use serde_json::json;

use super::{
    Completeness, ContainerRow, ContainerType, EngineName, Header, ImageRecord, PlatformSource,
    Report, Scope, Versions,
};
use crate::os::LayerPolicy;

/// A report of so many containers of two images: one is inspected, the other is not.
pub(super) fn report(containers: usize) -> Result<Report, Box<dyn std::error::Error>> {
    let inspected = json!({
        "registry": "registry.example", "repository": "shop/app", "platform": "linux/amd64",
        "digest": format!("sha256:{}", "a".repeat(64)), "os": "linux", "architecture": "amd64",
        "distribution": {"id": "debian", "version": "12", "name": "Debian GNU/Linux 12 (bookworm)",
            "source": "etc/os-release", "rule": "os-release", "layer": 0},
        "distribution_certain": true, "eol_status": "extended", "eol_date": "2026-07-11",
        "created": "2026-01-02T03:04:05Z", "size_bytes": 1_441, "labels": {},
        "inspection_status": "ok", "inspected_at": "2026-11-23T02:00:00Z",
    });
    let failed = json!({
        "registry": "registry.example", "repository": "shop/gone", "platform": "linux/amd64",
        "distribution_certain": false, "labels": {}, "inspection_status": "failed",
        "error_kind": "not_found", "error_message": "it is gone",
    });
    let images: Vec<ImageRecord> = serde_json::from_value(json!([inspected, failed]))?;
    let time = "2026-11-23T02:00:00Z".parse()?;
    let row = ContainerRow {
        namespace: "shop".into(),
        workload_kind: "Deployment".into(),
        workload_name: "app".into(),
        pod: "app-1".into(),
        pod_phase: Some("Running".into()),
        generate_name: None,
        node: None,
        container: "app".into(),
        container_type: ContainerType::Container,
        owner: None,
        image: "registry.example/shop/app:1.10".into(),
        tag: Some("1.10".into()),
        digest_source: None,
        image_id: None,
        platform_source: PlatformSource::Node,
        image_index: 0,
    };
    let mut rows = vec![row; containers];
    if let Some(last) = rows.last_mut() {
        last.image_index = 1;
        last.namespace = Arc::from("ticketing");
    }
    Ok(Report {
        header: Header {
            schema_version: "1.0".into(),
            run_id: "20261123T020000Z-1f3a".into(),
            cluster_name: "test".into(),
            cluster_id: None,
            snapshot_time: time,
            scope: Scope::default(),
            versions: Versions {
                program: "0.1.0".into(),
                engine: EngineName::Crane,
                crane: None,
                detection_rules: 1,
                layers: LayerPolicy::weakest(),
                eol_data: "2026-08-22".parse()?,
            },
            completeness: Completeness {
                complete: true,
                reason: None,
            },
        },
        images,
        layers: Vec::new(),
        containers: rows,
    })
}
