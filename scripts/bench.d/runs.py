"""Nights of image-census, and what is said about them."""

import statistics
import subprocess
from dataclasses import dataclass

from measure import TOOLS, measured

MIB = 1 << 20


@dataclass
class Bench:
    """What is measured: programs, their engines, a folder for everything, and how large all is."""

    program: str
    fixtures: str
    engines: list
    quick: bool

    def size(self, whole, quick):
        return quick if self.quick else whole

    def command(self, store, *arguments, engine="crane", crane=TOOLS / "crane"):
        """A night, without the log. An image that could not be inspected ends all: the time would say nothing."""
        command = [self.program, "snapshot", "--store", store, "--cluster-name", "bench", "--crane", crane]
        if len(self.engines) > 1:
            command += ["--engine", engine]
        return [*command, "--strict", "--log-level", "error", *arguments]

    def snapshot(self, store, *arguments, engine="crane", crane=TOOLS / "crane", **options):
        """The same, measured."""
        command = self.command(store, *arguments, engine=engine, crane=crane)
        return measured(command, **{"stdout": subprocess.DEVNULL} | options)


def engines(program):
    """What `--engine` takes, if there is such a thing."""
    said = subprocess.run([program, "snapshot", "--help"], check=True, capture_output=True, text=True).stdout
    return ["crane", "native"] if "--engine" in said else ["crane"]


@dataclass
class Goal:
    """A figure that is to be on one side of a bound."""

    what: str
    figure: float
    bound: float
    least: bool = False
    unit: str = ""

    @property
    def met(self):
        return self.figure >= self.bound if self.least else self.figure <= self.bound

    def row(self):
        sign = "≥ " if self.least else "≤ " if self.bound else ""
        unit = f" {self.unit}" if self.unit else ""
        # A digit more than elsewhere, or what misses a bound by little would look like the bound.
        figure = number(self.figure) if self.figure >= 100 else f"{self.figure:.3g}"
        return [self.what, f"{figure}{unit}", f"{sign}{number(self.bound)}{unit}", "yes" if self.met else "**no**"]


def middle(times, run):
    """Of some equal runs the one in the middle by time."""
    done = sorted((run() for _ in range(times)), key=lambda one: one.seconds)
    return done[len(done) // 2]


def mean(figures):
    return statistics.fmean(figures)


def number(value):
    """Two digits that count, or all before the point."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"


def table(heads, rows):
    """A Markdown table; all columns but the first are figures, or short."""
    lines = [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    return lines + [f"| {' | '.join(number(cell) for cell in row)} |" for row in rows]
