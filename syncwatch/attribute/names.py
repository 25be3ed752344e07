"""The names in a line, or of an operator, that point to a cause."""

from __future__ import annotations

from syncwatch.attribute.causes import other_waits, reading, shapes
from syncwatch.attribute.causes.base import Cause

CAUSE_BY_NAME: dict[str, Cause] = {
    name: cause
    for cause, names in (
        (reading.LIST_READ, "tolist"),
        (reading.SCALAR_READ, "item _local_scalar_dense"),
        (reading.TRUTH_VALUE, "is_nonzero equal allclose __bool__ __contains__"),
        (reading.BLOCKING_READ, "cpu numpy"),
        (shapes.NONZERO, "nonzero argwhere nonzero_numpy"),
        (shapes.MASKED_SELECT, "masked_select"),
        (shapes.REPEAT_INTERLEAVE, "repeat_interleave"),
        (shapes.UNIQUE, "unique unique_consecutive unique_dim unique_dim_consecutive _unique _unique2"),
        (shapes.ONE_HOT, "one_hot"),
        (shapes.DATA_DEPENDENT_SIZE, "bincount histc histogramdd combinations unravel_index tensor_split"),
        (shapes.DATA_DEPENDENT_SIZE, "to_sparse coalesce _segment_reduce segment_reduce ctc_loss _ctc_loss"),
        (shapes.DATA_DEPENDENT_SIZE, "_ctc_loss_backward _coalesce _to_sparse isin pack_padded_sequence"),
        (shapes.DATA_DEPENDENT_SIZE, "_pack_padded_sequence _nested_tensor_size"),
        (shapes.DATA_DEPENDENT_SIZE, "_to_sparse_csr _to_sparse_csc _to_sparse_bsr _to_sparse_bsc"),
        (shapes.SAMPLING, "multinomial normal"),
        (shapes.MASK_STORE, "index_put index_put_ _index_put_impl_ _unsafe_index_put"),
        (
            other_waits.LINEAR_ALGEBRA,
            "inverse cholesky cholesky_inverse lu lu_solve svd eig eigh pinverse lstsq solve det",
        ),
        (other_waits.LINEAR_ALGEBRA, "slogdet logdet matrix_rank matrix_exp geqrf ldl_factor lu_factor lobpcg"),
    )
    for name in names.split()
}
"""Names of methods, functions and bare operators that mean one cause wherever they occur."""

INDEX_STORES = frozenset(["index_put", "index_put_", "_index_put_impl_", "_unsafe_index_put"])
"""Operators that assign through an index."""

HOST_DATA = frozenset(
    [
        "tensor",
        "as_tensor",
        "asarray",
        "new_tensor",
        "scalar_tensor",
        "from_dlpack",
        "Tensor",
        "FloatTensor",
        "LongTensor",
        "IntTensor",
        "BoolTensor",
        "HalfTensor",
        "DoubleTensor",
        "ByteTensor",
    ]
)
"""Calls that build a tensor from Python data."""

MOVES = frozenset(["to", "cuda", "copy_", "_to_copy", "copy", "type", "_copy_from"])
"""Calls that copy a tensor; which way decides the cause."""

SCALAR_BUILTINS = frozenset(
    ["int", "float", "complex", "range", "round", "index", "hex", "bin", "oct", "chr", "divmod", "pow", "abs"]
)
"""Builtins that take a number out of a tensor."""

TRUTH_BUILTINS = frozenset(["bool", "any", "all", "max", "min", "sorted", "filter"])
"""Builtins that take a truth value out of a tensor."""

PRINTING = frozenset(["print", "str", "repr", "format", "ascii", "pprint"])
"""Calls that format a tensor."""

SCALAR_OPS = frozenset({"_local_scalar_dense", "item", "is_nonzero", "equal", "__bool__"})
"""Operators that read one element."""

PREDICATES = frozenset(
    [
        "any",
        "all",
        "eq",
        "ne",
        "lt",
        "gt",
        "le",
        "ge",
        "less",
        "greater",
        "isnan",
        "isinf",
        "isfinite",
        "isclose",
        "isin",
        "logical_not",
        "logical_and",
        "logical_or",
    ]
)
"""Operators whose result is a truth value, though they do not read it themselves."""
