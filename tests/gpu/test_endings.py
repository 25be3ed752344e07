"""However a program ends on a real GPU, the gate is clean only where the same program is clean without one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command import syncwatch
from tests.integration.ending_programs import CLEAN, PROGRAMS, Program

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("program", PROGRAMS, ids=[program.name for program in PROGRAMS])
def test_however_a_program_ends(program: Program, tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text(program.beginning + program.text)

    ended = syncwatch("gate", *program.target, "--device", "cuda", cwd=tmp_path)

    said = ended.out + ended.err
    assert ended.code == program.code, said
    assert (CLEAN in said) == (program.code == 0 or program.late), said
    assert "fault of syncwatch" not in said
