// A program of the kernels alone: every instruction set of this CPU computes the same bits, and a team shares its work.
// (Not the scalar set of mingw-w64: its run-time library's fmaf is not correctly rounded, and nothing else adds in one.)
// Built for Windows by tests/kernels/test_windows_build.py; prints one line and ends with 0 where all of it holds.
#include <cstdio>
#include <cstring>
#include <vector>

#include "isa/dispatch.h"
#include "kernels/pool.h"

using namespace vortex;

static std::vector<float> values(int64_t n, uint32_t seed) {
  std::vector<float> x((size_t)n);
  for (float& v : x) {
    seed = seed * 1664525u + 1013904223u;
    v = (float)(int32_t)seed / 1e9f;
  }
  return x;
}

static uint64_t hash(const std::vector<float>& x, uint64_t h = 1469598103934665603ull) {
  for (float v : x) {
    uint32_t bits;
    std::memcpy(&bits, &v, 4);
    h = (h ^ bits) * 1099511628211ull;
  }
  return h;
}

static uint64_t computed() {
  const int64_t n = 1000;
  const Kernels& k = kernels();
  std::vector<float> x = values(n, 1), w = values(n, 2), y((size_t)n);
  k.rms_norm(x.data(), w.data(), 1e-5f, n, y.data());
  uint64_t h = hash(y);
  k.silu(y.data(), n);
  h = hash(y, h);
  k.softmax(y.data(), n);
  h = hash(y, h);
  k.unit(x.data(), n);
  h = hash(x, h);
  return hash({k.dot(x.data(), w.data(), n)}, h);
}

int main() {
  uint64_t first = 0;
  for (const std::string& name : available_kernels()) {
    if (!use_kernels(name)) return 1;
    const uint64_t h = computed();
    std::printf("%s %016llx ", name.c_str(), (unsigned long long)h);
#ifdef __MINGW32__
    if (name == "scalar") continue;
#endif
    if (first && h != first) return 2;
    first = h;
  }
  set_num_threads(3);
  for (int round = 0; round < 200; round++) {
    std::vector<int> seen(1000);
    pool().run([&](Team& team) {
      team.for_each((int64_t)seen.size(), 7, [&](int64_t from, int64_t end) {
        for (int64_t i = from; i < end; i++) seen[(size_t)i]++;
      });
    });
    for (int count : seen)
      if (count != 1) return 3;
  }
  std::printf("team of %d\n", pool().size());
  return 0;
}
