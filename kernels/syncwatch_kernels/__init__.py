"""The kernels that the scenarios run: open Triton kernels, each beside a plain torch reference."""
