#include "steps/layer.h"

#include <algorithm>
#include <cstring>

#include "isa/dispatch.h"

namespace vortex {

// One call of run_layer, as every member of the team sees it.
struct Workspace::Step {
  const Layer& layer;
  Workspace& w;
  const int64_t index, rows, width;
  float* const x;
  const bool int8_cache;
  const float *const cos, *const sin;
  const std::vector<Segment>& segments;
  const Kernels& k = kernels();
  const int64_t group = layer.heads / layer.kv_heads;

  void run(Team& team) {
    by_rows(team, [&](int64_t r) { normalise(r, layer.attention_norm); });
    w.opening_.run(team);
    team.for_each(rows * layer.kv_heads, std::max<int64_t>(1, rows / 8), [&](int64_t first, int64_t end) {
      for (int64_t i = first; i < end; i++) rotate_and_store(i / layer.kv_heads, i % layer.kv_heads);
    });
    attend(team);
    by_rows(team, [&](int64_t r) { w.attended_.quantize(r); });
    w.closing_.run(team);
    by_rows(team, [&](int64_t r) {
      residual(r, layer.post_attention_norm);
      if (layer.gate.rows) normalise(r, layer.ffn_norm);
    });
    if (!layer.gate.rows) return;  // experts follow
    feed(team);
    by_rows(team, [&](int64_t r) { residual(r, layer.post_ffn_norm); });
  }

  template <class F>
  void by_rows(Team& team, F f) {
    team.for_each(rows, std::max<int64_t>(1, rows / (4 * team.size())), [&](int64_t first, int64_t end) {
      for (int64_t r = first; r < end; r++) f(r);
    });
  }

  void normalise(int64_t r, const float* weight) {
    k.rms_norm(x + r * width, weight, layer.epsilon, width, w.input_.row(r));
    w.input_.quantize(r);
  }

  void residual(int64_t r, const float* post_norm) {
    float* y = w.output_.row(r);
    if (post_norm) k.rms_norm(y, post_norm, layer.epsilon, width, y);
    k.add(x + r * width, y, width);
  }

  HeadCache head_cache(const Segment& s, int64_t kv_head) const {
    const int64_t head = index * layer.kv_heads + kv_head, size = int8_cache ? 1 : 2;
    const int64_t offset = head * s.capacity * layer.head_width * size;
    return {s.keys + offset, s.values + offset, int8_cache ? s.key_scale + head * s.capacity : nullptr,
            int8_cache ? s.value_scale + head * s.capacity : nullptr};
  }

  void rotate_and_store(int64_t row, int64_t kv_head) {
    const int width = (int)layer.head_width;
    const Segment* s = segments.data();
    while (row >= s->first_row + s->num_rows) s++;
    const float *c = cos + row * width / 2, *n = sin + row * width / 2;
    float* query = w.qkv_.row(row) + kv_head * group * width;
    float* key = w.qkv_.row(row) + (layer.heads + kv_head) * width;
    for (int64_t h = 0; h < group; h++, query += width) {
      if (layer.q_norm) k.rms_norm(query, layer.q_norm, layer.epsilon, width, query);
      k.rotate(query, c, n, width);
      k.scale(query, layer.query_scale, width);
    }
    if (layer.k_norm) k.rms_norm(key, layer.k_norm, layer.epsilon, width, key);
    k.rotate(key, c, n, width);
    k.write_cache(head_cache(*s, kv_head), int8_cache, s->start + row - s->first_row, width, key,
                  key + layer.kv_heads * width);
  }

  // One chunk of keys for a task's rows, into its partials of that chunk.
  void attend_chunk(const Task& task, int64_t chunk, Partial* partials, bool* seen) {
    const Segment& s = *task.segment;
    const float* query[MAX_QUERIES];
    int64_t position[MAX_QUERIES];
    for (int64_t i = 0; i < task.count; i++) {
      const int64_t flat = task.first + i, row = s.first_row + flat / group;
      query[i] = w.qkv_.row(row) + (task.kv_head * group + flat % group) * layer.head_width;
      position[i] = s.start + flat / group;
    }
    const Queries queries = {(int)task.count, (int)layer.head_width, layer.window, query, position};
    k.attend(head_cache(s, task.kv_head), int8_cache, queries, chunk, s.start + s.num_rows, partials, seen);
  }

  // `empty`: no chunk was seen, so the total's values were never written; nothing was attended to.
  void finish_row(const Task& task, int64_t i, const Partial& total, bool empty) {
    const int64_t flat = task.first + i, row = task.segment->first_row + flat / group, head = task.kv_head * group + flat % group;
    float* out = w.attended_.row(row) + head * layer.head_width;
    if (empty) std::fill(out, out + layer.head_width, 0.0f);
    else k.finish(total, layer.sinks ? layer.sinks + head : nullptr, (int)layer.head_width, out);
  }

