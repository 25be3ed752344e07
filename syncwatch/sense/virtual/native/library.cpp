// The library: what is registered with torch while the device is on, and what Python calls.
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <map>
#include <set>
#include <unordered_set>

#include "attention.h"
#include "copies.h"

namespace syncwatch {

// Everything that torch is told of, so that all of it can be taken back.
class Registration {
 public:
  Registration() {
    old_allocator_ = c10::GetAllocator(kDevice);
    // Torch's own priority: one that is higher would stay, and keep CUDA's allocator out for good.
    c10::SetAllocator(kDevice, &device_allocator(), 0);
    old_guard_ = c10::impl::device_guard_impl_registry[static_cast<size_t>(kDevice)].load();
    c10::impl::device_guard_impl_registry[static_cast<size_t>(kDevice)].store(guard());
    auto& hooks = const_cast<at::CUDAHooksInterface&>(at::detail::getCUDAHooks());
    std::memcpy(&old_hooks_, static_cast<void*>(&hooks), sizeof(void*));
    static const Hooks ours;
    std::memcpy(static_cast<void*>(&hooks), static_cast<const void*>(&ours), sizeof(void*));
    struct Listener final : c10::OpRegistrationListener {
      explicit Listener(Registration& registration) : registration(registration) {}
      void onOperatorRegistered(const c10::OperatorHandle&) override { fresh_operators() = true; }
      void onOperatorDeregistered(const c10::OperatorHandle& op) override { registration.forget(op); }
      Registration& registration;
    };
    listening_ = c10::Dispatcher::singleton().addRegistrationListener(std::make_unique<Listener>(*this));
    // After the listener was told of every operator there is, or the first call would look them all through again.
    register_operators();
    take_over() = [this] { register_boxed(); };
    old_choice_ = choice();
    choice() = reinterpret_cast<void*>(&choose_attention);
  }

  ~Registration() {
    choice() = old_choice_;
    take_over() = nullptr;
    libraries_.clear();
    auto& hooks = const_cast<at::CUDAHooksInterface&>(at::detail::getCUDAHooks());
    std::memcpy(static_cast<void*>(&hooks), &old_hooks_, sizeof(void*));
    c10::impl::device_guard_impl_registry[static_cast<size_t>(kDevice)].store(old_guard_);
    c10::SetAllocator(kDevice, old_allocator_, 0);
  }

 private:
  // What chooses the kernel of attention on CUDA; a torch for the CPU has nothing there.
  static void*& choice() {
    auto& stub = at::native::_fused_sdp_choice_stub;
    static_assert(sizeof(stub) == sizeof(at::native::DispatchStubImpl));
    return reinterpret_cast<at::native::DispatchStubImpl&>(stub).cuda_dispatch_ptr;
  }

  // An operator is gone; another may come to lie where it lay.
  void forget(const c10::OperatorHandle& op) {
    operators().forget();
    // The dispatcher holds its own lock here, so only noted: `register_boxed` takes the two in the other order.
    std::lock_guard<std::mutex> hold(gone_mutex_);
    gone_.push_back(op);
  }

  static const Guard* guard() {
    static const auto* one = new Guard();
    return one;
  }

  torch::Library& library(const std::string& name, DispatchKey key) {
    auto& kept = libraries_[{name, key}];
    if (!kept)
      kept = std::make_unique<torch::Library>(torch::Library::IMPL, name, key, __FILE__, static_cast<uint32_t>(__LINE__));
    return *kept;
  }

  void register_operators();
  void register_boxed();
  static bool takes_over(const c10::OperatorHandle& op, const std::string& full, DispatchKey host, DispatchKey device);

  std::mutex mutex_, gone_mutex_;
  std::vector<c10::OperatorHandle> gone_;
  std::unordered_set<c10::OperatorHandle> seen_;
  c10::RegistrationHandleRAII listening_{[] {}};

