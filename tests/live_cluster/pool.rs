//! One image on a pool of nodes of three platforms: each row has its own platform's facts.

use crate::fixtures::api::Api;
use crate::fixtures::distributions as distro;
use crate::fixtures::images::{ImageSpec, Platform};
use crate::fixtures::indexes::ImageIndex;
use crate::fixtures::nodes::Node;
use crate::fixtures::pods::{Container, Pod, Workload};
use crate::harness::control_plane::ControlPlane;
use crate::harness::registry::Registry;
use crate::harness::{Result, crane, rows, succeed};
use crate::{Scratch, fixtures, snapshot};

/// A build of Windows Server 2022, of an update later than the image's.
const NODE_BUILD: &str = "10.0.20348.2700";

#[test]
fn one_index_on_nodes_of_three_platforms_is_three_images() -> Result {
    let plane = ControlPlane::start()?;
    let registry = Registry::start()?;
    let index = ImageIndex {
        images: vec![
            ImageSpec::new(Platform::windows("10.0.17763.6000")).layer(distro::windows()),
            ImageSpec::new(Platform::windows("10.0.20348.2500")).layer(distro::windows()),
            ImageSpec::new(Platform::linux("arm64").variant("v8")).layer(distro::alpine("3.24.1")),
            ImageSpec::new(Platform::linux("amd64")).layer(distro::debian_12()),
        ],
        attested: true,
        ..ImageIndex::default()
    }
    .build();
    let reference = format!("{}/pool/agent:1", registry.address);
    fixtures::registry::push(&index, &crane()?, &reference)?;

    let api = Api::connect(&plane.kubeconfig())?;
    api.add_nodes(&[
        Node::new("a", "linux", "amd64"),
        Node::new("b", "linux", "arm64"),
        Node::new("c", "windows", "amd64").kernel(NODE_BUILD),
    ])?;
    api.add_namespaces(["pool"])?;
    let pods = ["a", "b", "c"]
        .into_iter()
        .enumerate()
        .map(|(ordinal, node)| {
            let container = Container::new("agent", &reference).running(index.digest());
            let pod = Pod::new("pool", Workload::daemon_set("agent"), ordinal);
            pod.node(node).container(container)
        });
    api.add_pods(pods)?;

    let scratch = Scratch::new()?;
    succeed(&mut snapshot(&plane.kubeconfig(), &scratch.store())?)?;
    let mut found: Vec<_> = rows(&scratch.store())?
        .iter()
        .map(|row| {
            let cells = [
                "node",
                "platform",
                "os",
                "architecture",
                "os_version",
                "distro_id",
                "distro_version",
                "distro_release",
                "inspection_status",
            ];
            cells.map(|name| row[name].clone()).join(" ")
        })
        .collect();
    found.sort();
    let windows = format!(
        "c windows/amd64:{NODE_BUILD} windows amd64 10.0.20348.2500   Windows Server 2022 ok"
    );
    assert_eq!(
        found,
        [
            "a linux/amd64 linux amd64  debian 12 12.15 ok",
            "b linux/arm64 linux arm64  alpine 3.24.1 3.24.1 ok",
            &windows,
        ]
    );
    let mut digests: Vec<_> = rows(&scratch.store())?
        .iter()
        .map(|row| (row["digest"].clone(), row["manifest_digest"].clone()))
        .collect();
    assert!(digests.iter().all(|(digest, _)| digest == index.digest()));
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), 3);
    Ok(())
}
