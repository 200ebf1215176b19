//! The binary, the real crane, and one layer in several places: what one of them makes of it harms no
//! other.

mod fixtures;
mod harness;
#[path = "harness/site.rs"]
mod site;

use std::time::{Duration, Instant};

use fixtures::distributions;
use fixtures::images::{Built, ImageSpec, Platform};
use harness::bad_registry::{BadRegistry, Fault, blob_path};
use harness::running::Running;
use harness::{Result, rows};
use site::{BOUND, OK, Part, Site, debian, run};

#[test]
fn what_a_mirror_sends_instead_of_a_layer_is_replaced_by_the_registrys() -> Result {
    let mut site = Site::new()?;
    let (origin, mirror) = (BadRegistry::start()?, BadRegistry::start()?);
    let image = debian("app");
    for registry in [&origin, &mirror] {
        registry.add("app", image.digest(), &image.blobs);
    }
    let page = b"<html><body>Our mirror is being renovated.</body></html>".repeat(100);
    let junk = Fault::Forged {
        media_type: "text/html",
        bytes: page,
    };
    mirror.misbehave(&Part::Layer.path("app", &image), junk);
    site.pod("app", &origin.address, image.digest(), OK);
    let settings = format!(
        "registries:\n- host: {}\n  mirrors:\n  - location: {}\n",
        origin.address, mirror.address
    );
    let settings = site.settings(&settings)?;
    run(site.command()?.arg("--registries").arg(settings))?;
    site.compare()?;
    let rows = rows(&site.store())?;
    assert_eq!(rows[0]["distro_id"], "debian");
    assert_eq!(rows[0]["inspected_via"], mirror.address);
    assert_eq!(origin.log().len(), 1, "the layer only: {:?}", origin.log());
    Ok(())
}

/// Two images of one layer.
fn with_the_same_layer(title: &str) -> Built {
    ImageSpec::new(Platform::linux("amd64"))
        .layer(distributions::debian_12())
        .label("org.opencontainers.image.title", title)
        .build()
}

#[test]
fn a_layer_that_a_slow_registry_claims_to_have_does_not_hold_up_those_of_others() -> Result {
    let mut site = Site::new()?;
    let (slow, good) = (BadRegistry::start()?, BadRegistry::start()?);
    let (claimed, wanted) = (with_the_same_layer("a"), with_the_same_layer("b"));
    let layer = &claimed.layers.first().ok_or("no layer")?.digest;
    slow.add("a", claimed.digest(), &claimed.blobs);
    slow.misbehave(&blob_path("a", layer), Fault::Drip);
    site.pod(
        "a",
        &slow.address,
        claimed.digest(),
        ("partial", "timeout", "too slowly"),
    );
    let mut command = site.command()?;
    command.args(["--crane-timeout", "50s"]);
    // So that the slow one is first: the good one has its image when the layer is being read there.
    good.add("b", wanted.digest(), &wanted.blobs);
    site.pod("b", &good.address, wanted.digest(), OK);
    good.delay(Duration::from_secs(1));
    site.write_pods()?;
    let path = blob_path("b", layer);
    let started = Instant::now();
    let mut seen = None;
    let ended = Running::start(&mut command)?.wait(BOUND, || {
        if good.log().iter().any(|request| request.ends_with(&path)) {
            seen.get_or_insert(started.elapsed());
        }
        Ok(())
    })?;
    assert!(ended.status.success(), "{}", ended.stderr);
    site.compare()?;
    // The run ends with the slow one, 50 s after it began; who waited for it would come then.
    let seen = seen.ok_or("the good registry was not asked for the layer")?;
    assert!(seen + Duration::from_secs(8) < ended.took, "after {seen:?}");
    Ok(())
}
