//! Lists of many pages: while pods come and go, and from a server that crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fixtures::api::Api;
use crate::fixtures::distributions as distro;
use crate::fixtures::images::{Built, Platform};
use crate::fixtures::pods::{Container, Phase, Pod, Workload};
use crate::fleet::{NODES, nodes, spec, team};
use crate::harness::control_plane::{Access, ControlPlane};
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::registry::Registry;
use crate::harness::{Result, Row, crane, rows, stderr};
use crate::{Scratch, snapshot};

/// Pods by namespace and name, as the API server gives them.
type Held = BTreeMap<(String, String), Value>;

/// A cluster of plain pods whose list has many pages.
struct Crowd {
    plane: ControlPlane,
    api: Api,
    reference: String,
    image: Built,
    namespaces: usize,
    /// Ends with it.
    _registry: Registry,
}

impl Crowd {
    fn start(pods: usize, namespaces: usize) -> Result<Self> {
        let registry = Registry::start()?;
        let image = spec(Platform::linux("amd64"), distro::debian_12()).build();
        let reference = format!("{}/shop/catalog:1.0.0", registry.address);
        crate::fixtures::registry::push(&image, &crane()?, &reference)?;
        let plane = ControlPlane::start()?;
        let api = Api::connect(&plane.kubeconfig())?;
        api.add_nodes(&nodes())?;
        let names: Vec<String> = (0..namespaces).map(team).collect();
        api.add_namespaces(names.iter().map(String::as_str))?;
        let crowd = Self {
            plane,
            api,
            reference,
            image,
            namespaces,
            _registry: registry,
        };
        crowd
            .api
            .add_pods((0..pods).map(|number| crowd.pod(number, 0)))?;
        Ok(crowd)
    }

    /// Versions of a pod differ in node, phase and annotation.
    fn pod(&self, number: usize, version: usize) -> Pod {
        let workload = Workload::stateful_set(&format!("set-{number:05}"));
        let container = Container::new("app", &self.reference).running(self.image.digest());
        Pod::new(&team(number % self.namespaces), workload, 0)
            .node(NODES[(number + version) % NODES.len()].0)
            .phase([Phase::Running, Phase::Unknown][version % 2])
            .annotation("example.com/version", &version.to_string())
            .container(container)
    }

    /// All pods that the API server holds, asked for at once.
    fn held(&self) -> Result<Held> {
        let list = self.api.get("/api/v1/pods")?;
        let items = list["items"].as_array().ok_or("no items")?;
        Ok(items
            .iter()
            .map(|pod| {
                let text = |key: &str| text(&pod["metadata"][key]);
                ((text("namespace"), text("name")), pod.clone())
            })
            .collect())
    }

    /// How many requests for a list of pods the API server has answered with a status since its start.
    fn lists(&self, code: u16) -> Result<usize> {
        let metrics = String::from_utf8(self.api.get_raw("/metrics")?)?;
        let code = format!("code=\"{code}\"");
        let labels = [&code, "resource=\"pods\"", "verb=\"LIST\""];
        let counts = metrics.lines().filter(|line| {
            line.starts_with("apiserver_request_total{")
                && labels.iter().all(|label| line.contains(label))
        });
        counts
            .map(|line| {
                Ok(line
                    .rsplit(' ')
                    .next()
                    .unwrap_or_default()
                    .parse::<usize>()?)
            })
            .sum()
    }

    /// A proxy before its API server, and a kubeconfig that leads through it.
    fn proxy(&self, name: &str, fault: Fault) -> Result<(Proxy, PathBuf)> {
        let proxy = Proxy::start(&self.plane.address()?, fault)?;
        let access = Access {
            address: Some(proxy.address.clone()),
            ..Access::default()
        };
        let kubeconfig = self.plane.kubeconfig_for(name, &access)?;
        Ok((proxy, kubeconfig))
    }

