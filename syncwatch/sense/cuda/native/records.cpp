// Subscribes to CUPTI: calls Python at the end of each driver call that waits, copies or allocates, and keeps what the
// GPU did in rows of numbers, each kernel joined to the call that launched it by CUPTI's correlation id.
//
// Records come on CUPTI's own thread, or inside a launch, while another thread may hold Python's lock and wait for
// CUPTI's. So nothing here that takes records touches Python.
#include "older_glibc.h"

#include "cupti.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

constexpr int64_t kNone = INT64_MIN;
constexpr size_t kBufferBytes = size_t{4} << 20;
constexpr size_t kChunk = size_t{1} << 18;
constexpr size_t kKernelWidth = 6, kCopyWidth = 13, kSyncWidth = 5, kSharedWidth = 6;
constexpr size_t kEventWidth = 4, kOrderWidth = 3, kLookWidth = 2;

constexpr int64_t kCaptured = -1;  // the bytes of a copy that goes into a graph

using OnEnd = void (*)(uint32_t number, uint32_t id, int64_t begin, int64_t end, int64_t bytes);

int64_t now_ns() {
  timespec moment;
  clock_gettime(CLOCK_REALTIME, &moment);
  return moment.tv_sec * INT64_C(1000000000) + moment.tv_nsec;
}

// Gives memory that goes back to the system when it is let go. The C library keeps what is as small as a chunk, once a
// larger piece was freed, as CUPTI's buffers are: then what was read out is held twice.
template <typename T>
struct Pages {
  using value_type = T;
  T* allocate(size_t count) {
    void* found = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED) throw std::bad_alloc();
    return static_cast<T*>(found);
  }
  void deallocate(T* from, size_t count) { munmap(from, count * sizeof(T)); }
  bool operator==(const Pages&) const { return true; }
};

// Rows of numbers that are given back from the front, chunk by chunk, so that reading them out frees them.
class Rows {
 public:
  void add(std::initializer_list<int64_t> row) { add(row.begin(), row.size()); }
  void add(const int64_t* row, size_t width) {
    if (chunks_.empty() || chunks_.back().size() + width > kChunk) {
      chunks_.emplace_back();
      chunks_.back().reserve(kChunk);
    }
    chunks_.back().insert(chunks_.back().end(), row, row + width);
    count_ += width;
  }
  size_t take(int64_t* out, size_t most) {
    if (chunks_.empty() || chunks_.front().size() > most) return 0;
    const size_t size = chunks_.front().size();
    std::memcpy(out, chunks_.front().data(), size * sizeof(int64_t));
    chunks_.pop_front();
    count_ -= size;
    return size;
  }
  size_t front() const { return chunks_.empty() ? 0 : chunks_.front().size(); }
  // Puts the rows of `kWidth` numbers into the order of one of them. Those of one stream are in it already, and to sort
  // takes as much memory again.
  template <size_t kWidth>
  void sort_by(size_t field) {
    int64_t last = INT64_MIN;
    bool sorted = true;
    each(kWidth, [&](const int64_t* row) {
      sorted = sorted && last <= row[field];
      last = row[field];
    });
    if (sorted) return;
    std::vector<std::array<int64_t, kWidth>> all;
    all.reserve(count_ / kWidth);
    while (!chunks_.empty()) {
      const auto& chunk = chunks_.front();
      for (size_t row = 0; row + kWidth <= chunk.size(); row += kWidth) {
        std::copy_n(&chunk[row], kWidth, all.emplace_back().begin());
      }
      chunks_.pop_front();
    }
    std::stable_sort(all.begin(), all.end(),
                     [field](const auto& one, const auto& other) { return one[field] < other[field]; });
    count_ = 0;
    for (const auto& row : all) add(row.data(), kWidth);
  }
  template <typename F>
  void each(size_t width, F change) {
    for (auto& chunk : chunks_)
      for (size_t row = 0; row + width <= chunk.size(); row += width) change(&chunk[row]);
  }

