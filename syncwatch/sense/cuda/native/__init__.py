"""The C++ library that takes CUPTI's records, and how it is found, built and loaded."""
