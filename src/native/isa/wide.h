// Sixteen floats on any instruction set, so that sums are taken in the same order everywhere. Included once per
// instruction set, inside its namespace (VORTEX_ISA).
// clang-format off: a table, one word to a line
namespace vortex::VORTEX_ISA {

constexpr int PARTS = 16 / LANES;
struct W {
  V v[PARTS];
};

#define VORTEX_EACH for (int i = 0; i < PARTS; i++)
VORTEX_INLINE W wset(float x) { W r; VORTEX_EACH r.v[i] = vset(x); return r; }
VORTEX_INLINE W wload(const float* p) { W r; VORTEX_EACH r.v[i] = vload(p + i * LANES); return r; }
VORTEX_INLINE void wstore(float* p, W x) { VORTEX_EACH vstore(p + i * LANES, x.v[i]); }
VORTEX_INLINE W wadd(W a, W b) { VORTEX_EACH a.v[i] = vadd(a.v[i], b.v[i]); return a; }
VORTEX_INLINE W wsub(W a, W b) { VORTEX_EACH a.v[i] = vsub(a.v[i], b.v[i]); return a; }
VORTEX_INLINE W wmul(W a, W b) { VORTEX_EACH a.v[i] = vmul(a.v[i], b.v[i]); return a; }
VORTEX_INLINE W wdiv(W a, W b) { VORTEX_EACH a.v[i] = vdiv(a.v[i], b.v[i]); return a; }
VORTEX_INLINE W wmax(W a, W b) { VORTEX_EACH a.v[i] = vmax(a.v[i], b.v[i]); return a; }
VORTEX_INLINE W wmin(W a, W b) { VORTEX_EACH a.v[i] = vmin(a.v[i], b.v[i]); return a; }
VORTEX_INLINE W wabs(W a) { VORTEX_EACH a.v[i] = vabs(a.v[i]); return a; }
VORTEX_INLINE W wround(W a) { VORTEX_EACH a.v[i] = vround(a.v[i]); return a; }
VORTEX_INLINE W wpow2(W a) { VORTEX_EACH a.v[i] = vpow2(a.v[i]); return a; }
VORTEX_INLINE W wfma(W a, W b, W c) { VORTEX_EACH c.v[i] = vfma(a.v[i], b.v[i], c.v[i]); return c; }
VORTEX_INLINE W wbetween(W x, int first, int end, W other) {
  VORTEX_EACH x.v[i] = vbetween(x.v[i], first - i * LANES, end - i * LANES, other.v[i]);
  return x;
}
VORTEX_INLINE W welements(const uint16_t* p) { W r; VORTEX_EACH r.v[i] = vhalf(p + i * LANES); return r; }
VORTEX_INLINE W welements(const int8_t* p) { W r; VORTEX_EACH r.v[i] = vint8(p + i * LANES); return r; }
VORTEX_INLINE void wto_half(uint16_t* p, W x) { VORTEX_EACH vto_half(p + i * LANES, x.v[i]); }
VORTEX_INLINE void wto_int8(int8_t* p, W x) { VORTEX_EACH vto_int8(p + i * LANES, x.v[i]); }
#undef VORTEX_EACH

// Halves are folded onto each other: 16, 8, 4, 2, 1.
VORTEX_INLINE float wsum(W x) {
  float lanes[16];
  wstore(lanes, x);
  for (int half = 8; half; half /= 2)
    for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
  return lanes[0];
}
VORTEX_INLINE float wlargest(W x) {
  V top = x.v[0];
  for (int i = 1; i < PARTS; i++) top = vmax(top, x.v[i]);
  return vlargest(top);
}

// exp to about one unit in the last place, for x <= 88; 2^-126 below -87. exp(0) is 1 exactly.
// Range reduction by powers of two and the Taylor polynomial of degree 7 on |r| <= ln 2 / 2.
VORTEX_INLINE W wexp(W x) {
  const W n = wround(wmul(wmax(x, wset(-126.0f * 0.6931471806f)), wset(1.44269504f)));
  W r = wfma(n, wset(-0.693145752f), wmax(x, wset(-126.0f * 0.6931471806f)));
  r = wfma(n, wset(-1.42860677e-6f), r);
  W p = wset(1.0f / 5040);
  p = wfma(p, r, wset(1.0f / 720));
  p = wfma(p, r, wset(1.0f / 120));
  p = wfma(p, r, wset(1.0f / 24));
  p = wfma(p, r, wset(1.0f / 6));
  p = wfma(p, r, wset(0.5f));
  p = wfma(p, r, wset(1.0f));
  p = wfma(p, r, wset(1.0f));
  return wmul(p, wpow2(n));
}

}  // namespace vortex::VORTEX_ISA
