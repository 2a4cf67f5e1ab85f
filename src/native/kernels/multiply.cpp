#include "kernels/multiply.h"

#include <algorithm>

#include "isa/dispatch.h"

namespace vortex {
namespace {

constexpr int64_t FEW_TILES = 4;   // together: their memory is fetched far enough ahead, and small matrices stay divisible
constexpr int64_t MANY_ROWS = 32;  // from here on the activations, not the weights, are what caches must hold

// Tiles of a matrix as the kernels want them; GGUF rows are packed into memory of this thread.
const uint8_t* packed_tiles(const Matrix& m, int64_t first, int64_t end) {
  const int64_t size = tile_bytes(m.format, m.columns);
  if (m.packed) return m.data + first * size;
  thread_local std::vector<uint8_t> scratch;
  scratch.resize((size_t)((end - first) * size));
  for (int64_t t = first; t < end; t++)
    pack_tile(m.format, m.data + t * TILE * gguf_row_bytes(m.format, m.columns), (int)std::min<int64_t>(TILE, m.rows - t * TILE),
              m.columns, scratch.data() + (t - first) * size);
  return scratch.data();
}

void multiply_tiles(const Product& p, int64_t first, int64_t end, int64_t first_row, int64_t end_row) {
  const Matrix& m = *p.matrix;
  const Kernels& k = kernels();
  const uint8_t* tiles = packed_tiles(m, first, end);
  const int64_t size = tile_bytes(m.format, m.columns), rows = std::min((end - first) * TILE, m.rows - first * TILE);
  float* y = p.y + first * TILE;
  if (k.panel && !is_float(m.format)) {
    k.panel(m.format, tiles, size, (int)(end - first), p.a, first_row, end_row, y, p.y_stride, (int)(rows - (end - first - 1) * TILE));
  } else {
    k.product(m.format, tiles, p.a, first_row, end_row, y, p.y_stride, (int)rows);
  }
  if (!m.bias) return;
  for (int64_t r = first_row; r < end_row; r++)
    for (int64_t i = 0; i < rows; i++) y[r * p.y_stride + i] += m.bias[first * TILE + i];
}

// A product cut into groups of tiles that are multiplied together, as many as caches allow and every thread has work,
// by at most PANEL_MAX_ROWS rows of activations. The result does not depend on it.
struct Cut {
  int64_t together, groups, pieces;

  Cut(const Product& p, int64_t all_tiles, int threads) {
    const int64_t most = p.a.rows < MANY_ROWS ? FEW_TILES : MAX_TILES_TOGETHER;
    together = kernels().panel && !is_float(p.matrix->format) ? std::clamp<int64_t>(all_tiles / (4 * threads) / 2 * 2, 2, most) : 1;
    groups = (num_tiles(p.matrix->rows) + together - 1) / together;
    pieces = groups * ((p.a.rows + PANEL_MAX_ROWS - 1) / PANEL_MAX_ROWS);
  }
};

}  // namespace

void multiply(Team& team, const Product* products, int64_t count) {
  int64_t all_tiles = 0, pieces = 0;
  for (int64_t i = 0; i < count; i++) all_tiles += num_tiles(products[i].matrix->rows);
  for (int64_t i = 0; i < count; i++) pieces += Cut(products[i], all_tiles, team.size()).pieces;
  team.for_each(pieces, std::max<int64_t>(1, pieces / (team.size() * 32)), [&](int64_t first, int64_t end) {
    const Product* p = products;
    Cut cut(*p, all_tiles, team.size());
    for (int64_t item = first, skipped = 0; item < end; item++) {
      for (; item - skipped >= cut.pieces; cut = Cut(*++p, all_tiles, team.size())) skipped += cut.pieces;
      const int64_t row = (item - skipped) / cut.groups * PANEL_MAX_ROWS, tile = (item - skipped) % cut.groups * cut.together;
      multiply_tiles(*p, tile, std::min(tile + cut.together, num_tiles(p->matrix->rows)), row, std::min(p->a.rows, row + PANEL_MAX_ROWS));
    }
  });
}

void Rows::reshape(int64_t rows, int64_t columns) {
  if ((int64_t)x_.size() < rows * columns) x_.resize((size_t)(rows * columns));
  poison(x_.data(), rows * columns);
  borrow(x_.data(), rows, columns);
}

void Rows::borrow(const float* x, int64_t rows, int64_t columns) {
  const int64_t blocks = rows * ((columns + BLOCK - 1) / BLOCK);
  if ((int64_t)blocks_.size() < blocks) blocks_.resize((size_t)blocks);
  view_ = {rows, columns, x, blocks_.data()};
}

void Rows::quantize(int64_t row, int64_t first, int64_t end) {
  if (view_.columns % BLOCK == 0) kernels().quantize(view_, row, first / BLOCK, (end + BLOCK - 1) / BLOCK);
}

}  // namespace vortex
