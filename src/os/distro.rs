//! From the merged root file system to a distribution, by files in a fixed order.
//!
//! In: a [`RootView`]. Out: an [`Identification`] that names the file, the layer and the rule. The
//! order is os-release first (its places in systemd's order, then Bottlerocket's), then the release
//! files of times and systems without it, the specific before the general: Debian's derivatives ship
//! a debian_version, and Oracle ships a redhat-release. An ID is never invented: a file that tells a
//! name only gives a distribution without ID.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::legacy;
use super::os_release::OsRelease;
use super::redhat;
use super::rootfs::{Lookup, RootView};

/// The detection rules' version. Facts found by other rules are found anew. It changes with every
/// change of what an image's answer may be: the files read, their order, and what is kept of a layer.
pub const RULES_VERSION: u32 = 1;

/// Where os-release is looked for: os-release(5), then Bottlerocket's system root, which its update
/// and control containers carry in a place of their own.
const OS_RELEASE_PATHS: [&str; 4] = [
    "etc/os-release",
    "usr/lib/os-release",
    "x86_64-bottlerocket-linux-gnu/sys-root/usr/lib/os-release",
    "aarch64-bottlerocket-linux-gnu/sys-root/usr/lib/os-release",
];

/// What an image says it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Distribution {
    /// What os-release has, or would have, as ID: `debian`, `ol`, `opensuse-leap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What os-release has, or would have, as VERSION_ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// PRETTY_NAME, or NAME with the version, or the older file's own line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// NAME as it stands, where it is not the beginning of `name`: it tells CentOS Stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub os_name: Option<String>,
    /// The point release (`12.5`, `7.9.2009`) where a file tells it, or `trixie/sid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The path inside the image that was asked and answered, `etc/os-release`.
    pub source: String,
    /// Where links led from there, if to another path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<String>,
    /// The rule that read it.
    pub rule: Rule,
    /// The index of the layer that the file is from, counted from the base.
    pub layer: usize,
}

/// The kind of file that answered.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// os-release in one of its places.
    OsRelease,
    /// A CPE name, as the RHEL family has had since version 6.
    SystemReleaseCpe,
    /// `… release 6.10 (Final)` in redhat-release or one of its siblings.
    RedHatRelease,
    /// SuSE-release.
    SuseRelease,
    /// alpine-release.
    AlpineRelease,
    /// A file whose name alone tells the distribution: photon-release, gentoo-release …
    VendorRelease,
    /// lsb-release or openwrt_release.
    LsbRelease,
    /// debian_version without anything more specific.
    DebianVersion,
    /// busybox's program and no release file.
    Busybox,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identification {
    /// A distribution, by its files.
    Found(Distribution),
    /// There is none of the files: proved, as far as the layers given are all.
    None,
    /// The answer depends on this path: scan the layers again with it requested.
    NeedsFile(String),
    /// The file at this path would answer, but is over the limit for release files.
    TooLarge(String),
}

/// A distribution and its version, as people say it; its name where there is no ID.
pub fn system_name(id: Option<&str>, version: Option<&str>, name: Option<&str>) -> Option<String> {
    match (id, version) {
        (Some(id), Some(version)) => Some(format!("{id} {version}")),
        (Some(id), None) => Some(id.into()),
        (None, _) => name.map(Into::into),
    }
}

/// Identifies what the layers in the view make.
pub fn identify(view: &RootView) -> Identification {
    match find(view) {
        Ok(Some(distribution)) => Identification::Found(distribution),
        Ok(None) => Identification::None,
        Err(Stop::NeedsFile(path)) => Identification::NeedsFile(path),
        Err(Stop::TooLarge(path)) => Identification::TooLarge(path),
    }
}

/// Why no answer can be given from the view.
pub(super) enum Stop {
    NeedsFile(String),
    TooLarge(String),
}

/// A file that was read.
pub(super) struct Source {
    pub(super) content: String,
    asked: String,
    path: String,
    layer: usize,
}

impl Source {
    /// Reads a file of the view.
    pub(super) fn read(view: &RootView, asked: &str) -> Result<Option<Self>, Stop> {
        match view.read(asked) {
            Lookup::Found {
                content,
                path,
                layer,
            } => Ok(Some(Self {
                content,
                asked: asked.to_owned(),
                path,
                layer,
            })),
            Lookup::NotFound => Ok(None),
            Lookup::NeedsFile(path) => Err(Stop::NeedsFile(path)),
            Lookup::TooLarge { path, .. } => Err(Stop::TooLarge(path)),
        }
    }