 private:
  std::deque<std::vector<int64_t, Pages<int64_t>>> chunks_;
  size_t count_ = 0;
};

struct Call {
  int64_t thread, number, begin, end;
};

struct Work {
  int64_t stream, name, device, memset_bytes, start, end;
};

struct Shared {
  int64_t fields[kSharedWidth];
  bool operator==(const Shared& other) const { return std::equal(fields, fields + kSharedWidth, other.fields); }
};

struct HashShared {
  size_t operator()(const Shared& shared) const {
    size_t found = 1469598103934665603u;
    for (int64_t field : shared.fields) found = (found ^ static_cast<size_t>(field)) * 1099511628211u;
    return found;
  }
};

// What CUPTI recorded, guarded by `lock`.
struct Records {
  std::mutex lock, noting;
  std::vector<std::pair<uint32_t, Call>> noted;  // guarded by `noting`
  std::vector<std::pair<uint32_t, Call>> taken;
  Rows kernels, copies, syncs, events;
  Rows orders, looks;  // guarded by `noting`
  std::unordered_map<uint32_t, Call> calls;
  std::unordered_multimap<uint32_t, Work> waiting;  // work whose call has not come yet
  std::vector<Shared> shared;
  std::unordered_map<Shared, int64_t, HashShared> places;
  std::vector<std::string> names;
  std::unordered_map<std::string, int64_t> name_numbers;
  std::unordered_map<const char*, int64_t> name_pointers;
  std::unordered_map<int64_t, int64_t> devices;  // by the number of a context
  std::vector<uint32_t> repeated;  // numbers of calls that start several works, such as a graph's launch
  int64_t unreadable = 0, dropped = 0, launches = 0;

  int64_t name(const char* text) {
    if (text == nullptr) text = "";
    auto known = name_pointers.find(text);
    // A library that was unloaded may have left its address to another's name.
    if (known != name_pointers.end() && names[known->second] == text) return known->second;
    auto [place, fresh] = name_numbers.try_emplace(text, static_cast<int64_t>(names.size()));
    if (fresh) names.emplace_back(text);
    name_pointers[text] = place->second;
    return place->second;
  }

  int64_t place(const Shared& row) {
    auto [found, fresh] = places.try_emplace(row, static_cast<int64_t>(shared.size()));
    if (fresh) shared.push_back(row);
    return found->second;
  }

  void add(const Work& work, const Call* call) {
    Shared row{{work.stream, work.name, work.device, work.memset_bytes, call ? call->thread : kNone,
                      call ? call->number : kNone}};
    kernels.add({place(row), kNone, work.start, work.end, call ? call->begin : kNone, call ? call->end : kNone});
  }

  bool starts_several(const Call& call) const {
    return std::find(repeated.begin(), repeated.end(), static_cast<uint32_t>(call.number)) != repeated.end();
  }

  void on_work(uint32_t id, const Work& work) {
    auto call = calls.find(id);
    if (call == calls.end()) {
      waiting.emplace(id, work);
      return;
    }
    add(work, &call->second);
    if (!starts_several(call->second)) calls.erase(call);
  }

  // Keeps a call until the next buffer of records comes. A lock of its own: who launches must not wait until a whole
  // buffer of 20,000 records is read.
  void note(uint32_t id, const Call& call) {
    std::lock_guard<std::mutex> held(noting);
    noted.emplace_back(id, call);
  }

  void note_order(uint32_t id, int64_t thread, int64_t begin) {
    std::lock_guard<std::mutex> held(noting);
    orders.add({id, thread, begin});
  }

  void note_look(uint32_t id, int64_t ns) {
    std::lock_guard<std::mutex> held(noting);
    looks.add({id, ns});
  }

  void take_noted() {
    {
      std::lock_guard<std::mutex> held(noting);
      taken.swap(noted);
    }
    for (const auto& [id, call] : taken) on_call(id, call);
    taken.clear();
  }

