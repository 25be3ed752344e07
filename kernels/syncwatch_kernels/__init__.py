"""Answers: which kernels do the scenarios run? Open Triton kernels, each beside a plain torch reference."""
