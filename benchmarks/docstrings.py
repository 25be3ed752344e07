"""Runs the examples in torch's own docstrings on the virtual device and on the CPU, and compares what they give.

    python benchmarks/docstrings.py run OUT.json
    python benchmarks/docstrings.py run OUT.json --only torch.linalg --jobs 2
    python benchmarks/docstrings.py show OUT.json --kind differs

Each example runs in processes of its own: on the CPU, and on the device in two forms, once by
`torch.set_default_device` and once by naming the device in calls that make tensors and modules. What every statement
gives is compared; where two seeds give different numbers on the CPU, only types and shapes are.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import math
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import msgspec
import typer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.worker_pool import Ended, jobs_here, run_all  # noqa: E402
from syncwatch.model.codec import write_json  # noqa: E402

_MODULES = """
torch torch.nn torch.nn.functional torch.nn.init torch.nn.utils torch.nn.utils.rnn torch.nn.utils.parametrize
torch.nn.utils.parametrizations torch.nn.utils.prune torch.nn.utils.stateless torch.nn.attention
torch.nn.attention.bias torch.nn.attention.flex_attention torch.linalg torch.sparse torch.nested torch.fft
torch.special torch.signal.windows torch.distributions torch.distributions.transforms torch.distributions.kl
torch.distributions.constraints torch.optim torch.optim.lr_scheduler torch.optim.swa_utils torch.autograd
torch.autograd.functional torch.autograd.graph torch.autograd.forward_ad torch.autograd.grad_mode
torch.autograd.function torch.autograd.anomaly_mode torch.autograd.profiler torch.func torch.amp
torch.amp.autocast_mode torch.cuda torch.cuda.memory torch.cuda.graphs torch.cuda.amp torch.accelerator torch.jit
torch.fx torch.library torch.masked torch.random torch.serialization torch.overrides torch.utils.data
torch.utils.checkpoint torch.utils.dlpack torch.utils._pytree torch.utils.flop_counter torch.utils.benchmark
torch.ao.nn.quantized torch.ao.nn.quantized.functional torch.ao.quantization torch.ao.nn.intrinsic torch.export
torch.profiler torch.testing torch.compiler torch.backends.cuda torch.onnx torch.nn.modules.utils
torch.distributions.utils torch.utils.hooks torch.storage torch.func
"""
_SKIPPED = ("torch.hub", "torch.distributed", "torch.utils.model_zoo", "torch.cuda.nvtx")
_FACTORIES = """
tensor zeros ones empty full rand randn randint randperm arange linspace logspace eye as_tensor scalar_tensor
sparse_coo_tensor sparse_csr_tensor sparse_csc_tensor sparse_bsr_tensor sparse_bsc_tensor sparse_compressed_tensor
nested_tensor asarray empty_strided tril_indices triu_indices hann_window hamming_window blackman_window
bartlett_window kaiser_window complex_tensor
"""
_PREAMBLE = """
import torch, math, copy, numpy as np
import torch.nn as nn, torch.nn.functional as F, torch.optim as optim
from torch import Tensor, autograd, linalg
from torch.distributions import *
"""
_PART = 60
"""How many examples one process runs, each in a fork of its own."""
_ELEMENTS = 4096
"""How many numbers of one tensor are kept."""
_REFUSES = ("virtual device", "virtual CUDA device")


class Kind(Enum):
    """How an example on the device compares with the CPU, the worst last."""

    SAME = "same"
    HOST = "error on the CPU only"
    BOTH = "error on both"
    REFUSED = "refused"
    DIFFERS = "differs"
    DEVICE = "error on the device only"
    INSIDE = "error inside syncwatch"
    ABORT = "abort"
    HANG = "hang"


_WORST = tuple(reversed(Kind))


class Value(msgspec.Struct, frozen=True):
    """The value of one statement, as far as it can be compared."""

    what: str = ""
    """Type, and for tensors element type and shape."""
    numbers: tuple[float | str, ...] = ()
    """Infinities and NaN, which JSON has no number for, by name."""
    text: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What one statement did: a value, or an error."""

    value: Value = Value()
    error: str = ""
    own: bool = False
    """Whether syncwatch's own code raised the error."""


class Ran(msgspec.Struct):
    """What one example did in one process."""

    outcomes: list[Outcome] = []
    ended: str = ""
    """How the process died, or empty where it did not."""


class Verdict(msgspec.Struct):
    """How one form of one example compares with the CPU."""

    kind: Kind
    statement: str = ""
    here: str = ""
    there: str = ""


