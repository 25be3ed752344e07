"""However a program ends, `syncwatch gate` sees the wait, or says what it could not see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.helpers.command import syncwatch
from tests.helpers.ending_programs import CLEAN, PROGRAMS, Program

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and POSIX signals")


@pytest.mark.parametrize("program", PROGRAMS, ids=[program.name for program in PROGRAMS])
def test_however_a_program_ends(program: Program, tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text(program.beginning + program.text)

    ended = syncwatch("gate", *program.target, "--device", "virtual", cwd=tmp_path)

    said = ended.out + ended.err
    assert ended.code == program.code, said
    assert program.said in " ".join(said.split()), said
    assert (CLEAN in said) == (program.code == 0 or program.late), said
    assert "fault of syncwatch" not in said
