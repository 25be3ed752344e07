// CUDA's caching allocator without the memory: which call is served from a cache, and which goes to the driver. The
// rules are those of c10/cuda/CUDACachingAllocator.cpp with its default settings. Locked by `Memory`.
#pragma once
#include <deque>
#include <map>
#include <memory>
#include <unordered_map>

#include "driver.h"
#include "pieces.h"

namespace syncwatch {

class Caching {
 public:
  Counts counts;

  ~Caching() {
    for (Pool* pool : {&small_, &large_}) drop(*pool);
    for (auto& [_, each] : private_) {
      drop(each->small);
      drop(each->large);
    }
    // What tensors still hold is not reached from here; it is small, and left.
  }

  // Return a piece of at least `size` bytes for `stream`, or null where there is no memory left.
  Piece* take(int64_t size, int64_t stream, const Host* thread, DriverCalls& calls) {
    if (captures_.empty()) see_events();
    const int64_t rounded = round(size);
    Pool& pool = pool_for(rounded, thread);
    Piece* found = best(pool, rounded, stream);
    if (!found) found = segment(pool, rounded, stream, calls);
    if (!found && captures_.empty()) {
      release(calls);
      counts.retries++;
      found = segment(pool, rounded, stream, calls);
    }
    if (!found) {
      counts.failures++;
      return nullptr;
    }
    return put_to_use(found, rounded, size);
  }

  void give(Piece* piece) {
    const bool small = piece->pool->small;
    piece->allocated = false;
    counts.take(kAllocation, small, 1);
    counts.take(kAllocatedBytes, small, piece->size);
    if (piece->uses.empty()) free(piece);
    else if (captures_.empty()) mark(piece);
    else deferred_.push_back(piece);
  }

  // Note that work on `stream` uses `piece`: freed, it waits until that work is done.
  void use(Piece* piece, int64_t stream) {
    if (stream == piece->stream) return;
    insert(piece->uses, stream);
    if (!captures_.empty()) insert(piece->captured_uses, stream);
  }

  // Give segments that nobody uses back to the driver.
  void release(DriverCalls& calls) {
    if (captures_.empty()) {
      wait_for_events(calls);
      release(large_, calls);
      release(small_, calls);
    }
    for (auto each = freeable_.begin(); each != freeable_.end();) {
      PrivatePool& pool = *private_.at(*each);
      release(pool.small, calls);
      release(pool.large, calls);
      if (pool.segments == 0) {
        private_.erase(*each);
        each = freeable_.erase(each);
      } else {
        ++each;
      }
    }
  }

  // From here on `thread` allocates from a pool of its own.
  void begin(int64_t pool, const Host* thread) {
    auto [found, fresh] = private_.try_emplace(pool);
    if (fresh) found->second = std::make_unique<PrivatePool>();
    else found->second->users++;
    freeable_.erase(pool);
    captures_.emplace_back(pool, thread);
  }
  void end(int64_t pool) {
    for (auto each = captures_.begin(); each != captures_.end(); ++each) {
      if (each->first != pool) continue;
      captures_.erase(each);
      return;
    }
  }
  // One user of the pool is gone; with the last its segments may be released.
  void leave(int64_t pool) {
    auto found = private_.find(pool);
    if (found != private_.end() && found->second->users > 0 && --found->second->users == 0) freeable_.insert(pool);
  }

  int64_t held_by_graphs() const {
    int64_t held = 0;
    for (const auto& [_, pool] : private_)
      for (const Pool* each : {&pool->small, &pool->large})
        for (const Piece* piece : each->free) held += piece->size;
    return held;
  }

  static int64_t round(int64_t size) {
    return std::max<int64_t>(kMinBlock, (size + kMinBlock - 1) / kMinBlock * kMinBlock);
  }
  static int64_t segment_size(int64_t size) {
    if (size <= kSmallSize) return kSmallSegment;
    if (size < kMinLargeSegment) return kLargeSegment;
    return (size + kRoundLarge - 1) / kRoundLarge * kRoundLarge;
  }
 private:
  static void insert(std::vector<int64_t>& streams, int64_t stream) {
    if (std::find(streams.begin(), streams.end(), stream) == streams.end()) streams.push_back(stream);
  }

  Pool& pool_for(int64_t size, const Host* thread) {
    for (auto each = captures_.rbegin(); each != captures_.rend(); ++each) {
      if (each->second != thread) continue;
      PrivatePool& pool = *private_.at(each->first);
      return size <= kSmallSize ? pool.small : pool.large;
    }
    return size <= kSmallSize ? small_ : large_;
  }

  static Piece* best(Pool& pool, int64_t size, int64_t stream) {
    Piece key{&pool, stream, size, 0};
    auto found = pool.free.lower_bound(&key);
    if (found == pool.free.end() || (*found)->stream != stream) return nullptr;
    Piece* piece = *found;
    pool.free.erase(found);
    return piece;
  }

  Piece* segment(Pool& pool, int64_t rounded, int64_t stream, DriverCalls& calls) {
    const int64_t size = segment_size(rounded);
    if (counts.now(kReservedBytes) + size > counts.allowed) return nullptr;
    calls.push_back({Driver::kMalloc, size, stream, 0});
    counts.segments_taken++;
    counts.add(kSegments, pool.small, 1);
    counts.add(kReservedBytes, pool.small, size);
    if (pool.owner) pool.owner->segments++;
    address_ += size;
    return new Piece{&pool, stream, size, address_};
  }

