// The kernels on ARMv8.2 with dot product.
#define VORTEX_ISA neon
#include "isa/simd_neon.h"
#include "isa/table.h"
