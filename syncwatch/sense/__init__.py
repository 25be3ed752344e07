"""Watches a program and records what happened on the host and the device.

With `bench`, the only stage that imports torch.
"""
