"""What torch's Python says of CUDA while the virtual device is on; every name is put back afterwards."""
