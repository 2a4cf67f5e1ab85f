// Python's view of a whole core: vblocks/native/stack.py makes these.
#include "bindings/arrays.h"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/vector.h>

#include "bindings/core.h"
#include "steps/core_stack.h"

namespace vortex {
namespace {

struct PyCoreStack {
  CoreStack stack;
  CoreWorkspace workspace;
  std::vector<nb::object> kept;  // layers, matrices, gates

  PyCoreStack(int64_t depth_min, int64_t depth_max, float hysteresis) {
    stack.depth_min = depth_min;
    stack.depth_max = depth_max;
    stack.hysteresis = hysteresis;
  }

  void add_layer(nb::object layer, const std::vector<nb::object>& matrices, std::optional<Vector> gate, float bias) {
    const PyCoreLayer& l = nb::cast<const PyCoreLayer&>(layer);
    std::vector<const PyMatrix*> found;
    for (const nb::object& each : matrices) found.push_back(&nb::cast<const PyMatrix&>(each));
    require(!gate || (int64_t)gate->size() == l.layer.width, "a gate does not fit the width");
    require(stack.layers.empty() || stack.layers[0].shape.width == l.layer.width, "layers differ in width");
    stack.layers.push_back({l.layer, core_matrices(l.layer, found), gate ? gate->data() : nullptr, bias});
    kept.push_back(layer);
    for (const nb::object& each : matrices) kept.push_back(each);
    if (gate) kept.push_back(nb::cast(*gate));
  }
};

struct PyCoreState {
  CoreState state;

  // A layer's arrays by name, read only, as long as the state lives.
  nb::dict layer(nb::handle self, size_t index) const {
    require(index < state.layers.size(), "no such layer");
    const LayerState& l = *state.layers[index];
    nb::dict found;
    const auto put = [&](const char* name, const Buffer& buffer) {
      found[name] = nb::ndarray<nb::numpy, const float>(buffer.data(), {buffer.size()}, self);
    };
    put("local_tail", l.local_tail);
    put("window_kv", l.window_kv);
    put("delta_tail", l.delta_tail);
    put("matrix", l.matrix);
    found["seen"] = l.seen;
    found["gate_open"] = (bool)state.gate_open[index];
    if (!l.slots) return found;
    put("keys", l.slots->keys);
    put("values", l.slots->values);
    put("strength", l.slots->strength);
    put("touched", l.slots->touched);
    put("use", l.use);
    put("tail", l.lava_tail);
    put("waiting_keys", l.waiting_keys);
    put("waiting_values", l.waiting_values);
    put("waiting_gate", l.waiting_gate);
    put("waiting_surprise", l.waiting_surprise);
    put("held", l.held);
    found["occupied"] = l.occupied;
    found["position"] = l.position;
    return found;
  }

  // The same state with other slots in a layer, copied.
  PyCoreState with_slots(size_t index, Vector keys, Vector values, Vector strength, Vector touched, Vector use, int64_t occupied) const {
    require(index < state.layers.size() && state.layers[index]->slots, "no such layer with slots");
    auto next = std::make_shared<LayerState>(*state.layers[index]);
    const Slots& old = *next->slots;
    const auto taken = [](const Vector& v, const Buffer& like) {
      require(v.size() == like.size(), "slots of other sizes");
      return Buffer(v.data(), v.data() + v.size());
    };
    require(occupied >= 0 && occupied <= (int64_t)old.strength.size(), "more slots than there are");
    next->use = taken(use, next->use);
    next->slots = std::make_shared<Slots>(Slots{taken(keys, old.keys), taken(values, old.values), taken(strength, old.strength), taken(touched, old.touched)});
    next->occupied = occupied;
    PyCoreState found{state};
    found.state.layers[index] = next;
    return found;
  }

