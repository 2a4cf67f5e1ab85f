// One layer of a V-Blocks core over rows of several sequences, fused: local mixer, gated delta rule and LAVA, gated MLP.
// Its readable form is vblocks/layer.py with the *_step.py of blocks/. States are values: a span names its state
// before, which is only read, and room for the one after.
#pragma once
#include <vector>

#include "kernels/kernels.h"
#include "kernels/multiply.h"

namespace vortex {

constexpr int64_t MAX_TAPS = 32;  // of a convolution

enum class LavaRank : int { Surprise, Random, Gate };  // what chooses the pairs that are written; vblocks/lava_options.py

struct Lava {
  int64_t heads = 0;  // 0: a layer without
  int64_t key_dim, value_dim, taps, slots, write_every, writes, read_every, top_k;
  bool on_surprise;
  LavaRank rank;
  float threshold, merge_cosine, half_life, write_bias;
  const float *conv, *gamma, *null_logit, *null_value;  // [taps][mixed], [heads], [heads], [heads][value_dim]

  int64_t mixed() const { return heads * (2 * key_dim + value_dim); }
  int64_t projected() const { return mixed() + heads * value_dim + 1; }
};

struct CoreLayer {
  int64_t width, inner;  // inner: of the MLP
  float epsilon;
  int64_t local_taps, window, local_heads, local_kv_heads;
  int64_t heads, key_dim, value_dim, delta_taps;
  const float *local_norm, *mixer_norm, *mlp_norm;  // [width]
  const float *local_conv, *distance_bias;          // [taps][width], [local_heads][window] or null
  const float *rotation, *sink_key, *sink_value;    // of the window, or null: [window][head width], cosines then sines; [kv_width]
  const float *delta_conv, *decay_rate, *decay_bias, *delta_norm;  // [taps][mixed], [heads], [heads], [value_dim]
  Lava lava;

  int64_t mixed() const { return heads * (2 * key_dim + value_dim); }
  int64_t kv_width() const { return window ? width / local_heads * local_kv_heads : 0; }  // of the window's keys
  int64_t local_projected() const { return window ? 3 * width + 2 * kv_width() : 2 * width; }
  int64_t delta_projected() const { return mixed() + heads * value_dim + 2 * heads; }
};

struct CoreMatrices {
  const Matrix *local_in, *local_out, *delta_in, *delta_out, *lava_in, *lava_out, *mlp_in, *mlp_out;
};

// LAVA's state of one sequence; all of it belongs to the state after, and is changed in place. Slots are changed only
// where a chunk ends within the span.
struct LavaState {
  const float* tail;  // [taps - 1][mixed], of the state before
  float* next_tail;
  float *keys, *values;               // [heads][key_dim][slots], [heads][slots][value_dim]
  float *strength, *use, *touched;    // [slots]
  float *waiting_keys, *waiting_values, *waiting_gate, *waiting_surprise;  // [write_every], of [heads][...] or of one
  float* held;                        // [heads][value_dim]
  int64_t occupied, position;
};

struct CoreSpan {
  int64_t num_rows, first_row;
  const float* local_tail;  // [taps - 1][width]
  float* next_local_tail;
  const float* window_kv;  // [window - 1][2][kv_width], the newest last; null without a window
  float* next_window_kv;
  int64_t seen;  // rows of it that exist
  const float* delta_tail;  // [taps - 1][mixed]
  float* next_delta_tail;
  const float* matrix;  // [heads][key_dim][value_dim]
  float* next_matrix;
  LavaState lava;
};

// What each block's first matrix gives, [rows][...]; kept by the caller for a replay.
struct CoreRecords {
  float *local, *delta, *lava;
};

// What is reused from layer to layer and from sweep to sweep.
class CoreWorkspace {
 public:
  // x [rows][width], in place.
  void run(const CoreLayer& layer, const CoreMatrices& matrices, float* x, int64_t rows, std::vector<CoreSpan>& spans,
           const CoreRecords& records);
  // The states after the first rows of a recorded span, from its records alone.
  void replay(const CoreLayer& layer, int64_t rows, std::vector<CoreSpan>& spans, const CoreRecords& records);

 private:
  friend class LavaRows;
  struct Step;
  void reshape(const CoreLayer& layer, int64_t rows);

  Rows input_, local_, delta_, read_, gates_, fed_, output_, memory_;
  std::vector<float> surprise_;  // [rows][heads] of the delta rule
  std::vector<float> lava_mixed_, lava_shares_;
};

// The source of a convolution's taps for row `t` of a span, oldest first: rows of the sequence's tail, then of `projected`.
inline void taps_of(const float* tail, int64_t channels, const float* projected, int64_t stride, int64_t t, int64_t taps,
                    const float** rows) {
  for (int64_t tap = 0; tap < taps; tap++) {
    const int64_t row = t - (taps - 1) + tap;
    rows[tap] = row < 0 ? tail + (row + taps - 1) * channels : projected + row * stride;
  }
}

// The tail after `num_rows` rows.
void keep_tail(const float* tail, int64_t channels, const float* projected, int64_t stride, int64_t num_rows, int64_t taps,
               float* next);

}  // namespace vortex
