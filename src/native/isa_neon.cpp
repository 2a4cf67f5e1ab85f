// The kernels on ARMv8.2 with dot product.
#define VORTEX_ISA neon
#include "simd_neon.h"
#include "table.h"