  std::map<std::pair<std::string, DispatchKey>, std::unique_ptr<torch::Library>> libraries_;
  c10::Allocator* old_allocator_ = nullptr;
  const c10::impl::DeviceGuardImplInterface* old_guard_ = nullptr;
  void* old_hooks_ = nullptr;
  void* old_choice_ = nullptr;
};

const std::set<std::string>& own_operators() {
  static const std::set<std::string> names{
      "aten::empty.memory_format", "aten::empty_strided", "aten::copy_", "aten::_copy_from",
      "aten::_copy_from_and_resize", "aten::_local_scalar_dense", "aten::as_strided", "aten::view",
      "aten::_reshape_alias", "aten::_to_copy", "aten::_efficientzerotensor", "aten::_fused_sdp_choice"};
  return names;
}

void Registration::register_operators() {
  // torch warns of each kernel that takes the place of another, which is what is meant here.
  struct Quiet final : c10::WarningHandler {
    void process(const c10::Warning&) override {}
  } quiet;
  c10::WarningUtils::WarningHandlerGuard guard(&quiet);
  for (auto key : {DispatchKey::CUDA, DispatchKey::SparseCUDA, DispatchKey::SparseCsrCUDA, DispatchKey::QuantizedCUDA,
                   DispatchKey::NestedTensorCUDA})
    library("_", key).fallback(torch::CppFunction::makeFromBoxedFunction<&fallback>());
  torch::Library& aten = library("aten", DispatchKey::CUDA);
  aten.impl("empty.memory_format", TORCH_FN(empty));
  aten.impl("empty_strided", TORCH_FN(empty_strided));
  aten.impl("copy_", TORCH_FN(copy_));
  aten.impl("_copy_from", TORCH_FN(copy_from));
  aten.impl("_copy_from_and_resize", TORCH_FN(copy_from_and_resize));
  aten.impl("_local_scalar_dense", TORCH_FN(local_scalar_dense));
  aten.impl("as_strided", TORCH_FN(as_strided));
  aten.impl("view", TORCH_FN(view));
  aten.impl("_reshape_alias", TORCH_FN(reshape_alias));
  aten.impl("_to_copy", TORCH_FN(to_copy));
  aten.impl("_efficientzerotensor", TORCH_FN(zero_tensor));
  aten.impl("_fused_sdp_choice", TORCH_FN(choose_attention));
  library("aten", DispatchKey::CPU).impl("_to_copy", TORCH_FN(to_copy));
  library("aten", DispatchKey::QuantizedCUDA).impl("copy_", TORCH_FN(copy_));
  register_boxed();
}

// The keys of the CPU, and those of the device for the same layout.
static constexpr std::pair<DispatchKey, DispatchKey> kTwins[] = {
    {DispatchKey::CPU, DispatchKey::CUDA},
    {DispatchKey::SparseCPU, DispatchKey::SparseCUDA},
    {DispatchKey::SparseCsrCPU, DispatchKey::SparseCsrCUDA},
    {DispatchKey::QuantizedCPU, DispatchKey::QuantizedCUDA},
    {DispatchKey::NestedTensorCPU, DispatchKey::NestedTensorCUDA},
};

// What has a kernel of its own on the CPU or on CUDA, and not the fallback alone: torch would compose structured
// operators before it falls back, and a torch that was built for CUDA has kernels which look for a driver. Lists
// (`_foreach_add_`) and convolutions are one launch too where torch would compose them.
void Registration::register_boxed() {
  std::lock_guard<std::mutex> hold(mutex_);
  fresh_operators() = false;
  {
    std::lock_guard<std::mutex> hold_gone(gone_mutex_);
    for (const auto& op : gone_) seen_.erase(op);
    gone_.clear();
  }
  for (const auto& name : c10::Dispatcher::singleton().getAllOpNames()) {
    const auto op = c10::Dispatcher::singleton().findSchema(name);
    if (!op || !seen_.insert(*op).second) continue;
    const std::string full = name.overload_name.empty() ? name.name : name.name + "." + name.overload_name;
    for (const auto& [host, device] : kTwins)
      if (takes_over(*op, full, host, device))
        library(std::string(*name.getNamespace()), device).impl(
            full.c_str(), torch::CppFunction::makeFromBoxedFunction<&fallback>());
  }
}

// Whether a kernel was registered by Python of the user's: it works on tensors of the device as they are.
static bool is_python(const c10::OperatorHandle& op, DispatchKey key) {
  const std::string state = op.dumpState();
  const std::string head = std::string("\n") + c10::toString(key) + ": ";
  const auto begin = state.find(head);
  if (begin == std::string::npos) return false;
  const std::string line = state.substr(begin + 1, state.find('\n', begin + 1) - begin);
  // Since 2.15 torch chooses among kernels for a GPU in Python of its own.
  if (line.find("/torch/_native/") != std::string::npos) return false;
  return line.find(".py:") != std::string::npos || line.find("/dev/null") != std::string::npos;
}

bool Registration::takes_over(
    const c10::OperatorHandle& op, const std::string& full, DispatchKey host, DispatchKey device) {
  static const std::set<std::string> whole{
      "aten::convolution", "aten::convolution_backward", "aten::kaiser_window"};
  const std::string& name = op.operator_name().name;
  if (device == DispatchKey::CUDA && own_operators().count(full)) return false;
  if (device == DispatchKey::QuantizedCUDA && full == "aten::copy_") return false;
  const bool ours = name.rfind("aten::", 0) == 0;
  if (op.hasKernelForDispatchKey(device)) return !is_python(op, device);
  // Elsewhere than in ATen the fallback is enough: nothing is composed there.
  if (!ours) return false;
  const bool one_launch = device == DispatchKey::CUDA && (name.rfind("aten::_foreach_", 0) == 0 || whole.count(name));
  return op.hasKernelForDispatchKey(host) ||
      (one_launch && op.hasKernelForDispatchKey(DispatchKey::CompositeExplicitAutograd));
}

static std::unique_ptr<Registration>& registration() {
  static auto* one = new std::unique_ptr<Registration>();
  return *one;
}

// What the frame that Python was asked about was called with.
static c10::IValue arguments() {
  TORCH_CHECK(frame() != nullptr, "no operator is running");
  std::vector<c10::IValue> values(frame()->arguments, frame()->arguments + frame()->count);
  for (auto& value : values) {
    if (!value.isTensor()) continue;
    const Tensor& tensor = value.toTensor();
    if (!tensor.defined()) value = c10::IValue();
    // Torch would hand a number that stands for a tensor to Python as a number.
    else if (tensor.unsafeGetTensorImpl()->is_wrapped_number())
      value = over(c10::Storage(tensor.storage()), tensor, DispatchKey::CPU);
  }
  return c10::ivalue::Tuple::create(std::move(values));
}

static void answer(c10::IValue value) {
  TORCH_CHECK(frame() != nullptr, "no operator is running");
  frame()->answer = std::move(value);
}

static c10::IValue results() {
  TORCH_CHECK(frame() != nullptr, "no operator is running");
  return frame()->answer;
}

static std::string error() {
  TORCH_CHECK(frame() != nullptr, "no operator is running");
  return frame()->error;
}

static void write_over(const c10::IValue& before, const c10::IValue& after) {
  if (before.isTensor()) {
    const Tensor &old = before.toTensor(), &fresh = after.toTensor();
    if (!old.defined() || old.is_same(fresh) || !old.numel()) return;
    at::AutoDispatchBelowADInplaceOrView below;
    host_side(old).copy_(host_side(fresh));
  } else if (before.isTensorList()) {
    const auto old = before.toTensorVector(), fresh = after.toTensorVector();
    for (size_t i = 0; i < old.size() && i < fresh.size(); i++) write_over(old[i], fresh[i]);
  }
}

// Give a storage of the device another size; what fits is kept.
static void resize_storage(c10::Storage storage, int64_t size) {
  auto* impl = storage.unsafeGetStorageImpl();
  c10::DataPtr fresh = device_allocator().allocate(static_cast<size_t>(size));
  const size_t kept = std::min(impl->nbytes(), static_cast<size_t>(size));
  if (kept) std::memcpy(fresh.get(), impl->data(), kept);
  impl->set_data_ptr_noswap(std::move(fresh));
  impl->set_nbytes(static_cast<size_t>(size));
}

static void record_stream(const c10::Storage& storage, int64_t stream) { used_on(storage.data_ptr(), stream); }

static c10::IValue generator() { return default_generator(); }

} // namespace syncwatch

