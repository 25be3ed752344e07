"""Bad input ends in one sentence with a next step, and in its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command import Ended, syncwatch


def refused(ended: Ended, code: int, *said: str) -> None:
    assert ended.code == code, ended.err
    assert "Traceback" not in ended.err
    assert ended.err.startswith("error: ")
    for words in said:
        assert words in ended.err
    assert ended.out == ""


def test_an_unknown_scenario_offers_the_nearest() -> None:
    refused(syncwatch("run", "gdn-prefil"), 2, "no scenario 'gdn-prefil'", "Did you mean gdn-prefill?")


def test_a_file_that_is_not_there() -> None:
    refused(syncwatch("run", "nowhere.py"), 2, "nowhere.py does not exist")


def test_nothing_to_run() -> None:
    refused(syncwatch("run"), 2, "syncwatch list")


def test_a_variant_or_preset_that_is_not_there() -> None:
    refused(syncwatch("run", "gdn-prefill", "--device", "virtual", "--variant", "naiv"), 2, "naive, precomputed")
    refused(syncwatch("run", "gdn-prefill", "--device", "virtual", "--preset", "qwen3-nex-80b"), 2, "qwen3-next-80b")


def test_cuda_without_a_gpu_could_not_measure() -> None:
    refused(
        syncwatch("run", "gdn-prefill", "--device", "cuda", env={"CUDA_VISIBLE_DEVICES": ""}), 3, "--device virtual"
    )


@pytest.mark.skipif(os.name != "posix", reason="permissions")
def test_an_output_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    refused(syncwatch("run", "gdn-prefill", "-o", str(tmp_path / "no" / "run.json")), 2, "does not exist")
    refused(syncwatch("run", "gdn-prefill", "-o", str(tmp_path)), 2, "it is a folder")


def test_a_file_that_is_no_run(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("{}")
    refused(syncwatch("report", str(path)), 2, "not a syncwatch session")
    refused(syncwatch("gate", str(tmp_path / "gone.json")), 2, "Cannot read")


def test_a_torch_that_is_too_old_or_missing(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    fake = tmp_path / "torch" / "__init__.py"
    fake.write_text("__version__ = '2.1.0'")
    refused(syncwatch("run", "gdn-prefill", env={"PYTHONPATH": str(tmp_path)}), 3, "torch 2.1.0 is too old", "2.9")
    fake.write_text("raise ImportError('no CUDA libraries')")
    refused(syncwatch("run", "gdn-prefill", env={"PYTHONPATH": str(tmp_path)}), 3, "Install torch 2.9")


def test_usage_is_exit_2_and_help_is_exit_0() -> None:
    assert syncwatch("run", "--no-such-option").code == 2
    assert syncwatch("no-such-command").code == 2
    assert syncwatch("run", "gdn-prefill", "--steps", "0").code == 2
    assert syncwatch("--help").code == 0
    assert syncwatch("--version").out.startswith("syncwatch ")


@pytest.mark.parametrize("words", ["--help", "list", "list gdn-prefill", "--version"])
def test_what_only_tells_of_the_commands_imports_nothing_that_is_large(words: str) -> None:
    script = (
        f"import sys; sys.argv = {['syncwatch', *words.split()]!r}; from syncwatch.cli.app import run_app\n"
        "code = run_app()\n"
        "large = {'torch', 'triton', 'numpy', 'scipy', 'jinja2'}\n"
        "print(code, {name.partition('.')[0] for name in sys.modules} & large)"
    )

    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert told.stdout.splitlines()[-1] == "0 set()"


def test_help_needs_no_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise RuntimeError('imported')")
    ended = syncwatch("run", "--help", env={"PYTHONPATH": str(tmp_path)})
    assert (ended.code, "imported" in ended.err) == (0, False)
