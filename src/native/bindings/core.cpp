// Python's view of a core's layer: vblocks/native/layer.py makes these.
#include "bindings/arrays.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include "bindings/core.h"

namespace vortex {

PyCoreLayer::PyCoreLayer(nb::dict shape, nb::dict vectors) : kept(vectors) {
  const auto whole = [&](const char* name) { return whole_of(shape[name], name); };
  const auto real = [&](const char* name) { return nb::cast<float>(shape[name]); };
  const auto vector = [&](const char* name, int64_t size) {
    const auto array = nb::cast<Floats>(vectors[name], false);
    require((int64_t)array.size() == size, "a vector of the core does not fit its shape");
    return (const float*)array.data();
  };
  layer.width = whole("width");
  layer.inner = whole("mlp_width");
  layer.epsilon = real("norm_epsilon");
  layer.local_taps = whole("local_conv");
  layer.window = whole("local_window");
  layer.local_heads = whole("local_heads");
  layer.local_kv_heads = whole("local_kv_heads") ? whole("local_kv_heads") : layer.local_heads;
  layer.heads = whole("num_heads");
  layer.key_dim = whole("key_dim");
  layer.value_dim = whole("value_dim");
  layer.delta_taps = whole("ssm_conv");
  for (int64_t size : {layer.width, layer.inner, layer.local_taps, layer.heads, layer.key_dim, layer.value_dim, layer.delta_taps})
    require(size > 0, "sizes of a core are positive");
  require(layer.local_taps <= MAX_TAPS && layer.delta_taps <= MAX_TAPS, "a convolution has at most 32 taps");
  require(layer.window >= 0 && (!layer.window || (layer.local_heads > 0 && layer.width % layer.local_heads == 0)), "width is no multiple of local_heads");
  require(!layer.window || (layer.local_kv_heads > 0 && layer.local_heads % layer.local_kv_heads == 0), "local_heads is no multiple of local_kv_heads");
  layer.local_norm = vector("local_norm", layer.width);
  layer.mixer_norm = vector("mixer_norm", layer.width);
  layer.mlp_norm = vector("mlp_norm", layer.width);
  layer.local_conv = vector("local_conv", layer.local_taps * layer.width);
  layer.distance_bias = layer.window ? vector("distance_bias", layer.local_heads * layer.window) : nullptr;
  const int64_t head_width = layer.window ? layer.width / layer.local_heads : 0;
  layer.rotation = vectors.contains("rotation") ? vector("rotation", layer.window * head_width) : nullptr;
  require(!layer.rotation || head_width % 2 == 0, "heads of a rotated window have an even width");
  layer.sink_key = vectors.contains("sink_key") ? vector("sink_key", layer.kv_width()) : nullptr;
  layer.sink_value = layer.sink_key ? vector("sink_value", layer.kv_width()) : nullptr;
  layer.delta_conv = vector("delta_conv", layer.delta_taps * layer.mixed());
  layer.decay_rate = vector("decay_rate", layer.heads);
  layer.decay_bias = vector("decay_bias", layer.heads);
  layer.delta_norm = vector("delta_norm", layer.value_dim);
  if (!whole("has_lava")) return;
  Lava& lava = layer.lava;
  lava.heads = whole("lava_heads");
  lava.key_dim = whole("lava_key_dim");
  lava.value_dim = whole("lava_value_dim");
  lava.taps = whole("lava_conv");
  lava.slots = whole("lava_slots");
  lava.write_every = whole("lava_write_every");
  lava.writes = whole("lava_writes");
  lava.read_every = whole("lava_read_every");
  lava.top_k = whole("lava_top_k");
  lava.on_surprise = whole("lava_write_on_surprise") != 0;
  lava.rank = (LavaRank)whole_of<int>(shape["lava_rank_number"], "lava_rank_number", 0, 2);
  lava.threshold = real("lava_surprise_threshold");
  lava.merge_cosine = real("lava_merge_cosine");
  lava.half_life = real("lava_half_life");
  for (int64_t size : {lava.heads, lava.key_dim, lava.value_dim, lava.taps, lava.slots, lava.write_every, lava.read_every})
    require(size > 0, "sizes of LAVA are positive");
  require(lava.taps <= MAX_TAPS && lava.writes >= 0 && lava.top_k >= 0, "a convolution has at most 32 taps");
  lava.conv = vector("lava_conv", lava.taps * lava.mixed());
  lava.gamma = vector("lava_gamma", lava.heads);
  lava.null_logit = vector("lava_null_logit", lava.heads);
  lava.null_value = vector("lava_null_value", lava.heads * lava.value_dim);
  lava.write_bias = *vector("lava_write_bias", 1);
}

CoreMatrices core_matrices(const CoreLayer& c, const std::vector<const PyMatrix*>& matrices) {
  require(matrices.size() == (c.lava.heads ? 8u : 6u), "a core's layer has six matrices, eight with LAVA");
  size_t next = 0;
  const auto take = [&](int64_t rows, int64_t columns) {
    const Matrix* m = &matrices[next++]->matrix;
    require(m->rows == rows && m->columns == columns, "a matrix does not fit the layer");
    return m;
  };
  CoreMatrices m{};
  m.local_in = take(c.local_projected(), c.width);
  m.local_out = take(c.width, (c.window ? 2 : 1) * c.width);
  m.delta_in = take(c.delta_projected(), c.width);
  m.delta_out = take(c.width, c.heads * c.value_dim);
  if (c.lava.heads) {
    m.lava_in = take(c.lava.projected(), c.width);
    m.lava_out = take(c.width, c.lava.heads * c.lava.value_dim);
  }
  m.mlp_in = take(2 * c.inner, c.width);
  m.mlp_out = take(c.width, c.inner);
  return m;
}

namespace {

// A span: its sequence's state before, and arrays that become the state after.
struct PyCoreSpan {
  CoreSpan span{};
  std::vector<Floats> arrays;
  int64_t local_tail, window, delta_tail, matrix;  // sizes
  bool has_lava = false;
  int64_t lava_tail = 0, keys = 0, values = 0, slots = 0, waiting_keys = 0, waiting_values = 0, waiting = 0, held = 0;

