"""Chrome's trace JSON, as kineto writes it for torch.profiler: read into processes, and written for Perfetto."""
