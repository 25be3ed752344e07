// Copies between host and device, and values that the host reads: the operators that need a line.
#pragma once
#include <ATen/ExpandUtils.h>
#include <ATen/ops/_local_scalar_dense.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/_to_copy_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>

#include "operators.h"

namespace syncwatch {

inline bool dense(const Tensor& tensor) {
  return tensor.layout() != c10::kStrided || tensor.is_contiguous();
}

// Whether both fill one range of memory in the same order, so that one `memcpy` does it.
inline bool same_layout(const Tensor& first, const Tensor& second) {
  if (first.sizes() != second.sizes()) return false;
  if (dense(first) && dense(second)) return true;
  if (first.layout() != c10::kStrided || second.layout() != c10::kStrided) return false;
  return first.strides() == second.strides() && first.is_non_overlapping_and_dense();
}

inline Tensor& copy_(Tensor& self, const Tensor& source, bool non_blocking) {
  State& all = state();
  const bool seen = all.clock.host().pause == 0;
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("aten::copy_", "");
  static const int64_t name = names().of("aten.copy_");
  const bool to = on_device(self), from = on_device(source);
  if (seen && all.capturing && current_capture()) keep_storage(self);
  if (to && from) {
    if (source.dim() > self.dim() || (source.numel() && !at::is_expandable_to(source.sizes(), self.sizes())))
      TORCH_CHECK(
          false, "The size of tensor a ", self.sizes(), " must match the size of tensor b ", source.sizes());
    {
      at::AutoDispatchBelowADInplaceOrView below;
      host_side(self).copy_(host_side(source));
    }
    if (seen && self.numel())
      launch(name, all.rates.kernel_ns(bytes_of(self) + bytes_of(source), 0, self.dtype().itemsize()));
  } else {
    {
      at::AutoDispatchBelowADInplaceOrView below;
      auto target = host_side(self);
      target.copy_(host_side(source));
    }
    if (seen) {
      const bool aligned = same_layout(source, self);
      ask(kCopy, {
          from, !from && pinned().holds(source.storage().data()), aligned || dense(source),
          static_cast<int64_t>(source.dtype().itemsize()),
          !to && pinned().holds(self.storage().data()), aligned || dense(self),
          static_cast<int64_t>(self.dtype().itemsize()),
          self.numel(), source.dtype() != self.dtype(), non_blocking, all.clock.host().moving > 0});
    }
  }
  if (to && self.is_quantized() && source.is_quantized())
    at::get_qtensorimpl(self)->set_quantizer_(at::get_qtensorimpl(source)->quantizer());
  if (seen && non_blocking && to != from) copies_from((to ? source : self).storage().data_ptr());
  if (seen && all.capturing && current_capture())
    current_capture()->calls.push_back({op, {self, source, non_blocking}, {}});
  return self;
}

inline Tensor copy_from(const Tensor& source, const Tensor& target, bool non_blocking) {
  Tensor into = target;
  return copy_(into, source, non_blocking);
}

inline Tensor copy_from_and_resize(const Tensor& source, const Tensor& target) {
  target.resize_(source.sizes());
  Tensor into = target;
  return copy_(into, source, false);
}

inline c10::Scalar local_scalar_dense(const Tensor& self) {
  if (state().clock.host().pause == 0) {
    read_through(static_cast<int64_t>(self.dtype().itemsize()));
    ask(kRead, {static_cast<int64_t>(self.dtype().itemsize())});
  }
  at::AutoDispatchBelowADInplaceOrView below;
  return at::_local_scalar_dense(host_side(self));
}

// Copies that it makes are told by its name, as torch's profiler tells them.
inline Tensor to_copy(
    const Tensor& self, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout> layout,
    std::optional<c10::Device> device, std::optional<bool> pin_memory, bool non_blocking,
    std::optional<c10::MemoryFormat> format) {
  Host& host = state().clock.host();
  struct Moving {
    explicit Moving(Host& host) : host(host) { host.moving++; }
    ~Moving() { host.moving--; }
    Host& host;
  } moving(host);
  return at::native::_to_copy(self, dtype, layout, device, pin_memory, non_blocking, format);
}

inline void check_place(std::optional<c10::Device> device, std::optional<bool> pin_memory) {
  TORCH_CHECK(!pin_memory.value_or(false), "Only dense CPU tensors can be pinned");
  if (device) check_index(*device);
}

inline void made() {
  look_at_fresh_operators();
  if (state().clock.host().pause == 0) work(state().rates.view_ns);
}

inline Tensor empty(
    c10::IntArrayRef size, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>,
    std::optional<c10::Device> device, std::optional<bool> pin_memory, std::optional<c10::MemoryFormat> format) {
  check_place(device, pin_memory);
  made();
  return at::detail::empty_generic(
      size, &device_allocator(), DispatchKeySet(DispatchKey::CUDA), c10::dtype_or_default(dtype), format);
}

inline Tensor empty_strided(
    c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>,
    std::optional<c10::Device> device, std::optional<bool> pin_memory) {
  check_place(device, pin_memory);
  made();
  return at::detail::empty_strided_generic(
      size, stride, &device_allocator(), DispatchKeySet(DispatchKey::CUDA), c10::dtype_or_default(dtype));
}

// A tensor of zeros without memory, which functorch's derivatives are full of.
inline Tensor zero_tensor(
    c10::IntArrayRef size, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>,
    std::optional<c10::Device> device, std::optional<bool> pin_memory) {
  struct Nothing final : c10::Allocator {
    c10::DataPtr allocate(size_t) override {
      return {nullptr, nullptr, &c10::detail::deleteNothing, c10::Device(kDevice, 0)};
    }
    void copy_data(void*, const void*, std::size_t) const override {}
  };
  static Nothing nothing;
  check_place(device, pin_memory);
  return at::detail::empty_generic(
      size, &nothing, DispatchKeySet(DispatchKey::CUDA) | DispatchKeySet(DispatchKey::ZeroTensor),
      c10::dtype_or_default(dtype), std::nullopt);
}

inline Tensor as_strided(
    const Tensor& self, c10::IntArrayRef size, c10::IntArrayRef stride, std::optional<int64_t> offset) {
  made();
  return at::native::as_strided_tensorimpl(self, size, stride, offset);
}

inline Tensor view(const Tensor& self, c10::IntArrayRef size) {
  made();
  return at::native::view(self, size);
}

inline Tensor reshape_alias(const Tensor& self, c10::IntArrayRef size, c10::IntArrayRef stride) {
  made();
  return at::native::_reshape_alias(self, size, stride);
}

} // namespace syncwatch
