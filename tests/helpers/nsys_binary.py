"""Runs a real nsys for tests. It ends with 0 whatever happens, so what it prints is searched for errors."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

LIMIT_S = 120
_LISTED = re.compile(r"^ +([\w-]+)(?:\[.*\])? -- ", re.MULTILINE)
_TROUBLE = re.compile(r"SKIPPED|ERROR|WARNING|could not|Traceback", re.IGNORECASE)
_OTHER_TRACES = (
    *("dx1", "khr", "mpi_", "network_", "nvvideo_", "openacc", "opengl", "openmp", "osrt"),
    *("um_", "umcpu", "unifiedmemory", "vulkan", "wddm"),
)
"""How the names of those reports and rules begin that read neither CUDA's nor NVTX's records."""


def binaries() -> list[str]:
    """Return every nsys to test: those in NSYS_BINARIES, else the one on PATH."""
    listed = [each for each in os.environ.get("NSYS_BINARIES", "").split(os.pathsep) if each]
    found = shutil.which("nsys")
    return listed or ([found] if found else [])


@dataclass(frozen=True, slots=True)
class Nsys:
    """One nsys program, asked for its reports and rules."""

    binary: str

    def is_2022(self) -> bool:
        """Whether its reports have the names of before 2023."""
        return "version 2022" in self.run("--version")

    def reports(self) -> list[str]:
        """Return the names of its reports on CUDA and NVTX."""
        return _applicable(self.run("stats", "--help-reports"))

    def rules(self) -> list[str]:
        """Return the names of its expert-system rules on CUDA."""
        return _applicable(self.run("analyze", "--help-rules"))

    def report(self, name: str, file: Path) -> list[dict[str, str]]:
        """Return the rows of the report `name`."""
        return _rows(self.run("stats", "--report", name, "--format", "csv", "--output", "-", str(file)))

    def rule(self, name: str, file: Path) -> list[dict[str, str]]:
        """Return the rows of the rule `name`."""
        return _rows(self.run("analyze", "--rule", name, "--format", "csv", "--output", "-", str(file)))

    def run(self, *arguments: str, cwd: Path | None = None) -> str:
        """Return what nsys, and the programs that it starts, print."""
        done = subprocess.run(
            [self.binary, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            cwd=cwd,
            check=False,
        )
        return done.stdout


def _applicable(listing: str) -> list[str]:
    names = [name for name in _LISTED.findall(listing) if not name.startswith(tuple(_OTHER_TRACES))]
    assert names, listing
    return names


def _rows(printed: str) -> list[dict[str, str]]:
    assert not _TROUBLE.search(printed), printed
    lines = [line for line in printed.splitlines() if line and not line.startswith("Processing [")]
    return list(csv.DictReader(lines))
