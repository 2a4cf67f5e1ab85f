// All layers of a core whose weights stay in memory, in one call, with states that the native core keeps itself. A state
// is a value: a sweep makes new ones and shares what did not change. vblocks/layer.py is the readable form.
#pragma once
#include <memory>
#include <vector>

#include "steps/core_layer.h"

namespace vortex {

using Buffer = std::vector<float>;

// What a LAVA layer has written. Copied when a chunk ends.
struct Slots {
  Buffer keys, values, strength, touched;
};

struct LayerState {
  Buffer local_tail, window_kv, delta_tail, matrix;
  int64_t seen = 0;
  std::shared_ptr<Slots> slots;
  Buffer lava_tail, use, waiting_keys, waiting_values, waiting_gate, waiting_surprise, held;
  int64_t occupied = 0, position = 0;

  int64_t num_bytes() const;
};

struct CoreState {
  std::vector<std::shared_ptr<const LayerState>> layers;
  std::vector<uint8_t> gate_open;  // by layer
};

struct StackLayer {
  CoreLayer shape;
  CoreMatrices matrices;
  const float* gate_weight;  // [width]; null: every token takes the layer
  float gate_bias;
};

// A gate's score for a row, 0 to 1.
float gate_score(const float* x, const float* weight, float bias, int64_t width);
// x += scale * (y - x): what a layer adds counts as much as its gate says. y is used up.
void blend(float* x, float* y, float scale, int64_t width);

struct CoreStack {
  std::vector<StackLayer> layers;
  int64_t depth_min, depth_max;  // first layers of every token; most layers of a token, 0: no limit
  float hysteresis;

  CoreState empty() const;
};

// One sweep: what came in, what came out, and what a replay needs.
class CoreSweep {
 public:
  // x [all spans' rows][width], in place.
  CoreSweep(const CoreStack& stack, CoreWorkspace& workspace, float* x, const std::vector<const CoreState*>& before,
            const std::vector<int64_t>& num_rows);
  const CoreState& after(int64_t span) const { return after_[(size_t)span]; }
  // The state after the first `num_tokens` of a span's rows.
  CoreState replay(const CoreStack& stack, CoreWorkspace& workspace, int64_t span, int64_t num_tokens) const;
  int64_t layers_taken(int64_t span) const;  // by all of a span's rows together
  int64_t num_spans() const { return (int64_t)before_.size(); }
  int64_t num_rows(int64_t span) const { return num_rows_[(size_t)span]; }

 private:
  struct Layer {  // rows: those that took the layer, of all spans
    std::vector<uint8_t> kept, open;
    std::vector<int64_t> first_row;  // of each span
    Buffer local, delta, lava;
  };

  void open_gates(const CoreStack& stack, int64_t index, const float* x, std::vector<int64_t>& depth, std::vector<float>& scale);
  void run_layer(const CoreStack& stack, CoreWorkspace& workspace, int64_t index, float* x, std::vector<float>& scale);

  const int64_t rows_;
  std::vector<CoreState> before_, after_;
  std::vector<int64_t> num_rows_;
  std::vector<Layer> layers_;
};

}  // namespace vortex
