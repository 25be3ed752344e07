// Page-locked memory of the host, kept for the next who asks, as CUDA's `CachingHostAllocator` does: blocks of powers of
// two, and one that a copy still reads or writes is not given again.
#pragma once
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/llvmMathExtras.h>

#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <unordered_map>

#include "driver.h"
#include "pieces.h"

namespace syncwatch {

struct PinnedBlock {
  c10::DataPtr memory;
  int64_t size;
  int64_t age;
  std::vector<int64_t> streams{};  // that copies run on
  int64_t events = 0;
};

class Pinned {
 public:
  // Forget what was kept for an earlier device.
  void restart() {
    std::lock_guard<std::mutex> hold(mutex_);
    age_++;
    for (auto& [_, blocks] : free_)
      for (PinnedBlock* block : blocks) forget(block);
    free_.clear();
    for (auto& [_, block] : events_)
      if (--block->events == 0) forget(block);
    events_.clear();
    blocks_ = bytes_ = Stat();
  }

  PinnedBlock* take(int64_t size) {
    const int64_t rounded = static_cast<int64_t>(c10::llvm::PowerOf2Ceil(static_cast<uint64_t>(size)));
    {
      std::lock_guard<std::mutex> hold(mutex_);
      see_events();
      auto& kept = free_[rounded];
      if (!kept.empty()) {
        PinnedBlock* block = kept.back();
        kept.pop_back();
        return block;
      }
    }
    make({{Driver::kHostAlloc, rounded, 0, 0}});
    c10::DataPtr memory = c10::GetDefaultCPUAllocator()->allocate(static_cast<size_t>(rounded));
    std::lock_guard<std::mutex> hold(mutex_);
    auto* block = new PinnedBlock{std::move(memory), rounded, age_};
    stretches_[address(block)] = block;
    blocks_.add(1);
    bytes_.add(rounded);
    return block;
  }

  void give(PinnedBlock* block) {
    std::lock_guard<std::mutex> hold(mutex_);
    if (block->age != age_) {
      forget(block);
      return;
    }
    const std::vector<int64_t> streams = std::move(block->streams);
    block->streams.clear();
    for (const int64_t stream : streams) {
      block->events++;
      events_.emplace_back(std::max(state().clock.host().now, state().clock.tail(stream)), block);
    }
    if (block->events == 0) free_[block->size].push_back(block);
  }

  // Note that a copy on `stream` reads or writes it.
  void use(PinnedBlock* block, int64_t stream) {
    std::lock_guard<std::mutex> hold(mutex_);
    auto& streams = block->streams;
    if (std::find(streams.begin(), streams.end(), stream) == streams.end()) streams.push_back(stream);
  }

  bool holds(const void* data) {
    std::lock_guard<std::mutex> hold(mutex_);
    const auto asked = reinterpret_cast<uintptr_t>(data);
    auto next = stretches_.upper_bound(asked);
    if (next == stretches_.begin()) return false;
    const auto& [begin, block] = *std::prev(next);
    return asked < begin + static_cast<uintptr_t>(block->size);
  }

  // Unlock what is kept and not in use.
  void release() {
    DriverCalls calls;
    {
      std::lock_guard<std::mutex> hold(mutex_);
      see_events();
      for (auto& [size, blocks] : free_)
        for (PinnedBlock* block : blocks) {
          calls.push_back({Driver::kHostFree, size, 0, 0});
          blocks_.take(1);
          bytes_.take(size);
          forget(block);
        }
      free_.clear();
    }
    make(calls);
  }

  void reset_peak() {
    std::lock_guard<std::mutex> hold(mutex_);
    for (Stat* each : {&blocks_, &bytes_}) each->peak = each->current;
  }
  void reset_accumulated() {
    std::lock_guard<std::mutex> hold(mutex_);
    for (Stat* each : {&blocks_, &bytes_}) each->allocated = each->freed = 0;
  }
  // Blocks, then bytes.
  void counts(Stat* into) {
    std::lock_guard<std::mutex> hold(mutex_);
    into[0] = blocks_;
    into[1] = bytes_;
  }

 private:
  static uintptr_t address(const PinnedBlock* block) { return reinterpret_cast<uintptr_t>(block->memory.get()); }
  void forget(PinnedBlock* block) {
    stretches_.erase(address(block));
    delete block;
  }
  void see_events() {
    if (events_.empty()) return;
    const int64_t now = state().clock.latest();
    while (!events_.empty() && events_.front().first <= now) {
      PinnedBlock* block = events_.front().second;
      events_.pop_front();
      if (--block->events == 0) free_[block->size].push_back(block);
    }
  }

  std::mutex mutex_;
  int64_t age_ = 0;
  std::unordered_map<int64_t, std::vector<PinnedBlock*>> free_;  // by size
  std::deque<std::pair<int64_t, PinnedBlock*>> events_;          // in the order in which blocks were freed
  std::map<uintptr_t, PinnedBlock*> stretches_;
  Stat blocks_, bytes_;
};

// It outlives every tensor, so it is never destroyed.
inline Pinned& pinned() {
  static Pinned* one = new Pinned();
  return *one;
}

inline void free_pinned(void* context) { pinned().give(static_cast<PinnedBlock*>(context)); }

class PinnedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t size) override {
    const c10::Device host(c10::DeviceType::CPU);
    if (size == 0) return {nullptr, nullptr, &c10::detail::deleteNothing, host};
    PinnedBlock* block = pinned().take(static_cast<int64_t>(size));
    return {block->memory.get(), block, &free_pinned, host};
  }
  void copy_data(void* target, const void* source, std::size_t size) const override {
    std::memcpy(target, source, size);
  }
};

inline PinnedAllocator& pinned_allocator() {
  static PinnedAllocator* one = new PinnedAllocator();
  return *one;
}

// A copy that nobody waits for uses this memory of the host.
inline void copies_from(const c10::DataPtr& memory) {
  if (memory.get_deleter() == &free_pinned)
    pinned().use(static_cast<PinnedBlock*>(memory.get_context()), state().clock.host().stream);
}

// CUDA reads a number of `size` bytes through page-locked memory.
inline void read_through(int64_t size) { pinned_allocator().allocate(static_cast<size_t>(size)); }

} // namespace syncwatch
