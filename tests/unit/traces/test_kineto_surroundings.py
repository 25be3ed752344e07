"""Paths in traces of torch.profiler are shortened, so that they keep no folder and no user of the machine."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from syncwatch.traces.kineto.surroundings import frame_of, relative_file


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        ("torch/nn/modules/module.py", "torch/nn/modules/module.py"),
        ("/opt/venv/lib/python3.12/site-packages/torch/_ops.py", "torch/_ops.py"),
        ("/usr/lib/python3/dist-packages/numpy/core/a.py", "numpy/core/a.py"),
        ("/usr/lib/python3.10/threading.py", "<stdlib>/threading.py"),
        ("threading.py", "<stdlib>/threading.py"),
        ("asyncio/base_events.py", "<stdlib>/asyncio/base_events.py"),
        ("token_metrics.py", "token_metrics.py"),
        ("vllm/engine.py", "vllm/engine.py"),
        ("<string>", "<string>"),
        ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap>"),
        ("/home/alice/model.py", "model.py"),
        ("/home/alice/proj/deep/src/app/model.py", "src/app/model.py"),
        ("/home/alice/proj/model.py", "proj/model.py"),
        ("/root/model.py", "model.py"),
        ("C:\\Users\\alice\\proj\\model.py", "proj/model.py"),
        ("C:/Users/alice/model.py", "model.py"),
        ("~/proj/model.py", "model.py"),
        ("../alice/model.py", "model.py"),
        ("./src/model.py", "src/model.py"),
        ("/", "<unknown>"),
    ],
)
def test_a_file_is_named_without_its_machine(recorded: str, expected: str) -> None:
    assert relative_file(recorded) == expected


def test_a_file_of_the_current_folder_is_relative_and_may_be_called_as_a_module_of_pythons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profile.py").touch()
    assert (Path(sysconfig.get_path("stdlib")) / "profile.py").is_file()
    shown_here = relative_file("profile.py")
    assert shown_here == "profile.py"
    assert relative_file(f"{tmp_path}/src/model.py") == "src/model.py"


@pytest.mark.parametrize("name", ["<built-in function len>", "nn.Module: Linear_0", "a.py(x): f", "", "a.py(3):f"])
def test_what_is_no_python_function_is_no_frame(name: str) -> None:
    assert frame_of(name) is None
