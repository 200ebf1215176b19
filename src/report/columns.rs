//! The columns of the CSV files: names, types, closed lists and descriptions, from which the rows, the
//! Table Schemas and the documentation are made. New columns only ever come at the end.

use super::schema::names;
use super::{ContainerType, DigestSource, ErrorKind, InspectionStatus, PlatformSource};
use crate::os::EolStatus;

/// Type of a column, in the words of Table Schema v2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// `YYYY-MM-DD`.
    Date,
    /// `YYYY-MM-DDTHH:MM:SSZ`.
    Datetime,
    /// `true` or `false`.
    Boolean,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in the first line.
    pub name: &'static str,
    /// Its type.
    pub column_type: ColumnType,
    /// What stands in it.
    pub description: &'static str,
    /// Whether no row leaves it empty, whatever pods and registries say.
    pub required: bool,
    /// The names of the type that it is written from, where the list is closed.
    pub values: Option<fn() -> Vec<std::string::String>>,
}

const fn column(name: &'static str, column_type: ColumnType, description: &'static str) -> Column {
    Column {
        name,
        column_type,
        description,
        required: false,
        values: None,
    }
}

impl Column {
    /// A column of texts that may be empty.
    pub const fn text(name: &'static str, description: &'static str) -> Self {
        column(name, String, description)
    }

    /// A column of numbers that may be empty.
    pub const fn integer(name: &'static str, description: &'static str) -> Self {
        column(name, Integer, description)
    }

    /// A column of dates that may be empty.
    pub const fn date(name: &'static str, description: &'static str) -> Self {
        column(name, Date, description)
    }

    /// A column of times that may be empty.
    pub const fn time(name: &'static str, description: &'static str) -> Self {
        column(name, Datetime, description)
    }

    /// No row leaves it empty.
    pub const fn required(self) -> Self {
        Self {
            required: true,
            ..self
        }
    }

    /// One of the names of a closed list.
    pub const fn one_of(self, values: fn() -> Vec<std::string::String>) -> Self {
        Self {
            values: Some(values),
            ..self
        }
    }
}

use ColumnType::{Boolean, Date, Datetime, Integer, String};

const RUN_ID: Column = column("run_id", String, "The run; joins rows to a manifest").required();
const SNAPSHOT_TIME: Column =
    column("snapshot_time", Datetime, "Start of the listing, UTC").required();
const CLUSTER_NAME: Column = column("cluster_name", String, "The cluster").required();
const NAMESPACE: Column = column("namespace", String, "The pod's namespace");
const WORKLOAD_KIND: Column = column(
    "workload_kind",
    String,
    "What the pod belongs to: Deployment, CronJob, Pod, ...",
);
const WORKLOAD_NAME: Column = column("workload_name", String, "Its name");
const CONTAINER: Column = column("container", String, "The container's name");
const CONTAINER_TYPE: Column = column("container_type", String, "container, init or ephemeral")
    .one_of(names::<ContainerType>)
    .required();
const OWNER: Column = column(
    "owner",
    String,
    "Value of the label or annotation named by --owner-label",
);
const IMAGE: Column = column("image", String, "The reference as in the pod");
const REGISTRY: Column = column("registry", String, "Host and port of the registry");
const REPOSITORY: Column = column("repository", String, "Path of the repository");
const TAG: Column = column("tag", String, "The reference's tag");
const DIGEST: Column = column(
    "digest",
    String,
    "Digest of the index or manifest as observed",
);
const MANIFEST_DIGEST: Column = column(
    "manifest_digest",
    String,
    "Digest of the platform's manifest: the image's identity",
);
const PLATFORM: Column = column("platform", String, "The node's platform").required();
const OS: Column = column("os", String, "The image's operating system");
const ARCHITECTURE: Column = column("architecture", String, "The image's architecture");
const OS_VERSION: Column = column(
    "os_version",
    String,
    "The image's os.version: Windows' build",
);
const DISTRO_ID: Column = column("distro_id", String, "ID of os-release");
const DISTRO_VERSION: Column = column("distro_version", String, "VERSION_ID of os-release");
const DISTRO_NAME: Column = column("distro_name", String, "The distribution's name for people");
const DISTRO_RELEASE: Column = column(
    "distro_release",
    String,
    "Point release, or Windows' release name",
);
const DISTRO_SOURCE: Column = column("distro_source", String, "The file that answered, or none");
const EOL_STATUS: Column = column(
    "eol_status",
    String,
    "supported, ending, extended, eol, rolling or unknown",
)
.one_of(names::<EolStatus>);
const EOL_DATE: Column = column("eol_date", Date, "End of ordinary support");
const EOL_EXTENDED_DATE: Column = column("eol_extended_date", Date, "End of extended support");
const INSPECTION_STATUS: Column = column(
    "inspection_status",
    String,
    "ok, partial, failed or skipped",
)
.one_of(names::<InspectionStatus>)
.required();
const ERROR_KIND: Column =
    column("error_kind", String, "Why it was not inspected").one_of(names::<ErrorKind>);
const ERROR_MESSAGE: Column = column(
    "error_message",
    String,
    "The reason in words, and what to do",
);

