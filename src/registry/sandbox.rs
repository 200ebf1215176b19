//! Starts crane so that the kernel itself lets it connect to the guard only.
//!
//! Go's client goes past every proxy to `localhost` and 127.0.0.0/8, so that a redirect or a token realm
//! could lead crane to whatever listens beside us in the pod. Landlock (Linux 6.7) restricts a thread and
//! what it starts to the TCP ports that it may connect to; it needs no privilege. Where the kernel cannot,
//! the program says so once, and the rest of the guard stays.

use std::io;

use tokio::process::{Child, Command};

/// Whether and how processes are confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Confinement {
    /// Not at all: on a person's machine, or by an older kernel.
    None,
    /// To the guard's port, and to one more where the registry is on this machine.
    Ports([u16; 2]),
}

/// Starts a process.
pub(super) fn spawn(command: &mut Command, confinement: Confinement) -> io::Result<Child> {
    match confinement {
        Confinement::None => command.spawn(),
        Confinement::Ports(ports) => spawn_confined(command, &ports),
    }
}

/// What is restricted is a thread, for good: each process gets one of its own to start from.
#[cfg(target_os = "linux")]
fn spawn_confined(command: &mut Command, ports: &[u16]) -> io::Result<Child> {
    let runtime = tokio::runtime::Handle::current();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("confined".into());
        let spawned = thread.spawn_scoped(scope, || {
            confine(ports)?;
            let _context = runtime.enter();
            command.spawn()
        })?;
        let failed = |_| io::Error::other("the thread that starts crane failed");
        spawned.join().map_err(failed)?
    })
}

#[cfg(not(target_os = "linux"))]
fn spawn_confined(command: &mut Command, _ports: &[u16]) -> io::Result<Child> {
    command.spawn()
}

/// Whether the kernel can confine.
#[cfg(target_os = "linux")]
pub(super) fn is_possible() -> bool {
    let tried = std::thread::spawn(|| confine(&[])).join();
    tried.is_ok_and(|result| result.is_ok())
}

/// Whether the kernel can confine.
#[cfg(not(target_os = "linux"))]
pub(super) fn is_possible() -> bool {
    false
}

/// Restricts this thread, and what it starts, to these ports.
#[cfg(target_os = "linux")]
fn confine(ports: &[u16]) -> io::Result<()> {
    use landlock::{
        AccessNet, CompatLevel, Compatible, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr,
        RulesetError,
    };
    let connect = AccessNet::ConnectTcp;
    let rules = ports
        .iter()
        .map(|port| Ok::<_, RulesetError>(NetPort::new(*port, connect)));
    let restrict = || {
        Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(connect)?
            .create()?
            .add_rules(rules)?
            .restrict_self()
    };
    restrict().map_err(io::Error::other).map(drop)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::Write;

    /// A shell that tries to connect, as bash can by itself.
    async fn connects(port: u16, confinement: Confinement) -> io::Result<bool> {
        let mut command = Command::new("bash");
        command.args(["-c", &format!("exec 3<>/dev/tcp/127.0.0.1/{port}")]);
        command.stderr(std::process::Stdio::null());
        Ok(spawn(&mut command, confinement)?.wait().await?.success())
    }

    #[tokio::test]
    async fn a_confined_process_connects_to_its_ports_only() -> io::Result<()> {
        if !is_possible() {
            let why = "not tested: this kernel has no Landlock of Linux 6.7";
            // Nobody would miss a part that never runs in CI.
            if std::env::var_os("CI").is_some() {
                return Err(io::Error::other(why));
            }
            return writeln!(io::stderr(), "{why}");
        }
        let listen = || std::net::TcpListener::bind("127.0.0.1:0");
        let listeners = [listen()?, listen()?, listen()?];
        let port = |listener: &std::net::TcpListener| Ok(listener.local_addr()?.port());
        let ports: io::Result<Vec<u16>> = listeners.iter().map(port).collect();
        let [guard, registry, other] = ports?[..] else {
            return Err(io::Error::other("three ports"));
        };
        let confined = Confinement::Ports([guard, registry]);
        assert!(connects(guard, confined).await?);
        assert!(connects(registry, confined).await?);
        assert!(!connects(other, confined).await?);
        // This thread is as free as before.
        assert!(connects(other, Confinement::None).await?);
        Ok(())
    }
}
