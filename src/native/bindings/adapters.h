// An adapter as Python holds it: its parts in the core's tiles, layer by layer.
#pragma once
#include <vector>

#include "bindings/arrays.h"
#include "steps/low_rank.h"

namespace vortex {

struct PyAdapter {
  std::vector<LayerAdapter> layers;
  nb::object kept;  // the matrices

  // Per layer: {"q": (a, b, scale), ...} by the names of a layer's matrices; what is not named stays as it is.
  explicit PyAdapter(const std::vector<nb::dict>& parts);
};

// Throws where a part does not fit the matrix that it is added to.
void require_fit(const LowRank& part, const Matrix& matrix);

}  // namespace vortex
