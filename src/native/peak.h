// How fast this instruction set multiplies when nothing has to be loaded: the ceiling of a roofline. Included once per
// instruction set.
namespace vortex::VORTEX_ISA {

// `rounds` times twelve independent dots of 4 * LANES bytes, operands in registers. Gives the multiplications and additions done.
static int64_t dots(int64_t rounds) {
  constexpr int CHAINS = 12;  // more than latency times units
  static uint8_t codes[4 * LANES];
  static const int8_t x[4] = {};
  VI sums[CHAINS];
  for (int i = 0; i < CHAINS; i++) sums[i] = iset(i);
  const VB w = bload(codes);
  for (int64_t round = 0; round < rounds; round++)
#pragma GCC unroll 12
    for (int i = 0; i < CHAINS; i++) {
#ifdef VORTEX_PANEL
      sums[i] = qdot(sums[i], w, qload(x));
#else
      sums[i] = dot(sums[i], w, x);
#endif
    }
  for (int i = 1; i < CHAINS; i++) sums[0] = iadd(sums[0], sums[i]);
  [[maybe_unused]] static volatile float seen;
  float lanes[LANES];
  vstore(lanes, vbits(sums[0]));
  seen = lanes[0];
  return rounds * CHAINS * LANES * 4 * 2;
}

}  // namespace vortex::VORTEX_ISA
