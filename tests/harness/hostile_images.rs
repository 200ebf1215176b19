//! Images that are made to cost a reader all it has, and what a report must say of each.
//!
//! A test that has `mod fixtures;` and `mod harness;` includes it by its path.

#![allow(
    dead_code,
    reason = "every test includes all of this and uses a part of it"
)]

use tar::EntryType;

use crate::fixtures::bombs::{self, Pieces, TEN_GB};
use crate::fixtures::distributions;
use crate::fixtures::images::{Built, ImageSpec, Platform};
use crate::fixtures::layers::{Compression, Layer};
use crate::harness::Row;

/// What a report must say of an image.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: &'static str,
    pub(crate) kind: &'static str,
    /// ID and version.
    pub(crate) distribution: &'static str,
    pub(crate) source: &'static str,
    pub(crate) certain: bool,
    /// Words of the message.
    pub(crate) says: &'static str,
}

/// All was read, and the release file was found.
pub(crate) const DEBIAN: Answer = Answer {
    status: "ok",
    kind: "",
    distribution: "debian 12",
    source: "etc/os-release",
    certain: true,
    says: "",
};

/// A layer was not read, on its history's word.
pub(crate) const UNREAD: Answer = Answer {
    certain: false,
    ..DEBIAN
};

/// All was read, and no release file is there that a running container could open.
pub(crate) const NONE: Answer = Answer {
    distribution: " ",
    source: "none",
    ..DEBIAN
};

/// A limit ended it before the release file.
pub(crate) const fn left(says: &'static str) -> Answer {
    Answer {
        status: "partial",
        kind: "policy",
        distribution: " ",
        source: "",
        certain: false,
        says,
    }
}

/// A limit ended it after the release file.
pub(crate) const fn left_after_debian(says: &'static str) -> Answer {
    Answer {
        distribution: "debian 12",
        source: "etc/os-release",
        ..left(says)
    }
}

pub(crate) const RATIO: &str = "implausibly many times its size";
const SIZE: &str = "unpacks to more than the limit";
const EXTENSION: &str = "extended header is too large";
const RELEASE_FILE: &str = "too large or cannot be resolved";

pub(crate) fn image(layers: impl IntoIterator<Item = Layer>) -> Built {
    let spec = ImageSpec::new(Platform::linux("amd64"));
    layers.into_iter().fold(spec, ImageSpec::layer).build()
}

pub(crate) fn gzip() -> Pieces {
    Pieces::new(Compression::Gzip)
}

pub(crate) fn healthy() -> Built {
    image([distributions::debian_12()])
}

pub(crate) fn unpacking(add: &mut Add<'_>) {
    let debian = distributions::debian_12;
    let zeros = |pieces: Pieces| pieces.zeros("srv/zeros", TEN_GB);
    let made = "COPY zeros /srv/";
    add(
        "10 GB of zeros",
        image([zeros(gzip()).layer(made)]),
        left(RATIO),
    );
    add(
        "10 GB of zeros before the release file",
        image([zeros(gzip()).entries(&debian()).layer(made)]),
        left(RATIO),
    );
    add(
        "10 GB of zeros after the release file",
        image([zeros(gzip().entries(&debian())).layer(made)]),
        left_after_debian(RATIO),
    );
    add(
        "10 GB of zeros in a layer above Debian's",
        image([debian(), zeros(gzip()).layer("RUN apt-get upgrade")]),
        left_after_debian(RATIO),
    );
    add(
        "the same of a history that says it is elsewhere",
        image([debian(), zeros(gzip()).layer(made)]),
        UNREAD,
    );
    let zstd = Pieces::new(Compression::Zstd);
    add(
        "10 GB of zeros in zstd",
        image([zeros(zstd).layer(made)]),
        left(RATIO),
    );
    add(
        "10 GB that pack 150 times",
        image([gzip()
            .sparse_noise("srv/noise", 10 << 10, 6 << 10)
            .layer(made)]),
        left(SIZE),
    );
    let head = |kind| bombs::header(kind, "head", "", 100 << 20);
    for (name, kind) in [
        ("a PAX header of 100 MB", EntryType::XHeader),
        ("a file name of 100 MB", EntryType::GNULongName),
    ] {
        let layer = gzip()
            .bytes(head(kind).as_bytes())
            .bytes(&vec![b'x'; 100 << 20]);
        add(name, image([layer.layer(made)]), left(EXTENSION));
    }
    add(
        "zstd with a window of 2 GiB",
        image([bombs::zstd_window_of_2_gib()]),
        left("zstd window is larger than the limit"),
    );
}

