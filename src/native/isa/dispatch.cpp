#include "isa/dispatch.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif
#if defined(_MSC_VER) && defined(__x86_64__)
#include <immintrin.h>
#include <intrin.h>
#endif

namespace vortex {
namespace {

#if defined(_MSC_VER) && defined(__x86_64__)
// Clang for Visual Studio links no run-time library that would answer __builtin_cpu_supports: ask the CPU itself, and
// the system whether it keeps the wide registers. Not run on Windows yet.
bool has(int leaf, int index, unsigned bits) {
  int registers[4];
  __cpuidex(registers, leaf, 0);
  return ((unsigned)registers[index] & bits) == bits;
}

__attribute__((target("xsave"))) bool keeps(unsigned long long states) { return (_xgetbv(0) & states) == states; }

bool has_avx2() {
  constexpr unsigned FMA = 1u << 12, OSXSAVE = 1u << 27, F16C = 1u << 29, AVX2 = 1u << 5;
  return has(1, 2, FMA | OSXSAVE | F16C) && keeps(0x6) && has(7, 1, AVX2);
}

bool has_avx512() {
  constexpr unsigned F = 1u << 16, DQ = 1u << 17, BW = 1u << 30, VL = 1u << 31, VNNI = 1u << 11;
  return has_avx2() && keeps(0xe6) && has(7, 1, F | DQ | BW | VL) && has(7, 2, VNNI);
}
#elif defined(__x86_64__)
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
}
#endif

std::vector<const Kernels*> supported() {
  std::vector<const Kernels*> found;
#if defined(__x86_64__)
#if !defined(_MSC_VER)
  __builtin_cpu_init();
#endif
  if (has_avx512()) found.push_back(&avx512_kernels);
  if (has_avx2()) found.push_back(&avx2_kernels);
#elif defined(__aarch64__)
#if defined(__linux__)
  if (getauxval(AT_HWCAP) & (1UL << 20)) found.push_back(&neon_kernels);  // HWCAP_ASIMDDP
#else
  found.push_back(&neon_kernels);  // every Apple silicon CPU, and every one that Windows on ARM runs on
#endif
#endif
  found.push_back(&scalar_kernels);
  return found;
}

const Kernels*& chosen() {
  static const Kernels* table = supported().front();
  return table;
}

}  // namespace

std::vector<std::string> available_kernels() {
  std::vector<std::string> names;
  for (const Kernels* table : supported()) names.push_back(table->name);
  return names;
}

bool use_kernels(const std::string& name) {
  for (const Kernels* table : supported())
    if (name == table->name) {
      chosen() = table;
      return true;
    }
  return false;
}

const Kernels& kernels() { return *chosen(); }

}  // namespace vortex