  // Few tasks (decoding): chunks of one task run side by side and are merged afterwards, in order.
  void attend_by_chunks(Team& team) {
    team.for_each(w.num_chunks_, 1, [&](int64_t first, int64_t end) {
      for (int64_t item = first; item < end; item++) {
        const Task* task = w.tasks_.data();
        int64_t chunk = item;
        for (; chunk >= task->end_chunk - task->first_chunk; task++) chunk -= task->end_chunk - task->first_chunk;
        Partial partials[MAX_QUERIES];
        bool seen[MAX_QUERIES];
        const int64_t at = task->first_partial + chunk * task->count;
        for (int64_t i = 0; i < task->count; i++) partials[i].values = &w.partial_values_[(size_t)((at + i) * layer.head_width)];
        attend_chunk(*task, task->first_chunk + chunk, partials, seen);
        for (int64_t i = 0; i < task->count; i++) {
          w.partial_largest_[(size_t)(at + i)] = partials[i].largest;
          w.partial_sums_[(size_t)(at + i)] = partials[i].sum;
          w.partial_seen_[(size_t)(at + i)] = seen[i];
        }
      }
    });
    team.for_each((int64_t)w.tasks_.size(), 1, [&](int64_t first, int64_t end) {
      for (int64_t t = first; t < end; t++) merge_chunks(w.tasks_[(size_t)t]);
    });
  }

  void merge_chunks(const Task& task) {
    float values[MAX_HEAD_WIDTH];
    poison(values, MAX_HEAD_WIDTH);
    for (int64_t i = 0; i < task.count; i++) {
      Partial total = {0, 0, values};
      bool empty = true;
      for (int64_t chunk = 0; chunk < task.end_chunk - task.first_chunk; chunk++) {
        const int64_t at = task.first_partial + chunk * task.count + i;
        if (!w.partial_seen_[(size_t)at]) continue;
        const Partial next = {w.partial_largest_[(size_t)at], w.partial_sums_[(size_t)at],
                              &w.partial_values_[(size_t)(at * layer.head_width)]};
        k.merge(total, next, (int)layer.head_width, empty);
        empty = false;
      }
      finish_row(task, i, total, empty);
    }
  }

  // Many tasks (prompts): each goes through its chunks alone.
  void attend_by_tasks(Team& team) {
    team.for_each((int64_t)w.tasks_.size(), 1, [&](int64_t first, int64_t end) {
      for (int64_t t = first; t < end; t++) attend_task(w.tasks_[(size_t)t]);
    });
  }

  void attend_task(const Task& task) {
    float values[2][MAX_QUERIES][MAX_HEAD_WIDTH];
    poison(values[0][0], 2 * MAX_QUERIES * MAX_HEAD_WIDTH);
    Partial totals[MAX_QUERIES], partials[MAX_QUERIES];
    bool seen[MAX_QUERIES], empty[MAX_QUERIES];
    for (int64_t i = 0; i < task.count; i++) {
      totals[i] = {0, 0, values[0][i]};
      partials[i].values = values[1][i];
      empty[i] = true;
    }
    for (int64_t chunk = task.first_chunk; chunk < task.end_chunk; chunk++) {
      attend_chunk(task, chunk, partials, seen);
      for (int64_t i = 0; i < task.count; i++) {
        if (!seen[i]) continue;
        k.merge(totals[i], partials[i], (int)layer.head_width, empty[i]);
        empty[i] = false;
      }
    }
    for (int64_t i = 0; i < task.count; i++) finish_row(task, i, totals[i], empty[i]);
  }

  void attend(Team& team) {
    if (w.partial_rows_ > 0) attend_by_chunks(team);
    else attend_by_tasks(team);
  }

