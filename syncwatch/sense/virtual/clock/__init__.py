"""The virtual clock and the memory of the virtual device, as Python sees them."""
