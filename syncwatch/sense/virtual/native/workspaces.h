// The workspaces of cuBLAS: torch allocates one for each thread and stream that multiplies matrices, and keeps it.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>

#include "memory.h"

namespace syncwatch {

constexpr int64_t kHopperWorkspace = 32LL << 20;

// What CUBLAS_WORKSPACE_CONFIG asks for (`:KiB:count` pairs), or what torch takes on an H200.
// Without std::regex: its code in this library and in libtorch, built by other compilers, cannot be told apart.
inline int64_t workspace_size() {
  const char* at = std::getenv("CUBLAS_WORKSPACE_CONFIG");
  long long kilobytes, count, size = 0;
  int length;
  bool any = false;
  for (; at && (at = std::strchr(at, ':')); at += length) {
    length = 1;
    if (std::sscanf(at, ":%9lld:%9lld%n", &kilobytes, &count, &length) < 2) {
      length = 1;
      continue;
    }
    size += kilobytes * 1024 * count;
    any = true;
  }
  return any ? size : kHopperWorkspace;
}

// The handle of the thread in which autograd works on the device.
constexpr int64_t kAutograd = -1;

class Workspaces {
 public:
  void restart() {
    std::lock_guard<std::mutex> hold(mutex_);
    age_++;
    given_.clear();
  }

  // Give all of them back, as `torch._C._cuda_clearCublasWorkspaces` does.
  void clear() {
    std::lock_guard<std::mutex> hold(mutex_);
    age_++;
    for (auto& [_, workspace] : given_) memory().give(workspace.piece, workspace.age);
    given_.clear();
  }

  // Allocate the one for this thread and its current stream, unless it is there.
  void need() {
    const Host& host = state().clock.host();
    const bool backward = host.backward > 0;
    thread_local int64_t last = -1, age = -1;
    thread_local bool last_backward = false;
    if (host.pause) return;
    if (last == host.stream && last_backward == backward && age == age_.load(std::memory_order_relaxed)) return;
    const std::pair<int64_t, int64_t> key{backward ? kAutograd : handle(), host.stream};
    bool there;
    {
      std::lock_guard<std::mutex> hold(mutex_);
      there = given_.count(key);
    }
    const int64_t size = workspace_size();
    if (!there && size) {
      const int64_t device = memory().age();
      Piece* piece = memory().take(static_cast<size_t>(size));
      std::lock_guard<std::mutex> hold(mutex_);
      given_[key] = {piece, device};
    }
    last = host.stream;
    last_backward = backward;
    age = age_;
  }

 private:
  struct Workspace {
    Piece* piece;
    int64_t age;
  };

  // A thread that ends leaves its handle to the next.
  static int64_t handle() {
    struct Handle {
      Handle() {
        std::lock_guard<std::mutex> hold(lock());
        while (taken().count(number)) number++;
        taken().insert(number);
      }
      ~Handle() {
        std::lock_guard<std::mutex> hold(lock());
        taken().erase(number);
      }
      static std::mutex& lock() {
        static auto* one = new std::mutex();
        return *one;
      }
      static std::set<int64_t>& taken() {
        static auto* one = new std::set<int64_t>();
        return *one;
      }
      int64_t number = 0;
    };
    thread_local Handle mine;
    return mine.number;
  }

  std::mutex mutex_;
  std::atomic<int64_t> age_{0};
  std::map<std::pair<int64_t, int64_t>, Workspace> given_;  // by handle and stream
};

inline Workspaces& workspaces() {
  static Workspaces* one = new Workspaces();
  return *one;
}

// Whether CUDA computes this operator with cuBLAS.
inline bool uses_cublas(const std::string& name) {
  static const std::set<std::string> known{
      "aten.mm", "aten.addmm", "aten.bmm", "aten.baddbmm", "aten.addbmm", "aten.mv", "aten.addmv", "aten.dot", "aten.vdot",
      "aten._addmm_activation", "aten._int_mm", "aten._scaled_mm"};
  return known.count(name) > 0;
}

} // namespace syncwatch
