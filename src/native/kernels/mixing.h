// What a core does to the channels of a row: a convolution over time, silu, unit length, softmax. Included once per
// instruction set. What is left behind the last 16 goes one by one, with the operations of a lane.
namespace vortex::VORTEX_ISA {

constexpr float UNIT_EPSILON = 1e-6f;  // that of vblocks/step/math.py

static void convolve(const float* const* rows, const float* weight, int64_t stride, int64_t taps, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    W sum = wmul(wload(rows[0] + i), wload(weight + i));
    for (int64_t tap = 1; tap < taps; tap++) sum = wfma(wload(rows[tap] + i), wload(weight + tap * stride + i), sum);
    wstore(y + i, sum);
  }
  for (; i < n; i++) {
    float sum = rows[0][i] * weight[i];
    for (int64_t tap = 1; tap < taps; tap++) sum = __builtin_fmaf(rows[tap][i], weight[tap * stride + i], sum);
    y[i] = sum;
  }
}

static void silu(float* x, int64_t n) {
  over(n, x, x, x, [](W a, W) { return wdiv(a, wadd(wset(1), wexp(wmin(wsub(wset(0), a), wset(80))))); });
}

static float dot(const float* x, const float* y, int64_t n) {
  W sum = wset(0);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) sum = wfma(wload(x + i), wload(y + i), sum);
  if (i < n) {
    float left[16] = {}, right[16] = {};
    memcpy(left, x + i, (size_t)(n - i) * 4);
    memcpy(right, y + i, (size_t)(n - i) * 4);
    sum = wfma(wload(left), wload(right), sum);
  }
  return wsum(sum);
}

static void unit(float* x, int64_t n) { scale(x, 1.0f / __builtin_sqrtf(dot(x, x, n) + UNIT_EPSILON), n); }

static void softmax(float* x, int64_t n) {
  float largest = x[0], lanes[16] = {};
  for (int64_t i = 1; i < n; i++) largest = x[i] > largest ? x[i] : largest;
  over(n, x, x, x, [&](W a, W) { return wexp(wsub(a, wset(largest))); });
  for (int64_t i = 0; i < n; i++) lanes[i % 16] += x[i];
  scale(x, 1.0f / wsum(wload(lanes)), n);
}

}  // namespace vortex::VORTEX_ISA
