#include "steps/lava.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "isa/dispatch.h"

namespace vortex {
namespace {

float random_rank(int64_t position) {  // vblocks/lava_options.py
  return (float)((double)(((uint64_t)position * 2654435761u + 12345u) & 0xFFFFFFFFu) / 4294967296.0);
}

}  // namespace

LavaRows::LavaRows(const CoreLayer& layer, CoreWorkspace& workspace, int64_t rows, std::vector<CoreSpan>& spans, const float* projected)
    : layer_(layer), lava_(layer.lava), w_(workspace), rows_(rows), spans_(spans), projected_(projected),
      share_stride_((layer.lava.heads ? layer.lava.slots + 15 : 0) / 16 * 16) {
  if (!lava_.heads) return;
  for (int64_t i = 0; i < (int64_t)spans.size(); i++) {
    const CoreSpan& s = spans[(size_t)i];
    for (int64_t round = 0, done = 0; done < s.num_rows; round++) {
      const int64_t left = lava_.write_every - (s.lava.position + done) % lava_.write_every, count = std::min(left, s.num_rows - done);
      if (round == (int64_t)rounds_.size()) rounds_.emplace_back();
      std::vector<Part>& parts = rounds_[(size_t)round];
      const int64_t first_share = parts.empty() ? 0 : parts.back().first_share + parts.back().num_rows;
      parts.push_back({i, s.first_row + done, count, first_share});
      done += count;
    }
  }
  int64_t most = 0;
  for (const auto& parts : rounds_) most = std::max(most, parts.back().first_share + parts.back().num_rows);
  const size_t mixed = (size_t)(rows * lava_.mixed()), room = (size_t)(most * lava_.heads * share_stride_);
  if (w_.lava_mixed_.size() < mixed) w_.lava_mixed_.resize(mixed);
  if (w_.lava_shares_.size() < room) w_.lava_shares_.resize(room);
}

float* LavaRows::row(int64_t r) { return &w_.lava_mixed_[(size_t)(r * lava_.mixed())]; }

float* LavaRows::shares(const Part& part, int64_t place, int64_t head) {
  return &w_.lava_shares_[(size_t)(((part.first_share + place) * lava_.heads + head) * share_stride_)];
}

void LavaRows::run(Team& team) {
  team.for_each(rows_, std::max<int64_t>(1, rows_ / (4 * team.size())), [&](int64_t first, int64_t end) {
    for (int64_t r = first; r < end; r++) mix(r);
  });
  for (const std::vector<Part>& parts : rounds_) {
    const int64_t num_rows = parts.back().first_share + parts.back().num_rows;
    team.for_each(num_rows * lava_.heads, 1, [&](int64_t first, int64_t end) {
      const Part* part = parts.data();
      for (int64_t i = first; i < end; i++) {
        while (i / lava_.heads >= part->first_share + part->num_rows) part++;
        read(*part, i / lava_.heads - part->first_share, i % lava_.heads);
      }
    });
    team.for_each((int64_t)parts.size(), 1, [&](int64_t first, int64_t end) {
      for (int64_t i = first; i < end; i++) settle(parts[(size_t)i]);
    });
  }
  team.for_each((int64_t)spans_.size(), 1, [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; i++) {
      const CoreSpan& s = spans_[(size_t)i];
      keep_tail(s.lava.tail, lava_.mixed(), projected_ + s.first_row * lava_.projected(), lava_.projected(), s.num_rows, lava_.taps,
                s.lava.next_tail);
    }
  });
}

// The convolution of a row, and unit queries and keys.
void LavaRows::mix(int64_t r) {
  const Kernels& k = kernels();
  const CoreSpan* s = spans_.data();
  while (r >= s->first_row + s->num_rows) s++;
  const int64_t mixed = lava_.mixed(), stride = lava_.projected();
  const float* taps[MAX_TAPS];
  taps_of(s->lava.tail, mixed, projected_ + s->first_row * stride, stride, r - s->first_row, lava_.taps, taps);
  k.convolve(taps, lava_.conv, mixed, lava_.taps, mixed, row(r));
  for (int64_t i = 0; i < 2 * lava_.heads; i++) k.unit(row(r) + i * lava_.key_dim, lava_.key_dim);
}

void LavaRows::read(const Part& part, int64_t place, int64_t head) {
  const LavaState& s = spans_[(size_t)part.span].lava;
  const int64_t keys = lava_.key_dim, values = lava_.value_dim, r = part.first_row + place;
  if ((s.position + place) % lava_.read_every) return;
  SlotRead read = {keys, values, lava_.slots, s.occupied, lava_.top_k, s.keys + head * keys * lava_.slots,
                   s.values + head * lava_.slots * values, s.strength, row(r) + head * keys, lava_.null_value + head * values,
                   lava_.gamma[head], lava_.null_logit[head], shares(part, place, head), w_.read_.row(r) + head * values};
  kernels().read_slots(read);
}

