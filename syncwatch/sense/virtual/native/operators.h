// Every operator on tensors of the device: computed by the CPU's kernel over the same memory, and launched on the clock.
#pragma once
#include <ATen/core/LegacyTypeDispatch.h>

#include <c10/util/SmallVector.h>

#include <functional>

#include "forms.h"
#include "hooks.h"
#include "journal.h"
#include "sides.h"
#include "workspaces.h"

namespace syncwatch {

// What Python knows of an operator; the values are those of `Trait` in bridge.py.
enum Trait : int64_t {
  kHasRow = 1,          // the table of waits has a row
  kRandom = 2,          // draws numbers
  kFree = 4,            // makes tensors or looks at them without a kernel
  kHostOutputs = 8,     // describes a tensor on the device by tensors on the host
  kFirstOnDevice = 16,  // only the first output is on the device
  kOneDevice = 32,      // CUDA refuses operands on different devices
  kCountedByPython = 128,  // torch has a formula for its floating-point operations
  kRowForSparse = 4096,  // the row is for sparse tensors only
  kRowForHost = 8192,    // the row is for calls with a tensor of the host only
  kRowByForm = 32768,    // the row goes by the form of the call alone, where no tensor of the host takes part
  kListOfMany = 16384,   // one launch for many tensors; torch does it one by one where some are on the host
  // CUDA's kernel for the layout is the CPU's: composed of other operators
  kSameCodeSparse = 512, kSameCodeCompressed = 1024, kSameCodeNested = 2048,
  kFlopsMm = 1 << 16, kFlopsAddmm = 2 << 16, kFlopsBmm = 3 << 16, kFlopsBaddbmm = 4 << 16,
  kFlopsMask = 7 << 16,
  kHostOnly = 1 << 19, kHostOnlyCompressed = 1 << 20, kHostOnlyNested = 1 << 21, kHostOnlyQuantized = 1 << 22,
};

struct Known {
  int64_t number = -1;
  int64_t name = 0;
  int64_t traits = 0;
  bool cpu = false;
  bool cublas = false;
  std::string full;
};

class Operators {
 public:
  Known& known(const c10::OperatorHandle& op) {
    thread_local std::unordered_map<c10::OperatorHandle, Known*> mine;
    thread_local int64_t age = -1;
    if (age != age_.load(std::memory_order_relaxed)) {
      mine.clear();
      age = age_.load(std::memory_order_relaxed);
    }
    auto found = mine.find(op);
    if (found != mine.end()) return *found->second;
    Known& entry = enter(op);
    mine.emplace(op, &entry);
    return entry;
  }
  std::string full_name(int64_t number) {
    std::lock_guard<std::mutex> hold(mutex_);
    return entries_.at(number)->full;
  }
  // Look at every operator anew: by its place in memory one is not known for longer than it lives.
  void forget() {
    age_++;
  }

 private:
  Known& enter(const c10::OperatorHandle& op) {
    const auto& name = op.operator_name();
    const std::string full = name.overload_name.empty() ? name.name : name.name + "." + name.overload_name;
    Known* entry;
    {
      std::lock_guard<std::mutex> hold(mutex_);
      auto [found, fresh] = by_name_.emplace(full, static_cast<int64_t>(entries_.size()));
      if (fresh) {
        entries_.push_back(std::make_unique<Known>());
        entries_.back()->number = found->second;
        entries_.back()->full = full;
      }
      entry = entries_[found->second].get();
    }
    std::string bare = name.name;
    const auto colons = bare.find("::");
    if (colons != std::string::npos) bare.replace(colons, 2, ".");
    entry->name = names().of(bare);
    entry->cublas = uses_cublas(bare);
    entry->cpu = op.hasKernelForDispatchKey(DispatchKey::CPU);
    entry->traits = ask(kDescribe, {entry->number});
    return *entry;
  }

