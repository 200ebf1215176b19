"""docs/benchmarks.md: what was measured on what, goals first. What stands outside the marks is written by hand."""

import datetime
import os
import pathlib
import platform
import re
import subprocess

from measure import ROOT, TOOLS, version
from runs import table

PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- scripts/bench writes this -->", "<!-- until here -->"


def said(*command):
    """The first thing in a program's answer that looks like a version."""
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return re.search(r"v?\d+\.\d+[\w.+-]*", done.stdout)[0]


def machine():
    cpu = re.search(r"^model name\s*:\s*(.+)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) / (1 << 20)
    name = cpu[1] if cpu else platform.processor()
    return f"{os.cpu_count()} cores ({name}), {memory:.0f} GiB of memory, Linux {platform.release()} {platform.machine()}"


def about(program, profile, load):
    """Machine and versions."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    return [
        ["date", f"{datetime.date.today()}"],
        ["machine", machine()],
        ["load average at the start", f"{load:.1f}"],
        ["image-census", f"{said(program, '--version')}, commit {commit.strip() or 'unknown'}, Cargo profile {profile}"],
        ["crane", said(TOOLS / "crane", "version")],
        ["Kubernetes' API server, kubectl; etcd", f"{version('KUBERNETES')}; {version('ETCD')}"],
        ["docker-registry", said("docker-registry", "--version")],
        ["versitygw", version("VERSITYGW")],
        ["syft; skopeo; curl", f"{version('SYFT')}; {said('skopeo', '--version')}; {said('curl', '--version')}"],
    ]


def text(facts, goals, sections):
    lines = [
        *(f"- {name}: {fact}" for name, fact in facts),
        "",
        "## Goals",
        "",
        *table(["what", "figure", "goal", "met"], [goal.row() for goal in goals]),
        "",
    ]
    return "\n".join(lines) + "\n" + "\n\n".join(sections)


def write(text):
    before, rest = PAGE.read_text().split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
