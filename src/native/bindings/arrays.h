// What the binding files share: array types and the matrix as Python holds it.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <stdexcept>

#include "kernels/kernels.h"

namespace vortex {

namespace nb = nanobind;

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using MutableBytes = nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Vector = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using MutableVector = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Table = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using MutableTable = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Ids = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

inline void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

inline Format format_of(int number) {
  require(number >= 0 && number < NUM_FORMATS, "no such weight format");
  return (Format)number;
}

inline GateKind gate_of(int number, float limit) {
  require(number >= 0 && number < NUM_GATES, "no such gate");
  return {(Gate)number, limit};
}

// A matrix keeps the arrays it looks into alive.
struct PyMatrix {
  Matrix matrix;
  Bytes data;

  PyMatrix(int format, Bytes bytes, int64_t rows, int64_t columns, bool packed) : data(bytes) {
    matrix = {format_of(format), bytes.data(), rows, columns, packed, nullptr};
    require(rows > 0 && columns > 0 && columns % column_multiple(matrix.format) == 0, "columns are no multiple of the format's block");
    const int64_t size = packed ? num_tiles(rows) * tile_bytes(matrix.format, columns) : rows * gguf_row_bytes(matrix.format, columns);
    require((int64_t)bytes.size() == size, "the bytes do not fit rows and columns");
  }
};

// The matrix `name` with its bias, if there is one; both must outlive the result.
Matrix matrix_of(const nb::dict& matrices, const nb::dict& biases, const char* name);

void register_adapters(nb::module_& module);  // before the layers, whose arguments they are
void register_layers(nb::module_& module);
void register_core(nb::module_& module);
void register_stack(nb::module_& module);

}  // namespace vortex
