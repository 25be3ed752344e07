// What is recorded of each kernel, without entering Python: six numbers, fetched in bulk.
#pragma once
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "capture.h"

namespace syncwatch {

class Names {
 public:
  int64_t of(const std::string& name) {
    std::lock_guard<std::mutex> hold(mutex_);
    auto [found, fresh] = numbers_.emplace(name, static_cast<int64_t>(names_.size()));
    if (fresh) names_.push_back(name);
    return found->second;
  }
  std::string name(int64_t number) {
    std::lock_guard<std::mutex> hold(mutex_);
    return names_.at(number);
  }

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, int64_t> numbers_;
  std::vector<std::string> names_;
};

inline Names& names() {
  static Names* one = new Names();
  return *one;
}

// One kernel; the order is that of the columns of `CompactKernels`.
struct Row {
  int64_t kind, epoch, start, end, called, returned;
};

class Journal {
 public:
  void add(const Row& row) {
    std::lock_guard<std::mutex> hold(mutex_);
    rows_.push_back(row);
  }
  int64_t size() {
    std::lock_guard<std::mutex> hold(mutex_);
    return static_cast<int64_t>(rows_.size());
  }
  // Hand the first `count` rows over.
  void take(Row* into, int64_t count) {
    std::lock_guard<std::mutex> hold(mutex_);
    std::copy(rows_.begin(), rows_.begin() + count, into);
    rows_.erase(rows_.begin(), rows_.begin() + count);
  }
  // Kinds are numbered anew for each recording.
  void new_generation() { generation_++; }
  int64_t generation() const { return generation_; }

 private:
  std::mutex mutex_;
  std::vector<Row> rows_;
  std::atomic<int64_t> generation_{1};
};

inline Journal& journal() {
  static Journal* one = new Journal();
  return *one;
}

inline int64_t kind_of(Host& host, int64_t name) {
  if (host.generation != journal().generation()) {
    host.kinds.clear();
    host.generation = journal().generation();
  }
  const uint64_t key = static_cast<uint64_t>(name) << 32 | static_cast<uint64_t>(host.stream);
  auto found = host.kinds.find(key);
  if (found != host.kinds.end()) return found->second;
  // Python numbers it: it knows the recorders and the thread.
  const int64_t kind = ask(kKind, {name, host.stream});
  host.kinds.emplace(key, kind);
  return kind;
}

// Launch a kernel on the current stream of the calling thread.
inline Span launch(int64_t name, int64_t duration) {
  State& all = state();
  Host& host = all.clock.host();
  all.used++;
  if (all.capturing.load(std::memory_order_relaxed) && current_capture()) {
    current_capture()->kernels.emplace_back(name, duration);
    host.now += all.rates.view_ns;
    return {host.now, host.now};
  }
  const int64_t called = host.now;
  const Span span = all.clock.launch(host, host.stream, all.rates.kernel_launch_ns, duration);
  if (all.recording.load(std::memory_order_relaxed)) {
    if (all.telling.load(std::memory_order_relaxed)) {
      ask(kTell, {name});
    } else {
      const int64_t kind = kind_of(host, name);
      const int64_t epoch = host.epoch >= 0 ? host.epoch : all.epoch.load(std::memory_order_relaxed);
      journal().add({kind, epoch, span.start, span.end, called, host.now});
    }
  }
  return span;
}

inline void work(int64_t duration) {
  Host& host = state().clock.host();
  host.now += duration;
}

// While it lives, operators of the calling thread compute and nothing of it is recorded.
struct Pause {
  Pause() : host(state().clock.host()) { host.pause++; }
  ~Pause() { host.pause--; }
  Host& host;
};

} // namespace syncwatch
