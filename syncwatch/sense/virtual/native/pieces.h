// What CUDA's caching allocator keeps: segments, the pieces that they are split into, and what it counts.
#pragma once
#include <algorithm>
#include <cstdint>
#include <set>
#include <vector>

namespace syncwatch {

constexpr int64_t kMinBlock = 512;                 // sizes are rounded up to it
constexpr int64_t kSmallSize = 1 << 20;            // the most that comes from the small pool
constexpr int64_t kSmallSegment = 2 << 20;
constexpr int64_t kLargeSegment = 20 << 20;        // for sizes below `kMinLargeSegment`
constexpr int64_t kMinLargeSegment = 10 << 20;
constexpr int64_t kRoundLarge = 2 << 20;           // larger segments are rounded up to it

// One figure over time, as `c10::CachingAllocator::Stat`.
struct Stat {
  int64_t current = 0, peak = 0, allocated = 0, freed = 0;
  void add(int64_t amount) {
    current += amount;
    peak = std::max(peak, current);
    allocated += amount;
  }
  void take(int64_t amount) {
    current -= amount;
    freed += amount;
  }
};

// The order is that of `_FIGURES` in memory.py.
enum Figure {
  kAllocation, kSegments, kActive, kInactiveSplit, kAllocatedBytes, kReservedBytes, kActiveBytes, kInactiveSplitBytes,
  kRequestedBytes, kFigures
};

// What Python reads; the order is that of `_SINGLE` in memory.py, then the figures for all, small and large pools.
struct Counts {
  int64_t capacity = 0, allowed = 0, taken = 0;
  int64_t retries = 0, failures = 0, synchronized = 0, segments_taken = 0, segments_given = 0;
  Stat figures[kFigures][3];

  void add(Figure figure, bool small, int64_t amount) {
    figures[figure][0].add(amount);
    figures[figure][small ? 1 : 2].add(amount);
  }
  void take(Figure figure, bool small, int64_t amount) {
    figures[figure][0].take(amount);
    figures[figure][small ? 1 : 2].take(amount);
  }
  int64_t now(Figure figure) const { return figures[figure][0].current; }
};

struct Pool;

// A part of a segment; a segment that is not split is one piece.
struct Piece {
  Pool* pool;
  int64_t stream;   // the one that it was allocated on; never another's
  int64_t size;
  int64_t address;  // orders pieces of one size as CUDA's addresses would
  int64_t requested = 0;
  bool allocated = false;
  int64_t events = 0;                        // that have to pass before it is free
  std::vector<int64_t> uses{};               // other streams that it is used on, until it is freed
  std::vector<int64_t> captured_uses{};      // those of them that were recorded during a capture
  Piece* before = nullptr;
  Piece* after = nullptr;

  bool split() const { return before != nullptr || after != nullptr; }
};

struct BestFit {
  bool operator()(const Piece* one, const Piece* other) const {
    if (one->stream != other->stream) return one->stream < other->stream;
    if (one->size != other->size) return one->size < other->size;
    return one->address < other->address;
  }
};

struct PrivatePool;

struct Pool {
  bool small;
  PrivatePool* owner = nullptr;
  std::set<Piece*, BestFit> free{};
};

// The memory of CUDA graphs that share it.
struct PrivatePool {
  PrivatePool() { small.owner = large.owner = this; }
  int64_t users = 1;
  int64_t segments = 0;
  Pool small{true}, large{false};
};

} // namespace syncwatch
