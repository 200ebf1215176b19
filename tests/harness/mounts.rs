//! A folder under which other file systems are mounted, seen by one command only: a full disk, a
//! read-only one.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use super::Result;

/// Runs the mounts, then the program with its arguments, then notes which files there are; the exit
/// code is the program's. A mount that fails is 99.
const SCRIPT: &str = r#"
eval "$MOUNTS" || exit 99
"$@"
code=$?
find "$FOLDER" ! -type d -printf '%P\n' >"$FOUND"
exit "$code"
"#;

/// What became of a command, and the files in the folder after it.
pub(crate) struct Mounted {
    pub(crate) output: Output,
    pub(crate) files: Vec<String>,
}

/// Runs `command` in a mount namespace of its own, after the shell commands `mounts`, which find the
/// folder as `$FOLDER`. The mounts end with the command.
pub(crate) fn run(folder: &Path, mounts: &str, command: &Command) -> Result<Mounted> {
    let found = tempfile::NamedTempFile::new()?;
    let mut unshare = unshare();
    unshare.args(["sh", "-c", SCRIPT, "sh"]);
    unshare.arg(command.get_program()).args(command.get_args());
    copy_environment(command, &mut unshare);
    unshare
        .env("MOUNTS", mounts)
        .env("FOLDER", folder)
        .env("FOUND", found.path());
    let output = unshare.output()?;
    if output.status.code() == Some(99) {
        return Err(format!("{mounts}: {}", super::stderr(&output)).into());
    }
    let files = std::fs::read_to_string(found.path())?;
    let mut files: Vec<_> = files.lines().map(Into::into).collect();
    files.sort();
    Ok(Mounted { output, files })
}

/// A mount namespace of its own.
fn unshare() -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private"]);
    if !is_root() {
        // In a user namespace of its own anybody may mount.
        unshare.arg("--map-root-user");
    }
    unshare
}

/// A folder under which something else is mounted for as long as this lives, seen by whoever goes there by
/// [`Held::path`].
pub(crate) struct Held {
    shell: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl Held {
    /// Mounts: shell commands that find the folder as `$FOLDER`.
    pub(crate) fn start(folder: &Path, mounts: &str) -> Result<Self> {
        let mut unshare = unshare();
        // Each line is a command; the answer is its exit code.
        let script = r#"while read -r line; do eval "$line" >&2; echo "$?"; done"#;
        unshare.args(["sh", "-c", script]).env("FOLDER", folder);
        unshare.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = unshare.stderr(Stdio::null()).spawn()?;
        let commands = shell.stdin.take().ok_or("no standard input")?;
        let answers = shell.stdout.take().ok_or("no standard output")?;
        let mut held = Self {
            shell,
            commands,
            answers: BufReader::new(answers),
            folder: folder.to_owned(),
        };
        if held.command(mounts)? {
            Ok(held)
        } else {
            Err(format!("could not be mounted: {mounts}").into())
        }
    }

    /// Runs a shell command among the mounts; whether it succeeds.
    pub(crate) fn command(&mut self, line: &str) -> Result<bool> {
        writeln!(self.commands, "{line}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer.trim() == "0")
    }

    /// Where everybody sees what is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.shell.id()));
        root.join(self.folder.strip_prefix("/").unwrap_or(&self.folder))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// `command` as somebody for whom the permissions of folders hold: root passes by them unless it
/// gives up the capabilities for that.
pub(crate) fn under_permissions(command: &Command) -> Command {
    if !is_root() {
        let mut same = Command::new(command.get_program());
        same.args(command.get_args());
        copy_environment(command, &mut same);
        return same;
    }
    let mut setpriv = Command::new("setpriv");
    setpriv.arg("--bounding-set=-dac_override,-dac_read_search");
    setpriv.arg(command.get_program()).args(command.get_args());
    copy_environment(command, &mut setpriv);
    setpriv
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Gives a command the variables of another.
pub(super) fn copy_environment(from: &Command, to: &mut Command) {
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => to.env::<&OsStr, &OsStr>(name, value),
            None => to.env_remove(name),
        };
    }
}
