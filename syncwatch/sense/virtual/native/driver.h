// What the allocators ask of CUDA's driver, what it costs, and how it is told.
#pragma once
#include <vector>

#include "journal.h"

namespace syncwatch {

// The values are those of `DriverCall` in bridge.py.
enum class Driver : int64_t { kMalloc = 0, kFree = 1, kHostAlloc = 2, kHostFree = 3, kEventSynchronize = 4 };

struct DriverCall {
  Driver what;
  int64_t size;    // bytes
  int64_t stream;  // whose event is waited for
  int64_t at;      // when it passes
};
using DriverCalls = std::vector<DriverCall>;

// Assumed: a tenth of a millisecond a call, and a millisecond for locking the pages of 4 MiB.
constexpr int64_t kDriverNs = 100'000;
constexpr int64_t kLockedBytesPerUs = 4 * 1024;

// Let the calling thread make these calls: `cudaFree` and `cudaFreeHost` wait for the device, the rest takes its time.
// To be called without any lock: Python is asked for the line.
inline void make(const DriverCalls& calls) {
  State& all = state();
  Host& host = all.clock.host();
  if (calls.empty() || host.pause) return;
  for (const DriverCall& call : calls) {
    const int64_t start = host.now;
    switch (call.what) {
      case Driver::kMalloc: host.now += kDriverNs; break;
      case Driver::kHostAlloc: host.now += kDriverNs + call.size * 1000 / kLockedBytesPerUs; break;
      case Driver::kFree:
      case Driver::kHostFree: all.clock.wait(host, all.clock.busy_until(), kDriverNs); break;
      case Driver::kEventSynchronize: all.clock.wait(host, call.at, all.rates.sync_return_ns); break;
    }
    if (all.recording.load(std::memory_order_relaxed))
      ask(kDriver, {static_cast<int64_t>(call.what), call.stream, start, host.now});
  }
}

} // namespace syncwatch
