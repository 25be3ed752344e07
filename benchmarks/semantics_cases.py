"""Small programs on streams, events, the allocator and page-locked memory, each with a result that JSON can hold.

Results are the same on any H200: counts, sizes, orders, types of errors; no times, no addresses. `device_semantics.py`
runs the programs, and frees all memory before each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

Answer = Any
Case = Callable[[], Answer]

CASES: dict[str, Case] = {}
KIB, MIB = 1 << 10, 1 << 20
LONG = 200_000_000
"""Cycles of about 0.1 s: longer than the host needs for a case."""


def case(function: Case) -> Case:
    """Add a case under its name."""
    CASES[function.__name__] = function
    return function


def take(size: int) -> torch.Tensor:
    """Allocate `size` bytes on the device."""
    return torch.empty(size, dtype=torch.uint8, device="cuda")


def pinned(size: int) -> torch.Tensor:
    """Allocate `size` bytes of page-locked memory."""
    return torch.empty(size, dtype=torch.uint8, pin_memory=True)


def now(*names: str) -> list[int]:
    """Return current figures of the caching allocator, all pools together."""
    stats = torch.cuda.memory_stats()
    return [stats[f"{name}.all.current"] for name in names]


def sizes() -> list[int]:
    """Return allocated, active and reserved bytes, and the numbers of segments and of free pieces of split blocks."""
    return now("allocated_bytes", "active_bytes", "reserved_bytes", "segment", "inactive_split")


def raised(call: Callable[[], object]) -> str:
    """Return the type of the error that `call` raises, or an empty text."""
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return ""


def busy(stream: torch.cuda.Stream | None = None) -> torch.cuda.Stream:
    """Queue long work on `stream`, or on a new one, and return it."""
    stream = stream or torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(LONG)
    return stream


# Streams.


@case
def a_fresh_stream_is_idle() -> Answer:
    return torch.cuda.Stream().query()


@case
def a_stream_with_work_is_not() -> Answer:
    stream = busy()
    before = stream.query()
    stream.synchronize()
    return before, stream.query()


@case
def streams_run_beside_each_other() -> Answer:
    one, other = busy(), torch.cuda.Stream()
    with torch.cuda.stream(other):
        torch.ones(3, device="cuda")
    other.synchronize()
    return one.query(), other.query()


@case
def the_default_stream_waits_for_no_other() -> Answer:
    side = busy()
    torch.ones(3, device="cuda")
    torch.cuda.current_stream().synchronize()
    return side.query()


@case
def synchronize_waits_for_all() -> Answer:
    streams = [busy(), busy()]
    torch.cuda.synchronize()
    return [each.query() for each in streams]


@case
def wait_stream_orders_two() -> Answer:
    one, other = busy(), torch.cuda.Stream()
    other.wait_stream(one)
    with torch.cuda.stream(other):
        torch.ones(3, device="cuda")
    before = other.query()
    other.synchronize()
    return before, one.query()


@case
def the_current_stream_is_that_of_the_block() -> Answer:
    outer, inner = torch.cuda.Stream(), torch.cuda.Stream()
    with torch.cuda.stream(outer):
        with torch.cuda.stream(inner):
            within = torch.cuda.current_stream() == inner
        after = torch.cuda.current_stream() == outer
    return within, after, torch.cuda.current_stream() == torch.cuda.default_stream()


@case
def no_stream_changes_nothing() -> Answer:
    with torch.cuda.stream(None):
        return torch.cuda.current_stream() == torch.cuda.default_stream()


@case
def set_stream_lasts() -> Answer:
    side = torch.cuda.Stream()
    torch.cuda.set_stream(side)
    found = torch.cuda.current_stream() == side
    torch.cuda.set_stream(torch.cuda.default_stream())
    return found, torch.cuda.current_stream() == torch.cuda.default_stream()


@case
def each_thread_has_a_current_stream() -> Answer:
    side, found = torch.cuda.Stream(), []
    with torch.cuda.stream(side):
        thread = threading.Thread(
            target=lambda: found.append(torch.cuda.current_stream() == torch.cuda.default_stream())
        )
        thread.start()
        thread.join()
        return found, torch.cuda.current_stream() == side


@case
def streams_come_from_a_pool_of_32() -> Answer:
    made = [torch.cuda.Stream() for _ in range(33)]
    return len({each.cuda_stream for each in made}), made[0] == made[32], made[0] == made[1]


@case
def streams_of_high_priority_are_others() -> Answer:
    low, high = [torch.cuda.Stream() for _ in range(32)], [torch.cuda.Stream(priority=-1) for _ in range(32)]
    return len({each.cuda_stream for each in (*low, *high)}), high[0].priority, low[0].priority


@case
def priorities_have_a_range() -> Answer:
    return list(torch.cuda.Stream().priority_range())


@case
def a_priority_beyond_the_range_is_cut() -> Answer:
    return [torch.cuda.Stream(priority=each).priority for each in (-100, -3, -1, 1)]


@case
def the_default_stream_is_number_0() -> Answer:
    stream = torch.cuda.default_stream()
    return stream.stream_id, stream.cuda_stream, stream.priority, str(stream.device)


@case
def streams_compare_and_hash() -> Answer:
    one = torch.cuda.Stream()
    again = torch.cuda.ExternalStream(one.cuda_stream)
    return one == torch.cuda.Stream(), one.cuda_stream == again.cuda_stream, len({one, one}), one == 3


@case
def a_generic_stream_is_the_current_one_too() -> Answer:
    side = torch.cuda.Stream()
    with side:
        return torch.accelerator.current_stream().stream_id == side.stream_id


# Events.


@case
def an_event_that_was_not_recorded_has_passed() -> Answer:
    event = torch.cuda.Event()
    event.synchronize()
    return event.query()


@case
def an_event_passes_with_its_stream() -> Answer:
    stream, event = busy(), torch.cuda.Event()
    event.record(stream)
    before = event.query()
    event.synchronize()
    return before, event.query(), stream.query()


@case
def an_event_marks_what_came_before_it() -> Answer:
    stream = torch.cuda.Stream()
    event = stream.record_event()
    busy(stream)
    event.synchronize()
    return event.query(), stream.query()


@case
def an_event_recorded_twice_is_the_second() -> Answer:
    idle, stream, event = torch.cuda.Stream(), busy(), torch.cuda.Event()
    event.record(stream)
    event.record(idle)
    event.synchronize()
    return event.query(), stream.query()


@case
def an_event_recorded_twice_on_one_stream() -> Answer:
    stream, event = torch.cuda.Stream(), torch.cuda.Event()
    event.record(stream)
    stream.synchronize()
    first = event.query()
    busy(stream)
    event.record(stream)
    return first, event.query()


@case
def wait_event_orders_two_streams() -> Answer:
    one, other = busy(), torch.cuda.Stream()
    other.wait_event(one.record_event())
    with torch.cuda.stream(other):
        torch.ones(3, device="cuda")
    before = other.query()
    other.synchronize()
    return before, one.query()


@case
def waiting_for_an_event_that_was_not_recorded() -> Answer:
    stream, event = torch.cuda.Stream(), torch.cuda.Event()
    event.wait(stream)
    stream.wait_event(event)
    return stream.query()


@case
def a_wait_takes_the_event_as_it_is() -> Answer:
    other, event = torch.cuda.Stream(), torch.cuda.Event()
    event.record(torch.cuda.Stream())
    other.wait_event(event)
    event.record(busy())
    with torch.cuda.stream(other):
        torch.ones(3, device="cuda")
    other.synchronize()
    return event.query()


@case
def elapsed_time_of_one_stream() -> Answer:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    torch.cuda._sleep(LONG)
    end.record()
    end.synchronize()
    return start.elapsed_time(end) > 10, end.elapsed_time(start) < -10


@case
def elapsed_time_before_the_end() -> Answer:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    torch.cuda._sleep(LONG)
    end.record()
    return raised(lambda: start.elapsed_time(end))


@case
def elapsed_time_of_events_without_timing() -> Answer:
    start, end = torch.cuda.Event(), torch.cuda.Event()
    start.record()
    end.record()
    torch.cuda.synchronize()
    return raised(lambda: start.elapsed_time(end))


@case
def elapsed_time_of_events_that_were_not_recorded() -> Answer:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    return raised(lambda: start.elapsed_time(end))


@case
def elapsed_time_between_streams() -> Answer:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record(torch.cuda.Stream())
    stream = busy()
    end.record(stream)
    stream.synchronize()
    return start.elapsed_time(end) > 10


@case
def a_blocking_event_waits_as_well() -> Answer:
    stream, event = busy(), torch.cuda.Event(blocking=True)
    event.record(stream)
    event.synchronize()
    return event.query(), stream.query()


@case
def a_generic_event_works() -> Answer:
    event = torch.Event("cuda")
    event.record(busy())
    before = event.query()
    event.synchronize()
    return before, event.query()


@case
def events_of_a_pool_do_not_share_state() -> Answer:
    events = [torch.cuda.Event() for _ in range(100)]
    events[0].record(busy())
    return sum(each.query() for each in events)


# Copies.


@case
def an_upload_from_pinned_memory_is_not_waited_for() -> Answer:
    target, source = take(MIB), pinned(MIB)
    torch.cuda._sleep(LONG)
    target.copy_(source, non_blocking=True)
    return torch.cuda.current_stream().query()


@case
def a_read_waits_for_its_stream_alone() -> Answer:
    side, x = busy(), torch.ones(3, device="cuda")
    return x.sum().item(), side.query()


@case
def a_read_into_pinned_memory_is_not_waited_for() -> Answer:
    source, target = take(MIB), pinned(MIB)
    torch.cuda._sleep(LONG)
    target.copy_(source, non_blocking=True)
    return torch.cuda.current_stream().query()


# The allocator.


@case
def sizes_are_rounded() -> Answer:
    found = []
    for size in (1, 511, 512, 513, MIB - 1, MIB, MIB + 1, 10 * MIB - 1, 10 * MIB, 11 * MIB, 11 * MIB - 512, 33 * MIB):
        kept = take(size)
        found.append([size, *sizes(), *now("requested_bytes")])
        del kept
        torch.cuda.empty_cache()
    return found


@case
def nothing_takes_nothing() -> Answer:
    kept = take(0)
    return [*sizes(), kept.data_ptr()]


@case
def small_tensors_share_a_segment() -> Answer:
    kept = [take(512 * KIB) for _ in range(5)]
    return [*sizes(), len(kept)]


@case
def large_tensors_share_a_segment() -> Answer:
    kept = [take(size * MIB) for size in (4, 6, 5, 5, 2)]
    return [*sizes(), len(kept)]


@case
def a_large_piece_that_leaves_a_mebibyte_is_not_split() -> Answer:
    kept = take(19 * MIB)
    first = sizes()
    kept = take(19 * MIB - 512)
    return first, sizes(), kept.numel()


@case
def neighbours_are_merged() -> Answer:
    kept: list[Any] = [take(512 * KIB) for _ in range(4)]
    found = []
    for index in (0, 2, 1, 3):
        kept[index] = None
        found.append([*sizes(), *now("inactive_split_bytes")])
    return found


@case
def the_smallest_piece_that_fits_is_taken() -> Answer:
    kept: list[Any] = [take(size * MIB) for size in (4, 6, 3, 7)]
    kept[1] = kept[3] = None
    again = take(5 * MIB)
    return [*sizes(), *now("inactive_split_bytes"), again.numel()]


@case
def what_is_freed_is_used_again_at_its_place() -> Answer:
    kept = take(3 * MIB)
    where = kept.data_ptr()
    del kept
    return take(3 * MIB).data_ptr() == where


@case
def freed_memory_stays_reserved() -> Answer:
    kept = take(30 * MIB)
    del kept
    before = sizes()
    torch.cuda.empty_cache()
    return before, sizes(), torch.cuda.memory_stats()["num_device_free"]


@case
def a_segment_in_use_is_kept() -> Answer:
    kept = [take(MIB), take(MIB)]
    del kept[0]
    torch.cuda.empty_cache()
    return sizes()


@case
def streams_do_not_share_segments() -> Answer:
    kept = take(KIB)
    del kept
    with torch.cuda.stream(torch.cuda.Stream()):
        take(KIB)
        inside = sizes()
    take(KIB)
    return inside, sizes()


@case
def a_tensor_belongs_to_the_stream_it_was_made_on() -> Answer:
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        kept = take(KIB)
    del kept
    take(KIB)
    with torch.cuda.stream(side):
        take(KIB)
    return sizes()


@case
def record_stream_keeps_memory_until_the_work_is_done() -> Answer:
    side, kept = torch.cuda.Stream(), take(MIB)
    busy(side)
    kept.record_stream(side)
    del kept
    found = [sizes()]
    other = take(MIB)
    more = take(MIB)
    found.append(sizes())
    side.synchronize()
    take(512)
    return *found, sizes(), other.numel() + more.numel()


@case
def record_stream_on_the_own_stream_does_nothing() -> Answer:
    kept = take(MIB)
    busy(torch.cuda.current_stream())
    kept.record_stream(torch.cuda.current_stream())
    del kept
    return sizes()


@case
def record_stream_of_idle_work_is_freed_at_the_next_allocation() -> Answer:
    side, kept = torch.cuda.Stream(), take(MIB)
    kept.record_stream(side)
    del kept
    before = sizes()
    take(512)
    return before, sizes()


@case
def an_empty_cache_waits_for_recorded_streams() -> Answer:
    side, kept = torch.cuda.Stream(), take(MIB)
    busy(side)
    kept.record_stream(side)
    del kept
    torch.cuda.empty_cache()
    return sizes(), side.query(), torch.cuda.memory_stats()["num_sync_all_streams"] > 0


@case
def a_product_takes_a_workspace_once() -> Answer:
    torch._C._cuda_clearCublasWorkspaces()
    x = torch.ones(8, 8, device="cuda")
    before = torch.cuda.memory_allocated()
    x @ x
    first = torch.cuda.memory_allocated() - before
    torch.addmm(x, x, x)
    second = torch.cuda.memory_allocated() - before
    with torch.cuda.stream(torch.cuda.Stream()):
        x @ x
    return first, second, torch.cuda.memory_allocated() - before


@case
def temporaries_of_an_expression_count_at_the_peak() -> Answer:
    x = torch.ones(MIB // 4, device="cuda")
    torch.cuda.reset_peak_memory_stats()
    y = (x + 1) * 2
    return torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated(), y.numel()


@case
def peaks_begin_anew() -> Answer:
    kept = take(4 * MIB)
    take(8 * MIB)
    before = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    return before, torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved(), kept.numel()


@case
def sums_begin_anew() -> Answer:
    torch.cuda.reset_accumulated_memory_stats()
    take(MIB)
    take(MIB)
    stats = torch.cuda.memory_stats()
    names = ("allocation.all", "allocated_bytes.all", "allocation.small_pool", "allocation.large_pool")
    found = [stats[f"{name}.{kind}"] for name in names for kind in ("allocated", "freed", "current")]
    torch.cuda.reset_accumulated_memory_stats()
    return found, torch.cuda.memory_stats()["allocation.all.allocated"]


@case
def names_of_the_statistics() -> Answer:
    return sorted(torch.cuda.memory_stats())


@case
def names_of_the_host_statistics() -> Answer:
    return sorted(torch.cuda.host_memory_stats())


@case
def statistics_of_small_and_large_pools() -> Answer:
    kept = [take(MIB), take(4 * MIB)]
    stats = torch.cuda.memory_stats()
    pools = ("all", "small_pool", "large_pool")
    return [[stats[f"{name}.{pool}.current"] for pool in pools] for name in ("segment", "active_bytes")], len(kept)


@case
def too_much_is_refused() -> Answer:
    error = raised(lambda: take(1 << 42))
    return error, torch.cuda.memory_allocated(), torch.cuda.memory_stats()["num_ooms"] > 0


@case
def a_fraction_limits_the_memory() -> Answer:
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(64 * MIB / total)
    try:
        first, second = raised(lambda: take(60 * MIB)), raised(lambda: take(70 * MIB))
        kept = take(30 * MIB)
        third = raised(lambda: take(40 * MIB))
        del kept
        # The allocator frees its cached memory first.
        fourth = raised(lambda: take(40 * MIB))
        return first, second, third, fourth, sizes()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@case
def words_of_a_refusal() -> Answer:
    torch.cuda.set_per_process_memory_fraction(64 * MIB / torch.cuda.get_device_properties(0).total_memory)
    kept = take(30 * MIB)
    try:
        take(40 * MIB)
    except torch.OutOfMemoryError as error:
        said = str(error)
        return [
            "Tried to allocate 40.00 MiB. GPU 0 has a total capacity of" in said,
            "64.00 MiB allowed; " in said or "MiB allowed; " in said,
            "30.00 MiB is allocated by PyTorch, and 0 bytes is reserved by PyTorch but unallocated." in said,
            kept.numel(),
        ]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return "not refused"


@case
def wrong_fractions_are_refused() -> Answer:
    return [raised(partial(torch.cuda.set_per_process_memory_fraction, each)) for each in (1.5, -0.1, 1)]


@case
def free_memory_goes_down_with_segments() -> Answer:
    before = torch.cuda.mem_get_info()[0]
    kept = take(30 * MIB)
    return before - torch.cuda.mem_get_info()[0], kept.numel()


# Graphs.


@case
def a_graph_has_a_pool_of_its_own() -> Answer:
    x, graph = torch.ones(8, device="cuda"), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = x + 1
    within = sizes()
    del out, graph
    torch.cuda.empty_cache()
    return within, sizes(), x.numel()


@case
def graphs_may_share_a_pool() -> Answer:
    x, one, other = torch.ones(8, device="cuda"), torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
    with torch.cuda.graph(one):
        first = x + 1
    with torch.cuda.graph(other, pool=one.pool()):
        second = x + 2
    return now("segment", "reserved_bytes"), one.pool() == other.pool(), first.numel() + second.numel()


@case
def a_wait_ends_a_capture() -> Answer:
    x = torch.ones(8, device="cuda")

    def capture() -> None:
        with torch.cuda.graph(torch.cuda.CUDAGraph()):
            (x + 1).sum().item()

    found = raised(capture)
    return found, torch.cuda.is_current_stream_capturing()


# Page-locked memory.


@case
def pinned_blocks_are_powers_of_two() -> Answer:
    before = torch.cuda.host_memory_stats()["allocated_bytes.current"]
    found = []
    kept = []
    for size in (1, 3, 4096, 4097, MIB + 1):
        kept.append(pinned(size))
        found.append(torch.cuda.host_memory_stats()["allocated_bytes.current"] - before)
    return found


@case
def a_pinned_block_is_used_again() -> Answer:
    first = pinned(5000)
    where = first.data_ptr()
    del first
    return [pinned(size).data_ptr() == where for size in (8192, 4097, 4096)]


@case
def a_pinned_block_of_a_copy_is_not_used_before_its_end() -> Answer:
    target, source = take(MIB), pinned(MIB)
    where = source.data_ptr()
    torch.cuda._sleep(LONG)
    target.copy_(source, non_blocking=True)
    del source
    other = pinned(MIB)
    during = other.data_ptr() == where
    torch.cuda.synchronize()
    return during, pinned(MIB).data_ptr() == where


@case
def a_pinned_block_of_a_blocking_copy_is_free_at_once() -> Answer:
    target, source = take(MIB), pinned(MIB)
    where = source.data_ptr()
    target.copy_(source)
    del source
    return pinned(MIB).data_ptr() == where


@case
def the_cache_of_the_host_can_be_emptied() -> Answer:
    pinned(MIB)
    torch._C._host_emptyCache()
    stats = torch.cuda.host_memory_stats()
    return stats["allocations.current"], stats["allocated_bytes.current"]


@case
def pinned_memory_says_so() -> Answer:
    kept = pinned(100)
    return kept.is_pinned(), kept[50:].is_pinned(), kept.clone().is_pinned(), pinned(0).is_pinned()
