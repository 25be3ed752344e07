// Included first where the library is built to be shipped, so that it loads with a C library older than the builder's:
// two symbols would otherwise ask for glibc 2.32 and 2.34, where torch itself asks for 2.28 only.
#pragma once
#include <sys/single_threaded.h>

#if defined(__GLIBC__) && defined(__x86_64__)
__asm__(".symver dlsym,dlsym@GLIBC_2.2.5");
// What libstdc++ asks before it counts references; "there may be threads" is right, and a little slower.
extern "C" __attribute__((visibility("hidden"))) char __libc_single_threaded = 0;
#endif
