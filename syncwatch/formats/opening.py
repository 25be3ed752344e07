"""Answers: how is any file of a run or a trace opened? By what is in it, whatever it is called."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path
from shutil import which

from syncwatch.errors import NotMeasuredError, SessionError, UsageError
from syncwatch.formats.chrome.load import load as load_chrome
from syncwatch.formats.nsys.load import load as load_nsys
from syncwatch.model.session import Session

REPORT_SUFFIXES = (".nsys-rep", ".qdrep")
"""What nsys itself writes: only nsys can read it. A .qdrep is of 2021 and older."""
_SQLITE = b"SQLite format 3\x00"
_GZIP = b"\x1f\x8b"
_HEAD_BYTES = 4096
_CHUNK_BYTES = 1 << 20
_TRACE_EVENTS = re.compile(rb'"traceEvents"\s{0,16}:')
_LONGEST_BYTES = 32


def open_session(path: Path, step_range: str | None = None) -> Session:
    """Read a run of ours, an export or a report of nsys, or a trace of torch.profiler.

    Args:
        path: the file; what is in it decides, save for reports of nsys, which are known by their name.
        step_range: the NVTX range or annotation that marks a step; None for the usual ones.

    Raises:
        SessionError: if the file cannot be read, or is none of these.
        UsageError: if no range has the name `step_range`, or the file is a run of ours, whose steps are known.
        NotMeasuredError: if there is no work on a GPU in it, or nsys is needed and cannot be run.
    """
    if path.suffix in REPORT_SUFFIXES:
        return _report_of_nsys(path, step_range)
    head = _head(path)
    if head.startswith(_SQLITE):
        return load_nsys(path, step_range)
    if _is_chrome(path, head):
        return load_chrome(path, step_range)
    if step_range is not None:
        raise UsageError(f"{path} is a run of syncwatch, and knows its steps. Leave --step-range out.")
    return Session.load(path)


def holds_run(path: Path) -> bool:
    """Return whether `path` is meant as a file of a run or a trace, by its name or by what it begins with."""
    if path.suffix in (".json", ".sqlite", ".gz", *REPORT_SUFFIXES):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(len(_SQLITE))
    except (OSError, ValueError):
        return False
    return path.suffix != ".py" and head.startswith((b"{", b"[", _GZIP, _SQLITE))


def _is_chrome(path: Path, head: bytes) -> bool:
    """Return whether the file is packed, a list, or an object with `traceEvents`, which can come after much else."""
    if head.startswith(_GZIP) or head.lstrip().startswith(b"["):
        return True
    if not head.lstrip().startswith(b"{"):
        return False
    with path.open("rb") as file:
        before = b""
        # In a string of JSON the quotes would be escaped, so this can only be a name.
        while chunk := file.read(_CHUNK_BYTES):
            if _TRACE_EVENTS.search(before + chunk):
                return True
            before = chunk[-_LONGEST_BYTES:]
    return False


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise SessionError(
            f"Cannot read {path}: {error.strerror}. Give a run, an export of nsys, or a trace of torch.profiler."
        ) from error


def _report_of_nsys(path: Path, step_range: str | None) -> Session:
    """Let nsys export its own report, into a folder that is gone afterwards."""
    _head(path)
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
