//! Release files of systems without os-release, other than the RHEL family's.
//!
//! In: a view. Out: what the file says, as that system's os-release would say it. Each rule reads one
//! kind of file; `distro` calls them in the order of the lists here.

use super::distro::{Distribution, Rule, Source, Stop, version_word};
use super::os_release::{OsRelease, clean_value};
use super::redhat;
use super::rootfs::RootView;

/// A rule: what it finds in a view, if anything.
type Read = fn(&RootView) -> Result<Option<Distribution>, Stop>;

/// Rules of files that only their own distribution ships, in order.
pub(super) const SPECIFIC: [Read; 7] = [
    redhat::from_cpe,
    redhat::from_line,
    from_suse_release,
    from_alpine_release,
    from_vendor_file,
    from_lsb_release,
    from_devuan_version,
];

/// Rules of what other distributions ship too, in order.
pub(super) const GENERAL: [Read; 2] = [from_debian_version, from_busybox];

/// Files whose name tells the ID: the path, the ID, and whether the text has the version.
const VENDOR_FILES: [(&str, &str, bool); 8] = [
    ("etc/photon-release", "photon", true),
    ("etc/azurelinux-release", "azurelinux", true),
    ("etc/mariner-release", "mariner", true),
    ("etc/gentoo-release", "gentoo", true),
    ("etc/slackware-version", "slackware", true),
    ("etc/arch-release", "arch", false),
    ("etc/NIXOS", "nixos", false),
    ("etc/void-release", "void", false),
];

/// Values of DISTRIB_ID, and the IDs of the same systems' os-release files.
const LSB_IDS: [(&str, &str); 17] = [
    ("Ubuntu", "ubuntu"),
    ("Debian", "debian"),
    ("Arch", "arch"),
    ("Kali", "kali"),
    ("LinuxMint", "linuxmint"),
    ("ManjaroLinux", "manjaro"),
    ("Raspbian", "raspbian"),
    ("Devuan", "devuan"),
    ("Gentoo", "gentoo"),
    ("OpenWrt", "openwrt"),
    ("CentOS", "centos"),
    ("Fedora", "fedora"),
    ("AmazonAMI", "amzn"),
    ("Mariner", "mariner"),
    ("VoidLinux", "void"),
    ("Flatcar Container Linux by Kinvolk", "flatcar"),
    ("Container Linux by CoreOS", "coreos"),
];

/// Code names of Devuan's releases (devuan.org, "Releases").
const DEVUAN: [(&str, &str); 6] = [
    ("jessie", "1"),
    ("ascii", "2"),
    ("beowulf", "3"),
    ("chimaera", "4"),
    ("daedalus", "5"),
    ("excalibur", "6"),
];

/// `SUSE Linux Enterprise Server 11 (x86_64)`, then `VERSION = 11` and `PATCHLEVEL = 4`.
fn from_suse_release(view: &RootView) -> Result<Option<Distribution>, Stop> {
    let Some(source) = Source::read(view, "etc/SuSE-release")? else {
        return Ok(None);
    };
    let mut found = source.answer(Rule::SuseRelease);
    let Some(line) = first_line(&source.content) else {
        return Ok(None);
    };
    let value = |key: &str| {
        source.content.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            (name.trim() == key).then(|| version_word(value)).flatten()
        })
    };
    let lower = line.to_ascii_lowercase();
    (found.id, found.version) = if lower.starts_with("suse linux enterprise server") {
        let patched = match (value("VERSION"), value("PATCHLEVEL")) {
            (Some(version), Some(level)) if level != "0" => Some(format!("{version}.{level}")),
            (version, _) => version,
        };
        (Some("sles".to_owned()), patched)
    } else if lower.starts_with("opensuse") {
        (Some("opensuse".to_owned()), value("VERSION"))
    } else {
        (None, value("VERSION"))
    };
    found.name = Some(line);
    Ok(Some(found))
}

/// `3.4.6`, or on edge `3.21.0_alpha20240923`.
fn from_alpine_release(view: &RootView) -> Result<Option<Distribution>, Stop> {
    let Some(source) = Source::read(view, "etc/alpine-release")? else {
        return Ok(None);
    };
    let Some(version) = version_word(&source.content) else {
        return Ok(None);
    };
    let mut found = source.answer(Rule::AlpineRelease);
    found.id = Some("alpine".to_owned());
    found.name = Some(format!("Alpine Linux {version}"));
    found.release = version.contains('.').then(|| version.clone());
    found.version = Some(version);
    Ok(Some(found))
}

