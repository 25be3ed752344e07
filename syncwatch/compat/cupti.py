"""Numbers and layouts of CUPTI's and CUDA's headers, which ctypes needs and no package gives.

From cupti_callbacks.h, cupti_result.h and generated_cuda_meta.h of CUDA 12.8 and 13.0, where they are the same.
"""

from __future__ import annotations

import ctypes

DRIVER_API = 1
"""CUPTI_CB_DOMAIN_DRIVER_API of cupti_callbacks.h; runtime calls arrive here too, as the driver calls they make."""
MULTIPLE_SUBSCRIBERS = 39
"""CUPTI_ERROR_MULTIPLE_SUBSCRIBERS_NOT_SUPPORTED of cupti_result.h."""
CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)
"""CUpti_CallbackFunc: the user's pointer, the domain, the callback id, the address of `CUpti_CallbackData`."""

_PARAMETERS_AT = 16
"""Where `functionParams` stands in `CUpti_CallbackData`: behind the call site and the function's name."""
_BYTES_AT = 16
"""Where `ByteCount` stands in the parameters of every linear copy: behind two pointers (generated_cuda_meta.h)."""

_int_at = ctypes.c_int.from_address
_pointer_at = ctypes.c_uint64.from_address


def returns(data: int) -> bool:
    """Return whether the call whose `CUpti_CallbackData` lies at `data` returns; else it begins (`callbackSite`)."""
    return _int_at(data).value != 0


def copied_bytes(data: int) -> int:
    """Return how many bytes the copy call whose `CUpti_CallbackData` lies at `data` moves."""
    return _pointer_at(_pointer_at(data + _PARAMETERS_AT).value + _BYTES_AT).value
