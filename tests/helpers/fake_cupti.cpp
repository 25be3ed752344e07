// Stands for libcupti: exports what `records.cpp` looks up, and functions by which a test plays a program.
//
// Numbers and offsets are those of cupti_activity.h and cupti_callbacks.h (CUDA 12.8 to 13.2), written down here a
// second time, so that a wrong one in the product's own header does not agree with itself.
#include <time.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <thread>
#include <vector>

namespace {

constexpr int kNotKnown = 1, kNoMore = 7, kTaken = 39;
constexpr int kDriverCalls = 1;
constexpr size_t kRecordBytes = 256;

using OnCall = void (*)(void*, int, uint32_t, const void*);
using GiveBuffer = void (*)(uint8_t**, size_t*, size_t*);
using TakeBuffer = void (*)(void*, uint32_t, uint8_t*, size_t, size_t);

struct CallbackData {  // CUpti_CallbackData
  int site;
  const char* function;
  const void* parameters;
  void* returned;
  const char* symbol;
  void* context;
  uint32_t context_id;
  uint64_t* kept;
  uint32_t id;
};
static_assert(offsetof(CallbackData, parameters) == 16 && offsetof(CallbackData, id) == 64, "another layout");

struct Played {  // as `Played` in fake_cupti.py; the last of a program has the number 0
  uint32_t number, id;
  int64_t bytes;
  uint32_t what;  // 0: all of the call; 1: its begin; 2: its end; 3: all, without parameters
};

struct Record {  // as `Record` in fake_cupti.py
  uint32_t kind, id, device, context, stream, way, source, target, type, event;
  int64_t start, end, bytes;
  const char* name;
};

struct Fake {
  bool taken = false;
  OnCall on_call = nullptr;
  void* user = nullptr;
  std::set<uint32_t> refused, told, kinds;
  GiveBuffer give = nullptr;
  TakeBuffer take = nullptr;
  std::vector<Record> pending;
  size_t dropped = 0;
  int64_t ahead = 0;
  size_t shifted = 0;
  std::map<uint32_t, size_t> flushes;
} fake;

template <typename T>
void put(uint8_t* record, size_t offset, T value) {
  std::memcpy(record + offset, &value, sizeof value);
}

void write_record(uint8_t* out, const Record& from) {
  std::memset(out, 0, kRecordBytes);
  put<uint32_t>(out, 0, from.kind);
  if (from.kind == 38) {  // CUpti_ActivitySynchronization2
    put<uint32_t>(out, 4, from.type);
    put<uint64_t>(out, 8, from.start);
    put<uint64_t>(out, 16, from.end);
    put<uint32_t>(out, 24, from.id);
    put<uint32_t>(out, 28, from.context);
    put<uint32_t>(out, 32, from.stream);
    put<uint32_t>(out, 36, from.event);
    return;
  }
  if (from.kind == 36) {  // CUpti_ActivityCudaEvent2
    put<uint32_t>(out, 4, from.id);
    put<uint32_t>(out, 8, from.context);
    put<uint32_t>(out, 12, from.stream);
    put<uint32_t>(out, 16, from.event);
    return;
  }
  const bool kernel = from.kind == 10;
  const size_t shift = kernel ? fake.shifted : 0;
  put<uint64_t>(out, 16 + shift, from.start);
  put<uint64_t>(out, 24 + shift, from.end);
  if (kernel) {  // CUpti_ActivityKernel9
    put<uint32_t>(out, 40, from.device);
    put<uint32_t>(out, 44, from.context);
    put<uint32_t>(out, 48, from.stream);
    put<uint32_t>(out, 92, from.id);
    put<const char*>(out, 104, from.name);
    return;
  }
  put<uint64_t>(out, 8, from.bytes);
  put<uint32_t>(out, 32, from.device);
  put<uint32_t>(out, 36, from.context);
  put<uint32_t>(out, 40, from.stream);
  if (from.kind != 2) {  // of a memset these bytes are its value
    put<uint8_t>(out, 4, from.way);
    put<uint8_t>(out, 5, from.source);
    put<uint8_t>(out, 6, from.target);
  }
  put<uint32_t>(out, from.kind == 22 ? 60 : 44, from.id);  // CUpti_ActivityMemcpyPtoP4, CUpti_ActivityMemcpy6
}

void call_back(const Played& call, int site) {
  if (fake.on_call == nullptr || fake.told.count(call.number) == 0) return;
  struct {
    void *to, *from;
    int64_t bytes;
  } parameters{nullptr, nullptr, call.bytes};
  CallbackData data{};
  data.site = site;
  data.parameters = call.what == 3 ? nullptr : &parameters;
  data.id = call.id;
  fake.on_call(fake.user, kDriverCalls, call.number, &data);
}

}  // namespace

