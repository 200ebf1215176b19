"""What scripts/compare and scripts/bench have in common: programs, a registry, and measured processes."""

import contextlib
import os
import pathlib
import re
import subprocess
import sys
import time
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools" / "bin"
SYFT_ENVIRONMENT = os.environ | {
    "SYFT_CHECK_FOR_APP_UPDATE": "false",
    "SYFT_REGISTRY_INSECURE_USE_HTTP": "true",
    "SYFT_FILE_METADATA_SELECTION": "none",
}


def version(name):
    """What scripts/versions.env pins."""
    text = (ROOT / "scripts" / "versions.env").read_text()
    return re.search(rf"^{name}_VERSION=(\S+)", text, re.M)[1]


def build(profile, *tools):
    """Installs tools and compiles; the paths of image-census and of the example that makes fixtures."""
    subprocess.run([ROOT / "scripts" / "tools", *tools], check=True)
    subprocess.run(
        ["cargo", "build", "--locked", "--profile", profile, "--bin", "image-census", "--example", "fixtures"],
        cwd=ROOT,
        check=True,
    )
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    folder = target / ("debug" if profile == "dev" else profile)
    return folder / "image-census", folder / "examples" / "fixtures"


def syft_command(reference):
    """The least that syft can be asked for an image's distribution, so that its time is not spent on packages."""
    least = ["--override-default-catalogers", "dpkg-db-cataloger", "--output", "json", "--quiet"]
    return [TOOLS / "syft", "scan", f"registry:{reference}", *least]


@contextlib.contextmanager
def registry(folder):
    """An empty registry on loopback: its address, and its log, a line a request."""
    folder.mkdir()
    log = folder / "log"
    with open(log, "w") as out:
        server = subprocess.Popen(
            [TOOLS / "crane", "registry", "serve", "--address", "127.0.0.1:0", "--disk", folder],
            stdout=subprocess.DEVNULL,
            stderr=out,
        )
    try:
        for _ in range(500):
            port = re.search(r"serving on port (\d+)", log.read_text())
            if port:
                break
            time.sleep(0.02)
        else:
            sys.exit(f"{sys.argv[0]}: crane's registry does not start")
        yield f"127.0.0.1:{port[1]}", log
    finally:
        server.kill()
        server.wait()


@dataclass
class Measured:
    """A process that ended well: wall and CPU seconds, with those that it started.

    The memory is that of the largest process of them, in MiB.
    """

    seconds: float
    cpu: float
    peak: float
    output: bytes


def measured(command, **options):
    """Runs a command, which must succeed. Its memory is at least that of this script: a child begins as its copy."""
    started = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, **{"stdout": subprocess.PIPE} | options)
    output = process.stdout.read() if process.stdout else b""
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{sys.argv[0]}: {command} ended with {process.returncode}: {said.decode(errors='replace')[-2000:]}")
    seconds = time.monotonic() - started
    return Measured(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output)
