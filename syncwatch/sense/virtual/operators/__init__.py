"""What is known of operators on CUDA: which wait, what they are called, and the values that the CPU cannot give."""
