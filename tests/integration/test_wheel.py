"""The built wheel holds everything: three packages, their entry points, data and types."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.helpers.command import ROOT, syncwatch


def test_the_installed_wheel_runs_outside_the_checkout(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    wheels, target = tmp_path / "wheels", tmp_path / "site"
    subprocess.run([*pip, "wheel", "--no-build-isolation", "--no-deps", "-w", str(wheels), str(ROOT)], check=True)
    (wheel,) = wheels.glob("syncwatch-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)], check=True)

    ended = syncwatch("list", cwd=tmp_path, env={"PYTHONPATH": str(target)})

    assert {"syncwatch/py.typed", "syncwatch_kernels/py.typed", "syncwatch_scenarios/gdn_prefill/workload.py"} <= names
    native = ROOT / "syncwatch" / "sense" / "virtual" / "native"
    parts = [path for path in native.rglob("*") if path.suffix in {".cpp", ".h", ".so"}]
    assert parts and {str(path.relative_to(ROOT)) for path in parts} <= names
    assert not [name for name in names if name.startswith(("tests/", "kernels/", "scenarios/"))]
    assert ended.code == 0, ended.err
    assert "gdn-prefill" in ended.out
