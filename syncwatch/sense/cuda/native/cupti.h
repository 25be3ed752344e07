// The part of CUPTI that is used here: its functions, and where in its records the fields lie that are read.
// From cupti_activity.h and cupti_callbacks.h of CUDA 12.8 (API version 26), 13.0 and 13.2, where they are the same.
// `syncwatch.sense.cuda.self_check` holds them against a kernel, a copy and a wait of its own before it trusts them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace cupti {

using Status = int;
using Subscriber = void*;
using OnCall = void (*)(void* user, int domain, uint32_t number, const void* data);
using GiveBuffer = void (*)(uint8_t** buffer, size_t* size, size_t* most);
using TakeBuffer = void (*)(void* context, uint32_t stream, uint8_t* buffer, size_t size, size_t used);

constexpr int kDriverCalls = 1;  // CUPTI_CB_DOMAIN_DRIVER_API
constexpr Status kNoMore = 7;    // CUPTI_ERROR_MAX_LIMIT_REACHED: the buffer is read to its end
constexpr uint32_t kForced = 1;  // CUPTI_ACTIVITY_FLAG_FLUSH_FORCED

enum Kind : uint32_t {
  kCopy = 1,
  kMemset = 2,
  kKernel = 10,
  kPeerCopy = 22,
  kEvent = 36,
  kSynchronization = 38,
};

struct Functions {
  Status (*subscribe)(Subscriber*, OnCall, void*);
  Status (*unsubscribe)(Subscriber);
  Status (*enable_callback)(uint32_t on, Subscriber, int domain, uint32_t number);
  Status (*register_callbacks)(GiveBuffer, TakeBuffer);
  Status (*enable)(uint32_t kind);
  Status (*disable)(uint32_t kind);
  Status (*next_record)(uint8_t* buffer, size_t used, uint8_t** record);
  Status (*flush)(uint32_t flag);
  Status (*flush_period)(uint32_t milliseconds);
  Status (*dropped)(void* context, uint32_t stream, size_t* count);
  Status (*timestamp)(uint64_t* ns);
  // Python's own, which the process has anyway
  int (*take_python)();
  void (*leave_python)(int state);
  int (*raise_in)(unsigned long thread, void* exception);
};

template <typename T>
T at(const void* record, size_t offset) {
  T value;
  __builtin_memcpy(&value, static_cast<const uint8_t*>(record) + offset, sizeof value);
  return value;
}

// CUpti_CallbackData
constexpr size_t kSite = 0, kParameters = 16, kCallId = 64;
// What every linear copy's parameters have behind two pointers (generated_cuda_meta.h).
constexpr size_t kByteCount = 16;

struct Layout {
  size_t start, end, device, context, stream, id;
};
// CUpti_ActivityKernel9 to 11, CUpti_ActivityMemcpy6, CUpti_ActivityMemcpyPtoP4, CUpti_ActivityMemset4
constexpr Layout kKernelAt{16, 24, 40, 44, 48, 92}, kCopyAt{16, 24, 32, 36, 40, 44},
    kPeerAt{16, 24, 32, 36, 40, 60}, kMemsetAt{16, 24, 32, 36, 40, 44};
constexpr size_t kKernelName = 104;
constexpr size_t kCopyWay = 4, kCopySource = 5, kCopyTarget = 6, kBytes = 8;
// CUpti_ActivitySynchronization2
constexpr size_t kSyncType = 4, kSyncId = 24, kSyncContext = 28, kSyncStream = 32, kSyncEvent = 36;
// CUpti_ActivityCudaEvent and CUpti_ActivityCudaEvent2
constexpr size_t kEventId = 4, kEventContext = 8, kEventStream = 12, kEventNumber = 16;

}  // namespace cupti
