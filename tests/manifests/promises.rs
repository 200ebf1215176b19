//! What is true of the objects of every set-up: labels, rights, times.

use serde_json::{Value, json};

use crate::harness::Result;
use crate::harness::helm::RELEASE;
use crate::objects::Objects;

/// All that is ours is found by one label, in what the CronJobs make, too.
pub(crate) fn assert_labelled(name: &str, objects: &Objects) {
    for (object, value) in objects {
        let job = &value["spec"]["jobTemplate"];
        let mut all = vec![value];
        if !job.is_null() {
            all.extend([job, &job["spec"]["template"]]);
        }
        for part in all {
            assert_eq!(
                part["metadata"]["labels"]["app.kubernetes.io/name"], RELEASE,
                "{name}: {object}"
            );
        }
    }
}

/// What the accounts may do, and what their pods may reach, whatever is chosen.
pub(crate) fn assert_rights(name: &str, objects: &Objects) {
    for (object, value) in objects {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        if object.starts_with("ClusterRole ") {
            let listed =
                json!([{"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["list"]}]);
            assert_eq!(value["rules"], listed, "{name}: {object}");
        }
        if object.starts_with("Role ") {
            for rule in list(&value["rules"]) {
                assert_eq!(rule["verbs"], json!(["get"]), "{name}: {object}");
                assert!(!list(&rule["resourceNames"]).is_empty(), "{name}: {object}");
            }
        }
        // The account that may delete objects has no rights in the cluster.
        for subject in list(&value["subjects"]) {
            assert_eq!(subject["name"], RELEASE, "{name}: {object}");
        }
        // One account has no use of the other's keys.
        if object.starts_with("CronJob ") {
            let text = value.to_string();
            let is_prune = object.ends_with("-prune");
            assert_eq!(text.contains("image-census-prune-object-store"), is_prune);
            let nightly = text.contains("\"image-census-object-store\"");
            assert!(!(nightly && is_prune), "{name}: {object}");
        }
        if object.starts_with("NetworkPolicy ") {
            let mut open = Vec::new();
            for rule in list(&value["spec"]["egress"]) {
                let ports: Vec<_> = list(&rule["ports"])
                    .iter()
                    .map(|port| port["port"].clone())
                    .collect();
                for peer in list(&rule["to"]) {
                    open.push(json!([peer["ipBlock"], ports]));
                }
                if list(&rule["to"]).is_empty() {
                    assert_eq!(ports, [53, 53], "{name}");
                }
            }
            let mut expected = vec![
                json!([{"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}, [443, 6443]]),
                json!([{"cidr": "::/0", "except": ["fe80::/10", "fd00:ec2::/32"]}, [443, 6443]]),
            ];
            if name.starts_with("pod-identity") || name.starts_with("everything") {
                expected.push(json!([{"cidr": "169.254.170.23/32"}, [80]]));
                expected.push(json!([{"cidr": "fd00:ec2::23/128"}, [80]]));
            }
            if name.starts_with("pushgateway") {
                // Pods only, of any namespace.
                expected.push(json!([null, [9091]]));
            }
            assert_eq!(open, expected, "{name}");
        }
    }
}

/// What each attempt needs beside the deadline: to write the report, and to start.
const WRITING: u64 = 5 * 60;
const STARTING: u64 = 5 * 60;

/// The Job leaves its attempts the time that the program may take, and repeats none in vain.
pub(crate) fn assert_times_agree(name: &str, objects: &Objects) -> Result {
    let settings = &objects["ConfigMap image-census/image-census"]["data"];
    let minutes = settings["IMAGE_CENSUS_DEADLINE"].as_str();
    let minutes = minutes.and_then(|time| time.strip_suffix('m'));
    let deadline = minutes.ok_or("no deadline in minutes")?.parse::<u64>()? * 60;
    let cron_job = &objects["CronJob image-census/image-census"]["spec"];
    let job = &cron_job["jobTemplate"]["spec"];
    let number = |value: &Value| value.as_u64().ok_or(format!("{name}: {value}"));
    let attempts = number(&job["backoffLimit"])? + 1;
    assert_eq!(attempts, 2, "{name}: one retry");
    let needed = attempts * (deadline + WRITING + STARTING);
    let active = number(&job["activeDeadlineSeconds"])?;
    assert!(active >= needed, "{name}: {active} s, and {needed} needed");
    let pod = &job["template"]["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 120, "{name}");
    // Attempts are the Job's: the kubelet starts no container anew.
    assert_eq!(pod["restartPolicy"], "Never", "{name}");
    assert_eq!(cron_job["concurrencyPolicy"], "Forbid", "{name}");
    let failed = |container: &str, codes: &Value| {
        json!([
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {
                "containerName": container, "operator": "In", "values": codes,
            }},
        ])
    };
    assert_eq!(
        job["podFailurePolicy"]["rules"],
        failed(RELEASE, &json!([2, 3])),
        "{name}"
    );
    if let Some(prune) = objects.get("CronJob image-census/image-census-prune") {
        let job = &prune["spec"]["jobTemplate"]["spec"];
        let rules = &job["podFailurePolicy"]["rules"];
        assert_eq!(*rules, failed("prune", &json!([2])), "{name}");
        let pod = &job["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], "image-census-prune", "{name}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
    }
    Ok(())
}
