#include "multiply.h"

#include <algorithm>

#include "dispatch.h"

namespace vortex {
namespace {

constexpr int64_t ROWS_PER_PIECE = 128;  // activations that stay in a core's cache while tiles pass by

void multiply_tile(const Activations& a, const Output& out, int64_t tile, int64_t first_row, int64_t end_row) {
  const Matrix& m = *out.matrix;
  const int valid = (int)std::min<int64_t>(TILE, m.rows - tile * TILE);
  const uint8_t* data;
  if (m.packed) {
    data = m.data + tile * tile_bytes(m.format, m.columns);
  } else {
    thread_local std::vector<uint8_t> scratch;
    scratch.resize((size_t)tile_bytes(m.format, m.columns));
    pack_tile(m.format, m.data + tile * TILE * gguf_row_bytes(m.format, m.columns), valid, m.columns, scratch.data());
    data = scratch.data();
  }
  float* y = out.y + tile * TILE;
  kernels().product(m.format, data, a, first_row, end_row, y, out.y_stride, valid);
  if (!m.bias) return;
  for (int64_t r = first_row; r < end_row; r++)
    for (int i = 0; i < valid; i++) y[r * out.y_stride + i] += m.bias[tile * TILE + i];
}

}  // namespace

void multiply(Team& team, const Activations& a, const Output* outputs, int count) {
  int64_t tiles = 0;
  for (int i = 0; i < count; i++) tiles += num_tiles(outputs[i].matrix->rows);
  const int64_t row_pieces = (a.rows + ROWS_PER_PIECE - 1) / ROWS_PER_PIECE;
  const int64_t piece = std::max<int64_t>(1, tiles / (team.size() * 8));
  team.for_each(tiles * row_pieces, piece, [&](int64_t first, int64_t end) {
    for (int64_t item = first; item < end; item++) {
      const int64_t row = item / tiles * ROWS_PER_PIECE;
      int64_t tile = item % tiles;
      const Output* out = outputs;
      for (; tile >= num_tiles(out->matrix->rows); out++) tile -= num_tiles(out->matrix->rows);
      multiply_tile(a, *out, tile, row, std::min(a.rows, row + ROWS_PER_PIECE));
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
