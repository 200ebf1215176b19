//! What earlier reports know: facts of images and layers that need not be asked for again.
//!
//! Pure. The parts of an earlier report flow in, [`Knowledge`] flows out. Facts belong to a digest and
//! a platform, whatever repository they came from: a digest never changes. They are used where they
//! are `ok`, of the current detection rules and not too old; each digest is renewed at an age of its
//! own, so that renewals spread over the nights. Whether a report is to be trusted is not known here.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use crate::image::{Digest, Platform};
use crate::os::{Entry, LayerFinding, LayerPolicy, RULES_VERSION};
use crate::report::{Header, ImageRecord, InspectionStatus, LayerRecord, Part};

/// Longest text that is taken from an earlier image record, in bytes: what an inspection keeps.
const MAX_TEXT_BYTES: usize = 4_096;
/// Text and paths that are taken of a layer: a scan keeps 256 KiB of text and less of paths.
const MAX_FINDING_BYTES: usize = 512 * 1024;

/// Which facts are too old, or of too few layers.
#[derive(Debug, Clone, Copy)]
pub struct Reuse {
    /// The run's time.
    pub now: DateTime<Utc>,
    /// No fact is used beyond this age, and none renewed before half of it.
    pub max_age: TimeDelta,
    /// Tonight's choice of layers.
    pub layers: LayerPolicy,
}

impl Reuse {
    /// The age at which the facts of a digest are renewed: between half of the most and all of it, by
    /// the digest's first bytes, which are as good as random.
    fn renewal_age(&self, digest: &Digest) -> TimeDelta {
        let half = self.max_age / 2;
        let share = i32::from(digest.leading_byte());
        half + half * share / 256
    }

    fn is_usable(&self, learned: DateTime<Utc>) -> bool {
        (TimeDelta::zero()..=self.max_age).contains(&(self.now - learned))
    }

    fn is_due(&self, digest: &Digest, learned: DateTime<Utc>) -> bool {
        self.now - learned > self.renewal_age(digest)
    }
}

/// Facts of an image that are still usable.
#[derive(Debug, Clone)]
pub struct KnownImage {
    /// As an earlier run reported it.
    pub record: Arc<ImageRecord>,
    /// Whether it is time to ask again; if that fails, these facts still serve.
    pub is_due: bool,
}

/// What makes an image that could not be inspected the same on another night.
type WaitingKey = (
    Option<Arc<str>>,
    Option<Arc<str>>,
    Option<Arc<str>>,
    Option<Digest>,
    Option<Digest>,
    Arc<Platform>,
);

/// Where an image lies, and for what: what is known before a tag is resolved.
type Place = (Option<Arc<str>>, Option<Arc<str>>, Arc<Platform>);

/// What one earlier report knows.
#[derive(Debug, Default)]
pub struct Knowledge {
    images: HashMap<(Digest, Arc<Platform>), KnownImage>,
    layers: BTreeMap<Digest, LayerRecord>,
    waiting: HashMap<WaitingKey, DateTime<Utc>>,
    /// The longest wait in a place for an image whose digest was known, but no more of it.
    waiting_at: HashMap<Place, DateTime<Utc>>,
    run_time: Option<DateTime<Utc>>,
    is_current: bool,
    /// Whether the run read as many layers as tonight's does.
    is_thorough: bool,
}

impl Knowledge {
    /// Takes a part of the report, in the report's order.
    pub fn take(&mut self, part: Part, reuse: &Reuse) {
        match part {
            Part::Header(header) => self.take_header(&header, reuse),
            Part::Image(image) => self.take_image(*image, reuse),
            Part::Layer(layer) => {
                let is_usable = self.is_current && reuse.is_usable(layer.inspected_at);
                if is_usable && is_plausible_finding(&layer.finding) {
                    self.layers.insert(layer.digest, *layer);
                }
            }
            Part::Container(_) => {}
        }
    }

    fn take_header(&mut self, header: &Header, reuse: &Reuse) {
        self.run_time = Some(header.snapshot_time);
        self.is_current = header.versions.detection_rules == RULES_VERSION;
        self.is_thorough = header.versions.layers.satisfies(reuse.layers);
    }

    fn take_image(&mut self, mut image: ImageRecord, reuse: &Reuse) {
        if !is_plausible(&image) {
            return;
        }
        if image.inspection_status != InspectionStatus::Ok {
            if let Some(since) = image.waiting_since {
                self.waiting.insert(waiting_key(&image), since);
                if image.digest.is_some() {
                    let longest = self.waiting_at.entry(place(&image)).or_insert(since);
                    *longest = since.min(*longest);
                }
            }
            return;
        }
        let (Some(digest), Some(manifest), Some(learned)) =
            (image.digest, image.manifest_digest, image.inspected_at)
        else {
            return;
        };
        // What a layer says holds whoever asks; what an image is may be another with more layers.
        if !(self.is_thorough || image.distribution_certain) {
            return;
        }
        let last_seen = image.last_seen.or(self.run_time);
        let is_kept = last_seen.is_some_and(|seen| reuse.is_usable(seen));
        if !(self.is_current && is_kept && reuse.is_usable(learned)) {
            return;
        }
        image.last_seen = last_seen;
        let known = KnownImage {
            is_due: reuse.is_due(&manifest, learned),
            record: Arc::new(image),
        };
        let platform = &known.record.platform;
        let keys = [digest, manifest].map(|digest| (digest, Arc::clone(platform)));
        for key in keys {
            self.images.entry(key).or_insert_with(|| known.clone());
        }
    }

    /// What is known of a digest on a platform.
    pub fn image(&self, digest: &Digest, platform: &Arc<Platform>) -> Option<&KnownImage> {
        self.images.get(&(*digest, Arc::clone(platform)))
    }

