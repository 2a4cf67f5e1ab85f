#include "steps/core_layer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "isa/dispatch.h"
#include "steps/lava.h"

namespace vortex {

void keep_tail(const float* tail, int64_t channels, const float* projected, int64_t stride, int64_t num_rows, int64_t taps,
               float* next) {
  const float* rows[MAX_TAPS];
  taps_of(tail, channels, projected, stride, num_rows, taps, rows);  // the first taps of the row that comes next
  for (int64_t i = 0; i < taps - 1; i++) memcpy(next + i * channels, rows[i], (size_t)channels * sizeof(float));
}

namespace {

constexpr float DELTA_EPSILON = 1e-6f, SURPRISE_EPSILON = 1e-6f;
constexpr GateKind SILU = {Gate::Silu, 0};

double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::fabs(x))); }
double sigmoid(double x) { return 1 / (1 + std::exp(std::min(-x, 80.0))); }

}  // namespace

// One call, as every member of the team sees it.
struct CoreWorkspace::Step {
  const CoreLayer& layer;
  CoreWorkspace& w;
  const int64_t rows;
  std::vector<CoreSpan>& spans;
  const CoreRecords& records;
  LavaRows lava;
  const Kernels& k = kernels();

  void run(Team& team, const CoreMatrices& m, float* x) {
    const int64_t width = layer.width;
    by_rows(team, [&](int64_t r) { normalise(x, r, layer.local_norm); });
    const Product local_in = {w.input_.view(), m.local_in, records.local, layer.local_projected()};
    multiply(team, &local_in, 1);
    mix_local(team);
    const Product local_out = {w.local_.view(), m.local_out, w.output_.x(), width};
    multiply(team, &local_out, 1);
    by_rows(team, [&](int64_t r) {
      k.add(x + r * width, w.output_.row(r), width);
      normalise(x, r, layer.mixer_norm);
    });
    const int64_t blocks = layer.lava.heads ? 2 : 1;
    const Product mixer_in[2] = {{w.input_.view(), m.delta_in, records.delta, layer.delta_projected()},
                                 {w.input_.view(), m.lava_in, records.lava, layer.lava.projected()}};
    multiply(team, mixer_in, blocks);
    remember(team);
    by_rows(team, [&](int64_t r) {
      w.delta_.quantize(r);
      if (layer.lava.heads) lava.finish_row(r);
    });
    const Product mixer_out[2] = {{w.delta_.view(), m.delta_out, w.output_.x(), width},
                                  {w.read_.view(), m.lava_out, w.memory_.x(), width}};
    multiply(team, mixer_out, blocks);
    by_rows(team, [&](int64_t r) {
      if (layer.lava.heads) k.add(w.output_.row(r), w.memory_.row(r), width);
      k.add(x + r * width, w.output_.row(r), width);
      normalise(x, r, layer.mlp_norm);
    });
    const Product mlp_in = {w.input_.view(), m.mlp_in, w.gates_.x(), 2 * layer.inner};
    multiply(team, &mlp_in, 1);
    by_rows(team, [&](int64_t r) {
      k.gate(SILU, w.gates_.row(r), w.gates_.row(r) + layer.inner, w.fed_.row(r), layer.inner);
      w.fed_.quantize(r);
    });
    const Product mlp_out = {w.fed_.view(), m.mlp_out, w.output_.x(), width};
    multiply(team, &mlp_out, 1);
    by_rows(team, [&](int64_t r) { k.add(x + r * width, w.output_.row(r), width); });
  }

  // The states after the rows. What the delta rule and LAVA put out for them is at hand, too.
  void remember(Team& team) {
    const int64_t tasks = layer.heads + 1;
    team.for_each((int64_t)spans.size() * tasks, 1, [&](int64_t first, int64_t end) {
      for (int64_t i = first; i < end; i++) {
        const CoreSpan& span = spans[(size_t)(i / tasks)];
        if (i % tasks < layer.heads)
          run_head(span, i % tasks);
        else
          keep_inputs(span);
      }
    });
    if (layer.lava.heads) lava.run(team);
  }

