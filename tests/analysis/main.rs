//! The recipes of docs/analysis.md.

#[path = "../fixtures/mod.rs"]
mod fixtures;
#[path = "../harness/mod.rs"]
mod harness;
mod nights;

use harness::Result;

#[test]
fn x() -> Result {
    let t = std::time::Instant::now();
    let nights = nights::Nights::take()?;
    println!("{:?}", t.elapsed());
    let target = std::env::var("KEEP")?;
    harness::succeed(std::process::Command::new("cp").arg("-r").arg(nights.folder()).arg(&target))?;
    harness::succeed(std::process::Command::new("cp").arg("-r").arg(nights.server.bucket()).arg(format!("{target}-s3")))?;
    println!("{:?}", t.elapsed());
    Ok(())
}
