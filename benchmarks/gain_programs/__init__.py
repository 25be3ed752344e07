"""Programs in which a flag removes a wait and leaves the GPU's work as it is: `benchmarks/gains.py` times them."""
