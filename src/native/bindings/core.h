// A core's layer as Python holds it.
#pragma once
#include "bindings/arrays.h"
#include "steps/core_layer.h"

namespace vortex {

using Floats = nb::ndarray<float, nb::c_contig, nb::device::cpu>;  // of any shape

struct PyCoreLayer {
  CoreLayer layer{};
  nb::object kept;  // the vectors

  PyCoreLayer(nb::dict shape, nb::dict vectors);
};

// A layer's matrices in the order of a sweep; they must outlive the result.
CoreMatrices core_matrices(const CoreLayer& layer, const std::vector<const PyMatrix*>& matrices);

}  // namespace vortex