extern "C" {

int cuptiSubscribe(void** subscriber, OnCall on_call, void* user) {
  if (fake.taken || fake.on_call != nullptr) return kTaken;
  fake.on_call = on_call;
  fake.user = user;
  *subscriber = &fake;
  return 0;
}

int cuptiUnsubscribe(void* subscriber) {
  if (subscriber != &fake) return kNotKnown;
  fake.on_call = nullptr;
  fake.told.clear();
  return 0;
}

int cuptiEnableCallback(uint32_t on, void* subscriber, int domain, uint32_t number) {
  if (subscriber != &fake || domain != kDriverCalls || fake.refused.count(number)) return kNotKnown;
  if (on) fake.told.insert(number); else fake.told.erase(number);
  return 0;
}

int cuptiActivityRegisterCallbacks(GiveBuffer give, TakeBuffer take) {
  fake.give = give;
  fake.take = take;
  return 0;
}

int cuptiActivityEnable(uint32_t kind) { fake.kinds.insert(kind); return 0; }
int cuptiActivityDisable(uint32_t kind) { fake.kinds.erase(kind); return 0; }

int cuptiActivityGetNextRecord(uint8_t* buffer, size_t used, uint8_t** record) {
  uint8_t* next = *record == nullptr ? buffer : *record + kRecordBytes;
  if (next + kRecordBytes > buffer + used) return kNoMore;
  *record = next;
  return 0;
}

int cuptiActivityFlushPeriod(uint32_t) { return 0; }

int cuptiActivityGetNumDroppedRecords(void*, uint32_t, size_t* count) {
  *count = fake.dropped;
  fake.dropped = 0;
  return 0;
}

int64_t fake_now() {
  timespec moment;
  clock_gettime(CLOCK_REALTIME, &moment);
  return moment.tv_sec * INT64_C(1000000000) + moment.tv_nsec + fake.ahead;
}

int cuptiGetTimestamp(uint64_t* ns) {
  *ns = static_cast<uint64_t>(fake_now());
  return 0;
}

// Hands over every record so far in one buffer.
void fake_deliver() {
  if (fake.take == nullptr) return;
  uint8_t* buffer = nullptr;
  size_t size = 0, most = 0;
  fake.give(&buffer, &size, &most);
  size_t used = 0;
  for (const Record& each : fake.pending) {
    if (used + kRecordBytes > size) break;
    write_record(buffer + used, each);
    used += kRecordBytes;
  }
  fake.pending.clear();
  fake.take(nullptr, 0, buffer, size, used);
}

int cuptiActivityFlushAll(uint32_t flag) {
  ++fake.flushes[flag];
  fake_deliver();
  return 0;
}

// Keeps a record until the next buffer, if records of its kind are asked for.
void fake_record(const Record* record) {
  if (fake.kinds.count(record->kind) || record->kind > 100) fake.pending.push_back(*record);
}

void fake_play(const Played* calls) {
  for (; calls->number; ++calls) {
    if (calls->what != 2) call_back(*calls, 0);
    // So that no call takes 0 ns.
    for (const int64_t begun = fake_now(); fake_now() <= begun;) {}
    if (calls->what != 1) call_back(*calls, 1);
  }
}

// The same on a thread that has never seen Python.
void fake_play_elsewhere(const Played* calls) { std::thread(fake_play, calls).join(); }

void fake_refuse(uint32_t number) { fake.refused.insert(number); }
void fake_take(int on) { fake.taken = on != 0; }
void fake_drop(size_t count) { fake.dropped = count; }
void fake_clock_ahead(int64_t ns) { fake.ahead = ns; }
void fake_shift_kernels(size_t bytes) { fake.shifted = bytes; }
int fake_is_subscribed() { return fake.on_call != nullptr; }
size_t fake_records_asked() { return fake.kinds.size(); }
size_t fake_told() { return fake.told.size(); }
void fake_reset() { fake = Fake(); }

}  // extern "C"