    /// A distribution without any facts yet, from this file.
    pub(super) fn answer(&self, rule: Rule) -> Distribution {
        Distribution {
            id: None,
            version: None,
            name: None,
            os_name: None,
            release: None,
            source: self.asked.clone(),
            resolved: (self.path != self.asked).then(|| self.path.clone()),
            rule,
            layer: self.layer,
        }
    }
}

fn find(view: &RootView) -> Result<Option<Distribution>, Stop> {
    let mut nameless = None;
    for path in OS_RELEASE_PATHS {
        let Some(source) = Source::read(view, path)? else {
            continue;
        };
        let fields = OsRelease::parse(&source.content);
        let mut found = source.answer(Rule::OsRelease);
        found.id = fields.get("ID").map(str::to_owned);
        found.version = fields.get("VERSION_ID").map(str::to_owned);
        found.name = name(&fields);
        found.os_name = fields.get("NAME").map(str::to_owned).filter(|os_name| {
            let name = found.name.as_deref();
            !name.is_some_and(|name| name.starts_with(os_name.as_str()))
        });
        if found.id.is_some() {
            found.release = point_release(view, &found, &fields);
            return Ok(Some(found));
        }
        if found.name.is_some() && nameless.is_none() {
            nameless = Some(found);
        }
    }
    for rule in legacy::SPECIFIC {
        if let Some(found) = rule(view)? {
            if found.id.is_some() {
                return Ok(Some(found));
            }
            nameless = nameless.or(Some(found));
        }
    }
    // What shipped a name of its own is not plain Debian or busybox.
    if nameless.is_some() {
        return Ok(nameless);
    }
    for rule in legacy::GENERAL {
        if let Some(found) = rule(view)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// PRETTY_NAME, or NAME with VERSION or VERSION_ID.
fn name(fields: &OsRelease) -> Option<String> {
    if let Some(name) = fields.get("PRETTY_NAME") {
        return Some(name.to_owned());
    }
    let name = fields.get("NAME")?;
    Some(match fields.get("VERSION").or(fields.get("VERSION_ID")) {
        Some(version) => format!("{name} {version}"),
        None => name.to_owned(),
    })
}

/// The point release of what os-release identified, from the file that its family keeps it in, else
/// from os-release itself.
///
/// A sibling file that cannot be read or does not fit the version changes nothing: it is a detail.
fn point_release(view: &RootView, found: &Distribution, fields: &OsRelease) -> Option<String> {
    let version = found.version.as_deref();
    let id = found.id.as_deref()?;
    let sibling = match id {
        "debian" | "raspbian" => first_word(view, "etc/debian_version").filter(|release| {
            version.is_none_or(|version| extends(release, version) || release == version)
        }),
        "alpine" => first_word(view, "etc/alpine-release")
            .filter(|release| version.is_some_and(|version| same_fields(release, version, 2))),
        id => redhat::line_of(view, id)
            .and_then(|line| line.number)
            .filter(|release| version.is_none_or(|version| same_fields(release, version, 1))),
    };
    // A version of one field is no point release.
    let sibling = sibling.filter(|release| release.contains(['.', '/']));
    sibling.or_else(|| {
        let stated = [
            fields.get("DEBIAN_VERSION_FULL"),
            fields
                .get("VERSION")
                .and_then(|version| version.split_whitespace().next()),
        ];
        stated
            .into_iter()
            .flatten()
            .find(|release| extends(release, version.unwrap_or(" ")))
            .map(str::to_owned)
    })
}

/// The first word of a file, if it has the form of a version.
pub(super) fn first_word(view: &RootView, path: &str) -> Option<String> {
    let source = Source::read(view, path).ok().flatten()?;
    version_word(&source.content)
}

/// The first word of a text, if it has the form of a version or of a Debian code name.
pub(super) fn version_word(text: &str) -> Option<String> {
    let word = text
        .trim_start_matches('\u{FEFF}')
        .split_whitespace()
        .next()?;
    let fits =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_' | '-' | '~' | '+');
    (word.len() <= 64 && word.chars().all(fits)).then(|| word.to_owned())
}

/// `12.5` extends `12`.
fn extends(release: &str, version: &str) -> bool {
    release
        .strip_prefix(version)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// True if the first fields of two versions are the same.
fn same_fields(a: &str, b: &str, count: usize) -> bool {
    a.split('.').take(count).eq(b.split('.').take(count))
}
