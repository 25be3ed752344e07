// The time of the device: a clock for each host thread, a queue for each stream, an engine for each way of copying.
// All of it is modelled: a launch moves its host thread on by what launching costs, a wait moves it to the end of what
// it waits for. Times are integer nanoseconds.
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace syncwatch {

// What things cost; the order is that of the fields of `Rates` in rates.py.
struct Rates {
  int64_t kernel_launch_ns, copy_launch_ns, view_ns, host_op_ns, copy_latency_ns, sync_return_ns, min_kernel_ns;
  int64_t hbm_bytes_per_us, pinned_bytes_per_us, pageable_bytes_per_us, host_bytes_per_us;
  int64_t flops_per_us_half, flops_per_us_single, flops_per_us_double, capacity_bytes;

  int64_t kernel_ns(int64_t bytes, int64_t flops, int64_t width) const {
    int64_t duration = std::max(bytes * 1000 / hbm_bytes_per_us, min_kernel_ns);
    if (flops) {
      const int64_t rate = width <= 2 ? flops_per_us_half : width <= 4 ? flops_per_us_single : flops_per_us_double;
      duration = std::max(duration, static_cast<int64_t>(static_cast<double>(flops) * 1000.0 / static_cast<double>(rate)));
    }
    return duration;
  }
};

// What torch has: streams of a priority, and priorities.
constexpr int64_t kStreams = 32, kPriorities = 4;

struct Span {
  int64_t start, end;
};

// What the device knows of one host thread.
struct Host {
  int64_t now = 0;
  int64_t stream = 0;     // the current one
  int64_t epoch = -1;     // which step the thread is in, as Python numbers it; -1 where it has none of its own
  int64_t pause = 0;      // while above zero, operators compute and nothing of it is recorded
  int64_t moving = 0;     // while above zero, a copy belongs to `aten::_to_copy`
  int64_t backward = 0;   // while above zero, autograd runs, which on CUDA has a thread of its own
  int64_t generation = 0; // of the kinds below
  std::unordered_map<uint64_t, int64_t> kinds;
};

class Clock {
 public:
  Host& host() {
    thread_local Host* mine = nullptr;
    thread_local int64_t age = -1;
    if (mine == nullptr || age != age_.load(std::memory_order_relaxed)) {
      mine = born();
      age = age_.load(std::memory_order_relaxed);
    }
    return *mine;
  }

  void restart() {
    std::lock_guard<std::mutex> hold(mutex_);
    age_++;
    hosts_.clear();
    tails_.assign(1, 0);
    engines_[0] = engines_[1] = engines_[2] = 0;
    std::fill(made_, made_ + kPriorities, 0);
  }

  // Return the next stream of a priority, 0 or below. As torch does, there are 32 of each, given in turn.
  int64_t new_stream(int64_t priority) {
    const int64_t level = std::min<int64_t>(std::max<int64_t>(-priority, 0), kPriorities - 1);
    std::lock_guard<std::mutex> hold(mutex_);
    return 1 + level * kStreams + made_[level]++ % kStreams;
  }

  int64_t tail(int64_t stream) {
    std::lock_guard<std::mutex> hold(mutex_);
    return tail_of(stream);
  }

  int64_t busy_until() {
    std::lock_guard<std::mutex> hold(mutex_);
    return *std::max_element(tails_.begin(), tails_.end());
  }

  // Return the time of the thread that has come furthest: what it saw pass has passed for all.
  int64_t latest() {
    std::lock_guard<std::mutex> hold(mutex_);
    int64_t now = 0;
    for (const auto& each : hosts_) now = std::max(now, each->now);
    return now;
  }

  // Queue a kernel: the host pays `cost`, the kernel starts once the stream is free.
  Span launch(Host& host, int64_t stream, int64_t cost, int64_t duration) {
    std::lock_guard<std::mutex> hold(mutex_);
    host.now += cost;
    int64_t& tail = tail_of(stream);
    const int64_t start = std::max(tail, host.now);
    tail = start + duration;
    return {start, tail};
  }

  // Queue a copy: it waits for its stream and for its engine, which copies of one direction share.
  Span copy(Host& host, int64_t stream, int64_t engine, int64_t cost, int64_t duration) {
    std::lock_guard<std::mutex> hold(mutex_);
    host.now += cost;
    int64_t& tail = tail_of(stream);
    const int64_t start = std::max({tail, engines_[engine], host.now});
    tail = engines_[engine] = start + duration;
    return {start, tail};
  }

  // Let the host stand still until `until`, plus what the call itself costs.
  Span wait(Host& host, int64_t until, int64_t cost) {
    const int64_t start = host.now;
    host.now = std::max(start, until) + cost;
    return {start, host.now};
  }

  // Let `stream` wait for a moment; the host goes on.
  void hold(int64_t stream, int64_t at) {
    std::lock_guard<std::mutex> hold(mutex_);
    int64_t& tail = tail_of(stream);
    tail = std::max(tail, at);
  }

 private:
  int64_t& tail_of(int64_t stream) {
    if (stream >= static_cast<int64_t>(tails_.size())) tails_.resize(stream + 1, 0);
    return tails_[stream];
  }

  Host* born() {
    std::lock_guard<std::mutex> hold(mutex_);
    auto made = std::make_unique<Host>();
    // A new thread starts when the latest one is.
    for (const auto& each : hosts_) made->now = std::max(made->now, each->now);
    hosts_.push_back(std::move(made));
    return hosts_.back().get();
  }

  std::mutex mutex_;
  std::atomic<int64_t> age_{0};
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<int64_t> tails_{0};
  int64_t engines_[3] = {0, 0, 0};
  int64_t made_[kPriorities] = {};  // streams of each priority so far
};

} // namespace syncwatch
