#include "isa/dispatch.h"

#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

namespace vortex {
namespace {

std::vector<const Kernels*> supported() {
  std::vector<const Kernels*> found;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni"))
    found.push_back(&avx512_kernels);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
    found.push_back(&avx2_kernels);
#elif defined(__aarch64__)
#if defined(__linux__)
  if (getauxval(AT_HWCAP) & (1UL << 20)) found.push_back(&neon_kernels);  // HWCAP_ASIMDDP
#else
  found.push_back(&neon_kernels);  // every Apple silicon CPU
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
