"""Programs that control the GPU themselves: streams, graphs, host threads, compiled code, several devices."""

from __future__ import annotations

import copy
import pickle
import threading
import time

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from benchmarks.program_set.registry import program


@program()
def prefetch_on_a_side_stream() -> None:
    class Prefetcher:
        def __init__(self, batches: list[torch.Tensor]) -> None:
            self.batches, self.stream = iter(batches), torch.cuda.Stream()
            self.preload()

        def preload(self) -> None:
            self.next = next(self.batches, None)
            if self.next is not None:
                with torch.cuda.stream(self.stream):
                    self.next = self.next.cuda(non_blocking=True).float().div_(255)

        def __call__(self) -> torch.Tensor | None:
            torch.cuda.current_stream().wait_stream(self.stream)
            batch = self.next
            if batch is not None:
                batch.record_stream(torch.cuda.current_stream())
                self.preload()
            return batch

    model = nn.Linear(64, 8).cuda()
    fetch = Prefetcher([torch.randint(0, 255, (16, 64), dtype=torch.uint8).pin_memory() for _ in range(4)])
    while (batch := fetch()) is not None:
        model(batch).sum().backward()


@program()
def timing_with_events() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)).cuda()
    x = torch.randn(32, 64, device="cuda")
    times = []
    for _ in range(3):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        model(x)
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    torch.cuda.synchronize()
    before = time.perf_counter()
    model(x)
    torch.cuda.current_stream().synchronize()
    print(sum(times), time.perf_counter() - before, torch.cuda.max_memory_allocated() > 0)
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.empty_cache()


@program()
def cuda_graph_replay() -> None:
    model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)).cuda()
    static = torch.randn(8, 32, device="cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), torch.no_grad():
        for _ in range(3):
            model(static)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        out = model(static)
    for _ in range(3):
        static.copy_(torch.randn(8, 32))
        graph.replay()
        print(out.argmax(-1).tolist())


@program()
def graphed_callables_training() -> None:
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2)).cuda()
    sample = torch.randn(8, 16, device="cuda")
    graphed = torch.cuda.make_graphed_callables(model, (sample,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad(set_to_none=False)
        loss = F.mse_loss(graphed(torch.randn(8, 16, device="cuda")), torch.zeros(8, 2, device="cuda"))
        loss.backward()
        optimizer.step()
        print(loss.item())


@program()
def compiled_training_step() -> None:
    model = torch.compile(nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 4)).cuda(), backend="aot_eager")
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(2):
        x, y = torch.randn(8, 16).cuda(), torch.randint(0, 4, (8,)).cuda()
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(loss.item())


@program()
def data_parallel_on_what_there_is() -> None:
    model = nn.DataParallel(nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        loss = model(torch.randn(8, 16).cuda()).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(loss.mean().item(), torch.cuda.device_count() > 0)
    torch.save(model.module.state_dict(), "/dev/null")


@program()
def threads_that_read_results() -> None:
    results: list[float] = []
    data = torch.randn(4, 64, device="cuda")

    def work(row: int) -> None:
        torch.cuda.set_device(0)
        with torch.cuda.stream(torch.cuda.Stream()):
            results.append(data[row].square().sum().item())

    threads = [threading.Thread(target=work, args=(row,)) for row in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    print(sum(results))


@program()
def async_logging_one_step_late() -> None:
    host = torch.empty(4, pin_memory=True)
    ready = torch.cuda.Event()
    model = nn.Linear(8, 1).cuda()
    logged = []
    for step in range(4):
        loss = model(torch.randn(4, 8, device="cuda")).square().mean()
        if step:
            ready.synchronize()
            logged.append(host[step - 1].item())
        host[step].copy_(loss.detach(), non_blocking=True)
        ready.record()
        loss.backward()
    torch.cuda.current_stream().synchronize()
    print(logged)


@program()
def pickling_and_copying() -> None:
    model = nn.BatchNorm1d(8).cuda()
    model(torch.randn(4, 8, device="cuda"))
    again = pickle.loads(pickle.dumps(model.state_dict()))
    copied = copy.deepcopy(model)
    copied.load_state_dict(again)
    print(copied.running_mean.storage().size(), model, copied.num_batches_tracked.item())
    storage = torch.randn(4, device="cuda").untyped_storage()
    print(storage.nbytes(), bytes(storage.cpu())[:4], len(storage.tolist()))
    state = torch.cuda.get_rng_state()
    with torch.random.fork_rng(devices=[0]):
        torch.cuda.manual_seed(3)
        torch.randn(3, device="cuda")
    torch.cuda.set_rng_state(state)


@program()
def custom_autograd_and_hooks() -> None:
    class Clamp(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, limit):  # noqa: ANN001, ANN205
            ctx.save_for_backward(x)
            ctx.limit = float(limit)
            return x.clamp(max=ctx.limit)

        @staticmethod
        def backward(ctx, grad):  # noqa: ANN001, ANN205
            (x,) = ctx.saved_tensors
            grad = grad.clone()
            grad[x > ctx.limit] = 0
            return grad, None

    model = nn.Linear(8, 8).cuda()
    norms: list[float] = []
    model.weight.register_hook(lambda grad: norms.append(grad.norm().item()))
    model.register_forward_hook(lambda module, inputs, output: print(f"mean {output.mean():.3f}"))
    model.register_full_backward_hook(lambda module, before, after: print(after[0].abs().max().item()))
    x = torch.randn(4, 8, device="cuda", requires_grad=True)
    Clamp.apply(model(x), torch.tensor(0.5, device="cuda")).sum().backward()
    print(norms)


@program()
def old_style_code() -> None:
    from torch.autograd import Variable

    x = Variable(torch.cuda.FloatTensor(4, 3).fill_(1.0), requires_grad=True)
    mask = torch.cuda.ByteTensor([1, 0, 1, 0])
    y = Variable(torch.LongTensor([0, 1, 2, 0])).cuda()
    loss = nn.CrossEntropyLoss().cuda()(x, y)
    loss.backward()
    total = loss.data.cpu().numpy()
    picked = x.data[mask.bool()]
    print(total, picked.size(), x.grad.data.norm(), torch.max(x.data, 1)[1].cpu().numpy().tolist())
    weights = torch.from_numpy(total.reshape(1)).type(torch.cuda.FloatTensor)
    print(weights.get_device(), x.is_cuda, x.data.new(2, 2).zero_().sum())


@program()
def out_of_core_matrix_product() -> None:
    host = torch.randn(256, 64).pin_memory()
    result = torch.empty(256, 32).pin_memory()
    weight = torch.randn(64, 32, device="cuda")
    streams = [torch.cuda.Stream() for _ in range(2)]
    for index, rows in enumerate(range(0, 256, 64)):
        with torch.cuda.stream(streams[index % 2]):
            part = host[rows : rows + 64].to("cuda", non_blocking=True)
            result[rows : rows + 64].copy_(part @ weight, non_blocking=True)
    torch.cuda.synchronize()
    print(result.mean().item())


@program()
def deterministic_and_debug_modes() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        x = torch.zeros(8, device="cuda")
        index = torch.tensor([0, 1, 1, 5], device="cuda")
        x.index_put_((index,), torch.ones(4, device="cuda"), accumulate=True)
        x.index_add_(0, index, torch.ones(4, device="cuda"))
        x.scatter_add_(0, index, torch.ones(4, device="cuda"))
        x[index] = 2.0
        torch.empty(4, device="cuda")
        torch.cumsum(x, 0)
        print(x.tolist())
    finally:
        torch.use_deterministic_algorithms(False)
