#include "steps/low_rank.h"

#include <algorithm>

#include "isa/dispatch.h"

namespace vortex {
namespace {

constexpr int64_t TILES = 8, ROWS = 32;  // of a piece of work

}  // namespace

void AdaptedProducts::add(const LowRank& part, const Activations& input, float* y, int64_t y_stride) {
  if (!part.a.rows) return;
  const int64_t groups = (num_tiles(part.b.rows) + TILES - 1) / TILES, panels = (input.rows + ROWS - 1) / ROWS;
  additions_.push_back({&part, input.rows, num_inner_, y, y_stride, groups * panels});
  products_.push_back({input, &part.a, nullptr, part.a.rows});
  num_inner_ += input.rows * part.a.rows;
}

void AdaptedProducts::end() {
  if ((int64_t)inner_.size() < num_inner_) inner_.resize((size_t)num_inner_);
  pieces_ = 0;
  for (size_t i = 0; i < additions_.size(); i++) {
    products_[i].y = inner_.data() + additions_[i].first_inner;
    pieces_ += additions_[i].pieces;
  }
  products_.insert(products_.end(), base_.begin(), base_.end());
}

void AdaptedProducts::run(Team& team) const {
  multiply(team, products_.data(), (int64_t)products_.size());
  if (additions_.empty()) return;
  const Kernels& k = kernels();
  team.for_each(pieces_, std::max<int64_t>(1, pieces_ / (8 * team.size())), [&](int64_t first, int64_t end) {
    const Addition* each = additions_.data();
    int64_t skipped = 0;
    for (int64_t item = first; item < end; item++) {
      for (; item - skipped >= each->pieces; each++) skipped += each->pieces;
      const Matrix &b = each->part->b;
      const int64_t groups = (num_tiles(b.rows) + TILES - 1) / TILES, rank = each->part->a.rows;
      const int64_t row = (item - skipped) / groups * ROWS, rows = std::min(ROWS, each->rows - row);
      const int64_t tile = (item - skipped) % groups * TILES, stop = std::min(tile + TILES, num_tiles(b.rows));
      const float* t = inner_.data() + each->first_inner + row * rank;
      k.add_low_rank(b.format, b.data + tile * tile_bytes(b.format, rank), stop - tile, t, rank, each->part->scale, rows,
                     each->y + row * each->y_stride + tile * TILE, each->y_stride, (int)std::min<int64_t>(TILE, b.rows - (stop - 1) * TILE));
    }
  });
}

}  // namespace vortex