  int64_t num_bytes() const {
    int64_t sum = 0;
    for (const auto& layer : state.layers) sum += layer->num_bytes();
    return sum;
  }
};

std::shared_ptr<CoreSweep> sweep(PyCoreStack& s, MutableTable x, const std::vector<const PyCoreState*>& states, const std::vector<int64_t>& num_rows) {
  require(!states.empty() && states.size() == num_rows.size(), "states and rows differ in number");
  int64_t rows = 0;
  std::vector<const CoreState*> before;
  for (size_t i = 0; i < states.size(); i++) {
    require(num_rows[i] > 0 && states[i]->state.layers.size() == s.stack.layers.size(), "a state of another core");
    rows += num_rows[i];
    before.push_back(&states[i]->state);
    for (size_t index = 0; index < s.stack.layers.size(); index++) {
      const CoreLayer& l = s.stack.layers[index].shape;
      require((int64_t)before[i]->layers[index]->matrix.size() == l.heads * l.key_dim * l.value_dim, "a state of another core");
    }
  }
  require(!s.stack.layers.empty() && (int64_t)x.shape(0) == rows && (int64_t)x.shape(1) == s.stack.layers[0].shape.width, "x does not fit the spans");
  nb::gil_scoped_release released;
  return std::make_shared<CoreSweep>(s.stack, s.workspace, x.data(), before, num_rows);
}

PyCoreState replay(PyCoreStack& s, const std::shared_ptr<CoreSweep>& sweep, int64_t span, int64_t num_tokens) {
  require(span >= 0 && span < sweep->num_spans() && num_tokens >= 0 && num_tokens <= sweep->num_rows(span), "no such rows");
  nb::gil_scoped_release released;
  return {sweep->replay(s.stack, s.workspace, span, num_tokens)};
}

void gate_scores(Table x, Vector weight, float bias, MutableVector scores) {
  require(x.shape(1) == weight.size() && x.shape(0) == scores.size(), "a gate does not fit the rows");
  for (size_t r = 0; r < x.shape(0); r++) scores(r) = gate_score(x.data() + r * x.shape(1), weight.data(), bias, (int64_t)x.shape(1));
}

void blend_rows(MutableTable x, MutableTable y, Vector scales) {
  require(x.shape(0) == y.shape(0) && x.shape(1) == y.shape(1) && x.shape(0) == scales.size(), "rows differ");
  for (size_t r = 0; r < x.shape(0); r++) blend(x.data() + r * x.shape(1), y.data() + r * x.shape(1), scales(r), (int64_t)x.shape(1));
}

}  // namespace

void register_stack(nb::module_& module) {
  module.def("gate_scores", &gate_scores);
  module.def("blend", &blend_rows);  // x += scale * (y - x), y is used up
  nb::class_<PyCoreState>(module, "CoreState")
      .def("layer", [](nb::handle self, size_t index) { return nb::cast<const PyCoreState&>(self).layer(self, index); })
      .def("with_slots", &PyCoreState::with_slots)
      .def_prop_ro("num_bytes", &PyCoreState::num_bytes);
  nb::class_<CoreSweep>(module, "CoreSweep")
      .def("after", [](const CoreSweep& s, int64_t span) {
        require(span >= 0 && span < s.num_spans(), "no such span");
        return PyCoreState{s.after(span)};
      })
      .def("layers_taken", [](const CoreSweep& s, int64_t span) {
        require(span >= 0 && span < s.num_spans(), "no such span");
        return s.layers_taken(span);
      });
  nb::class_<PyCoreStack>(module, "CoreStack")
      .def(nb::init<int64_t, int64_t, float>())
      .def("add_layer", &PyCoreStack::add_layer, nb::arg("layer"), nb::arg("matrices"), nb::arg("gate").none(), nb::arg("bias"))
      .def("empty", [](const PyCoreStack& s) { return PyCoreState{s.stack.empty()}; })
      .def("sweep", &sweep)
      .def("replay", &replay);
}

}  // namespace vortex
