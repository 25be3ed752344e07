"""What code that waits, copies to the host or allocates looks like in C++ and CUDA, as regular expressions."""

from __future__ import annotations

import re

_ALGORITHMS = (
    "adjacent_difference|all_of|any_of|copy|copy_if|copy_n|count|count_if|equal|exclusive_scan|fill|find|find_if|"
    "for_each|for_each_n|gather|generate|inclusive_scan|inner_product|is_sorted|lower_bound|max_element|min_element|"
    "minmax_element|none_of|partition|reduce|reduce_by_key|remove_if|scatter|sequence|set_intersection|sort|"
    "sort_by_key|stable_sort|stable_sort_by_key|tabulate|transform|transform_reduce|unique|unique_by_key|upper_bound"
)
_SIZED = (
    "nonzero|nonzero_numpy|nonzero_out|masked_select|_unique|_unique2|unique_dim|unique_consecutive|_?coalesce|"
    "repeat_interleave|bincount|histc|argwhere|_?to_sparse(?:_csr|_csc|_bsr|_bsc)?"
)
_LIBRARIES = (
    r"\bMagmaStreamSyncGuard\s+\w+;",
    r"\bmagma(?:Lu|Eig|Ldl|Triangular)\w*<\w+>\s*\(",
    r"\bcudssExecute\s*\(",
    r"\bcusparseSpGEMM_\w+\s*\(",
    r"\bxgeev\w*\s*(?:<[^;(){}]*>)?\s*\(",
    r"\bxsyevd\w*\s*<[^;(){}]*>\s*\(",
    r"\bcusolverDn\w*[sS]ytr[fs]\w*\s*\(",
    r"\bsytrf\s*<",
    r"\bgesvd\w*<",
)
_PATTERNS = {
    "waits for the stream": r"\b(?:(?:cuda|hip|cu)S|s)tream_?[Ss]ynchronize\s*\(|\bmagma_queue_sync\s*\(",
    "waits for the device": r"\bcudaDeviceSynchronize\s*\(|\bdevice_synchronize\s*\(",
    "waits for an event": r"\bcudaEventSynchronize\s*\(|\bevent\w*(?:\.|->)synchronize\s*\(",
    "synchronize()": r"(?<!event)(?:\.|->)synchronize\s*\(",
    "copies and waits": r"\bmemcpy_and_sync\s*\(",
    "cudaMemcpy": r"\bcudaMemcpy\w*\s*\(",
    "allocates by the driver": r"\bcuda(?:Malloc|Free|HostAlloc|FreeHost|MallocHost|HostRegister)\w*\s*\("
    r"|\bmagma_\w*malloc\w*\s*\(",
    "library that waits": "|".join(_LIBRARIES),
    "item": r"(?:\.|->)(?:template\s+)?item\s*(?:<[^;{}()]*>)?\s*\(\s*\)|\b_local_scalar_dense\s*\(",
    "to the host": r"(?:\.|->)cpu\s*\(\s*\)|(?:\.|->)to\s*\([^;]{0,60}?(?:\bkCPU\b|DeviceType::CPU)",
    "from the host": r"\bat::tensor\s*\(|\btorch::tensor\s*\(|(?:\.|->)cuda\s*\(\s*\)|\bfrom_blob\s*\(",
    "truth of a tensor": r"\bis_nonzero\s*\(|\ballclose\s*\(",
    "equal": r"\bat::equal\s*\(|\bcuda_equal\s*\(|\bat::native::equal\s*\(|(?<=[a-z_])\.equal\s*\(",
    "checks info": r"\b_linalg_check_errors\s*\(",
    "size by values": rf"\b(?:{_SIZED})\s*\(",
    "thrust": rf"\bthrust::(?:{_ALGORITHMS})\s*\(\s*(?!thrust::(?:host|device|seq))",
}
PATTERNS = {name: re.compile(pattern) for name, pattern in _PATTERNS.items()}
"""From why a place may wait, copy or allocate to the expression that finds it."""
