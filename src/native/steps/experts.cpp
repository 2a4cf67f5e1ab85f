#include "steps/experts.h"

#include <algorithm>
#include <cstring>

#include "isa/dispatch.h"

namespace vortex {
namespace {

constexpr int64_t PIECE = 8 * BLOCK;  // columns that a thread takes at a time

// Row r of the job (an expert's row of the batch).
struct Pair {
  int64_t row;
  float share;
};

template <class F>
void by_pieces(Team& team, int64_t rows, int64_t columns, F f) {
  const int64_t pieces = (columns + PIECE - 1) / PIECE, n = rows * pieces;
  team.for_each(n, std::max<int64_t>(1, n / (8 * team.size())), [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; i++) f(i / pieces, i % pieces * PIECE, std::min(columns, (i % pieces + 1) * PIECE));
  });
}

}  // namespace

void ExpertWorkspace::run(const std::vector<RoutedRows>& routed, const float* x, int64_t width, float* out) {
  const Kernels& k = kernels();
  const int64_t ffn = routed.front().expert->gate.rows;
  std::vector<Pair> pairs;
  for (const RoutedRows& each : routed)
    for (size_t i = 0; i < each.rows.size(); i++) pairs.push_back({each.rows[i], each.shares[i]});
  const int64_t rows = (int64_t)pairs.size();
  input_.reshape(rows, width);
  gates_.reshape(rows, 2 * ffn);
  fed_.reshape(rows, ffn);
  output_.reshape(rows, width);
  std::vector<Product> opening, closing;
  int64_t first = 0;
  for (const RoutedRows& each : routed) {
    const int64_t count = (int64_t)each.rows.size();
    const Activations a = input_.view(first, count);
    opening.push_back({a, &each.expert->gate, gates_.row(first), 2 * ffn});
    opening.push_back({a, &each.expert->up, gates_.row(first) + ffn, 2 * ffn});
    closing.push_back({fed_.view(first, count), &each.expert->down, output_.row(first), width});
    first += count;
  }
  const GateKind kind = routed.front().expert->kind;
  pool().run([&](Team& team) {
    by_pieces(team, rows, width, [&](int64_t r, int64_t column, int64_t stop) {
      memcpy(input_.row(r) + column, x + pairs[(size_t)r].row * width + column, (size_t)(stop - column) * sizeof(float));
      input_.quantize(r, column, stop);
    });
    multiply(team, opening.data(), (int64_t)opening.size());
    by_pieces(team, rows, ffn, [&](int64_t r, int64_t column, int64_t stop) {
      const float* gate = gates_.row(r) + column;
      k.gate(kind, gate, gate + ffn, fed_.row(r) + column, stop - column);
      fed_.quantize(r, column, stop);
    });
    multiply(team, closing.data(), (int64_t)closing.size());
    by_pieces(team, 1, width, [&](int64_t, int64_t column, int64_t stop) {
      for (int64_t r = 0; r < rows; r++)
        k.add_scaled(out + pairs[(size_t)r].row * width + column, output_.row(r) + column, pairs[(size_t)r].share, stop - column);
    });
  });
}

}  // namespace vortex
