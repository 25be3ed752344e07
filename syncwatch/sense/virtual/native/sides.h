// One tensor, seen from both sides: the device's tensor, and a CPU tensor over the same memory, for the CPU's kernels.
#pragma once
#include <ATen/EmptyTensor.h>
#include <ATen/NestedTensorImpl.h>
#include <ATen/SparseCsrTensorImpl.h>
#include <ATen/SparseTensorImpl.h>
#include <ATen/core/Tensor.h>
#include <ATen/quantized/QTensorImpl.h>

#include "memory.h"

namespace syncwatch {

using at::Tensor;
using c10::DispatchKey;
using c10::DispatchKeySet;

inline bool on_device(const Tensor& tensor) {
  return tensor.defined() && tensor.device().type() == kDevice;
}

inline bool compressed(const Tensor& tensor) {
  const auto layout = tensor.layout();
  return layout == c10::kSparseCsr || layout == c10::kSparseCsc || layout == c10::kSparseBsr || layout == c10::kSparseBsc;
}

inline void copy_geometry(const Tensor& from, const Tensor& to) {
  to.unsafeGetTensorImpl()->set_sizes_and_strides(from.sizes(), from.strides(), from.storage_offset());
}

// Return the storage under which the CPU's kernels see the memory of a storage of the device.
inline c10::Storage twin_of(const c10::Storage& storage) {
  auto* owner = storage.unsafeGetStorageImpl();
  const c10::DataPtr& data = owner->data_ptr();
  auto* block = data.get_deleter() == &free_block ? static_cast<Block*>(data.get_context()) : nullptr;
  if (block != nullptr) {
    if (auto* known = block->twin.load(std::memory_order_acquire)) {
      if (known->nbytes() == owner->nbytes() && known->data() == data.get() && known->data_ptr().get_context() == owner)
        return c10::Storage(c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(known));
    }
  }
  auto made = c10::make_intrusive<c10::StorageImpl>(
      c10::StorageImpl::use_byte_size_t(),
      owner->nbytes(),
      c10::DataPtr(data.get(), owner, &forget, c10::Device(c10::kCPU)),
      c10::GetDefaultCPUAllocator(),
      true);
  if (block != nullptr) {
    c10::StorageImpl* none = nullptr;
    auto* offered = c10::intrusive_ptr<c10::StorageImpl>(made).release();
    if (!block->twin.compare_exchange_strong(none, offered)) c10::raw::intrusive_ptr::decref(offered);
  }
  return c10::Storage(std::move(made));
}

// Return the storage of the device whose twin this is, or nothing.
inline c10::StorageImpl* owner_of(const c10::Storage& storage) {
  const c10::DataPtr& data = storage.unsafeGetStorageImpl()->data_ptr();
  return data.get_deleter() == &forget ? static_cast<c10::StorageImpl*>(data.get_context()) : nullptr;
}

// Return this memory as a storage of the device: the one whose twin it is, or itself, labelled.
inline c10::Storage device_storage(const c10::Storage& storage) {
  auto* impl = storage.unsafeGetStorageImpl();
  if (impl->device().type() == kDevice) return storage;
  if (auto* owner = owner_of(storage))
    return c10::Storage(c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(owner));
  const size_t size = impl->nbytes();
  impl->set_data_ptr_noswap(adopt(impl->set_data_ptr(c10::DataPtr()), size));
  impl->set_allocator(&device_allocator());
  return storage;
}

inline Tensor over(c10::Storage&& storage, const Tensor& like, DispatchKey key) {
  auto impl = c10::make_intrusive<c10::TensorImpl>(std::move(storage), DispatchKeySet(key), like.dtype());
  impl->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
  if (like.is_conj()) impl->_set_conj(true);
  if (like.is_neg()) impl->_set_neg(true);
  return Tensor(std::move(impl));
}

// Sizes and strides of a nested tensor are tensors of the host on either side.
inline Tensor nested(const Tensor& like, c10::Storage&& storage, DispatchKey key) {
  auto* from = at::native::get_nested_tensor_impl(like);
  return at::detail::make_tensor<at::native::NestedTensorImpl>(
      std::move(storage), DispatchKeySet(key), like.dtype(), from->get_nested_sizes(), from->get_nested_strides(),
      from->get_storage_offsets());
}

// Return the CPU tensor over the memory of a tensor of the device; it shares the storage, so aliasing is kept.
inline Tensor host_side(const Tensor& tensor) {
  if (!on_device(tensor)) return tensor;
  if (tensor.layout() == c10::kSparse) {
    auto* from = static_cast<at::SparseTensorImpl*>(tensor.unsafeGetTensorImpl());
    auto result = at::detail::make_tensor<at::SparseTensorImpl>(DispatchKeySet(DispatchKey::SparseCPU), tensor.dtype());
    auto* to = static_cast<at::SparseTensorImpl*>(result.unsafeGetTensorImpl());
    to->raw_resize_(from->sparse_dim(), from->dense_dim(), tensor.sizes());
    to->set_indices_and_values_unsafe(host_side(from->indices()), host_side(from->values()));
    to->set_coalesced(from->coalesced());
    return result;
  }
  if (compressed(tensor)) {
    auto* from = static_cast<at::SparseCsrTensorImpl*>(tensor.unsafeGetTensorImpl());
    auto result = at::detail::make_tensor<at::SparseCsrTensorImpl>(
        DispatchKeySet(DispatchKey::SparseCsrCPU), c10::Device(c10::kCPU), tensor.layout(), tensor.dtype());
    static_cast<at::SparseCsrTensorImpl*>(result.unsafeGetTensorImpl())
        ->set_member_tensors(
            host_side(from->compressed_indices()),
            host_side(from->plain_indices()),
            host_side(from->values()),
            tensor.sizes());
    return result;
  }
  if (tensor.is_nested()) return nested(tensor, twin_of(tensor.storage()), DispatchKey::NestedTensorCPU);
  if (tensor.is_quantized()) {
    auto* from = static_cast<at::QTensorImpl*>(tensor.unsafeGetTensorImpl());
    c10::Storage storage = twin_of(tensor.storage());
    auto result = at::detail::make_tensor<at::QTensorImpl>(
        std::move(storage), DispatchKeySet(DispatchKey::QuantizedCPU), tensor.dtype(), from->quantizer());
    copy_geometry(tensor, result);
    return result;
  }
  return over(twin_of(tensor.storage()), tensor, DispatchKey::CPU);
}

// Take a result of the CPU's kernel over as the device's; its memory is labelled where it is new.
inline Tensor device_side(const Tensor& tensor) {
  if (!tensor.defined() || tensor.device().type() != c10::kCPU) return tensor;
  if (tensor.layout() == c10::kSparse) {
    auto* from = static_cast<at::SparseTensorImpl*>(tensor.unsafeGetTensorImpl());
    auto result = at::detail::make_tensor<at::SparseTensorImpl>(DispatchKeySet(DispatchKey::SparseCUDA), tensor.dtype());
    auto* to = static_cast<at::SparseTensorImpl*>(result.unsafeGetTensorImpl());
    to->raw_resize_(from->sparse_dim(), from->dense_dim(), tensor.sizes());
    to->set_indices_and_values_unsafe(device_side(from->indices()), device_side(from->values()));
    to->set_coalesced(from->coalesced());
    return result;
  }
  if (compressed(tensor)) {
    auto* from = static_cast<at::SparseCsrTensorImpl*>(tensor.unsafeGetTensorImpl());
    auto result = at::detail::make_tensor<at::SparseCsrTensorImpl>(
        DispatchKeySet(DispatchKey::SparseCsrCUDA), c10::Device(kDevice, 0), tensor.layout(), tensor.dtype());
    static_cast<at::SparseCsrTensorImpl*>(result.unsafeGetTensorImpl())
        ->set_member_tensors(
            device_side(from->compressed_indices()),
            device_side(from->plain_indices()),
            device_side(from->values()),
            tensor.sizes());
    return result;
  }
  if (tensor.layout() != c10::kStrided || !tensor.has_storage()) return tensor;
  c10::Storage storage = device_storage(tensor.storage());
  if (tensor.is_nested()) return nested(tensor, std::move(storage), DispatchKey::NestedTensorCUDA);
  if (tensor.is_quantized()) {
    auto* from = static_cast<at::QTensorImpl*>(tensor.unsafeGetTensorImpl());
    auto result = at::detail::make_tensor<at::QTensorImpl>(
        std::move(storage), DispatchKeySet(DispatchKey::QuantizedCUDA), tensor.dtype(), from->quantizer());
    copy_geometry(tensor, result);
    return result;
  }
  return over(std::move(storage), tensor, DispatchKey::CUDA);
}

// A CPU's kernel may have resized what it was given, or put another storage into it: so does the device's tensor.
// `twin` is the storage that `host` had before.
inline void follow(const Tensor& host, const Tensor& device, c10::StorageImpl* twin) {
  if (host.layout() == c10::kSparse) {
    auto* from = static_cast<at::SparseTensorImpl*>(host.unsafeGetTensorImpl());
    auto* to = static_cast<at::SparseTensorImpl*>(device.unsafeGetTensorImpl());
    to->raw_resize_(from->sparse_dim(), from->dense_dim(), host.sizes());
    to->set_indices_and_values_unsafe(device_side(from->indices()), device_side(from->values()));
    to->set_coalesced(from->coalesced());
    return;
  }
  if (compressed(host)) {
    auto* from = static_cast<at::SparseCsrTensorImpl*>(host.unsafeGetTensorImpl());
    static_cast<at::SparseCsrTensorImpl*>(device.unsafeGetTensorImpl())
        ->set_member_tensors(
            device_side(from->compressed_indices()),
            device_side(from->plain_indices()),
            device_side(from->values()),
            host.sizes());
    return;
  }
  if (host.layout() != c10::kStrided || !host.has_storage() || host.is_nested()) return;
  auto* seen = host.storage().unsafeGetStorageImpl();
  auto* own = device.storage().unsafeGetStorageImpl();
  if (owner_of(host.storage()) != own || seen->nbytes() != own->nbytes()) {
    if (seen == twin) {
      // Resized: the device's storage takes the new memory, so that its views see it too.
      const size_t size = seen->nbytes();
      c10::DataPtr grown = seen->set_data_ptr(c10::DataPtr());
      own->set_data_ptr_noswap(adopt(std::move(grown), size));
      own->set_nbytes(size);
      seen->set_data_ptr_noswap(c10::DataPtr(own->mutable_data(), own, &forget, c10::Device(c10::kCPU)));
    } else {
      device.unsafeGetTensorImpl()->set_storage_keep_dtype(device_storage(host.storage()));
    }
  }
  if (host.sizes() != device.sizes() || host.strides() != device.strides() ||
      host.storage_offset() != device.storage_offset())
    copy_geometry(host, device);
}

inline int64_t bytes_of(const Tensor& tensor) {
  if (!tensor.defined() || tensor.layout() != c10::kStrided) return 0;
  return tensor.numel() * static_cast<int64_t>(tensor.dtype().itemsize());
}

} // namespace syncwatch