  void on_call(uint32_t id, const Call& call) {
    ++launches;
    auto [first, last] = waiting.equal_range(id);
    const bool met = first != last;
    for (auto each = first; each != last; ++each) add(each->second, &call);
    waiting.erase(first, last);
    if (!met || starts_several(call)) calls.emplace(id, call);
  }
};

cupti::Functions api;
void* library = nullptr;
cupti::Subscriber subscriber = nullptr;
std::atomic<OnEnd> on_end{nullptr};
std::atomic<Records*> records{nullptr};

struct Begun {
  uint32_t id;
  int64_t moment;
};
constexpr int kDeepest = 16;  // calls of the driver that lie in one another
thread_local Begun begun[kDeepest];
thread_local int depth = 0;

// What a driver call is watched for: to tell Python, to keep it for the work that it starts, since work between it and
// the other goes into a graph, to tell Python with the bytes of a linear copy, or to keep when an event was recorded or
// a stream was made to wait for one.
enum class Role : uint8_t { kTold, kStartsWork, kBeginsCapture, kEndsCapture, kCopies, kOrders };
constexpr uint32_t kNumbers = 2048;
Role roles[kNumbers];
// The watch in which this thread last began to capture; a watch may end before the capture does.
std::atomic<uint32_t> watch{0};
thread_local uint32_t captured_in = 0;

// The call that Python is being told of on this thread: its callback id, its correlation id, its begin and end.
thread_local int64_t telling[4];
// What a signal's handler raised while Python was told of a call, and the thread that shall raise it.
std::atomic<bool> raise_later{false};
unsigned long raised_in = 0;
void* raised = nullptr;

// Lets a thread raise an exception once it runs Python's code again.
void raise_now() {
  if (!raise_later.exchange(false) || api.take_python == nullptr || api.raise_in == nullptr) return;
  const int state = api.take_python();
  api.raise_in(raised_in, raised);
  api.leave_python(state);
}

int64_t thread_id() {
  thread_local const int64_t known = static_cast<int64_t>(syscall(SYS_gettid));
  return known;
}

void on_call(void*, int, uint32_t number, const void* data) {
  using namespace cupti;
  const uint32_t id = at<uint32_t>(data, kCallId);
  if (at<int>(data, kSite) == 0) {
    if (depth < kDeepest) begun[depth++] = {id, now_ns()};
    return;
  }
  const int64_t end = now_ns();
  int64_t begin = end;
  while (depth > 0) {
    const Begun& last = begun[--depth];
    if (last.id != id) continue;
    begin = last.moment;
    break;
  }
  const Role role = number < kNumbers ? roles[number] : Role::kTold;
  if (role == Role::kBeginsCapture || role == Role::kEndsCapture) {
    captured_in = role == Role::kBeginsCapture ? watch.load() : 0;
    return;
  }
  const bool capturing = captured_in != 0 && captured_in == watch.load();
  if (role == Role::kStartsWork || role == Role::kOrders) {
    Records* into = records.load();
    // What is captured runs with the launch of its graph.
    if (into == nullptr || capturing) return;
    if (role == Role::kOrders) {
      into->note_order(id, thread_id(), begin);
    } else {
      into->note(id, {thread_id(), number, begin, end});
    }
    return;
  }
  const OnEnd told = on_end.load();
  if (told == nullptr) return;
  int64_t bytes = 0;
  if (capturing) {
    bytes = kCaptured;
  } else if (role == Role::kCopies) {
    const void* parameters = at<const void*>(data, kParameters);
    if (parameters != nullptr) bytes = at<int64_t>(parameters, kByteCount);
  }
  const int64_t now_told[] = {number, id, begin, end};
  std::copy(std::begin(now_told), std::end(now_told), telling);
  told(number, id, begin, end, bytes);
  if (raise_later.load()) raise_now();
  Records* into = records.load();
  if (into != nullptr) into->note_look(id, now_ns() - end);
}

