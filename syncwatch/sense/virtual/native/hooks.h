// "Is there CUDA?" and the random numbers of the device: what ATen asks before it reaches an operator.
#pragma once
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>

#include "guard.h"

namespace syncwatch {

// A generator that says it is on the device, and draws with a generator of the CPU.
struct DeviceGenerator final : c10::GeneratorImpl {
  explicit DeviceGenerator(at::Generator inner)
      : c10::GeneratorImpl(c10::Device(kDevice, 0), c10::DispatchKeySet(c10::DispatchKey::CUDA)),
        host(std::move(inner)) {}
  static at::Generator make(uint64_t seed = c10::detail::getNonDeterministicRandom()) {
    return at::make_generator<DeviceGenerator>(at::detail::createCPUGenerator(seed));
  }
  void set_current_seed(uint64_t seed) override { host.set_current_seed(seed); }
  void set_offset(uint64_t offset) override {}
  uint64_t get_offset() const override { return 0; }
  uint64_t current_seed() const override { return host.current_seed(); }
  uint64_t seed() override { return host.seed(); }
  void set_state(const c10::TensorImpl& state) override { host.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override { return host.unsafeGetGeneratorImpl()->get_state(); }
  DeviceGenerator* clone_impl() const override { return new DeviceGenerator(host.clone()); }

  at::Generator host;
};

inline at::Generator& default_generator() {
  static auto* one = new at::Generator(DeviceGenerator::make(c10::default_rng_seed_val));
  return *one;
}

inline at::Generator host_generator(const at::Generator& given) {
  return given.device().type() == kDevice ? static_cast<DeviceGenerator*>(given.unsafeGetGeneratorImpl())->host : given;
}

// It has no members, so that torch's own object can take its table of functions, and give it back.
struct Hooks final : at::CUDAHooksInterface {
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool hasCUDART() const override { return true; }
  bool hasCuSOLVER() const override { return true; }
  bool hasCuBLASLt() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return 1; }
  c10::DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(c10::DeviceIndex device) const override { check_index(c10::Device(kDevice, device)); }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex) const override { return 0; }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex) const override { return 0; }
  int getNumGPUs() const override { return 1; }
  c10::DeviceIndex current_device() const override { return 0; }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex) const override { return default_generator(); }
  at::Generator getNewGenerator(c10::DeviceIndex) const override { return DeviceGenerator::make(); }
  at::Device getDeviceFromPtr(void*) const override { return at::Device(kDevice, 0); }
  c10::Allocator* getCUDADeviceAllocator() const override { return &device_allocator(); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return &pinned_allocator(); }
  bool isPinnedPtr(const void* data) const override { return pinned().holds(data); }
  void deviceSynchronize(c10::DeviceIndex) const override { ask(kSynchronize, {0, 0, -1}); }
  // The versions of the machine that the table was measured on.
  long versionCuDNN() const override { return 91900; }
  long versionRuntimeCuDNN() const override { return 91900; }
  long versionCUDART() const override { return 13000; }
  std::string showConfig() const override { return "virtual"; }
};

} // namespace syncwatch