// In the order of time: reads are counted, pairs wait, and a whole chunk is written.
void LavaRows::settle(const Part& part) {
  LavaState& s = spans_[(size_t)part.span].lava;
  const int64_t heads = lava_.heads, keys = heads * lava_.key_dim, values = heads * lava_.value_dim;
  for (int64_t i = 0; i < part.num_rows; i++) {
    const int64_t r = part.first_row + i, place = s.position % lava_.write_every;
    float* read = w_.read_.row(r);
    if (s.position % lava_.read_every == 0) {
      memcpy(s.held, read, (size_t)values * sizeof(float));
      for (int64_t head = 1; head < heads; head++) kernels().add(shares(part, i, 0), shares(part, i, head), s.occupied);
      kernels().add_scaled(s.use, shares(part, i, 0), 1.0f / (float)heads, s.occupied);
    } else {
      memcpy(read, s.held, (size_t)values * sizeof(float));
    }
    memcpy(s.waiting_keys + place * keys, row(r) + keys, (size_t)keys * sizeof(float));
    memcpy(s.waiting_values + place * values, row(r) + 2 * keys, (size_t)values * sizeof(float));
    const double opening = (double)projected_[(r + 1) * lava_.projected() - 1] + lava_.write_bias;
    s.waiting_gate[place] = (float)(1 / (1 + std::exp(std::min(-opening, 80.0))));
    float surprise = 0;
    for (int64_t head = 0; head < layer_.heads; head++) surprise += w_.surprise_[(size_t)(r * layer_.heads + head)];
    s.waiting_surprise[place] = surprise / (float)layer_.heads;
    s.position++;
    if (place == lava_.write_every - 1) write_chunk(s);
  }
}

void LavaRows::write_chunk(LavaState& s) {
  const int64_t size = lava_.write_every, keys = lava_.heads * lava_.key_dim, values = lava_.heads * lava_.value_dim;
  thread_local std::vector<float> scores;
  thread_local std::vector<int64_t> order;
  scores.resize((size_t)size);
  order.resize((size_t)size);
  for (int64_t i = 0; i < size; i++)
    scores[(size_t)i] = lava_.rank == LavaRank::Random ? random_rank(s.position - size + i)
                        : lava_.rank == LavaRank::Gate ? s.waiting_gate[i]
                                                       : s.waiting_surprise[i] * s.waiting_gate[i];
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return scores[(size_t)a] > scores[(size_t)b]; });
  const int64_t count = std::min(lava_.writes, size);
  std::sort(order.begin(), order.begin() + count);
  for (int64_t n = 0; n < count; n++) {
    const int64_t i = order[(size_t)n];
    if (!lava_.on_surprise || s.waiting_surprise[i] * s.waiting_gate[i] > lava_.threshold)
      write(s, s.waiting_keys + i * keys, s.waiting_values + i * values, s.waiting_gate[i], (float)(s.position / size));
  }
}

// One pair: merged with the most similar slot, put into an empty one, or in place of the least worth.
void LavaRows::write(LavaState& s, const float* key, const float* value, float gate, float chunk) {
  const int64_t keys = lava_.key_dim, values = lava_.value_dim;
  float cosine = -2;
  int64_t slot = closest(s, key, cosine);
  const bool merges = s.occupied && cosine > lava_.merge_cosine;
  if (!merges) slot = s.occupied < lava_.slots ? s.occupied : least_worth(s, chunk);
  const float old = merges ? s.strength[slot] : 0, total = old + gate, share = merges ? old / total : 0;
  thread_local std::vector<float> mixed;
  mixed.resize((size_t)keys);
  for (int64_t head = 0; head < lava_.heads; head++) {
    float* slot_key = s.keys + head * keys * lava_.slots + slot;
    float* slot_value = s.values + (head * lava_.slots + slot) * values;
    for (int64_t i = 0; i < keys; i++)
      mixed[(size_t)i] = merges ? slot_key[i * lava_.slots] * share + key[head * keys + i] * (1 - share) : key[head * keys + i];
    if (merges) kernels().unit(mixed.data(), keys);
    for (int64_t i = 0; i < keys; i++) slot_key[i * lava_.slots] = mixed[(size_t)i];
    for (int64_t i = 0; i < values; i++)
      slot_value[i] = merges ? slot_value[i] * share + value[head * values + i] * (1 - share) : value[head * values + i];
  }
  if (!merges) s.use[slot] = 0;
  s.strength[slot] = total;
  s.touched[slot] = chunk;
  s.occupied = std::max(s.occupied, slot + 1);
}

int64_t LavaRows::closest(const LavaState& s, const float* key, float& cosine) const {
  thread_local std::vector<float> likeness;
  likeness.assign((size_t)lava_.slots, 0.0f);
  for (int64_t i = 0; i < lava_.heads * lava_.key_dim; i++) kernels().add_scaled(likeness.data(), s.keys + i * lava_.slots, key[i], s.occupied);
  const int64_t best = std::max_element(likeness.begin(), likeness.begin() + s.occupied) - likeness.begin();
  if (s.occupied) cosine = likeness[(size_t)best] / (float)lava_.heads;
  return best;
}

int64_t LavaRows::least_worth(const LavaState& s, float chunk) const {
  int64_t least = 0;
  float lowest = INFINITY;
  for (int64_t i = 0; i < lava_.slots; i++) {
    const float worth = (s.strength[i] + s.use[i]) * std::exp2(-(chunk - s.touched[i]) / lava_.half_life);
    if (worth < lowest) lowest = worth, least = i;
  }
  return least;
}

void LavaRows::finish_row(int64_t r) {
  float* read = w_.read_.row(r);
  kernels().gate({Gate::Silu, 0}, projected_ + r * lava_.projected() + lava_.mixed(), read, read, lava_.heads * lava_.value_dim);
  w_.read_.quantize(r);
}

}  // namespace vortex
