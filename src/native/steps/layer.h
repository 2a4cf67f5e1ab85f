// One decoder layer over a ragged batch of rows, fused: norm, q k v, rope, KV write, attention, output, norm, MLP.
#pragma once
#include <vector>

#include "kernels/kernels.h"
#include "kernels/multiply.h"
#include "steps/low_rank.h"

namespace vortex {

struct Layer {
  int64_t heads, kv_heads, head_width;
  float epsilon, query_scale;
  int window;  // keys seen; 0: all
  GateKind gate_kind;
  Matrix q, k, v, out, gate, up, down;  // the last three without rows: the layer ends after attention
  const float *attention_norm, *ffn_norm;
  const float *q_norm, *k_norm, *post_attention_norm, *post_ffn_norm;  // or null
  const float* sinks;  // [heads] or null
};

// Some rows of the batch and the cache of their sequence, all layers:
// keys [layers][kv_heads][capacity / 16][head_width][16], values [layers][kv_heads][capacity][head_width].
struct Segment {
  uint8_t *keys, *values;
  float *key_scale, *value_scale;  // [layers][kv_heads][capacity], int8 only
  int64_t capacity, first_row, num_rows, start;
  const LayerAdapter* adapter = nullptr;  // of all layers, one behind the other; or null
};

// What is reused from layer to layer and from sweep to sweep.
class Workspace {
 public:
  void run_layer(const Layer& layer, int64_t index, float* x, int64_t rows, const std::vector<Segment>& segments,
                 bool int8_cache, const float* cos, const float* sin);

 private:
  struct Task {  // up to MAX_QUERIES query rows of one key head: flat row i is token i / group, head i % group
    const Segment* segment;
    int64_t kv_head, first, count, first_chunk, end_chunk, first_partial;
  };
  struct Step;
  void plan(const Layer& layer, const std::vector<Segment>& segments);
  void plan_products(const Layer& layer, int64_t index, const std::vector<Segment>& segments);

  Rows input_, qkv_, attended_, gates_, fed_, output_;
  AdaptedProducts opening_, closing_, widening_, narrowing_;  // qkv, attention's output, gate and up, down
  std::vector<Task> tasks_;
  std::vector<float> partial_values_, partial_sums_, partial_largest_;
  std::vector<uint8_t> partial_seen_;
  int64_t num_chunks_ = 0, partial_rows_ = 0;
};

}  // namespace vortex
