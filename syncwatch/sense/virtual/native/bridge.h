// How the device and Python talk. C++ calls one Python function, with numbers; Python asks for the tensors behind them
// through operators of torch, which convert them. So nothing here depends on the version of Python.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>

#include <dlfcn.h>

#include <atomic>
#include <exception>
#include <string>
#include <unordered_map>

#include "clock.h"

// What torch's own bindings throw and catch for an error of Python's; the same name and layout, without Python's headers.
struct python_error : public std::exception {
  python_error(void* type_, void* value_, void* traceback_) : type(type_), value(value_), traceback(traceback_) {}
  python_error(const python_error& other) = delete;
  ~python_error() override {
    using Ensure = int (*)();
    using Release = void (*)(int);
    using Drop = void (*)(void*);
    static auto ensure = reinterpret_cast<Ensure>(dlsym(RTLD_DEFAULT, "PyGILState_Ensure"));
    static auto release = reinterpret_cast<Release>(dlsym(RTLD_DEFAULT, "PyGILState_Release"));
    static auto drop = reinterpret_cast<Drop>(dlsym(RTLD_DEFAULT, "Py_DecRef"));
    if (!ensure || !release || !drop) return;
    const int state = ensure();
    drop(type);
    drop(value);
    drop(traceback);
    release(state);
  }
  const char* what() const noexcept override { return message.c_str(); }

  void* type;
  void* value;
  void* traceback;
  std::string message = "python_error";
};

namespace syncwatch {

// What Python is asked; the values are those of `Question` in bridge.py.
enum Question : int64_t {
  kDescribe = 0,  // numbers: operator; answer: its `Traits`
  kKind = 1,      // numbers: name, stream; a kernel of this kind is launched for the first time in this recording
  kRow = 2,       // numbers: operator; what does it ask of the runtime? answer: how many calls
  kAfter = 3,     // do what the row said
  kCopy = 4,      // numbers: see copies.h
  kRead = 5,      // numbers: bytes
  kCompute = 6,   // numbers: operator, 1 where the CPU refused; answer: 1 where `answer` was called
  kFlops = 7,     // numbers: operator; answer: floating-point operations
  kSynchronize = 8,  // numbers: 0 device, 1 stream, 2 event; stream; until
  kUpload = 10,   // numbers: bytes; data of the host goes to the device, and is waited for
  kDriver = 11,   // numbers: which driver call of an allocator, stream, begin and end; see driver.h
  kTell = 9,      // something was launched while the recorder tells of each thing at once
};

using Ask = int64_t (*)(int64_t question, const int64_t* numbers);

struct PythonFailure {
  void *type, *value, *traceback;
};

struct Frame {
  const c10::OperatorHandle* op;
  const c10::IValue* arguments;
  size_t count;
  c10::IValue answer;
  std::string error;
};

struct State {
  std::atomic<bool> on{false};
  Ask ask = nullptr;
  Rates rates{};
  Clock clock;
  std::atomic<bool> recording{false};
  std::atomic<bool> telling{false};
  std::atomic<bool> capturing{false};
  std::atomic<int64_t> used{0};
  std::atomic<int64_t> epoch{-1};  // the step of threads that have none of their own
};

inline State& state() {
  static State* one = new State();
  return *one;
}

inline Frame*& frame() {
  thread_local Frame* current = nullptr;
  return current;
}

inline PythonFailure& failure() {
  thread_local PythonFailure last{nullptr, nullptr, nullptr};
  return last;
}

constexpr int64_t kFailed = INT64_MIN;

inline int64_t ask(Question question, std::initializer_list<int64_t> numbers) {
  const int64_t answer = state().ask(question, numbers.begin());
  if (answer == kFailed) {
    const PythonFailure last = failure();
    throw python_error(last.type, last.value, last.traceback);
  }
  return answer;
}

} // namespace syncwatch
