// Which instruction set runs. Chosen once by what the CPU has; tests and users may force another.
#pragma once
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace vortex {
std::vector<std::string> available_kernels();  // best first; "scalar" is always there
bool use_kernels(const std::string& name);     // false when this CPU lacks them
const Kernels& kernels();
}  // namespace vortex
