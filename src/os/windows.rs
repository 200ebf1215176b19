//! Names of Windows releases, from the build that an image's configuration states in `os.version`.
//!
//! The build tells the release and nothing more: nanoserver and servercore of one release share it,
//! and so do a long-term release and the semi-annual one of the same build. Ordinary support dates
//! are the end-of-life table's affair.

/// Builds and the names of their server releases (Microsoft Learn, "Windows Server release
/// information", and endoflife.date for the semi-annual ones, 2026-08). Where a long-term and a
/// semi-annual release share a build, both stand in the name.
const RELEASES: [(u32, &str); 11] = [
    (14393, "Windows Server 2016"),
    (16299, "Windows Server, version 1709"),
    (17134, "Windows Server, version 1803"),
    (17763, "Windows Server 2019/1809"),
    (18362, "Windows Server, version 1903"),
    (18363, "Windows Server, version 1909"),
    (19041, "Windows Server, version 2004"),
    (19042, "Windows Server, version 20H2"),
    (20348, "Windows Server 2022"),
    (25398, "Windows Server, version 23H2"),
    (26100, "Windows Server 2025"),
];

/// The build of `10.0.<build>` or `10.0.<build>.<revision>`.
pub fn build(os_version: &str) -> Option<u32> {
    let mut parts = os_version.trim().split('.');
    if (parts.next(), parts.next()) != (Some("10"), Some("0")) {
        return None;
    }
    let build = parts.next()?.parse().ok()?;
    let revision = parts
        .next()
        .is_none_or(|revision| revision.parse::<u32>().is_ok());
    (revision && parts.next().is_none()).then_some(build)
}

/// The name of the release that has this `os.version`; nothing for builds that are not known.
pub fn release_name(os_version: &str) -> Option<&'static str> {
    let build = build(os_version)?;
    RELEASES
        .iter()
        .find(|(known, _)| *known == build)
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_have_names() {
        for (version, name) in [
            ("10.0.14393.7606", Some("Windows Server 2016")),
            ("10.0.17763.6775", Some("Windows Server 2019/1809")),
            ("10.0.19041.1415", Some("Windows Server, version 2004")),
            ("10.0.19042.1889", Some("Windows Server, version 20H2")),
            ("10.0.20348.2700", Some("Windows Server 2022")),
            ("10.0.20348", Some("Windows Server 2022")),
            ("10.0.25398.1486", Some("Windows Server, version 23H2")),
            ("10.0.26100.2894", Some("Windows Server 2025")),
            ("10.0.99999.1", None),
            ("6.3.9600", None),
            ("10.0", None),
            ("10.0.x.1", None),
            ("10.0.20348.1.2", None),
            ("", None),
        ] {
            assert_eq!(release_name(version), name, "{version:?}");
        }
    }
}
