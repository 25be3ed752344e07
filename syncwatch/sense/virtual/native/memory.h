// The memory of the device: host memory that is labelled `cuda:0`, kept account of as CUDA's caching allocator does.
#pragma once
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/StorageImpl.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>

#include "caching.h"
#include "pinned.h"

namespace syncwatch {

constexpr c10::DeviceType kDevice = c10::DeviceType::CUDA;

inline std::string readable(int64_t size) {
  char text[32];
  if (size <= 1024) std::snprintf(text, sizeof text, "%lld bytes", static_cast<long long>(size));
  else if (size <= (1 << 20)) std::snprintf(text, sizeof text, "%.2f KiB", static_cast<double>(size) / 1024);
  else if (size <= (1LL << 30)) std::snprintf(text, sizeof text, "%.2f MiB", static_cast<double>(size) / (1 << 20));
  else std::snprintf(text, sizeof text, "%.2f GiB", static_cast<double>(size) / (1LL << 30));
  return text;
}

class Memory {
 public:
  void restart(int64_t capacity) {
    std::lock_guard<std::mutex> hold(mutex_);
    caching_ = std::make_unique<Caching>();
    caching_->counts.capacity = caching_->counts.allowed = capacity;
    // What tensors of an earlier device hold is not counted for this one.
    age_++;
  }

  // Return a piece of the device's memory; the calls that it takes are made.
  Piece* take(size_t size) {
    Host& host = state().clock.host();
    DriverCalls calls;
    Piece* piece;
    std::string refusal;
    {
      std::lock_guard<std::mutex> hold(mutex_);
      piece = caching_->take(static_cast<int64_t>(size), host.stream, &host, calls);
      if (!piece) refusal = out_of_memory(static_cast<int64_t>(size));
    }
    if (calls.empty() && piece) return piece;
    try {
      make(calls);
    } catch (...) {
      if (piece) give(piece, age());
      throw;
    }
    TORCH_CHECK_WITH(OutOfMemoryError, piece != nullptr, refusal);
    return piece;
  }

  void give(Piece* piece, int64_t age) {
    std::lock_guard<std::mutex> hold(mutex_);
    if (age == age_) caching_->give(piece);
  }

  void use(Piece* piece, int64_t age, int64_t stream) {
    std::lock_guard<std::mutex> hold(mutex_);
    if (age == age_) caching_->use(piece, stream);
  }

  int64_t age() const { return age_; }

  void empty_cache() {
    DriverCalls calls;
    {
      std::lock_guard<std::mutex> hold(mutex_);
      caching_->release(calls);
    }
    make(calls);
  }

  void begin_pool(int64_t pool) {
    std::lock_guard<std::mutex> hold(mutex_);
    caching_->begin(pool, &state().clock.host());
  }
  void end_pool(int64_t pool) {
    std::lock_guard<std::mutex> hold(mutex_);
    caching_->end(pool);
  }
  void leave_pool(int64_t pool) {
    std::lock_guard<std::mutex> hold(mutex_);
    caching_->leave(pool);
  }

  void allow(int64_t bytes) {
    std::lock_guard<std::mutex> hold(mutex_);
    caching_->counts.allowed = bytes;
  }

  void reset_peak() {
    std::lock_guard<std::mutex> hold(mutex_);
    for (auto& figure : caching_->counts.figures)
      for (Stat& each : figure) each.peak = each.current;
  }
  void reset_accumulated() {
    std::lock_guard<std::mutex> hold(mutex_);
    Counts& counts = caching_->counts;
    for (auto& figure : counts.figures)
      for (Stat& each : figure) each.allocated = each.freed = 0;
    counts.retries = counts.failures = counts.synchronized = counts.segments_taken = counts.segments_given = 0;
  }

  Counts counts() {
    std::lock_guard<std::mutex> hold(mutex_);
    return caching_->counts;
  }

