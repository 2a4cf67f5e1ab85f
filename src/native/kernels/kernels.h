// The table of kernels that every instruction set fills, and the plain values they work on.
// Kernels work on one piece (a tile, a row, a head); who runs which piece is decided in product.cpp and layer.cpp.
#pragma once
#include <cstdint>

#include "kernels/format.h"

namespace vortex {

// An integer n, |n| < 2^22, added to these bits is the float MAGIC + n: integers become floats without an instruction.
constexpr int32_t MAGIC_BITS = 0x4B400000;
constexpr float MAGIC = 12582912.0f;

// 32 activations as int8, x = scale * q, and what they bring to offsets and minima. One record, so that a row of them
// is one stream of memory. Pairs are of columns 0-15 and 16-31. A scale has 16 significant bits, so `unmagic` is exact.
struct QuantizedBlock {
  int8_t q[BLOCK];
  float scale[2], unmagic[2];    // unmagic: -MAGIC * scale
  int32_t begin8[2], begin128[2];  // MAGIC_BITS - 8 (128) * sum of q: where dots with codes of that offset begin
  float scaled_sum;              // sum of x
};

struct Activations {
  int64_t rows, columns;
  const float* x;          // [rows][columns]
  QuantizedBlock* blocks;  // [rows][columns / 32]
};

struct Matrix {
  Format format = Format::F32;
  const uint8_t* data = nullptr;  // tiles, or GGUF rows
  int64_t rows = 0, columns = 0;
  bool packed = true;
  const float* bias = nullptr;  // [rows] or null
};

// Keys and values of one key head of one sequence. keys: [capacity / 16][head_width][16]; values: [capacity][head_width].
// Elements are fp16, or int8 with a scale per position.
struct HeadCache {
  void* keys;
  void* values;
  float* key_scale;  // [capacity], int8 only
  float* value_scale;
};

// Query rows that share one key head. Row i is a token's head: `query[i]`, at `position[i]`.
struct Queries {
  int rows;
  int head_width;
  int window;  // keys seen, the own one included; 0: all
  const float* const* query;
  const int64_t* position;
};

constexpr int PANEL_MAX_ROWS = 128;    // activation rows of one panel product
constexpr int MAX_TILES_TOGETHER = 8;  // and its tiles
constexpr int CHUNK = 256;        // keys per partial softmax, counted from position 0
constexpr int MAX_QUERIES = 16;   // rows of one attend call
constexpr int MAX_HEAD_WIDTH = 512;

// How a feed-forward opens its gate. ClampedSwiglu is gpt-oss's: both within the limit (the gate only from above), then
// (up + 1) * gate * sigmoid(1.702 gate).
enum class Gate : int { Silu, Gelu, ClampedSwiglu };
constexpr int NUM_GATES = 3;
struct GateKind {
  Gate gate;
  float limit;  // of ClampedSwiglu
};

// A partial softmax of one query row: largest score, sum of weights, weighted values [head_width].
struct Partial {
  float largest, sum;
  float* values;
};

// One token of a gated delta rule's head: S *= decay, error = v - S^T k, S += rate k error^T, out = S^T q.
struct DeltaToken {
  int64_t key_dim, value_dim;
  const float *q, *k, *v;
  float decay, rate;
  float* matrix;  // S, [key_dim][value_dim]
  float *error, *out;
};

// A read of one head of LAVA's slots: out = sum of share_i values_i, shares by strength_i exp(gamma q.k_i), and a null
// slot that always takes part. top_k: slots that do, 0: all.
struct SlotRead {
  int64_t key_dim, value_dim, slots, count, top_k;  // the first `count` of them are occupied
  const float *keys, *values;                       // [key_dim][slots], [slots][value_dim]
  const float *strength, *q, *null_value;
  float gamma, null_logit;
  float* share;  // out: of each slot; room for `slots`, rounded up to a multiple of 16
  float* out;    // [value_dim]
};

struct Kernels {
  const char* name;
  void (*quantize)(const Activations&, int64_t row, int64_t first_block, int64_t end_block);
  // y[row - ...]: rows first_row..end_row of the activations times one tile, to y[row * y_stride + 0..15]
  void (*product)(Format, const uint8_t* tile, const Activations&, int64_t first_row, int64_t end_row, float* y,
                  int64_t y_stride, int valid);
  // The same for up to PANEL_MAX_ROWS rows and MAX_TILES_TOGETHER tiles, `tile_bytes` apart: how quantised formats are
  // multiplied where it is not null.
  void (*panel)(Format, const uint8_t* tiles, int64_t tile_bytes, int count, const Activations&, int64_t first_row,
                int64_t end_row, float* y, int64_t y_stride, int valid);
  // y[r * y_stride + 0..] += scale * (row r of t) * `count` tiles of floats, for `rows` rows; t: [rows][rank]. `valid`: rows
  // of the last tile.
  void (*add_low_rank)(Format, const uint8_t* tiles, int64_t count, const float* t, int64_t rank, float scale, int64_t rows,
                       float* y, int64_t y_stride, int valid);
  void (*rms_norm)(const float* x, const float* weight, float epsilon, int64_t n, float* y);
  void (*add)(float* x, const float* y, int64_t n);
  void (*scale)(float* x, float by, int64_t n);
  void (*add_scaled)(float* x, const float* y, float by, int64_t n);  // x += by * y
  void (*gate)(GateKind, const float* gate, const float* up, float* y, int64_t n);
  void (*rotate)(float* head, const float* cos, const float* sin, int head_width);
  void (*write_cache)(const HeadCache&, bool int8, int64_t position, int head_width, const float* key, const float* value);
  // Partials of keys [chunk * CHUNK, end_key) for every query row that sees one of them; `seen` says which do.
  void (*attend)(const HeadCache&, bool int8, const Queries&, int64_t chunk, int64_t end_key, Partial*, bool* seen);
  void (*merge)(Partial& into, const Partial& next, int head_width, bool first);
  // The softmax's result, values / sum, [head_width]. A sink (or null) is one more score, without a value.
  void (*finish)(const Partial&, const float* sink, int head_width, float* out);
  // y[i] = sum over taps, oldest first, of rows[tap][i] * weight[tap * stride + i].
  void (*convolve)(const float* const* rows, const float* weight, int64_t stride, int64_t taps, int64_t n, float* y);
  void (*silu)(float* x, int64_t n);  // in place
  void (*unit)(float* x, int64_t n);  // x / |x| in place
  float (*dot)(const float* x, const float* y, int64_t n);
  void (*softmax)(float* x, int64_t n);  // in place
  void (*delta_token)(const DeltaToken&);
  void (*read_slots)(const SlotRead&);
  uint8_t (*read)(const uint8_t* p, int64_t n);  // n >= 256; see peak.h
  int64_t (*dots)(int64_t rounds);  // see peak.h
  int64_t (*decode_bf16e3)(const uint8_t* rest, const uint8_t* codes, uint8_t top, const uint8_t* escapes,
                           int64_t num_escapes, int64_t n, uint16_t* out);  // see lossless.h
};

extern const Kernels scalar_kernels;
#if defined(__x86_64__) || defined(_M_X64)
extern const Kernels avx2_kernels;
extern const Kernels avx512_kernels;
#elif defined(__aarch64__)
extern const Kernels neon_kernels;
#endif

}  // namespace vortex
