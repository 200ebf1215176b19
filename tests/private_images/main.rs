//! Private images: Debian's docker-registry with passwords and a CA of its own, beside an anonymous one
//! and mirrors; a real API server with secrets and service accounts in six namespaces. Every image
//! comes out as [`table`] says, asked for by whom it says, and no secret is in what the program wrote.

mod cluster;
#[path = "../fixtures/mod.rs"]
mod fixtures;
#[path = "../harness/mod.rs"]
mod harness;
mod registries;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use fixtures::api::Api;
use fixtures::images::{Built, ImageSpec, Platform};
use fixtures::{distributions, tenants};
use harness::control_plane::{Access, ControlPlane};
use harness::docker_registry::{Note, SECRET, notes, noting_crane, password};
use harness::engines::expect_same_rows;
use harness::{Result, Row, files_below, program, rows, stderr};
use registries::{OPERATORS, Registries};
use table::{Case, ELSEWHERE, WITHOUT_SECRETS, cases};

/// A case's image, as it is in the registries.
struct Image {
    built: Built,
    /// Its own; the images of some cases share one.
    tag: String,
    place: &'static str,
    path: &'static str,
}

impl Image {
    fn of(number: usize, text: &'static str) -> Result<Self> {
        let (place, path) = text.split_once('/').ok_or("no place")?;
        let path = path.trim_end_matches(['?', '@']);
        let (path, tag) = match path.split_once(':') {
            Some((path, tag)) => (path, tag.to_owned()),
            None => (path, format!("case-{number}")),
        };
        // Each its own content, or what is known of one would serve the other.
        let built = ImageSpec::new(Platform::linux("amd64"))
            .layer(distributions::debian_12())
            .label("org.opencontainers.image.title", text)
            .build();
        Ok(Self {
            built,
            tag,
            place,
            path,
        })
    }

    fn push(&self, registries: &Registries) -> Result {
        let own = format!("{}/{}", self.place, self.path);
        let elsewhere = ELSEWHERE.iter().find(|(image, _)| *image == own);
        for place in elsewhere.map_or(&[own.as_str()][..], |(_, places)| places) {
            let (place, path) = place.split_once('/').ok_or("no place")?;
            registries.push(place, &format!("{path}:{}", self.tag), &self.built)?;
        }
        Ok(())
    }

    /// Whether a request was for it; layers are the same in all.
    fn is_asked_by(&self, note: &Note) -> bool {
        let (digest, config) = (self.built.digest(), self.built.config_digest());
        [
            format!(":{}", self.tag),
            format!("@{digest}"),
            format!("@{config}"),
        ]
        .iter()
        .any(|end| note.request.ends_with(end))
    }
}

/// Pushes what is to be there, two at once.
fn push_all<'a>(
    registries: &Registries,
    all: impl Iterator<Item = (&'a Case, &'a Image)>,
) -> Result {
    let mut seen = BTreeSet::new();
    let wanted =
        all.filter(|(case, image)| !case.image.ends_with('?') && seen.insert(image.built.digest()));
    let wanted: Vec<_> = wanted.map(|(_, image)| image).collect();
    let push = |images: &[&Image]| -> std::result::Result<(), String> {
        let mut images = images.iter();
        images.try_for_each(|image| image.push(registries).map_err(|error| error.to_string()))
    };
    let (first, second) = wanted.split_at(wanted.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| push(first));
        push(second)?;
        other.join().map_err(|_| "a thread failed")?
    })?;
    Ok(())
}

/// Registries, a cluster with a pod for each case, and a place for runs.
struct Site {
    registries: Registries,
    _plane: ControlPlane,
    kubeconfig: PathBuf,
    cases: Vec<Case>,
    images: Vec<Image>,
    folder: tempfile::TempDir,
}

impl Site {
    fn start() -> Result<Self> {
        let registries = Registries::start()?;
        let plane = ControlPlane::start()?;
        let api = Api::connect(&plane.kubeconfig())?;
        cluster::fill(&api, &registries)?;
        let cases = cases();
        let images = cases.iter().enumerate();
        let images = images.map(|(number, case)| Image::of(number, case.image));
        let images = images.collect::<Result<Vec<_>>>()?;
        push_all(&registries, cases.iter().zip(&images))?;
        for (number, (case, image)) in cases.iter().zip(&images).enumerate() {
            let repository = format!("{}/{}", registries.address(image.place), image.path);
            let reference = if case.image.ends_with('@') {
                format!("{repository}@{}", image.built.digest())
            } else {
                format!("{repository}:{}", image.tag)
            };
            cluster::run(&api, number, case, &reference)?;
        }
        let token = Some(tenants::token(&api, "census")?);
        let kubeconfig = plane.kubeconfig_for(
            "census",
            &Access {
                token,
                ..Access::default()
            },
        )?;
        Ok(Self {
            registries,
            _plane: plane,
            kubeconfig,
            cases,
            images,
            folder: tempfile::tempdir()?,
        })
    }

