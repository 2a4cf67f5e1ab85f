#include "multiply.h"

#include <algorithm>

#include "dispatch.h"

namespace vortex {
namespace {

constexpr int64_t MIN_PANEL_ROWS = 6;  // from here on unpacking for all rows is cheaper than for each group of rows
constexpr int64_t MANY_ROWS = 32;      // from here on the activations, not the weights, are what caches must hold

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

void multiply_tiles(const Activations& a, const Output& out, int64_t first, int64_t end, int64_t first_row, int64_t end_row) {
  const Matrix& m = *out.matrix;
  const Kernels& k = kernels();
  const uint8_t* tiles = packed_tiles(m, first, end);
  const int64_t size = tile_bytes(m.format, m.columns), rows = std::min((end - first) * TILE, m.rows - first * TILE);
  float* y = out.y + first * TILE;
  if (end - first > 1) {
    k.panel(m.format, tiles, size, (int)(end - first), a, first_row, end_row, y, out.y_stride, (int)(rows - (end - first - 1) * TILE));
  } else {
    k.product(m.format, tiles, a, first_row, end_row, y, out.y_stride, (int)rows);
  }
  if (!m.bias) return;
  for (int64_t r = first_row; r < end_row; r++)
    for (int64_t i = 0; i < rows; i++) y[r * out.y_stride + i] += m.bias[first * TILE + i];
}

// Outputs cut into groups of tiles that are multiplied together: as many as caches allow and every thread has work.
// The result does not depend on it.
struct Groups {
  int64_t rows, together;

  Groups(const Output* outputs, int count, int64_t rows, int threads) : rows(rows) {
    int64_t tiles = 0;
    for (int i = 0; i < count; i++) tiles += num_tiles(outputs[i].matrix->rows);
    together = rows < MANY_ROWS ? 2 : std::clamp<int64_t>(tiles / (4 * threads) / 2 * 2, 2, MAX_TILES_TOGETHER);
  }
  int64_t size(const Matrix& m) const { return kernels().panel && !is_float(m.format) && rows >= MIN_PANEL_ROWS ? together : 1; }
  int64_t count(const Matrix& m) const { return (num_tiles(m.rows) + size(m) - 1) / size(m); }
};

}  // namespace

void multiply(Team& team, const Activations& a, const Output* outputs, int count) {
  const Groups cut(outputs, count, a.rows, team.size());
  int64_t groups = 0;
  for (int i = 0; i < count; i++) groups += cut.count(*outputs[i].matrix);
  const int64_t row_pieces = (a.rows + PANEL_MAX_ROWS - 1) / PANEL_MAX_ROWS;
  const int64_t piece = std::max<int64_t>(1, groups / (team.size() * 8));
  team.for_each(groups * row_pieces, piece, [&](int64_t first, int64_t end) {
    for (int64_t item = first; item < end; item++) {
      const int64_t row = item / groups * PANEL_MAX_ROWS;
      int64_t group = item % groups;
      const Output* out = outputs;
      for (; group >= cut.count(*out->matrix); out++) group -= cut.count(*out->matrix);
      const int64_t tile = group * cut.size(*out->matrix);
      multiply_tiles(a, *out, tile, std::min(tile + cut.size(*out->matrix), num_tiles(out->matrix->rows)), row, std::min(a.rows, row + PANEL_MAX_ROWS));
    }
  });
}

void Rows::reshape(int64_t rows, int64_t columns) {
  const int64_t blocks = rows * ((columns + BLOCK - 1) / BLOCK);
  if ((int64_t)x_.size() < rows * columns) x_.resize((size_t)(rows * columns));
  if ((int64_t)blocks_.size() < blocks) blocks_.resize((size_t)blocks);
  view_ = {rows, columns, x_.data(), blocks_.data()};
}

void Rows::quantize(int64_t row, int64_t first, int64_t end) {
  if (view_.columns % BLOCK == 0) kernels().quantize(view_, row, first / BLOCK, (end + BLOCK - 1) / BLOCK);
}

}  // namespace vortex