    /// A run through a proxy that does nothing, whose report is whole; the bytes that the API server
    /// sends for it.
    fn bytes_of_a_run(&self, held: &Held) -> Result<usize> {
        let (proxy, kubeconfig) = self.proxy("counting", Fault::None)?;
        let scratch = Scratch::new()?;
        let output = snapshot(&kubeconfig, &scratch.store())?.output()?;
        assert!(output.status.success(), "{}", stderr(&output));
        assert_whole(held, held, &rows(&scratch.store())?);
        Ok(proxy.bytes())
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The rows hold each pod that was there before and after exactly once, and no pod twice. One that was
/// not touched in between is as the API server holds it.
fn assert_whole(before: &Held, after: &Held, rows: &[Row]) {
    let mut found = BTreeMap::new();
    for row in rows {
        let name = (row["namespace"].clone(), row["pod"].clone());
        assert!(found.insert(name, row).is_none(), "twice: {row:?}");
    }
    let mut untouched = 0;
    for (name, pod) in before {
        let stayed = after
            .get(name)
            .filter(|later| later["metadata"]["uid"] == pod["metadata"]["uid"]);
        let Some(later) = stayed else { continue };
        let row = found.get(name);
        assert!(row.is_some(), "lost: {name:?}");
        let Some(row) = row else { continue };
        if later["metadata"]["resourceVersion"] != pod["metadata"]["resourceVersion"] {
            continue;
        }
        untouched += 1;
        let status = &pod["status"]["containerStatuses"][0];
        for (column, value) in [
            ("node", &pod["spec"]["nodeName"]),
            ("container", &pod["spec"]["containers"][0]["name"]),
            ("image", &pod["spec"]["containers"][0]["image"]),
            ("pod_phase", &pod["status"]["phase"]),
            ("image_id", &status["imageID"]),
        ] {
            assert_eq!(row[column], text(value), "{column} of {name:?}");
        }
        assert_eq!(row["inspection_status"], "ok", "{name:?}");
    }
    assert!(
        untouched * 2 > before.len(),
        "{untouched} pods were untouched"
    );
}

/// A run of the program in the background, which ends with the test.
struct Run {
    child: Option<Child>,
}

impl Run {
    fn start(mut command: Command) -> Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self {
            child: Some(command.spawn()?),
        })
    }

