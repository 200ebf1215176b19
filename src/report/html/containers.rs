//! The table of all containers, or of workloads where there are too many.

use super::facts;
use super::support::Support;
use super::table::{Cell, Column, Look, MAX_ROWS, Table};
use super::words;
use crate::report::rows::{Row, workload_rows};
use crate::report::{
    ContainerRow, ContainerType, ImageRecord, InspectionStatus, Report, format_time,
};

/// What the table's rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    Containers,
    Workloads,
    /// The workloads on the worst systems: there are too many of them, too.
    WorstWorkloads,
}

/// The table, and what its rows are.
pub(super) fn table(report: &Report) -> (Table, Rows) {
    let has_owner = report.containers.iter().any(|row| row.owner.is_some());
    if report.containers.len() <= MAX_ROWS {
        let mut table = Table::new("container", columns(has_owner, true));
        for row in &report.containers {
            table.push(cells(report, row, None, has_owner));
        }
        return (table, Rows::Containers);
    }
    let mut rows: Vec<Row<'_>> = workload_rows(report).collect();
    let kind = if rows.len() <= MAX_ROWS {
        Rows::Workloads
    } else {
        rows.sort_by_key(|row| {
            let image = report.images.get(row.container.image_index);
            image.map(|image| (Support::of(image), image.inspection_status))
        });
        rows.truncate(MAX_ROWS);
        Rows::WorstWorkloads
    };
    let mut table = Table::new("workload", columns(has_owner, false));
    for row in rows {
        let pods = usize::try_from(row.pods).unwrap_or(usize::MAX);
        table.push(cells(report, row.container, Some(pods), has_owner));
    }
    (table, kind)
}

fn columns(has_owner: bool, of_containers: bool) -> Vec<Column> {
    let support = Support::ALL.map(|support| (support.word().to_owned(), support.class()));
    let statuses = [
        (InspectionStatus::Ok, "supported"),
        (InspectionStatus::Partial, "ending"),
        (InspectionStatus::Failed, "ended"),
        (InspectionStatus::Skipped, "unknown"),
    ];
    let statuses = statuses.map(|(status, class)| (status.name(), class));
    let mut columns = vec![
        Column::new("Namespace", Look::Text).filtered(),
        Column::new("Workload", Look::Text),
        Column::new("Container", Look::Text),
        if of_containers {
            Column::new("Pod", Look::Text)
        } else {
            Column::new("Pods", Look::Number)
        },
        Column::new("Image", Look::Code),
        Column::new("System", Look::Text).filtered(),
        Column::new("Support", Look::Badge)
            .filtered()
            .words(support.into()),
        Column::new("Until", Look::Date),
        Column::new("Inspection", Look::Badge)
            .filtered()
            .words(statuses.into()),
    ];
    if has_owner {
        columns.push(Column::new("Owner", Look::Text).filtered());
    }
    let mut details = vec!["Container type", "Why it was not inspected"];
    if of_containers {
        details.extend(["Pod phase", "Node"]);
    }
    details.extend([
        "Platform",
        "Distribution",
        "Point release",
        "Told by",
        "Extended support until",
        "Digest",
        "Manifest digest",
        "Base image",
        "Created",
        "Size in bytes",
        "User",
        "Inspected via",
        "Inspected at",
    ]);
    let details = details.into_iter();
    columns.extend(details.map(|title| Column::new(title, Look::Text).detail()));
    columns
}

/// The cells of a container, or of a workload with this many pods.
fn cells(report: &Report, row: &ContainerRow, pods: Option<usize>, has_owner: bool) -> Vec<Cell> {
    let image = report.images.get(row.image_index);
    let of = |value: fn(&ImageRecord) -> Option<&str>| Cell::text(image.and_then(value));
    let distribution = image.and_then(|image| image.distribution.as_ref());
    let system = image.and_then(facts::system);
    let proved_none = image.is_some_and(|image| image.distro_source.as_deref() == Some("none"));
    let status = image.and_then(|image| image.eol_status);
    let mut cells = vec![
        Cell::text(Some(&row.namespace)),
        Cell::text(Some(&workload(&row.workload_kind, &row.workload_name))),
        Cell::text(Some(&row.container)),
        match pods {
            Some(pods) => Cell::Number(pods),
            None => Cell::text(Some(&row.pod)),
        },
        Cell::text(Some(&row.image)),
        match system {
            None if proved_none => Cell::Text("no distribution".into()),
            system => Cell::shown(system),
        },
        Cell::shown(status.map(|status| Support::from(Some(status)).word())),
        Cell::shown(image.and_then(|image| image.eol_date)),
        Cell::shown(image.map(|image| image.inspection_status.name())),
    ];
    if has_owner {
        cells.push(Cell::text(row.owner.as_deref()));
    }
    cells.push(match row.container_type {
        ContainerType::Container => Cell::Text("container".into()),
        ContainerType::Init => Cell::Text("init container".into()),
        ContainerType::Ephemeral => Cell::Text("ephemeral container".into()),
    });
    cells.push(Cell::shown(image.and_then(|image| {
        let kind = words::error(image.error_kind?);
        let message = image.error_message.as_deref();
        Some(message.map_or(kind.clone(), |message| {
            words::text(&format!("{kind}: {message}"))
        }))
    })));
    if pods.is_none() {
        cells.push(Cell::text(row.pod_phase.as_deref()));
        cells.push(Cell::text(row.node.as_deref()));
    }
    let digest = |digest: Option<crate::image::Digest>| Cell::shown(digest);
    let time = |time: Option<chrono::DateTime<chrono::Utc>>| {
        Cell::shown(time.map(|time| format_time(&time)))
    };
    let platform = image.map(|image| image.platform.to_string());
    cells.extend([
        Cell::text(platform.as_deref()),
        Cell::text(distribution.and_then(|distribution| distribution.name.as_deref())),
        of(|image| image.distro_release.as_deref()),
        of(|image| image.distro_source.as_deref()),
        Cell::shown(image.and_then(|image| image.eol_extended_date)),
        digest(image.and_then(|image| image.digest)),
        digest(image.and_then(|image| image.manifest_digest)),
        of(|image| image.base_image.as_deref()),
        time(image.and_then(|image| image.created)),
        Cell::shown(image.and_then(|image| image.size_bytes)),
        of(|image| image.user.as_deref()),
        of(|image| image.inspected_via.as_deref()),
        time(image.and_then(|image| image.inspected_at)),
    ]);
    cells
}

/// `Deployment/cart`
pub(super) fn workload(kind: &str, name: &str) -> String {
    format!("{kind}/{name}")
}