  std::mutex mutex_;
  std::atomic<int64_t> age_{0};
  // A name is numbered once, for Python and for good; only who is called so may change.
  std::unordered_map<std::string, int64_t> by_name_;
  std::vector<std::unique_ptr<Known>> entries_;
};

inline Operators& operators() {
  static Operators* one = new Operators();
  return *one;
}

// Puts the device's random numbers in the place of the CPU's, for operators that take no generator.
struct OwnNumbers {
  OwnNumbers() : host(*cpu()), device(*own()) { exchange(); }
  ~OwnNumbers() { exchange(); }
  static at::CPUGeneratorImpl* cpu() {
    return at::check_generator<at::CPUGeneratorImpl>(at::detail::getDefaultCPUGenerator());
  }
  static at::CPUGeneratorImpl* own() {
    return at::check_generator<at::CPUGeneratorImpl>(host_generator(default_generator()));
  }
  void exchange() {
    auto engine = host.engine();
    auto single = host.next_float_normal_sample();
    auto wide = host.next_double_normal_sample();
    host.set_engine(device.engine());
    host.set_next_float_normal_sample(device.next_float_normal_sample());
    host.set_next_double_normal_sample(device.next_double_normal_sample());
    device.set_engine(engine);
    device.set_next_float_normal_sample(single);
    device.set_next_double_normal_sample(wide);
  }
  at::CPUGeneratorImpl &host, &device;
};

// Whether operators were defined since those of others were last looked through, and what looks them through.
inline std::atomic<bool>& fresh_operators() {
  static std::atomic<bool> fresh{false};
  return fresh;
}
inline std::function<void()>& take_over() {
  static auto* one = new std::function<void()>();
  return *one;
}
inline void look_at_fresh_operators() {
  if (fresh_operators().load(std::memory_order_relaxed) && take_over()) take_over()();
}

// One call of an operator on its way through the CPU's kernel.
class Call {
 public:
  Call(const c10::OperatorHandle& op, DispatchKeySet keys, torch::jit::Stack* stack)
      : op_(op), known_(operators().known(op)), stack_(stack), host_(state().clock.host()) {
    key_ = keys.highestPriorityTypeId();
    const size_t count = op.schema().arguments().size();
    given_.append(stack->end() - count, stack->end());
    below_ = stack->size() - count;
  }

  void run() {
    const bool seen = host_.pause == 0;
    if (seen && host_only())
      TORCH_CHECK_NOT_IMPLEMENTED(
          false, "Could not run '", known_.full, "' with arguments from the '", c10::toString(key_),
          "' backend: torch has a kernel of it for the CPU only.");
    survey();
    twin_ = same_code(key_);
    if (seen && (known_.traits & kOneDevice) && here_ && there_)
      TORCH_CHECK(
          false,
          "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!");
    Frame frame{&op_, given_.data(), given_.size(), {}, {}};
    int64_t calls = 0;
    if (seen && state().capturing) keep_before();
    if (!composed()) {
      if (seen && asks_a_row()) calls = row(frame);
      compute(frame);
      if (seen) charge(frame);
    }
    if (seen && state().capturing && twin_ == DispatchKey::Undefined) keep_after();
    if (calls > 0) asked(kAfter, frame, {known_.number});
  }

 private:
  // Whether torch has a kernel for the CPU and none for CUDA.
  bool host_only() const {
    switch (key_) {
      case DispatchKey::CUDA: return known_.traits & kHostOnly;
      case DispatchKey::SparseCsrCUDA: return known_.traits & kHostOnlyCompressed;
      case DispatchKey::NestedTensorCUDA: return known_.traits & kHostOnlyNested;
      case DispatchKey::QuantizedCUDA: return known_.traits & kHostOnlyQuantized;
      default: return false;
    }
  }

  bool asks_a_row() const {
    if (!(known_.traits & kHasRow)) return false;
    if ((known_.traits & kRowForSparse) && !sparse_) return false;
    return !(known_.traits & kRowForHost) || from_host_;
  }

  // How many calls of the runtime the table knows for this call.
  int64_t row(Frame& frame) {
    if (!(known_.traits & kRowByForm) || from_host_ || !plain_) return asked(kRow, frame, {known_.number});
    Form form(known_.number);
    for (const auto& value : given_)
      if (!form.add(value)) return asked(kRow, frame, {known_.number});
    QuietForms& quiet = QuietForms::mine();
    if (quiet.holds(form)) return 0;
    const int64_t calls = asked(kRow, frame, {known_.number});
    if (!calls) quiet.enter(form);
    return calls;
  }

