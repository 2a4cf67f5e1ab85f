// Python's view of the fused steps: layers, batches on their way through them, experts.
#include "bindings/adapters.h"
#include "bindings/arrays.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "steps/experts.h"
#include "steps/layer.h"

namespace vortex {

Matrix matrix_of(const nb::dict& matrices, const nb::dict& biases, const char* name) {
  Matrix m = nb::cast<const PyMatrix&>(matrices[name]).matrix;
  if (!biases.contains(name)) return m;
  const auto bias = nb::cast<Vector>(biases[name], false);
  require((int64_t)bias.size() == m.rows, "a bias does not fit its matrix");
  m.bias = bias.data();
  return m;
}

namespace {

struct PyLayer {
  Layer layer;
  nb::object kept;  // the matrices and norms

  PyLayer(nb::dict shape, nb::dict matrices, nb::dict norms, nb::dict biases)
      : kept(nb::make_tuple(matrices, norms, biases)) {
    const auto matrix = [&](const char* name) { return matrix_of(matrices, biases, name); };
    const auto norm = [&](const char* name, int64_t size) -> const float* {
      if (!norms.contains(name)) return nullptr;
      const auto array = nb::cast<Vector>(norms[name], false);
      require((int64_t)array.size() == size, "a norm does not fit the width");
      return array.data();
    };
    layer.heads = whole_of(shape["heads"], "heads", 1);
    layer.kv_heads = whole_of(shape["kv_heads"], "kv_heads", 1);
    layer.head_width = whole_of(shape["head_width"], "head_width", 1, MAX_HEAD_WIDTH);
    layer.window = whole_of<int>(shape["window"], "window", 0, std::numeric_limits<int>::max());
    layer.epsilon = nb::cast<float>(shape["epsilon"]);
    layer.query_scale = nb::cast<float>(shape["query_scale"]);
    layer.gate_kind = gate_of(nb::cast<int>(shape["gate"]), nb::cast<float>(shape["swiglu_limit"]));
    require(layer.heads % layer.kv_heads == 0, "query heads are no multiple of key heads");
    require(layer.head_width % 16 == 0, "a head is a multiple of 16 wide, at most 512");
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
    layer.sinks = norm("sinks", layer.heads);
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
                   std::optional<MutableVector> value_scale, int64_t capacity, int64_t num_rows, int64_t start,
                   const PyAdapter* adapter) {
    require(int8_cache == key_scale.has_value() && int8_cache == value_scale.has_value(), "int8 caches have scales, others none");
    require(num_rows > 0 && start >= 0 && num_rows <= capacity && start <= capacity - num_rows && capacity % 16 == 0, "rows beyond the cache");
    require(keys.size() == values.size(), "keys and values differ in size");
    const int64_t first = segments.empty() ? 0 : segments.back().first_row + segments.back().num_rows;
    require(first + num_rows <= (int64_t)x.shape(0), "more rows than x has");
    kept.push_back(nb::make_tuple(nb::cast(keys), nb::cast(values)));
    if (int8_cache) kept.push_back(nb::make_tuple(nb::cast(*key_scale), nb::cast(*value_scale)));
    segments.push_back({keys.data(), values.data(), key_scale ? key_scale->data() : nullptr,
                        value_scale ? value_scale->data() : nullptr, capacity, first, num_rows, start,
                        adapter ? adapter->layers.data() : nullptr});
    if (adapter) {
      kept.push_back(nb::find(*adapter));
      adapters.push_back(adapter);
    }
    cache_bytes = segments.size() == 1 ? (int64_t)keys.size() / capacity : std::min(cache_bytes, (int64_t)keys.size() / capacity);
  }

  void run(Workspace& workspace, const PyLayer& l, int64_t index, Table cos, Table sin) {
    const int64_t rows = (int64_t)x.shape(0), half = l.layer.head_width / 2;
    require(!segments.empty() && segments.back().first_row + segments.back().num_rows == rows, "segments do not cover x");
    require((int64_t)x.shape(1) == l.layer.out.rows, "x does not fit the layer");
    require(index >= 0 && index < MAX_SIZE, "no such layer");
    require((index + 1) * l.layer.kv_heads * l.layer.head_width * (int8_cache ? 1 : 2) <= cache_bytes, "the caches lack this layer");
    require((int64_t)cos.shape(0) == rows && (int64_t)cos.shape(1) == half && cos.size() == sin.size(), "angles are not [rows, head_width / 2]");
    for (const PyAdapter* adapter : adapters) check_adapter(*adapter, l.layer, index);
    nb::gil_scoped_release released;
    workspace.run_layer(l.layer, index, x.data(), rows, segments, int8_cache, cos.data(), sin.data());
  }