  void feed(Team& team) {
    const int64_t ffn = layer.gate.rows, piece = 8 * BLOCK, pieces = (ffn + piece - 1) / piece;
    w.widening_.run(team);
    team.for_each(rows * pieces, std::max<int64_t>(1, rows * pieces / (8 * team.size())), [&](int64_t first, int64_t end) {
      for (int64_t i = first; i < end; i++) {
        const int64_t r = i / pieces, column = i % pieces * piece, stop = std::min(ffn, column + piece);
        const float* gate = w.gates_.row(r) + column;
        k.gate(layer.gate_kind, gate, gate + ffn, w.fed_.row(r) + column, stop - column);
        w.fed_.quantize(r, column, stop);
      }
    });
    w.narrowing_.run(team);
  }
};

// Cuts the batch's queries into tasks, and decides whether their chunks run side by side.
void Workspace::plan(const Layer& layer, const std::vector<Segment>& segments) {
  const int64_t group = layer.heads / layer.kv_heads;
  tasks_.clear();
  num_chunks_ = partial_rows_ = 0;
  for (const Segment& s : segments)
    for (int64_t kv_head = 0; kv_head < layer.kv_heads; kv_head++)
      for (int64_t first = 0; first < s.num_rows * group; first += MAX_QUERIES) {
        const int64_t count = std::min<int64_t>(MAX_QUERIES, s.num_rows * group - first);
        const int64_t oldest = s.start + first / group, newest = s.start + (first + count - 1) / group;
        const int64_t low = layer.window ? std::max<int64_t>(0, oldest + 1 - layer.window) : 0;
        tasks_.push_back({&s, kv_head, first, count, low / CHUNK, newest / CHUNK + 1, partial_rows_});
        num_chunks_ += tasks_.back().end_chunk - tasks_.back().first_chunk;
        partial_rows_ += (tasks_.back().end_chunk - tasks_.back().first_chunk) * count;
      }
  const int64_t num_tasks = (int64_t)tasks_.size();
  if (num_tasks >= 4 * pool().size() || num_chunks_ == num_tasks) {
    partial_rows_ = 0;
    return;
  }
  if ((int64_t)partial_sums_.size() >= partial_rows_ && (int64_t)partial_values_.size() >= partial_rows_ * layer.head_width) return;
  partial_values_.resize((size_t)(partial_rows_ * layer.head_width));
  partial_sums_.resize((size_t)partial_rows_);
  partial_largest_.resize((size_t)partial_rows_);
  partial_seen_.resize((size_t)partial_rows_);
}

// The layer's products in this batch: the base's for all rows, and the adapters' for runs of rows that share one.
void Workspace::plan_products(const Layer& layer, int64_t index, const std::vector<Segment>& segments) {
  const int64_t width = layer.out.rows, ffn = layer.gate.rows, key_at = layer.heads * layer.head_width;
  const int64_t value_at = key_at + layer.kv_heads * layer.head_width, qkv_width = value_at + layer.kv_heads * layer.head_width;
  for (AdaptedProducts* each : {&opening_, &closing_, &widening_, &narrowing_}) each->begin();
  opening_.add({input_.view(), &layer.q, qkv_.x(), qkv_width});
  opening_.add({input_.view(), &layer.k, qkv_.x() + key_at, qkv_width});
  opening_.add({input_.view(), &layer.v, qkv_.x() + value_at, qkv_width});
  closing_.add({attended_.view(), &layer.out, output_.x(), width});
  if (ffn) {
    widening_.add({input_.view(), &layer.gate, gates_.x(), 2 * ffn});
    widening_.add({input_.view(), &layer.up, gates_.x() + ffn, 2 * ffn});
    narrowing_.add({fed_.view(), &layer.down, output_.x(), width});
  }
  for (size_t s = 0, next = 0; s < segments.size(); s = next) {
    const int64_t row = segments[s].first_row;
    int64_t rows = 0;
    for (; next < segments.size() && segments[next].adapter == segments[s].adapter; next++) rows += segments[next].num_rows;
    if (!segments[s].adapter) continue;
    const LayerAdapter& adapter = segments[s].adapter[index];
    const Activations input = input_.view(row, rows);
    opening_.add(adapter.q, input, qkv_.row(row), qkv_width);
    opening_.add(adapter.k, input, qkv_.row(row) + key_at, qkv_width);
    opening_.add(adapter.v, input, qkv_.row(row) + value_at, qkv_width);
    closing_.add(adapter.out, attended_.view(row, rows), output_.row(row), width);
    if (!ffn) continue;
    widening_.add(adapter.gate, input, gates_.row(row), 2 * ffn);
    widening_.add(adapter.up, input, gates_.row(row) + ffn, 2 * ffn);
    narrowing_.add(adapter.down, fed_.view(row, rows), output_.row(row), width);
  }
  for (AdaptedProducts* each : {&opening_, &closing_, &widening_, &narrowing_}) each->end();
}

void Workspace::run_layer(const Layer& layer, int64_t index, float* x, int64_t rows, const std::vector<Segment>& segments,
                          bool int8_cache, const float* cos, const float* sin) {
  const int64_t width = layer.out.rows;
  input_.reshape(rows, width);
  qkv_.reshape(rows, (layer.heads + 2 * layer.kv_heads) * layer.head_width);
  attended_.reshape(rows, layer.heads * layer.head_width);
  gates_.reshape(rows, 2 * layer.gate.rows);
  fed_.reshape(rows, layer.gate.rows);
  output_.reshape(rows, width);
  plan(layer, segments);
  poison(partial_values_.data(), (int64_t)partial_values_.size());
  plan_products(layer, index, segments);
  Step step{layer, *this, index, rows, width, x, int8_cache, cos, sin, segments};
  pool().run([&](Team& team) { step.run(team); });
}

}  // namespace vortex
