// Which kernel computes attention: as `select_sdp_backend` chooses on a GPU of compute capability 9.0.
#pragma once
#include <ATen/Context.h>
#include <ATen/native/transformers/attention.h>

#include "operators.h"

namespace syncwatch {

// The values are those of `sdp::SDPBackend`.
constexpr int64_t kMath = 0, kFlash = 1, kEfficient = 2;

inline int64_t choose_attention(
    const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& mask, double dropout,
    bool causal, std::optional<double>, bool grouped) {
  auto& context = at::globalContext();
  const auto dtype = query.scalar_type();
  const bool half = dtype == at::kHalf || dtype == at::kBFloat16;
  const bool masked = mask && mask->defined();
  const bool fits = !query.is_nested() && query.dim() == 4 && key.dim() == 4 && value.dim() == 4 &&
      query.size(-1) == value.size(-1) && query.size(-1) == key.size(-1) && query.size(0) == key.size(0) &&
      query.numel() && key.numel() && dropout == 0.0 && !grouped && query.size(1) == key.size(1) &&
      query.stride(-1) == 1 && key.stride(-1) == 1 && value.stride(-1) == 1;
  // Jagged tensors choose in Python, and have sizes that only Python knows.
  if (query.layout() == c10::kJagged) return kMath;
  if (query.is_nested()) {
    const bool kernel = (half && context.userEnabledFlashSDP()) ||
        ((half || dtype == at::kFloat) && context.userEnabledMemEfficientSDP());
    // The lengths of queries and of keys are added up on the host for the kernel (`NestedTensorTransformerUtils.cpp`).
    if (kernel && state().clock.host().pause == 0)
      for (const Tensor& each : {query, key})
        ask(kUpload, {4 * (at::native::get_nested_tensor_impl(each)->get_nested_sizes().size(0) + 1)});
  }
  if (fits && context.userEnabledFlashSDP() && half && !masked && query.size(-1) <= 256) return kFlash;
  if (fits && context.userEnabledMemEfficientSDP() && (half || dtype == at::kFloat) &&
      !(masked && (mask->requires_grad() || causal)))
    return kEfficient;
  TORCH_CHECK(context.userEnabledMathSDP(), "No available kernel. Aborting execution.");
  return kMath;
}

} // namespace syncwatch