class Table(msgspec.Struct):
    """What every example did, by its name and form."""

    torch: str = ""
    wall_s: float = 0.0
    examples: dict[str, Verdict] = {}

    def write(self, path: Path) -> None:
        """Write the file in one piece."""
        write_json(self, path)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def run(
    output: Path,
    only: Annotated[str, typer.Option(help="Part of the names to run.")] = "",
    jobs: Annotated[int, typer.Option(help="Processes at once; 0 is half of the cores.")] = 0,
    timeout: Annotated[float, typer.Option(help="Seconds that one example may take.")] = 40.0,
) -> None:
    """Run every example and write how it compares."""
    import torch

    began = time.monotonic()
    names = sorted(name for name in examples() if only in name)
    table = Table(torch=str(torch.__version__))
    with tempfile.TemporaryDirectory() as folder:

        def take(ended: Ended) -> None:
            path = Path(folder, f"{ended.name}.out")
            if path.exists():
                table.examples.update(msgspec.json.decode(path.read_bytes(), type=dict[str, Verdict]))
                table.wall_s = round(time.monotonic() - began, 1)
                table.write(output)
            typer.echo(f"part {ended.name}: {ended.why or 'done'}", err=True)

        commands = []
        # Neighbours in the list are alike, so each part takes every n-th example: some of every kind.
        count = -(-len(names) // _PART)
        for index in range(count):
            asked = Path(folder, f"{index}.in")
            asked.write_bytes(msgspec.json.encode(names[index::count]))
            commands.append((str(index), [__file__, "part", str(asked), str(asked.with_suffix(".out")), str(timeout)]))
        # glibc fills new memory with zeros then, so that uninitialized values can be compared.
        os.environ["MALLOC_PERTURB_"] = "255"
        run_all(commands, jobs_here(jobs), 4 * timeout * _PART, "virtual", take)
    table.wall_s = round(time.monotonic() - began, 1)
    table.write(output)
    _summarize(table)


@app.command()
def show(source: Path, kind: Annotated[list[Kind] | None, typer.Option(help="Kinds to print.")] = None) -> None:
    """Print a summary, and the examples of some kinds: all but those that agree by default."""
    table = msgspec.json.decode(source.read_bytes(), type=Table)
    wanted = kind or [each for each in Kind if each not in (Kind.SAME, Kind.BOTH, Kind.HOST)]
    for name, verdict in table.examples.items():
        if verdict.kind in wanted:
            typer.echo(f"{verdict.kind.value}: {name}\n    >>> {verdict.statement}")
            typer.echo(f"    CPU:    {verdict.there}\n    device: {verdict.here}")
    _summarize(table)


def _summarize(table: Table) -> None:
    kinds = Counter(verdict.kind for verdict in table.examples.values())
    typer.echo(f"{len(table.examples) // 2} examples of torch {table.torch} in two forms, {table.wall_s:.0f} s")
    for kind in Kind:
        typer.echo(f"    {kind.value}: {kinds[kind]}")
    refusals = Counter(verdict.here for verdict in table.examples.values() if verdict.kind is Kind.REFUSED)
    for said, times in refusals.most_common():
        typer.echo(f"refused {times} times: {said}")


@app.command()
def part(asked: Path, output: Path, timeout: float) -> None:
    """Run some examples, each in forks of this process; `run` calls this."""
    # Imported before forking, so that no fork has to import it again.
    import torch._dynamo

    import syncwatch.app.watch

    assert torch._dynamo and syncwatch.app.watch
    exec(_PREAMBLE, {})
    known = examples()
    found: dict[str, Verdict] = {}
    for name in msgspec.json.decode(asked.read_bytes(), type=list[str]):
        plain = _statements(known[name])
        if not plain:
            continue
        on_host = _forked(partial(_play, plain, 0), timeout)
        for form in ("default", "named"):
            here = _forked(partial(_on_device, plain, 0, form == "default"), timeout)
            verdict = _compare(plain, on_host, here, on_host)
            if verdict.kind is Kind.DIFFERS:
                other = _forked(partial(_play, plain, 1), timeout)
                verdict = _compare(plain, on_host, here, other)
            found[f"{name} ({form})"] = verdict
    output.write_bytes(msgspec.json.encode(found))


def examples() -> dict[str, str]:
    """Return the docstrings that hold examples, by the names of the functions and classes they describe."""
    warnings.simplefilter("ignore")
    found: dict[str, str] = {}
    seen: set[str] = set()
    for name in _MODULES.split():
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        for path, thing in _described(module):
            text = getattr(thing, "__doc__", None)
            if isinstance(text, str) and ">>>" in text and text not in seen and not path.startswith(_SKIPPED):
                seen.add(text)
                found[path] = text
    return found


def _described(module: ModuleType) -> Iterator[tuple[str, Any]]:
    yield module.__name__, module
    for name, thing in list(vars(module).items()):
        if name.startswith("__") or inspect.ismodule(thing):
            continue
        path = f"{module.__name__}.{name}"
        yield path, thing
        if inspect.isclass(thing) and thing.__module__.startswith("torch"):
            for member in list(vars(thing)):
                yield f"{path}.{member}", getattr(thing, member, None)


def _statements(text: str) -> list[str]:
    """Return the statements of a docstring's examples that are valid Python."""
    blocks: list[list[str]] = []
    lines = inspect.cleandoc(text).splitlines()
    for line in lines:
        bare = line.strip()
        if bare.startswith(">>>"):
            blocks.append([bare[4:]])
        elif bare.startswith("...") and blocks:
            blocks[-1].append(bare[4:])
    # A statement may go on after a further prompt, as decorators and blocks do in many docstrings.
    found: list[str] = []
    held = ""
    for block in blocks:
        code = "\n".join(block)
        indented = code.startswith((" ", "\t"))
        if indented and found and not held:
            held = found.pop()
        joined = f"{held}\n{code}" if held else code
        if _parses(joined):
            found.append(joined)
            held = ""
        elif _parses(code) and not indented:
            found.append(code)
            held = ""
        else:
            held = joined
    return found


def _parses(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(code)
    except SyntaxError:
        return False
    return True


class _Named(ast.NodeTransformer):
    """Rewrites code so that calls that make tensors name the device, and modules are moved to it."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Name the device in one call, or move the module that it makes."""
        self.generic_visit(node)
        name = ast.unparse(node.func)
        owner, _, last = name.rpartition(".")
        if owner in ("torch", "torch.nested", "torch.signal.windows") and last in _FACTORIES.split():
            if not any(word.arg in ("device", "out", "generator", None) for word in node.keywords):
                node.keywords.append(ast.keyword("device", ast.Constant("cuda")))
        elif owner in ("nn", "torch.nn") and last[:1].isupper() and last not in ("Parameter", "Buffer", "Module"):
            return ast.Call(ast.Attribute(node, "cuda", ast.Load()), [], [])
        return node


def _on_device(statements: list[str], seed: int, by_default: bool) -> Iterator[Outcome]:
    import torch

    import syncwatch

    if not by_default:
        statements = [ast.unparse(ast.fix_missing_locations(_Named().visit(ast.parse(each)))) for each in statements]
    with syncwatch.watch("virtual"):
        if by_default:
            torch.set_default_device("cuda")
        yield from _play(statements, seed)
        torch.set_default_device(None)


def _play(statements: list[str], seed: int) -> Iterator[Outcome]:
    """Run statements one after the other in one namespace and yield the outcome of each."""
    import torch

    names: dict[str, Any] = {"__name__": "__main__"}
    exec(_PREAMBLE, names)
    torch.manual_seed(seed)
    random.seed(seed)
    names["np"].random.seed(seed)
    for statement in statements:
        yield _tried(statement, names)


def _tried(statement: str, names: dict[str, Any]) -> Outcome:
    try:
        return Outcome(_value(_execute(statement, names)))
    except BaseException as error:
        said = str(error).strip()
        return Outcome(
            error=f"{type(error).__name__}: {said.splitlines()[0][:300] if said else ''}", own=_is_own(error)
        )


def _execute(statement: str, names: dict[str, Any]) -> Any:
    tree = ast.parse(statement)
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr):
        tree.body.pop()
        exec(compile(tree, "<example>", "exec"), names)
        return eval(compile(ast.Expression(last.value), "<example>", "eval"), names)
    exec(compile(tree, "<example>", "exec"), names)
    if isinstance(last, ast.Assign):
        with contextlib.suppress(Exception):
            return eval(ast.unparse(last.targets[0]), names)
    return None


def _is_own(error: BaseException) -> bool:
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    if where is None:
        return False
    path = Path(where.tb_frame.f_code.co_filename)
    return ROOT / "syncwatch" in path.parents


def _value(given: Any) -> Value:
    import torch

    if isinstance(given, torch.Tensor):
        return _tensor(given)
    if isinstance(given, (bool, int, float, complex)):
        number = complex(given)
        return Value(type(given).__name__, _finite((number.real, number.imag)))
    if isinstance(given, (str, torch.Size, torch.dtype)):
        return Value(type(given).__name__, text=str(given)[:2000].replace("cuda:0", "cpu").replace("cuda", "cpu"))
    if isinstance(given, dict):
        given = list(given.items())
    if isinstance(given, (list, tuple)):
        parts = [_value(each) for each in list(given)[:64]]
        return Value(
            f"[{', '.join(each.what for each in parts)}]",
            tuple(number for each in parts for number in each.numbers),
            "\n".join(each.text for each in parts),
        )
    return Value(given.__class__.__name__)


def _tensor(given: Any) -> Value:
    import torch

    # A torch mode that the example has entered may still be on.
    with torch.no_grad(), torch._C._DisableFuncTorch():
        what = f"{given.dtype} {given.layout} {given.requires_grad}"
        if given.is_meta:
            return Value(f"{what} meta {list(given.shape)}")
        if given.is_nested:
            given = torch.cat([each.reshape(-1) for each in given.unbind()]) if len(given.unbind()) else torch.zeros(0)
        what += f" {list(given.shape)}"
        if given.is_quantized:
            given = given.dequantize()
        if given.layout is not torch.strided:
            given = given.to_dense()
        flat = given.detach().cpu().resolve_conj().resolve_neg().reshape(-1)[:_ELEMENTS]
        wide = torch.view_as_real(flat.to(torch.complex128)).reshape(-1) if flat.is_complex() else flat.double()
        return Value(what, _finite(wide.tolist()))


def _forked(act: Callable[[], Iterator[Outcome]], timeout: float) -> Ran:
    """Run `act` in a fork, in a folder of its own, and return what it had given when it ended."""
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "kept")
        child = os.fork()
        if child == 0:
            os.setsid()
            _be_the_child(act, kept)
        status = _wait(child, timeout)
        ran = Ran()
        if kept.exists():
            for line in kept.read_bytes().splitlines():
                with contextlib.suppress(msgspec.DecodeError):
                    ran.outcomes.append(msgspec.json.decode(line, type=Outcome))
        if status is None:
            ran.ended = f"not done after {timeout:g} s"
        elif status:
            ran.ended = f"exit {os.waitstatus_to_exitcode(status)}"
        return ran