void give_buffer(uint8_t** buffer, size_t* size, size_t* most) {
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(8, kBufferBytes));
  *size = *buffer == nullptr ? 0 : kBufferBytes;
  *most = 0;
}

cupti::Layout layout_of(uint32_t kind) {
  switch (kind) {
    case cupti::kKernel: return cupti::kKernelAt;
    case cupti::kPeerCopy: return cupti::kPeerAt;
    case cupti::kMemset: return cupti::kMemsetAt;
    default: return cupti::kCopyAt;
  }
}

void take_record(Records& into, const uint8_t* record) {
  using namespace cupti;
  const uint32_t kind = at<uint32_t>(record, 0);
  if (kind == kSynchronization) {
    into.syncs.add({at<uint32_t>(record, kSyncId), at<uint32_t>(record, kSyncType), at<uint32_t>(record, kSyncContext),
                    at<uint32_t>(record, kSyncStream), at<uint32_t>(record, kSyncEvent)});
    return;
  }
  if (kind == kEvent) {
    into.events.add({at<uint32_t>(record, kEventId), at<uint32_t>(record, kEventContext),
                     at<uint32_t>(record, kEventStream), at<uint32_t>(record, kEventNumber)});
    return;
  }
  if (kind != kKernel && kind != kMemset && kind != kCopy && kind != kPeerCopy) {
    ++into.unreadable;
    return;
  }
  const Layout where = layout_of(kind);
  const auto start = static_cast<int64_t>(at<uint64_t>(record, where.start));
  const auto end = static_cast<int64_t>(at<uint64_t>(record, where.end));
  const int64_t device = at<uint32_t>(record, where.device), stream = at<uint32_t>(record, where.stream);
  const uint32_t id = at<uint32_t>(record, where.id);
  into.devices[at<uint32_t>(record, where.context)] = device;
  if (kind == kCopy || kind == kPeerCopy) {
    into.copies.add({id, start, end, device, stream, static_cast<int64_t>(at<uint64_t>(record, kBytes)),
                     at<uint8_t>(record, kCopyWay), at<uint8_t>(record, kCopySource), at<uint8_t>(record, kCopyTarget),
                     kNone, kNone, kNone, kNone});
    return;
  }
  const int64_t set = kind == kMemset ? static_cast<int64_t>(at<uint64_t>(record, kBytes)) : kNone;
  const int64_t name = kind == kMemset ? into.name("Memset") : into.name(at<const char*>(record, kKernelName));
  into.on_work(id, {stream, name, device, set, start, end});
}

void take_buffer(void* context, uint32_t stream, uint8_t* buffer, size_t, size_t used) {
  Records* into = records.load();
  if (into != nullptr) {
    std::lock_guard<std::mutex> held(into->lock);
    if (used > 0) {
      into->take_noted();
      uint8_t* record = nullptr;
      while (api.next_record(buffer, used, &record) == 0) take_record(*into, record);
    }
    // An empty buffer may be all that is left of records for which there was no memory.
    size_t lost = 0;
    if (api.dropped(context, stream, &lost) == 0) into->dropped += static_cast<int64_t>(lost);
  }
  std::free(buffer);
}

template <typename F>
bool find(F& function, const char* name) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

Rows* rows_of(int which) {
  Records* all = records.load();
  Rows* rows[] = {&all->kernels, &all->copies, &all->syncs, &all->events, &all->orders, &all->looks};
  return rows[which];
}

}  // namespace

