"""The rows of the table of operators that wait. Importing this package enters all of them, one file a family."""

from __future__ import annotations

from syncwatch.sense.virtual.operators.rows import (
    indexing,
    linalg,
    losses,
    nested,
    sizes,
    sparse,
    sparse_layouts,
    values,
)

FAMILIES = (
    indexing,
    linalg,
    losses,
    nested,
    sizes,
    sparse,
    sparse_layouts,
    values,
)