  void survey() {
    for (const auto& value : given_) {
      if (value.isTensor()) look(value.toTensor());
      else if (value.isTensorList()) {
        for (const Tensor& each : value.toTensorList()) look(each);
      } else if (value.isOptionalTensorList()) {
        for (const auto& each : value.toOptionalTensorList()) {
          std::optional<Tensor> one = each;
          if (one) look(*one);
        }
      }
    }
  }
  void look(const Tensor& tensor) {
    if (!tensor.defined()) return;
    if (tensor.device().type() == kDevice) there_ = true;
    else if (tensor.device().type() == c10::kCPU) {
      if (tensor.dim() > 0) here_ = true;
      if (!tensor.unsafeGetTensorImpl()->is_wrapped_number()) from_host_ = true;
    }
    if (tensor.layout() != c10::kStrided) sparse_ = true;
    if (sparse_ || tensor.is_quantized() || tensor.is_nested()) plain_ = false;
    bytes_ += bytes_of(tensor);
  }

  int64_t asked(Question question, Frame& frame, std::initializer_list<int64_t> numbers) {
    Frame*& current = syncwatch::frame();
    Frame* outer = current;
    current = &frame;
    struct Back {
      Frame*& slot;
      Frame* before;
      ~Back() { slot = before; }
    } back{current, outer};
    return ask(question, numbers);
  }

  Tensor down(const Tensor& tensor) {
    if (!on_device(tensor)) return tensor;
    for (const auto& pair : pairs_)
      if (pair.device.is_same(tensor)) return pair.host;
    Tensor host = host_side(tensor);
    auto* twin = host.has_storage() ? host.storage().unsafeGetStorageImpl() : nullptr;
    pairs_.push_back({std::move(host), tensor, twin});
    return pairs_.back().host;
  }

  c10::IValue lowered(const c10::IValue& value) {
    if (value.isTensor()) return down(value.toTensor());
    if (value.isTensorList()) {
      c10::List<Tensor> list;
      for (const Tensor& each : value.toTensorList()) list.push_back(down(each));
      return list;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<Tensor>> list;
      for (const auto& each : value.toOptionalTensorList()) {
        std::optional<Tensor> one = each;
        list.push_back(one ? std::optional<Tensor>(down(*one)) : std::nullopt);
      }
      return list;
    }
    if (value.isDevice()) {
      const c10::Device device = value.toDevice();
      if (device.type() != kDevice) {
        // A factory that was told where its results belong.
        for_host_ = true;
        return value;
      }
      check_index(device);
      return c10::Device(c10::kCPU);
    }
    if (value.isStorage()) {
      const c10::Storage storage = value.toStorage();
      return storage.device().type() == kDevice ? c10::IValue(twin_of(storage)) : value;
    }
    if (value.isGenerator()) {
      const at::Generator generator = value.toGenerator();
      TORCH_CHECK(
          generator.device().type() == kDevice, "Expected a 'cuda' device type for generator but found '",
          c10::DeviceTypeName(generator.device().type(), true), "'");
      return host_generator(generator);
    }
    return value;
  }

  void compute(Frame& frame) {
    at::AutoDispatchBelowADInplaceOrView below;
    const auto begin = stack_->end() - given_.size();
    bool generator = false;
    size_t place = 0;
    for (auto value = begin; value != stack_->end(); ++value, ++place) {
      *value = lowered(*value);
      if ((known_.traits & kRandom) && value->isNone() && is_generator(place)) {
        *value = host_generator(default_generator());
        generator = true;
      } else if (value->isGenerator()) {
        generator = true;
      }
    }
    std::optional<OwnNumbers> own;
    if ((known_.traits & kRandom) && !generator) own.emplace();
    try {
      // Not `callBoxedForDispatchKey`, which works the keys out again and copies what is known of the kernel.
      if (known_.cpu && plain_ && key_ == DispatchKey::CUDA)
        op_.redispatchBoxed(DispatchKeySet(DispatchKey::CPU), stack_);
      else op_.callBoxed(stack_);
    } catch (const c10::OutOfMemoryError&) {
      throw;
    } catch (const python_error&) {
      throw;
    } catch (const std::exception& error) {
      stack_->resize(below_);
      const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
      frame.error = torch_error ? torch_error->what_without_backtrace() : error.what();
      // The kernel may have taken them off the stack before it failed.
      std::vector<c10::IValue> lowered_arguments;
      for (const auto& value : given_) lowered_arguments.push_back(lowered(value));
      frame.arguments = lowered_arguments.data();
      const int64_t answered = asked(kCompute, frame, {known_.number});
      frame.arguments = given_.data();
      if (!answered) throw;
      push(frame.answer);
    }
    raise();
  }

