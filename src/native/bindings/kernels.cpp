// Python's view of the kernels: vortex.kernels.native checks what users can get wrong, here types and sizes are checked.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "bindings/arrays.h"
#include "isa/dispatch.h"
#include "kernels/multiply.h"

namespace nb = nanobind;
using namespace vortex;

namespace {

void product(const PyMatrix& m, Table x, MutableTable y) {
  require((int64_t)x.shape(1) == m.matrix.columns && (int64_t)y.shape(1) == m.matrix.rows && x.shape(0) == y.shape(0),
          "x [T, columns] and y [T, rows] do not fit the matrix");
  nb::gil_scoped_release released;
  thread_local Rows rows;
  Rows& shared = rows;
  shared.borrow(x.data(), (int64_t)x.shape(0), m.matrix.columns);
  const Product one = {shared.view(), &m.matrix, y.data(), m.matrix.rows};
  pool().run([&](Team& team) {
    team.for_each((int64_t)x.shape(0), 1, [&](int64_t first, int64_t end) {
      for (int64_t r = first; r < end; r++) shared.quantize(r);
    });
    multiply(team, &one, 1);
  });
}

void pack(int number, Bytes gguf, int64_t rows, int64_t columns, MutableBytes tiles) {
  const Format format = format_of(number);
  check_bytes(format, (int64_t)gguf.size(), rows, columns, false);
  check_bytes(format, (int64_t)tiles.size(), rows, columns, true);
  nb::gil_scoped_release released;
  pool().run([&](Team& team) {
    team.for_each(num_tiles(rows), 1, [&](int64_t first, int64_t end) {
      for (int64_t t = first; t < end; t++)
        pack_tile(format, gguf.data() + t * TILE * gguf_row_bytes(format, columns),
                  (int)std::min<int64_t>(TILE, rows - t * TILE), columns, tiles.data() + t * tile_bytes(format, columns));
    });
  });
}

// Every byte once, on all threads: what memory gives a program that does nothing else.
void read_all(Bytes data) {
  static volatile uint8_t keep;  // so that the compiler reads what nobody needs
  constexpr int64_t PIECE = 1 << 19;
  require(data.size() >= 256, "too few bytes to be timed");
  nb::gil_scoped_release released;
  const int64_t size = (int64_t)data.size(), pieces = std::max<int64_t>(1, size / PIECE);
  pool().run([&](Team& team) {
    team.for_each(pieces, 1, [&](int64_t first, int64_t end) {
      for (int64_t i = first; i < end; i++) keep = kernels().read(data.data() + i * PIECE, i + 1 < pieces ? PIECE : size - i * PIECE);
    });
  });
}

// Multiplications and additions of int8 in registers, on all threads; how many were done.
int64_t multiply_registers(int64_t rounds) {
  nb::gil_scoped_release released;
  std::atomic<int64_t> done{0};
  pool().run([&](Team& team) { team.for_each(team.size(), 1, [&](int64_t, int64_t) { done += kernels().dots(rounds); }); });
  return done;
}

// One tile of codec `bf16e3` (lossless.h), on the calling thread; the number of escapes that its codes ask for.
int64_t decode_bf16e3(Bytes rest, Bytes codes, int top, Bytes escapes, MutableBytes out) {
  const int64_t n = (int64_t)rest.size();
  require(n % 64 == 0 && (int64_t)codes.size() == n / 64 * 24 && (int64_t)out.size() == 2 * n, "planes of other lengths");
  require((uintptr_t)out.data() % 2 == 0, "bfloat16 at an odd address");
  nb::gil_scoped_release released;
  return kernels().decode_bf16e3(rest.data(), codes.data(), (uint8_t)top, escapes.data(), (int64_t)escapes.size(), n,
                                 (uint16_t*)out.data());
}

// Rows of a matrix as floats (an embedding's lookup), multiplied by `scale`.
void gather(const PyMatrix& m, Ids ids, float scale, MutableTable out) {
  require(out.shape(0) == ids.size() && (int64_t)out.shape(1) == m.matrix.columns, "out is not [ids, columns]");
  for (size_t i = 0; i < ids.size(); i++) require(ids(i) >= 0 && ids(i) < m.matrix.rows, "a row outside the matrix");
  nb::gil_scoped_release released;
  const int64_t columns = m.matrix.columns, size = tile_bytes(m.matrix.format, columns);
  std::vector<uint8_t> tile(m.matrix.packed ? 0 : (size_t)size);
  for (size_t i = 0; i < ids.size(); i++) {
    float* row = out.data() + (int64_t)i * columns;
    const uint8_t* source = m.matrix.data + ids(i) / TILE * size;
    if (!m.matrix.packed) {
      pack_tile(m.matrix.format, m.matrix.data + ids(i) * gguf_row_bytes(m.matrix.format, columns), 1, columns, tile.data());
      source = tile.data();
    }
    unpack_row(m.matrix.format, source, m.matrix.packed ? (int)(ids(i) % TILE) : 0, columns, row);
    if (scale != 1.0f) kernels().scale(row, scale, columns);
  }
}

void rms_norm(Table x, Vector weight, float epsilon, MutableTable y) {
  require(x.shape(0) == y.shape(0) && x.shape(1) == y.shape(1) && x.shape(1) == weight.size(), "shapes differ");
  for (size_t r = 0; r < x.shape(0); r++)
    kernels().rms_norm(x.data() + r * x.shape(1), weight.data(), epsilon, (int64_t)x.shape(1), y.data() + r * x.shape(1));
}

}  // namespace

void register_kernels(nb::module_& module) {
  module.def("available", &available_kernels);
  module.def("use", &use_kernels);
  module.def("current", [] { return std::string(kernels().name); });
  module.def("set_threads", [](int n) {
    require(n >= 1 && n <= 256, "threads: 1 to 256");
    nb::gil_scoped_release released;
    set_num_threads(n);
  });
  module.def("threads", &num_threads);  // 0: not set yet
  module.def("tile_bytes", [](int format, int64_t rows, int64_t columns) { return num_tiles(rows) * tile_bytes(format_of(format), columns); });
  module.def("gguf_bytes", [](int format, int64_t rows, int64_t columns) { return rows * gguf_row_bytes(format_of(format), columns); });
  module.def("pack", &pack);
  module.def("product", &product);
  module.def("read_all", &read_all);
  module.def("decode_bf16e3", &decode_bf16e3);
  module.def("multiply_registers", &multiply_registers);
  module.def("gather", &gather);
  module.def("rms_norm", &rms_norm);
  nb::class_<PyMatrix>(module, "Matrix").def(nb::init<int, Bytes, int64_t, int64_t, bool>());
  register_adapters(module);
  register_layers(module);
  register_core(module);
  register_stack(module);
}
