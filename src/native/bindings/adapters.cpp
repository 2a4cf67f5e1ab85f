// Python's view of adapters: models/decoder/native_adapter.py makes these.
#include "bindings/adapters.h"

#include <nanobind/stl/vector.h>

namespace vortex {
namespace {

LowRank part_of(const nb::dict& parts, const char* name) {
  if (!parts.contains(name)) return {};
  const nb::tuple part = nb::cast<nb::tuple>(parts[name]);
  const LowRank made = {nb::cast<const PyMatrix&>(part[0]).matrix, nb::cast<const PyMatrix&>(part[1]).matrix, nb::cast<float>(part[2])};
  for (const Matrix* m : {&made.a, &made.b}) require(m->packed && is_float(m->format), "an adapter's matrices are tiles of floats");
  require(made.a.rows > 0 && made.b.columns == made.a.rows, "the adapter's two matrices differ in rank");
  return made;
}

}  // namespace

PyAdapter::PyAdapter(const std::vector<nb::dict>& parts) : kept(nb::cast(parts)) {
  for (const nb::dict& each : parts)
    layers.push_back({part_of(each, "q"), part_of(each, "k"), part_of(each, "v"), part_of(each, "attention_out"),
                      part_of(each, "gate"), part_of(each, "up"), part_of(each, "down")});
}

void require_fit(const LowRank& part, const Matrix& matrix) {
  require(!part.a.rows || (part.a.columns == matrix.columns && part.b.rows == matrix.rows), "an adapter does not fit the layer");
}

void register_adapters(nb::module_& module) {
  nb::class_<PyAdapter>(module, "Adapter").def(nb::init<const std::vector<nb::dict>&>());
}

}  // namespace vortex
