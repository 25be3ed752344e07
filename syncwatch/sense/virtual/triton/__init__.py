"""Triton's kernels on the virtual device: in its interpreter, with numbers as on a GPU."""
