// A CUDA graph: the operators that were captured, to be computed again into the same memory.
#pragma once
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bridge.h"

namespace syncwatch {

struct Captured {
  c10::OperatorHandle op;
  std::vector<c10::IValue> arguments;
  std::vector<c10::IValue> results;
};

struct Capture {
  std::vector<Captured> calls;
  std::vector<std::pair<int64_t, int64_t>> kernels;  // name and duration
  // What captured operators wrote over, as it was: a capture records and runs nothing.
  std::unordered_map<c10::StorageImpl*, std::pair<c10::Storage, std::vector<char>>> before;
};

// The one that is underway, or null.
inline std::shared_ptr<Capture>& current_capture() {
  static auto* one = new std::shared_ptr<Capture>();
  return *one;
}

inline void keep_storage(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.has_storage()) return;
  auto* impl = tensor.storage().unsafeGetStorageImpl();
  auto& before = current_capture()->before;
  if (before.count(impl) || !impl->data()) return;
  const char* data = static_cast<const char*>(impl->data());
  before.emplace(impl, std::make_pair(tensor.storage(), std::vector<char>(data, data + impl->nbytes())));
}

inline void put_back(Capture& capture) {
  for (auto& [impl, kept] : capture.before)
    if (impl->nbytes() >= kept.second.size()) std::memcpy(impl->mutable_data(), kept.second.data(), kept.second.size());
  capture.before.clear();
}

} // namespace syncwatch