using namespace syncwatch;

TORCH_LIBRARY(syncwatch, m) {
  m.def("arguments() -> Any", &arguments);
  m.def("results() -> Any", &results);
  m.def("error() -> str", &error);
  m.def("answer(Any value) -> ()", &answer);
  m.def("generator() -> Any", &generator);
  m.def("record_stream(Storage storage, int stream) -> ()", &record_stream);
  m.def("resize_storage(Storage storage, int size) -> ()", &resize_storage);
}

extern "C" {

void sw_start(const int64_t* rates, Ask ask_python) {
  State& all = state();
  std::memcpy(&all.rates, rates, sizeof(Rates));
  all.ask = ask_python;
  all.clock.restart();
  all.used = 0;
  memory().restart(all.rates.capacity_bytes);
  pinned().restart();
  workspaces().restart();
  // Nobody listened while the device was off.
  operators().forget();
  all.on = true;
  if (!registration()) registration() = std::make_unique<Registration>();
}

void sw_stop() {
  registration().reset();
  state().on = false;
}

const char* sw_operator(int64_t number) {
  thread_local std::string text;
  text = operators().full_name(number);
  return text.c_str();
}

// Take over what libraries that were loaded since then registered for CUDA.
void sw_look_at_fresh_operators() { look_at_fresh_operators(); }

int64_t sw_name(const char* name) { return names().of(name); }
const char* sw_name_of(int64_t number) {
  thread_local std::string text;
  text = names().name(number);
  return text.c_str();
}

int64_t sw_now() { return state().clock.host().now; }
int64_t sw_work(int64_t duration) { return state().clock.host().now += duration; }
int64_t sw_stream() { return state().clock.host().stream; }
void sw_set_stream(int64_t stream) { state().clock.host().stream = stream; }
void sw_set_epoch(int64_t epoch) { state().clock.host().epoch = epoch; }
void sw_set_common_epoch(int64_t epoch) { state().epoch = epoch; }
void sw_pause(int64_t by) { state().clock.host().pause += by; }
void sw_backward(int64_t by) { state().clock.host().backward += by; }
int64_t sw_new_stream(int64_t priority) { return state().clock.new_stream(priority); }
int64_t sw_tail(int64_t stream) { return state().clock.tail(stream); }
int64_t sw_busy_until() { return state().clock.busy_until(); }
void sw_hold(int64_t stream, int64_t at) { state().clock.hold(stream, at); }

// Return 1 where Python raised while it was asked: no exception may pass the frames of ctypes.
int64_t sw_launch(int64_t name, int64_t duration) {
  try {
    launch(name, duration);
  } catch (const std::exception&) {
    return 1;
  }
  return 0;
}
void sw_queue(int64_t stream, int64_t cost, int64_t duration, Span* span) {
  *span = state().clock.launch(state().clock.host(), stream, cost, duration);
}
void sw_copy(int64_t stream, int64_t engine, int64_t cost, int64_t duration, Span* span) {
  state().used++;
  *span = state().clock.copy(state().clock.host(), stream, engine, cost, duration);
}
void sw_wait(int64_t until, int64_t cost, Span* span) {
  state().used++;
  *span = state().clock.wait(state().clock.host(), until, cost);
}
// A copy on the current stream that is waited for: its stream, begin and end, those of the call, and those of the wait.
void sw_copy_and_wait(int64_t engine, int64_t cost, int64_t duration, int64_t back, int64_t* into) {
  State& all = state();
  Host& host = all.clock.host();
  all.used += 2;
  const Span copied = all.clock.copy(host, host.stream, engine, cost, duration);
  const int64_t returned = host.now;
  const Span waited = all.clock.wait(host, all.clock.tail(host.stream), back);
  const int64_t numbers[] = {host.stream, copied.start, copied.end, returned - cost, returned, waited.start, waited.end};
  std::copy(std::begin(numbers), std::end(numbers), into);
}
int64_t sw_used() { return state().used; }

void sw_record(int64_t recording, int64_t telling) {
  state().recording = recording != 0;
  state().telling = telling != 0;
  journal().new_generation();
}
int64_t sw_rows() { return journal().size(); }
void sw_take(Row* into, int64_t count) { journal().take(into, count); }

void sw_counts(Counts* into) { *into = memory().counts(); }
void sw_host_counts(Stat* into) { pinned().counts(into); }
// Return 1 where Python raised while it was asked for the line.
int64_t sw_empty_cache(int64_t of_host) {
  try {
    if (of_host) pinned().release();
    else memory().empty_cache();
  } catch (const std::exception&) {
    return 1;
  }
  return 0;
}
void sw_reset_peak(int64_t of_host) {
  if (of_host) pinned().reset_peak();
  else memory().reset_peak();
}
void sw_reset_accumulated(int64_t of_host) {
  if (of_host) pinned().reset_accumulated();
  else memory().reset_accumulated();
}
void sw_allow(int64_t bytes) { memory().allow(bytes); }
void sw_begin_pool(int64_t pool) { memory().begin_pool(pool); }
void sw_end_pool(int64_t pool) { memory().end_pool(pool); }
void sw_leave_pool(int64_t pool) { memory().leave_pool(pool); }
void sw_clear_workspaces() { workspaces().clear(); }

void sw_fail(void* type, void* value, void* traceback) { failure() = {type, value, traceback}; }

void* sw_capture_begin() {
  auto* kept = new std::shared_ptr<Capture>(std::make_shared<Capture>());
  current_capture() = *kept;
  state().capturing = true;
  return kept;
}
void sw_capture_end() {
  state().capturing = false;
  auto capture = std::move(current_capture());
  current_capture().reset();
  if (capture) put_back(*capture);
}
// Compute everything captured again, and write it over the results of the first time.
int64_t sw_capture_replay(void* capture) {
  Pause pause;
  try {
    for (auto& call : (*static_cast<std::shared_ptr<Capture>*>(capture))->calls) {
      torch::jit::Stack stack = call.arguments;
      call.op.callBoxedForDispatchKey(DispatchKey::CUDA, stack);
      for (size_t i = 0; i < call.results.size() && i < stack.size(); i++) write_over(call.results[i], stack[i]);
    }
  } catch (const std::exception&) {
    return 1;
  }
  return 0;
}
void sw_capture_free(void* capture) { delete static_cast<std::shared_ptr<Capture>*>(capture); }
int64_t sw_capture_kernels(void* capture) {
  return static_cast<int64_t>((*static_cast<std::shared_ptr<Capture>*>(capture))->kernels.size());
}
void sw_capture_kernel(void* capture, int64_t index, int64_t* name, int64_t* duration) {
  const auto& kernel = (*static_cast<std::shared_ptr<Capture>*>(capture))->kernels.at(index);
  *name = kernel.first;
  *duration = kernel.second;
}
}
