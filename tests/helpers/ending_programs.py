"""Programs that exit, fork, or misuse stdout in many ways, each with the exit code and the words to expect of a gate.

`BEGINNING` comes before every program: it uses the GPU and does not wait. `wait()` waits, at a line that is known.
"""

from __future__ import annotations

from dataclasses import dataclass

BEGINNING = """\
import asyncio, atexit, contextlib, ctypes, gc, multiprocessing, os, signal, subprocess, sys, threading, weakref
import _thread
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
import torch

C = ctypes.CDLL(None)
x = None if __name__ == "__mp_main__" else torch.ones(4, device="cuda")


def wait():
    return x.sum().item()  # THE WAIT


def child_waits():
    return torch.ones(4, device="cuda").sum().item()


def nothing():
    pass


"""
LINE = BEGINNING[: BEGINNING.index("# THE WAIT")].count("\n") + 1
WAIT = f"prog.py:{LINE}"
CLEAN = "clean: "


@dataclass(frozen=True, slots=True)
class Program:
    """One program, and what `syncwatch gate` ends with and says."""

    name: str
    code: int
    said: str
    text: str
    target: tuple[str, ...] = ("prog.py",)
    beginning: str = BEGINNING
    late: bool = False
    """Whether the program waits or aborts only after the gate has given its verdict."""


