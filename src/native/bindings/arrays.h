// What the binding files share: array types and the matrix as Python holds it.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

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

// Every whole number of Python's that becomes a size or a count here: within [least, most], and within T.
constexpr int64_t MAX_SIZE = int64_t{1} << 20;  // of one dimension: products of three stay far below 2^63

template <class T = int64_t>
T whole_of(const nb::handle& value, const char* name, int64_t least = 0, int64_t most = MAX_SIZE) {
  static_assert(std::numeric_limits<T>::is_integer);
  int64_t number = 0;
  const bool fits = nb::try_cast<int64_t>(value, number) && number >= least && number <= most;
  if (!fits || number < (int64_t)std::numeric_limits<T>::min() || (uint64_t)number > (uint64_t)std::numeric_limits<T>::max())
    throw std::invalid_argument(std::string(name) + " is outside [" + std::to_string(least) + ", " + std::to_string(most) + "]");
  return (T)number;
}

inline Format format_of(int number) {
  require(number >= 0 && number < NUM_FORMATS, "no such weight format");
  return (Format)number;
}

inline GateKind gate_of(int number, float limit) {
  require(number >= 0 && number < NUM_GATES, "no such gate");
  return {(Gate)number, limit};
}

// Whether `size` bytes are rows x columns of the format. By division: what a file says of rows and columns may not wrap.
inline void check_bytes(Format format, int64_t size, int64_t rows, int64_t columns, bool packed) {
  require(rows > 0 && rows <= std::numeric_limits<int64_t>::max() - TILE, "the bytes do not fit rows and columns");  // before they are rounded up
  require(columns > 0 && columns <= 8 * size && columns % column_multiple(format) == 0, "columns are no multiple of the format's block");
  const int64_t each = packed ? tile_bytes(format, columns) : gguf_row_bytes(format, columns), pieces = packed ? num_tiles(rows) : rows;
  require(size % each == 0 && size / each == pieces, "the bytes do not fit rows and columns");
}

// A matrix keeps the arrays it looks into alive.
struct PyMatrix {
  Matrix matrix;
  Bytes data;

  PyMatrix(int format, Bytes bytes, int64_t rows, int64_t columns, bool packed) : data(bytes) {
    matrix = {format_of(format), bytes.data(), rows, columns, packed, nullptr};
    check_bytes(matrix.format, (int64_t)bytes.size(), rows, columns, packed);
  }
};

// The matrix `name` with its bias, if there is one; both must outlive the result.
Matrix matrix_of(const nb::dict& matrices, const nb::dict& biases, const char* name);

void register_adapters(nb::module_& module);  // before the layers, whose arguments they are
void register_layers(nb::module_& module);
void register_core(nb::module_& module);
void register_stack(nb::module_& module);

}  // namespace vortex
