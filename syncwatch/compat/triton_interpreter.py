"""What the virtual device replaces in Triton's interpreter; Triton documents none of it."""

from __future__ import annotations

from typing import Any

from syncwatch.compat.private_name import Builds, PrivateName

_TRIED = "3.5 to 3.9"
_NO_KERNELS = "Triton kernels are refused on the virtual device."
_WRONG = "Triton kernels are refused on the virtual device, since bfloat16 would be wrong."

MODULE = "triton.runtime.interpreter"
LAUNCH = PrivateName(f"{MODULE}.GridExecutor.__call__", _TRIED, _NO_KERNELS)
COPY_IN = PrivateName(
    f"{MODULE}.GridExecutor._init_args_hst", _TRIED, "the interpreter copies what a kernel is given, as it likes."
)
COPY_OUT = PrivateName(
    f"{MODULE}.GridExecutor._restore_args_dev", _TRIED, "the interpreter copies what a kernel gave, as it likes."
)
ARRAY_TYPE = PrivateName(f"{MODULE}._get_np_dtype", _TRIED, _WRONG)
CHECK_WIDTH = PrivateName(
    f"{MODULE}._validate_np_data_size",
    "3.6 to 3.9",
    "the interpreter does not check how wide the array of a value is, as Triton 3.5 does not.",
    Builds.SOME_VERSIONS,
)
MEMORY = PrivateName(f"{MODULE}._interpreter", _TRIED, _WRONG)
ATOMICS = PrivateName(f"{MODULE}._ir", _TRIED, _WRONG)
SCALED_PRODUCT = PrivateName(
    f"{MODULE}._mxfp_value_handle_to_float32",
    "3.8",
    "`tl.dot_scaled` takes bfloat16 as the interpreter does.",
    Builds.SOME_VERSIONS,
)
TENSOR_METHODS = PrivateName(f"{MODULE}._patch_lang_tensor", _TRIED, _WRONG)
BENCHMARK = PrivateName(
    "triton.runtime.autotuner.Autotuner._bench",
    _TRIED,
    "an autotuner times each of its configurations in the interpreter, which takes long and says nothing of a GPU.",
)
NAMES = (
    *(LAUNCH, COPY_IN, COPY_OUT, ARRAY_TYPE, CHECK_WIDTH, MEMORY, ATOMICS, SCALED_PRODUCT, TENSOR_METHODS, BENCHMARK),
)


def timer_of(autotuner: Any) -> Any:
    """Return the function that the user gave an autotuner to time kernels with, or Triton's own."""
    return getattr(autotuner, "_do_bench", None)