  template <class F>
  void by_rows(Team& team, F f) {
    team.for_each(rows, std::max<int64_t>(1, rows / (4 * team.size())), [&](int64_t first, int64_t end) {
      for (int64_t r = first; r < end; r++) f(r);
    });
  }

  void normalise(const float* x, int64_t r, const float* weight) {
    k.rms_norm(x + r * layer.width, weight, layer.epsilon, layer.width, w.input_.row(r));
    w.input_.quantize(r);
  }

  // The window's heads are shared out, since there may be a single row.
  void mix_local(Team& team) {
    by_rows(team, [&](int64_t r) {
      convolve_local(r);
      if (!layer.window) w.local_.quantize(r);
    });
    if (!layer.window) return;
    team.for_each(rows * layer.local_heads, 1, [&](int64_t first, int64_t end) {
      for (int64_t i = first; i < end; i++) {
        const int64_t r = i / layer.local_heads;
        const CoreSpan& s = span_of(r);
        attend(s, r - s.first_row, i % layer.local_heads, w.local_.row(r) + layer.width);
      }
    });
    by_rows(team, [&](int64_t r) { w.local_.quantize(r); });
  }

  const CoreSpan& span_of(int64_t r) const {
    const CoreSpan* s = spans.data();
    while (r >= s->first_row + s->num_rows) s++;
    return *s;
  }

  void convolve_local(int64_t r) {
    const CoreSpan* s = &span_of(r);
    const int64_t width = layer.width, stride = layer.local_projected(), t = r - s->first_row;
    const float *span_rows = records.local + s->first_row * stride, *taps[MAX_TAPS];
    taps_of(s->local_tail, width, span_rows, stride, t, layer.local_taps, taps);
    float* y = w.local_.row(r);
    k.convolve(taps, layer.local_conv, width, layer.local_taps, width, y);
    k.gate(SILU, span_rows + t * stride + width, y, y, width);
  }

  // Keys and values of row t of a span, [2][kv_width]; t < 0: of the sequence's window.
  const float* kv_row(const CoreSpan& s, int64_t t) const {
    if (t < 0) return s.window_kv + (t + layer.window - 1) * 2 * layer.kv_width();
    return records.local + (s.first_row + t) * layer.local_projected() + 3 * layer.width;
  }

  void attend(const CoreSpan& s, int64_t t, int64_t head, float* y) {
    const int64_t n = layer.width / layer.local_heads, count = std::min(layer.window, s.seen + t + 1);
    const int64_t group = layer.local_heads / layer.local_kv_heads, at = head / group * n;  // its keys' and values' place
    const float *query = kv_row(s, t) - layer.width + head * n, *bias = layer.distance_bias + head * layer.window;
    thread_local std::vector<float> shares, turned;
    const int64_t logits = count + (layer.sink_key ? 1 : 0);
    shares.resize((size_t)logits);
    turned.resize((size_t)n);
    const float factor = 1.0f / std::sqrt((float)n);
    for (int64_t i = 0; i < count; i++) {  // the oldest first
      const int64_t distance = count - 1 - i;
      const float* q = layer.rotation ? turn(query, layer.rotation + distance * n, n, turned.data()) : query;
      shares[(size_t)i] = k.dot(kv_row(s, t - distance) + at, q, n) * factor + bias[distance];
    }
    if (layer.sink_key) shares[(size_t)count] = k.dot(layer.sink_key + at, query, n) * factor;
    k.softmax(shares.data(), logits);
    float* out = y + head * n;
    std::fill(out, out + n, 0.0f);
    for (int64_t i = 0; i < count; i++) k.add_scaled(out, kv_row(s, t - count + 1 + i) + layer.kv_width() + at, shares[(size_t)i], n);
    if (layer.sink_key) k.add_scaled(out, layer.sink_value + at, shares[(size_t)count], n);
  }

  // The query turned by a distance (vblocks/step/local.py).
  const float* turn(const float* query, const float* rotation, int64_t n, float* y) const {
    memcpy(y, query, (size_t)n * sizeof(float));
    k.rotate(y, rotation, rotation + n / 2, (int)n);
    return y;
  }