  static void check_adapter(const PyAdapter& adapter, const Layer& layer, int64_t index) {
    require(index < (int64_t)adapter.layers.size(), "an adapter lacks this layer");
    const LayerAdapter& part = adapter.layers[(size_t)index];
    require_fit(part.q, layer.q);
    require_fit(part.k, layer.k);
    require_fit(part.v, layer.v);
    require_fit(part.out, layer.out);
    require_fit(part.gate, layer.gate);
    require_fit(part.up, layer.up);
    require_fit(part.down, layer.down);
  }

  std::vector<const PyAdapter*> adapters;
  int64_t cache_bytes = 0;  // per position, all layers
};

struct PyExpert {
  Expert expert;
  nb::object kept;  // the matrices and biases

  PyExpert(nb::dict matrices, nb::dict biases, int gate, float limit)
      : expert{matrix_of(matrices, biases, "gate"), matrix_of(matrices, biases, "up"), matrix_of(matrices, biases, "down"),
               gate_of(gate, limit)},
        kept(nb::make_tuple(matrices, biases)) {
    require(expert.up.rows == expert.gate.rows && expert.up.columns == expert.gate.columns && expert.down.columns == expert.gate.rows &&
                expert.down.rows == expert.gate.columns,
            "the expert's matrices do not fit each other");
  }
};

// out[row] += share * expert(x[row]); one list of rows and of shares per expert, in the order they are added in.
void run_experts(ExpertWorkspace& workspace, const std::vector<const PyExpert*>& experts, const std::vector<Ids>& rows,
                 const std::vector<Vector>& shares, Table x, MutableTable out) {
  require(!experts.empty() && experts.size() == rows.size() && rows.size() == shares.size(), "experts, rows and shares differ in number");
  require(x.shape(0) == out.shape(0) && x.shape(1) == out.shape(1), "x and out differ in shape");
  const Expert& first = experts.front()->expert;
  std::vector<RoutedRows> routed;
  for (size_t i = 0; i < experts.size(); i++) {
    const Expert& e = experts[i]->expert;
    require(e.gate.columns == (int64_t)x.shape(1) && e.gate.rows == first.gate.rows && e.kind.gate == first.kind.gate, "an expert does not fit");
    require(rows[i].size() == shares[i].size() && rows[i].size() > 0, "rows and shares differ in number");
    for (size_t r = 0; r < rows[i].size(); r++) require(rows[i](r) >= 0 && rows[i](r) < (int64_t)x.shape(0), "a row outside x");
    routed.push_back({&e, {rows[i].data(), rows[i].data() + rows[i].size()}, {shares[i].data(), shares[i].data() + shares[i].size()}});
  }
  nb::gil_scoped_release released;
  workspace.run(routed, x.data(), (int64_t)x.shape(1), out.data());
}

}  // namespace

void register_layers(nb::module_& module) {
  nb::class_<PyLayer>(module, "Layer").def(nb::init<nb::dict, nb::dict, nb::dict, nb::dict>());
  nb::class_<Workspace>(module, "Workspace").def(nb::init<>());
  nb::class_<PySweep>(module, "Sweep")
      .def(nb::init<MutableTable, bool>())
      .def("add_segment", &PySweep::add_segment, nb::arg("keys"), nb::arg("values"), nb::arg("key_scale").none(),
           nb::arg("value_scale").none(), nb::arg("capacity"), nb::arg("num_rows"), nb::arg("start"),
           nb::arg("adapter").none() = nb::none())
      .def("run", &PySweep::run);
  nb::class_<PyExpert>(module, "Expert").def(nb::init<nb::dict, nb::dict, int, float>());
  nb::class_<ExpertWorkspace>(module, "ExpertWorkspace").def(nb::init<>()).def("run", &run_experts);
}

}  // namespace vortex
