// The Python module vortex.kernels._native: every part of the native code registers its functions here.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>

namespace nb = nanobind;

void register_kernels(nb::module_& module);  // bindings.cpp

NB_MODULE(_native, module) {
  module.doc() = "Native core of Vortex. Use it through vortex.kernels, which picks the instruction set and checks arguments.";
  register_kernels(module);
  module.attr("nanobind_version") =
      std::to_string(NB_VERSION_MAJOR) + "." + std::to_string(NB_VERSION_MINOR) + "." + std::to_string(NB_VERSION_PATCH);
}
