// Python's view of the kernels: vortex.kernels.native checks what users can get wrong, here types and sizes are checked.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <stdexcept>

#include "dispatch.h"
#include "layer.h"

namespace nb = nanobind;
using namespace vortex;

namespace {

using Bytes = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using MutableBytes = nb::ndarray<uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Vector = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using MutableVector = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Table = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using MutableTable = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Ids = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

Format format_of(int number) {
  require(number >= 0 && number < NUM_FORMATS, "no such weight format");
  return (Format)number;
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

void product(const PyMatrix& m, Table x, MutableTable y) {
  require((int64_t)x.shape(1) == m.matrix.columns && (int64_t)y.shape(1) == m.matrix.rows && x.shape(0) == y.shape(0),
          "x [T, columns] and y [T, rows] do not fit the matrix");
  nb::gil_scoped_release released;
  thread_local Rows rows;
  Rows& shared = rows;
  shared.reshape((int64_t)x.shape(0), m.matrix.columns);
  std::copy(x.data(), x.data() + x.size(), shared.x());
  const Output out = {&m.matrix, y.data(), m.matrix.rows};
  pool().run([&](Team& team) {
    team.for_each((int64_t)x.shape(0), 1, [&](int64_t first, int64_t end) {
      for (int64_t r = first; r < end; r++) shared.quantize(r);
    });
    multiply(team, shared.view(), &out, 1);
  });
}

void pack(int number, Bytes gguf, int64_t rows, int64_t columns, MutableBytes tiles) {
  const Format format = format_of(number);
  require(columns > 0 && columns % column_multiple(format) == 0, "columns are no multiple of the format's block");
  require((int64_t)gguf.size() == rows * gguf_row_bytes(format, columns), "the bytes do not fit rows and columns");
  require((int64_t)tiles.size() == num_tiles(rows) * tile_bytes(format, columns), "the tiles do not fit rows and columns");
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
volatile uint64_t keep_alive;  // so that the compiler reads what nobody needs
void read_all(Bytes data) {
  nb::gil_scoped_release released;
  std::atomic<uint64_t> seen{0};
  pool().run([&](Team& team) {
    team.for_each((int64_t)data.size() / 8, 1 << 17, [&](int64_t first, int64_t end) {
      uint64_t sums[8] = {};
      const uint8_t* p = data.data();
      for (int64_t i = first; i + 8 <= end; i += 8)
        for (int j = 0; j < 8; j++) {
          uint64_t word;
          std::memcpy(&word, p + 8 * (i + j), 8);
          sums[j] |= word;
        }
      for (uint64_t sum : sums) seen |= sum;
    });
  });
  keep_alive = seen;
}

// Multiplications and additions of int8 in registers, on all threads; how many were done.
int64_t multiply_registers(int64_t rounds) {
  nb::gil_scoped_release released;
  std::atomic<int64_t> done{0};
  pool().run([&](Team& team) { team.for_each(team.size(), 1, [&](int64_t, int64_t) { done += kernels().dots(rounds); }); });
  return done;
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

// The gate of an MLP: act(gate) * up, into gate.
void apply_gate(bool gelu, MutableTable gate, Table up) {
  require(gate.shape(0) == up.shape(0) && gate.shape(1) == up.shape(1), "shapes differ");
  const int64_t n = (int64_t)gate.shape(1);
  for (int64_t r = 0; r < (int64_t)gate.shape(0); r++)
    kernels().gate(gelu, gate.data() + r * n, up.data() + r * n, gate.data() + r * n, n);
}

struct PyLayer {
  Layer layer;
  nb::object kept;  // the matrices and norms

  PyLayer(nb::dict shape, nb::dict matrices, nb::dict norms, nb::dict biases)
      : kept(nb::make_tuple(matrices, norms, biases)) {
    const auto whole = [&](const char* name) { return nb::cast<int64_t>(shape[name]); };
    const auto matrix = [&](const char* name) {
      Matrix m = nb::cast<const PyMatrix&>(matrices[name]).matrix;
      if (!biases.contains(name)) return m;
      const auto bias = nb::cast<Vector>(biases[name], false);
      require((int64_t)bias.size() == m.rows, "a bias does not fit its matrix");
      m.bias = bias.data();
      return m;
    };
    const auto norm = [&](const char* name, int64_t size) -> const float* {
      if (!norms.contains(name)) return nullptr;
      const auto array = nb::cast<Vector>(norms[name], false);
      require((int64_t)array.size() == size, "a norm does not fit the width");
      return array.data();
    };
    layer.heads = whole("heads");
    layer.kv_heads = whole("kv_heads");
    layer.head_width = whole("head_width");
    layer.window = (int)whole("window");
    layer.epsilon = nb::cast<float>(shape["epsilon"]);
    layer.query_scale = nb::cast<float>(shape["query_scale"]);
    layer.gelu = nb::cast<bool>(shape["gelu"]);
    require(layer.kv_heads > 0 && layer.heads % layer.kv_heads == 0, "query heads are no multiple of key heads");
    require(layer.head_width % 16 == 0 && layer.head_width <= MAX_HEAD_WIDTH, "a head is a multiple of 16 wide, at most 512");
    layer.q = matrix("q");
    layer.k = matrix("k");
    layer.v = matrix("v");
    layer.out = matrix("attention_out");
    if (matrices.contains("gate")) {
      layer.gate = matrix("gate");
      layer.up = matrix("up");
      layer.down = matrix("down");
    }
    check();
    layer.attention_norm = norm("attention_norm", layer.out.rows);
    layer.ffn_norm = norm("ffn_norm", layer.out.rows);
    layer.post_attention_norm = norm("post_attention_norm", layer.out.rows);
    layer.post_ffn_norm = norm("post_ffn_norm", layer.out.rows);
    layer.q_norm = norm("q_norm", layer.head_width);
    layer.k_norm = norm("k_norm", layer.head_width);
    require(layer.attention_norm && layer.ffn_norm, "a layer needs attention_norm and ffn_norm");
  }

  void check() const {
    const int64_t width = layer.out.rows, ffn = layer.gate.rows, keys = layer.kv_heads * layer.head_width;
    for (const Matrix* m : {&layer.q, &layer.k, &layer.v, &layer.gate, &layer.up})
      require(m->columns == width || !m->rows, "a matrix does not fit the width");
    require(layer.q.rows == layer.heads * layer.head_width && layer.out.columns == layer.q.rows, "q and the output do not fit the heads");
    require(layer.k.rows == keys && layer.v.rows == keys, "k and v do not fit the key heads");
    require(!ffn || (layer.up.rows == ffn && layer.down.columns == ffn && layer.down.rows == width), "the MLP does not fit");
  }
};

// A batch on its way through the layers: its rows and the caches they belong to.
struct PySweep {
  MutableTable x;
  std::vector<Segment> segments;
  std::vector<nb::object> kept;
  bool int8_cache;

  PySweep(MutableTable rows, bool int8) : x(rows), int8_cache(int8) {}

  void add_segment(MutableBytes keys, MutableBytes values, std::optional<MutableVector> key_scale,
                   std::optional<MutableVector> value_scale, int64_t capacity, int64_t num_rows, int64_t start) {
    require(int8_cache == key_scale.has_value() && int8_cache == value_scale.has_value(), "int8 caches have scales, others none");
    require(num_rows > 0 && start >= 0 && start + num_rows <= capacity && capacity % 16 == 0, "rows beyond the cache");
    require(keys.size() == values.size(), "keys and values differ in size");
    const int64_t first = segments.empty() ? 0 : segments.back().first_row + segments.back().num_rows;
    require(first + num_rows <= (int64_t)x.shape(0), "more rows than x has");
    kept.push_back(nb::make_tuple(nb::cast(keys), nb::cast(values)));
    if (int8_cache) kept.push_back(nb::make_tuple(nb::cast(*key_scale), nb::cast(*value_scale)));
    segments.push_back({keys.data(), values.data(), key_scale ? key_scale->data() : nullptr,
                        value_scale ? value_scale->data() : nullptr, capacity, first, num_rows, start});
    cache_bytes = segments.size() == 1 ? (int64_t)keys.size() / capacity : std::min(cache_bytes, (int64_t)keys.size() / capacity);
  }

  void run(Workspace& workspace, const PyLayer& l, int64_t index, Table cos, Table sin) {
    const int64_t rows = (int64_t)x.shape(0), half = l.layer.head_width / 2;
    require(!segments.empty() && segments.back().first_row + segments.back().num_rows == rows, "segments do not cover x");
    require((int64_t)x.shape(1) == l.layer.out.rows, "x does not fit the layer");
    require((index + 1) * l.layer.kv_heads * l.layer.head_width * (int8_cache ? 1 : 2) <= cache_bytes, "the caches lack this layer");
    require((int64_t)cos.shape(0) == rows && (int64_t)cos.shape(1) == half && cos.size() == sin.size(), "angles are not [rows, head_width / 2]");
    nb::gil_scoped_release released;
    workspace.run_layer(l.layer, index, x.data(), rows, segments, int8_cache, cos.data(), sin.data());
  }

  int64_t cache_bytes = 0;  // per position, all layers
};

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
  module.def("multiply_registers", &multiply_registers);
  module.def("gather", &gather);
  module.def("rms_norm", &rms_norm);
  module.def("apply_gate", &apply_gate);
  nb::class_<PyMatrix>(module, "Matrix")
      .def(nb::init<int, Bytes, int64_t, int64_t, bool>());
  nb::class_<PyLayer>(module, "Layer").def(nb::init<nb::dict, nb::dict, nb::dict, nb::dict>());
  nb::class_<Workspace>(module, "Workspace").def(nb::init<>());
  nb::class_<PySweep>(module, "Sweep")
      .def(nb::init<MutableTable, bool>())
      .def("add_segment", &PySweep::add_segment, nb::arg("keys"), nb::arg("values"), nb::arg("key_scale").none(),
           nb::arg("value_scale").none(), nb::arg("capacity"), nb::arg("num_rows"), nb::arg("start"))
      .def("run", &PySweep::run);
}
