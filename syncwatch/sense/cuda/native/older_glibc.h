// Lets the library load with a C library older than the builder's: these moved in glibc 2.34, and torch asks for 2.28.
#pragma once

#if defined(__GLIBC__) || defined(__gnu_linux__)
#if defined(__x86_64__)
__asm__(".symver dlopen,dlopen@GLIBC_2.2.5");
__asm__(".symver dlsym,dlsym@GLIBC_2.2.5");
__asm__(".symver dladdr,dladdr@GLIBC_2.2.5");
#endif
#endif

#include <cstdlib>

// libstdc++ has it since GCC 11; containers call it where a size overflows, which none here does.
namespace std {
__attribute__((visibility("hidden"), weak, noreturn)) void __throw_bad_array_new_length() { std::abort(); }
}  // namespace std
