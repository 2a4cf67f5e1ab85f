#include "steps/core_stack.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "isa/dispatch.h"

namespace vortex {
namespace {

Buffer zeros(int64_t n) { return Buffer((size_t)n, 0.0f); }

std::shared_ptr<LayerState> empty_layer(const CoreLayer& l) {
  auto state = std::make_shared<LayerState>();
  state->local_tail = zeros((l.local_taps - 1) * l.width);
  state->window_kv = zeros(l.window ? (l.window - 1) * 2 * l.kv_width() : 0);
  state->delta_tail = zeros((l.delta_taps - 1) * l.mixed());
  state->matrix = zeros(l.heads * l.key_dim * l.value_dim);
  const Lava& a = l.lava;
  if (!a.heads) return state;
  state->slots = std::make_shared<Slots>(Slots{zeros(a.heads * a.key_dim * a.slots), zeros(a.heads * a.slots * a.value_dim), zeros(a.slots), zeros(a.slots)});
  state->use = zeros(a.slots);
  state->lava_tail = zeros((a.taps - 1) * a.mixed());
  state->waiting_keys = zeros(a.write_every * a.heads * a.key_dim);
  state->waiting_values = zeros(a.write_every * a.heads * a.value_dim);
  state->waiting_gate = zeros(a.write_every);
  state->waiting_surprise = zeros(a.write_every);
  state->held = zeros(a.heads * a.value_dim);
  return state;
}

// A state that goes on from `before` by some rows; the slots are its own where a chunk ends within them.
std::shared_ptr<LayerState> branch(const CoreLayer& l, const LayerState& before, int64_t num_rows) {
  auto next = std::make_shared<LayerState>();
  next->local_tail.resize(before.local_tail.size());
  next->window_kv.resize(before.window_kv.size());
  next->delta_tail.resize(before.delta_tail.size());
  next->matrix.resize(before.matrix.size());
  next->seen = l.window ? std::min(l.window - 1, before.seen + num_rows) : 0;
  if (!l.lava.heads) return next;
  const bool writes = before.position % l.lava.write_every + num_rows >= l.lava.write_every;
  next->slots = writes ? std::make_shared<Slots>(*before.slots) : before.slots;
  next->lava_tail.resize(before.lava_tail.size());
  next->use = before.use;
  next->waiting_keys = before.waiting_keys;
  next->waiting_values = before.waiting_values;
  next->waiting_gate = before.waiting_gate;
  next->waiting_surprise = before.waiting_surprise;
  next->held = before.held;
  next->occupied = before.occupied;
  next->position = before.position;
  return next;
}

CoreSpan span_of(const CoreLayer& l, const LayerState& before, LayerState& next, int64_t first_row, int64_t num_rows) {
  CoreSpan s{};
  s.num_rows = num_rows;
  s.first_row = first_row;
  s.local_tail = before.local_tail.data();
  s.next_local_tail = next.local_tail.data();
  s.window_kv = l.window ? before.window_kv.data() : nullptr;
  s.next_window_kv = l.window ? next.window_kv.data() : nullptr;
  s.seen = before.seen;
  s.delta_tail = before.delta_tail.data();
  s.next_delta_tail = next.delta_tail.data();
  s.matrix = before.matrix.data();
  s.next_matrix = next.matrix.data();
  if (!l.lava.heads) return s;
  Slots& slots = *next.slots;
  s.lava = {before.lava_tail.data(), next.lava_tail.data(), slots.keys.data(), slots.values.data(), slots.strength.data(),
            next.use.data(), slots.touched.data(), next.waiting_keys.data(), next.waiting_values.data(), next.waiting_gate.data(),
            next.waiting_surprise.data(), next.held.data(), next.occupied, next.position};
  return s;
}

int64_t count(const std::vector<uint8_t>& flags, int64_t first, int64_t n) {
  return std::accumulate(flags.begin() + first, flags.begin() + first + n, (int64_t)0);
}

}  // namespace

int64_t LayerState::num_bytes() const {
  size_t size = 0;
  for (const Buffer* b : {&local_tail, &window_kv, &delta_tail, &matrix, &lava_tail, &use, &waiting_keys, &waiting_values,
                          &waiting_gate, &waiting_surprise, &held})
    size += b->size();
  if (slots) size += slots->keys.size() + slots->values.size() + slots->strength.size() + slots->touched.size();
  return (int64_t)(size * sizeof(float));
}

float gate_score(const float* x, const float* weight, float bias, int64_t width) {
  const float score = kernels().dot(x, weight, width) + bias;
  return (float)(1 / (1 + std::exp(std::min(-(double)score, 80.0))));
}

void blend(float* x, float* y, float scale, int64_t width) {
  for (int64_t i = 0; i < width; i++) y[i] -= x[i];
  kernels().add_scaled(x, y, scale, width);
}

CoreState CoreStack::empty() const {
  CoreState state;
  for (const StackLayer& layer : layers) state.layers.push_back(empty_layer(layer.shape));
  state.gate_open.assign(layers.size(), 1);
  return state;
}

CoreSweep::CoreSweep(const CoreStack& stack, CoreWorkspace& workspace, float* x, const std::vector<const CoreState*>& before,
                     const std::vector<int64_t>& num_rows)
    : rows_(std::accumulate(num_rows.begin(), num_rows.end(), (int64_t)0)), num_rows_(num_rows), layers_(stack.layers.size()) {
  for (const CoreState* state : before) before_.push_back(*state);
  after_ = before_;
  std::vector<int64_t> depth((size_t)rows_, 0);
  std::vector<float> scale;
  for (int64_t index = 0; index < (int64_t)stack.layers.size(); index++) {
    open_gates(stack, index, x, depth, scale);
    run_layer(stack, workspace, index, x, scale);
  }
}

// Which rows take the layer: a Schmitt trigger on a learned score, of the past alone.
void CoreSweep::open_gates(const CoreStack& stack, int64_t index, const float* x, std::vector<int64_t>& depth, std::vector<float>& scale) {
  const StackLayer& layer = stack.layers[(size_t)index];
  const float opens = 0.5f + stack.hysteresis, closes = 0.5f - stack.hysteresis;
  Layer& here = layers_[(size_t)index];
  here.kept.assign((size_t)rows_, 1);
  here.open.assign((size_t)rows_, 1);
  if (layer.gate_weight) {
    scale.resize((size_t)rows_);
    for (int64_t span = 0, r = 0; span < num_spans(); span++) {
      bool open = before_[(size_t)span].gate_open[(size_t)index];
      for (const int64_t end = r + num_rows_[(size_t)span]; r < end; r++) {
        const float score = gate_score(x + r * layer.shape.width, layer.gate_weight, layer.gate_bias, layer.shape.width);
        open = (open || score > opens) && !(score < closes);
        scale[(size_t)r] = std::max((score - closes) / (1 - closes), 0.0f);  // nothing where the gate closes
        here.open[(size_t)r] = open;
        here.kept[(size_t)r] = (open || index < stack.depth_min) && (!stack.depth_max || depth[(size_t)r] < stack.depth_max);
      }
      after_[(size_t)span].gate_open[(size_t)index] = open;
    }
  }
  for (int64_t r = 0; r < rows_; r++) depth[(size_t)r] += here.kept[(size_t)r];
}

void CoreSweep::run_layer(const CoreStack& stack, CoreWorkspace& workspace, int64_t index, float* x, std::vector<float>& scale) {
  const StackLayer& layer = stack.layers[(size_t)index];
  const CoreLayer& shape = layer.shape;
  Layer& here = layers_[(size_t)index];
  std::vector<CoreSpan> spans;
  std::vector<std::pair<size_t, std::shared_ptr<LayerState>>> next;
  int64_t kept = 0;
  for (int64_t span = 0, r = 0; span < num_spans(); r += num_rows_[(size_t)span], span++) {
    const int64_t taken = count(here.kept, r, num_rows_[(size_t)span]);
    here.first_row.push_back(kept);
    if (taken) {
      const LayerState& before = *before_[(size_t)span].layers[(size_t)index];
      next.emplace_back((size_t)span, branch(shape, before, taken));
      spans.push_back(span_of(shape, before, *next.back().second, kept, taken));
    }
    kept += taken;
  }
  if (!kept) return;
  here.local.resize((size_t)(kept * shape.local_projected()));
  here.delta.resize((size_t)(kept * shape.delta_projected()));
  here.lava.resize((size_t)(shape.lava.heads ? kept * shape.lava.projected() : 0));
  const CoreRecords records = {here.local.data(), here.delta.data(), here.lava.data()};
  if (!layer.gate_weight) {
    workspace.run(shape, layer.matrices, x, kept, spans, records);
  } else {
    Buffer rows((size_t)(kept * shape.width));
    float* y = rows.data();
    for (int64_t r = 0; r < rows_; r++)
      if (here.kept[(size_t)r]) y = std::copy(x + r * shape.width, x + (r + 1) * shape.width, y);
    workspace.run(shape, layer.matrices, rows.data(), kept, spans, records);
    y = rows.data();
    for (int64_t r = 0; r < rows_; r++) {
      if (!here.kept[(size_t)r]) continue;
      blend(x + r * shape.width, y, scale[(size_t)r], shape.width);
      y += shape.width;
    }
  }
  for (size_t i = 0; i < spans.size(); i++) {
    next[i].second->occupied = spans[i].lava.occupied;
    next[i].second->position = spans[i].lava.position;
    after_[next[i].first].layers[(size_t)index] = next[i].second;
  }
}

int64_t CoreSweep::layers_taken(int64_t span) const {
  const int64_t first = std::accumulate(num_rows_.begin(), num_rows_.begin() + span, (int64_t)0);
  int64_t sum = 0;
  for (const Layer& layer : layers_) sum += count(layer.kept, first, num_rows_[(size_t)span]);
  return sum;
}

CoreState CoreSweep::replay(const CoreStack& stack, CoreWorkspace& workspace, int64_t span, int64_t num_tokens) const {
  CoreState state = before_[(size_t)span];
  const int64_t first = std::accumulate(num_rows_.begin(), num_rows_.begin() + span, (int64_t)0);
  for (size_t index = 0; num_tokens && index < layers_.size(); index++) {
    const CoreLayer& shape = stack.layers[index].shape;
    const Layer& here = layers_[index];
    if (stack.layers[index].gate_weight) state.gate_open[index] = here.open[(size_t)(first + num_tokens - 1)];
    const int64_t taken = count(here.kept, first, num_tokens), row = here.first_row[(size_t)span];
    if (!taken) continue;
    const LayerState& before = *state.layers[index];
    const std::shared_ptr<LayerState> next = branch(shape, before, taken);
    std::vector<CoreSpan> spans = {span_of(shape, before, *next, 0, taken)};
    // Only read there: a replay takes no products.
    workspace.replay(shape, taken, spans,
                     {const_cast<float*>(here.local.data()) + row * shape.local_projected(), const_cast<float*>(here.delta.data()) + row * shape.delta_projected(),
                      shape.lava.heads ? const_cast<float*>(here.lava.data()) + row * shape.lava.projected() : nullptr});
    next->occupied = spans[0].lava.occupied;
    next->position = spans[0].lava.position;
    state.layers[index] = next;
  }
  return state;
}

}  // namespace vortex
