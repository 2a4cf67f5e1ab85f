// Who computes which tile: products of activations with whole matrices, shared out over a team.
#pragma once
#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/pool.h"

namespace vortex {

// y = x * matrix^T + bias; y: [activation rows][y_stride], float.
struct Product {
  Activations a;
  const Matrix* matrix;
  float* y;
  int64_t y_stride;
};

// Several products side by side. All members of the team call it; all see the results afterwards.
void multiply(Team& team, const Product* products, int64_t count);

// Under the sanitizers a buffer that is to be written first is filled with NaN: what is read unwritten shows.
inline void poison([[maybe_unused]] float* x, [[maybe_unused]] int64_t n) {
#ifdef VORTEX_POISON
  std::fill(x, x + n, std::numeric_limits<float>::quiet_NaN());
#endif
}

// A growing set of rows with room for their int8 form.
class Rows {
 public:
  void reshape(int64_t rows, int64_t columns);
  void borrow(const float* x, int64_t rows, int64_t columns);  // someone else's rows, only to be quantised
  Activations view() const { return view_; }
  Activations view(int64_t first_row, int64_t num_rows) const {
    return {num_rows, view_.columns, view_.x + first_row * view_.columns, view_.blocks + first_row * (view_.columns / BLOCK)};
  }
  float* x() { return x_.data(); }
  float* row(int64_t r) { return x_.data() + r * view_.columns; }
  // Quantises columns [first, end) of a row, whole blocks of 32.
  void quantize(int64_t row, int64_t first, int64_t end);
  void quantize(int64_t row) { quantize(row, 0, view_.columns); }

 private:
  std::vector<float> x_;
  std::vector<QuantizedBlock> blocks_;
  Activations view_{};
};

}  // namespace vortex
