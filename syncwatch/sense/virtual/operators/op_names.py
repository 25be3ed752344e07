"""The names of operators in recordings: as torch's profiler calls the innermost one on CUDA.

`aten.` and the operator, without its overload: `aten.nonzero` for `aten::nonzero`. Every row of the table of blocking
operators is its own name. What never reaches the dispatcher on the CPU has one of the names below.
"""

from __future__ import annotations

from typing import Final

MOVE: Final = "aten._to_copy"
"""`.to`, `.cuda`, `.cpu`, `.tolist`, `.type`, `torch.tensor(..., device=)`, `as_tensor`, `new_tensor`, `x[[0, 1]]`."""
COPY: Final = "aten.copy_"
"""`copy_`, `x[0] = 1`, and storages that are saved, loaded or moved."""
SCALAR: Final = "aten._local_scalar_dense"
"""`.item()`, `float`, `int`, `bool`, `if`, a scalar index or bound, tensors in `torch.tensor([...])`, `one_hot`."""
EXPLICIT: Final = None
"""`synchronize` of the device, a stream or an event: the user asked, no operator did."""
