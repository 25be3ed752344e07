"""The scenarios that come with syncwatch, a package each, on the contract of `syncwatch.bench`.

Each package declares its name, variants and options in `__init__`, without torch; `workload` builds and runs the steps.

gdn_prefill    prefill of Gated DeltaNet (GDN) layers: `prefill_run` makes options into shapes, draws
               sequences and sends their metadata, `host_work` is what an engine does besides launching
spec_decode    serving with speculative decoding: `serving_loop` is the server, `inputs` and `metadata` what the device
               is told of a step, `model` and `sampling` what it computes, `presets` models and loads
seq_lens       sequence lengths that only the GPU knows: `planning` is the seven places that want them,
               `async_scheduler` and `traffic` what is served, `serving_steps` the loop of one variant and what the
               host knows instead, `batch` a step on the device
kernel_warmup  cold kernels in fresh processes: `workload` starts them in turn, `warm_process` is one, `chain`
               and `unfused_kernels` are what it warms up, `variants` how, `figures` what it tells

Shared by them:

hybrid_model   `sizes` of the served models, and the `layers` that stand for theirs
serving        an engine's requests and `scheduler` of continuous batches, and the `metrics` of its clients
"""
