// Small operations on rows: quantisation, norms, rotary embedding, the gate of an MLP. Included once per instruction set.
namespace vortex::VORTEX_ISA {

VORTEX_INLINE float upwards_to_16_bits(float x) {
  return bits_to_float((std::bit_cast<uint32_t>(x) + 0xFFu) & ~0xFFu);
}

static void quantize(const Activations& a, int64_t row, int64_t first_block, int64_t end_block) {
  for (int64_t b = first_block; b < end_block; b++) {
    QuantizedBlock& out = a.blocks[row * (a.columns / BLOCK) + b];
    float sums[2];
    for (int half = 0; half < 2; half++) {
      const W x = wload(a.x + row * a.columns + b * BLOCK + 16 * half);
      const float largest = wlargest(wabs(x));
      const float scale = largest > 1e-30f ? upwards_to_16_bits(largest / 127.0f) : 0.0f;
      wto_int8(out.q + 16 * half, wmul(x, wset(scale > 0 ? 1.0f / scale : 0.0f)));
      const int32_t sum = sum16(out.q + 16 * half);
      out.scale[half] = scale;
      out.unmagic[half] = -MAGIC * scale;
      out.begin8[half] = MAGIC_BITS - 8 * sum;
      out.begin128[half] = MAGIC_BITS - 128 * sum;
      sums[half] = scale * (float)sum;
    }
    out.scaled_sum = sums[0] + sums[1];
  }
}

// Elementwise over n floats; f takes and gives W. A tail shorter than 16 goes through a padded copy.
template <class F>
VORTEX_INLINE void over(int64_t n, const float* a, const float* b, float* y, F f) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) wstore(y + i, f(wload(a + i), wload(b + i)));
  if (i == n) return;
  float left[16] = {}, right[16] = {}, out[16];
  memcpy(left, a + i, (size_t)(n - i) * 4);
  memcpy(right, b + i, (size_t)(n - i) * 4);
  wstore(out, f(wload(left), wload(right)));
  memcpy(y + i, out, (size_t)(n - i) * 4);
}

static void rms_norm(const float* x, const float* weight, float epsilon, int64_t n, float* y) {
  W squares = wset(0);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) squares = wfma(wload(x + i), wload(x + i), squares);
  if (i < n) {
    float tail[16] = {};
    memcpy(tail, x + i, (size_t)(n - i) * 4);
    squares = wfma(wload(tail), wload(tail), squares);
  }
  const W inverse = wset(1.0f / __builtin_sqrtf(wsum(squares) / (float)n + epsilon));
  over(n, x, weight, y, [&](W a, W w) { return wmul(wmul(a, inverse), w); });
}

static void add(float* x, const float* y, int64_t n) {
  over(n, x, y, x, [](W a, W b) { return wadd(a, b); });
}

static void scale(float* x, float by, int64_t n) {
  const W factor = wset(by);
  over(n, x, x, x, [&](W a, W) { return wmul(a, factor); });
}

static void add_scaled(float* x, const float* y, float by, int64_t n) {
  const W factor = wset(by);
  over(n, x, y, x, [&](W a, W b) { return wfma(b, factor, a); });
}

static void clamped_swiglu(float largest, const float* gates, const float* up, float* y, int64_t n) {
  const W one = wset(1), limit = wset(largest), least = wset(-largest);
  over(n, gates, up, y, [&](W x, W u) {
    x = wmin(x, limit);
    u = wmax(wmin(u, limit), least);
    const W minus = wmin(wmul(wset(-1.702f), x), wset(88));
    return wmul(wdiv(x, wadd(one, wexp(minus))), wadd(u, one));
  });
}

// x * sigmoid(x) * up; GELU (tanh form) is the same with sigmoid of 2 sqrt(2 / pi) (x + 0.044715 x^3).
static void gate(GateKind kind, const float* gates, const float* up, float* y, int64_t n) {
  if (kind.gate == Gate::ClampedSwiglu) return clamped_swiglu(kind.limit, gates, up, y, n);
  const bool gelu = kind.gate == Gate::Gelu;
  const W one = wset(1), highest = wset(88);
  over(n, gates, up, y, [&](W x, W u) {
    const W cubic = wmul(wmul(wset(1.5957691216f), x), wfma(wmul(wset(0.044715f), x), x, one));
    const W minus = wmin(wsub(wset(0), gelu ? cubic : x), highest);
    return wmul(wdiv(x, wadd(one, wexp(minus))), u);
  });
}

// First half against second half. cos, sin: [head_width / 2].
static void rotate(float* head, const float* cos, const float* sin, int head_width) {
  const int half = head_width / 2;
  for (int i = 0; i < half; i++) {
    const float a = head[i], b = head[half + i];
    head[i] = a * cos[i] - b * sin[i];
    head[half + i] = b * cos[i] + a * sin[i];
  }
}

}  // namespace vortex::VORTEX_ISA
