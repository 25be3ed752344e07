"""The device itself, in C++: real tensors of `cuda:0` over host memory, under torch's own dispatcher; see docs/adr."""
