/* What differs between compilers and processors. */
#ifndef RECSYS_PORTABLE_H
#define RECSYS_PORTABLE_H

#include <stddef.h>
#include <stdint.h>

/* A function made twice where the loader can choose: for every processor, and for one with AVX2 and FMA. */
#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v3", "default")))
/* A function for processors that multiply bytes: to be called only where avx512vnni and avx512vl are supported. */
#define BYTE_PRODUCTS __attribute__((target("avx2,avx512f,avx512bw,avx512vl,avx512vnni")))
#else
#define FOR_EACH_PROCESSOR
#endif

/* A function whose arguments that are known decide what becomes of it. */
#if defined(__GNUC__)
#define ALWAYS_INLINE __attribute__((always_inline))
#else
#define ALWAYS_INLINE
#endif

/* Ask for what stands at an address. Of functions that do nothing but __builtin_prefetch GCC takes the calls away. */
#if defined(__GNUC__) && defined(__x86_64__)
#define FETCH(address) __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)(address)))
#elif defined(__GNUC__)
#define FETCH(address) __builtin_prefetch(address)
#else
#define FETCH(address) ((void)(address))
#endif

/* Each of some rows lies in another corner of memory: ask for those that there are, of so many bytes each. */
static inline void fetch_rows(const void *values, ptrdiff_t bytes, ptrdiff_t items, const int32_t *rows, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++)
        if (rows[i] >= 0 && rows[i] < items) FETCH((const char *)values + rows[i] * bytes);
}

#endif
