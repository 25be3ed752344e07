"""Answers: what does a program do on a GPU that is not there? A virtual CUDA device on ordinary CPU tensors."""