  PyCoreSpan(int64_t num_rows, Floats local, Floats next_local, std::optional<Floats> kv, std::optional<Floats> next_kv, int64_t seen,
             Floats delta, Floats next_delta, Floats before, Floats after)
      : local_tail(same(local, next_local)), window(0), delta_tail(same(delta, next_delta)), matrix(same(before, after)) {
    require(num_rows > 0 && seen >= 0 && kv.has_value() == next_kv.has_value(), "a span has rows, and both windows or none");
    span.num_rows = num_rows;
    span.local_tail = keep(local);
    span.next_local_tail = keep(next_local);
    if (kv) {
      window = same(*kv, *next_kv);
      span.window_kv = keep(*kv);
      span.next_window_kv = keep(*next_kv);
    }
    span.seen = seen;
    span.delta_tail = keep(delta);
    span.next_delta_tail = keep(next_delta);
    span.matrix = keep(before);
    span.next_matrix = keep(after);
  }

  void add_lava(Floats tail, Floats next_tail, Floats keys_, Floats values_, Floats strength, Floats use, Floats touched, int64_t occupied,
                Floats wait_keys, Floats wait_values, Floats gate, Floats surprise, Floats held_, int64_t position) {
    lava_tail = same(tail, next_tail);
    keys = (int64_t)keys_.size();
    values = (int64_t)values_.size();
    slots = same(strength, use);
    waiting_keys = (int64_t)wait_keys.size();
    waiting_values = (int64_t)wait_values.size();
    waiting = same(gate, surprise);
    held = (int64_t)held_.size();
    require((int64_t)touched.size() == slots && occupied >= 0 && occupied <= slots && position >= 0, "slots of other sizes");
    span.lava = {keep(tail), keep(next_tail), keep(keys_), keep(values_), keep(strength), keep(use), keep(touched), keep(wait_keys),
                 keep(wait_values), keep(gate), keep(surprise), keep(held_), occupied, position};
    has_lava = true;
  }

  void check(const CoreLayer& l) const {
    require(local_tail == (l.local_taps - 1) * l.width && delta_tail == (l.delta_taps - 1) * l.mixed() &&
                matrix == l.heads * l.key_dim * l.value_dim && window == (l.window ? (l.window - 1) * 2 * l.kv_width() : 0) &&
                (!l.window || span.seen < l.window),
            "a state does not fit the layer");
    if (!l.lava.heads) return;
    const Lava& a = l.lava;
    require(has_lava && lava_tail == (a.taps - 1) * a.mixed() && slots == a.slots && keys == a.heads * a.key_dim * a.slots &&
                values == a.heads * a.slots * a.value_dim && waiting == a.write_every && waiting_keys == waiting * a.heads * a.key_dim &&
                waiting_values == waiting * a.heads * a.value_dim && held == a.heads * a.value_dim,
            "a memory does not fit the layer");
  }