fn from_vendor_file(view: &RootView) -> Result<Option<Distribution>, Stop> {
    for (path, id, has_version) in VENDOR_FILES {
        let Some(source) = Source::read(view, path)? else {
            continue;
        };
        let mut found = source.answer(Rule::VendorRelease);
        found.id = Some(id.to_owned());
        found.name = first_line(&source.content);
        let number = found
            .name
            .as_deref()
            .filter(|_| has_version)
            .and_then(number_in);
        // Both of Microsoft's have build dates behind the two fields that are their VERSION_ID.
        let is_dated = matches!(id, "mariner" | "azurelinux");
        found.version = match &number {
            Some(number) if is_dated => {
                Some(number.split('.').take(2).collect::<Vec<_>>().join("."))
            }
            number => number.clone(),
        };
        found.release = number.filter(|number| is_dated && Some(number) != found.version.as_ref());
        return Ok(Some(found));
    }
    Ok(None)
}

/// Ubuntu's file, and OpenWrt's of the same form. Others' lsb-release has no DISTRIB_ID.
fn from_lsb_release(view: &RootView) -> Result<Option<Distribution>, Stop> {
    for path in ["etc/lsb-release", "etc/openwrt_release"] {
        let Some(source) = Source::read(view, path)? else {
            continue;
        };
        let fields = OsRelease::parse(&source.content);
        let Some(stated) = fields.get("DISTRIB_ID") else {
            continue;
        };
        let mut found = source.answer(Rule::LsbRelease);
        let known = LSB_IDS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(stated));
        found.id = known.map(|(_, id)| (*id).to_owned());
        found.version = fields
            .get("DISTRIB_RELEASE")
            .filter(|release| release.starts_with(|c: char| c.is_ascii_digit()))
            .map(str::to_owned);
        let description = fields.get("DISTRIB_DESCRIPTION");
        found.name = Some(description.unwrap_or(stated).to_owned());
        // `Ubuntu 22.04.3 LTS`
        let version = found.version.as_deref();
        found.release = description.and_then(number_in).filter(|number| {
            version.is_some_and(|v| {
                number
                    .strip_prefix(v)
                    .is_some_and(|rest| rest.starts_with('.'))
            })
        });
        return Ok(Some(found));
    }
    Ok(None)
}

/// `daedalus`, or `excalibur/ceres` before the release.
fn from_devuan_version(view: &RootView) -> Result<Option<Distribution>, Stop> {
    let Some(source) = Source::read(view, "etc/devuan_version")? else {
        return Ok(None);
    };
    let mut found = source.answer(Rule::VendorRelease);
    let word = version_word(&source.content);
    found.id = Some("devuan".to_owned());
    let release = word
        .as_deref()
        .and_then(|word| DEVUAN.iter().find(|(name, _)| *name == word));
    found.version = release.map(|(_, version)| (*version).to_owned());
    found.name = Some(match &word {
        Some(word) => format!("Devuan GNU/Linux {word}"),
        None => "Devuan GNU/Linux".to_owned(),
    });
    found.release = word.filter(|word| word.contains('/'));
    Ok(Some(found))
}

/// `12.5`, or on testing and unstable `trixie/sid`.
fn from_debian_version(view: &RootView) -> Result<Option<Distribution>, Stop> {
    let Some(source) = Source::read(view, "etc/debian_version")? else {
        return Ok(None);
    };
    let Some(word) = version_word(&source.content) else {
        return Ok(None);
    };
    let mut found = source.answer(Rule::DebianVersion);
    if word.starts_with("kali") {
        found.id = Some("kali".to_owned());
        found.name = Some("Kali GNU/Linux".to_owned());
        return Ok(Some(found));
    }
    found.id = Some("debian".to_owned());
    found.name = Some(format!("Debian GNU/Linux {word}"));
    found.version = word.starts_with(|c: char| c.is_ascii_digit()).then(|| {
        // Until 3.1 a major release was two numbers.
        let fields = if word.starts_with(['1', '2', '3']) && word.get(1..2) == Some(".") {
            2
        } else {
            1
        };
        word.split('.').take(fields).collect::<Vec<_>>().join(".")
    });
    found.release = word.contains(['.', '/']).then_some(word);
    Ok(Some(found))
}

/// No release file at all, and busybox's program: the official image and those made like it.
fn from_busybox(view: &RootView) -> Result<Option<Distribution>, Stop> {
    let Some(source) = Source::read(view, "bin/busybox")? else {
        return Ok(None);
    };
    let mut found = source.answer(Rule::Busybox);
    found.id = Some("busybox".to_owned());
    let version = source
        .content
        .strip_prefix("BusyBox v")
        .filter(|version| !version.is_empty());
    found.version = version.and_then(version_word);
    found.name = Some(match &found.version {
        Some(version) => format!("BusyBox v{version}"),
        None => "BusyBox".to_owned(),
    });
    Ok(Some(found))
}

/// The first line that is not empty, made harmless.
fn first_line(text: &str) -> Option<String> {
    text.lines().map(clean_value).find(|line| !line.is_empty())
}

/// The first word that begins with a digit, up to where it is no number: `Photon OS 4.0` → `4.0`.
fn number_in(text: &str) -> Option<String> {
    let word = text
        .split_whitespace()
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let end = word
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(word.len());
    word.get(..end)
        .map(|number| number.trim_end_matches('.').to_owned())
}
