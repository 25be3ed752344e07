"""Opens any file of a run or a trace, for the command line: what is in it decides, whatever it is called."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from shutil import which
from typing import IO

from syncwatch.errors import NotMeasuredError, SessionError, UsageError
from syncwatch.model.session import Session, session_in
from syncwatch.traces.files import is_packed, other_packing, refusing, unpacked
from syncwatch.traces.kineto.load import load as load_kineto
from syncwatch.traces.nsys.load import load as load_nsys

REPORT_SUFFIXES = (".nsys-rep", ".qdrep")
"""What nsys itself writes: only nsys can read it. A .qdrep is of 2021 and older."""
_SQLITE = b"SQLite format 3\x00"
_HEAD_BYTES = 4096
_CHUNK_BYTES = 1 << 20
_TRACE_EVENTS = re.compile(rb'"traceEvents"\s{0,16}:')
_LONGEST_BYTES = 32
_GIVE = "Give a run, an export of nsys, or a trace of torch.profiler."


def open_session(path: Path, step_range: str | None = None) -> Session:
    """Read a run of ours, an export or a report of nsys, or a trace of torch.profiler.

    Args:
        path: the file, packed by gzip or not; what is in it decides, save for reports of nsys, which are known by
            their name.
        step_range: the NVTX range or annotation that marks a step; None for the usual ones.

    Raises:
        SessionError: if the file cannot be read, or is none of these.
        UsageError: if no range has the name `step_range`, or the file is a run of ours, whose steps are known.
        NotMeasuredError: if there is no work on a GPU in it, or nsys is needed and cannot be run.
    """
    if path.suffix in REPORT_SUFFIXES:
        return _report_of_nsys(path, step_range)
    with refusing(path, _GIVE), unpacked(path) as file:
        head = file.read(_HEAD_BYTES).lstrip()
        if head.startswith(_SQLITE):
            return _export_of_nsys(path, step_range)
        if not head.startswith((b"{", b"[")):
            raise SessionError(f"{path} {_foreign(head, path)}")
        if head.startswith(b"[") or _has_events(file, head):
            return load_kineto(path, step_range)
        if step_range is not None:
            raise UsageError(f"{path} is a run of syncwatch, and knows its steps. Leave --step-range out.")
        file.seek(0)
        return session_in(file.read(), path)


def is_recording_file(path: Path) -> bool:
    """Return whether `path` is meant as a file of a run or a trace: any that is there and is no Python file.

    A damaged run is one too: it must be refused by whoever reads it, and never be taken for a program.
    """
    if path.suffix in (".json", ".sqlite", ".gz", *REPORT_SUFFIXES):
        return True
    try:
        return path.suffix != ".py" and path.exists()
    except (OSError, ValueError):
        return False


def _foreign(head: bytes, path: Path) -> str:
    """Return what is wrong with a file that begins with `head`, and what to do."""
    if not head:
        return f"is empty. {_GIVE}"
    if is_packed(head):
        return "is packed twice. Unpack it once with `gunzip`, and give that file."
    packing = other_packing(head)
    if packing is not None:
        name, command = packing
        return f"is packed by {name}, and only gzip is unpacked here. Unpack it with `{command} {path}`. {_GIVE}"
    return f"is no file that syncwatch reads. {_GIVE}"


def _has_events(file: IO[bytes], head: bytes) -> bool:
    """Return whether `traceEvents` stands in `head` or in the rest of the file, where it can come after much else."""
    chunk = head
    before = b""
    # In a string of JSON the quotes would be escaped, so this can only be a name.
    while chunk:
        if _TRACE_EVENTS.search(before + chunk):
            return True
        before, chunk = chunk[-_LONGEST_BYTES:], file.read(_CHUNK_BYTES)
    return False


def _export_of_nsys(path: Path, step_range: str | None) -> Session:
    with path.open("rb") as file:
        if is_packed(file.read(len(_SQLITE))):
            raise SessionError(f"{path} is a packed export of nsys. Unpack it with `gunzip`, and give that file.")
    return load_nsys(path, step_range)


def _report_of_nsys(path: Path, step_range: str | None) -> Session:
    """Let nsys export its own report, into a folder that is gone afterwards."""
    with refusing(path, _GIVE), path.open("rb"):
        nsys = which("nsys")
    if nsys is None:
        raise NotMeasuredError(
            f"Only nsys can read {path.name}, and there is none on PATH. Export it where nsys is, with "
            f"`nsys export --type sqlite {path.name}`, and give that file."
        )
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder) / f"{path.stem}.sqlite"
        command = [
            nsys,
            "export",
            "--type",
            "sqlite",
            "--force-overwrite",
            "true",
            "--output",
            str(exported),
            str(path),
        ]
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        # nsys ends with 0 even when it wrote nothing.
        if not exported.is_file():
            said = (ended.stderr or ended.stdout).decode(errors="replace").strip().splitlines()
            reason = f": {said[-1].strip().rstrip('.')}" if said else ""
            raise NotMeasuredError(
                f"nsys could not export {path.name}{reason}. A report of a newer nsys needs that nsys: export it there "
                "with `nsys export --type sqlite`, and give that file."
            )
        return load_nsys(exported, step_range, of=path)
