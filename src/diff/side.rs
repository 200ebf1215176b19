//! One side of a comparison: which images each container of each workload ran.
//!
//! The parts of a report flow in, one [`Side`] flows out. Pods, replicas and nodes are gone in it:
//! their numbers are no change.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use crate::image::{Digest, Platform};
use crate::intern::Texts;
use crate::os::EolStatus;
use crate::report::{
    ContainerRow, ContainerType, ErrorKind, Header, ImageRecord, InspectionStatus, Part,
};

/// What stays the same from night to night: a container of a workload.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) namespace: Arc<str>,
    pub(super) workload_kind: Arc<str>,
    /// Of bare pods and of unknown controllers their `generateName`, where they have one.
    pub(super) workload_name: Arc<str>,
    pub(super) container_type: ContainerType,
    pub(super) container: Arc<str>,
}

/// The facts of an image that a comparison looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) registry: Option<Arc<str>>,
    pub(super) manifest_digest: Option<Digest>,
    pub(super) platform: Arc<Platform>,
    pub(super) distribution: Option<Distro>,
    pub(super) eol_status: Option<EolStatus>,
    pub(super) status: InspectionStatus,
    pub(super) error_kind: Option<ErrorKind>,
}

/// A distribution and its version, by os-release; by name where there is no ID, and nothing where
/// the image was read and has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Distro {
    pub(super) id: Option<Arc<str>>,
    pub(super) version: Option<Arc<str>>,
    pub(super) name: Option<Arc<str>>,
}

/// What a container of a workload ran: references and places in [`Side::images`].
#[derive(Debug, Default)]
pub(super) struct Running {
    pub(super) images: BTreeSet<(Arc<str>, usize)>,
    /// Whether all its pods are over (Succeeded or Failed).
    pub(super) is_over: bool,
}

/// One report, as far as a comparison needs it.
#[derive(Debug, Default)]
pub struct Side {
    pub(super) header: Option<Box<Header>>,
    pub(super) images: Vec<Facts>,
    pub(super) containers: BTreeMap<Key, Running>,
    texts: Texts,
    platforms: HashSet<Arc<Platform>>,
}

impl Side {
    /// The report's head, once it was taken.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_deref()
    }

    /// Takes a part of the report, in the report's order. A row that points at no image, which no
    /// report of ours holds, is left out.
    pub fn take(&mut self, part: Part) {
        match part {
            Part::Header(header) => self.header = Some(header),
            Part::Image(image) => self.take_image(&image),
            Part::Layer(_) => {}
            Part::Container(row) => self.take_row(&row),
        }
    }

    /// Takes a report that is in memory.
    pub fn of(report: &crate::report::Report) -> Self {
        let mut side = Self {
            header: Some(Box::new(report.header.clone())),
            ..Self::default()
        };
        report
            .images
            .iter()
            .for_each(|image| side.take_image(image));
        report.containers.iter().for_each(|row| side.take_row(row));
        side
    }

    fn take_image(&mut self, image: &ImageRecord) {
        let is_known = image.inspection_status == InspectionStatus::Ok;
        let mut text = |text: &Option<String>| text.as_deref().map(|text| self.text(text));
        let distribution = image.distribution.as_ref().map(|distribution| {
            let id = text(&distribution.id);
            Distro {
                name: text(&distribution.name),
                version: text(&distribution.version),
                id,
            }
        });
        let registry = image
            .registry
            .as_deref()
            .map(|registry| self.text(registry));
        let platform = match self.platforms.get(&image.platform) {
            Some(known) => Arc::clone(known),
            None => {
                self.platforms.insert(Arc::clone(&image.platform));
                Arc::clone(&image.platform)
            }
        };
        self.images.push(Facts {
            registry,
            manifest_digest: image.manifest_digest,
            platform,
            distribution: distribution.or(is_known.then(Distro::default)),
            eol_status: image.eol_status,
            status: image.inspection_status,
            error_kind: image.error_kind,
        });
    }

    fn take_row(&mut self, row: &ContainerRow) {
        if row.image_index >= self.images.len() {
            return;
        }
        let name = row.generate_name.as_ref().unwrap_or(&row.workload_name);
        let key = Key {
            namespace: self.text(&row.namespace),
            workload_kind: self.text(&row.workload_kind),
            workload_name: self.text(name),
            container_type: row.container_type,
            container: self.text(&row.container),
        };
        let image = (self.text(&row.image), row.image_index);
        let is_over = matches!(row.pod_phase.as_deref(), Some("Succeeded" | "Failed"));
        let running = self.containers.entry(key).or_insert(Running {
            images: BTreeSet::new(),
            is_over,
        });
        running.images.insert(image);
        running.is_over &= is_over;
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        self.texts.one(text)
    }
}

impl Facts {
    /// Whether what runs was seen. What was not is "not known today", and no change.
    pub(super) fn is_known(&self) -> bool {
        self.status == InspectionStatus::Ok
    }

    /// Whether it was to be seen and could not be.
    pub(super) fn is_missed(&self) -> bool {
        !self.is_known() && self.error_kind != Some(ErrorKind::NotRunning)
    }

    /// What identifies the distribution; the name counts only where there is no ID.
    pub(super) fn distro_identity(&self) -> Option<Distro> {
        let mut distro = self.distribution.clone()?;
        if distro.id.is_some() {
            distro.name = None;
        }
        Some(distro)
    }
}
