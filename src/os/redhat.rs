//! Release files of the RHEL family: one line, `<product> release <version> (<name>)`.
//!
//! In: a view or such a line. Out: the ID and version that the product's os-release has, or would
//! have if it were old enough to lack one.

use super::distro::{Distribution, Rule, Source, Stop};
use super::os_release::clean_value;
use super::rootfs::RootView;

/// Files with such a line, the specific before the general: Oracle Linux ships a redhat-release that
/// says Red Hat, and clones keep it as a link to their own.
const FILES: [&str; 18] = [
    "etc/almalinux-release",
    "etc/rocky-release",
    "etc/oracle-release",
    "etc/enterprise-release",
    "etc/eurolinux-release",
    "etc/cloudlinux-release",
    "etc/miraclelinux-release",
    "etc/openEuler-release",
    "etc/anolis-release",
    "etc/opencloudos-release",
    "etc/tencentos-release",
    "etc/kylin-release",
    "etc/mageia-release",
    "etc/openmandriva-release",
    "etc/centos-release",
    "etc/fedora-release",
    "etc/redhat-release",
    "etc/system-release",
];

/// How much of the number in the line is VERSION_ID in the product's os-release.
#[derive(Clone, Copy)]
enum Version {
    /// All of it: `8.10`.
    Whole,
    /// The first field: `7.9.2009` is `7`.
    Major,
    /// Amazon's first generation had years and months (`2018.03`), later ones have one field.
    Amazon,
}

/// Beginnings of such lines in lower case, and the IDs of the products' os-release files.
const PRODUCTS: [(&str, &str, Version); 21] = [
    ("red hat enterprise linux", "rhel", Version::Whole),
    ("centos", "centos", Version::Major),
    ("almalinux", "almalinux", Version::Whole),
    ("rocky linux", "rocky", Version::Whole),
    ("oracle linux", "ol", Version::Whole),
    // Oracle's name until 5.5.
    ("enterprise linux enterprise linux", "ol", Version::Whole),
    ("fedora", "fedora", Version::Whole),
    ("amazon linux", "amzn", Version::Amazon),
    ("scientific linux", "scientific", Version::Whole),
    ("eurolinux", "eurolinux", Version::Whole),
    ("cloudlinux", "cloudlinux", Version::Whole),
    ("miracle linux", "miraclelinux", Version::Whole),
    ("openeuler", "openEuler", Version::Whole),
    ("anolis os", "anolis", Version::Whole),
    ("opencloudos", "opencloudos", Version::Whole),
    ("tencentos", "tencentos", Version::Whole),
    ("alibaba cloud linux", "alinux", Version::Whole),
    ("kylin linux advanced server", "kylin", Version::Whole),
    ("virtuozzo", "virtuozzo", Version::Whole),
    ("mageia", "mageia", Version::Whole),
    ("openmandriva", "openmandriva", Version::Whole),
];

/// Vendor and product of CPE names, and IDs (NIST CPE, as system-release-cpe has them: URIs of
/// version 2.2, in newer files names of 2.3).
const CPE_PRODUCTS: [(&str, &str, &str); 12] = [
    ("centos", "linux", "centos"),
    ("centos", "centos", "centos"),
    ("redhat", "enterprise_linux", "rhel"),
    ("redhat", "enterprise_linux_server", "rhel"),
    ("oracle", "linux", "ol"),
    ("almalinux", "almalinux", "almalinux"),
    ("rocky", "rocky", "rocky"),
    ("fedoraproject", "fedora", "fedora"),
    ("amazon", "linux", "amzn"),
    ("amazon", "amazon_linux", "amzn"),
    ("scientificlinux", "scientificlinux", "scientific"),
    ("cloudlinux", "cloudlinux", "cloudlinux"),
];

/// What such a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReleaseLine {
    pub(super) id: Option<&'static str>,
    /// What VERSION_ID would be.
    pub(super) version: Option<String>,
    /// The number as it stands.
    pub(super) number: Option<String>,
    /// The line, made harmless.
    pub(super) line: String,
}

/// Reads the first line that is not empty; nothing if there is none.
pub(super) fn parse(text: &str) -> Option<ReleaseLine> {
    let line = text
        .lines()
        .map(clean_value)
        .find(|line| !line.is_empty())?;
    let lower = line.to_ascii_lowercase();
    let product = PRODUCTS
        .iter()
        .find(|(beginning, _, _)| lower.starts_with(beginning));
    let number = lower
        .split_once(" release ")
        .and_then(|(_, rest)| leading_number(rest));
    let version = number
        .clone()
        .map(|number| match product.map(|(_, _, form)| *form) {
            Some(Version::Major) => first_field(&number),
            Some(Version::Amazon) if !number.starts_with("201") => first_field(&number),
            _ => number,
        });
    Some(ReleaseLine {
        id: product.map(|(_, id, _)| *id),
        version,
        number,
        line,
    })
}

/// The digits and dots at the beginning of a text.
fn leading_number(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number = text.get(..end)?.trim_end_matches('.');
    number
        .starts_with(|c: char| c.is_ascii_digit())
        .then(|| number.to_owned())
}

