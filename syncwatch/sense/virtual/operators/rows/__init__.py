"""The rows of the table of operators that wait. Importing this package enters all of them, one file a family."""

from __future__ import annotations

from syncwatch.sense.virtual.operators.rows import (
    extensions,
    indexing,
    linalg,
    losses,
    nested,
    quantized,
    sizes,
    sorting,
    sparse,
    sparse_layouts,
    sparse_softmax,
    values,
)

FAMILIES = (
    extensions,
    indexing,
    linalg,
    losses,
    nested,
    quantized,
    sizes,
    sorting,
    sparse,
    sparse_layouts,
    sparse_softmax,
    values,
)
