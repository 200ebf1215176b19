//! What a cluster that ended, or was killed, leaves on the machine: nothing.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::cluster::script;
use crate::harness::running::{assert_no_process_with, until};
use crate::harness::{Result, stderr, succeed};

/// Control groups of clusters that were started by a process: in each hierarchy, or in the one.
fn groups(supervisor: &str) -> Result<Vec<PathBuf>> {
    let name = format!("image-census-{supervisor}");
    let all = Path::new("/sys/fs/cgroup");
    let mut found = vec![all.join(&name)];
    for hierarchy in fs::read_dir(all)? {
        found.push(hierarchy?.path().join(&name));
    }
    found.retain(|group| group.is_dir());
    Ok(found)
}

/// Settings of the machine that a kubelet would change, and whether it has the cluster's network.
fn machine() -> Result<(Vec<String>, bool)> {
    let settings = [
        "kernel/panic",
        "kernel/panic_on_oops",
        "vm/overcommit_memory",
    ];
    let values = settings.map(|name| fs::read_to_string(format!("/proc/sys/{name}")));
    let devices = succeed(Command::new("ip").args(["-brief", "link"]))?;
    let values = values.into_iter().collect::<std::result::Result<_, _>>();
    Ok((values?, devices.contains("lab0")))
}

fn supervisor(folder: &Path) -> Result<String> {
    let ids = fs::read_to_string(folder.join("run.pids"))?;
    Ok(ids.split_whitespace().next().ok_or("no id")?.to_owned())
}

fn assert_nothing_runs(folder: &Path, supervisor: &str) -> Result {
    assert_no_process_with(&format!("{}/", folder.display()))?;
    assert_eq!(groups(supervisor)?, <[PathBuf; 0]>::default());
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    assert!(!mounts.contains(&*folder.to_string_lossy()), "{mounts}");
    Ok(())
}

fn assert_only_logs(folder: &Path) -> Result {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        assert!(name.to_string_lossy().ends_with(".log"), "{name:?} is left");
    }
    Ok(())
}

#[test]
fn a_cluster_that_ended_or_was_killed_leaves_nothing_but_its_logs() -> Result {
    let folder = tempfile::tempdir()?;
    let folder = folder.path();
    let before = machine()?;

    // It ends with what it is tied to.
    let mut up = script("up", folder);
    let mut up = up.arg("--tied").stdin(Stdio::piped()).spawn()?;
    let mut tie = up.stdin.take().ok_or("no standard input")?;
    assert!(up.wait()?.success());
    tie.write_all(b"nothing of interest")?;
    let first = supervisor(folder)?;
    assert!(!groups(&first)?.is_empty());
    succeed(&mut script("status", folder))?;
    let mut again = script("up", folder);
    let again = again.output()?;
    assert!(
        stderr(&again).contains("runs already"),
        "{}",
        stderr(&again)
    );
    drop(tie);
    until("the end", || Ok(groups(&first)?.is_empty()))?;
    assert_nothing_runs(folder, &first)?;
    assert!(!script("status", folder).output()?.status.success());

    // What starts it is killed, and it ends, too.
    let mut up = script("up", folder).spawn()?;
    until("the start", || {
        Ok(supervisor(folder).is_ok() && folder.join("etcd").exists())
    })?;
    let second = supervisor(folder)?;
    up.kill()?;
    up.wait()?;
    until("the end", || Ok(groups(&second)?.is_empty()))?;
    assert_nothing_runs(folder, &second)?;

    // Its outermost process is killed: all others end with it, and the next one clears up.
    succeed(&mut script("up", folder))?;
    let third = supervisor(folder)?;
    succeed(Command::new("kill").args(["-KILL", &third]))?;
    assert_no_process_with(&format!("{}/", folder.display()))?;
    succeed(&mut script("up", folder))?;
    assert_eq!(groups(&third)?, <[PathBuf; 0]>::default());
    let fourth = supervisor(folder)?;
    succeed(Command::new("kill").args(["-KILL", &fourth]))?;
    succeed(&mut script("down", folder))?;
    assert_nothing_runs(folder, &fourth)?;
    assert_only_logs(folder)?;
    assert_eq!(machine()?, before);
    Ok(())
}

#[test]
fn where_there_can_be_no_cluster_a_plain_message_says_why() -> Result {
    let folder = tempfile::tempdir()?;
    let refused = |setpriv: &[&str], reason: &str| -> Result {
        let up = script("up", &folder.path().join("cluster"));
        let mut command = Command::new("setpriv");
        command.args(setpriv).arg(up.get_program());
        let output = command.args(up.get_args()).output()?;
        assert!(!output.status.success());
        let said = stderr(&output);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(reason), "{said}");
        Ok(())
    };
    refused(
        &["--bounding-set=-sys_admin"],
        "this machine does not let root make",
    )?;
    refused(&["--reuid=65534", "--clear-groups"], "needs root")?;
    // What is no cluster's is left alone.
    let other = folder.path().join("other");
    fs::create_dir(&other)?;
    fs::write(other.join("kubeconfig"), "mine")?;
    let output = script("up", &other).output()?;
    assert!(
        stderr(&output).contains("choose a new folder"),
        "{}",
        stderr(&output)
    );
    succeed(&mut script("down", &other))?;
    assert_eq!(fs::read_to_string(other.join("kubeconfig"))?, "mine");
    Ok(())
}