fn first_field(number: &str) -> String {
    number.split('.').next().unwrap_or_default().to_owned()
}

/// The line of a product, from the first file that has it. What cannot be read is passed over.
pub(super) fn line_of(view: &RootView, id: &str) -> Option<ReleaseLine> {
    if !PRODUCTS.iter().any(|(_, known, _)| *known == id) {
        return None;
    }
    FILES
        .iter()
        .filter_map(|path| Source::read(view, path).ok().flatten())
        .filter_map(|source| parse(&source.content))
        .find(|line| line.id == Some(id))
}

/// `cpe:/o:centos:linux:6:GA`. The CPE tells the product surely and the version roughly
/// (`6server`); the line of the same product, where there is one, tells it exactly.
pub(super) fn from_cpe(view: &RootView) -> Result<Option<Distribution>, Stop> {
    let Some(source) = Source::read(view, "etc/system-release-cpe")? else {
        return Ok(None);
    };
    let text = source.content.trim();
    let mut parts = text
        .strip_prefix("cpe:/o:")
        .or(text.strip_prefix("cpe:2.3:o:"))
        .unwrap_or_default()
        .split(':');
    let (vendor, product) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let known = CPE_PRODUCTS
        .iter()
        .find(|(v, p, _)| (*v, *p) == (vendor, product));
    let Some((_, _, id)) = known else {
        return Ok(None);
    };
    let number = parts.next().and_then(leading_number);
    let mut found = source.answer(Rule::SystemReleaseCpe);
    found.id = Some((*id).to_owned());
    match line_of(view, id) {
        Some(line) => fill(&mut found, line),
        // A clone that kept Red Hat's CPE, and says in its own file what it is.
        None if *id == "rhel" && is_another_product(view)? => return Ok(None),
        None => found.version = number,
    }
    Ok(Some(found))
}

/// True if the first release file with a line of a known product has one of another than RHEL.
fn is_another_product(view: &RootView) -> Result<bool, Stop> {
    let found = from_line(view)?.and_then(|found| found.id);
    Ok(found.is_some_and(|id| id != "rhel"))
}

/// The first release file with a line of a known product; else the first with any line.
pub(super) fn from_line(view: &RootView) -> Result<Option<Distribution>, Stop> {
    let mut other = None;
    for path in FILES {
        let Some(source) = Source::read(view, path)? else {
            continue;
        };
        let Some(line) = parse(&source.content) else {
            continue;
        };
        let is_known = line.id.is_some();
        let mut found = source.answer(Rule::RedHatRelease);
        fill(&mut found, line);
        if is_known {
            return Ok(Some(found));
        }
        other = other.or(Some(found));
    }
    Ok(other)
}

fn fill(found: &mut Distribution, line: ReleaseLine) {
    if let Some(id) = line.id {
        found.id = Some(id.to_owned());
    }
    found.version = line.version;
    found.release = line.number.filter(|number| number.contains('.'));
    found.name = Some(line.line);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_family_are_read() {
        for (line, id, version, number) in [
            (
                "CentOS release 5.11 (Final)",
                Some("centos"),
                Some("5"),
                Some("5.11"),
            ),
            (
                "CentOS Linux release 7.9.2009 (Core)",
                Some("centos"),
                Some("7"),
                Some("7.9.2009"),
            ),
            (
                "CentOS Stream release 9",
                Some("centos"),
                Some("9"),
                Some("9"),
            ),
            (
                "Red Hat Enterprise Linux Server release 6.10 (Santiago)",
                Some("rhel"),
                Some("6.10"),
                Some("6.10"),
            ),
            (
                "Red Hat Enterprise Linux AS release 4 (Nahant Update 9)",
                Some("rhel"),
                Some("4"),
                Some("4"),
            ),
            (
                "Oracle Linux Server release 7.9",
                Some("ol"),
                Some("7.9"),
                Some("7.9"),
            ),
            (
                "Enterprise Linux Enterprise Linux Server release 5.5 (Carthage)",
                Some("ol"),
                Some("5.5"),
                Some("5.5"),
            ),
            (
                "Fedora Core release 6 (Zod)",
                Some("fedora"),
                Some("6"),
                Some("6"),
            ),
            (
                "Amazon Linux AMI release 2018.03",
                Some("amzn"),
                Some("2018.03"),
                Some("2018.03"),
            ),
            (
                "Amazon Linux release 2 (Karoo)",
                Some("amzn"),
                Some("2"),
                Some("2"),
            ),
            (
                "Amazon Linux release 2023.3.20231218 (Amazon Linux)",
                Some("amzn"),
                Some("2023"),
                Some("2023.3.20231218"),
            ),
            ("\n\u{1b}My EL release 3beta", None, Some("3"), Some("3")),
            ("Something else", None, None, None),
        ] {
            let parsed = parse(line).unwrap();
            assert_eq!(
                (
                    parsed.id,
                    parsed.version.as_deref(),
                    parsed.number.as_deref()
                ),
                (id, version, number),
                "{line}"
            );
            assert!(!parsed.line.contains('\u{1b}'));
        }
        assert_eq!(parse("\n \n"), None);
    }
}