    /// What is known of a layer.
    pub fn layer(&self, digest: &Digest) -> Option<&LayerFinding> {
        self.layers.get(digest).map(|layer| &layer.finding)
    }

    /// All known layers, by digest.
    pub fn layers(&self) -> &BTreeMap<Digest, LayerRecord> {
        &self.layers
    }

    /// How many images are known.
    pub fn image_count(&self) -> usize {
        let mut manifests: Vec<_> = self
            .images
            .values()
            .map(|known| (known.record.manifest_digest, &known.record.platform))
            .collect();
        manifests.sort_unstable();
        manifests.dedup();
        manifests.len()
    }

    /// Since when an image has been asked for in vain.
    pub fn waiting_since(&self, image: &ImageRecord) -> Option<DateTime<Utc>> {
        self.waiting.get(&waiting_key(image)).copied()
    }

    /// Since when an image may have been waiting, to decide which comes first. A record does not say
    /// which tag led to its digest: where only the tag is known, the longest wait in its repository is
    /// taken.
    pub fn may_wait_since(&self, image: &ImageRecord) -> Option<DateTime<Utc>> {
        let own = self.waiting_since(image);
        let by_place = || self.waiting_at.get(&place(image)).copied();
        own.or_else(|| by_place().filter(|_| image.digest.is_none()))
    }

    /// The known images that none of tonight's tells about, so that tomorrow knows them too.
    pub fn carried(&self, tonight: &[ImageRecord]) -> Vec<ImageRecord> {
        // By either digest: an index that nobody names tonight is carried beside its manifest, since
        // some nodes name the one and some the other.
        let told: HashSet<_> = tonight
            .iter()
            .filter(|image| image.inspection_status == InspectionStatus::Ok)
            .flat_map(|image| {
                let digests = [image.digest, image.manifest_digest].into_iter().flatten();
                digests.map(|digest| (digest, &image.platform))
            })
            .collect();
        let mut carried = BTreeMap::new();
        for known in self.images.values() {
            let record = &known.record;
            let Some(digest) = record.digest else {
                continue;
            };
            if !told.contains(&(digest, &record.platform)) {
                let key = (digest, record.manifest_digest, Arc::clone(&record.platform));
                carried.insert(key, record.as_ref().clone());
            }
        }
        carried.into_values().collect()
    }
}

fn waiting_key(image: &ImageRecord) -> WaitingKey {
    (
        image.registry.clone(),
        image.repository.clone(),
        image.tag.clone(),
        image.digest,
        image.image_id,
        Arc::clone(&image.platform),
    )
}

fn place(image: &ImageRecord) -> Place {
    (
        image.registry.clone(),
        image.repository.clone(),
        Arc::clone(&image.platform),
    )
}

/// Whether an inspection of ours can have left this record: a store is anybody's who may write to it.
fn is_plausible(image: &ImageRecord) -> bool {
    let distribution = image.distribution.as_ref();
    let texts = [
        image.registry.as_deref(),
        image.repository.as_deref(),
        image.tag.as_deref(),
        image.os.as_deref(),
        image.architecture.as_deref(),
        image.variant.as_deref(),
        image.os_version.as_deref(),
        image.distro_source.as_deref(),
        image.distro_release.as_deref(),
        image.base_image.as_deref(),
        image.base_image_source.as_deref(),
        image.user.as_deref(),
        image.inspected_via.as_deref(),
        image.error_message.as_deref(),
        distribution.and_then(|d| d.id.as_deref()),
        distribution.and_then(|d| d.version.as_deref()),
        distribution.and_then(|d| d.name.as_deref()),
        distribution.and_then(|d| d.release.as_deref()),
        distribution.and_then(|d| d.resolved.as_deref()),
        distribution.map(|d| d.source.as_str()),
    ];
    let labels = image.labels.iter().flat_map(|(key, value)| [key, value]);
    let mut texts = texts
        .into_iter()
        .flatten()
        .chain(labels.map(String::as_str));
    image.labels.len() <= 32 && texts.all(|text| text.len() <= MAX_TEXT_BYTES)
}

/// The same of what a layer says.
fn is_plausible_finding(finding: &LayerFinding) -> bool {
    let entries = finding.entries.iter().map(|(path, entry)| {
        let text = match entry {
            Entry::File(text) | Entry::Symlink(text) | Entry::Hardlink(text) => text.len(),
            Entry::Directory
            | Entry::OpaqueDirectory
            | Entry::Whiteout
            | Entry::Other
            | Entry::TooLarge(_) => 0,
        };
        path.len() + text
    });
    let requested = finding.requested.iter().map(String::len);
    entries.chain(requested).sum::<usize>() <= MAX_FINDING_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(days: i64) -> TimeDelta {
        TimeDelta::days(days)
    }

    #[test]
    fn renewals_spread_over_the_second_half_and_none_is_in_the_first() {
        let reuse = Reuse {
            now: DateTime::UNIX_EPOCH,
            max_age: days(30),
            layers: LayerPolicy::Auto,
        };
        let mut per_day = [0_u32; 31];
        for number in 0_u32..3_000 {
            let age = reuse.renewal_age(&Digest::of(&number.to_le_bytes()));
            assert!((days(15)..=days(30)).contains(&age), "{age}");
            if let Some(count) = usize::try_from(age.num_days())
                .ok()
                .and_then(|day| per_day.get_mut(day))
            {
                *count += 1;
            }
        }
        let busiest = per_day[15..30].iter().max().copied().unwrap_or_default();
        assert!(busiest < 2 * 3_000 / 15, "{per_day:?}");
    }
}
