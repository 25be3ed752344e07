"""Names of torch, Triton, nvtx, CUPTI and CPython that none of them documents, for the modules that use them.

Each stands here once, with the versions that it was tried with and what is lost where it is gone. The rest of syncwatch
uses what this package returns, never the name itself; `syncwatch doctor` looks each of them up.
"""