extern "C" {

// Lets a thread raise an exception once the callback has returned: what that raises itself is lost. Writes the call that
// Python was told of.
void syncwatch_raise_later(int64_t* call, uint64_t thread, void* exception) {
  std::copy(std::begin(telling), std::end(telling), call);
  raised_in = static_cast<unsigned long>(thread);
  raised = exception;
  raise_later.store(true);
}

// Loads CUPTI; returns 0, 1 where it cannot be loaded, 2 where it lacks a function.
int syncwatch_open(const char* path) {
  static bool complete = false;
  if (complete) return 0;
  library = dlopen(path, RTLD_NOW);
  if (library == nullptr) return 1;
  api.take_python = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "PyGILState_Ensure"));
  api.leave_python = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "PyGILState_Release"));
  api.raise_in = reinterpret_cast<int (*)(unsigned long, void*)>(dlsym(RTLD_DEFAULT, "PyThreadState_SetAsyncExc"));
  complete = find(api.subscribe, "cuptiSubscribe") && find(api.unsubscribe, "cuptiUnsubscribe") &&
             find(api.enable_callback, "cuptiEnableCallback") &&
             find(api.register_callbacks, "cuptiActivityRegisterCallbacks") &&
             find(api.enable, "cuptiActivityEnable") && find(api.disable, "cuptiActivityDisable") &&
             find(api.next_record, "cuptiActivityGetNextRecord") &&
             find(api.flush, "cuptiActivityFlushAll") && find(api.flush_period, "cuptiActivityFlushPeriod") &&
             find(api.dropped, "cuptiActivityGetNumDroppedRecords") &&
             find(api.timestamp, "cuptiGetTimestamp");
  return complete ? 0 : 2;
}

int syncwatch_subscribe(OnEnd told) {
  on_end.store(told);
  const int status = api.subscribe(&subscriber, on_call, nullptr);
  if (status != 0) {
    on_end.store(nullptr);
    subscriber = nullptr;
  }
  return status;
}

// `role` counts as `Role` does.
int syncwatch_callback(uint32_t number, int role) {
  if (number >= kNumbers) return 1;
  roles[number] = static_cast<Role>(role);
  return api.enable_callback(1, subscriber, cupti::kDriverCalls, number);
}

int syncwatch_unsubscribe() {
  on_end.store(nullptr);
  const int status = subscriber == nullptr ? 0 : api.unsubscribe(subscriber);
  subscriber = nullptr;
  return status;
}

// Begins to keep records, of nothing so far.
int syncwatch_records(const uint32_t* repeated, size_t count) {
  delete records.exchange(nullptr);
  auto* fresh = new Records();
  ++watch;
  fresh->repeated.assign(repeated, repeated + count);
  records.store(fresh);
  return api.register_callbacks(give_buffer, take_buffer);
}

int syncwatch_record(uint32_t kind, int on) { return on != 0 ? api.enable(kind) : api.disable(kind); }

int syncwatch_flush(int forced) { return api.flush(forced != 0 ? cupti::kForced : 0); }

int syncwatch_flush_period(uint32_t milliseconds) { return api.flush_period(milliseconds); }

// By how many ns CUPTI's clock is ahead of the system's, and within how many that is known.
void syncwatch_clock(int64_t* ahead, int64_t* within) {
  *within = INT64_MAX;
  for (int look = 0; look < 16; ++look) {
    uint64_t theirs = 0;
    const int64_t before = now_ns();
    api.timestamp(&theirs);
    const int64_t after = now_ns();
    if (after - before < *within) {
      *within = after - before;
      *ahead = static_cast<int64_t>(theirs) - (before + after) / 2;
    }
  }
}

