// The memory of the device: host memory that is labelled `cuda:0`, counted as CUDA's caching allocator would count it.
#pragma once
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/StorageImpl.h>
#include <c10/util/Exception.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

namespace syncwatch {

constexpr c10::DeviceType kDevice = c10::DeviceType::CUDA;
constexpr int64_t kBlock = 512;                   // what CUDA's caching allocator rounds up to
constexpr int64_t kSegment = 2 * 1024 * 1024;     // what it asks the driver for at a time

inline std::string readable(int64_t size) {
  char text[32];
  if (size >= (1LL << 30)) std::snprintf(text, sizeof text, "%.2f GiB", static_cast<double>(size) / (1LL << 30));
  else if (size >= (1 << 20)) std::snprintf(text, sizeof text, "%.2f MiB", static_cast<double>(size) / (1 << 20));
  else std::snprintf(text, sizeof text, "%.2f KiB", static_cast<double>(size) / 1024);
  return text;
}

// The bytes in use, as Python reads them; the order is that of `_COUNTS` in memory.py.
struct Counts {
  int64_t capacity = 0, allocated = 0, peak = 0, reserved = 0, reserved_peak = 0, allocations = 0, segments = 0;
};

class Memory {
 public:
  void restart(int64_t capacity) {
    std::lock_guard<std::mutex> hold(mutex_);
    counts_ = Counts();
    counts_.capacity = capacity;
    // What tensors of an earlier device hold is not counted for this one.
    age_++;
  }

  int64_t take(size_t size) {
    const int64_t rounded = (static_cast<int64_t>(size) + kBlock - 1) / kBlock * kBlock;
    std::lock_guard<std::mutex> hold(mutex_);
    const int64_t used = counts_.allocated + rounded;
    TORCH_CHECK_WITH(
        OutOfMemoryError,
        used <= counts_.capacity,
        "CUDA out of memory. Tried to allocate ", readable(rounded), ". GPU 0 has a total capacity of ",
        readable(counts_.capacity), " of which ", readable(counts_.capacity - counts_.allocated), " is free.");
    counts_.allocated = used;
    counts_.allocations++;
    counts_.peak = std::max(counts_.peak, used);
    if (used > counts_.reserved) {
      counts_.reserved = (used + kSegment - 1) / kSegment * kSegment;
      counts_.reserved_peak = std::max(counts_.reserved_peak, counts_.reserved);
      counts_.segments++;
    }
    return rounded;
  }

  void give(int64_t rounded, int64_t age) {
    std::lock_guard<std::mutex> hold(mutex_);
    if (age == age_) counts_.allocated -= rounded;
  }

  int64_t age() const { return age_; }

  // Give back what is reserved and not in use; return whether there was any.
  bool empty_cache() {
    std::lock_guard<std::mutex> hold(mutex_);
    const int64_t kept = (counts_.allocated + kSegment - 1) / kSegment * kSegment;
    const bool any = kept < counts_.reserved;
    counts_.reserved = kept;
    return any;
  }

  void reset_peak() {
    std::lock_guard<std::mutex> hold(mutex_);
    counts_.peak = counts_.allocated;
    counts_.reserved_peak = counts_.reserved;
  }

  Counts counts() {
    std::lock_guard<std::mutex> hold(mutex_);
    return counts_;
  }

 private:
  std::mutex mutex_;
  Counts counts_;
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
  Block(c10::DataPtr&& inner_, int64_t rounded_) : inner(std::move(inner_)), rounded(rounded_) {}
  c10::DataPtr inner;
  int64_t rounded;
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
  memory().give(block->rounded, block->age);
  delete block;
}

// Label memory that the CPU's allocator gave as the device's, and count it.
inline c10::DataPtr adopt(c10::DataPtr&& given, size_t size) {
  const int64_t rounded = memory().take(size);
  void* data = given.get();
  return {data, new Block(std::move(given), rounded), &free_block, c10::Device(kDevice, 0)};
}

class DeviceAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    if (size == 0) return {nullptr, nullptr, &c10::detail::deleteNothing, c10::Device(kDevice, 0)};
    const int64_t rounded = memory().take(size);
    try {
      c10::DataPtr inner = c10::GetDefaultCPUAllocator()->allocate(size);
      void* data = inner.get();
      return {data, new Block(std::move(inner), rounded), &free_block, c10::Device(kDevice, 0)};
    } catch (const c10::Error&) {
      memory().give(rounded, memory().age());
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

// Which stretches of host memory are page-locked: begin to end.
class Pinned {
 public:
  void add(const void* data, size_t size) {
    std::lock_guard<std::mutex> hold(mutex_);
    stretches_[reinterpret_cast<uintptr_t>(data)] = reinterpret_cast<uintptr_t>(data) + size;
  }
  void remove(const void* data) {
    std::lock_guard<std::mutex> hold(mutex_);
    stretches_.erase(reinterpret_cast<uintptr_t>(data));
  }
  bool holds(const void* data) {
    std::lock_guard<std::mutex> hold(mutex_);
    auto next = stretches_.upper_bound(reinterpret_cast<uintptr_t>(data));
    return next != stretches_.begin() && reinterpret_cast<uintptr_t>(data) < std::prev(next)->second;
  }

 private:
  std::mutex mutex_;
  std::map<uintptr_t, uintptr_t> stretches_;
};

inline Pinned& pinned() {
  static Pinned* one = new Pinned();
  return *one;
}

inline void free_pinned(void* context) {
  auto* inner = static_cast<c10::DataPtr*>(context);
  pinned().remove(inner->get());
  delete inner;
}

class PinnedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    auto* inner = new c10::DataPtr(c10::GetDefaultCPUAllocator()->allocate(size));
    pinned().add(inner->get(), size);
    return {inner->get(), inner, &free_pinned, c10::Device(c10::DeviceType::CPU)};
  }
  void copy_data(void* target, const void* source, std::size_t size) const override {
    std::memcpy(target, source, size);
  }
};

inline PinnedAllocator& pinned_allocator() {
  static PinnedAllocator* one = new PinnedAllocator();
  return *one;
}

} // namespace syncwatch
