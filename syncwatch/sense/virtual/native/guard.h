// Which device, which stream, which event: what torch's C++ asks of a device, and what Python asks through it.
#pragma once
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include "journal.h"
#include "memory.h"

namespace syncwatch {

inline void check_index(c10::Device device) {
  if (device.has_index() && device.index() != 0)
    throw c10::AcceleratorError(
        {__func__, __FILE__, static_cast<uint32_t>(__LINE__)}, 101, "CUDA error: invalid device ordinal");
}

struct Event {
  int64_t stream = 0, at = 0;
  bool recorded = false;
};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  using Device = c10::Device;
  using Stream = c10::Stream;

  c10::DeviceType type() const override { return kDevice; }
  Device exchangeDevice(Device device) const override {
    check_index(device);
    return Device(kDevice, 0);
  }
  Device getDevice() const override { return Device(kDevice, 0); }
  void setDevice(Device device) const override { check_index(device); }
  void uncheckedSetDevice(Device) const noexcept override {}
  c10::DeviceIndex deviceCount() const noexcept override { return state().on ? 1 : 0; }

  Stream stream(int64_t number) const { return Stream(Stream::UNSAFE, Device(kDevice, 0), number); }
  Stream getStream(Device) const override { return stream(state().clock.host().stream); }
  Stream getDefaultStream(Device) const override { return stream(0); }
  Stream getStreamFromGlobalPool(Device, bool high) const override {
    return stream(state().clock.new_stream(high ? -1 : 0));
  }
  Stream getNewStream(Device, int priority) const override { return stream(state().clock.new_stream(priority)); }
  Stream exchangeStream(Stream wanted) const override {
    Host& host = state().clock.host();
    const int64_t before = host.stream;
    host.stream = wanted.id();
    return stream(before);
  }
  bool queryStream(const Stream& asked) const override {
    work(state().rates.view_ns);
    return state().clock.tail(asked.id()) <= state().clock.host().now;
  }
  void synchronizeStream(const Stream& asked) const override { ask(kSynchronize, {1, asked.id(), -1}); }

  void record(void** event, const Stream& on, const c10::DeviceIndex, const c10::EventFlag) const override {
    if (!*event) *event = new Event();
    work(state().rates.view_ns);
    auto* mark = static_cast<Event*>(*event);
    mark->stream = on.id();
    mark->at = std::max(state().clock.host().now, state().clock.tail(on.id()));
    mark->recorded = true;
  }
  void block(void* event, const Stream& waiting) const override {
    if (event) state().clock.hold(waiting.id(), static_cast<Event*>(event)->at);
  }
  bool queryEvent(void* event) const override {
    work(state().rates.view_ns);
    return !event || static_cast<Event*>(event)->at <= state().clock.host().now;
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override { delete static_cast<Event*>(event); }
  void synchronizeEvent(void* event) const override {
    auto* mark = static_cast<Event*>(event);
    ask(kSynchronize, {2, mark ? mark->stream : 0, mark ? mark->at : 0});
  }
  void synchronizeDevice(const c10::DeviceIndex) const override { ask(kSynchronize, {0, 0, -1}); }
  double elapsedTime(void* begin, void* end, const c10::DeviceIndex) const override {
    TORCH_CHECK(begin && end, "Both events must be recorded before calculating elapsed time.");
    const int64_t now = state().clock.host().now;
    auto *from = static_cast<Event*>(begin), *to = static_cast<Event*>(end);
    TORCH_CHECK(from->at <= now && to->at <= now, "CUDA error: device not ready");
    return static_cast<double>(to->at - from->at) / 1e6;
  }
  void recordDataPtrOnStream(const c10::DataPtr& data, const Stream& stream) const override {
    used_on(data, stream.id());
  }
};

} // namespace syncwatch