  bool is_generator(size_t place) const {
    const auto& type = op_.schema().arguments()[place].type();
    return type->kind() == c10::TypeKind::GeneratorType ||
        (type->kind() == c10::TypeKind::OptionalType &&
         type->castRaw<c10::OptionalType>()->getElementType()->kind() == c10::TypeKind::GeneratorType);
  }

  // Put what Python answered where the kernel's results belong.
  void push(const c10::IValue& answer) {
    const auto& returns = op_.schema().returns();
    if (returns.size() == 1) {
      stack_->push_back(fitting(answer, returns[0].type()));
      return;
    }
    if (returns.empty()) return;
    const auto& elements = answer.toTupleRef().elements();
    TORCH_CHECK(elements.size() == returns.size(), known_.full, " has ", returns.size(), " results");
    for (size_t i = 0; i < elements.size(); i++) stack_->push_back(fitting(elements[i], returns[i].type()));
  }
  static c10::IValue fitting(const c10::IValue& value, const c10::TypePtr& type) {
    if (value.isNone() && type->kind() == c10::TypeKind::TensorType) return Tensor();
    if (type->kind() == c10::TypeKind::ListType && (value.isTuple() || value.isList())) {
      c10::List<Tensor> list;
      if (value.isTuple())
        for (const auto& each : value.toTupleRef().elements()) list.push_back(each.toTensor());
      else
        for (const auto& each : value.toListRef()) list.push_back(each.toTensor());
      return list;
    }
    return value;
  }

  Tensor up(const Tensor& tensor) {
    if (!tensor.defined()) return tensor;
    for (const auto& pair : pairs_)
      if (pair.host.is_same(tensor)) return pair.device;
    for (const auto& value : given_)
      if (value.isTensor() && value.toTensor().is_same(tensor)) return tensor;
    Tensor result = device_side(tensor);
    bytes_ += bytes_of(result);
    return result;
  }

  void raise() {
    for (const auto& pair : pairs_) follow(pair.host, pair.device, pair.twin);
    const size_t count = op_.schema().returns().size();
    const size_t begin = stack_->size() - count;
    if ((known_.traits & kHostOutputs) || for_host_) return;
    for (size_t i = begin; i < stack_->size(); i++) {
      if ((known_.traits & kFirstOnDevice) && i > begin) break;
      auto& value = (*stack_)[i];
      if (value.isTensor()) {
        value = up(value.toTensor());
        if (!width_ && value.toTensor().defined()) width_ = value.toTensor().dtype().itemsize();
      } else if (value.isTensorList()) {
        c10::List<Tensor> list;
        for (const Tensor& each : value.toTensorList()) list.push_back(up(each));
        value = std::move(list);
      }
    }
  }

  void charge(Frame& frame) {
    State& all = state();
    if (known_.traits & kFree) {
      work(all.rates.view_ns);
      return;
    }
    if (known_.cublas && plain_) workspaces().need();
    int64_t flops = 0;
    if (known_.traits & kFlopsMask) flops = product();
    else if ((known_.traits & kCountedByPython) && plain_) {
      const size_t count = op_.schema().returns().size();
      frame.answer = c10::IValue();
      if (count) frame.answer = (*stack_)[stack_->size() - count];
      flops = asked(kFlops, frame, {known_.number});
    }
    launch(known_.name, all.rates.kernel_ns(bytes_, flops, width_ ? width_ : 4));
  }