 private:
  static int64_t same(const Floats& a, const Floats& b) {
    require(a.size() == b.size(), "a state before and after differ in size");
    return (int64_t)a.size();
  }
  float* keep(const Floats& array) {
    arrays.push_back(array);
    return array.data();
  }
};

std::vector<CoreSpan> joined(const PyCoreLayer& l, const std::vector<PyCoreSpan*>& spans, const MutableTable& local,
                             const MutableTable& delta, const std::optional<MutableTable>& lava) {
  std::vector<CoreSpan> found;
  int64_t first = 0;
  for (const PyCoreSpan* each : spans) {
    each->check(l.layer);
    found.push_back(each->span);
    found.back().first_row = first;
    first += each->span.num_rows;
  }
  require(first > 0 && (int64_t)local.shape(0) == first && (int64_t)delta.shape(0) == first, "records do not cover the spans' rows");
  require((int64_t)local.shape(1) == l.layer.local_projected() && (int64_t)delta.shape(1) == l.layer.delta_projected(), "records of another layer");
  require((l.layer.lava.heads > 0) == lava.has_value(), "a layer with LAVA has its records");
  if (lava) require((int64_t)lava->shape(0) == first && (int64_t)lava->shape(1) == l.layer.lava.projected(), "records of another LAVA");
  return found;
}

void give_back(const std::vector<CoreSpan>& found, const std::vector<PyCoreSpan*>& spans) {
  for (size_t i = 0; i < spans.size(); i++) spans[i]->span.lava = found[i].lava;
}

void run_core(CoreWorkspace& workspace, const PyCoreLayer& l, const std::vector<const PyMatrix*>& matrices, MutableTable x,
              const std::vector<PyCoreSpan*>& spans, MutableTable local, MutableTable delta, std::optional<MutableTable> lava) {
  std::vector<CoreSpan> found = joined(l, spans, local, delta, lava);
  const CoreLayer& c = l.layer;
  require((int64_t)x.shape(0) == (int64_t)local.shape(0) && (int64_t)x.shape(1) == c.width, "x does not fit the spans");
  const CoreMatrices m = core_matrices(c, matrices);
  {
    nb::gil_scoped_release released;
    workspace.run(c, m, x.data(), (int64_t)x.shape(0), found, {local.data(), delta.data(), lava ? lava->data() : nullptr});
  }
  give_back(found, spans);
}

void replay_core(CoreWorkspace& workspace, const PyCoreLayer& l, const std::vector<PyCoreSpan*>& spans, MutableTable local,
                 MutableTable delta, std::optional<MutableTable> lava) {
  std::vector<CoreSpan> found = joined(l, spans, local, delta, lava);
  {
    nb::gil_scoped_release released;
    workspace.replay(l.layer, (int64_t)local.shape(0), found, {local.data(), delta.data(), lava ? lava->data() : nullptr});
  }
  give_back(found, spans);
}

}  // namespace

void register_core(nb::module_& module) {
  nb::class_<PyCoreLayer>(module, "CoreLayer").def(nb::init<nb::dict, nb::dict>());
  nb::class_<PyCoreSpan>(module, "CoreSpan")
      .def(nb::init<int64_t, Floats, Floats, std::optional<Floats>, std::optional<Floats>, int64_t, Floats, Floats, Floats, Floats>(),
           nb::arg("num_rows"), nb::arg("local_tail"), nb::arg("next_local_tail"), nb::arg("window_kv").none(),
           nb::arg("next_window_kv").none(), nb::arg("seen"), nb::arg("delta_tail"), nb::arg("next_delta_tail"), nb::arg("matrix"),
           nb::arg("next_matrix"))
      .def("add_lava", &PyCoreSpan::add_lava)
      .def_prop_ro("occupied", [](const PyCoreSpan& s) { return s.span.lava.occupied; })
      .def_prop_ro("position", [](const PyCoreSpan& s) { return s.span.lava.position; });
  nb::class_<CoreWorkspace>(module, "CoreWorkspace")
      .def(nb::init<>())
      .def("run", &run_core, nb::arg("layer"), nb::arg("matrices"), nb::arg("x"), nb::arg("spans"), nb::arg("local"), nb::arg("delta"),
           nb::arg("lava").none())
      .def("replay", &replay_core, nb::arg("layer"), nb::arg("spans"), nb::arg("local"), nb::arg("delta"), nb::arg("lava").none());
}

}  // namespace vortex