def _be_the_child(act: Callable[[], Iterator[Outcome]], kept: Path) -> None:
    code = 1
    try:
        os.chdir(kept.parent)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nowhere, number)
        warnings.simplefilter("ignore")
        with kept.open("wb", buffering=0) as file:
            for outcome in act():
                file.write(msgspec.json.encode(outcome) + b"\n")
        code = 0
    finally:
        os._exit(code)


def _wait(child: int, timeout: float) -> int | None:
    """Return how a child process ended, or None where it took too long and was killed."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _compare(statements: list[str], host: Ran, here: Ran, other: Ran) -> Verdict:
    """Return the worst difference between CPU and device; `other` is the CPU with another seed."""
    if host.ended:
        return Verdict(Kind.BOTH if here.ended else Kind.HOST, "", here.ended, host.ended)
    worst = Verdict(Kind.SAME)
    if here.ended:
        index = min(len(here.outcomes), len(statements) - 1)
        kind = Kind.HANG if here.ended.startswith("not done") else Kind.ABORT
        return Verdict(kind, statements[index] if index >= 0 else "", here.ended, "ended")
    for index, statement in enumerate(statements):
        there_, here_ = host.outcomes[index], here.outcomes[index]
        # The values of `torch.empty` are arbitrary.
        random_ = "empty" in statement or (index < len(other.outcomes) and other.outcomes[index] != there_)
        kind = _kind(there_, here_, random_)
        if _WORST.index(kind) < _WORST.index(worst.kind):
            worst = Verdict(kind, statement, _words(here_), _words(there_))
            if kind in (Kind.DIFFERS, Kind.DEVICE, Kind.INSIDE, Kind.REFUSED):
                # Differences in later statements may only follow from this one.
                break
    return worst


def _kind(there: Outcome, here: Outcome, is_random: bool) -> Kind:
    if here.error:
        if there.error and here.own == there.own:
            return Kind.BOTH
        if any(said in here.error for said in _REFUSES):
            return Kind.REFUSED
        return Kind.INSIDE if here.own else Kind.BOTH if there.error else Kind.DEVICE
    if there.error:
        return Kind.HOST
    return Kind.SAME if _agree(there.value, here.value, is_random) else Kind.DIFFERS


def _agree(there: Value, here: Value, is_random: bool) -> bool:
    if is_random:
        return there.what == here.what
    if (there.what, there.text) != (here.what, here.text) or len(there.numbers) != len(here.numbers):
        return False
    return all(_close(first, second) for first, second in zip(there.numbers, here.numbers, strict=True))


def _close(first: float | str, second: float | str) -> bool:
    if isinstance(first, str) or isinstance(second, str):
        return first == second
    return first == second or abs(first - second) <= 1e-5 + 1e-4 * abs(first)


def _finite(numbers: Iterable[float]) -> tuple[float | str, ...]:
    return tuple(number if math.isfinite(number) else str(number) for number in numbers)


def _words(outcome: Outcome) -> str:
    if outcome.error:
        return outcome.error
    value = outcome.value
    return f"{value.what} {value.text[:200]} {list(value.numbers[:12])}"


if __name__ == "__main__":
    app()