    /// A run, with what the operator has; its store, and what crane was given.
    fn run(&self, name: &str, arguments: &[&str]) -> Result<(PathBuf, Vec<Note>)> {
        let folder = self.folder.path().join(name);
        fs::create_dir(&folder)?;
        let (crane, noted) = noting_crane(&folder)?;
        let store = folder.join("store");
        let mut command = program();
        command.args(["snapshot", "--cluster-name", "test", "--log-level", "trace"]);
        command.args(arguments).arg("--crane").arg(crane);
        command.arg("--store").arg(&store);
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env_remove("SSL_CERT_FILE");
        let trap = self.registries.configure(&mut command, &folder)?;
        let said = succeed(&mut command)?;
        assert!(!trap.exists(), "a tenant's helper was run");
        no_secret(&said, "the run's output");
        for file in files_below(&store)? {
            let bytes = fs::read(store.join(&file))?;
            no_secret(&String::from_utf8_lossy(&bytes), &file);
        }
        let notes = notes(&noted)?;
        expect_same_rows(&command, &store)?;
        Ok((store, notes))
    }

    /// A place's name, by its host and port.
    fn place(&self, address: &str) -> String {
        let own = ["direct", "open", "near", "far", "down"];
        let own = own
            .into_iter()
            .find(|place| self.registries.address(place) == address);
        own.map_or_else(
            || address.split('.').next().unwrap_or_default().to_owned(),
            str::to_owned,
        )
    }

    /// Who asked for an image, each once.
    fn tried(&self, image: &Image, notes: &[Note]) -> Result<String> {
        let mut tried: Vec<String> = Vec::new();
        for note in notes.iter().filter(|note| image.is_asked_by(note)) {
            let (_, reference) = note.request.split_once(' ').ok_or("no reference")?;
            let (address, _) = reference.split_once('/').ok_or("no repository")?;
            let user = match &note.entries[..] {
                [] => "-",
                [(key, user)] => {
                    assert_eq!(key, address, "an entry for another registry");
                    user
                }
                _ => return Err(format!("two entries for {reference}").into()),
            };
            let place = self.place(address);
            let who = if place == image.place {
                user.to_owned()
            } else {
                format!("{place}:{user}")
            };
            if !tried.contains(&who) {
                tried.push(who);
            }
        }
        Ok(tried.join(" "))
    }

    /// A text of the table with addresses in it.
    fn with_addresses(&self, text: &str) -> String {
        let mut parts = text.split('{');
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            match part.split_once('}') {
                Some((place, rest)) if place.bytes().all(|b| b.is_ascii_lowercase()) => {
                    whole.push_str(&self.registries.address(place));
                    whole.push_str(rest);
                }
                _ => {
                    whole.push('{');
                    whole.push_str(part);
                }
            }
        }
        whole
    }
}

fn succeed(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        stderr(&output)
    );
    assert!(output.status.success(), "{said}");
    Ok(said)
}

/// Neither a password nor an `auth` with one.
fn no_secret(text: &str, what: &str) {
    assert!(!text.contains(SECRET), "a password is in {what}");
    let ghosts = [
        "ghost-short",
        "ghost-long",
        "ghost-host",
        "ghost-path",
        "ghost-blue",
        "ghost-fern",
        "ghost-settings",
        "ghost-docker",
    ];
    for user in cluster::NAMESPACES
        .into_iter()
        .chain(OPERATORS)
        .chain(ghosts)
    {
        let auth = STANDARD_NO_PAD.encode(format!("{user}:{}", password(user)));
        assert!(!text.contains(&auth), "the auth of {user} is in {what}");
    }
}

/// As the table has it.
fn outcome(site: &Site, row: &Row) -> String {
    let mut words = vec![row["inspection_status"].clone(), row["error_kind"].clone()];
    if !row["inspected_via"].is_empty() {
        words.push(format!("via {}", site.place(&row["inspected_via"])));
    }
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

/// The rows of a run, and what is wrong with them.
struct Checked<'a> {
    site: &'a Site,
    rows: BTreeMap<usize, Row>,
    notes: Vec<Note>,
    wrong: Vec<String>,
}

