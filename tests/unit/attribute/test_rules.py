"""Each row is a line as a sensor records it; with and without its operator, the rules give it the same cause."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncwatch.attribute.rules import Evidence, classify
from syncwatch.attribute.stacks import locate
from syncwatch.model.events import Direction, Frame, SyncKind
from tests.helpers.fakes import frame, torch_frame

SCALAR = "aten._local_scalar_dense"
D2H, H2D = Direction.D2H, Direction.H2D


def code_of(
    *frames: Frame,
    op: str | None = None,
    direction: Direction | None = None,
    kind: SyncKind = SyncKind.STREAM,
    explicit: bool = False,
    small: bool = False,
    foreign: bool = False,
) -> str:
    place = locate(frames)
    return classify(Evidence(kind, explicit, op, place, direction, small, foreign, None)).code


LINES: list[tuple[str, str, str, str | None, Direction | None]] = [
    # code, line, expression, operator, direction of the copy
    ("SW101", "total += loss.item()", "loss.item()", SCALAR, D2H),
    ("SW101", "x = float(loss)", "float(loss)", SCALAR, D2H),
    ("SW101", "n = int(lengths.max())", "int(lengths.max())", SCALAR, D2H),
    ("SW101", "for i in range(n):", "range(n)", SCALAR, D2H),
    ("SW101", "if x.item() > 3:", "x.item()", SCALAR, D2H),
    ("SW101", "print(x.item())", "x.item()", SCALAR, D2H),
    ("SW102", "lengths = cu_seqlens.tolist()", "cu_seqlens.tolist()", "Tensor.tolist", D2H),
    ("SW102", "lengths = cu_seqlens.tolist()", "cu_seqlens.tolist()", SCALAR, D2H),
    ("SW102", "lengths = x[mask].tolist()", "x[mask].tolist()", "aten::copy_", D2H),
    ("SW103", "if flag:", "if flag: y = x.item()", SCALAR, D2H),
    ("SW103", "if flag: pass", "flag", SCALAR, D2H),
    ("SW103", "while t < 3:", "t < 3", SCALAR, D2H),
    ("SW103", "if not t:", "not t", SCALAR, D2H),
    ("SW103", "if (x > 0).any():", "(x > 0).any()", SCALAR, D2H),
    ("SW103", "assert t", "assert t", "aten.is_nonzero", D2H),
    ("SW103", "done = bool(t)", "bool(t)", SCALAR, D2H),
    ("SW103", "y = a if t else b", "a if t else b", SCALAR, D2H),
    ("SW103", "y = t and u", "t and u", SCALAR, D2H),
    ("SW103", "same = torch.equal(a, b)", "torch.equal(a, b)", "aten.equal", D2H),
    ("SW103", "same = a.allclose(b)", "a.allclose(b)", "aten.allclose", D2H),
    ("SW103", "y = max(a, b)", "max(a, b)", SCALAR, D2H),
    ("SW104", "y = x.cpu()", "x.cpu()", "aten._to_copy", D2H),
    ("SW104", "y = x.to('cpu')", "x.to('cpu')", "aten._to_copy", D2H),
    ("SW104", 'y = x.to(torch.device("cpu"))', 'x.to(torch.device("cpu"))', "aten._to_copy", D2H),
    ("SW104", "host.copy_(x)", "host.copy_(x)", "aten.copy_", D2H),
    ("SW104", "y = x.cpu().numpy()", "x.cpu()", "aten::copy_", D2H),
    ("SW201", "y = x[mask]", "x[mask]", "aten.nonzero", D2H),
    ("SW201", "y = x[mask]", "x[mask]", "aten.index.Tensor", D2H),
    ("SW201", "y = x[:, mask]", "x[:, mask]", "aten::nonzero", D2H),
    ("SW201", "if x[mask] == 3:", "x[mask]", "aten.nonzero", D2H),
    ("SW201", "y = x[~mask].sum()", "x[~mask]", "aten.index", D2H),
    ("SW202", "rows = mask.nonzero()", "mask.nonzero()", "aten.nonzero", D2H),
    ("SW202", "rows = torch.argwhere(mask)", "torch.argwhere(mask)", "aten.nonzero", D2H),
    ("SW202", "(rows,) = torch.where(mask)", "torch.where(mask)", "aten.nonzero", D2H),
    ("SW203", "y = torch.masked_select(x, m)", "torch.masked_select(x, m)", "aten.masked_select", D2H),
    ("SW204", "y = x.repeat_interleave(n)", "x.repeat_interleave(n)", "aten.repeat_interleave.Tensor", D2H),
    ("SW204", "y = torch.repeat_interleave(x, n)", "torch.repeat_interleave(x, n)", "aten::_local_scalar_dense", D2H),
    ("SW205", "u = torch.unique(ids)", "torch.unique(ids)", "aten._unique2", D2H),
    ("SW205", "u = ids.unique_consecutive()", "ids.unique_consecutive()", "aten.unique_consecutive", D2H),
    ("SW206", "y = F.one_hot(labels)", "F.one_hot(labels)", SCALAR, D2H),
    ("SW207", "y = torch.bincount(ids)", "torch.bincount(ids)", "aten.bincount", D2H),
    ("SW207", "y = x.histc(10)", "x.histc(10)", "aten.histc", D2H),
    ("SW207", "y = torch.tensor_split(x, at)", "torch.tensor_split(x, at)", "aten._to_copy", D2H),
    ("SW208", "x[mask] = y", "x[mask]", "aten.nonzero", D2H),
    ("SW208", "x[mask] = y", "x[mask]", "aten.index_put_", D2H),
    ("SW208", "x[mask] += 1", "x[mask]", "aten.index.Tensor", D2H),
    ("SW301", "y = torch.tensor(ids, device='cuda')", "torch.tensor(ids, device='cuda')", "aten._to_copy", H2D),
    ("SW301", "y = x.new_tensor([0])", "x.new_tensor([0])", "aten._to_copy", H2D),
    ("SW301", "y = torch.as_tensor(a, device=d)", "torch.as_tensor(a, device=d)", None, H2D),
    ("SW302", "batch = batch.to(device)", "batch.to(device)", "aten._to_copy", H2D),
    ("SW302", "y = x.cuda()", "x.cuda()", "aten::copy_", H2D),
    ("SW302", "dest.copy_(host)", "dest.copy_(host)", "aten.copy_", H2D),
    ("SW302", "x[:] = host", "x[:]", "aten.copy_", H2D),
    ("SW302", "x[:n] = host", "x[:n]", "aten::copy_", H2D),
    ("SW302", "x[0] = host", "x[0]", "aten::copy_", H2D),
    ("SW104", "host[:8] = x[:8]", "host[:8]", "aten.copy_", D2H),
    ("SW101", "y = torch.tensor([a, b])", "torch.tensor([a, b])", SCALAR, D2H),
    ("SW303", "y = x[range(3)]", "x[range(3)]", "aten.index", H2D),
    ("SW303", "y = x[[0, 2]]", "x[[0, 2]]", "aten._to_copy", H2D),
    ("SW303", "y = x[index]", "x[index]", "aten._to_copy", H2D),
    ("SW303", "x[index] = y", "x[index]", "aten.index_put_", H2D),
    ("SW304", "y.copy_(x, non_blocking=True)", "y.copy_(x, non_blocking=True)", "aten.copy_", D2H),
    ("SW304", "y = x.to(d, non_blocking=True)", "x.to(d, non_blocking=True)", "aten._to_copy", H2D),
    ("SW305", "y = x[:n]", "x[:n]", SCALAR, D2H),
    ("SW305", "y = x[i]", "x[i]", SCALAR, D2H),
    ("SW501", "a = torch.linalg.cholesky(m)", "torch.linalg.cholesky(m)", "aten.linalg_cholesky_ex", D2H),
    ("SW501", "a = torch.inverse(m)", "torch.inverse(m)", SCALAR, D2H),
    ("SW501", "a = linalg.lstsq(m, b)", "linalg.lstsq(m, b)", None, None),
]
IDS = [f"{code}: {line} [{op}]" for code, line, _, op, _ in LINES]


@pytest.mark.parametrize(("code", "line", "expression", "op", "direction"), LINES, ids=IDS)
def test_a_recorded_expression_names_the_cause(
    code: str, line: str, expression: str, op: str | None, direction: Direction | None
) -> None:
    assert code_of(frame(line, expression), op=op, direction=direction) == code


@pytest.mark.parametrize(("code", "line", "expression", "op", "direction"), LINES, ids=IDS)
def test_the_copy_alone_names_the_same_cause_where_no_operator_was_recorded(
    code: str, line: str, expression: str, op: str | None, direction: Direction | None
) -> None:
    if line == "y = x[i]":
        pytest.skip("without the operator a scalar index cannot be told from a mask")
    assert code_of(frame(line, expression), direction=direction) == code


@pytest.mark.parametrize(("code", "line", "expression", "op", "direction"), LINES, ids=IDS)
def test_the_whole_line_names_the_same_cause_before_python_3_11(
    code: str, line: str, expression: str, op: str | None, direction: Direction | None
) -> None:
    assert code_of(frame(line), op=op, direction=direction) == code


@pytest.mark.parametrize(
    ("line", "op", "code"),
    [
        ("y = float(x[mask].sum())", "aten.nonzero", "SW201"),
        ("y = float(x[mask].sum())", SCALAR, "SW101"),
        ("x[m] = torch.unique(y)[0]", "aten._unique2", "SW205"),
        ("x[m] = torch.unique(y)[0]", "aten.index_put_", "SW208"),
        ("x[a] = y[b]", "aten.index_put_", "SW208"),
        ("x[a] = y[b]", "aten.index", "SW201"),
        ("elif t:", SCALAR, "SW103"),
        (").tolist()", None, "SW102"),
        ("y = foo(x,", "aten.nonzero", "SW202"),
        ("y = foo(x", None, "SW900"),
        ("'unterminated", SCALAR, "SW101"),
        ("", None, "SW900"),
    ],
)
def test_a_line_with_several_candidates_is_decided_by_the_operator(line: str, op: str | None, code: str) -> None:
    assert code_of(frame(line), op=op) == code


@pytest.mark.parametrize(
    ("kind", "code"), [(SyncKind.DEVICE, "SW401"), (SyncKind.STREAM, "SW402"), (SyncKind.EVENT, "SW403")]
)
def test_a_wait_that_was_asked_for_is_named_by_what_it_waits_for(kind: SyncKind, code: str) -> None:
    # GIVEN the three ways in which a sensor can know that the wait was asked for
    line = frame("thing.synchronize()", "thing.synchronize()")
    below = torch_frame("cuda/streams.py", "Stream.synchronize", "super().synchronize()")

    # THEN each is enough
    assert code_of(frame("pace()", "pace()"), kind=kind, explicit=True) == code
    assert code_of(line, kind=kind) == code
    assert code_of(below, frame("pace()", "pace()"), kind=kind) == code


def test_a_wait_without_a_synchronization_call_is_a_copy_that_only_looked_asynchronous() -> None:
    assert code_of(frame("y.copy_(x, non_blocking=True)"), kind=SyncKind.COPY) == "SW304"


@pytest.mark.parametrize("line", ["print(t)", "log.info('%s', t)", "s = f'{t}'", "s = str(t)", "raise Bad(t)"])
def test_printing_is_known_by_the_frames_below(line: str) -> None:
    below = [torch_frame("_tensor_str.py", "_str"), torch_frame("_tensor.py", "Tensor.__repr__")]
    assert code_of(*below, frame("f()", file="<stdlib>/logging/__init__.py"), frame(line), op=SCALAR) == "SW105"


@pytest.mark.parametrize("expression", ["print(t)", "f'{t}'", "{t}", "{t:.3f}", "{t!r}", "str(t)", "'{}'.format(t)"])
def test_printing_is_known_by_the_expression(expression: str) -> None:
    assert code_of(frame(expression, expression)) == "SW105"


def test_a_distribution_that_checks_its_arguments_is_not_an_anonymous_branch() -> None:
    below = torch_frame(
        "distributions/distribution.py", "Distribution.__init__", "if not valid.all():", "if not v: raise"
    )
    assert code_of(below, frame("d = Categorical(p)", "Categorical(p)"), op=SCALAR) == "SW209"


def test_a_library_call_is_judged_by_the_line_of_torch_that_waited() -> None:
    optimizer = torch_frame("optim/adam.py", "_get_value", "return x.item()", "x.item()")
    clip = torch_frame("nn/utils/clip_grad.py", "clip", "if error and norm.isnan():", "if error and norm.isnan():")

    assert code_of(optimizer, frame("opt.step()", "opt.step()")) == "SW101"
    assert code_of(clip, frame("clip_grad_norm_(p, 1.0)", "clip_grad_norm_(p, 1.0)")) == "SW103"


def test_a_branch_inside_torch_is_a_branch() -> None:
    below = torch_frame("testing/_comparison.py", "compare", "if torch.all(matches):", "torch.all(matches)")
    plumbing = torch_frame("_dynamo/eval_frame.py", "_fn", "return fn(*args, **kwargs)", "fn(*args, **kwargs)")
    assert code_of(plumbing, below, frame("assert_close(a, b)", "assert_close(a, b)"), op=SCALAR) == "SW103"
    assert code_of(plumbing, frame("return not x.any()", "x.any()"), op=SCALAR) == "SW103"


@pytest.mark.parametrize(
    ("line", "expression", "code"),
    [
        ("(n == 1) and (m is None or fast_all(m))", "fast_all(m)", "SW103"),
        ("ok = kv and fast_all(m)", "fast_all(m)", "SW103"),
        ("(kv or fast_all(m)", "fast_all(m)", "SW103"),
        ("y = torch.arange(n) if d else None", "torch.arange(n)", "SW101"),
        ("x = [a for a in b if check(a)]", "check(a)", "SW103"),
    ],
)
def test_a_scalar_read_at_a_call_belongs_to_the_test_of_its_result(line: str, expression: str, code: str) -> None:
    assert code_of(frame(line, expression), op=SCALAR) == code


def test_the_users_expression_goes_before_the_line_of_torch_below_it() -> None:
    below = torch_frame("functional.py", "_unique_impl", "torch._unique2(input)", "torch._unique2(input)")
    assert code_of(below, frame("torch.unique(x)", "torch.unique(x)")) == "SW205"


@pytest.mark.parametrize(
    ("op", "code"),
    [
        ("aten._local_scalar_dense.default", "SW101"),
        ("aten::nonzero", "SW202"),
        ("aten.index.Tensor", "SW201"),
        ("aten.index_put_.default", "SW208"),
        ("aten.masked_select", "SW203"),
        ("aten._unsafe_index_put", "SW208"),
        ("aten._to_sparse_csr", "SW207"),
        ("aten.normal.Tensor_Tensor", "SW209"),
        ("aten._unique2", "SW205"),
        ("aten.linalg_inv_ex", "SW501"),
        ("aten._linalg_eigh", "SW501"),
        ("Tensor.tolist", "SW102"),
        ("Tensor.cpu", "SW104"),
    ],
)
def test_the_operator_speaks_where_the_source_says_nothing(op: str, code: str) -> None:
    assert code_of(frame("y = helper(x)", "helper(x)"), op=op) == code
    assert code_of(op=op) == code


@pytest.mark.parametrize(
    ("direction", "small", "code"), [(D2H, True, "SW101"), (D2H, False, "SW104"), (H2D, False, "SW302")]
)
def test_the_copy_speaks_where_nothing_else_does(direction: Direction, small: bool, code: str) -> None:
    assert code_of(frame("y = helper(x)", "helper(x)"), direction=direction, small=small) == code


def test_a_wait_that_torch_did_not_announce_belongs_to_a_library() -> None:
    line = frame("out = ext.forward(x)", "ext.forward(x)")
    assert code_of(line, foreign=True) == "SW502"
    assert code_of(line, kind=SyncKind.DEVICE) == "SW502"


def test_what_no_rule_explains_says_so() -> None:
    assert code_of(frame("out = ext.forward(x)", "ext.forward(x)")) == "SW900"
    assert code_of() == "SW900"


@pytest.mark.parametrize("line", ["if ready(x):", "done = known or ready(x)"])
def test_a_value_that_python_asked_for_its_truth_was_branched_on(line: str) -> None:
    asked = replace(frame(line, "ready(x)"), branches=True)

    assert code_of(asked, op=SCALAR) == "SW103"
    assert code_of(asked) == "SW103"
    assert code_of(frame("y = ready(x)", "ready(x)"), op=SCALAR) == "SW101"
