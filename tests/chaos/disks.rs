//! A folder whose disk has any amount of room left, or becomes read-only while a run is under way.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::statvfs;

use crate::harness::mounts::Held;
use crate::harness::random::Random;
use crate::harness::running::{Ended, Running};
use crate::harness::store::Store;
use crate::harness::{Result, succeed};
use crate::nights::{
    Before, NEXT, Nights, Rooms, TONIGHT, examine, is_complete, last_line, unfinished,
};
use crate::tally::{Tally, Wrong, rounds};

const IDLE: usize = 1_500;
const LIMIT: Duration = Duration::from_secs(120);

/// A store on a disk of its own, with its earlier night.
struct Disk {
    nights: Nights,
    held: Held,
    store: Store,
    before: Before,
    rooms: Rooms,
    _folder: tempfile::TempDir,
}

impl Disk {
    fn new() -> Result<Self> {
        let nights = Nights::new(IDLE)?;
        let folder = tempfile::tempdir()?;
        let held = Held::start(
            folder.path(),
            r#"mount -t tmpfs -o size=32m none "$FOLDER""#,
        )?;
        let store = Store::At(held.path().join("store"));
        let before = Before::take(&nights, &store)?;
        Ok(Self {
            nights,
            held,
            store,
            before,
            rooms: Rooms::new()?,
            _folder: folder,
        })
    }

    fn free(&self) -> Result<u64> {
        let found = statvfs(self.held.path())?;
        Ok(found.f_bavail * found.f_frsize)
    }

    fn start(&self) -> Result<Running> {
        let mut command = self.nights.snapshot(&self.store, "tonight", TONIGHT)?;
        self.rooms.give_to(&mut command);
        Running::start(&mut command)
    }

    /// After a round: the night is there, or the error says why not; nothing half-written is left, and the
    /// next night is fine. Whether it was there.
    fn judge(&self, ended: &Ended, why: &str, tally: &mut Tally) -> Result<bool> {
        let Self { store, before, .. } = self;
        let said = last_line(&ended.stderr);
        let committed = examine(store, &before.runs, tally)?;
        let new = committed.len() - before.runs.len();
        match ended.status.code() {
            Some(0) if new == 1 => {}
            Some(1) if new == 0 && said.contains("error: ") && said.contains(why) => {}
            _ if new > 0 => tally.wrong(Wrong::HalfVisible, format!("{}: {said}", ended.status)),
            _ => tally.wrong(Wrong::Lost, format!("{}: {said}", ended.status)),
        }
        let left = (unfinished(store)?, self.rooms.left()?);
        if left != (0, Vec::new()) {
            tally.wrong(Wrong::Leaked, format!("{left:?} after {said}"));
        }
        Ok(new == 1)
    }

    /// The next night, on a disk that is well again.
    fn next(&self, tally: &mut Tally) -> Result {
        let Self {
            nights,
            store,
            before,
            ..
        } = self;
        let committed = examine(store, &before.runs, tally)?;
        succeed(&mut nights.snapshot(store, "tonight", NEXT)?)?;
        let after = examine(store, &committed, tally)?;
        let newest = after.last().ok_or("no run")?;
        if after.len() != committed.len() + 1 || !is_complete(&store.root(), newest) {
            tally.wrong(Wrong::Lost, "the next night is missing or not complete");
        }
        before.restore(store)
    }
}

/// Writes so many zeros.
fn fill(path: &Path, mut size: u64) -> Result {
    let mut file = fs::File::create(path)?;
    let block = [0; 65_536];
    while size > 0 {
        let count = size.min(65_536);
        file.write_all(&block[..usize::try_from(count)?])?;
        size -= count;
    }
    Ok(())
}

#[test]
fn a_disk_that_is_full_at_any_level_leaves_what_there_was() -> Result {
    let disk = Disk::new()?;
    let empty = disk.free()?;
    let ended = disk.start()?.wait(LIMIT, || Ok(()))?;
    assert!(ended.status.success(), "{}", ended.stderr);
    let needed = empty - disk.free()?;
    disk.before.restore(&disk.store)?;

    let count = rounds(6, 100);
    let mut tally = Tally::new("the disk has less room than a night takes, at each level");
    let mut committed = 0;
    let other = disk.held.path().join("other");
    for round in 0..count {
        tally.round();
        // From nothing at all to a page more than enough.
        let share = u64::try_from(round)? * (needed + 4_096) / u64::try_from(count - 1)?;
        let room = share / 4_096 * 4_096;
        fill(&other, disk.free()? - room)?;
        let ended = disk.start()?.wait(LIMIT, || Ok(()))?;
        let why = "the disk is full; free some space";
        committed += usize::from(disk.judge(&ended, why, &mut tally)?);
        fs::remove_file(&other)?;
        disk.next(&mut tally)?;
    }
    assert!((1..count).contains(&committed), "{committed} of {count}");
    tally.finish(&format!(
        "of {} KiB that a night takes; {committed} were committed, with room for all or all but `latest`",
        needed / 1_024
    ))
}

#[test]
fn a_disk_that_becomes_read_only_leaves_what_there_was() -> Result {
    let mut disk = Disk::new()?;
    let (mut random, seed) = Random::seeded()?;
    writeln!(std::io::stderr(), "read-only: CHAOS_SEED={seed}")?;
    let length = disk.start()?.wait(LIMIT, || Ok(()))?.took;
    disk.before.restore(&disk.store)?;
    let mut tally = Tally::new("the file system becomes read-only at a random moment");
    let count = rounds(4, 50);
    let mut committed = 0;
    for round in 0..count {
        tally.round();
        let running = disk.start()?;
        let share = u64::try_from(round)? * 1_000 + random.below(1_000);
        std::thread::sleep(length * u32::try_from(share / u64::try_from(count)?)? / 1_000);
        // The system refuses it while a file is open to be written.
        let started = Instant::now();
        while !disk.held.command(r#"mount -o remount,ro "$FOLDER""#)? {
            assert!(started.elapsed() < LIMIT, "never read-only");
        }
        let ended = running.wait(LIMIT, || Ok(()))?;
        committed += usize::from(disk.judge(&ended, "the file system is read-only", &mut tally)?);
        assert!(disk.held.command(r#"mount -o remount,rw "$FOLDER""#)?);
        disk.next(&mut tally)?;
    }
    assert!(committed < count, "never in time");
    tally.finish(&format!(
        "{committed} were committed before it; seed {seed}"
    ))
}