const BASE_IMAGE: Column = column("base_image", String, "The base image that the image names");
const BASE_IMAGE_SOURCE: Column = column("base_image_source", String, "annotation or label");
const IMAGE_CREATED: Column = column(
    "image_created",
    Datetime,
    "Creation time that the configuration claims",
);
const IMAGE_SIZE_BYTES: Column = column(
    "image_size_bytes",
    Integer,
    "Compressed size of configuration and layers",
);
const IMAGE_USER: Column = column(
    "image_user",
    String,
    "The user that the configuration names",
);
const INSPECTED_VIA: Column = column(
    "inspected_via",
    String,
    "The mirror that answered, if another",
);
const INSPECTED_AT: Column = column(
    "inspected_at",
    Datetime,
    "When the image's facts were learned",
);

/// Columns of the CSV with a row per container.
pub const CONTAINER_COLUMNS: &[Column] = &[
    RUN_ID,
    SNAPSHOT_TIME,
    CLUSTER_NAME,
    NAMESPACE,
    WORKLOAD_KIND,
    WORKLOAD_NAME,
    column("pod", String, "The pod"),
    column(
        "pod_phase",
        String,
        "Pending, Running, Succeeded, Failed or Unknown",
    ),
    column("node", String, "The node"),
    CONTAINER,
    CONTAINER_TYPE,
    OWNER,
    IMAGE,
    REGISTRY,
    REPOSITORY,
    TAG,
    DIGEST,
    column(
        "digest_source",
        String,
        "status, reference, tag or image_id",
    )
    .one_of(names::<DigestSource>),
    MANIFEST_DIGEST,
    column("image_id", String, "imageID as the node reported it"),
    PLATFORM,
    column("platform_source", String, "node, selector or default")
        .one_of(names::<PlatformSource>)
        .required(),
    OS,
    ARCHITECTURE,
    OS_VERSION,
    DISTRO_ID,
    DISTRO_VERSION,
    DISTRO_NAME,
    DISTRO_RELEASE,
    DISTRO_SOURCE,
    EOL_STATUS,
    EOL_DATE,
    EOL_EXTENDED_DATE,
    BASE_IMAGE,
    BASE_IMAGE_SOURCE,
    IMAGE_CREATED,
    IMAGE_SIZE_BYTES,
    IMAGE_USER,
    INSPECTION_STATUS,
    ERROR_KIND,
    ERROR_MESSAGE,
    INSPECTED_VIA,
    INSPECTED_AT,
];

/// Columns of the tables with a row per image: in a workbook, and in Parquet.
pub const IMAGE_COLUMNS: &[Column] = &[
    RUN_ID,
    SNAPSHOT_TIME,
    CLUSTER_NAME,
    REGISTRY,
    REPOSITORY,
    column(
        "tag",
        String,
        "The tag that was asked for, where no digest is known",
    ),
    DIGEST,
    PLATFORM,
    column(
        "containers",
        Integer,
        "Containers that run it; 0 where its facts are carried from an earlier run",
    )
    .required(),
    MANIFEST_DIGEST,
    column(
        "config_digest",
        String,
        "Digest of the configuration: Docker's image id",
    ),
    OS,
    ARCHITECTURE,
    column("variant", String, "The image's architecture variant"),
    OS_VERSION,
    DISTRO_ID,
    DISTRO_VERSION,
    DISTRO_NAME,
    DISTRO_RELEASE,
    DISTRO_SOURCE,
    column(
        "distribution_layer",
        String,
        "Digest of the layer that the distribution was read from",
    ),
    column(
        "distribution_certain",
        Boolean,
        "Whether every layer that can change the answer was read and verified",
    )
    .required(),
    EOL_STATUS,
    EOL_DATE,
    EOL_EXTENDED_DATE,
    BASE_IMAGE,
    BASE_IMAGE_SOURCE,
    IMAGE_CREATED,
    IMAGE_SIZE_BYTES,
    IMAGE_USER,
    INSPECTION_STATUS,
    ERROR_KIND,
    ERROR_MESSAGE,
    INSPECTED_VIA,
    INSPECTED_AT,
    column(
        "waiting_since",
        Datetime,
        "Since when it has been asked for in vain",
    ),
    column(
        "last_seen",
        Datetime,
        "The last run in which a container ran it, if an earlier one",
    ),
];

/// Columns of the CSV with a row per workload, container and image.
pub const WORKLOAD_COLUMNS: &[Column] = &[
    RUN_ID,
    SNAPSHOT_TIME,
    CLUSTER_NAME,
    NAMESPACE,
    WORKLOAD_KIND,
    WORKLOAD_NAME,
    CONTAINER,
    CONTAINER_TYPE,
    OWNER,
    column("pods", Integer, "Pods with this container and image").required(),
    column("pods_running", Integer, "Those of them in phase Running").required(),
    IMAGE,
    REGISTRY,
    REPOSITORY,
    TAG,
    DIGEST,
    MANIFEST_DIGEST,
    PLATFORM,
    OS,
    ARCHITECTURE,
    OS_VERSION,
    DISTRO_ID,
    DISTRO_VERSION,
    DISTRO_NAME,
    DISTRO_RELEASE,
    DISTRO_SOURCE,
    EOL_STATUS,
    EOL_DATE,
    EOL_EXTENDED_DATE,
    INSPECTION_STATUS,
    ERROR_KIND,
    ERROR_MESSAGE,
];