  void run_head(const CoreSpan& s, int64_t head) {
    const int64_t keys = layer.key_dim, values = layer.value_dim, mixed = layer.mixed(), stride = layer.delta_projected();
    const float* span_rows = records.delta + s.first_row * stride;
    thread_local std::vector<float> scratch;
    scratch.resize((size_t)(2 * keys + 2 * values));
    float *q = scratch.data(), *key = q + keys, *v = key + keys, *error = v + values;
    float* matrix = s.next_matrix + head * keys * values;
    memcpy(matrix, s.matrix + head * keys * values, (size_t)(keys * values) * sizeof(float));
    const auto channels = [&](int64_t t, int64_t first, int64_t n, float* y) {
      const float* taps[MAX_TAPS];
      taps_of(s.delta_tail + first, mixed, span_rows + first, stride, t, layer.delta_taps, taps);
      k.convolve(taps, layer.delta_conv + first, mixed, layer.delta_taps, n, y);
      k.silu(y, n);
    };
    for (int64_t t = 0; t < s.num_rows; t++) {
      channels(t, head * keys, keys, q);
      channels(t, (layer.heads + head) * keys, keys, key);
      channels(t, 2 * layer.heads * keys + head * values, values, v);
      k.unit(q, keys);
      k.unit(key, keys);
      const float* gate = span_rows + t * stride + mixed;
      const float* rates = gate + layer.heads * values;
      const double pace = std::exp((double)layer.decay_rate[head]) * softplus((double)rates[head] + layer.decay_bias[head]);
      float* out = w.delta_.row(s.first_row + t) + head * values;
      k.delta_token({keys, values, q, key, v, (float)std::exp(-pace), (float)sigmoid(rates[layer.heads + head]), matrix, error, out});
      w.surprise_[(size_t)((s.first_row + t) * layer.heads + head)] =
          k.dot(error, error, values) / (k.dot(v, v, values) + SURPRISE_EPSILON);
      k.rms_norm(out, layer.delta_norm, DELTA_EPSILON, values, out);
      k.gate(SILU, gate + head * values, out, out, values);
    }
  }

  void keep_inputs(const CoreSpan& s) {
    const float *local = records.local + s.first_row * layer.local_projected(), *delta = records.delta + s.first_row * layer.delta_projected();
    keep_tail(s.local_tail, layer.width, local, layer.local_projected(), s.num_rows, layer.local_taps, s.next_local_tail);
    keep_tail(s.delta_tail, layer.mixed(), delta, layer.delta_projected(), s.num_rows, layer.delta_taps, s.next_delta_tail);
    const int64_t kv = 2 * layer.kv_width();
    for (int64_t i = 0; i < layer.window - 1; i++)
      memcpy(s.next_window_kv + i * kv, kv_row(s, s.num_rows - (layer.window - 1) + i), (size_t)kv * sizeof(float));
  }
};

void CoreWorkspace::reshape(const CoreLayer& layer, int64_t rows) {
  input_.reshape(rows, layer.width);
  local_.reshape(rows, (layer.window ? 2 : 1) * layer.width);
  delta_.reshape(rows, layer.heads * layer.value_dim);
  gates_.reshape(rows, 2 * layer.inner);
  fed_.reshape(rows, layer.inner);
  output_.reshape(rows, layer.width);
  memory_.reshape(rows, layer.width);
  if (layer.lava.heads) read_.reshape(rows, layer.lava.heads * layer.lava.value_dim);
  if ((int64_t)surprise_.size() < rows * layer.heads) surprise_.resize((size_t)(rows * layer.heads));
}

void CoreWorkspace::run(const CoreLayer& layer, const CoreMatrices& matrices, float* x, int64_t rows, std::vector<CoreSpan>& spans,
                        const CoreRecords& records) {
  reshape(layer, rows);
  Step step{layer, *this, rows, spans, records, LavaRows(layer, *this, rows, spans, records.lava)};
  pool().run([&](Team& team) { step.run(team, matrices, x); });
}

void CoreWorkspace::replay(const CoreLayer& layer, int64_t rows, std::vector<CoreSpan>& spans, const CoreRecords& records) {
  reshape(layer, rows);
  Step step{layer, *this, rows, spans, records, LavaRows(layer, *this, rows, spans, records.lava)};
  pool().run([&](Team& team) { step.remember(team); });
}

}  // namespace vortex