  int64_t product() const {
    if (!plain_) return 0;
    const int64_t kind = known_.traits & kFlopsMask;
    const size_t left = (kind == kFlopsAddmm || kind == kFlopsBaddbmm) ? 1 : 0;
    const Tensor& a = given_[left].toTensor();
    const Tensor& b = given_[left + 1].toTensor();
    if (a.dim() < 2 || b.dim() < 2) return 0;
    return 2 * a.numel() * b.size(-1);
  }

  // Whether a kernel asked for a part of CUDA's own: a torch for the CPU lacks it, another finds no driver.
  static bool wants_a_driver(const std::string& error) {
    for (const char* phrase : {"DispatchStub: missing kernel", "CUDA driver version is insufficient",
                               "no CUDA-capable device", "Found no NVIDIA driver", "CUDA driver initialization failed"})
      if (error.find(phrase) != std::string::npos) return true;
    return false;
  }

  // Run a kernel that is composed of other operators, which are launched one by one; return whether it is one.
  bool composed() {
    if (twin_ == DispatchKey::Undefined) return false;
    try {
      op_.callBoxedForDispatchKey(twin_, *stack_);
      return true;
    } catch (const c10::Error& error) {
      if (!wants_a_driver(error.what_without_backtrace())) throw;
      twin_ = DispatchKey::Undefined;
      stack_->resize(below_);
      stack_->insert(stack_->end(), given_.begin(), given_.end());
      return false;
    }
  }

  // The CPU's key whose kernel is CUDA's too, or none.
  DispatchKey same_code(DispatchKey key) const {
    DispatchKey twin = DispatchKey::Undefined;
    if (key == DispatchKey::CUDA && (known_.traits & kListOfMany) && here_) return DispatchKey::CompositeExplicitAutograd;
    if (key == DispatchKey::SparseCUDA && (known_.traits & kSameCodeSparse)) twin = DispatchKey::SparseCPU;
    if (key == DispatchKey::SparseCsrCUDA && (known_.traits & kSameCodeCompressed)) twin = DispatchKey::SparseCsrCPU;
    if (key == DispatchKey::NestedTensorCUDA && (known_.traits & kSameCodeNested)) twin = DispatchKey::NestedTensorCPU;
    return twin != DispatchKey::Undefined && op_.hasKernelForDispatchKey(twin) ? twin : DispatchKey::Undefined;
  }

  void keep_before();
  void keep_after();

  const c10::OperatorHandle& op_;
  Known& known_;
  torch::jit::Stack* stack_;
  Host& host_;
  DispatchKey key_ = DispatchKey::Undefined, twin_ = DispatchKey::Undefined;
  c10::SmallVector<c10::IValue, 10> given_;
  struct Pair {
    Tensor host, device;
    c10::StorageImpl* twin;  // the storage of `host` before the kernel
  };
  c10::SmallVector<Pair, 6> pairs_;
  size_t below_ = 0;
  bool there_ = false, here_ = false, plain_ = true, sparse_ = false, from_host_ = false, for_host_ = false;
  int64_t bytes_ = 0, width_ = 0;
};

inline void Call::keep_before() {
  if (!current_capture()) return;
  const auto& arguments = op_.schema().arguments();
  for (size_t i = 0; i < given_.size(); i++) {
    const auto* alias = arguments[i].alias_info();
    if (!alias || !alias->isWrite()) continue;
    if (given_[i].isTensor()) keep_storage(given_[i].toTensor());
    else if (given_[i].isTensorList())
      for (const Tensor& each : given_[i].toTensorList()) keep_storage(each);
  }
}

inline void Call::keep_after() {
  if (!current_capture()) return;
  const size_t count = op_.schema().returns().size();
  current_capture()->calls.push_back(
      {op_, std::vector<c10::IValue>(given_.begin(), given_.end()), std::vector<c10::IValue>(stack_->end() - count, stack_->end())});
}

inline void fallback(const c10::OperatorHandle& op, DispatchKeySet keys, torch::jit::Stack* stack) {
  look_at_fresh_operators();
  Call(op, keys, stack).run();
}

} // namespace syncwatch
