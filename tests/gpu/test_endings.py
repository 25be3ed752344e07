"""`syncwatch gate` on a real GPU ends with the code that each program deserves, however the program itself ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.command import syncwatch
from tests.helpers.ending_programs import CLEAN, PROGRAMS, Program

pytestmark = pytest.mark.gpu

ON_CUDA = {
    # CUDA's own descriptors are closed, and the program's work with it fails.
    "every other file descriptor closed": 3,
    # CUDA refuses a fork of a process that has initialised it, so that nothing waits there.
    "a fork of a fork that waits": 0,
    "a call at each fork": 0,
}
"""Programs whose exit code differs on a GPU from that on the virtual device."""


@pytest.mark.parametrize("program", PROGRAMS, ids=[program.name for program in PROGRAMS])
def test_however_a_program_ends(program: Program, tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text(program.beginning + program.text)

    code = ON_CUDA.get(program.name, program.code)

    ended = syncwatch("gate", *program.target, "--device", "cuda", cwd=tmp_path)

    said = ended.out + ended.err
    assert ended.code == code, said
    assert (CLEAN in said) == (code == 0 or program.late), said
    assert "fault of syncwatch" not in said
