// The form of a call: everything about its arguments but the values in its tensors. A row of the table that goes by form
// alone is asked once for each.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>

#include <string>
#include <unordered_set>

namespace syncwatch {

// A form as bytes, so that equal ones are equal strings; empty where an argument has none.
class Form {
 public:
  explicit Form(int64_t number) { bytes_.reserve(256); put(number); }

  // Return whether `value` has a form.
  bool add(const c10::IValue& value) {
    if (value.isTensor()) return tensor(value.toTensor());
    if (value.isNone()) put('n');
    else if (value.isInt()) put('i'), put(value.toInt());
    else if (value.isBool()) put(value.toBool() ? 't' : 'f');
    else if (value.isDouble()) put('d'), put(value.toDouble());
    else if (value.isString()) put('s'), text(value.toStringRef());
    else if (value.isDevice()) put('D'), put(value.toDevice().type()), put(value.toDevice().index());
    else if (value.isIntList()) put('I'), numbers(value.toIntVector());
    else if (value.isTensorList() || value.isOptionalTensorList()) {
      const auto list = value.toListRef();
      put('L'), put(list.size());
      for (const auto& each : list)
        if (!add(each)) return false;
    } else return false;
    return true;
  }

  const std::string& bytes() const { return bytes_; }

 private:
  template <class T>
  void put(T value) { bytes_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  void text(const std::string& value) { put(value.size()), bytes_.append(value); }
  void numbers(c10::IntArrayRef values) {
    put(values.size());
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(int64_t));
  }
  bool tensor(const at::Tensor& tensor) {
    put('T');
    if (!tensor.defined()) return put('u'), true;
    const auto* impl = tensor.unsafeGetTensorImpl();
    if (tensor.layout() != c10::kStrided || tensor.is_nested() || impl->has_symbolic_sizes_strides()) return false;
    put(tensor.scalar_type()), put(tensor.device().type()), put(impl->is_wrapped_number()), put(tensor.requires_grad());
    numbers(tensor.sizes()), numbers(tensor.strides());
    return true;
  }

  std::string bytes_;
};

// The forms of calls that ask nothing of the runtime, of the calling thread.
class QuietForms {
 public:
  static QuietForms& mine() {
    thread_local QuietForms one;
    return one;
  }
  bool holds(const Form& form) const { return known_.count(form.bytes()) != 0; }
  void enter(const Form& form) {
    // Lengths that grow with every step must not fill the memory.
    if (known_.size() >= kMost) known_.clear();
    known_.insert(form.bytes());
  }

 private:
  static constexpr size_t kMost = 1024;
  std::unordered_set<std::string> known_;
};

} // namespace syncwatch