impl<'a> Checked<'a> {
    fn new(site: &'a Site, store: &Path, notes: Vec<Note>) -> Result<Self> {
        let rows = by_number(store)?;
        Ok(Self {
            site,
            rows,
            notes,
            wrong: Vec::new(),
        })
    }

    /// Compares the row of a case.
    fn row(&mut self, number: usize, expected: &str, tried: &str, words: &str) -> Result {
        let (site, case) = (self.site, &self.site.cases[number]);
        let row = self.rows.get(&number).ok_or("a row is missing")?;
        let distribution = if expected.starts_with("ok") {
            " debian"
        } else {
            ""
        };
        let expected = format!("{expected}{distribution} [{tried}]");
        let mut found = outcome(site, row);
        if !row["distro_id"].is_empty() {
            found.push_str(&format!(" {}", row["distro_id"]));
        }
        let found = format!(
            "{found} [{}]",
            site.tried(&site.images[number], &self.notes)?
        );
        let message = &row["error_message"];
        let words = site.with_addresses(words);
        let is_said = message.contains(&words) && message.is_empty() == words.is_empty();
        if found != expected || !is_said {
            self.wrong.push(format!(
                "{} {}: {found}, not {expected}; {message:?}, to say {words:?}",
                case.namespace, case.image
            ));
        }
        Ok(())
    }

    fn assert_all_right(&self, count: usize) {
        assert_eq!(self.rows.len(), count);
        let wrong = &self.wrong;
        assert!(
            wrong.is_empty(),
            "{} of {count}:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
    }
}

/// The rows of a store by the number in their pods' names.
fn by_number(store: &Path) -> Result<BTreeMap<usize, Row>> {
    let mut found = BTreeMap::new();
    for row in rows(store)? {
        let number = row["pod"].strip_prefix("pod-").ok_or("another's pod")?;
        found.insert(number.parse()?, row);
    }
    Ok(found)
}

#[test]
fn private_images_of_six_namespaces_come_out_as_the_table_says() -> Result {
    let site = Site::start()?;
    let denied = format!(
        "{},{}/secret",
        site.registries.address("denied"),
        site.registries.address("private")
    );
    let arguments = ["--pull-secrets", "namespace", "--deny-registry", &denied];
    let (store, notes) = site.run("all", &arguments)?;
    let mut checked = Checked::new(&site, &store, notes)?;
    for (number, case) in site.cases.iter().enumerate() {
        checked.row(number, case.outcome, case.tried, case.words)?;
    }
    checked.assert_all_right(site.cases.len());

    // One image in two namespaces is one.
    let report: serde_json::Value = serde_json::from_str(&harness::get(&store, "latest", "json")?)?;
    let images = report["images"].as_array().ok_or("no images")?;
    assert_eq!(images.len(), site.cases.len() - 1);

    // Without --pull-secrets nobody's are used, and what is not allowed is not asked.
    let of = |wanted: &Case| {
        let mut places = WITHOUT_SECRETS.iter();
        places.find(|(image, ..)| *image == wanted.image)
    };
    let addresses = ["files", "docker", "mirrored"].map(|place| site.registries.address(place));
    let denied = format!("{}/down", site.registries.address("mirrored"));
    let (store, notes) = site.run(
        "without",
        &[
            "--namespace",
            "fern",
            "--allow-registry",
            &addresses.join(","),
            "--deny-registry",
            &denied,
        ],
    )?;
    let mut checked = Checked::new(&site, &store, notes)?;
    let mut count = 0;
    for (number, case) in site.cases.iter().enumerate() {
        if case.namespace != "fern" {
            continue;
        }
        count += 1;
        match of(case) {
            Some((_, outcome, tried)) if outcome.starts_with("ok") => {
                checked.row(number, outcome, tried, "")?;
            }
            Some((_, outcome, tried)) => {
                checked.row(number, outcome, tried, "wants other credentials")?;
            }
            None if case.image.starts_with("mirrored/down/") => {
                checked.row(
                    number,
                    "skipped policy",
                    "",
                    "is refused by --deny-registry",
                )?;
            }
            None => {
                let words = "is none that --allow-registry names";
                checked.row(number, "skipped policy", "", words)?;
            }
        }
    }
    checked.assert_all_right(count);
    Ok(())
}