    fn end(mut self) -> Result<Output> {
        let child = self.child.take().ok_or("it was waited for")?;
        Ok(child.wait_with_output()?)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Changes a cluster until it is told to stop. Of its last 600 pods it changes half; of the others it
/// deletes some and creates them again under the same name, and deletes some for good, others in each
/// `part`. New ones come, and half of those go again.
fn churn(crowd: &Crowd, part: usize, stop: &AtomicBool, changes: &AtomicUsize) -> Result {
    let api = Api::connect(&crowd.plane.kubeconfig())?;
    let mut newcomers: Vec<Pod> = Vec::new();
    for round in 0.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let version = 1 + round / 15;
        let batch = || (round % 15) * 20..(round % 15 + 1) * 20;
        api.change_pods(batch().map(|n| crowd.pod(2_400 + n, version)))?;
        let again = batch().filter(|n| n % 4 == 0);
        let again: Vec<Pod> = again.map(|n| crowd.pod(2_700 + n, version)).collect();
        api.remove_pods(&again)?;
        if version == 1 {
            let gone = batch().filter(|n| n % 12 == 4 * part + 1);
            let gone: Vec<Pod> = gone.map(|n| crowd.pod(2_700 + n, 0)).collect();
            api.remove_pods(&gone)?;
        }
        api.add_pods(again)?;
        api.remove_pods(newcomers.iter().step_by(2))?;
        let first = 10_000 * (part + 1) + 20 * round;
        newcomers = (first..first + 20).map(|n| crowd.pod(n, 0)).collect();
        api.add_pods(newcomers.iter().cloned())?;
        changes.fetch_add(1, Ordering::SeqCst);
    }
    Ok(())
}

#[test]
fn no_pod_is_lost_or_doubled_while_others_come_and_go_between_the_pages() -> Result {
    let crowd = Crowd::start(3_000, 40)?;
    let mut before = crowd.held()?;
    let pages = crowd.lists(200)?;
    let bytes = crowd.bytes_of_a_run(&before)?;
    let pages = crowd.lists(200)? - pages;
    assert!(pages >= 6, "{pages} pages");

    for part in 0..3 {
        let after_bytes = bytes * (2 * part + 1) / 6;
        let (proxy, kubeconfig) = crowd.proxy("held", Fault::Hold { after_bytes })?;
        let scratch = Scratch::new()?;
        let (stop, changes) = (AtomicBool::new(false), AtomicUsize::new(0));
        let output = std::thread::scope(|scope| -> Result<Output> {
            let churning = scope
                .spawn(|| churn(&crowd, part, &stop, &changes).map_err(|error| error.to_string()));
            let watched = || -> Result<Output> {
                let run = Run::start(snapshot(&kubeconfig, &scratch.store())?)?;
                proxy.wait_for_fault()?;
                let (started, seen) = (Instant::now(), changes.load(Ordering::SeqCst));
                while changes.load(Ordering::SeqCst) < seen + 5 {
                    assert!(
                        started.elapsed() < Duration::from_secs(120),
                        "nothing changes"
                    );
                    std::thread::sleep(Duration::from_millis(5));
                }
                proxy.go_on();
                run.end()
            };
            let output = watched();
            proxy.go_on();
            stop.store(true, Ordering::SeqCst);
            churning.join().map_err(|_| "the churn failed")??;
            output
        })?;
        assert!(output.status.success(), "{}", stderr(&output));
        let after = crowd.held()?;
        assert_ne!(
            before.keys().collect::<BTreeSet<_>>(),
            after.keys().collect()
        );
        assert_whole(&before, &after, &rows(&scratch.store())?);
        before = after;
    }
    Ok(())
}

#[test]
fn a_server_that_crashes_in_mid_list_gives_a_whole_report_or_none() -> Result {
    let crowd = Crowd::start(1_500, 10)?;
    let held = crowd.held()?;
    let bytes = crowd.bytes_of_a_run(&held)?;
    let cases = [
        Comeback {
            name: "the page is cut",
            forgets_revision: false,
            forgets_token: false,
            cuts: true,
        },
        Comeback {
            name: "the page arrives",
            forgets_revision: false,
            forgets_token: false,
            cuts: false,
        },
        Comeback {
            name: "the list has expired",
            forgets_revision: true,
            forgets_token: false,
            cuts: true,
        },
        Comeback {
            name: "the token is refused",
            forgets_revision: false,
            forgets_token: true,
            cuts: true,
        },
    ];
    for case in cases {
        let name = case.name;
        let after_bytes = bytes * 3 / 5;
        let (proxy, kubeconfig) = crowd.proxy("held", Fault::Hold { after_bytes })?;
        let scratch = Scratch::new()?;
        let run = Run::start(snapshot(&kubeconfig, &scratch.store())?)?;
        proxy.wait_for_fault()?;
        if case.forgets_token {
            crowd.plane.forget_token()?;
        }
        if case.forgets_revision {
            // Or the list's revision would still be the present one.
            crowd.api.add_namespaces(["later"])?;
        }
        crowd.plane.restart()?;
        if case.forgets_revision {
            crowd.plane.compact()?;
        }
        if case.cuts {
            proxy.cut();
        } else {
            proxy.go_on();
        }
        let output = run.end()?;
        let said = stderr(&output);
        if case.forgets_token {
            assert_eq!(output.status.code(), Some(1), "{name}: {said}");
            assert!(said.contains("401"), "{name}: {said}");
            assert!(scratch.has_no_report()?, "{name}");
        } else {
            assert!(output.status.success(), "{name}: {said}");
            assert_whole(&held, &held, &rows(&scratch.store())?);
            let expired = crowd.lists(410)?;
            assert_eq!(expired, usize::from(case.forgets_revision), "{name}");
        }
    }
    Ok(())
}

/// How an API server that crashed is when it is back.
struct Comeback {
    name: &'static str,
    /// The revision of the list that is under way is gone from etcd.
    forgets_revision: bool,
    forgets_token: bool,
    /// Bytes of a page that are on their way when it crashes do not arrive.
    cuts: bool,
}
