// Who computes which tile: products of activations with whole matrices, shared out over a team.
#pragma once
#include <vector>

#include "kernels.h"
#include "pool.h"

namespace vortex {

// One matrix of several that meet the same activations; y: [activation rows][y_stride], float.
struct Output {
  const Matrix* matrix;
  float* y;
  int64_t y_stride;
};

// y = x * matrix^T + bias for every output. All members of the team call it; all see the result afterwards.
void multiply(Team& team, const Activations& a, const Output* outputs, int count);

// A growing set of rows with room for their int8 form.
class Rows {
 public:
  void reshape(int64_t rows, int64_t columns);
  Activations view() const { return view_; }
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