pub(crate) fn counting(add: &mut Add<'_>) {
    let million = |kind, folder, target| {
        let members = gzip().members(kind, folder, target, 1_000_000);
        image([members
            .entries(&distributions::debian_12())
            .layer("COPY rootfs /")])
    };
    add(
        "1,000,000 files",
        million(EntryType::Regular, "srv/files/", ""),
        DEBIAN,
    );
    let links = Pieces::new(Compression::Zstd).members(EntryType::Symlink, "", "", 400_000);
    add(
        "400,000 short links in zstd with its widest window",
        image([links
            .entries(&distributions::debian_12())
            .layer("COPY rootfs /")]),
        DEBIAN,
    );
    for (name, count) in [
        ("127 layers with as much text as a layer may have", 11),
        ("127 layers with more text than a layer may have", 12),
    ] {
        let layers = (0..127).map(|layer| bombs::release_files(layer, count));
        add(name, image(layers), left("too much text in release files"));
    }
    let number = |layer: usize| Layer::new("COPY file /srv/").file("srv/number", layer.to_string());
    add(
        "500 layers, the release file in the last",
        image((1..500).map(number).chain([distributions::debian_12()])),
        DEBIAN,
    );
    add(
        "1,001 layers",
        image((0..1001).map(|_| distributions::debian_12())),
        Answer {
            status: "failed",
            kind: "invalid",
            says: "over 1,000 layers",
            ..left("")
        },
    );
}

pub(crate) fn linking(add: &mut Add<'_>) {
    let layer = || Layer::new("COPY rootfs /");
    let debian =
        || Layer::new("COPY rootfs /").file("srv/os-release", "ID=debian\nVERSION_ID=12\n");
    let far = |link: usize| format!("srv/links/{link}");
    let near = |link: usize| format!("usr/lib/os.release.d/os-release-{link}");
    let end = "usr/lib/os.release.d/os-release-end";
    let near_debian = || layer().file(end, "ID=debian\nVERSION_ID=12\n");
    add(
        "100 links that lead nowhere",
        image([bombs::chain(layer(), 100, far, "srv/nothing")]),
        left(RELEASE_FILE),
    );
    add(
        "100 links that lead to a file",
        image([bombs::chain(debian(), 100, far, "srv/os-release")]),
        left(RELEASE_FILE),
    );
    add(
        "100 links between usual places",
        image([bombs::chain(near_debian(), 100, near, end)]),
        NONE,
    );
    add(
        "40 links between usual places, as many as Linux follows",
        image([bombs::chain(near_debian(), 40, near, end)]),
        DEBIAN,
    );
    add(
        "1,000,000 files behind 39 links of 4,000 bytes",
        image([bombs::behind_long_links(1_000_000)]),
        left("too deep, or behind too many links"),
    );
    let deep = "here/".repeat(100);
    add(
        "100 directories that are links to themselves",
        image([debian()
            .symlink("srv/here", ".")
            .symlink("etc/os-release", &format!("/srv/{deep}os-release"))]),
        NONE,
    );
    let doubled = (0..100).fold(debian(), |layer, link| {
        let next = link + 1;
        layer.symlink(&format!("srv/{link}"), &format!("{next}/../{next}"))
    });
    add(
        "100 directories that are each two links",
        image([doubled.symlink("etc/os-release", "/srv/0/os-release")]),
        left(RELEASE_FILE),
    );
}

pub(crate) fn writing(add: &mut Add<'_>) {
    let long = format!(
        "{}ID=debian\nVERSION_ID=12\n",
        "# a comment\n".repeat((5 << 20) / 12)
    );
    let head = r#"{"architecture":"amd64","os":"linux""#;
    let labels: String = (0..600_000).map(|n| format!(r#""{n:x}":"","#)).collect();
    let documents = [
        (
            "2,000,000 entries of history",
            format!(r#"{head},"history":[{}{{}}]}}"#, "{},".repeat(2_000_000)),
        ),
        (
            "600,000 labels",
            format!(r#"{head},"config":{{"Labels":{{{labels}"":""}}}}}}"#),
        ),
    ];
    for (name, document) in documents {
        add(
            name,
            bombs::with_configuration(&healthy(), &document),
            DEBIAN,
        );
    }
    let annotations = (0..300_000).map(|n| (format!("{n:x}"), String::new()));
    let annotations = annotations.collect();
    add(
        "300,000 annotations",
        bombs::with_annotations(&healthy(), &annotations),
        DEBIAN,
    );
    add(
        "an os-release of 5 MB",
        image([Layer::new("COPY os-release /etc/").file("etc/os-release", long)]),
        // All was read, and no layer can change it: it will not be known.
        Answer {
            certain: true,
            ..left(RELEASE_FILE)
        },
    );
}

/// Takes an image, named, with what must be said of it.
pub(crate) type Add<'a> = dyn FnMut(&'static str, Built, Answer) + 'a;

impl Answer {
    /// What a row says otherwise.
    pub(crate) fn differs(&self, row: &Row) -> Option<String> {
        let distribution = format!("{} {}", row["distro_id"], row["distro_version"]);
        let found = (
            &*row["inspection_status"],
            &*row["error_kind"],
            &*distribution,
            &*row["distro_source"],
        );
        let expected = (self.status, self.kind, self.distribution, self.source);
        let message = &row["error_message"];
        (found != expected || !message.contains(self.says))
            .then(|| format!("{found:?}, expected {expected:?}: {message:?}"))
    }
}