  Piece* put_to_use(Piece* piece, int64_t rounded, int64_t requested) {
    const bool small = piece->pool->small, was_split = piece->split();
    const int64_t rest = piece->size - rounded;
    if (small ? rest >= kMinBlock : rest > kSmallSize) {
      Piece* left = new Piece{piece->pool, piece->stream, rounded, piece->address};
      left->before = piece->before;
      if (left->before) left->before->after = left;
      left->after = piece;
      piece->before = left;
      piece->address += rounded;
      piece->size = rest;
      piece->pool->free.insert(piece);
      if (was_split) {
        counts.take(kInactiveSplitBytes, small, rounded);
      } else {
        counts.add(kInactiveSplitBytes, small, rest);
        counts.add(kInactiveSplit, small, 1);
      }
      piece = left;
    } else if (was_split) {
      counts.take(kInactiveSplitBytes, small, piece->size);
      counts.take(kInactiveSplit, small, 1);
    }
    piece->allocated = true;
    piece->requested = requested;
    counts.taken++;
    counts.add(kAllocation, small, 1);
    counts.add(kAllocatedBytes, small, piece->size);
    counts.add(kActive, small, 1);
    counts.add(kActiveBytes, small, piece->size);
    counts.add(kRequestedBytes, small, requested);
    return piece;
  }

  // Nothing uses it any more: merge it with its free neighbours.
  void free(Piece* piece) {
    const bool small = piece->pool->small;
    const int64_t size = piece->size, requested = piece->requested;
    int64_t parts = 0, bytes = 0;
    for (Piece* other : {piece->before, piece->after}) {
      if (!other || other->allocated || other->events > 0 || !other->uses.empty()) continue;
      parts--;
      bytes -= other->size;
      merge(piece, other);
    }
    piece->pool->free.insert(piece);
    if (piece->split()) {
      parts++;
      bytes += piece->size;
    }
    change(kInactiveSplit, small, parts);
    change(kInactiveSplitBytes, small, bytes);
    counts.take(kActive, small, 1);
    counts.take(kActiveBytes, small, size);
    counts.take(kRequestedBytes, small, requested);
  }
  void change(Figure figure, bool small, int64_t by) {
    if (by > 0) counts.add(figure, small, by);
    else if (by < 0) counts.take(figure, small, -by);
  }
  static void merge(Piece* piece, Piece* other) {
    other->pool->free.erase(other);
    if (piece->before == other) {
      piece->address = other->address;
      piece->before = other->before;
      if (piece->before) piece->before->after = piece;
    } else {
      piece->after = other->after;
      if (piece->after) piece->after->before = piece;
    }
    piece->size += other->size;
    delete other;
  }

  // Record an event on each other stream that used it.
  void mark(Piece* piece) {
    const std::vector<int64_t> streams = std::move(piece->uses);
    piece->uses.clear();
    piece->captured_uses.clear();
    const int64_t now = state().clock.host().now;
    for (const int64_t stream : streams) {
      piece->events++;
      events_[stream].push_back({std::max(now, state().clock.tail(stream)), piece});
    }
  }
  // What was freed during a capture: its uses in the capture are done.
  void mark_deferred() {
    if (deferred_.empty()) return;
    for (Piece* piece : deferred_) {
      for (const int64_t stream : piece->captured_uses)
        piece->uses.erase(std::find(piece->uses.begin(), piece->uses.end(), stream));
      piece->captured_uses.clear();
      mark(piece);
      if (piece->events == 0) free(piece);
    }
    deferred_.clear();
  }
  void passed(Piece* piece) {
    if (--piece->events == 0) free(piece);
  }
  // Free what waited for events that have passed, stream by stream.
  void see_events() {
    mark_deferred();
    if (events_.empty()) return;
    const int64_t now = state().clock.latest();
    for (auto each = events_.begin(); each != events_.end();) {
      auto& [_, queue] = *each;
      while (!queue.empty() && queue.front().first <= now) {
        passed(queue.front().second);
        queue.pop_front();
      }
      each = queue.empty() ? events_.erase(each) : std::next(each);
    }
  }
  void wait_for_events(DriverCalls& calls) {
    counts.synchronized++;
    mark_deferred();
    for (auto& [stream, queue] : events_)
      for (auto& [at, piece] : queue) {
        calls.push_back({Driver::kEventSynchronize, 0, stream, at});
        passed(piece);
      }
    events_.clear();
  }

  void release(Pool& pool, DriverCalls& calls) {
    for (auto each = pool.free.begin(); each != pool.free.end();) {
      Piece* piece = *each;
      if (piece->split()) {
        ++each;
        continue;
      }
      calls.push_back({Driver::kFree, piece->size, piece->stream, 0});
      counts.segments_given++;
      counts.take(kSegments, pool.small, 1);
      counts.take(kReservedBytes, pool.small, piece->size);
      if (pool.owner) pool.owner->segments--;
      each = pool.free.erase(each);
      delete piece;
    }
  }
  static void drop(Pool& pool) {
    for (Piece* piece : pool.free) delete piece;
  }

  Pool small_{true}, large_{false};
  std::map<int64_t, std::unique_ptr<PrivatePool>> private_;
  std::set<int64_t> freeable_;                                  // private pools that no graph uses any more
  std::vector<std::pair<int64_t, const Host*>> captures_;       // pool and thread
  std::map<int64_t, std::deque<std::pair<int64_t, Piece*>>> events_;  // by stream: when each passes, and for what
  std::vector<Piece*> deferred_;
  int64_t address_ = 0;
};

} // namespace syncwatch