 private:
  // In the words of CUDA's allocator.
  std::string out_of_memory(int64_t size) const {
    const Counts& counts = caching_->counts;
    const int64_t reserved = counts.now(kReservedBytes), used = counts.now(kAllocatedBytes);
    const int64_t of_graphs = caching_->held_by_graphs();
    return "CUDA out of memory. Tried to allocate " + readable(Caching::segment_size(Caching::round(size))) +
        ". GPU 0 has a total capacity of " + readable(counts.capacity) + " of which " +
        readable(counts.capacity - reserved) + " is free. " +
        (counts.allowed < counts.capacity ? readable(counts.allowed) + " allowed; " : "") +
        "Of the allocated memory " + readable(used + of_graphs) + " is allocated by PyTorch, " +
        (of_graphs ? "with " + readable(of_graphs) + " allocated in private pools (e.g., CUDA Graphs), " : "") + "and " +
        readable(reserved - used - of_graphs) + " is reserved by PyTorch but unallocated. If reserved but unallocated "
        "memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See "
        "documentation for Memory Management  (https://docs.pytorch.org/docs/stable/notes/cuda.html"
        "#optimizing-memory-usage-with-pytorch-cuda-alloc-conf)";
  }

  std::mutex mutex_;
  std::unique_ptr<Caching> caching_ = std::make_unique<Caching>();
  std::atomic<int64_t> age_{0};
};

// It outlives every tensor, so it is never destroyed.
inline Memory& memory() {
  static Memory* one = new Memory();
  return *one;
}

// What a storage does with memory that is another's.
inline void forget(void*) {}

struct Block {
  Block(c10::DataPtr&& inner_, Piece* piece_) : inner(std::move(inner_)), piece(piece_) {}
  c10::DataPtr inner;
  Piece* piece;
  int64_t age = memory().age();
  // The storage under which the CPU's kernels see this memory; see sides.h. Made once, owned by the block.
  std::atomic<c10::StorageImpl*> twin{nullptr};
  ~Block() {
    auto* made = twin.load();
    if (!made) return;
    // A kernel of the CPU may keep what it was given, as quantizers keep their scales: that takes the memory over.
    const c10::DataPtr& seen = made->data_ptr();
    if (c10::raw::intrusive_ptr::use_count(made) > 1 && seen.get_deleter() == &forget && seen.get() == inner.get())
      made->set_data_ptr_noswap(std::move(inner));
    c10::raw::intrusive_ptr::decref(made);
  }
};

inline void free_block(void* context) {
  auto* block = static_cast<Block*>(context);
  memory().give(block->piece, block->age);
  delete block;
}

// Label memory that the CPU's allocator gave as the device's, and count it.
inline c10::DataPtr adopt(c10::DataPtr&& given, size_t size) {
  Piece* piece = memory().take(size);
  void* data = given.get();
  return {data, new Block(std::move(given), piece), &free_block, c10::Device(kDevice, 0)};
}

class DeviceAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    if (size == 0) return {nullptr, nullptr, &c10::detail::deleteNothing, c10::Device(kDevice, 0)};
    Piece* piece = memory().take(size);
    try {
      c10::DataPtr inner = c10::GetDefaultCPUAllocator()->allocate(size);
      void* data = inner.get();
      return {data, new Block(std::move(inner), piece), &free_block, c10::Device(kDevice, 0)};
    } catch (const c10::Error&) {
      memory().give(piece, memory().age());
      TORCH_CHECK_WITH(
          OutOfMemoryError,
          false,
          "CUDA out of memory. The virtual device keeps its tensors in this machine's memory, which is full: watch a "
          "smaller model or batch.");
    }
  }
  void copy_data(void* target, const void* source, std::size_t size) const override {
    std::memcpy(target, source, size);
  }
};

inline DeviceAllocator& device_allocator() {
  static DeviceAllocator* one = new DeviceAllocator();
  return *one;
}

// Note that work on `stream` uses this memory of the device, as `record_stream` says.
inline void used_on(const c10::DataPtr& data, int64_t stream) {
  if (data.get_deleter() != &free_block) return;
  auto* block = static_cast<Block*>(data.get_context());
  memory().use(block->piece, block->age, stream);
}

} // namespace syncwatch