// Ends the keeping: gives copies the calls that were kept here and waits the device of their context, and takes work
// whose call never came.
// `left` becomes: work without a call, calls without work, records that cannot be read, records that were dropped, all
// calls that start work.
void syncwatch_finish(int64_t* left) {
  Records& all = *records.load();
  std::lock_guard<std::mutex> held(all.lock);
  all.take_noted();
  left[0] = static_cast<int64_t>(all.waiting.size());
  for (const auto& [id, work] : all.waiting) all.add(work, nullptr);
  all.waiting.clear();
  const auto device_of = [&all](int64_t context) {
    auto device = all.devices.find(context);
    return device == all.devices.end() ? kNone : device->second;
  };
  all.syncs.each(kSyncWidth, [&](int64_t* row) { row[2] = device_of(row[2]); });
  all.events.each(kEventWidth, [&](int64_t* row) { row[1] = device_of(row[1]); });
  all.orders.sort_by<kOrderWidth>(0);
  all.looks.sort_by<kLookWidth>(0);
  all.copies.each(kCopyWidth, [&all](int64_t* row) {
    auto call = all.calls.find(static_cast<uint32_t>(row[0]));
    if (call == all.calls.end()) return;
    row[9] = call->second.thread;
    row[10] = call->second.number;
    row[11] = call->second.begin;
    row[12] = call->second.end;
    // A graph may hold several copies.
    if (!all.starts_several(call->second)) all.calls.erase(call);
  });
  left[1] = 0;
  for (const auto& [id, call] : all.calls) left[1] += all.starts_several(call) ? 0 : 1;
  left[2] = all.unreadable;
  left[3] = all.dropped;
  left[4] = all.launches;
}

// Subtracts `ahead` from every time of a record, and gives each kernel the place of the step that its launch lies in, as -1 or an
// index into the steps, which are sorted by their begins.
void syncwatch_place(int64_t ahead, const int64_t* begins, const int64_t* ends, size_t count) {
  Records& all = *records.load();
  std::lock_guard<std::mutex> held(all.lock);
  all.kernels.each(kKernelWidth, [&](int64_t* row) {
    row[2] -= ahead;
    row[3] -= ahead;
    row[1] = -1;
    if (row[4] == kNone) return;
    const auto after = static_cast<size_t>(std::upper_bound(begins, begins + count, row[4]) - begins);
    if (after > 0 && ends[after - 1] >= row[4]) row[1] = static_cast<int64_t>(after - 1);
  });
  all.copies.each(kCopyWidth, [ahead](int64_t* row) {
    row[1] -= ahead;
    row[2] -= ahead;
  });
  all.kernels.sort_by<kKernelWidth>(2);
  all.copies.sort_by<kCopyWidth>(0);
}

size_t syncwatch_front(int which) { return rows_of(which)->front(); }
size_t syncwatch_take(int which, int64_t* out, size_t most) { return rows_of(which)->take(out, most); }

size_t syncwatch_shared_count() { return records.load()->shared.size(); }
void syncwatch_shared(size_t number, int64_t* out) {
  std::memcpy(out, records.load()->shared[number].fields, sizeof records.load()->shared[number].fields);
}

// Writes the name of a kernel as C++ has it.
size_t syncwatch_name(size_t number, char* out, size_t most) {
  const std::string& mangled = records.load()->names[number];
  int status = 0;
  char* plain = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
  const int size = std::snprintf(out, most, "%s", plain == nullptr ? mangled.c_str() : plain);
  std::free(plain);
  return size < 0 ? 0 : std::min(static_cast<size_t>(size), most - 1);
}

void syncwatch_forget() {
  delete records.exchange(nullptr);
}

// Writes the return addresses of the calling thread's native stack, innermost first; their names come later, since to
// look up one in libtorch takes 0.1 ms.
size_t syncwatch_native_stack(void** out, int most) { return static_cast<size_t>(backtrace(out, most)); }

// Writes the file name of the object that an address lies in, a space, and the symbol before it; 0 where it is unknown.
size_t syncwatch_symbol(const void* address, char* out, size_t most) {
  Dl_info info;
  // A return address is the instruction behind the call, which may be the next function's first.
  if (dladdr(static_cast<const char*>(address) - 1, &info) == 0 || info.dli_fname == nullptr) return 0;
  const char* slash = std::strrchr(info.dli_fname, '/');
  const int size = std::snprintf(out, most, "%s %s", slash == nullptr ? info.dli_fname : slash + 1,
                                 info.dli_sname == nullptr ? "" : info.dli_sname);
  return size < 0 ? 0 : std::min(static_cast<size_t>(size), most - 1);
}

}  // extern "C"
