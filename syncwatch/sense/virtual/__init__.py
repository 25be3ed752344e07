"""What a program would do on a GPU that is not there, shown by a virtual CUDA device on ordinary CPU tensors."""