PROGRAMS = (
    # -- programs that do not wait, which must pass: a gate with false alarms is soon switched off
    Program("returns", 0, CLEAN, ""),
    Program("sys.exit(0)", 0, CLEAN, "sys.exit(0)"),
    Program("sys.exit(False)", 0, CLEAN, "sys.exit(False)"),
    Program("os._exit(0)", 0, CLEAN, "os._exit(0)"),
    Program("atexit without a wait", 0, CLEAN, "atexit.register(nothing)"),
    Program("sys.exit in atexit", 0, CLEAN, "atexit.register(sys.exit, 3)"),
    Program("a fork that leaves the GPU alone", 0, CLEAN, "if os.fork() == 0:\n    os._exit(0)\nos.wait()"),
    Program(
        "a forked process of multiprocessing",
        0,
        CLEAN,
        """
p = multiprocessing.get_context("fork").Process(target=nothing)
p.start(); p.join()
""",
    ),
    Program(
        "workers of a DataLoader",
        0,
        CLEAN,
        """
from torch.utils.data import DataLoader
for batch in DataLoader(torch.arange(8.0), batch_size=4, num_workers=2, multiprocessing_context="fork"):
    batch.to("cuda", non_blocking=True)
""",
    ),
    Program(
        "workers of a DataLoader that persist",
        0,
        CLEAN,
        """
from torch.utils.data import DataLoader
loader = DataLoader(torch.arange(8.0), num_workers=1, persistent_workers=True, multiprocessing_context="fork")
for batch in loader:
    pass
""",
    ),
    Program(
        "os._exit(0) with workers of a DataLoader",
        0,
        CLEAN,
        """
from torch.utils.data import DataLoader
loader = iter(DataLoader(torch.arange(8.0), num_workers=1, multiprocessing_context="fork"))
next(loader)
os._exit(0)
""",
    ),
    Program("another program as a child", 0, CLEAN, "subprocess.run(['ls'], check=True, stdout=subprocess.DEVNULL)"),
    Program("a child that fails and is no Python", 0, CLEAN, "subprocess.run(['false'])"),
    Program("os.system of another program", 0, CLEAN, "os.system('true')"),
    Program(
        "a pool that is terminated",
        0,
        CLEAN,
        """
with multiprocessing.get_context("fork").Pool(1) as pool:
    pool.apply(nothing)
""",
    ),
    Program("an executor that is never shut down", 0, CLEAN, "ThreadPoolExecutor(1).submit(nothing)"),
    Program("sys.exit in a thread", 0, CLEAN, "threading.Thread(target=sys.exit, args=(3,)).start()"),
    Program(
        "a daemon thread that stands still",
        0,
        CLEAN,
        """
threading.Thread(target=threading.Event().wait, daemon=True).start()
""",
    ),
    Program(
        "a child of the fork that execs another program",
        0,
        CLEAN,
        """
if os.fork() == 0:
    os.execvp("false", ["false"])
os.wait()
""",
    ),
    Program("a coroutine without a wait", 0, CLEAN, "async def main():\n    x * 2\nasyncio.run(main())"),
    Program("stdout redirected for good", 0, CLEAN, "sys.stdout = open(os.devnull, 'w')"),
    Program("stdout closed", 0, CLEAN, "sys.stdout.close()"),
    Program("file descriptor 1 redirected", 0, CLEAN, "os.dup2(os.open(os.devnull, os.O_WRONLY), 1)"),
    Program("every other file descriptor closed", 0, CLEAN, "os.closerange(3, 256)"),
    # -- waits at the end, each to be seen with its line
    Program("atexit", 1, WAIT, "atexit.register(wait)"),
    Program(
        "atexit in order",
        1,
        "second first",
        """
atexit.register(lambda: (print("first"), wait()))
atexit.register(lambda: print("second", end=" "))
""",
    ),
    Program("atexit after another raised", 1, WAIT, "atexit.register(wait)\natexit.register(lambda: 1 / 0)"),
    Program("atexit registered by atexit", 1, WAIT, "atexit.register(lambda: atexit.register(wait))"),
    Program("atexit after sys.exit(0)", 1, WAIT, "atexit.register(wait)\nsys.exit(0)"),
    Program("weakref.finalize", 1, WAIT, "class A: pass\na = A()\nweakref.finalize(a, wait)"),
    Program("__del__ of a global", 1, WAIT, "class A:\n    def __del__(self):\n        wait()\na = A()"),
    Program(
        "__del__ in a cycle",
        1,
        WAIT,
        """
class A:
    def __del__(self):
        wait()
a = A(); a.me = a
del a
""",
    ),
    Program(
        "__del__ in the globals of a module",
        1,
        WAIT,
        """
class A:
    def __del__(self):
        wait()
a = A()
def main():
    pass
""",
        ("prog:main",),
    ),
    Program(
        "a finalizer of multiprocessing",
        1,
        WAIT,
        """
import multiprocessing.util
multiprocessing.util.Finalize(None, wait, exitpriority=1)
""",
    ),
    Program("a call that threading makes", 1, WAIT, "threading._register_atexit(wait)"),
    Program(
        "a thread that outlives main",
        1,
        WAIT,
        """
ended = threading.Event()
threading.Thread(target=lambda: (ended.wait(), wait())).start()
atexit.register(nothing)
threading._register_atexit(ended.set)
""",
    ),
    Program(
        "a thread of a thread",
        1,
        WAIT,
        """
threading.Thread(target=lambda: threading.Thread(target=wait).start()).start()
""",
    ),
    Program(
        "a thread of _thread",
        1,
        WAIT,
        """
done = threading.Event()
_thread.start_new_thread(lambda: (wait(), done.set()), ())
done.wait()
""",
    ),
    Program("an executor left to itself", 1, WAIT, "ThreadPoolExecutor(1).submit(wait)"),
    Program(
        "a daemon thread",
        1,
        WAIT,
        """
t = threading.Thread(target=wait, daemon=True)
t.start(); t.join()
""",
    ),
    Program("a timer", 1, WAIT, "threading.Timer(0, wait).start()"),
    Program(
        "a signal handler",
        1,
        WAIT,
        """
signal.signal(signal.SIGUSR1, lambda number, frame: wait())
os.kill(os.getpid(), signal.SIGUSR1)
""",
    ),
    Program("os._exit(0) after a wait", 1, WAIT, "wait()\nos._exit(0)"),
    Program(
        "os._exit(0) in a thread after a wait",
        1,
        WAIT,
        """
def leave():
    wait()
    os._exit(0)
threading.Thread(target=leave).start()
threading.Event().wait()
""",
    ),
    Program("os._exit(0) in atexit after a wait", 1, WAIT, "wait()\natexit.register(os._exit, 0)"),
    Program("os._exit(0) under another name", 1, WAIT, "wait()\nfrom posix import _exit\n_exit(0)"),
    Program("sys.exit replaced", 1, WAIT, "wait()\nsys.exit = lambda *status: None"),
    Program("a wait with stdout redirected", 1, WAIT, "wait()\nsys.stdout = sys.stderr = open(os.devnull, 'w')"),
    Program("a coroutine", 1, WAIT, "async def main():\n    wait()\nasyncio.run(main())"),
    Program("a coroutine as the target", 1, WAIT, "async def main():\n    wait()", ("prog:main",)),
    Program("a generator as the target", 1, WAIT, "def main():\n    yield\n    wait()", ("prog:main",)),
    Program("an async generator as the target", 1, WAIT, "async def main():\n    yield\n    wait()", ("prog:main",)),
    Program(
        "a callable object as the target",
        1,
        WAIT,
        """
class Main:
    async def __call__(self):
        wait()
main = Main()
""",
        ("prog:main",),
    ),
    Program(
        "a function that returns a coroutine",
        1,
        WAIT,
        """
async def inner():
    wait()
def main():
    return inner()
""",
        ("prog:main",),
    ),
    Program("an iterator as the target", 1, WAIT, "def main():\n    return map(lambda _: wait(), [1])", ("prog:main",)),
    # -- ends that measure nothing
    Program("os._exit(5)", 3, "ended with exit status 5", "os._exit(5)"),
    Program("sys.exit(5)", 3, "ended with exit status 5", "sys.exit(5)"),
    Program("sys.exit of words", 3, "ended with exit status no luck", "sys.exit('no luck')"),
    Program("sys.exit(0.0)", 3, "ended with exit status 0.0", "sys.exit(0.0)"),
    Program("an error", 3, "raised ValueError", "raise ValueError"),
    Program("an error of no Exception", 3, "raised CancelledError", "raise asyncio.CancelledError"),
    Program("_exit of C", 3, "in a way that Python does not see", "C._exit(0)"),
    Program("exit of C", 3, "in a way that Python does not see", "C.exit(0)"),
    Program("_exit of C in atexit", 3, "in a way that Python does not see", "atexit.register(C._exit, 0)"),
    Program("abort", 3, "ended by SIGABRT", "os.abort()"),
    Program("a segmentation fault", 3, "ended by SIGSEGV", "ctypes.string_at(0)"),
    Program("SIGKILL", 3, "ended by SIGKILL", "os.kill(os.getpid(), signal.SIGKILL)"),
    Program("SIGTERM", 143, "Terminated", "os.kill(os.getpid(), signal.SIGTERM)"),
    Program("SIGINT", 130, "Interrupted", "os.kill(os.getpid(), signal.SIGINT)"),
    Program("execv", 3, "replaced itself by another program", "os.execv('/bin/sh', ['sh', '-c', 'exit 0'])"),
    Program("execlp", 3, "replaced itself by another program", "os.execlp('true', 'true')"),
    Program(
        "execve of Python",
        3,
        "replaced itself by another program",
        """
os.execve(sys.executable, [sys.executable, "-c", "pass"], os.environ)
""",
    ),
    Program(
        "execv of C",
        3,
        "in a way that Python does not see",
        """
C.execv(b"/bin/true", (ctypes.c_char_p * 2)(b"true", None))
""",
    ),
    Program(
        "a thread that dies", 3, "was ended by ZeroDivisionError", "threading.Thread(target=lambda: 1 / 0).start()"
    ),
    Program(
        "a thread that C starts",
        1,
        "THE WAIT",
        """
Work = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
work = Work(lambda _: wait() and None)
number = ctypes.c_ulong()
C.pthread_create(ctypes.byref(number), None, work, None)
C.pthread_join(number, None)
""",
    ),
    Program(
        "a thread of _thread that dies",
        3,
        "was ended by ZeroDivisionError",
        """
done = threading.Event()
class Last:
    def __del__(self):
        done.set()
def die(last):
    1 / 0
_thread.start_new_thread(die, (Last(),))
done.wait()
""",
    ),
    Program(
        "a future that never ends",
        2,
        "returned a future of an event loop",
        """
loop = asyncio.new_event_loop()
def main():
    return loop.create_future()
""",
        ("prog:main",),
    ),
    # -- work that never reached the GPU
    Program("no GPU work", 3, "nothing ran on the GPU", "print('done')", beginning="import torch\n"),
    Program("work on the CPU", 3, "nothing ran on the GPU", "torch.ones(4).sum().item()", beginning="import torch\n"),
    Program(
        "a coroutine never awaited",
        3,
        "nothing ran on the GPU",
        """
async def main():
    torch.ones(4, device="cuda").sum().item()
main()
""",
        beginning="import torch\n",
    ),
    # -- other processes
    Program("a fork that waits", 3, "used the GPU", "if os.fork() == 0:\n    wait()\n    os._exit(0)\nos.wait()"),
    Program(
        "a fork of C that waits",
        3,
        "used the GPU",
        """
if C.fork() == 0:
    wait()
    C._exit(0)
C.wait(None)
""",
    ),
    Program(
        "a fork of a fork that waits",
        3,
        "used the GPU",
        """
if os.fork() == 0:
    if os.fork() == 0:
        wait()
        os._exit(0)
    os.wait()
    os._exit(0)
os.wait()
""",
    ),
    Program(
        "a daemon that goes on",
        3,
        "still ran when the target had ended",
        """
reading, writing = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(writing, b"x")
        for number in range(3):
            os.close(number)
        os.closerange(3, 64)
        signal.alarm(5)
        signal.pause()
    os._exit(0)
os.wait()
os.read(reading, 1)
""",
    ),
    Program("a fork that crashes", 3, "ended by SIGSEGV", "if os.fork() == 0:\n    ctypes.string_at(0)\nos.wait()"),
    Program("a fork that fails", 3, "ended with exit status 7", "if os.fork() == 0:\n    os._exit(7)\nos.wait()"),
    Program(
        "a fork that falls off the end and waits", 3, "used the GPU", "if os.fork():\n    os.wait()\nelse:\n    wait()"
    ),
    Program(
        "a fork that becomes Python",
        3,
        "replaced itself by a program of Python",
        """
if os.fork() == 0:
    os.execv(sys.executable, [sys.executable, "-c", "pass"])
os.wait()
""",
    ),
    Program(
        "a fork that multiprocessing made and that waits",
        3,
        "used the GPU",
        """
p = multiprocessing.get_context("fork").Process(target=wait)
p.start(); p.join()
""",
    ),
    Program(
        "a fork that nobody waited for and that waits",
        3,
        "used the GPU",
        """
multiprocessing.get_context("fork").Process(target=wait).start()
""",
    ),
    Program(
        "a pool of forks that wait",
        3,
        "used the GPU",
        """
with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
    pool.submit(wait).result()
""",
    ),
    Program(
        "a process of multiprocessing that was spawned",
        3,
        "multiprocessing (spawn)",
        """
if __name__ == "__main__":
    p = multiprocessing.get_context("spawn").Process(target=nothing)
    p.start(); p.join()
""",
    ),
    Program(
        "a process of a fork server",
        3,
        "multiprocessing (forkserver)",
        """
if __name__ == "__main__":
    p = multiprocessing.get_context("forkserver").Process(target=nothing)
    p.start(); p.join()
""",
    ),
    Program("Python as a child", 3, "ran Python and was not watched", "subprocess.run([sys.executable, '-c', 'pass'])"),
    Program(
        "Python as a child of asyncio",
        3,
        "ran Python and was not watched",
        """
async def main():
    await (await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")).wait()
asyncio.run(main())
""",
    ),
    Program(
        "posix_spawn of Python",
        3,
        "ran Python and was not watched",
        """
pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "pass"], os.environ)
os.waitpid(pid, 0)
""",
    ),
    Program("os.system of Python", 3, "ran Python and was not watched", "os.system(f'{sys.executable} -c pass')"),
    Program(
        "os.spawnv of Python",
        3,
        "program of Python",
        """
os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", "pass"])
""",
    ),
    Program("os.popen of Python", 3, "ran Python and was not watched", "os.popen(f'{sys.executable} -c pass').read()"),
    Program(
        "a shell that runs Python",
        3,
        "ran Python and was not watched",
        """
subprocess.run(f"cd / && exec {sys.executable} -c pass", shell=True)
""",
    ),
    Program(
        "Python as a child that crashes",
        3,
        "ended by SIGKILL",
        """
subprocess.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
""",
    ),
    Program("system of C", 3, "A process that C code started", "C.system(b'true')"),
    Program(
        "a fork of C that goes on",
        3,
        "A process that C code started",
        "if C.fork() == 0:\n    C.sleep(5)\n    C._exit(0)",
    ),
    Program(
        "work in the child before another program",
        3,
        "used the GPU",
        """
subprocess.run(["true"], preexec_fn=wait)
""",
    ),
    Program(
        "a call at each fork",
        3,
        "used the GPU",
        """
os.register_at_fork(after_in_child=wait)
if os.fork() == 0:
    os._exit(0)
os.wait()
""",
    ),
    Program(
        "a call at each fork, in the parent",
        1,
        WAIT,
        """
os.register_at_fork(after_in_parent=wait)
if os.fork() == 0:
    os._exit(0)
os.wait()
""",
    ),
    # -- after the verdict
    Program(
        "a logging handler that is flushed as Python ends",
        3,
        "After the report was made",
        """
import logging
class Handler(logging.Handler):
    def flush(self):
        wait()
handler = Handler()
logging.getLogger("kept").addHandler(handler)
""",
        late=True,
    ),
    Program(
        "a crash as Python ends",
        3,
        "after the report was made",
        """
class A:
    def __del__(self):
        os.abort()
sys.modules["kept"] = A()
""",
        late=True,
    ),
)
