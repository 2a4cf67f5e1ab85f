// The Python module vortex.kernels._native: every part of the native code registers its functions here.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

void register_kernels(nb::module_& module);  // bindings.cpp

NB_MODULE(_native, module) {
  module.doc() = "Native core of Vortex. Use it through vortex.kernels, which picks the instruction set and checks arguments.";
  register_kernels(module);
}
