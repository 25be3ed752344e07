"""What Python does at the end of a program is done in its order, each once, and what was there before is left alone."""

from __future__ import annotations

import atexit
import gc
import subprocess
import sys
import textwrap
import threading
import weakref

import pytest

from syncwatch.bench.ending import Ending, skip_final_collections

PROGRAM = """
import atexit, sys, threading, weakref
from concurrent.futures import ThreadPoolExecutor

class A: pass

def say(word):
    # In one piece: two threads write.
    sys.stdout.write(word + chr(10))

def fails():
    say("fails")
    raise ValueError

def main():
    gone = threading.Event()
    atexit.register(say, "registered first")
    weakref.finalize(A, say, "finalized")
    atexit.register(fails)
    atexit.register(say, "unregistered")
    atexit.unregister(len)
    pool = ThreadPoolExecutor(1)
    pool.submit(gone.wait)
    pool.submit(say, "in the pool")
    thread = threading.Thread(target=lambda: (gone.wait(), say("in a thread")))
    thread.start()
    threading._register_atexit(gone.set)
    say("main ended")
"""
PLAIN = "main()\n"
ENDING = """
from syncwatch.bench.ending import Ending
import os
with Ending() as ending:
    main()
    ending.reach()
    ending.forget()
"""


def lines_of(end: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM + end], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_it_is_what_python_does() -> None:
    ours = lines_of(ENDING)
    assert ours[0] == "main ended" and len(ours) == 7
    # Two threads may print in either order.
    assert sorted(ours[:3]) == sorted(lines_of(PLAIN)[:3])
    assert ours[3:] == lines_of(PLAIN)[3:]


def test_what_was_not_called_is_handed_to_python() -> None:
    program = textwrap.dedent(
        """
        import atexit
        from syncwatch.bench.ending import Ending
        with Ending():
            atexit.register(print, "first")
            atexit.register(print, "second")
        print("ended")
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ended", "second", "first"]


def test_a_callback_that_raises_is_told_of_as_python_does(capsys: pytest.CaptureFixture[str]) -> None:
    called: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
        with Ending() as ending:
            atexit.register(called.append, "after")
            atexit.register(int, "x")
            ending.reach()
    said = capsys.readouterr().err
    assert said.startswith("Exception ignored in atexit callback: <class 'int'>\n") and "ValueError" in said
    assert called == ["after"]


def test_threads_and_finalizers_from_before_are_left_alone() -> None:
    class Kept:
        pass

    called: list[object] = []
    kept, go_on = Kept(), threading.Event()
    finalizer = weakref.finalize(kept, called.append, "finalized")
    thread = threading.Thread(target=go_on.wait)
    thread.start()
    try:
        with Ending() as ending:
            ending.reach()
        assert thread.is_alive() and called == []
    finally:
        go_on.set()
        thread.join()
        finalizer.detach()


def test_python_looks_for_cycles_at_its_end_where_nanobind_counts_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))
    monkeypatch.setattr(gc, "get_objects", list)
    skip_final_collections()
    assert frozen == [True]

    counted = type("nb_type_0", (type,), {"__module__": "nanobind"})("Attribute", (), {})
    monkeypatch.setattr(gc, "get_objects", lambda: [counted])
    skip_final_collections()
    assert frozen == [True]
