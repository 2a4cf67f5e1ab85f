// How fast this instruction set reads memory when nothing has to be computed, and multiplies when nothing has to be
// loaded: the limits of a roofline. Included once per instruction set.
namespace vortex::VORTEX_ISA {

// Every byte of [p, p + n) once, in four streams, fetched ahead. Gives their bitwise or, or the reads would be left out.
static uint8_t read(const uint8_t* p, int64_t n) {
  constexpr int STREAMS = 4, STEP = 4 * LANES, AHEAD = 2048;
  const int64_t stream = n / STREAMS / STEP * STEP;
  VB seen[STREAMS];
  for (int s = 0; s < STREAMS; s++) seen[s] = bload(p + s * stream);
  for (int64_t i = 0; i < stream; i += STEP)
    for (int s = 0; s < STREAMS; s++) {
      const uint8_t* at = p + s * stream + i;
      if (i % 64 == 0) __builtin_prefetch(at + AHEAD);
      seen[s] = bor(seen[s], bload(at));
    }
  for (int s = 1; s < STREAMS; s++) seen[0] = bor(seen[0], seen[s]);
  uint8_t bytes[STEP], all = 0;
  memcpy(bytes, &seen[0], STEP);
  for (uint8_t byte : bytes) all |= byte;
  for (int64_t i = STREAMS * stream; i < n; i++) all |= p[i];
  return all;
}

// `rounds` times 32 times twelve independent dots of 4 * LANES bytes. Gives the multiplications and additions done.
static int64_t dots(int64_t rounds) {
  constexpr int CHAINS = 12;  // more than latency times units
  constexpr int STEPS = 32;   // between the ends of the loop, where compilers move registers about
  const int8_t one = rounds > 0;  // what the compiler cannot know
  const int8_t x[4] = {one, one, one, one};
  uint8_t codes[4 * LANES];
  memset(codes, one, sizeof codes);
  VI sums[CHAINS];
  for (int i = 0; i < CHAINS; i++) sums[i] = iset(i);
  VB w = bload(codes);
#ifdef VORTEX_PANEL
  const VI word = qload(x);
#endif
  for (int64_t round = 0; round < rounds; round++)
#pragma GCC unroll 32
    for (int step = 0; step < STEPS; step++)
#pragma GCC unroll 12
      for (int i = 0; i < CHAINS; i++) {
        opaque(w);  // or what does not change would be computed once
#ifdef VORTEX_PANEL
        sums[i] = qdot<false>(sums[i], w, word);
#else
        sums[i] = dot(sums[i], w, x);
#endif
      }
  for (int i = 1; i < CHAINS; i++) sums[0] = iadd(sums[0], sums[i]);
  [[maybe_unused]] static volatile float seen;
  float lanes[LANES];
  vstore(lanes, vbits(sums[0]));
  seen = lanes[0];
  return rounds * STEPS * CHAINS * LANES * 4 * 2;
}

}  // namespace vortex::VORTEX_ISA
