//! The binary, the real crane, and registries that are slow, dead or limited: what the guard's way to
//! the network costs, and whom. Where crane may not go is in the tests of leaks.

mod fixtures;
mod harness;
#[path = "harness/site.rs"]
mod site;

use std::time::{Duration, Instant};

use harness::bad_registry::{BadRegistry, Fault, PING};
use harness::running::{Running, processes_with};
use harness::{Result, rows};
use site::{BOUND, OK, Part, Site, debian, run};

#[test]
fn on_a_persons_machine_registries_of_this_machine_need_no_permission() -> Result {
    let mut site = Site::new()?;
    site.registry("good", None, OK)?;
    let refused = ("skipped", "policy", "a metadata service's");
    let fault = Fault::redirect("http://169.254.169.254/latest/meta-data/");
    site.registry("metadata", Some((Part::Ping, fault)), refused)?;
    site.allowed.clear();
    let (direct, image) = (BadRegistry::start()?, debian("direct"));
    direct.add("direct", image.digest(), &image.blobs);
    site.pod("direct", &direct.address, image.digest(), OK);
    run(&mut site.command()?)?;
    site.compare()
}

#[test]
fn a_dead_registry_costs_a_few_time_limits_and_takes_nothing_from_others() -> Result {
    let mut site = Site::new()?;
    let (dead, good) = (BadRegistry::start()?, BadRegistry::start()?);
    dead.misbehave(PING, Fault::Silent);
    for number in 0..200 {
        let expected = ("failed", "timeout", "did not finish within 2 s");
        let name = format!("dead-{number:03}");
        // Two that want the same would ask once.
        let image = debian(&name);
        site.pod(&name, &dead.address, image.digest(), expected);
    }
    for number in 0..30 {
        let name = format!("good-{number:02}");
        let image = debian(&name);
        good.add(&name, image.digest(), &image.blobs);
        site.pod(&name, &good.address, image.digest(), OK);
    }
    let mut command = site.command()?;
    command.args(["--crane-timeout", "2s"]);
    let mut most = 0;
    let mut good_at = None;
    let started = Instant::now();
    let ended = Running::start(&mut command)?.wait(BOUND, || {
        most = most.max(processes_with(&dead.address)?.len());
        // Manifest, configuration and layer of each.
        if good.log().len() == 30 * 3 {
            good_at.get_or_insert(started.elapsed());
        }
        Ok(())
    })?;
    assert!(ended.status.success(), "{}", ended.stderr);
    site.compare()?;
    assert_eq!(most, 4, "half of all slots");
    // One after the other, 200 time limits in fours are 100 s.
    assert!(ended.took < Duration::from_secs(60), "{:?}", ended.took);
    let good_at = good_at.ok_or("the good ones were not all asked for")?;
    assert!(good_at < ended.took / 2, "{good_at:?} of {:?}", ended.took);
    let rows = rows(&site.store())?;
    let rested = rows
        .iter()
        .filter(|row| row["error_message"].contains("not asked any more"));
    let rested = rested.count();
    assert!((100..200).contains(&rested), "{rested}");
    Ok(())
}
