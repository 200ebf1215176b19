//! Which paths one ordinary pass over a layer tells everything about.
//!
//! The set is fixed and small: directories that release files live in or are linked through, and
//! files of release names directly in them. A path outside it is *unknown* to a finding, never
//! absent; the resolver then asks for it by name. Any change here is a change of the detection rules.

use super::path::split;

/// Directories in which release files are looked for, and those that the usual links lead through.
///
/// `usr/etc` and `usr/lib64` are where ostree and the Chromium OS family keep the real directories,
/// `usr/lib/os.release.d` is Fedora's (2014–2020), `etc/static` NixOS's. The list holds every parent
/// of every member.
const DIRECTORIES: [&str; 20] = [
    "",
    "bin",
    "etc",
    "etc/static",
    "lib",
    "lib64",
    "usr",
    "usr/bin",
    "usr/etc",
    "usr/lib",
    FEDORA,
    "usr/lib64",
    "x86_64-bottlerocket-linux-gnu",
    "x86_64-bottlerocket-linux-gnu/sys-root",
    "x86_64-bottlerocket-linux-gnu/sys-root/usr",
    "x86_64-bottlerocket-linux-gnu/sys-root/usr/lib",
    "aarch64-bottlerocket-linux-gnu",
    "aarch64-bottlerocket-linux-gnu/sys-root",
    "aarch64-bottlerocket-linux-gnu/sys-root/usr",
    "aarch64-bottlerocket-linux-gnu/sys-root/usr/lib",
];

/// Where Fedora kept the files of its editions, `os-release-container` and others.
const FEDORA: &str = "usr/lib/os.release.d";

/// Base names of files that say, or help to say, which distribution this is.
///
/// Some are read by no rule, but are what the files that are read are linked to. `[` is there for
/// busybox: its official image stores the program under its alphabetically first name and links
/// `busybox` to it.
const NAMES: [&str; 40] = [
    "NIXOS",
    "SuSE-release",
    "[",
    "almalinux-release",
    "alpine-release",
    "amazon-linux-release",
    "anolis-release",
    "arch-release",
    "azurelinux-release",
    "busybox",
    "centos-release",
    "cloudlinux-release",
    "debian_version",
    "devuan_version",
    "enterprise-release",
    "eurolinux-release",
    "fedora-release",
    "gentoo-release",
    "kylin-release",
    "lsb-release",
    "mageia-release",
    "mandriva-release",
    "mariner-release",
    "miraclelinux-release",
    "openEuler-release",
    "opencloudos-release",
    "openmandriva-release",
    "openwrt_release",
    "oracle-release",
    "os-release",
    "photon-release",
    "redhat-release",
    "rocky-release",
    "scientific-release",
    "sl-release",
    "slackware-version",
    "system-release",
    "system-release-cpe",
    "tencentos-release",
    "void-release",
];

/// True if every finding tells what is at `path`, whatever was requested besides.
pub(super) fn is_known(path: &str) -> bool {
    if DIRECTORIES.contains(&path) {
        return true;
    }
    let (parent, name) = split(path);
    (NAMES.contains(&name) && DIRECTORIES.contains(&parent))
        || (parent == FEDORA && name.starts_with("os-release"))
}

/// True for paths whose last part is a release file's name.
pub(super) fn is_release_name(path: &str) -> bool {
    NAMES.contains(&split(path).1)
}

/// True for the names under which busybox's program is found.
pub(super) fn is_busybox_name(path: &str) -> bool {
    let (parent, name) = split(path);
    matches!(name, "busybox" | "[") && split(parent).1 == "bin"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::path::ancestors;

    #[test]
    fn every_parent_of_a_known_directory_is_known() {
        for directory in DIRECTORIES {
            assert!(ancestors(directory).all(is_known), "{directory}");
        }
    }

    #[test]
    fn release_files_are_known_in_known_directories_only() {
        assert!(is_known("etc/os-release"));
        assert!(is_known("usr/lib/os.release.d/os-release-fedora"));
        assert!(is_known("bin/busybox"));
        assert!(!is_known("opt/os-release"));
        assert!(!is_known("usr/lib/python3/os-release"));
        assert!(!is_known("etc/passwd"));
    }
}
