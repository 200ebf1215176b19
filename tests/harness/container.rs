//! The built image (`scripts/image --local`), run as a node would run the CronJob's container: its own
//! mounts and processes, a root that is read-only, user 65532, no capabilities, no new privileges.
//!
//! Namespaces and mounts do what a container runtime does, which a test machine need not have; the
//! network is the machine's, where the tests' servers are. Needs root, as building the image did.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::cluster::Cluster;
use super::{Result, root, succeed};

/// What `scripts/image --local` calls it.
const IMAGE: &str = "localhost/image-census:test";

/// Where its program is.
pub(crate) const PROGRAM: &str = "/usr/local/bin/image-census";

/// What a runtime provides, beside the image: devices, shared memory, processes, names. `$1` is the root, `$2` the
/// size of /tmp or nothing, the rest variables and the program. It becomes the program, as process 1.
const RUN: &str = r#"
set -eu
root=$1 tmp=$2
shift 2
mount --bind "$root" "$root"
cd "$root"
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero random urandom; do
  : >"dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/shm
mount -t tmpfs -o mode=1777,size=64m shm dev/shm
for file in hosts resolv.conf; do mount --bind "/etc/$file" "etc/$file"; done
if [ -n "$tmp" ]; then mount -t tmpfs -o "mode=1777,size=$tmp" tmpfs tmp; fi
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs env -i "$@"
"#;

/// A container's file system, made of the image; it is removed when this is dropped.
pub(crate) struct Container {
    id: String,
    files: PathBuf,
}

impl Container {
    /// A fresh one.
    pub(crate) fn create() -> Result<Self> {
        let id = succeed(buildah()?.args(["from", "--pull-never", IMAGE])).map_err(no_image)?;
        let mut container = Self {
            id: id.trim().to_owned(),
            files: PathBuf::new(),
        };
        let files = succeed(buildah()?.args(["mount", &container.id]))?;
        container.files = files.trim().into();
        Ok(container)
    }

    /// Its files: those of the image, until something has run.
    pub(crate) fn files(&self) -> &Path {
        &self.files
    }

    /// What runs `program` in it, with the image's variables and the program's. `tmp` is the size of
    /// a writable /tmp, if there is to be one.
    pub(crate) fn run(&self, program: &Command, tmp: Option<&str>) -> Result<Command> {
        // Runtimes make what is missing to mount things on.
        for folder in ["proc", "dev"] {
            fs::create_dir_all(self.files.join(folder))?;
        }
        for file in ["hosts", "resolv.conf"] {
            fs::write(self.files.join("etc").join(file), "")?;
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child"]);
        command.args(["--propagation", "private", "sh", "-c", RUN, "sh"]);
        command.arg(&self.files).arg(tmp.unwrap_or_default());
        // As runtimes set it for a user whom no /etc/passwd names.
        command.arg("HOME=/");
        for variable in configuration()?["config"]["Env"]
            .as_array()
            .into_iter()
            .flatten()
        {
            command.arg(variable.as_str().ok_or("a variable is no text")?);
        }
        for (name, value) in program.get_envs() {
            let mut variable = name.to_owned();
            variable.push("=");
            variable.push(value.unwrap_or_default());
            command.arg(variable);
        }
        command.args(["/usr/sbin/chroot", "--userspec=65532:65532"]);
        command.args(["--groups=65532"]).arg(&self.files);
        command.arg(program.get_program()).args(program.get_args());
        command.stdin(Stdio::null());
        Ok(command)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Ok(mut command) = buildah() {
            let _ = command.args(["rm", &self.id]).output();
        }
    }
}

/// What the image says of itself, with its `config` and `history`, as the OCI specifies it.
pub(crate) fn configuration() -> Result<Value> {
    let inspected = succeed(buildah()?.args(["inspect", "--type", "image", IMAGE]));
    let image: Value = serde_json::from_str(&inspected.map_err(no_image)?)?;
    Ok(image["OCIv1"].clone())
}

/// The SBOM beside the image.
pub(crate) fn sbom() -> Result<Value> {
    let file = root().join(".tools/containers/image-census.spdx.json");
    let sbom = fs::read(file).map_err(|error| no_image(error.into()))?;
    Ok(serde_json::from_slice(&sbom)?)
}

/// Pushes the image to a cluster's registry; its digest.
pub(crate) fn push(cluster: &Cluster, reference: &str) -> Result<String> {
    let digest = tempfile::NamedTempFile::new()?;
    let mut buildah = buildah()?;
    buildah.args(["push", "--quiet", "--tls-verify=false", "--digestfile"]);
    buildah.arg(digest.path()).arg(IMAGE);
    buildah.arg(format!("docker://{reference}"));
    succeed(&mut cluster.enter(&buildah)).map_err(no_image)?;
    Ok(fs::read_to_string(digest.path())?.trim().to_owned())
}

/// buildah, with the storage of `scripts/local-bases`.
fn buildah() -> Result<Command> {
    let storage = root().join(".tools/containers/storage.conf");
    if !storage.exists() {
        return Err(no_image("there is no storage".into()));
    }
    let mut command = Command::new("buildah");
    command.env("CONTAINERS_STORAGE_CONF", storage);
    Ok(command)
}

fn no_image(cause: Box<dyn std::error::Error>) -> Box<dyn std::error::Error> {
    format!("there is no image: run scripts/image --local, as root ({cause})").into()
}
